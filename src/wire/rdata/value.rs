//! Single tokens to values: numbers, addresses, types, times, hexadecimal and base64.

use std::net::IpAddr;
use std::str::FromStr;

use data_encoding::{Encoding, HEXLOWER_PERMISSIVE};

use super::RdataError;
use super::token::Token;
use super::write;
use crate::wire::code::RecordType;

/// A plain decimal number up to `max`: no sign, no space.
pub(super) fn number(text: &str, max: u64) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
    plain
        .then(|| text.parse().ok())
        .flatten()
        .filter(|number| *number <= max)
}

/// A time as master files have it: seconds, or numbers with the units `w`, `d`, `h`, `m` and `s` in either case, as in `1h30m`.
pub(super) fn seconds(text: &str) -> Option<u64> {
    if let Some(plain) = number(text, u32::MAX.into()) {
        return Some(plain);
    }
    let mut sum = 0_u64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (count, unit) = (
            number(rest.get(..digits)?, u32::MAX.into())?,
            *rest.as_bytes().get(digits)?,
        );
        let unit = match unit.to_ascii_lowercase() {
            b'w' => 7 * 86_400,
            b'd' => 86_400,
            b'h' => 3_600,
            b'm' => 60,
            b's' => 1,
            _ => return None,
        };
        sum = sum.checked_add(count.checked_mul(unit)?)?;
        rest = rest.get(digits + 1..)?;
    }
    (!text.is_empty() && sum <= u32::MAX.into()).then_some(sum)
}

/// An address, or what is wrong with it; what the other family's record is called is said if that is the fault.
pub(super) fn address<T: FromStr + Into<IpAddr>>(token: &Token<'_>, rtype: RecordType) -> Result<T, RdataError> {
    token.raw.parse().map_err(|_| {
        let six = std::mem::size_of::<T>() == 16;
        let (mine, other, home) = if six {
            ("IPv6", "IPv4", "A")
        } else {
            ("IPv4", "IPv6", "AAAA")
        };
        match (
            token.raw.parse::<IpAddr>().is_ok(),
            matches!(rtype, RecordType::A | RecordType::AAAA),
        ) {
            (true, true) => token
                .fault(format!("{} is an {other} address", token.shown()))
                .hint(format!("write it under {home}")),
            (true, false) => token.fault(format!(
                "{} is an {other} address; an {mine} address is expected",
                token.shown()
            )),
            _ => token.fault(format!("{} is not an {mine} address", token.shown())),
        }
    })
}

/// A record type by its mnemonic or as `TYPEnnn`.
pub(super) fn record_type(token: &Token<'_>) -> Result<RecordType, RdataError> {
    RecordType::parse(token.raw).ok_or_else(|| token.fault(format!("{} is not a record type", token.shown())))
}

/// Decodes tokens as one text, which may be broken by spaces anywhere.
pub(super) fn join(tokens: &[Token<'_>], encoding: &Encoding, called: &str) -> Result<Vec<u8>, RdataError> {
    let joined: String = tokens.iter().map(|token| token.raw).collect();
    encoding.decode(joined.as_bytes()).map_err(|fault| {
        let mut at = fault.position;
        for token in tokens {
            if let Some(wrong) = token.raw.get(at..).and_then(|rest| rest.chars().next()) {
                let message = match fault.kind {
                    data_encoding::DecodeKind::Symbol => format!("`{wrong}` does not belong in {called}"),
                    data_encoding::DecodeKind::Length if called == "hexadecimal" => {
                        "the number of hexadecimal digits is odd".to_owned()
                    }
                    _ => format!("this is not whole {called}"),
                };
                return RdataError::new(token.offset + at, message);
            }
            at = at.saturating_sub(token.raw.len());
        }
        RdataError::new(
            tokens.first().map_or(0, |token| token.offset),
            format!("this is not whole {called}"),
        )
    })
}

/// `YYYYMMDDHHmmSS` in UTC, or seconds since 1970 (RFC 4034 3.2).
pub(super) fn time(text: &str) -> Option<u32> {
    if text.len() != 14 {
        return number(text, u32::MAX.into()).and_then(|seconds| u32::try_from(seconds).ok());
    }
    let part = |from: usize, to: usize| number(text.get(from..to)?, 9999).and_then(|part| i64::try_from(part).ok());
    let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
    let (hour, minute, second) = (part(8, 10)?, part(10, 12)?, part(12, 14)?);
    let seconds = write::days_of(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    // What does not come back as it was is no date: month 13, 30 February, second 60.
    u32::try_from(seconds)
        .ok()
        .filter(|seconds| write::time(*seconds) == text)
}

/// So many octets, each as a pair of digits (RFC 7043 3.2).
pub(super) fn pairs(text: &str, octets: usize) -> Option<Vec<u8>> {
    let pairs: Vec<&str> = text.split('-').collect();
    let whole = pairs.len() == octets && pairs.iter().all(|pair| pair.len() == 2);
    whole
        .then(|| HEXLOWER_PERMISSIVE.decode(pairs.concat().as_bytes()).ok())
        .flatten()
}

/// Four groups of 16 bits, of which leading zeros may be left out (RFC 6742).
pub(super) fn locator(text: &str) -> Option<Vec<u8>> {
    let groups: Vec<&str> = text.split(':').collect();
    let whole = groups.len() == 4 && groups.iter().all(|group| (1..=4).contains(&group.len()));
    let padded: String = groups.iter().map(|group| format!("{group:0>4}")).collect();
    whole
        .then(|| HEXLOWER_PERMISSIVE.decode(padded.as_bytes()).ok())
        .flatten()
}

/// `0x` and hexadecimal, with dots for the eye (RFC 1706 6).
pub(super) fn nsap(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("0x").or(text.strip_prefix("0X"))?.replace('.', "");
    HEXLOWER_PERMISSIVE
        .decode(digits.as_bytes())
        .ok()
        .filter(|octets| !octets.is_empty())
}
