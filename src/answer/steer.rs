//! Records of a steered owner: the walk of the policy tree, and what its end hands out.

use std::net::IpAddr;

use super::Request;
use crate::image::{Serving, SteeredBy};
use crate::policy::Family;
use crate::policy::alias::Chance;
use crate::policy::client::{ClientKey, Seen};
use crate::policy::client_map::{ClientMap, Placed};
use crate::policy::model::{NodeKind, Target};
use crate::policy::sticky;
use crate::policy::trace::Ear;
use crate::policy::tree::End;
use crate::wire::code::{RecordType, class};
use crate::wire::edns::Subnet;
use crate::wire::query::Parsed;

/// What a decision needs of a query.
pub(super) struct Asked {
    /// The family of the type, if it has one.
    family: Option<Family>,
    seen: Seen,
    /// Its class, and the prefix that shares it, if the answer depends on where it is.
    placed: Placed,
    /// Whether the client is the one of the client subnet option.
    by_subnet: bool,
    random: u64,
}

/// What was written.
pub(super) enum Steered {
    /// So many records, in so many octets.
    Records { count: u16, length: usize },
    /// One CNAME, in so many octets, the last of which are the name of the host.
    Alias { length: usize, name: usize },
    /// The decision has nothing of this type.
    NoData,
    /// Nothing is usable.
    Servfail,
    /// Not one record fits.
    TooLong,
}

/// The address whose location decides, if any does.
#[inline]
pub(super) fn located_client(
    parsed: &Parsed,
    request: &Request<'_>,
    steered_by: &SteeredBy,
    client_subnet: bool,
) -> Option<IpAddr> {
    let family = steered_by.deciding_family(family(parsed.qtype));
    if !steered_by.by_location[family as usize] {
        return None;
    }
    let subnet = parsed.edns.and_then(|edns| edns.subnet).filter(|_| client_subnet);
    let client = subnet.and_then(|subnet| subnet.client());
    Some(Seen::new(client.unwrap_or(request.source)).address)
}

/// The family of addresses that a type asks for.
#[inline]
fn family(qtype: RecordType) -> Option<Family> {
    match qtype {
        RecordType::A => Some(Family::Ipv4),
        RecordType::AAAA => Some(Family::Ipv6),
        _ => None,
    }
}

impl Asked {
    /// RFC 7871 7.2.1: the client is the option's address; with a source prefix length of 0 it is the resolver that asks.
    #[inline]
    pub(super) fn new(
        qtype: RecordType,
        subnet: Option<Subnet>,
        request: &Request<'_>,
        steered_by: &SteeredBy,
        clients: &ClientMap,
    ) -> Self {
        let family = family(qtype);
        let client = subnet.and_then(|subnet| subnet.client());
        let seen = Seen::new(client.unwrap_or(request.source));
        let placed = match steered_by.by_location[steered_by.deciding_family(family) as usize] {
            true => clients.place(seen.address),
            false => Placed::default(),
        };
        Self {
            family,
            seen,
            placed,
            by_subnet: client.is_some(),
            random: request.random,
        }
    }

    /// The scope prefix length: how much of the client's address decides.
    #[inline]
    pub(super) fn scope(&self, steered_by: &SteeredBy) -> u8 {
        if !self.by_subnet {
            return 0;
        }
        let family = steered_by.deciding_family(self.family);
        let sticky = match steered_by.by_subnet[family as usize] {
            true => sticky::granularity(self.seen.address),
            false => 0,
        };
        self.seen.scope(self.placed.length.max(sticky))
    }

    fn client(&self) -> ClientKey {
        ClientKey {
            address: self.seen.address,
            class: self.placed.class,
        }
    }
}

/// Decides and writes the records to `target`, as many as fit: a steered answer is cut without TC, but not to nothing.
#[inline]
pub(super) fn write(
    asked: &Asked,
    steered_by: &SteeredBy,
    owner: u16,
    serving: &Serving,
    target: &mut [u8],
    places: &mut [u16],
    ear: &mut impl Ear,
) -> Steered {
    let forest = &serving.image.forest;
    let family = steered_by.deciding_family(asked.family);
    let mut chance = Chance::new(asked.random);
    let end = forest.walk(
        &serving.tables,
        steered_by.root,
        family,
        asked.client(),
        &mut chance,
        ear,
    );
    let End::Pool {
        pool,
        table,
        sticky,
        under,
    } = end
    else {
        return Steered::Servfail;
    };
    let NodeKind::Pool(model) = &forest.steering.node(pool).kind else {
        return Steered::Servfail;
    };
    ear.reached(pool, family);
    let [t3, t2, t1, t0] = steered_by.ttl.max.to_be_bytes();
    let [o1, o0] = owner.to_be_bytes();
    let [c1, c0] = class::IN.to_be_bytes();
    let (rtype, width) = match family {
        Family::Ipv4 => (RecordType::A, 4),
        Family::Ipv6 => (RecordType::AAAA, 16),
    };
    let limit = target.len() / (12 + width);
    let chosen = table.pick(sticky, asked.seen.address, &mut chance, limit.max(1), places);
    let mut count = 0;
    let mut at = 0;
    for &place in &places[..chosen] {
        let backend = usize::from(table.candidate(place).backend);
        ear.handed_out(pool, family, under, backend, table.how());
        if let Target::Host(host) = &model.backends[backend].target {
            let [r1, r0] = RecordType::CNAME.0.to_be_bytes();
            let data = host.wire();
            let fixed = [o1, o0, r1, r0, c1, c0, t3, t2, t1, t0, 0, data.len() as u8];
            let Some(record) = target.get_mut(..fixed.len() + data.len()) else {
                return Steered::TooLong;
            };
            let (head, tail) = record.split_at_mut(fixed.len());
            head.copy_from_slice(&fixed);
            tail.copy_from_slice(data);
            return Steered::Alias {
                length: fixed.len() + data.len(),
                name: data.len(),
            };
        }
        if asked.family.is_none() {
            return Steered::NoData;
        }
        let [r1, r0] = rtype.0.to_be_bytes();
        let fixed = [o1, o0, r1, r0, c1, c0, t3, t2, t1, t0, 0, width as u8];
        for address in table.octets(place).chunks_exact(width) {
            let Some(record) = target.get_mut(at..at + 12 + width) else {
                break;
            };
            let (head, tail) = record.split_at_mut(12);
            head.copy_from_slice(&fixed);
            tail.copy_from_slice(address);
            at += 12 + width;
            count += 1;
        }
    }
    match count {
        0 => Steered::TooLong,
        _ => Steered::Records { count, length: at },
    }
}
