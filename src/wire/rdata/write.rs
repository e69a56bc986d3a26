//! Wire form to presentation form. Octets for which this gives `None` are not the data of their type.

use std::net::{Ipv4Addr, Ipv6Addr};

use data_encoding::{BASE32HEX_NOPAD, BASE64, HEXLOWER, HEXUPPER};

use super::form::{Field, Form};
use super::read::digest_fault;
use super::token::quote;
use super::{Piece, gateway, loc, old, svcb};
use crate::wire::code::RecordType;
use crate::wire::name::{Name, wire_length};

/// The text of data of a type known by name; `None` if it is no such data.
pub(super) fn write(form: &Form, rdata: &[u8]) -> Option<String> {
    let mut wire = Wire { rest: rdata };
    let mut words = Vec::with_capacity(form.fields.len());
    for field in form.fields {
        write_field(*field, &mut wire, &mut words)?;
    }
    wire.rest.is_empty().then(|| words.join(" "))
}

/// RFC 3597 5.
pub(super) fn write_generic(rdata: &[u8]) -> String {
    match rdata {
        [] => "\\# 0".to_owned(),
        _ => format!("\\# {} {}", rdata.len(), HEXLOWER.encode(rdata)),
    }
}

/// Cuts data into octets and names, as far as its fields have a length that is plain to see; the rest is octets.
pub(super) fn cut<'a>(form: &Form, rdata: &'a [u8]) -> Option<Vec<Piece<'a>>> {
    let mut pieces = Vec::new();
    let mut octets = rdata;
    let mut wire = Wire { rest: rdata };
    for field in form.fields {
        match field {
            Field::U8 | Field::Code8(_) => drop(wire.take(1)?),
            Field::U16 | Field::Code16(_) => drop(wire.take(2)?),
            Field::U32 | Field::Seconds => drop(wire.take(4)?),
            Field::Name => {
                let before = octets
                    .get(..octets.len() - wire.rest.len())
                    .filter(|before| !before.is_empty());
                pieces.extend(before.map(Piece::Octets));
                pieces.push(Piece::Name(wire.take(wire_length(wire.rest)?)?));
                octets = wire.rest;
            }
            _ => drop(wire.take_rest()),
        }
    }
    if !octets.is_empty() {
        pieces.push(Piece::Octets(octets));
    }
    wire.rest.is_empty().then_some(pieces)
}

/// Octets still to be read.
pub(super) struct Wire<'a> {
    pub(super) rest: &'a [u8],
}

impl<'a> Wire<'a> {
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    pub(super) fn take_rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// Octets counted by the octet before them.
    pub(super) fn counted(&mut self) -> Option<&'a [u8]> {
        let count = self.u8()?;
        self.take(count.into())
    }

    pub(super) fn name(&mut self) -> Option<Name> {
        Name::from_wire(self.take(wire_length(self.rest)?)?)
    }
}

fn write_field(field: Field, wire: &mut Wire<'_>, words: &mut Vec<String>) -> Option<()> {
    let word = match field {
        Field::U8 | Field::Code8(_) => wire.u8()?.to_string(),
        Field::U16 | Field::Code16(_) => wire.u16()?.to_string(),
        Field::U32 | Field::Seconds => wire.u32()?.to_string(),
        Field::Type => RecordType(wire.u16()?).to_string(),
        Field::Time => time(wire.u32()?),
        Field::Name => wire.name()?.to_string(),
        Field::Ipv4 => Ipv4Addr::from(wire.array::<4>()?).to_string(),
        Field::Ipv6 => Ipv6Addr::from(wire.array::<16>()?).to_string(),
        Field::Text => quote(wire.counted()?),
        Field::OptionalText if wire.rest.is_empty() => return Some(()),
        Field::OptionalText => quote(wire.counted()?),
        Field::Texts => {
            words.push(quote(wire.counted()?));
            while !wire.rest.is_empty() {
                words.push(quote(wire.counted()?));
            }
            return Some(());
        }
        Field::LongText if wire.rest.is_empty() => return None,
        Field::LongText | Field::OptionalLongText => quote(wire.take_rest()),
        Field::Tag => String::from_utf8(wire.counted().filter(|tag| is_tag(tag))?.to_vec()).ok()?,
        Field::Salt => match wire.counted()? {
            [] => "-".to_owned(),
            salt => HEXUPPER.encode(salt),
        },
        Field::Hash => BASE32HEX_NOPAD.encode(wire.counted().filter(|hash| !hash.is_empty())?),
        Field::Hex if wire.rest.is_empty() => return None,
        Field::Hex => HEXUPPER.encode(wire.take_rest()),
        Field::Digest(lengths, least) => {
            let algorithm = words.last()?.parse().ok()?;
            let digest = wire.take_rest();
            if digest_fault(lengths, least, algorithm, digest.len()).is_some() {
                return None;
            }
            HEXUPPER.encode(digest)
        }
        Field::Base64 if wire.rest.is_empty() => return None,
        Field::OptionalBase64 if wire.rest.is_empty() => return Some(()),
        Field::Base64 | Field::OptionalBase64 => BASE64.encode(wire.take_rest()),
        Field::Bitmap => {
            words.extend(bitmap_types(wire)?.iter().map(RecordType::to_string));
            return Some(());
        }
        Field::Eui(octets) => hex_groups(wire.take(octets)?, 1, "-"),
        Field::Locator => hex_groups(wire.take(8)?, 2, ":"),
        Field::Nsap if wire.rest.is_empty() => return None,
        Field::Nsap => format!("0x{}", HEXLOWER.encode(wire.take_rest())),
        Field::Loc => loc::write(wire)?,
        Field::Apl => return gateway::write_apl(wire, words),
        Field::IpsecKey => return gateway::write_ipseckey(wire, words),
        Field::AmtRelay => return gateway::write_amtrelay(wire, words),
        Field::Hip => return gateway::write_hip(wire, words),
        Field::SvcParams => return svcb::write(wire, words),
        Field::Wks => return old::write_wks(wire, words),
        Field::A6 => return old::write_a6(wire, words),
        Field::Nxt => return old::write_nxt(wire, words),
    };
    words.push(word);
    Some(())
}

