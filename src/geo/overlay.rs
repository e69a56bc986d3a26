//! Several sorted lists of address ranges laid over one another: what each says of every address, in one pass.
//!
//! Addresses are 128 bits wide, those of IPv4 at the upper end: so both families are walked alike, and the length of a prefix is counted
//! from the top in either.

use std::net::IpAddr;

use ipnet::IpNet;

/// Addresses from one to another, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first.
    pub first: u128,
    /// The last.
    pub last: u128,
}

impl Range {
    /// Every address.
    pub const ALL: Range = Range {
        first: 0,
        last: u128::MAX,
    };

    /// The addresses of a network.
    pub fn of(network: IpNet) -> Self {
        let first = aligned(network.network());
        let rest = u128::MAX.checked_shr(u32::from(network.prefix_len())).unwrap_or(0);
        Self {
            first,
            last: first | rest,
        }
    }

    /// What it shares with another, which it meets.
    pub fn within(self, other: Self) -> Self {
        Self {
            first: self.first.max(other.first),
            last: self.last.min(other.last),
        }
    }
}

/// An address at the upper end of 128 bits.
pub fn aligned(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// Ranges in the order of addresses that do not overlap, and what is said of each.
pub type Source<'s, T, E> = Box<dyn Iterator<Item = Result<(Range, T), E>> + 's>;

/// Calls `emit` for ranges that together are all addresses, in order, with what each source says there.
pub fn overlay<T: Clone, E>(
    mut sources: Vec<Source<'_, T, E>>,
    mut emit: impl FnMut(Range, &[Option<T>]) -> Result<(), E>,
) -> Result<(), E> {
    let mut current = Vec::with_capacity(sources.len());
    for source in &mut sources {
        current.push(source.next().transpose()?);
    }
    let mut said = vec![None; sources.len()];
    let mut first = 0;
    loop {
        let mut last = u128::MAX;
        for (said, current) in said.iter_mut().zip(&current) {
            *said = None;
            match current {
                Some((range, what)) if range.first <= first => {
                    *said = Some(what.clone());
                    last = last.min(range.last);
                }
                Some((range, _)) => last = last.min(range.first - 1),
                None => {}
            }
        }
        emit(Range { first, last }, &said)?;
        let Some(next) = last.checked_add(1) else { return Ok(()) };
        first = next;
        for (source, current) in sources.iter_mut().zip(&mut current) {
            // A damaged file may give ranges that go back: those are passed over.
            while current.as_ref().is_some_and(|(range, _)| range.last < first) {
                *current = source.next().transpose()?;
            }
        }
    }
}

/// Networks that may contain one another, as ranges that do not overlap: each with the places (in `networks`) of those that it is in.
pub fn nested(networks: &[IpNet]) -> Vec<(Range, Vec<u32>)> {
    let mut borders: Vec<u128> = Vec::new();
    for range in networks.iter().copied().map(Range::of) {
        borders.push(range.first);
        borders.extend(range.last.checked_add(1));
    }
    borders.sort_unstable();
    borders.dedup();
    let mut by_first: Vec<(Range, u32)> = networks.iter().copied().map(Range::of).zip(0..).collect();
    by_first.sort_by_key(|(range, _)| (range.first, u128::MAX - range.last));
    let mut waiting = by_first.into_iter().peekable();
    let mut open: Vec<(Range, u32)> = Vec::new();
    let mut ranges = Vec::new();
    for (at, first) in borders.iter().enumerate() {
        open.retain(|(range, _)| range.last >= *first);
        while let Some(next) = waiting.next_if(|(range, _)| range.first == *first) {
            open.push(next);
        }
        let last = borders.get(at + 1).map_or(u128::MAX, |next| next - 1);
        if !open.is_empty() {
            let places = open.iter().map(|(_, place)| *place).collect();
            ranges.push((Range { first: *first, last }, places));
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn source<'s>(ranges: &'s [(u128, u128, u32)]) -> Source<'s, u32, ()> {
        Box::new(ranges.iter().map(|(first, last, number)| {
            Ok((
                Range {
                    first: *first,
                    last: *last,
                },
                *number,
            ))
        }))
    }

    fn told(sources: Vec<Source<'_, u32, ()>>) -> Vec<(Range, Vec<Option<u32>>)> {
        let mut told = Vec::new();
        let emit = |range, said: &[Option<u32>]| {
            told.push((range, said.to_vec()));
            Ok(())
        };
        overlay(sources, emit).unwrap();
        told
    }

    #[test]
    fn every_address_is_told_once_with_what_each_source_says() {
        let told = told(vec![source(&[(2, 5, 1), (6, 9, 2)]), source(&[(4, 7, 3)])]);
        let told: Vec<_> = told
            .into_iter()
            .map(|(range, said)| (range.first, range.last, said))
            .collect();
        let expected = [
            (0, 1, vec![None, None]),
            (2, 3, vec![Some(1), None]),
            (4, 5, vec![Some(1), Some(3)]),
            (6, 7, vec![Some(2), Some(3)]),
            (8, 9, vec![Some(2), None]),
            (10, u128::MAX, vec![None, None]),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn ranges_to_either_end_and_none_at_all() {
        assert_eq!(told(vec![]), [(Range::ALL, vec![])]);
        assert_eq!(told(vec![source(&[(0, u128::MAX, 7)])]), [(Range::ALL, vec![Some(7)])]);
        // Ranges that go back are passed over.
        assert_eq!(told(vec![source(&[(5, u128::MAX, 7), (1, 3, 8)])]).len(), 2);
        let failing: Source<'_, u32, &str> = Box::new([Err("damaged")].into_iter());
        assert_eq!(overlay(vec![failing], |_, _| Ok(())), Err("damaged"));
    }

    #[test]
    fn nested_networks_are_told_with_all_that_hold() {
        let networks = [
            net("10.0.0.0/8"),
            net("10.1.0.0/16"),
            net("0.0.0.0/0"),
            net("10.1.0.0/16"),
        ];
        let told: Vec<String> = nested(&networks)
            .into_iter()
            .map(|(range, places)| format!("{:x}-{:x} {places:?}", range.first >> 96, range.last >> 96))
            .collect();
        let expected = [
            "0-9ffffff [2]",
            "a000000-a00ffff [2, 0]",
            "a010000-a01ffff [2, 0, 1, 3]",
            "a020000-affffff [2, 0]",
            "b000000-ffffffff [2]",
        ];
        assert_eq!(told, expected);
        assert!(nested(&[]).is_empty());
        assert_eq!(nested(&[net("2001:db8::/32")]).len(), 1);
    }
}
