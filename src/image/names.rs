//! The index of names: open addressing, a tag and an owner's number in eight octets, at most half full; an owner is one cache line.
//!
//! A look-up of a name that exists touches a slot and an owner. Owners, slots and tails can each be asked for ahead.

use super::prefetch::prefetch;
use crate::wire::query::{NameKey, equals_lowercase};

/// No owner, where one may be missing.
pub const NONE: u32 = u32::MAX;

/// Names up to this many octets in wire form stand in the owner's own cache line.
const INLINE: usize = 40;

/// What an owner is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnerKind {
    /// Data of the zone, or an empty non-terminal.
    Node,
    /// The same with a DNAME: all below it is redirected. The entry for that stands right after its own.
    Redirect,
    /// A zone cut: it and all below is referred.
    Cut,
    /// The origin of a zone that could not be loaded: it and all below is SERVFAIL.
    Failed,
}

/// One name, in one cache line.
#[derive(Debug, Clone)]
#[repr(C, align(64))]
pub struct Owner {
    /// What it is.
    pub kind: OwnerKind,
    name_length: u8,
    /// How many entries it has.
    pub entry_count: u16,
    /// Its first entry.
    pub entries: u32,
    /// Its zone.
    pub zone: u32,
    /// The wildcard right below it, or [`NONE`].
    pub wildcard: u32,
    /// For an apex that a zone above is served of too: the owner that says what that zone has for DS, or [`NONE`].
    pub above: u32,
    name_at: u32,
    name: [u8; INLINE],
}

/// All owners, and how to find them.
#[derive(Debug)]
pub struct Names {
    /// Hashes names.
    pub key: NameKey,
    /// The most labels any owner has.
    pub depth: usize,
    slots: Box<[u64]>,
    /// Memory aligned to cache lines cannot be made smaller in place, so what is too much of it stays: it is never touched.
    owners: Vec<Owner>,
    long: Box<[u8]>,
}

/// Gathers owners.
#[derive(Debug)]
pub struct NamesBuilder {
    key: NameKey,
    owners: Vec<Owner>,
    /// The numbers of those that are not to be found, in their order.
    unlisted: Vec<u32>,
    long: Vec<u8>,
    depth: usize,
}

impl NamesBuilder {
    /// An empty one, with room for so many owners: to make room means to copy what is there.
    pub fn new(key: NameKey, owners: usize) -> Self {
        Self {
            key,
            owners: Vec::with_capacity(owners),
            unlisted: Vec::new(),
            long: Vec::new(),
            depth: 0,
        }
    }

    /// The hash of a name in lower-case wire form.
    pub fn hash(&self, lower: &[u8]) -> u64 {
        self.key.name(lower)
    }

    /// Adds an owner that can be found by its name, in lower-case wire form.
    pub fn add(&mut self, lower: &[u8], kind: OwnerKind, zone: u32) -> u32 {
        let id = self.push(lower, kind, zone);
        let mut labels = 0;
        let mut at = 0;
        while let Some(length) = lower.get(at).filter(|length| **length > 0) {
            labels += 1;
            at += usize::from(*length) + 1;
        }
        self.depth = self.depth.max(labels);
        id
    }

    /// Adds an owner that can only be reached from another.
    pub fn add_unlisted(&mut self, lower: &[u8], kind: OwnerKind, zone: u32) -> u32 {
        let id = self.push(lower, kind, zone);
        self.unlisted.push(id);
        id
    }

    fn push(&mut self, lower: &[u8], kind: OwnerKind, zone: u32) -> u32 {
        let mut name = [0; INLINE];
        let name_at = self.long.len() as u32;
        match name.get_mut(..lower.len()) {
            Some(inline) => inline.copy_from_slice(lower),
            None => self.long.extend_from_slice(lower),
        }
        let id = self.owners.len() as u32;
        self.owners.push(Owner {
            kind,
            name_length: lower.len() as u8,
            entry_count: 0,
            entries: 0,
            zone,
            wildcard: NONE,
            above: NONE,
            name_at,
            name,
        });
        id
    }

    /// An owner that was added.
    pub fn owner(&mut self, id: u32) -> &mut Owner {
        &mut self.owners[id as usize]
    }

