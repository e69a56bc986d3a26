//! Compiled tails: everything of a response after the question, ready to be copied.
//!
//! The question's name is always at offset 12, so a tail made for one question fits every other of the same name. Where the name may be longer
//! (wildcards, referrals, name errors) all that stands before and in the tail moves alike, and so do the pointers: the tail keeps
//! where they are.

use crate::wire::code::RecordType;
use crate::wire::response::Writer;
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
    /// The pointer to the steered name.
    pub steered_owner: u16,
    /// What steers it, or [`super::names::NONE`].
    pub steer: u32,
    /// The sections.
    pub tail: Tail,
}

/// [`Entry::flags`]: the AA bit.
pub const AUTHORITATIVE: u8 = 1;
/// [`Entry::flags`]: the additional section is needed (RFC 9471).
pub const REFERRAL: u8 = 2;
/// [`Entry::flags`]: the records fit no message, so none of them is here.
pub const TOO_LONG: u8 = 4;
/// [`Entry::flags`]: a chain of aliases that comes back to its wildcard ([`super::Image::cut_at_repeat`]).
pub const REPEATS: u8 = 8;

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
        if length > SECTIONS_MAX {
            counts[2] = 0;
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
                | flag(sections.referral, REFERRAL)
                | flag(too_long, TOO_LONG)
                | flag(!sections.repeats.is_empty(), REPEATS),
            rcode: sections.rcode.0 as u8,
            counts,
            authority_end: sections.authority_end.min(length) as u16,
            steered_owner: sections.steer.map_or(0, |steered| steered.owner),
            steer,
            tail: tails.keep(writer, length, shape),
        }
    }
}
