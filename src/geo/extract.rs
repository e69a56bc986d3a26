//! What a database says of every address, packed: kept when the file is let go, so that it need not be read again while it is the same,
//! whatever is asked of it.
//!
//! A city database has hundreds of thousands of different facts and millions of networks. Facts are kept once; of networks only where one
//! fact ends and the next begins, in about five octets each.

use std::collections::HashMap;

use super::coordinates::Coordinates;
use super::mmdb::{Database, Error};
use super::overlay::Range;
use super::record::Place;

/// A database, packed.
#[derive(Debug)]
pub struct Extract {
    /// Every different fact; number 0 is that nothing is known.
    pub facts: Box<[Fact]>,
    /// Every different place; number 0 is an unknown one.
    pub places: Box<[Place]>,
    /// Which facts there are.
    pub holds: Holds,
    ipv4: Packed,
    ipv6: Packed,
}

/// What is said of some networks.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Fact {
    /// The point.
    pub coordinates: Option<Coordinates>,
    /// By number in [`Extract::places`].
    pub place: u32,
    /// The AS number; 0 is none.
    pub asn: u32,
}

/// Which facts a database holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Holds {
    /// Points.
    pub coordinates: bool,
    /// Countries, subdivisions, continents.
    pub places: bool,
    /// AS numbers.
    pub asns: bool,
}

impl Extract {
    /// Reads a database to its end.
    pub fn of(database: &Database) -> Result<Self, Error> {
        let mut reading = Reading::default();
        reading.facts.push(Fact::default());
        reading.places.push(Place::default());
        reading.place_numbers.insert(Place::default(), 0);
        reading.numbers.insert(key(&Fact::default()), 0);
        let (ipv4, ipv6) = (reading.family(database, true)?, reading.family(database, false)?);
        Ok(Self {
            facts: reading.facts.into(),
            places: reading.places.into(),
            holds: reading.holds,
            ipv4,
            ipv6,
        })
    }

    /// The ranges that are all addresses of a family, in order, each with the number of its fact.
    pub fn ranges(&self, is_ipv4: bool) -> Ranges<'_> {
        let packed = if is_ipv4 { &self.ipv4 } else { &self.ipv6 };
        Ranges {
            octets: &packed.0,
            first: 0,
            number: 0,
        }
    }

    /// How much memory it takes, in octets.
    pub fn octets(&self) -> usize {
        size_of_val(&*self.facts) + size_of_val(&*self.places) + self.ipv4.0.len() + self.ipv6.0.len()
    }
}

/// The reading of a database.
#[derive(Default)]
struct Reading {
    facts: Vec<Fact>,
    numbers: HashMap<FactKey, u32>,
    places: Vec<Place>,
    place_numbers: HashMap<Place, u32>,
    /// By where a record is: the number of its fact.
    records: HashMap<usize, u32>,
    holds: Holds,
}

type FactKey = (Option<[u64; 2]>, u32, u32);

fn key(fact: &Fact) -> FactKey {
    let point = fact
        .coordinates
        .map(|at| [at.latitude.to_bits(), at.longitude.to_bits()]);
    (point, fact.place, fact.asn)
}

impl Reading {
    fn family(&mut self, database: &Database, is_ipv4: bool) -> Result<Packed, Error> {
        let mut packer = Packer::default();
        // One past the last address of the network before; none if there is no more.
        let mut next = Some(0);
        for network in database.networks(is_ipv4) {
            let network = network?;
            let Range { first, last } = network.range;
            // A damaged file may go back: what does is passed over.
            if next.is_none_or(|next| first < next) {
                continue;
            }
            let number = match self.records.get(&network.record_at()) {
                Some(number) => *number,
                None => {
                    let number = self.number(&network.whereabouts()?);
                    self.records.insert(network.record_at(), number);
                    number
                }
            };
            if next != Some(first) {
                packer.push(next.unwrap_or_default(), 0);
            }
            packer.push(first, number);
            next = last.checked_add(1);
        }
        if let Some(next) = next {
            packer.push(next, 0);
        }
        Ok(Packed(packer.octets.into()))
    }

