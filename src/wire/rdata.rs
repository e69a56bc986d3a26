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
