//! Responses, written plainly: records one after another, names compressed (RFC 1035 4.1.4).
//!
//! It runs when zones are compiled and in the tests' plain answers, never for a query. Where each pointer stands is kept, so
//! that what was written after one question can be moved after a longer one.

use std::collections::HashMap;

use super::code::{RecordType, class};
use super::name::Name;
use super::query::HEADER;
use super::rdata::{self, Piece};

/// Pointers hold 14 bits: how far into a message they reach.
pub const POINTER_MAX: usize = 0x3fff;

/// This much is left free for moving them after a longer question.
const COMPRESSED_MAX: usize = POINTER_MAX - 256;

/// The pointer to the name of the question, which stands right after the header.
pub const QUESTION_POINTER: u16 = 0xc000 | HEADER as u16;

/// Room for most messages.
const USUAL: usize = 512;

/// The owner of a record that is written.
#[derive(Debug, Clone, Copy)]
pub enum Owner<'a> {
    /// Whatever name the question has.
    Question,
    /// This name.
    Name(&'a Name),
}

/// Writes the sections after a question.
#[derive(Debug)]
pub struct Writer {
    octets: Vec<u8>,
    start: usize,
    /// Where each suffix stands that may be pointed at. Most answers point at nothing but the question, so that its own suffixes
    /// are noted when they are first asked for.
    suffixes: HashMap<Vec<u8>, usize>,
    /// How many labels of the question may not be pointed at; `None` once its suffixes are noted.
    skip: Option<usize>,
    pointers: Vec<u16>,
    owner_pointers: Vec<u16>,
}

impl Writer {
    /// After a question for `name`. The name and its suffixes may be pointed at, less the first `skip` of them.
    pub fn after_question(name: &Name, skip: usize) -> Self {
        let mut writer = Self {
            octets: Vec::with_capacity(USUAL),
            start: 0,
            suffixes: HashMap::new(),
            skip: Some(skip),
            pointers: Vec::new(),
            owner_pointers: Vec::new(),
        };
        writer.octets.extend_from_slice(&[0; HEADER]);
        writer.octets.extend_from_slice(name.wire());
        writer.octets.extend_from_slice(&[0; 4]);
        writer.start = writer.octets.len();
        writer
    }

    /// Notes where the suffixes of the question's name stand.
    fn note_question(&mut self) {
        let Some(mut skip) = self.skip.take() else { return };
        let name = self.octets[HEADER..self.start - 4].to_ascii_lowercase();
        let mut at = 0;
        while let Some(length) = name.get(at).filter(|length| **length > 0) {
            if skip == 0 {
                self.suffixes.insert(name[at..].to_vec(), HEADER + at);
            }
            skip = skip.saturating_sub(1);
            at += usize::from(*length) + 1;
        }
    }

