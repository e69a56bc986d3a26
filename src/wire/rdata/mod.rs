//! Record data: presentation form to wire form and back, by one table of forms.
//!
//! A type is a row of `form`: the kinds of its fields. The reader of text, the writer of text, the check of octets and
//! the search for names all walk that row; only the types with a grammar of their own have code of their own.
//!
//! Why not the reader of `domain`, which the tests ask for a second opinion: as of 0.12.3 it takes `@` in data for a label,
//! refuses escapes in `alpn`, keys with a 9 or a z and mnemonics of algorithms, takes any octets after `\#`, does not know
//! twenty-odd types, writes `no-default-alpn` and an IPSECKEY without a gateway wrongly, and tells most faults as on line 2.

#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::string_slice, clippy::cast_possible_truncation)
)]

mod form;
mod gateway;
mod loc;
mod old;
mod read;
mod svcb;
#[cfg(test)]
mod tests;
mod token;
mod value;
mod write;

use std::fmt;

pub use self::token::{Token, token};
use crate::wire::code::RecordType;
use crate::wire::name::Name;

/// The most octets that the data of a record has: its length is told in 16 bits (RFC 1035 3.2.1).
pub const RDATA_MAX: usize = 65_535;

/// The most octets of a character-string (RFC 1035 3.3).
const TEXT_MAX: usize = 255;

/// Why a text is not the data of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RdataError {
    /// The octet of the text where it goes wrong.
    pub offset: usize,
    /// What is wrong there.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl RdataError {
    fn new(offset: usize, message: impl Into<String>) -> Self {
        Self {
            offset,
            message: message.into(),
            hint: None,
        }
    }

    fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }
}

impl fmt::Display for RdataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for RdataError {}

/// Reads the presentation form of one record's data (RFC 1035 5.1) to uncompressed wire form. Relative names and `@` take
/// the origin.
///
/// `\# LENGTH HEX` (RFC 3597 5) serves for every type; octets of a type known by name must then be data of that type. Line
/// breaks, comments, an empty text and anything left over are errors.
pub fn parse(rtype: RecordType, text: &str, origin: &Name) -> Result<Box<[u8]>, RdataError> {
    read::read(rtype, text, origin)
}

/// Reads one record's data as a master file has it, cut into tokens of which the text ends at `end`; places are those of the
/// tokens. What is allowed beside what [`parse`] takes: times with units, and addresses where a name is meant.
pub fn parse_master(
    rtype: RecordType,
    tokens: &[Token<'_>],
    end: usize,
    origin: &Name,
) -> Result<Box<[u8]>, RdataError> {
    read::read_tokens(rtype, tokens, end, origin, read::Style::Master)
}

/// A time as master files have it, in seconds: a number, or numbers with units, as in `1h30m`.
pub fn seconds(text: &str) -> Option<u32> {
    value::seconds(text).and_then(|seconds| u32::try_from(seconds).ok())
}

/// Literal text as the data of a TXT record: cut into character-strings of 255 octets; empty text is one empty string
/// (RFC 1035 3.3.14). Whether it fits a record ([`RDATA_MAX`]) is left to the caller.
pub fn txt(text: &str) -> Box<[u8]> {
    let mut rdata = Vec::with_capacity(text.len() + text.len() / TEXT_MAX + 1);
    if text.is_empty() {
        rdata.push(0);
    }
    for string in text.as_bytes().chunks(TEXT_MAX) {
        rdata.push(u8::try_from(string.len()).unwrap_or(u8::MAX));
        rdata.extend_from_slice(string);
    }
    rdata.into()
}

/// Presentation form, with absolute names; [`parse`] reads it back to the same octets.
///
/// Octets of types that are not known by name, or that are no data of their type, are shown as `\# LENGTH HEX`.
pub fn present(rtype: RecordType, rdata: &[u8]) -> String {
    let known = form::form(rtype).and_then(|form| write::write(form, rdata));
    // Some data has no text that stands for exactly it, such as a distance of LOC that is not normal.
    known
        .filter(|text| parse(rtype, text, &Name::root()).is_ok_and(|again| *again == *rdata))
        .unwrap_or_else(|| write::write_generic(rdata))
}

/// A part of record data, as a response that compresses names needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Octets to be copied.
    Octets(&'a [u8]),
    /// An uncompressed name that may be compressed.
    Name(&'a [u8]),
}

/// Cuts uncompressed data into octets and the names in it that may be compressed: those of the types of RFC 1035 and no
/// others (RFC 3597 4). Data that is not of its type is one piece of octets.
pub fn pieces(rtype: RecordType, rdata: &[u8]) -> Vec<Piece<'_>> {
    use RecordType as T;
    let compressible = matches!(
        rtype,
        T::NS | T::MD | T::MF | T::CNAME | T::SOA | T::MB | T::MG | T::MR | T::PTR | T::MINFO | T::MX
    );
    let cut = form::form(rtype)
        .filter(|_| compressible)
        .and_then(|form| write::cut(form, rdata));
    cut.unwrap_or_else(|| vec![Piece::Octets(rdata)])
}

/// Where names stand in the data of a type whose names [`pieces`] lets be compressed: how many octets before them, and how many names.
pub fn compressible_names(rtype: RecordType) -> (usize, usize) {
    use RecordType as T;
    match rtype {
        T::NS | T::MD | T::MF | T::CNAME | T::MB | T::MG | T::MR | T::PTR => (0, 1),
        T::SOA | T::MINFO => (0, 2),
        T::MX => (2, 1),
        _ => (0, 0),
    }
}

/// The target of NS, MX, SRV, CNAME, PTR, DNAME, SVCB or HTTPS data. None for other types, and for data that is not of its
/// type. That a target `.` of SVCB means the owner itself (RFC 9460 2.5) is left to the caller.
pub fn names(rtype: RecordType, rdata: &[u8]) -> Vec<Name> {
    use RecordType as T;
    let targeted = matches!(
        rtype,
        T::NS | T::MX | T::SRV | T::CNAME | T::PTR | T::DNAME | T::SVCB | T::HTTPS
    );
    let cut = form::form(rtype)
        .filter(|_| targeted)
        .and_then(|form| write::cut(form, rdata))
        .unwrap_or_default();
    cut.into_iter()
        .filter_map(|piece| match piece {
            Piece::Name(wire) => Name::from_wire(wire),
            Piece::Octets(_) => None,
        })
        .collect()
}
