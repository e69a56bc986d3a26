//! The two rare turns of an answer: a CNAME of a host that is one of our own names, after which the answer goes on, and a chain of aliases
//! that comes back to its wildcard, which ends sooner for one name.

use super::Image;
use super::tail::Entry;
use crate::policy::model::NodeId;
use crate::wire::code::RecordType;

/// What follows the CNAME of a host.
#[derive(Debug, Clone, Copy)]
pub struct Onward {
    /// The pool whose host it is.
    pub pool: NodeId,
    /// The backend, by its place in the pool.
    pub backend: u16,
    /// Its first entry; the last is for all types that have none of their own.
    pub first: u32,
    /// How many entries.
    pub count: u32,
}

/// Where a chain comes back to its wildcard.
#[derive(Debug, Clone, Copy)]
pub struct RepeatAt {
    /// The entry that holds the chain.
    pub entry: u32,
    /// The hash of the name by which it comes back.
    pub hash: u64,
    /// Records before that.
    pub answers: u16,
    /// Octets before that.
    pub length: u16,
}

impl Image {
    /// What follows the CNAME of a host for a type; nothing if the host is none of our names, or is steered.
    pub fn onward(&self, pool: NodeId, backend: usize, qtype: RecordType) -> Option<&Entry> {
        if matches!(qtype, RecordType::CNAME | RecordType::ANY) {
            return None;
        }
        let at = self
            .onward
            .binary_search_by_key(&(pool, backend), |one| (one.pool, usize::from(one.backend)))
            .ok()?;
        let Onward { first, count, .. } = self.onward[at];
        let entries = &self.entries[first as usize..(first + count) as usize];
        let entry = entries.iter().find(|entry| entry.rtype == qtype).or(entries.last())?;
        (entry.steer == super::names::NONE).then_some(entry)
    }

    /// For an entry whose chain comes back to its wildcard: how many records, in how many octets, there are for whoever asks for the
    /// very name by which it does.
    pub fn cut_at_repeat(&self, entry: u32, hash: u64) -> Option<(u16, u16)> {
        let at = self.repeats.binary_search_by_key(&entry, |repeat| repeat.entry).ok()?;
        let repeat = &self.repeats[at];
        (repeat.hash == hash).then_some((repeat.answers, repeat.length))
    }
}