    /// Writes one record of class IN.
    pub fn record(&mut self, owner: Owner<'_>, rtype: RecordType, ttl: u32, data: &[u8]) {
        match owner {
            Owner::Question => {
                self.owner_pointers
                    .push(u16::try_from(self.position()).unwrap_or(u16::MAX));
                self.octets.extend_from_slice(&QUESTION_POINTER.to_be_bytes());
            }
            Owner::Name(name) => self.name(name.wire()),
        }
        self.octets.extend_from_slice(&rtype.0.to_be_bytes());
        self.octets.extend_from_slice(&class::IN.to_be_bytes());
        self.octets.extend_from_slice(&ttl.to_be_bytes());
        let length_at = self.octets.len();
        self.octets.extend_from_slice(&[0, 0]);
        for piece in rdata::pieces(rtype, data) {
            match piece {
                Piece::Octets(octets) => self.octets.extend_from_slice(octets),
                Piece::Name(name) => self.name(name),
            }
        }
        // Record data is at most 65,535 octets long, and compressing it does not make it longer.
        let length = u16::try_from(self.octets.len() - length_at - 2).unwrap_or(u16::MAX);
        self.octets[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
    }

    /// Where the next record starts, counted from the end of the question.
    pub fn position(&self) -> usize {
        self.octets.len() - self.start
    }

    /// What was written after the question.
    pub fn sections(&self) -> &[u8] {
        &self.octets[self.start..]
    }

    /// Where in [`Writer::sections`] the pointers stand, those of [`Owner::Question`] left out.
    pub fn pointers(&self) -> &[u16] {
        &self.pointers
    }

    /// Where those of [`Owner::Question`] stand.
    pub fn owner_pointers(&self) -> &[u16] {
        &self.owner_pointers
    }

    /// A pointer to a name that was written or is in the question; `None` if it stands nowhere in full.
    pub fn pointer_to(&mut self, name: &Name) -> Option<u16> {
        self.note_question();
        let at = *self.suffixes.get(&name.wire().to_ascii_lowercase())?;
        Some(0xc000 | u16::try_from(at).ok()?)
    }

    fn name(&mut self, wire: &[u8]) {
        self.note_question();
        let mut at = 0;
        while let Some(length) = wire
            .get(at)
            .map(|length| usize::from(*length))
            .filter(|length| *length > 0)
        {
            let suffix = wire[at..].to_ascii_lowercase();
            if let Some(&target) = self.suffixes.get(&suffix) {
                // A tail beyond what 16 bits hold is refused when it is kept.
                self.pointers
                    .push(u16::try_from(self.octets.len() - self.start).unwrap_or(u16::MAX));
                let pointer = 0xc000 | u16::try_from(target).unwrap_or_default();
                self.octets.extend_from_slice(&pointer.to_be_bytes());
                return;
            }
            if self.octets.len() <= COMPRESSED_MAX {
                self.suffixes.insert(suffix, self.octets.len());
            }
            self.octets.extend_from_slice(&wire[at..=at + length]);
            at += length + 1;
        }
        self.octets.push(0);
    }
}

/// Changes every pointer of records that a [`Writer`] wrote, without the two bits that mark it.
pub fn move_pointers(octets: &mut [u8], records: u16, change: impl Fn(u16) -> u16) {
    let mut at = 0;
    for _ in 0..records {
        at = move_pointer(octets, at, &change);
        let [t1, t0, _, _, _, _, _, _, d1, d0] = *octets[at..].first_chunk::<10>().unwrap_or(&[0; 10]);
        let (before, names) = rdata::compressible_names(RecordType(u16::from_be_bytes([t1, t0])));
        let data = at + 10;
        let mut name = data + before;
        for _ in 0..names {
            name = move_pointer(octets, name, &change);
        }
        at = data + usize::from(u16::from_be_bytes([d1, d0]));
    }
}

/// Changes the pointer that ends the name at `at`, if one does. Returns where the name ends.
fn move_pointer(octets: &mut [u8], mut at: usize, change: &impl Fn(u16) -> u16) -> usize {
    while octets[at] > 0 && octets[at] < 0xc0 {
        at += usize::from(octets[at]) + 1;
    }
    if octets[at] == 0 {
        return at + 1;
    }
    let pointer = u16::from_be_bytes([octets[at] & 0x3f, octets[at + 1]]);
    octets[at..at + 2].copy_from_slice(&(0xc000 | change(pointer)).to_be_bytes());
    at + 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_back_to_the_question_and_to_what_was_written() {
        let name = |text| Name::parse(text, None).unwrap();
        let mut writer = Writer::after_question(&name("www.example.com."), 0);
        writer.record(Owner::Question, RecordType::A, 300, &[192, 0, 2, 1]);
        writer.record(
            Owner::Name(&name("ns.Example.com.")),
            RecordType::A,
            300,
            &[192, 0, 2, 2],
        );
        writer.record(
            Owner::Name(&name("ns.example.com.")),
            RecordType::A,
            300,
            &[192, 0, 2, 3],
        );
        let sections = writer.sections();
        assert_eq!(sections[..2], [0xc0, 12]);
        assert_eq!(sections[16..21], [2, b'n', b's', 0xc0, 16]);
        assert_eq!(sections[35..37], [0xc0, 12 + 17 + 4 + 16]);
        assert_eq!(writer.pointers(), [19, 35]);
    }
}
