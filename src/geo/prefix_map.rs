//! From every address to a number, with the length of the prefix that shares it: a multibit trie that a query walks in a few loads.
//!
//! The shape is that of poptrie (Asai and Ohara, SIGCOMM 2015): a table for the first bits, then nodes of 64 slots, in which two words say
//! which slots go on to a node and where runs of equal slots begin. Numbers stand for runs only, and where a prefix ends is seen from the
//! run, so nothing is kept for it.

use std::fmt;

use super::overlay::Range;

/// The bits that the first table decides, and from how many ranges on: 2^18 entries of 4 octets are 1 MiB, and of a map of the world most
/// IPv4 networks are decided there or one node below. A small map has a small table.
const DIRECT_BITS: [(usize, u32); 3] = [(4096, 18), (64, 12), (2, 6)];

/// The bits that a node decides: one word says something of each of its slots.
const STRIDE: u32 = 6;

const SLOTS: usize = 1 << STRIDE;

/// In an entry of the first table: the number itself, and the length of its prefix.
const IS_NUMBER: u32 = 1 << 31;
const LENGTH_SHIFT: u32 = 26;

/// One more than the greatest number that can be kept.
pub const NUMBERS_MAX: u32 = 1 << LENGTH_SHIFT;

/// Ranges that together are all addresses, each with a number; neighbours differ.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Runs {
    firsts: Vec<u128>,
    numbers: Vec<u32>,
}

impl Runs {
    /// Adds the range that begins where the last one ended.
    pub fn push(&mut self, first: u128, number: u32) {
        if self.numbers.last() != Some(&number) {
            self.firsts.push(first);
            self.numbers.push(number);
        }
    }

    /// Gives each number another one; what becomes equal grows together.
    pub fn renumber(self, of: impl Fn(u32) -> u32) -> Self {
        let mut runs = Self::default();
        for (first, number) in self.firsts.iter().zip(&self.numbers) {
            runs.push(*first, of(*number));
        }
        runs
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.firsts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.firsts.is_empty()
    }

    /// Each range with its number.
    pub fn iter(&self) -> impl Iterator<Item = (Range, u32)> {
        (0..self.len()).map(|at| (self.range(at), self.number(at)))
    }

    fn last(&self, at: usize) -> u128 {
        self.firsts.get(at + 1).map_or(u128::MAX, |next| next - 1)
    }

    fn range(&self, at: usize) -> Range {
        Range {
            first: self.firsts.get(at).copied().unwrap_or_default(),
            last: self.last(at),
        }
    }

    fn number(&self, at: usize) -> u32 {
        self.numbers.get(at).copied().unwrap_or_default()
    }
}

/// What is looked up: the bits of an address, counted from the top.
pub trait Key: Copy {
    /// So many bits (at least one) from one on; those beyond the end are 0.
    fn bits(self, from: u32, count: u32) -> usize;
}

impl Key for u32 {
    #[inline]
    fn bits(self, from: u32, count: u32) -> usize {
        ((u64::from(self) << 32 << from) >> (u64::BITS - count)) as usize
    }
}

impl Key for u128 {
    #[inline]
    fn bits(self, from: u32, count: u32) -> usize {
        ((self << from) >> (u128::BITS - count)) as usize
    }
}

/// Sixty-four slots.
#[derive(Debug, Clone, Copy, Default)]
pub struct Node {
    /// The slots that go on to a node of their own.
    children: u64,
    /// The slots at which a run of one number begins.
    runs: u64,
    first_child: u32,
    first_number: u32,
}

/// The numbers of runs, in as few octets as they fit.
#[derive(Debug)]
enum Numbers {
    Narrow(Box<[u16]>),
    Wide(Box<[u32]>),
}

/// A number and the prefix that has it: the longest block around an address, aligned to its size, in which there is no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shared {
    /// The number.
    pub number: u32,
    /// The length of the prefix.
    pub length: u8,
}

/// The map.
pub struct PrefixMap {
    /// The bits that the first table decides; 0 if there is one number for all.
    direct_bits: u32,
    direct: Box<[u32]>,
    nodes: Box<[Node]>,
    numbers: Numbers,
}

impl PrefixMap {
    /// From ranges that are all addresses.
    pub fn new(runs: &Runs) -> Self {
        let bits = DIRECT_BITS.into_iter().find(|(least, _)| runs.len() >= *least);
        Self::with_direct_bits(runs, bits.map_or(0, |(_, bits)| bits))
    }

    fn with_direct_bits(runs: &Runs, direct_bits: u32) -> Self {
        if direct_bits == 0 {
            return Self {
                direct_bits,
                direct: [IS_NUMBER | runs.number(0)].into(),
                nodes: Box::default(),
                numbers: Numbers::Narrow(Box::default()),
            };
        }
        let mut builder = Builder {
            runs,
            nodes: Vec::new(),
            numbers: Vec::new(),
        };
        let direct = builder.direct(direct_bits);
        let narrow = builder.numbers.iter().all(|number| *number <= u32::from(u16::MAX));
        let numbers = match narrow {
            true => Numbers::Narrow(builder.numbers.iter().map(|number| *number as u16).collect()),
            false => Numbers::Wide(builder.numbers.into()),
        };
        Self {
            direct_bits,
            direct,
            nodes: builder.nodes.into(),
            numbers,
        }
    }

