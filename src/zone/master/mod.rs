//! Master files (RFC 1035 5): the text of a zone to the zone, as it stands.
//!
//! What other servers load is loaded, with a warning where it is odd; a zone in TOML is held to more. No text is kept longer than
//! its line: `scan` cuts it into tokens, `read` makes records of them, and `gather` sorts those into owners and
//! judges them together.

#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::string_slice, clippy::cast_possible_truncation)
)]

mod gather;
mod generate;
mod read;
mod scan;
mod told;

use std::sync::Arc;

use crate::diagnostic::Source;
use crate::spec::{Faults, Span};
use crate::wire::code::RecordType;
use crate::wire::name::Name;
use crate::zone::model::Zone;

/// Opens a file that is included, by its name as written; or says why not.
pub type Include<'a> = &'a mut dyn FnMut(&str) -> Result<Arc<Source>, String>;

/// Reads the master file that `faults` are of, as the zone `origin`. `None` if there is no zone in it; what comes back may be
/// served only if there was no error.
pub fn read(origin: &Name, include: Include<'_>, faults: &mut Faults) -> Option<Zone> {
    let source = faults.source().clone();
    let mut told = told::Told::new(faults);
    let mut reader = read::Reader::new(origin, include, &mut told);
    reader.file(&source, 0);
    let read = reader.finish();
    let zone = gather::gather(origin, &source, read, &mut told);
    told.finish();
    zone
}

/// A record that was read.
#[derive(Debug)]
struct Record {
    owner: Name,
    rtype: RecordType,
    ttl: u32,
    data: Box<[u8]>,
    place: Place,
}

/// Where a record is written: its type.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// The number of the file: 0 is the zone's own.
    file: u32,
    start: usize,
    length: u32,
}

impl Place {
    fn new(file: u32, span: &Span) -> Self {
        Self {
            file,
            start: span.start,
            length: u32::try_from(span.len()).unwrap_or(u32::MAX),
        }
    }

    fn span(&self) -> Span {
        self.start..self.start + self.length as usize
    }
}