    /// The index.
    pub fn finish(self) -> Names {
        let size = (self.owners.len() * 2).next_power_of_two().max(8);
        let mut names = Names {
            key: self.key,
            depth: self.depth,
            slots: vec![0; size].into(),
            owners: self.owners,
            long: self.long.into(),
        };
        let mut unlisted = self.unlisted.into_iter().peekable();
        for id in 0..names.owners.len() as u32 {
            if unlisted.next_if_eq(&id).is_some() {
                continue;
            }
            let hash = names.key.name(names.name(id));
            let mut at = home(hash, size - 1);
            while names.slots[at] != 0 {
                at = (at + 1) & (size - 1);
            }
            names.slots[at] = slot(hash, id);
        }
        names
    }
}

/// The place a name is first looked for: by the upper half of its hash.
fn home(hash: u64, mask: usize) -> usize {
    (hash >> 32) as usize & mask
}

/// The lower half of the hash and the owner's number, from 1 so that 0 is empty.
fn slot(hash: u64, id: u32) -> u64 {
    hash << 32 | (u64::from(id) + 1)
}

impl Names {
    /// Asks for the slot of a name.
    #[inline(always)]
    pub fn prefetch_slot(&self, hash: u64) {
        prefetch(&self.slots, home(hash, self.slots.len() - 1));
    }

    /// Asks for the owner that a name probably has.
    #[inline(always)]
    pub fn prefetch_owner(&self, hash: u64) {
        let entry = self.slots[home(hash, self.slots.len() - 1)];
        if entry >> 32 == hash & 0xffff_ffff {
            prefetch(&self.owners, (entry as u32).wrapping_sub(1) as usize);
        }
    }

    /// The owner that a name has if its home slot is not another's: good enough to ask for more memory.
    #[inline(always)]
    pub fn probable_owner(&self, hash: u64) -> Option<&Owner> {
        let entry = self.slots[home(hash, self.slots.len() - 1)];
        match entry >> 32 == hash & 0xffff_ffff {
            true => self.owners.get((entry as u32).wrapping_sub(1) as usize),
            false => None,
        }
    }

    /// The number of the owner of a name, asked in any case.
    #[inline]
    pub fn find(&self, hash: u64, name: &[u8]) -> Option<u32> {
        let mask = self.slots.len() - 1;
        let mut at = home(hash, mask);
        loop {
            let entry = self.slots[at];
            if entry == 0 {
                return None;
            }
            if entry >> 32 == hash & 0xffff_ffff {
                let id = (entry as u32).wrapping_sub(1);
                if equals_lowercase(name, self.name(id)) {
                    return Some(id);
                }
            }
            at = (at + 1) & mask;
        }
    }

    /// An owner.
    #[inline]
    pub fn owner(&self, id: u32) -> &Owner {
        &self.owners[id as usize]
    }

    /// How many owners there are.
    pub fn len(&self) -> usize {
        self.owners.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.owners.is_empty()
    }

    /// The name of an owner: lower case, wire form.
    #[inline]
    pub fn name(&self, id: u32) -> &[u8] {
        let owner = &self.owners[id as usize];
        let length = usize::from(owner.name_length);
        match owner.name.get(..length) {
            Some(name) => name,
            None => &self.long[owner.name_at as usize..owner.name_at as usize + length],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::name::Name;

    #[test]
    fn finds_what_was_added_and_nothing_else() {
        assert_eq!(size_of::<Owner>(), 64);
        let key = NameKey::new([3, 5]);
        let mut builder = NamesBuilder::new(key, 0);
        let name =
            |index: usize| Name::parse(&format!("h{index}.{}.example.com.", "x".repeat(index % 60 + 1)), None).unwrap();
        for index in 0..1000 {
            assert_eq!(builder.add(name(index).wire(), OwnerKind::Node, 0), index as u32);
        }
        let names = builder.finish();
        assert_eq!(names.depth, 4);
        for index in 0..2000 {
            let wire = name(index).wire().to_owned();
            let asked = wire.to_ascii_uppercase();
            assert_eq!(
                names.find(key.name(&wire), &asked),
                (index < 1000).then_some(index as u32)
            );
        }
    }
}