    /// The number of an address.
    #[inline]
    pub fn get<K: Key>(&self, key: K) -> Shared {
        let entry = self.direct[self.slot(key)];
        if entry & IS_NUMBER != 0 {
            return Shared {
                number: entry & (NUMBERS_MAX - 1),
                length: ((entry & !IS_NUMBER) >> LENGTH_SHIFT) as u8,
            };
        }
        let mut node = &self.nodes[entry as usize];
        let mut decided = self.direct_bits;
        loop {
            let slot = key.bits(decided, STRIDE);
            let below = (1_u64 << slot) - 1;
            if node.children >> slot & 1 != 0 {
                let child = node.first_child + (node.children & below).count_ones();
                node = &self.nodes[child as usize];
                decided += STRIDE;
                continue;
            }
            let upto = below << 1 | 1;
            let begun = node.runs & upto;
            let number = node.first_number + begun.count_ones() - 1;
            let number = match &self.numbers {
                Numbers::Narrow(numbers) => u32::from(numbers[number as usize]),
                Numbers::Wide(numbers) => numbers[number as usize],
            };
            let start = begun.ilog2();
            let ends = (node.runs | node.children) & !upto;
            let slot = slot as u32;
            let size =
                free_bits(slot, start.checked_sub(1)).min(free_bits(slot, (ends != 0).then(|| ends.trailing_zeros())));
            return Shared {
                number,
                length: (decided + STRIDE - size) as u8,
            };
        }
    }

    /// Where the first table is read for an address, to ask for that memory early.
    #[inline]
    pub fn first_load<K: Key>(&self, key: K) -> (&[u32], usize) {
        (&self.direct, self.slot(key))
    }

    /// Which node is read after the first table, if one is.
    #[inline]
    pub fn second_load<K: Key>(&self, key: K) -> Option<(&[Node], usize)> {
        let entry = self.direct[self.slot(key)];
        (entry & IS_NUMBER == 0).then_some((&self.nodes, entry as usize))
    }

    /// Whether all addresses have the same number.
    pub fn is_uniform(&self) -> bool {
        self.direct_bits == 0
    }

    /// How much memory it takes, in octets.
    pub fn octets(&self) -> usize {
        let numbers = match &self.numbers {
            Numbers::Narrow(numbers) => size_of_val(&**numbers),
            Numbers::Wide(numbers) => size_of_val(&**numbers),
        };
        size_of_val(&*self.direct) + size_of_val(&*self.nodes) + numbers
    }

    #[inline]
    fn slot<K: Key>(&self, key: K) -> usize {
        match self.is_uniform() {
            true => 0,
            false => key.bits(0, self.direct_bits),
        }
    }
}

/// Its size alone: it has many thousand entries.
impl fmt::Debug for PrefixMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrefixMap")
            .field("octets", &self.octets())
            .finish_non_exhaustive()
    }
}

/// The size, in bits, of the largest aligned block around a slot that leaves another slot out.
#[inline]
fn free_bits(slot: u32, other: Option<u32>) -> u32 {
    other.map_or(STRIDE, |other| (slot ^ other).ilog2())
}

struct Builder<'r> {
    runs: &'r Runs,
    nodes: Vec<Node>,
    numbers: Vec<u32>,
}

impl Builder<'_> {
    fn direct(&mut self, bits: u32) -> Box<[u32]> {
        let mut run = 0;
        let mut direct = Vec::with_capacity(1 << bits);
        for slot in 0..1_u128 << bits {
            let block = block(slot << (u128::BITS - bits), bits);
            while self.runs.last(run) < block.first {
                run += 1;
            }
            if self.runs.last(run) >= block.last {
                let length = prefix_length(block.first, self.runs.range(run));
                direct.push(IS_NUMBER | length << LENGTH_SHIFT | self.runs.number(run));
                continue;
            }
            let node = self.nodes.len();
            self.nodes.push(Node::default());
            self.fill(node, block.first, bits, run);
            direct.push(node as u32);
        }
        direct.into()
    }

    /// Fills the node of the block of this address and length; `run` is the one that holds its first address.
    fn fill(&mut self, node: usize, first: u128, decided: u32, mut run: usize) {
        let mut filled = Node {
            first_number: self.numbers.len() as u32,
            ..Node::default()
        };
        // The slots that go on, each with the run at its first address.
        let mut going_on = [(0, 0); SLOTS];
        let mut before = None;
        for slot in 0..SLOTS {
            // The last node of a family is wider than what is left of the address: its slots are those of the bits that are.
            let width = (decided + STRIDE).min(u128::BITS);
            let at = (slot as u128) >> (decided + STRIDE - width);
            let block = block(first | at << (u128::BITS - width), width);
            while self.runs.last(run) < block.first {
                run += 1;
            }
            if self.runs.last(run) < block.last {
                going_on[filled.children.count_ones() as usize] = (block.first, run);
                filled.children |= 1 << slot;
                before = None;
            } else if before != Some(run) {
                filled.runs |= 1 << slot;
                self.numbers.push(self.runs.number(run));
                before = Some(run);
            }
        }
        filled.first_child = self.nodes.len() as u32;
        let count = filled.children.count_ones() as usize;
        self.nodes.resize(self.nodes.len() + count, Node::default());
        self.nodes[node] = filled;
        for (at, (first, run)) in going_on[..count].iter().enumerate() {
            self.fill(filled.first_child as usize + at, *first, decided + STRIDE, *run);
        }
    }
}

