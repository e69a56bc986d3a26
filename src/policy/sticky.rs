//! Sticky choices: weighted rendezvous hashing of the client's subnet, the same on every node and processor.
//!
//! Each member draws its own number for each subnet, and the least one wins. So a member that comes, goes or changes its
//! weight moves only the clients that it wins or loses itself. A member's number is exponentially distributed with its
//! weight as the rate, and the least of such numbers falls to each member in proportion to its weight (Efraimidis and
//! Spirakis, "Weighted random sampling with a reservoir", 2006; the same holds for the k least, drawn without replacement).
//!
//! Everything that decides is a SipHash of octets or one of IEEE 754's exact operations, written out in a fixed order:
//! a logarithm of the platform's library could differ in its last bit, and two nodes would send one client to two places.

use std::hash::Hasher as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use siphasher::sip::SipHasher24;

/// IPv4 clients that agree in so many bits share a choice.
pub const IPV4_GRANULARITY: u8 = 24;

/// IPv6 clients that agree in so many bits share a choice.
pub const IPV6_GRANULARITY: u8 = 56;

/// From so many configured members on, subnets are first reduced to buckets: below it, hashing each member costs no more
/// than looking a bucket up. Configured and not healthy ones count, so that health never changes how a client is hashed.
pub const BUCKETS_FROM: usize = 16;

/// How many buckets there are: a compiled table has one winner for each, two octets a winner.
pub const BUCKETS: u16 = 4096;

/// The fleet agrees on choices because it agrees on this key. To change it is to move every client of every user.
const HASH_KEY: &[u8; 16] = b"windrose, sticky";

/// The length of the prefix that decides for a client, in bits of its own family: the scope of a sticky answer.
pub const fn granularity(client: IpAddr) -> u8 {
    match client {
        IpAddr::V4(_) => IPV4_GRANULARITY,
        IpAddr::V6(_) => IPV6_GRANULARITY,
    }
}

/// A sticky pool or weighted policy: what its choices need of names, hashed beforehand.
#[derive(Debug, Clone)]
pub struct Sticky {
    /// For each member, in the order written: fed with the node's full name, 0, the member's name, 0.
    members: Vec<SipHasher24>,
    /// From [`BUCKETS_FROM`] members on: fed with the node's full name, 0, 0.
    bucket: Option<SipHasher24>,
}

/// What of a client enters the scores: its subnet, or the bucket of its subnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    octets: [u8; KEY_MAX],
    length: u8,
}

/// The family and sixteen octets of an address.
const KEY_MAX: usize = 17;

/// A member and its score, as [`Sticky::ranked`] writes them.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Scored {
    /// The least wins.
    pub score: f64,
    /// The member's place in the order written.
    pub member: usize,
}

