//! Response rate limiting: how many responses of a kind a network had in this second.
//!
//! A flow is a network, a kind of response and the name it is about. Its count stands in a table of fixed size, in one of eight places on one
//! cache line, found by a hash under a key that nobody else knows, so that nobody can aim at the place of another flow. A count of
//! an earlier second says nothing any more, so its place is free. Where all places of a line have counts of this second, the least makes
//! way: a flow that has reached its limit stays, whatever comes past it.
//!
//! A count changes by one atomic exchange, and not at all once the limit is reached: a flood costs every thread one cache line, which all
//! of them only read.

use std::hash::Hasher;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use siphasher::sip::SipHasher13;

use crate::spec::rate_limit::RateLimit;

/// Lines of the table: 4 MiB. Half a million flows in one second have places, as many as fit a datagram each into 300 Mbit/s.
const LINES: usize = 1 << 16;

/// Counts on a cache line.
const PLACES: usize = 8;

/// How often a count is tried, where other threads count on the same line. One that is not counted is sent.
const ATTEMPTS: usize = 8;

/// The limits, and the counts of this second.
#[derive(Debug)]
pub struct Limiter {
    limits: RateLimit,
    key: [u64; 2],
    lines: Box<[Line]>,
}

/// Each place: 32 bits of the flow's hash, 16 of the second, 16 of the count.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Line([AtomicU64; PLACES]);

/// What a response is, as far as it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// An answer, an alias or a referral of this owner: the name asked, its wildcard, its cut or its DNAME.
    Answer(u32),
    /// NODATA of this zone.
    NoData(u32),
    /// NXDOMAIN of this zone.
    NameError(u32),
    /// Whatever else, from nowhere.
    Error,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ruling {
    /// It is within its limit.
    Send,
    /// It is over it; one of so many is sent with TC, so that who really asks comes by TCP.
    Slip,
    /// It is over it, and nothing is sent.
    Drop,
}

impl Limiter {
    /// Nothing is counted yet. The key must be random.
    pub fn new(limits: RateLimit, key: [u64; 2]) -> Self {
        Self::with_lines(limits, key, LINES)
    }

    fn with_lines(limits: RateLimit, key: [u64; 2], lines: usize) -> Self {
        Self {
            limits,
            key,
            lines: (0..lines).map(|_| Line::default()).collect(),
        }
    }

    /// Counts a response to a client, at this second, and says what is to be done. `random` decides what slips.
    pub fn judge(&self, client: IpAddr, flow: Flow, now: u32, random: u64) -> Ruling {
        let limit = match flow {
            Flow::Answer(_) | Flow::NoData(_) => self.limits.responses,
            Flow::NameError(_) => self.limits.nxdomains,
            Flow::Error => self.limits.errors,
        };
        if self.limits.exempts(client) || self.count(self.hash(client, flow), now as u16, limit) {
            return Ruling::Send;
        }
        // Other bits than those that draw a backend.
        let chance = random.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        match chance.checked_rem(self.limits.slip.into()) {
            Some(0) => Ruling::Slip,
            _ => Ruling::Drop,
        }
    }

    fn hash(&self, client: IpAddr, flow: Flow) -> u64 {
        let [ipv4, ipv6] = self.limits.prefix_lengths;
        let (family, network) = match client.to_canonical() {
            IpAddr::V4(address) => (4, u128::from(address.to_bits() >> (32 - ipv4.clamp(1, 32)))),
            IpAddr::V6(address) => (6, address.to_bits() >> (128 - ipv6.clamp(1, 128))),
        };
        let (kind, about) = match flow {
            Flow::Answer(owner) => (0, owner),
            Flow::NoData(zone) => (1, zone),
            Flow::NameError(zone) => (2, zone),
            Flow::Error => (3, 0),
        };
        let mut hasher = SipHasher13::new_with_keys(self.key[0], self.key[1]);
        hasher.write_u128(network);
        hasher.write_u64(family << 48 | kind << 32 | u64::from(about));
        hasher.finish()
    }

    /// Whether the limit is not reached; then it is counted.
    fn count(&self, hash: u64, second: u16, limit: u16) -> bool {
        let line = &self.lines[(hash >> 32) as usize % self.lines.len()];
        for _ in 0..ATTEMPTS {
            let (place, seen) = line.place(hash as u32, second);
            let count = seen as u16;
            let next = match (seen ^ stamp(hash as u32, second)) >> 16 {
                0 if count >= limit => return false,
                0 => seen + 1,
                _ => stamp(hash as u32, second) + 1,
            };
            let exchanged = place.compare_exchange(seen, next, Ordering::Relaxed, Ordering::Relaxed);
            if exchanged.is_ok() {
                return true;
            }
        }
        true
    }
}

impl Line {
    /// The place of this flow in this second, else a free one, else that of the least count; and what stands there.
    fn place(&self, tag: u32, second: u16) -> (&AtomicU64, u64) {
        let [first, others @ ..] = &self.0;
        let mut least = (first, first.load(Ordering::Relaxed));
        for place in others {
            let seen = place.load(Ordering::Relaxed);
            if rank(seen, tag, second) < rank(least.1, tag, second) {
                least = (place, seen);
            }
        }
        least
    }
}

/// What a place holds besides the count.
fn stamp(tag: u32, second: u16) -> u64 {
    u64::from(tag) << 32 | u64::from(second) << 16
}

