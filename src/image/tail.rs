//! Compiled tails: everything of a response after the question, ready to be copied.
//!
//! The question's name is always at offset 12, so a tail made for one question fits every other of the same name. Where the name may be longer
//! (wildcards, referrals, name errors) all that stands before and in the tail moves alike, and so do the pointers: the tail keeps
//! where they are.

use crate::wire::code::RecordType;
use crate::wire::response::{POINTER_MAX, Writer};
use crate::zone::sections::Sections;

/// A tail, by its place in [`Tails`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Tail {
    at: u32,
    patches: u32,
    /// Octets.
    pub length: u16,
    patch_count: u16,
}

/// What answers one type at one owner.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The type; 0 for all that have no entry of their own. Such an entry comes last.
    pub rtype: RecordType,
    /// Flags of the answer.
    pub flags: u8,
    /// The response code.
    pub rcode: u8,
    /// Records in each section.
    pub counts: [u16; 3],
    /// Where the authority section ends.
    pub authority_end: u16,
    /// The first so many records of the additional section are glue that a referral needs.
    pub needed: u16,
    /// The pointer to the steered name.
    pub steered_owner: u16,
    /// What steers it, or [`super::names::NONE`].
    pub steer: u32,
    /// The sections.
    pub tail: Tail,
}

/// [`Entry::flags`]: the AA bit.
pub const AUTHORITATIVE: u8 = 1;
/// [`Entry::flags`]: the records fit no message, so none of them is here.
pub const TOO_LONG: u8 = 2;
/// [`Entry::flags`]: a chain of aliases that comes back to its wildcard ([`super::Image::cut_at_repeat`]).
pub const REPEATS: u8 = 4;

/// What may stand before the names of the question that a tail is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Nothing: the question is for that very name.
    Exact,
    /// Other labels in place of the first, in every record that is owned by the question.
    Wildcard,
    /// More labels.
    Below,
}

/// All tails.
#[derive(Debug, Default)]
pub struct Tails {
    octets: Vec<u8>,
    patches: Vec<u16>,
    /// The one that was kept last.
    last: Tail,
}

impl Tails {
    /// Keeps what was written.
    pub fn keep(&mut self, writer: &Writer, length: usize, shape: Shape) -> Tail {
        let sections = &writer.sections()[..length];
        // What ANY is answered is mostly what was answered just before.
        let same = shape == Shape::Exact && self.octets.ends_with(sections) && usize::from(self.last.length) == length;
        if same && self.last.patch_count == 0 {
            return self.last;
        }
        let at = self.octets.len() as u32;
        let patches = self.patches.len() as u32;
        self.octets.extend_from_slice(sections);
        let within = |pointers: &[u16]| {
            let within = pointers.iter().filter(|pointer| usize::from(**pointer) < length);
            within.copied().collect::<Vec<_>>()
        };
        if shape != Shape::Exact {
            self.patches.extend(within(writer.pointers()));
        }
        self.last = Tail {
            at,
            patches,
            length: length as u16,
            patch_count: (self.patches.len() - patches as usize) as u16,
        };
        self.last
    }

    /// How much of an entry's sections fits into `room`: answers and authorities, and of the additional section as many whole record sets as there
    /// is room for, in their order. Returns the records of that section, and the octets of all. `made_end` is where the question ended that the
    /// tail was made for.
    pub fn fit(&self, entry: &Entry, made_end: usize, room: usize) -> (u16, usize) {
        let octets = self.octets(&entry.tail);
        let (mut fits, mut at) = ((0, usize::from(entry.authority_end)), usize::from(entry.authority_end));
        // Farther than pointers reach the records of a set cannot be told by theirs.
        if room > POINTER_MAX {
            return fits;
        }
        let mut before = None;
        for count in 0..entry.counts[2] {
            let Some(record) = Record::read(octets, at, made_end) else {
                break;
            };
            if before != Some((record.owner, record.rtype)) {
                fits = (count, at);
            }
            if record.end > room {
                return fits;
            }
            before = Some((record.owner, record.rtype));
            at = record.end;
        }
        (entry.counts[2], at)
    }