/// The addresses that share so many bits with one.
fn block(address: u128, length: u32) -> Range {
    let rest = u128::MAX.checked_shr(length).unwrap_or(0);
    Range {
        first: address & !rest,
        last: address | rest,
    }
}

/// The length of the shortest prefix of an address that stays within a range.
pub fn prefix_length(address: u128, range: Range) -> u32 {
    let apart = |other: Option<u128>| other.map_or(0, |other| (address ^ other).leading_zeros() + 1);
    apart(range.first.checked_sub(1)).max(apart(range.last.checked_add(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    /// Runs that begin at these addresses.
    fn runs(mut borders: Vec<(u128, u32)>) -> Runs {
        borders.sort_unstable();
        borders.dedup_by_key(|(first, _)| *first);
        let mut runs = Runs::default();
        runs.push(0, 0);
        for (first, number) in borders.into_iter().filter(|(first, _)| *first > 0) {
            runs.push(first, number);
        }
        runs
    }

    /// Straight from the definition: the run of an address, and the shortest prefix that stays in it.
    fn plain(runs: &Runs, address: u128) -> Shared {
        let (range, number) = runs.iter().find(|(range, _)| range.last >= address).unwrap();
        let stays = |length: &u32| {
            let block = block(address, *length);
            range.first <= block.first && block.last <= range.last
        };
        let length = (0..=128).find(stays).unwrap() as u8;
        Shared { number, length }
    }

    /// Borders that are near to one another, on borders of prefixes and anywhere.
    fn borders(width: u32) -> impl Strategy<Value = Vec<(u128, u32)>> {
        let address = prop_oneof![
            (any::<u128>(), 1..=width).prop_map(|(bits, length)| block(bits, length).first),
            (0..2048_u128).prop_map(move |low| (0x0a << 120) | low << (128 - width)),
            (0..2048_u128).prop_map(move |low| (0x0a << 120) | low << (128 - width.min(40))),
        ];
        let address = address.prop_map(move |address| block(address, width).first);
        vec((address, prop_oneof![0..4_u32, 0..200_000_u32]), 0..60)
    }

    proptest! {
        #[test]
        fn ipv6_is_as_defined(borders in borders(128), others in vec(any::<u128>(), 20), bits in select(vec![6, 12, 18])) {
            let runs = runs(borders);
            prop_assume!(runs.len() > 1);
            let map = PrefixMap::with_direct_bits(&runs, bits);
            let near = runs.iter().flat_map(|(range, _)| [range.first, range.last, range.first.saturating_add(1)]);
            for address in near.chain(others) {
                prop_assert_eq!(map.get(address), plain(&runs, address), "{:x}", address);
            }
        }

        #[test]
        fn ipv4_is_as_defined(borders in borders(32), others in vec(any::<u32>(), 20), bits in select(vec![6, 12, 18])) {
            let runs = runs(borders);
            prop_assume!(runs.len() > 1);
            let map = PrefixMap::with_direct_bits(&runs, bits);
            let near = runs.iter().flat_map(|(range, _)| [range.first, range.last]).map(|address| (address >> 96) as u32);
            for address in near.chain(others) {
                let expected = plain(&runs, u128::from(address) << 96);
                prop_assert_eq!(map.get(address), expected, "{:x}", address);
                prop_assert!(expected.length <= 32);
            }
        }
    }

    #[test]
    fn one_number_takes_no_room() {
        let map = PrefixMap::new(&runs(vec![(5, 0)]));
        assert!(map.is_uniform() && map.octets() == 4);
        assert_eq!(map.get(77_u128), Shared { number: 0, length: 0 });
        assert_eq!(map.get(77_u32), Shared { number: 0, length: 0 });
    }

    #[test]
    fn many_numbers_are_kept_in_wide_form() {
        let map = PrefixMap::new(&runs(
            (0..100_000).map(|at| ((u128::from(at) << 98) | 1, at + 1)).collect(),
        ));
        assert_eq!(map.get((77_777_u128 << 98) | 3).number, 77_778);
    }
}
