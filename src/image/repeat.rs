//! A rare turn of an answer: a chain of aliases that comes back to its wildcard ends sooner for one name.

use super::Image;

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
    /// For an entry whose chain comes back to its wildcard: how many records, in how many octets, there are for whoever asks for the
    /// very name by which it does.
    pub fn cut_at_repeat(&self, entry: u32, hash: u64) -> Option<(u16, u16)> {
        let first = self.repeats.partition_point(|repeat| repeat.entry < entry);
        let mut repeats = self.repeats[first..].iter().take_while(|repeat| repeat.entry == entry);
        let repeat = repeats.find(|repeat| repeat.hash == hash)?;
        Some((repeat.answers, repeat.length))
    }
}
