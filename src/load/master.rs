//! Master files of the zones folder, and the files that they include.

#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::string_slice, clippy::cast_possible_truncation)
)]

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::files::{ZoneFile, modified, octets};
use crate::diagnostic::{Diagnostic, Source};
use crate::spec::Faults;
use crate::spec::file::ZoneSpec;
use crate::wire::name::Name;
use crate::zone::check::Hold;
use crate::zone::roots::Roots;
use crate::zone::toml::{self, ZoneText};
use crate::zone::{self, master};

/// Reads a master file of the zones folder, whose name is `stem` and `.zone`.
pub(super) fn read_zone(folder: &Path, path: PathBuf, stem: &str) -> ZoneFile {
    let Some(origin) = origin_of(stem) else {
        let message = format!("the file's name gives no origin: `{stem}` is no name");
        let fault = Diagnostic::file(&path, message).hint("name the file for its zone; that of the root is root.zone");
        return ZoneFile::unread(path, None, fault);
    };
    let (source, modified) = match octets(&path).and_then(|octets| Ok((octets, modified(&path)?))) {
        Ok((octets, modified)) => (Source::new(&path, text(octets)), modified),
        Err(error) => {
            let fault = Diagnostic::file(&path, format!("cannot be read: {error}"));
            return ZoneFile::unread(path, Some(origin), fault);
        }
    };
    let mut faults = Faults::new(&source);
    let zone = master::read(&origin, &mut |name| include(folder, name), &mut faults);
    // Of a file without a fault the text is not needed any more.
    let faults = match faults.is_empty() {
        true => Faults::new(&Source::new(&path, "")),
        false => faults,
    };
    let spec = ZoneSpec {
        broken: zone.is_none(),
        unread: true,
        ..ZoneSpec::empty(faults.source())
    };
    ZoneFile {
        path,
        named: Some(origin),
        spec,
        master: zone,
        faults,
        modified,
        twice: false,
    }
}

/// The origin that a file is named for.
fn origin_of(stem: &str) -> Option<Name> {
    match stem {
        "root" => Some(Name::root()),
        _ => Name::parse(stem, None).ok(),
    }
}

/// What became of a master file that should be TOML.
#[derive(Debug)]
pub struct Imported {
    /// The zone as TOML; `None` if the file has an error.
    pub zone: Option<ZoneText>,
    /// The faults of the master file.
    pub faults: Vec<Diagnostic>,
    /// What `check` would say of the TOML, though it is lenient: such a zone can only be served as the master file it is.
    pub refused: Vec<Diagnostic>,
}

/// Makes TOML of a master file. It may include files of its own folder. Without an origin its name says it.
pub fn import(path: &Path, origin: Option<Name>) -> Imported {
    let nothing = |fault: Diagnostic| Imported {
        zone: None,
        faults: vec![fault],
        refused: Vec::new(),
    };
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let stem = name.as_deref().map(|name| name.strip_suffix(".zone").unwrap_or(name));
    let Some(origin) = origin.or_else(|| origin_of(stem?)) else {
        return nothing(Diagnostic::file(path, "the file's name gives no origin").hint("say it with --origin"));
    };
    // Whoever says which file it is may well say `/dev/stdin`.
    let source = match fs::read(path) {
        Ok(octets) => Source::new(path, text(octets)),
        Err(error) => return nothing(Diagnostic::file(path, format!("cannot be read: {error}"))),
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let mut faults = Faults::new(&source);
    let zone = master::read(&origin, &mut |name| include(folder, name), &mut faults);
    let zone = zone.filter(|_| faults.errors() == 0).map(|zone| {
        let strict = toml::write(&zone, Hold::Strict);
        match judge(&origin, &strict.text).is_empty() {
            true => strict,
            false => toml::write(&zone, Hold::Lenient),
        }
    });
    let refused = zone.as_ref().map(|zone| judge(&origin, &zone.text)).unwrap_or_default();
    Imported {
        zone,
        faults: faults.into_sorted(),
        refused,
    }
}

/// The errors of a zone in TOML.
fn judge(origin: &Name, text: &str) -> Vec<Diagnostic> {
    let source = Source::new("imported.toml", text);
    let mut faults = Faults::new(&source);
    let spec = crate::spec::file::read(&source, &mut faults);
    zone::check::check(&spec, origin, 0, &Roots::default(), &mut faults);
    let faults = faults.into_sorted().into_iter();
    faults.filter(Diagnostic::is_error).collect()
}

/// The octets of a master file as text. Octets that are no UTF-8 are written as the escapes that stand for them.
fn text(octets: Vec<u8>) -> String {
    String::from_utf8(octets).unwrap_or_else(|error| {
        let octets = error.into_bytes();
        let mut text = String::with_capacity(octets.len() + octets.len() / 8);
        for chunk in octets.utf8_chunks() {
            text.push_str(chunk.valid());
            for octet in chunk.invalid() {
                // After a lone `\` the digits alone are missing.
                let escaped = text.bytes().rev().take_while(|octet| *octet == b'\\').count() % 2 == 1;
                let mark = if escaped { "" } else { "\\" };
                text.push_str(&format!("{mark}{octet:03}"));
            }
        }
        text
    })
}

/// Opens a file that a master file includes: one of the zones folder or below, and of nowhere else.
fn include(folder: &Path, name: &str) -> Result<Arc<Source>, String> {
    let written = Path::new(name);
    if written.components().any(|part| part == Component::ParentDir) {
        return Err("a file is included from the zones folder only: `..` leads out of it".to_owned());
    }
    let path = folder.join(written);
    let fault = |error: std::io::Error| format!("{} cannot be read: {error}", path.display());
    let (real, within) = (
        path.canonicalize().map_err(fault)?,
        folder.canonicalize().map_err(fault)?,
    );
    if !real.starts_with(&within) {
        return Err(format!(
            "{} is not in the zones folder {}",
            path.display(),
            folder.display()
        ));
    }
    let octets = octets(&real).map_err(fault)?;
    Ok(Source::new(path, text(octets)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_that_are_no_utf8_become_escapes() {
        assert_eq!(
            text(b"a\xe4\\\xe4\\\\\xe4 \xc3\xa4".to_vec()),
            "a\\228\\228\\\\\\228 \u{e4}"
        );
    }

    #[test]
    fn files_are_included_from_the_zones_folder_only() {
        let top = tempfile::tempdir().unwrap();
        let folder = top.path().join("zones");
        fs::create_dir_all(folder.join("parts")).unwrap();
        fs::write(folder.join("parts/a"), "a").unwrap();
        fs::write(top.path().join("secret"), "s").unwrap();
        std::os::unix::fs::symlink("../secret", folder.join("link")).unwrap();
        let absolute = folder.join("parts/a");
        assert_eq!(include(&folder, "parts/a").unwrap().text, "a");
        assert_eq!(include(&folder, absolute.to_str().unwrap()).unwrap().text, "a");
        for name in [
            "../secret",
            "parts/../../secret",
            "link",
            "parts",
            "none",
            "/etc/hostname",
            "",
        ] {
            assert!(include(&folder, name).is_err(), "{name}");
        }
    }
}