    fn number(&mut self, whereabouts: &super::Whereabouts) -> u32 {
        let place = match self.place_numbers.get(&whereabouts.place) {
            Some(number) => *number,
            None => {
                let number = self.places.len() as u32;
                self.places.push(whereabouts.place.clone());
                self.place_numbers.insert(whereabouts.place.clone(), number);
                number
            }
        };
        let fact = Fact {
            coordinates: whereabouts.coordinates,
            place,
            asn: whereabouts.asn.unwrap_or_default(),
        };
        self.holds.coordinates |= fact.coordinates.is_some();
        self.holds.places |= place != 0;
        self.holds.asns |= fact.asn != 0;
        *self.numbers.entry(key(&fact)).or_insert_with(|| {
            self.facts.push(fact);
            self.facts.len() as u32 - 1
        })
    }
}

/// Where each fact begins: how far from where the one before began, and its number. The distance is written as an odd number of a power
/// of two; numbers in groups of seven bits, the least first, the upper bit set in all but the last (LEB128).
#[derive(Debug)]
struct Packed(Box<[u8]>);

#[derive(Default)]
struct Packer {
    octets: Vec<u8>,
    first: u128,
    number: Option<u32>,
}

impl Packer {
    fn push(&mut self, first: u128, number: u32) {
        if self.number.unwrap_or_default() == number {
            return;
        }
        let distance = first - self.first;
        let zeros = distance.trailing_zeros() % u128::BITS;
        self.octets.push(zeros as u8);
        self.write(distance >> zeros);
        self.write(number.into());
        (self.first, self.number) = (first, Some(number));
    }

    fn write(&mut self, mut number: u128) {
        while number >= 0x80 {
            self.octets.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.octets.push(number as u8);
    }
}

/// The ranges of an extract.
#[derive(Debug, Clone)]
pub struct Ranges<'e> {
    octets: &'e [u8],
    /// Where the range begins that is told next, and its fact.
    first: u128,
    number: u32,
}

impl Ranges<'_> {
    fn octet(&mut self) -> Option<u8> {
        let (octet, rest) = self.octets.split_first()?;
        self.octets = rest;
        Some(*octet)
    }

    fn read(&mut self) -> Option<u128> {
        let mut number = 0;
        for shift in (0..u128::BITS).step_by(7) {
            let octet = self.octet()?;
            number |= u128::from(octet & 0x7f) << shift;
            if octet & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
}

impl Iterator for Ranges<'_> {
    type Item = (Range, u32);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (first, number) = (self.first, self.number);
            // Past the last one there is nothing to tell.
            if number == u32::MAX {
                return None;
            }
            let Some(zeros) = self.octet() else {
                self.number = u32::MAX;
                return Some((Range { first, last: u128::MAX }, number));
            };
            let distance = self.read()? << zeros;
            self.number = self.read()? as u32;
            self.first = first + distance;
            // The first fact may begin at the first address, and then nothing comes before it.
            if distance > 0 {
                let last = self.first - 1;
                return Some((Range { first, last }, number));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::btree_map;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(borders in btree_map(prop_oneof![any::<u128>(), (0..=127_u32, 0..3_u128).prop_map(|(bit, more)| more << bit)], 0..300_000_u32, 0..50)) {
            let mut packer = Packer::default();
            let mut expected = vec![(0, 0)];
            for (first, number) in &borders {
                packer.push(*first, *number);
                if expected.last().unwrap().1 != *number {
                    expected.push((*first, *number));
                }
            }
            expected.dedup_by(|next, before| next.0 == before.0 && { before.1 = next.1; true });
            let ranges = Ranges { octets: &packer.octets, first: 0, number: 0 };
            let unpacked: Vec<_> = ranges.clone().map(|(range, number)| (range.first, number)).collect();
            prop_assert_eq!(unpacked, expected);
            let ends: Vec<_> = ranges.map(|(range, _)| range).collect();
            prop_assert!(ends.windows(2).all(|pair| pair[0].last + 1 == pair[1].first));
            prop_assert_eq!(ends.last().map(|range| range.last), Some(u128::MAX));
        }
    }
}
