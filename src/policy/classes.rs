//! Client classes: all that any policy can ask of a location, answered beforehand. Clients of one class are alike to every policy.

use std::collections::HashMap;
use std::hash::BuildHasher;

use super::questions::{Questions, Site};
use crate::geo::coordinates::Coordinates;

/// No row: where the client is, is not known.
const UNKNOWN: u32 = u32::MAX;

/// In an entry of a row: as near as the entry before it.
const TIED: u16 = 1 << 15;

/// What is asked, answered for every class.
#[derive(Debug)]
pub struct Classes {
    /// For each set of places the rows of their orders, each different one once.
    sets: Box<[Rows]>,
    /// For each class: its row in each set, then a bit for each condition.
    records: Box<[u32]>,
    stride: usize,
    count: u32,
}

#[derive(Debug)]
struct Rows {
    sites: usize,
    rows: Box<[u16]>,
}

/// A place in the order of distance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ranked {
    /// By its number in the set.
    pub site: u16,
    /// Whether it is as near as the one before it.
    pub tied: bool,
}

impl Classes {
    /// How many there are: at least one.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The places of a set, the nearest first; none if the location of this class is not known.
    #[inline]
    pub fn row(&self, class: u32, set: u32) -> impl Iterator<Item = Ranked> + '_ {
        let rows = &self.sets[set as usize];
        let row = match self.records[class as usize * self.stride + set as usize] {
            UNKNOWN => &[],
            row => &rows.rows[row as usize * rows.sites..][..rows.sites],
        };
        row.iter().map(|entry| Ranked {
            site: entry & !TIED,
            tied: entry & TIED != 0,
        })
    }

    /// Whether the clients of a class are somewhere that is known to a set.
    #[inline]
    pub fn is_located(&self, class: u32, set: u32) -> bool {
        self.records[class as usize * self.stride + set as usize] != UNKNOWN
    }

    /// Whether a condition holds for a class.
    #[inline]
    pub fn holds(&self, class: u32, condition: u32) -> bool {
        let word = class as usize * self.stride + self.sets.len() + (condition / u32::BITS) as usize;
        self.records[word] >> (condition % u32::BITS) & 1 != 0
    }

    /// How much memory they take, in octets.
    pub fn octets(&self) -> usize {
        size_of_val(&*self.records) + self.sets.iter().map(|set| size_of_val(&*set.rows)).sum::<usize>()
    }
}

/// A bit for each condition.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Bits(Box<[u32]>);

impl Bits {
    /// Of so many conditions those that hold.
    pub fn of(count: usize, holds: impl Fn(usize) -> bool) -> Self {
        let mut words = vec![0; count.div_ceil(u32::BITS as usize)];
        for condition in (0..count).filter(|condition| holds(*condition)) {
            words[condition / u32::BITS as usize] |= 1 << (condition % u32::BITS as usize);
        }
        Self(words.into())
    }
}

/// Gives numbers to orders and classes, each different one once.
#[derive(Debug)]
pub struct Interner {
    sets: Vec<Set>,
    records: Vec<u32>,
    numbers: HashMap<Box<[u32]>, u32>,
}

/// The rows of a set, as they are found.
#[derive(Debug)]
struct Set {
    sites: Vec<Site>,
    rows: Vec<u16>,
    count: u32,
    /// By the hash of a row, the numbers of those that have it: with many places rows are long, and nearly every point has its own.
    numbers: HashMap<u64, Vec<u32>>,
}

impl Set {
    /// The row of a point.
    fn row(&mut self, at: Coordinates) -> u32 {
        let row = row(&self.sites, at);
        let hash = self.numbers.hasher().hash_one(&row);
        let alike = self.numbers.entry(hash).or_default();
        let is_same = |number: &&u32| self.rows[**number as usize * row.len()..][..row.len()] == *row;
        if let Some(number) = alike.iter().find(is_same) {
            return *number;
        }
        let number = self.count;
        self.rows.extend(&row);
        alike.push(number);
        self.count += 1;
        number
    }
}

/// The row of a point in each set.
pub type Order = Box<[u32]>;