    /// Copies the first `length` octets of a tail to `target`, for a name that is `shift` octets longer than the one it was made for.
    /// `target` is just as long.
    #[inline]
    pub fn copy(&self, tail: &Tail, shift: usize, target: &mut [u8]) {
        let at = tail.at as usize;
        target.copy_from_slice(&self.octets[at..at + target.len()]);
        if shift > 0 {
            self.patch(tail, target, |pointer| pointer + shift as u16);
        }
    }

    /// The octets of a tail, as they were made.
    pub fn octets(&self, tail: &Tail) -> &[u8] {
        let at = tail.at as usize;
        &self.octets[at..at + usize::from(tail.length)]
    }

    fn patch(&self, tail: &Tail, target: &mut [u8], change: impl Fn(u16) -> u16) {
        let patches = tail.patches as usize;
        for &at in &self.patches[patches..patches + usize::from(tail.patch_count)] {
            let at = usize::from(at);
            let pointer = target
                .get_mut(at..at + 2)
                .and_then(|pointer| <&mut [u8; 2]>::try_from(pointer).ok());
            if let Some(pointer) = pointer {
                *pointer = change(u16::from_be_bytes(*pointer)).to_be_bytes();
            }
        }
    }

    /// Asks for the first octets of a tail.
    #[inline(always)]
    pub fn prefetch(&self, tail: &Tail) {
        super::prefetch::prefetch(&self.octets, tail.at as usize);
    }
}

/// A record of a tail, as far as [`Tails::fit`] looks.
struct Record {
    /// Where in the message its owner stands for the first time.
    owner: usize,
    rtype: [u8; 2],
    end: usize,
}

impl Record {
    fn read(octets: &[u8], start: usize, made_end: usize) -> Option<Self> {
        let mut owner = made_end + start;
        let mut at = start;
        loop {
            match *octets.get(at)? {
                0 => {
                    // The root is never pointed to.
                    owner = if at == start { 0 } else { owner };
                    break at += 1;
                }
                high @ 0xc0.. => {
                    if at == start {
                        owner = usize::from(u16::from_be_bytes([high & 0x3f, *octets.get(at + 1)?]));
                    }
                    break at += 2;
                }
                length => at += usize::from(length) + 1,
            }
        }
        let [t1, t0, _, _, _, _, _, _, d1, d0] = *octets.get(at..)?.first_chunk::<10>()?;
        Some(Self {
            owner,
            rtype: [t1, t0],
            end: at + 10 + usize::from(u16::from_be_bytes([d1, d0])),
        })
    }
}

/// The most octets a message has after the question: a stream's 65,535 less header and shortest question. Whether a response fits beside its own
/// question and OPT record is seen when it is written.
pub const SECTIONS_MAX: usize = 65_535 - 12 - 5;

impl Entry {
    /// From composed sections. What is too long for any message loses its additional section, then everything.
    pub fn new(
        rtype: RecordType,
        sections: &Sections<'_>,
        writer: &Writer,
        steer: u32,
        shape: Shape,
        tails: &mut Tails,
    ) -> Self {
        let mut counts = [sections.answers, sections.authorities, sections.additionals];
        let mut length = writer.position();
        let mut needed = sections.needed;
        if length > SECTIONS_MAX {
            (counts[2], needed) = (0, 0);
            length = sections.authority_end;
        }
        let too_long = length > SECTIONS_MAX;
        if too_long {
            (counts, length) = ([0; 3], 0);
        }
        let flag = |on: bool, flag: u8| if on { flag } else { 0 };
        Self {
            rtype,
            flags: flag(sections.authoritative, AUTHORITATIVE)
                | flag(too_long, TOO_LONG)
                | flag(!sections.repeats.is_empty(), REPEATS),
            rcode: sections.rcode.0 as u8,
            counts,
            authority_end: sections.authority_end.min(length) as u16,
            needed,
            steered_owner: sections.steer.map_or(0, |steered| steered.owner),
            steer,
            tail: tails.keep(writer, length, shape),
        }
    }
}