impl Sticky {
    /// Of the node with this full name, whose members have these names, in the order written.
    pub fn new<'a>(node: &str, members: impl IntoIterator<Item = &'a str>) -> Self {
        let fed = |octets: &[&[u8]]| {
            let mut hasher = SipHasher24::new_with_key(HASH_KEY);
            octets.iter().for_each(|octets| hasher.write(octets));
            hasher
        };
        let members: Vec<_> = members
            .into_iter()
            .map(|member| fed(&[node.as_bytes(), &[0], member.as_bytes(), &[0]]))
            .collect();
        let bucket = (members.len() >= BUCKETS_FROM).then(|| fed(&[node.as_bytes(), &[0, 0]]));
        Self { members, bucket }
    }

    /// What of this client enters its scores here. Does not allocate, as all that follows.
    pub fn key(&self, client: IpAddr) -> Key {
        let subnet = Key::of_subnet(client);
        match &self.bucket {
            None => subnet,
            Some(fed) => Key::of_bucket((hash(fed, &subnet) % u64::from(BUCKETS)) as u16),
        }
    }

    /// Whether clients are reduced to buckets here, so that a table of [`BUCKETS`] winners can stand for the scores.
    pub fn has_buckets(&self) -> bool {
        self.bucket.is_some()
    }

    /// The score of a member for a client; the least wins. `member` is its place in the order written; a weight of 0 is to
    /// be given as 1, once only such members are left.
    pub fn score(&self, member: usize, key: &Key, weight: u32) -> f64 {
        debug_assert!(
            weight > 0,
            "members of weight 0 stand for the choice only among themselves, as 1"
        );
        self.unit(member, key).map_or(f64::INFINITY, |unit| score(unit, weight))
    }

    /// The number above 0 and at most 1 that a member has for a client.
    fn unit(&self, member: usize, key: &Key) -> Option<f64> {
        self.members.get(member).map(|fed| unit(hash(fed, key)))
    }

    /// The member to serve the client, among those given with their weights. Of equal scores the first written wins.
    pub fn winner(&self, key: &Key, eligible: impl Iterator<Item = (usize, u32)>) -> Option<usize> {
        let mut first = [Scored::default()];
        let found = self.ranked(key, eligible, &mut first);
        (found > 0).then_some(first[0].member)
    }

    /// The members of the least scores among those given with their weights, the least first, as many as `places` holds or
    /// there are. Says how many. Of equal scores the first written comes first.
    pub fn ranked(&self, key: &Key, eligible: impl Iterator<Item = (usize, u32)>, places: &mut [Scored]) -> usize {
        let mut found = 0;
        for (member, weight) in eligible {
            let Some(unit) = self.unit(member, key) else { continue };
            // -ln(u) is at least 1 - u: most members are out of the running without their logarithm.
            let at_least = (1.0 - unit) * JUST_BELOW_1 / f64::from(weight);
            if found == places.len() && places.last().is_none_or(|last| last.score < at_least) {
                continue;
            }
            let scored = Scored {
                score: score(unit, weight),
                member,
            };
            let place = places[..found].partition_point(|other| other.is_before(&scored));
            if place == places.len() {
                continue;
            }
            found = places.len().min(found + 1);
            places.copy_within(place..found - 1, place + 1);
            places[place] = scored;
        }
        found
    }
}

impl Key {
    /// The family's number, then the address, its bits beyond the granularity cleared.
    fn of_subnet(client: IpAddr) -> Self {
        let mut octets = [0; KEY_MAX];
        let length = match client {
            IpAddr::V4(address) => {
                let mask = u32::MAX << (32 - u32::from(IPV4_GRANULARITY));
                octets[0] = 4;
                octets[1..5].copy_from_slice(&Ipv4Addr::from_bits(address.to_bits() & mask).octets());
                5
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX << (128 - u32::from(IPV6_GRANULARITY));
                octets[0] = 6;
                octets[1..].copy_from_slice(&Ipv6Addr::from_bits(address.to_bits() & mask).octets());
                17
            }
        };
        Self { octets, length }
    }

    /// What enters the scores of all clients in a bucket, below [`BUCKETS`].
    pub fn of_bucket(bucket: u16) -> Self {
        let [high, low] = bucket.to_be_bytes();
        let mut octets = [0; KEY_MAX];
        octets[..3].copy_from_slice(&[b'b', high, low]);
        Self { octets, length: 3 }
    }

    /// The bucket, where there are buckets.
    pub fn bucket(&self) -> Option<u16> {
        match (self.octets, self.length) {
            ([b'b', high, low, ..], 3) => Some(u16::from_be_bytes([high, low])),
            _ => None,
        }
    }
}

impl Scored {
    fn is_before(&self, other: &Self) -> bool {
        self.score < other.score || (self.score == other.score && self.member < other.member)
    }
}

fn hash(fed: &SipHasher24, key: &Key) -> u64 {
    let mut hasher = *fed;
    hasher.write(&key.octets[..usize::from(key.length)]);
    hasher.finish()
}

/// Takes more off a bound than rounding can put on it.
const JUST_BELOW_1: f64 = 1.0 - 1e-9;

fn score(unit: f64, weight: u32) -> f64 {
    -natural_log(unit) / f64::from(weight)
}

