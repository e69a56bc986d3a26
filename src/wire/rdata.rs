//! Record data: presentation form to wire form and back.

use crate::wire::code::RecordType;
use crate::wire::name::Name;

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

/// Reads presentation form.
pub fn parse(_rtype: RecordType, _text: &str, _origin: &Name) -> Result<Box<[u8]>, RdataError> {
    Err(RdataError {
        offset: 0,
        message: "not yet".into(),
        hint: None,
    })
}

/// A part of record data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Copied as it is.
    Octets(&'a [u8]),
    /// A name that may be compressed.
    Name(&'a [u8]),
}

/// Cuts record data into what is copied and what may be compressed.
pub fn pieces(_rtype: RecordType, rdata: &[u8]) -> impl Iterator<Item = Piece<'_>> {
    [Piece::Octets(rdata)].into_iter()
}

/// The names that records of a type point to.
pub fn names(_rtype: RecordType, _rdata: &[u8]) -> Vec<Name> {
    Vec::new()
}
