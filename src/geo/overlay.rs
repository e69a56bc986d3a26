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

/// Ranges in the order of addresses that do not overlap, each with a number above 0.
pub type Source<'s> = Box<dyn Iterator<Item = (Range, u32)> + 's>;

/// Calls `emit` for ranges that together are all addresses, in order, with the number that each source has there; 0 where it has none.
pub fn overlay(mut sources: Vec<Source<'_>>, mut emit: impl FnMut(Range, &[u32])) {
    let mut current: Vec<Option<(Range, u32)>> = sources.iter_mut().map(Iterator::next).collect();
    let mut numbers = vec![0; sources.len()];
    let mut first = 0;
    loop {
        let mut last = u128::MAX;
        for (number, current) in numbers.iter_mut().zip(&current) {
            *number = 0;
            match current {
                Some((range, own)) if range.first <= first => {
                    *number = *own;
                    last = last.min(range.last);
                }
                Some((range, _)) => last = last.min(range.first - 1),
                None => {}
            }
        }
        emit(Range { first, last }, &numbers);
        let Some(next) = last.checked_add(1) else { return };
        first = next;
        for (source, current) in sources.iter_mut().zip(&mut current) {
            while current.is_some_and(|(range, _)| range.last < first) {
                *current = source.next();
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

    fn source(ranges: &[(u128, u128, u32)]) -> Source<'_> {
        let range = |(first, last, number): &(u128, u128, u32)| {
            let (first, last) = (*first, *last);
            (Range { first, last }, *number)
        };
        Box::new(ranges.iter().map(range))
    }

    fn told(sources: Vec<Source<'_>>) -> Vec<(u128, u128, Vec<u32>)> {
        let mut told = Vec::new();
        overlay(sources, |range, numbers| {
            told.push((range.first, range.last, numbers.to_vec()))
        });
        told
    }

    #[test]
    fn every_address_is_told_once_with_what_each_source_says() {
        let expected = [
            (0, 1, vec![0, 0]),
            (2, 3, vec![1, 0]),
            (4, 5, vec![1, 3]),
            (6, 7, vec![2, 3]),
            (8, 9, vec![2, 0]),
            (10, u128::MAX, vec![0, 0]),
        ];
        assert_eq!(
            told(vec![source(&[(2, 5, 1), (6, 9, 2)]), source(&[(4, 7, 3)])]),
            expected
        );
    }

    #[test]
    fn ranges_to_either_end_and_none_at_all() {
        assert_eq!(told(vec![]), [(0, u128::MAX, vec![])]);
        assert_eq!(told(vec![source(&[(0, u128::MAX, 7)])]), [(0, u128::MAX, vec![7])]);
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