/// A hash as a number above 0 and at most 1: its upper 53 bits, as many as an `f64` holds.
fn unit(hash: u64) -> f64 {
    ((hash >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
}

/// Terms of the series below: the first one left out is under 2^-60 of the sum.
const LOG_TERMS: u32 = 12;

/// The natural logarithm of a positive, normal number, to a relative error below 1e-12.
///
/// x = m x 2^e with m in [sqrt(1/2), sqrt(2)), and ln m = 2 (s + s^3/3 + s^5/5 + ...) with s = (m - 1) / (m + 1). Near 1,
/// where the result is least, e is 0 and m - 1 is exact: nothing cancels.
fn natural_log(x: f64) -> f64 {
    const FRACTION_BITS: u32 = 52;
    const BIAS: i64 = 1023;
    let bits = x.to_bits();
    let mut exponent = (bits >> FRACTION_BITS) as i64 - BIAS;
    let mut mantissa = f64::from_bits(bits & ((1 << FRACTION_BITS) - 1) | (BIAS as u64) << FRACTION_BITS);
    if mantissa > std::f64::consts::SQRT_2 {
        mantissa /= 2.0;
        exponent += 1;
    }
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let square = s * s;
    let mut sum = 0.0;
    for term in (0..LOG_TERMS).rev() {
        sum = sum * square + 1.0 / f64::from(2 * term + 1);
    }
    exponent as f64 * std::f64::consts::LN_2 + 2.0 * s * sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Different /24s (even numbers) and /56s (odd ones).
    fn client(number: u32) -> IpAddr {
        match number % 2 {
            0 => IpAddr::V4(Ipv4Addr::from_bits((number + (1 << 16)) << 8 | 77)),
            _ => IpAddr::V6(Ipv6Addr::from_bits(
                (0x2001_0db8 << 96) | u128::from(number) << 72 | 0x99,
            )),
        }
    }

    fn winners(sticky: &Sticky, weights: &[u32], clients: u32) -> Vec<usize> {
        (0..clients).map(|number| winner(sticky, weights, number)).collect()
    }

    /// The winner among the members of positive weight.
    fn winner(sticky: &Sticky, weights: &[u32], number: u32) -> usize {
        let eligible = weights.iter().copied().enumerate().filter(|(_, weight)| *weight > 0);
        sticky.winner(&sticky.key(client(number)), eligible).unwrap()
    }

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("edge-{number}")).collect()
    }

    fn sticky(count: usize) -> Sticky {
        Sticky::new("pool", names(count).iter().map(String::as_str))
    }

    #[test]
    fn shares_follow_weights() {
        let weights = [1, 2, 3, 5, 10, 20, 50, 100];
        let clients = 20_000;
        let mut counts = [0_u32; 8];
        winners(&sticky(8), &weights, clients)
            .into_iter()
            .for_each(|member| counts[member] += 1);
        let total: u32 = weights.iter().sum();
        let chi_square: f64 = std::iter::zip(weights, counts)
            .map(|(weight, count)| {
                let expected = f64::from(clients) * f64::from(weight) / f64::from(total);
                (f64::from(count) - expected).powi(2) / expected
            })
            .sum();
        // Seven degrees of freedom, 99.9 %.
        assert!(chi_square < 24.322, "{chi_square} {counts:?}");
    }

    #[test]
    fn a_raised_weight_moves_clients_to_its_member_only() {
        for count in [4, 20] {
            let sticky = sticky(count);
            let mut weights = vec![10; count];
            let before = winners(&sticky, &weights, 20_000);
            weights[1] = 20;
            let after = winners(&sticky, &weights, 20_000);
            let moved: Vec<_> = std::iter::zip(before, after)
                .filter(|(before, after)| before != after)
                .collect();
            assert!(moved.iter().all(|(_, after)| *after == 1));
            let must = 20_000.0 * (2.0 / (count as f64 + 1.0) - 1.0 / count as f64);
            let ratio = moved.len() as f64 / must;
            assert!(
                (0.85..1.15).contains(&ratio),
                "{count} members: {ratio} of the share that must move"
            );
        }
    }

    #[test]
    fn a_lost_member_loses_only_its_own_clients() {
        for count in [5, 20] {
            let sticky = sticky(count);
            let mut weights = vec![10; count];
            let before = winners(&sticky, &weights, 5_000);
            weights[3] = 0;
            let after = winners(&sticky, &weights, 5_000);
            assert!(std::iter::zip(before, after).all(|(before, after)| before == after || before == 3));
        }
    }

    /// These were computed by another implementation of the same text, with a logarithm of 50 digits. They hold for all time.
    #[test]
    fn known_answers() {
        let split = Sticky::new("gtm.example.com/split", ["frankfurt", "ashburn", "singapore"]);
        let pool = sticky(20);
        let cases = [
            (
                "192.0.2.77",
                [0, 1, 2],
                1.892_145_709_463_644_8e-2,
                681,
                [16, 15, 7, 10],
            ),
            (
                "203.0.113.1",
                [0, 1, 2],
                1.837_629_808_478_404e-4,
                3577,
                [19, 3, 12, 17],
            ),
            (
                "2001:db8:7:42ff::9",
                [0, 2, 1],
                2.140_469_585_769_489_5e-3,
                2349,
                [17, 8, 14, 16],
            ),
        ];
        for (client, of_split, score, bucket, of_pool) in cases {
            let client = client.parse().unwrap();
            let mut places = [Scored::default(); 4];

            let key = split.key(client);
            let weights = [(0, 70), (1, 30), (2, 10)];
            assert_eq!(split.ranked(&key, weights.into_iter(), &mut places), 3);
            assert_eq!(
                places[..3].iter().map(|place| place.member).collect::<Vec<_>>(),
                of_split
            );
            assert!((split.score(0, &key, 70) / score - 1.0).abs() < 1e-12);

            let key = pool.key(client);
            assert_eq!(key.bucket(), Some(bucket));
            assert_eq!(key, Key::of_bucket(bucket));
            assert_eq!(
                pool.ranked(&key, (0..20).map(|member| (member, member as u32 + 1)), &mut places),
                4
            );
            assert_eq!(places.map(|place| place.member), of_pool);
        }
    }

    #[test]
    fn subnets_share_a_key_and_no_others_do() {
        let sticky = sticky(3);
        let key = |client: &str| sticky.key(client.parse().unwrap());
        assert_eq!(key("192.0.2.0"), key("192.0.2.255"));
        assert_ne!(key("192.0.2.255"), key("192.0.3.0"));
        assert_eq!(key("2001:db8:7:4200::"), key("2001:db8:7:42ff:ffff:ffff:ffff:ffff"));
        assert_ne!(key("2001:db8:7:42ff::"), key("2001:db8:7:4300::"));
        assert_ne!(key("0.0.0.0"), key("::"));
        assert_eq!(key("192.0.2.0").bucket(), None);
    }

    #[test]
    fn ranked_is_a_sort_by_score() {
        let sticky = sticky(40);
        let key = sticky.key(client(5));
        let weight = |member: usize| 1 + member as u32 % 7;
        let mut sorted: Vec<_> = (0..40)
            .map(|member| (sticky.score(member, &key, weight(member)), member))
            .collect();
        sorted.sort_by(|a, b| a.partial_cmp(b).unwrap());
        for count in [0, 1, 2, 39, 40, 41] {
            let mut places = vec![Scored::default(); count];
            let found = sticky.ranked(&key, (0..40).map(|member| (member, weight(member))), &mut places);
            assert_eq!(found, count.min(40));
            let ranked: Vec<_> = places[..found]
                .iter()
                .map(|place| (place.score, place.member))
                .collect();
            assert_eq!(ranked, sorted[..found]);
        }
        assert_eq!(sticky.winner(&key, std::iter::empty()), None);
    }

    #[test]
    fn of_equal_scores_the_first_written_wins() {
        let twins = Sticky::new("pool", ["same", "same"]);
        let key = twins.key(client(1));
        assert_eq!(twins.winner(&key, [(1, 5), (0, 5)].into_iter()), Some(0));
        assert_eq!(twins.winner(&key, [(1, 6), (0, 5)].into_iter()), Some(1));
    }

    #[test]
    fn the_logarithm_is_accurate() {
        let mut generator = SipHasher24::new_with_key(HASH_KEY);
        let random = std::iter::repeat_with(|| {
            generator.write_u8(1);
            generator.finish()
        });
        let corners = (0..64).flat_map(|shift| [1 << shift, (1 << shift) - 1, !(1 << shift), u64::MAX << shift]);
        for hash in corners.chain(random.take(100_000)) {
            let x = unit(hash);
            assert!(x > 0.0 && x <= 1.0);
            let (ours, theirs) = (natural_log(x), x.ln());
            assert!((ours - theirs).abs() <= 1e-12 * theirs.abs(), "{x}: {ours} {theirs}");
        }
    }
}
