//! Answers from a zone's model, by the algorithm of RFC 1034 4.3.2 step by step, slowly: the oracle for compiled static answers.
//!
//! It knows no image and no message. Where the RFCs leave a choice (circles of aliases, addresses that come along) it says so, and
//! the comparison takes any.

use windrose::wire::code::RecordType;
use windrose::wire::name::Name;
use windrose::zone::model::{Owner, RRset, Zone};

use crate::message::{Message, Record, canonical_rdata};

/// An answer.
#[derive(Debug, Default)]
pub(crate) struct Plain {
    pub(crate) rcode: u16,
    pub(crate) authoritative: bool,
    pub(crate) answer: Vec<Record>,
    pub(crate) authority: Vec<Record>,
    /// Addresses that must come along.
    needed: Vec<Record>,
    /// Addresses that may.
    allowed: Vec<Record>,
    /// The aliases run in a circle: how far they are followed is open.
    circle: bool,
}

/// What stands at a name (RFC 4592 3.3.1).
enum Node<'a> {
    /// Records; the name is the one that they stand at, which may be a wildcard.
    Owner(&'a Name, &'a Owner),
    /// None, but the name exists.
    Empty,
    /// It does not.
    Nothing,
}

/// Asks the zones. No name of the question is steered.
pub(crate) fn ask(zones: &[Zone], name: &Name, rtype: RecordType) -> Plain {
    let held = zones.iter().filter(|zone| name.is_at_or_below(&zone.origin));
    let Some(zone) = held.max_by_key(|zone| zone.origin.label_count()) else {
        return Plain {
            rcode: 5,
            ..Plain::default()
        };
    };
    let mut plain = Plain {
        authoritative: true,
        ..Plain::default()
    };
    let mut name = name.clone();
    let mut passed: Vec<&Name> = Vec::new();
    loop {
        if let Some((cut, servers)) = cut_above(zone, &name) {
            plain.authoritative = !plain.answer.is_empty();
            plain.authority = records(cut, RecordType::NS, servers);
            plain.come_along(zone, RecordType::NS, servers);
            return plain;
        }
        let (source, owner) = match node(zone, &name) {
            Node::Owner(source, owner) => (source, owner),
            Node::Empty => return plain.negative(zone, 0),
            Node::Nothing => return plain.negative(zone, 3),
        };
        match owner.rrsets.get(&RecordType::CNAME) {
            Some(alias) if rtype != RecordType::CNAME => {
                if passed.contains(&source) {
                    plain.circle = true;
                    return plain;
                }
                passed.push(source);
                plain.answer.extend(records(&name, RecordType::CNAME, alias));
                name = Name::from_wire(&alias.rdata[0]).unwrap();
                if !name.is_at_or_below(&zone.origin) {
                    return plain;
                }
            }
            _ => {
                let Some(rrset) = owner.rrsets.get(&rtype) else {
                    return plain.negative(zone, 0);
                };
                plain.answer.extend(records(&name, rtype, rrset));
                plain.come_along(zone, rtype, rrset);
                return plain;
            }
        }
    }
}

impl Plain {
    fn negative(mut self, zone: &Zone, rcode: u16) -> Self {
        let rrset = RRset {
            ttl: zone.soa.negative_ttl(),
            rdata: vec![zone.soa.rdata()],
        };
        self.rcode = rcode;
        self.authority = records(&zone.origin, RecordType::SOA, &rrset);
        self
    }

    /// The addresses of those that NS, MX and SRV point to.
    fn come_along(&mut self, zone: &Zone, rtype: RecordType, rrset: &RRset) {
        let skip = match rtype {
            RecordType::NS => 0,
            RecordType::MX => 2,
            RecordType::SRV => 6,
            _ => return,
        };
        for target in rrset.rdata.iter().filter_map(|data| Name::from_wire(&data[skip..])) {
            let Some(owner) = zone.owners.get(&target) else {
                continue;
            };
            for rtype in [RecordType::A, RecordType::AAAA] {
                let addresses = owner
                    .rrsets
                    .get(&rtype)
                    .map(|rrset| records(&target, rtype, rrset))
                    .unwrap_or_default();
                // Below a cut addresses are glue, which a referral cannot do without (RFC 9471 3).
                let glue = cut_above(zone, &target).is_some();
                let list = if glue && self.authoritative {
                    &mut self.allowed
                } else {
                    &mut self.needed
                };
                list.extend(addresses.into_iter().filter(|record| !self.answer.contains(record)));
            }
        }
    }

    /// Whether a response says this.
    pub(crate) fn is_said_by(&self, got: &Message) -> bool {
        let sorted = |records: &[Record]| {
            let mut records = records.to_vec();
            records.sort();
            records.dedup();
            records
        };
        let answers = if self.circle {
            got.sections[0].first() == self.answer.first()
        } else {
            sorted(&got.sections[0]) == sorted(&self.answer)
        };
        let additional = &got.sections[2];
        answers
            && got.rcode == self.rcode
            && (got.flags & 0x0400 != 0) == self.authoritative
            && (self.circle || sorted(&got.sections[1]) == sorted(&self.authority))
            && self.needed.iter().all(|record| additional.contains(record))
            && additional
                .iter()
                .all(|record| self.needed.contains(record) || self.allowed.contains(record))
    }
}

/// The topmost zone cut at or above a name.
fn cut_above<'a>(zone: &'a Zone, name: &Name) -> Option<(&'a Name, &'a RRset)> {
    let cuts = zone
        .owners
        .iter()
        .filter(|(owner, _)| **owner != zone.origin && name.is_at_or_below(owner));
    cuts.filter_map(|(owner, data)| Some((owner, data.rrsets.get(&RecordType::NS)?)))
        .min_by_key(|(owner, _)| owner.label_count())
}

fn node<'a>(zone: &'a Zone, name: &Name) -> Node<'a> {
    if let Some(found) = existing(zone, name) {
        return found;
    }
    let mut encloser = name.parent().unwrap();
    while existing(zone, &encloser).is_none() {
        encloser = encloser.parent().unwrap();
    }
    let source = encloser.child(b"*").and_then(|wildcard| existing(zone, &wildcard));
    source.unwrap_or(Node::Nothing)
}

fn existing<'a>(zone: &'a Zone, name: &Name) -> Option<Node<'a>> {
    if let Some((owner, data)) = zone.owners.get_key_value(name) {
        return Some(Node::Owner(owner, data));
    }
    zone.owners
        .keys()
        .any(|owner| owner.is_at_or_below(name))
        .then_some(Node::Empty)
}

fn records(owner: &Name, rtype: RecordType, rrset: &RRset) -> Vec<Record> {
    let record = |data: &[u8]| Record {
        owner: owner.wire().to_ascii_lowercase(),
        rtype: rtype.0,
        class: 1,
        ttl: rrset.ttl,
        rdata: canonical_rdata(rtype.0, data).unwrap(),
    };
    rrset.rdata.iter().map(|data| record(data)).collect()
}