fn hex_groups(octets: &[u8], size: usize, between: &str) -> String {
    octets
        .chunks(size)
        .map(|group| HEXLOWER.encode(group))
        .collect::<Vec<_>>()
        .join(between)
}

/// Letters and digits, at least one (RFC 8659 4.1, which has no limit but that of the octet for their number).
pub(super) fn is_tag(tag: &[u8]) -> bool {
    !tag.is_empty() && tag.iter().all(u8::is_ascii_alphanumeric)
}

/// Types as windows of bits (RFC 4034 4.1.2).
pub(super) fn bitmap(mut types: Vec<RecordType>) -> Vec<u8> {
    types.sort_unstable();
    let mut out = Vec::new();
    for window in types.chunk_by(|a, b| a.0 >> 8 == b.0 >> 8) {
        let mut bits = Vec::new();
        for rtype in window {
            let [_, low] = rtype.0.to_be_bytes();
            bits.resize(usize::from(low >> 3) + 1, 0);
            if let Some(octet) = bits.last_mut() {
                *octet |= 0x80 >> (low & 7);
            }
        }
        // At most 32 octets.
        let count = u8::try_from(bits.len()).unwrap_or(0);
        out.extend(window.first().map(|rtype| rtype.0.to_be_bytes()).map(|[high, _]| high));
        out.push(count);
        out.extend(bits);
    }
    out
}

fn bitmap_types(wire: &mut Wire<'_>) -> Option<Vec<RecordType>> {
    let mut types = Vec::new();
    let mut last = None;
    while !wire.rest.is_empty() {
        let window = wire.u8()?;
        let bits = wire.counted().filter(|bits| (1..=32).contains(&bits.len()))?;
        if last.is_some_and(|last| last >= window) {
            return None;
        }
        last = Some(window);
        for (low, bit) in (0..=u8::MAX).zip(
            bits.iter()
                .flat_map(|octet| (0..8).map(move |bit| octet & (0x80 >> bit))),
        ) {
            if bit != 0 {
                types.push(RecordType(u16::from_be_bytes([window, low])));
            }
        }
    }
    Some(types)
}

/// Seconds since 1970 as `YYYYMMDDHHmmSS`.
pub(super) fn time(seconds: u32) -> String {
    let (days, second) = (i64::from(seconds / 86_400), seconds % 86_400);
    // Never too late, and at most a year too early before 2106.
    let mut year = 1970 + days / 366;
    while days_of(year + 1, 1, 1) <= days {
        year += 1;
    }
    let month = (2..=12)
        .take_while(|month| days_of(year, *month, 1) <= days)
        .last()
        .unwrap_or(1);
    let day = days - days_of(year, month, 1) + 1;
    format!(
        "{year:04}{month:02}{day:02}{:02}{:02}{:02}",
        second / 3_600,
        second / 60 % 60,
        second % 60
    )
}

/// The days from 1 January 1970 to a day of the Gregorian calendar.
pub(super) fn days_of(year: i64, month: i64, day: i64) -> i64 {
    // Years are counted from 1 March, so that the day that may be missing is a year's last.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    365 * year + leap_days + (153 * month + 2) / 5 + day - 719_469
}
