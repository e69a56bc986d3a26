//! Which pool answered for which record, and how often: the names of what is counted, which belong to one image, and the counts, one
//! block for each thread that answers.
//!
//! A block has one writer, so that a load and a store do where others would need an atomic addition. Which cell a decision has is one look
//! into a small table of the pools that a root can lead to, by the low bits of their numbers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Image;
use super::names::NONE;
use crate::policy::Family;
use crate::policy::model::{NodeId, Steering};
use crate::policy::trace::Ear;
use crate::policy::tree::Forest;
use crate::wire::name::Name;

/// The most cells that records have one by one: what comes after them is counted by root, for all its records together. It bounds a block to
/// 128 KiB, and what is told of an image to some megabytes, whatever is configured.
pub const CELLS_MAX: u32 = 16_384;

/// What is counted of an image, and the counts.
#[derive(Debug, Default)]
pub struct Tally {
    rows: Box<[Row]>,
    /// The pools that roots lead to: a table for each root, as long as a power of two and never full. [`NONE`] is in free slots.
    slots: Box<[u32]>,
    blocks: Box<[Block]>,
}

/// The cells of a record, or of all further records of a root.
#[derive(Debug)]
struct Row {
    /// Empty for all together.
    record: String,
    root: String,
    place: Place,
    /// The pools that the root can lead to.
    pools: Box<[Counted]>,
}

/// A pool, as far as it is counted.
#[derive(Debug)]
struct Counted {
    name: String,
    slot: usize,
    has_family: [bool; 2],
}

/// Where the cells of a record are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Place {
    /// The first cell: each slot has two, one for each family.
    first: u32,
    /// The first slot of its root.
    slots: u32,
    /// What is taken of a pool's number.
    mask: u32,
}

/// The counts of one thread, apart from those of the others.
#[derive(Debug)]
#[repr(align(128))]
struct Block(Box<[AtomicU64]>);

/// One kind of decision.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Decision {
    /// The steered owner; empty for those that are counted together.
    pub record: String,
    /// The full name of the policy or pool that it names.
    pub root: String,
    /// The full name of the pool that was chosen.
    pub pool: String,
    /// Of which family.
    pub family: Family,
}

impl Tally {
    /// Every kind of decision of the image, with how often it was made so far by any thread.
    pub fn counts(&self) -> impl Iterator<Item = (Decision, u64)> {
        self.rows.iter().flat_map(move |row| {
            let families = |pool: &'_ Counted| {
                let has = pool.has_family;
                [Family::Ipv4, Family::Ipv6]
                    .into_iter()
                    .filter(move |family| has[*family as usize])
            };
            let kinds = row
                .pools
                .iter()
                .flat_map(move |pool| families(pool).map(move |family| (pool, family)));
            kinds.map(move |(pool, family)| {
                let decision = Decision {
                    record: row.record.clone(),
                    root: row.root.clone(),
                    pool: pool.name.clone(),
                    family,
                };
                let cell = row.place.cell(pool.slot, family);
                let counts = self.blocks.iter().filter_map(|block| block.0.get(cell));
                (decision, counts.map(|count| count.load(Ordering::Relaxed)).sum())
            })
        })
    }
}

impl Place {
    #[inline]
    fn cell(self, slot: usize, family: Family) -> usize {
        self.first as usize + 2 * slot + family as usize
    }
}

/// Listens for one thread, and counts.
#[derive(Debug)]
pub struct Counting<'a> {
    image: &'a Image,
    block: &'a [AtomicU64],
    place: Place,
}

impl<'a> Counting<'a> {
    /// In the block of the thread with this number. Without such a block nothing is counted.
    #[inline]
    pub fn new(image: &'a Image, thread: usize) -> Self {
        Self {
            image,
            block: image.tally.blocks.get(thread).map_or(&[], |block| &block.0),
            place: Place::default(),
        }
    }
}

impl Ear for Counting<'_> {
    #[inline]
    fn steered(&mut self, steer: u32) {
        self.place = self.image.steers[steer as usize].tallied;
    }

    #[inline]
    fn reached(&mut self, pool: NodeId, family: Family) {
        let Place { slots, mask, .. } = self.place;
        let table = &self.image.tally.slots;
        let mut slot = pool.0 & mask;
        // It is found at once, unless pools of the root stand far apart in the files.
        while let Some(other) = table.get((slots + slot) as usize).filter(|other| **other != pool.0) {
            if *other == NONE {
                return;
            }
            slot = (slot + 1) & mask;
        }
        if let Some(count) = self.block.get(self.place.cell(slot as usize, family)) {
            count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
    }
}

/// Gives records their cells.
#[derive(Default)]
pub(super) struct Builder {
    rows: Vec<Row>,
    slots: Vec<u32>,
    /// The table of each root: its first slot, and how many it has.
    roots: HashMap<NodeId, (u32, u32)>,
    /// By root and record; no record for all together.
    places: HashMap<(NodeId, Option<Name>), Place>,
    cells: u32,
}

impl Builder {
    /// The cells of a record with this root.
    pub(super) fn place(&mut self, record: &Name, root: NodeId, forest: &Forest) -> Place {
        let steering = &forest.steering;
        let (slots, count) = self.table(root, steering);
        let mut key = (root, Some(record.to_lowercase()));
        if !self.places.contains_key(&key) && self.cells + 2 * count > CELLS_MAX {
            key.1 = None;
        }
        if let Some(place) = self.places.get(&key) {
            return *place;
        }
        let place = Place {
            first: self.cells,
            slots,
            mask: count - 1,
        };
        self.cells += 2 * count;
        let table = self.slots[slots as usize..(slots + count) as usize].iter().enumerate();
        let counted = |(slot, pool): (usize, &u32)| Counted {
            name: steering.node(NodeId(*pool)).name.clone(),
            slot,
            has_family: [Family::Ipv4, Family::Ipv6].map(|family| forest.has_family(NodeId(*pool), family)),
        };
        self.rows.push(Row {
            record: key.1.as_ref().map_or_else(String::new, ToString::to_string),
            root: steering.node(root).name.clone(),
            place,
            pools: table.filter(|(_, pool)| **pool != NONE).map(counted).collect(),
        });
        self.places.insert(key, place);
        place
    }

    fn table(&mut self, root: NodeId, steering: &Steering) -> (u32, u32) {
        if let Some(table) = self.roots.get(&root) {
            return *table;
        }
        let pools = steering.pools_of(root);
        // One is free at least, so that looking for what is not there ends.
        let count = (pools.len() as u32 + 1).next_power_of_two();
        let first = self.slots.len();
        self.slots.resize(first + count as usize, NONE);
        for pool in pools {
            let mut slot = pool.0 & (count - 1);
            while self.slots[first + slot as usize] != NONE {
                slot = (slot + 1) & (count - 1);
            }
            self.slots[first + slot as usize] = pool.0;
        }
        self.roots.insert(root, (first as u32, count));
        (first as u32, count)
    }

    /// With a block for each of so many threads.
    pub(super) fn finish(self, threads: usize) -> Tally {
        let block = |_| Block((0..self.cells).map(|_| AtomicU64::new(0)).collect());
        Tally {
            blocks: (0..threads).map(block).collect(),
            rows: self.rows.into(),
            slots: self.slots.into(),
        }
    }
}
