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
pub fn parse(rtype: RecordType, text: &str, origin: &Name) -> Result<Box<[u8]>, RdataError> {
    let bad = |message: String| RdataError {
        offset: 0,
        message,
        hint: None,
    };
    let name = |text: &str| Name::parse(text, Some(origin)).map_err(|error| bad(error.to_string()));
    match rtype {
        RecordType::A => Ok(text
            .parse::<std::net::Ipv4Addr>()
            .map_err(|e| bad(e.to_string()))?
            .octets()
            .into()),
        RecordType::AAAA => Ok(text
            .parse::<std::net::Ipv6Addr>()
            .map_err(|e| bad(e.to_string()))?
            .octets()
            .into()),
        RecordType::NS | RecordType::CNAME | RecordType::DNAME | RecordType::PTR => Ok(name(text)?.wire().into()),
        RecordType::MX => {
            let (preference, host) = text.split_once(' ').ok_or(bad("no".into()))?;
            let preference: u16 = preference.parse().map_err(|_| bad("no".into()))?;
            Ok([&preference.to_be_bytes(), name(host)?.wire()].concat().into())
        }
        _ => Err(bad("not yet".into())),
    }
}

/// A text as it is.
pub fn txt(text: &str) -> Box<[u8]> {
    text.as_bytes()
        .chunks(255)
        .flat_map(|c| [&[c.len() as u8], c].concat())
        .collect()
}
