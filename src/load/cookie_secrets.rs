//! The file of secrets that the servers of a fleet make cookies with: a secret a line. Each server knows the cookies of the others.

use std::io;
use std::path::Path;

use super::octets;
use crate::spec::Faults;
use crate::spec::settings::SettingsSpec;
use crate::wire::cookie::{SECRETS_MAX, Secret, Secrets};

/// Reads the file that windrose.toml names, if it names one. Faults are told there: a line of the file itself, shown, might end up in a log.
pub(super) fn read(spec: &SettingsSpec, folder: &Path, faults: &mut Faults) -> Option<Secrets> {
    let written = spec.cookie_secret_file.as_ref()?;
    let path = folder.join(&written.value);
    let text = octets(&path).and_then(|octets| String::from_utf8(octets).map_err(io::Error::other));
    let read = text.map_err(|error| format!("cannot be read: {error}"));
    match read.and_then(|text| parse(&text)) {
        Ok(secrets) => Some(secrets),
        Err(fault) => {
            faults.error(&written.span, format!("the secrets {}: {fault}", path.display()));
            None
        }
    }
}

/// The first is the one that cookies are made with, so that a new one can be accepted everywhere before any server makes cookies with it.
fn parse(text: &str) -> Result<Secrets, String> {
    let mut secrets: Vec<Secret> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let secret = secret(line).ok_or_else(|| format!("line {number} is not 32 hexadecimal digits"))?;
        if secrets.contains(&secret) {
            return Err(format!("line {number} has a secret that stands above already"));
        }
        secrets.push(secret);
    }
    match &secrets[..] {
        [] => Err("there is none".to_owned()),
        [active, accepted @ ..] if secrets.len() <= SECRETS_MAX => Ok(Secrets::new(*active, accepted)),
        _ => Err(format!("more than {SECRETS_MAX}")),
    }
}

fn secret(digits: &str) -> Option<Secret> {
    let octets = data_encoding::HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).ok()?;
    octets.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_made_with_and_the_others_are_accepted() {
        let text = "# of 2026\n000102030405060708090A0B0c0d0e0f\n\n  ffffffffffffffffffffffffffffffff\r\n";
        let first = std::array::from_fn(|at| at as u8);
        assert_eq!(parse(text), Ok(Secrets::new(first, &[[0xff; 16]])));
    }

    #[test]
    fn faults_tell_the_line_and_never_what_it_holds() {
        let secret = |digit: &str| digit.repeat(32) + "\n";
        for (text, fault) in [
            (String::new(), "there is none"),
            (secret("a") + &"b".repeat(31), "line 2 is not 32 hexadecimal digits"),
            (
                "#\n\n".to_owned() + &"g".repeat(32),
                "line 3 is not 32 hexadecimal digits",
            ),
            (
                secret("a") + &secret("A"),
                "line 2 has a secret that stands above already",
            ),
            (["1", "2", "3", "4", "5"].map(secret).concat(), "more than 4"),
        ] {
            assert_eq!(parse(&text), Err(fault.to_owned()));
        }
    }
}