impl Interner {
    /// For these questions.
    pub fn new(questions: &Questions) -> Self {
        let set = |sites: &Vec<Site>| Set {
            sites: sites.clone(),
            rows: Vec::new(),
            count: 0,
            numbers: HashMap::new(),
        };
        Self {
            sets: questions.sets.iter().map(set).collect(),
            records: Vec::new(),
            numbers: HashMap::new(),
        }
    }

    /// The order of a client that is nowhere.
    pub fn nowhere(&self) -> Order {
        vec![UNKNOWN; self.sets.len()].into()
    }

    /// The order of all places for a client at a point.
    pub fn order(&mut self, at: Coordinates) -> Order {
        self.sets.iter_mut().map(|set| set.row(at)).collect()
    }

    /// The class of an order and of the conditions that hold in all these respects.
    pub fn class(&mut self, order: &Order, holding: &[&Bits]) -> u32 {
        let mut record = order.to_vec();
        if let [first, others @ ..] = holding {
            let word = |at: usize| others.iter().fold(first.0[at], |word, other| word & other.0[at]);
            record.extend((0..first.0.len()).map(word));
        }
        let record = record.into_boxed_slice();
        if let Some(number) = self.numbers.get(&record) {
            return *number;
        }
        let number = self.numbers.len() as u32;
        self.records.extend(&record);
        self.numbers.insert(record, number);
        number
    }

    /// All of them.
    pub fn finish(self) -> Classes {
        let count = self.numbers.len() as u32;
        let set = |set: Set| Rows {
            sites: set.sites.len(),
            rows: set.rows.into(),
        };
        Classes {
            sets: self.sets.into_iter().map(set).collect(),
            stride: self.records.len() / count.max(1) as usize,
            records: self.records.into(),
            count,
        }
    }
}

/// The places of a set by distance, the nearest first; those as near as the one before are marked.
fn row(sites: &[Site], at: Coordinates) -> Box<[u16]> {
    let distance = |site: &Site| at.angle_to(site.coordinates) * site.bias;
    let mut by_distance: Vec<(f64, u16)> = sites.iter().map(distance).zip(0..).collect();
    by_distance.sort_unstable_by(|(a, first), (b, second)| a.total_cmp(b).then(first.cmp(second)));
    let mut before = None;
    let entry = |(distance, site): (f64, u16)| {
        let tied = before.replace(distance) == Some(distance);
        if tied { site | TIED } else { site }
    };
    by_distance.into_iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(latitude: f64, longitude: f64) -> Coordinates {
        Coordinates { latitude, longitude }
    }

    #[test]
    fn rows_are_by_distance_and_tell_ties() {
        let site = |latitude, longitude, bias| Site {
            coordinates: point(latitude, longitude),
            bias,
        };
        let sets = vec![
            vec![site(50.0, 0.0, 1.0), site(50.0, 20.0, 1.0), site(0.0, 100.0, 1.0)],
            vec![site(50.0, 0.0, 1.0), site(50.0, 20.0, 0.5)],
        ];
        let questions = Questions {
            sets,
            conditions: vec![Default::default(); 40],
        };
        let mut interner = Interner::new(&questions);
        let middle = interner.order(point(50.0, 10.0));
        let [all, odd] = [Bits::of(40, |_| true), Bits::of(40, |at| at % 2 == 1)];
        let nowhere = interner.nowhere();
        assert_eq!(interner.class(&middle, &[&all, &odd]), 0);
        assert_eq!(interner.class(&nowhere, &[&all, &odd]), 1);
        assert_eq!(interner.class(&middle, &[&odd, &all]), 0);
        let classes = interner.finish();
        let row = |class, set| {
            classes
                .row(class, set)
                .map(|entry| (entry.site, entry.tied))
                .collect::<Vec<_>>()
        };
        assert_eq!(row(0, 0), [(0, false), (1, true), (2, false)]);
        assert_eq!(row(0, 1), [(1, false), (0, false)]);
        assert_eq!(row(1, 0), []);
        assert!(classes.is_located(0, 1) && !classes.is_located(1, 1));
        assert!(classes.holds(0, 39) && classes.holds(1, 1) && !classes.holds(0, 38) && classes.count() == 2);
    }
}
