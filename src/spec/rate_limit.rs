//! How many responses of a kind one network may have in a second, as `[server] rate_limit` says it.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Faults;
use super::places;
use super::reader::Entry;
use super::value::Value;

/// The limits. What is not said has its default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimit {
    /// Answers for one name, or NODATA of one zone, in a second.
    pub responses: u16,
    /// Name errors of one zone.
    pub nxdomains: u16,
    /// REFUSED, SERVFAIL and other errors.
    pub errors: u16,
    /// One of so many that are over a limit is answered with TC; 0 for none.
    pub slip: u16,
    /// What a network is, in bits of an IPv4 address and of an IPv6 address.
    pub prefix_lengths: [u8; 2],
    /// Clients without a limit.
    pub exempt: Vec<IpNet>,
}

impl RateLimit {
    /// The defaults for so many responses in a second.
    pub fn new(responses: u16) -> Self {
        Self {
            responses,
            nxdomains: responses,
            errors: responses,
            slip: 2,
            prefix_lengths: [24, 56],
            exempt: Vec::new(),
        }
    }

    /// Whether this client has no limit.
    pub fn exempts(&self, client: IpAddr) -> bool {
        self.exempt.iter().any(|network| network.contains(&client))
    }
}

/// The most responses in a second: a count has 16 bits, and some room above.
const RATE_MAX: u32 = 60_000;

const KEYS: &[&str] = &[
    "responses_per_second",
    "nxdomains_per_second",
    "errors_per_second",
    "slip",
    "ipv4_prefix_length",
    "ipv6_prefix_length",
    "exempt_clients",
];

/// Reads the table.
pub fn read(value: Value<'_>, faults: &mut Faults) -> Option<RateLimit> {
    let table = value.table(faults)?;
    let mut responses = None;
    let mut rates = [None; 2];
    let mut read = RateLimit::new(0);
    for entry in &table.entries {
        let value = entry.value;
        match entry.key {
            "responses_per_second" => responses = Some(rate(entry, faults)),
            "nxdomains_per_second" => rates[0] = rate(entry, faults),
            "errors_per_second" => rates[1] = rate(entry, faults),
            "slip" => {
                read.slip = value
                    .integer("a number", 0..=100, faults)
                    .map_or(2, |slip| u16::try_from(slip).unwrap_or(u16::MAX))
            }
            "ipv4_prefix_length" => read.prefix_lengths[0] = prefix_length(value, 32, faults),
            "ipv6_prefix_length" => read.prefix_lengths[1] = prefix_length(value, 128, faults),
            "exempt_clients" => read.exempt = places::networks(value, faults),
            _ => entry.unknown("`rate_limit`", KEYS, faults),
        }
    }
    let Some(responses) = responses else {
        let hint = "write as many as the busiest resolver asks for one name, several times over".to_owned();
        faults.missing(&table.span, "`rate_limit` has no `responses_per_second`", hint);
        return None;
    };
    read.responses = responses?;
    [read.nxdomains, read.errors] = rates.map(|rate| rate.unwrap_or(read.responses));
    Some(read)
}

fn rate(entry: &Entry<'_>, faults: &mut Faults) -> Option<u16> {
    let rate = entry.value.integer("responses in a second", 1..=RATE_MAX, faults)?;
    u16::try_from(rate).ok()
}

fn prefix_length(value: Value<'_>, most: u32, faults: &mut Faults) -> u8 {
    let length = value.integer("the length of a prefix", 1..=most, faults);
    length.map_or(0, |length| u8::try_from(length).unwrap_or(u8::MAX))
}
