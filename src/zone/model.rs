//! A zone, checked: owners in canonical order, their record sets in wire form, and the names of the roots that steer some.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::wire::code::RecordType;
use crate::wire::name::{Name, wire_length};

/// The greatest TTL: 2^31 - 1 seconds (RFC 2181 8).
pub const TTL_MAX: u32 = i32::MAX as u32;

/// A zone that may be served.
#[derive(Debug, Clone)]
pub struct Zone {
    /// The name at its top.
    pub origin: Name,
    /// The file it was read from.
    pub path: PathBuf,
    /// Its start of authority; the same record stands in `owners` at the apex.
    pub soa: Soa,
    /// Every owner that has records or is steered, the apex among them. Empty non-terminals are not listed.
    pub owners: BTreeMap<Name, Owner>,
}

impl Zone {
    /// Changes the serial number, wherever it stands.
    pub fn set_serial(&mut self, serial: u32) {
        self.soa.serial = serial;
        let apex = self.owners.get_mut(&self.origin);
        if let Some(rrset) = apex.and_then(|apex| apex.rrsets.get_mut(&RecordType::SOA)) {
            rrset.rdata = vec![self.soa.rdata()];
        }
    }
}

/// A start of authority (RFC 1035 3.3.13). Times are in seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Soa {
    /// The primary name server.
    pub mname: Name,
    /// The mailbox of whoever is responsible.
    pub rname: Name,
    /// The serial number.
    pub serial: u32,
    /// How often a secondary asks.
    pub refresh: u32,
    /// How soon it asks again.
    pub retry: u32,
    /// When it gives up.
    pub expire: u32,
    /// The TTL of negative answers, if `ttl` is not less (RFC 2308 5).
    pub minimum: u32,
    /// The TTL of the record itself.
    pub ttl: u32,
}

impl Soa {
    /// Reads record data; `None` if it is none.
    pub fn read(ttl: u32, data: &[u8]) -> Option<Self> {
        let (names, numbers) = data.split_last_chunk::<20>()?;
        let (mname, rname) = names.split_at_checked(wire_length(names)?)?;
        let mut numbers = numbers
            .chunks_exact(4)
            .filter_map(|number| number.try_into().ok().map(u32::from_be_bytes));
        Some(Self {
            mname: Name::from_wire(mname)?,
            rname: Name::from_wire(rname)?,
            serial: numbers.next()?,
            refresh: numbers.next()?,
            retry: numbers.next()?,
            expire: numbers.next()?,
            minimum: numbers.next()?,
            ttl,
        })
    }

    /// Its record data, uncompressed.
    pub fn rdata(&self) -> Box<[u8]> {
        let mut octets = [self.mname.wire(), self.rname.wire()].concat();
        for number in [self.serial, self.refresh, self.retry, self.expire, self.minimum] {
            octets.extend_from_slice(&number.to_be_bytes());
        }
        octets.into()
    }

    /// How long a resolver may keep a negative answer: the lesser of TTL and minimum (RFC 2308 5).
    pub fn negative_ttl(&self) -> u32 {
        self.ttl.min(self.minimum)
    }
}

/// What stands at one name.
#[derive(Debug, Clone, Default)]
pub struct Owner {
    /// Its record sets.
    pub rrsets: RRsets,
    /// The policy or pool that answers for it, beside them. Most have none, so that it stands apart.
    pub steer: Option<Box<Steer>>,
}

/// The record sets of an owner, each of another type. Zones have a million owners, and nearly all of those one set or two: a sorted
/// list that takes the room it needs, and no more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RRsets(Vec<(RecordType, RRset)>);

impl RRsets {
    fn find(&self, rtype: RecordType) -> Result<usize, usize> {
        self.0.binary_search_by_key(&rtype, |(rtype, _)| *rtype)
    }

    /// The set of a type.
    pub fn get(&self, rtype: &RecordType) -> Option<&RRset> {
        self.find(*rtype).ok().map(|at| &self.0[at].1)
    }

    /// The set of a type, to be changed.
    pub fn get_mut(&mut self, rtype: &RecordType) -> Option<&mut RRset> {
        self.find(*rtype).ok().map(|at| &mut self.0[at].1)
    }

    /// Whether there is a set of a type.
    pub fn contains_key(&self, rtype: &RecordType) -> bool {
        self.find(*rtype).is_ok()
    }

    /// Sets the set of a type.
    pub fn insert(&mut self, rtype: RecordType, rrset: RRset) {
        match self.find(rtype) {
            Ok(at) => self.0[at].1 = rrset,
            Err(at) => {
                self.0.reserve_exact(1);
                self.0.insert(at, (rtype, rrset));
            }
        }
    }

    /// The types, in the order of their numbers.
    pub fn keys(&self) -> impl Iterator<Item = &RecordType> {
        self.0.iter().map(|(rtype, _)| rtype)
    }

    /// The sets, in that order.
    pub fn values(&self) -> impl Iterator<Item = &RRset> {
        self.0.iter().map(|(_, rrset)| rrset)
    }

    /// Types and sets, in that order.
    pub fn iter(&self) -> std::slice::Iter<'_, (RecordType, RRset)> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a RRsets {
    type Item = &'a (RecordType, RRset);
    type IntoIter = std::slice::Iter<'a, (RecordType, RRset)>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl FromIterator<(RecordType, RRset)> for RRsets {
    fn from_iter<I: IntoIterator<Item = (RecordType, RRset)>>(sets: I) -> Self {
        let mut rrsets = Self::default();
        for (rtype, rrset) in sets {
            rrsets.insert(rtype, rrset);
        }
        rrsets
    }
}

/// The records of one owner and type (RFC 2181 5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RRset {
    /// In seconds.
    pub ttl: u32,
    /// The data of each record: wire form, uncompressed, each once.
    pub rdata: Vec<Box<[u8]>>,
}

/// A steered owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Steer {
    /// The full name of the root: `ORIGIN/NAME`, or `NAME` alone for one of windrose.toml.
    pub root: String,
    /// The TTL given at the record set or the owner; without one the root's counts.
    pub ttl: Option<SteerTtl>,
}

/// The TTL of a steered answer, in seconds: from `min` to `max`. A fixed one has both alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SteerTtl {
    /// At least this.
    pub min: u32,
    /// At most this.
    pub max: u32,
}

impl SteerTtl {
    /// What a steered answer has when no level says anything.
    pub const DEFAULT: SteerTtl = SteerTtl::fixed(30);

    /// One that does not move.
    pub const fn fixed(seconds: u32) -> Self {
        Self {
            min: seconds,
            max: seconds,
        }
    }
}