/// The lower the better.
fn rank(seen: u64, tag: u32, second: u16) -> u32 {
    if seen & !0xffff == stamp(tag, second) {
        return 0;
    }
    match (seen >> 16) as u16 == second {
        false => 1,
        true => 1 + (seen & 0xffff) as u32,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn client(network: u8, host: u8) -> IpAddr {
        match network % 2 {
            0 => [192, 0, network, host].into(),
            _ => [0x2001, 0xdb8, 0, u16::from(network) << 8 | u16::from(host), 0, 0, 0, 1].into(),
        }
    }

    fn flows() -> impl Strategy<Value = Flow> {
        prop_oneof![
            (0..3u32).prop_map(Flow::Answer),
            (0..2u32).prop_map(Flow::NoData),
            (0..2u32).prop_map(Flow::NameError),
            Just(Flow::Error),
        ]
    }

    fn limits() -> impl Strategy<Value = RateLimit> {
        (1..6u16, 1..6u16, 1..6u16, 0..3u16).prop_map(|(responses, nxdomains, errors, slip)| RateLimit {
            nxdomains,
            errors,
            slip,
            exempt: vec!["192.0.2.128/25".parse().unwrap()],
            ..RateLimit::new(responses)
        })
    }

    proptest! {
        /// By the words of the documentation: of each flow, so many in each second.
        #[test]
        fn each_flow_has_so_many_in_each_second(
            limits in limits(),
            key in any::<[u64; 2]>(),
            start in any::<u32>(),
            queries in prop::collection::vec((0..4u8, any::<u8>(), flows(), 0..3u32, any::<u64>()), 1..400),
        ) {
            let limiter = Limiter::with_lines(limits.clone(), key, 64);
            let mut now = start;
            let mut counts: HashMap<(u8, String, u32), u16> = HashMap::new();
            for (network, host, flow, later, random) in queries {
                now = now.wrapping_add(later / 2);
                let limit = match flow {
                    Flow::Answer(_) | Flow::NoData(_) => limits.responses,
                    Flow::NameError(_) => limits.nxdomains,
                    Flow::Error => limits.errors,
                };
                let ruling = limiter.judge(client(network, host), flow, now, random);
                let is_exempt = network == 2 && host >= 128;
                let count = counts.entry((network, format!("{flow:?}"), now)).or_default();
                *count += u16::from(!is_exempt);
                prop_assert_eq!(ruling == Ruling::Send, is_exempt || *count <= limit, "{:?}", ruling);
                prop_assert!(ruling != Ruling::Slip || limits.slip > 0);
                prop_assert!(ruling != Ruling::Drop || limits.slip != 1);
            }
        }

        /// On one line with seven flows at their limit, whatever else comes has the eighth place alone.
        #[test]
        fn what_is_at_its_limit_stays(key in any::<[u64; 2]>(), passing in 1..200u32) {
            let limiter = Limiter::with_lines(RateLimit::new(3), key, 1);
            let ask = |owner| limiter.judge(client(2, 1), Flow::Answer(owner), 7, 0) == Ruling::Send;
            for owner in 0..7 {
                prop_assert!(ask(owner) && ask(owner) && ask(owner));
            }
            for owner in 0..passing {
                ask(100 + owner);
                prop_assert!((0..7).all(|owner| !ask(owner)));
            }
        }
    }

    #[test]
    fn one_of_so_many_slips() {
        let slips = |slip| {
            let limiter = Limiter::with_lines(
                RateLimit {
                    slip,
                    ..RateLimit::new(1)
                },
                [1, 2],
                64,
            );
            let mut random = fastrand::Rng::with_seed(7);
            let mut ask = || limiter.judge(client(2, 1), Flow::Error, 7, random.u64(..));
            assert_eq!(ask(), Ruling::Send);
            (0..10_000).filter(|_| ask() == Ruling::Slip).count()
        };
        assert_eq!((slips(0), slips(1)), (0, 10_000));
        assert!((4_500..5_500).contains(&slips(2)) && (850..1_150).contains(&slips(10)));
    }

    #[test]
    fn networks_are_as_long_as_said() {
        let limits = RateLimit {
            prefix_lengths: [16, 48],
            ..RateLimit::new(1)
        };
        let limiter = Limiter::with_lines(limits, [1, 2], 64);
        let ask = |client: &str| limiter.judge(client.parse().unwrap(), Flow::Error, 7, 0) == Ruling::Send;
        assert!(ask("192.0.2.1") && !ask("192.0.255.1") && !ask("::ffff:192.0.3.1") && ask("192.1.2.1"));
        assert!(ask("2001:db8:1::1") && !ask("2001:db8:1:ff::1") && ask("2001:db8:2::1"));
    }

    /// Threads that count the same flow at once: never more than its limit, but for what [`ATTEMPTS`] lets pass.
    #[test]
    fn threads_share_a_limit() {
        let limiter = Limiter::with_lines(RateLimit::new(1_000), [1, 2], 64);
        let sent: usize = std::thread::scope(|scope| {
            let count = || {
                let ask = |_: &usize| limiter.judge(client(2, 1), Flow::Answer(1), 7, 0) == Ruling::Send;
                (0..2_000).filter(ask).count()
            };
            let threads = [(); 4].map(|()| scope.spawn(count));
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert!((1_000..2_000).contains(&sent), "{sent}");
    }

    #[test]
    fn the_table_has_one_size() {
        assert_eq!(size_of::<Line>() * LINES, 4 << 20);
    }
}
