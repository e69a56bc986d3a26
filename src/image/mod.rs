//! The immutable thing that answers are read from: names, tails and policy tables, compiled once and swapped whole.

pub mod compile;
pub mod limiter;
pub mod lookup;
pub mod names;
pub mod prefetch;
pub mod repeat;
pub mod tail;
pub mod tally;

use std::net::IpAddr;
use std::sync::Arc;

use crate::health::Verdicts;
use crate::policy::Family;
use crate::policy::last::LastUsable;
use crate::policy::model::NodeId;
use crate::policy::tree::{Forest, Tables};
use crate::spec::rate_limit::RateLimit;
use crate::wire::cookie::{Cookies, Secrets};
use crate::wire::name::Name;
use crate::zone::model::SteerTtl;
use limiter::Limiter;
use lookup::{Case, Found};
use names::Names;
use tail::{Entry, Tail, Tails};
use tally::Tally;

/// What of the settings is compiled in.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Whether EDNS Client Subnet is read (RFC 7871).
    pub client_subnet: bool,
    /// Sent to whoever asks for it (RFC 5001); empty for none.
    pub nsid: Vec<u8>,
    /// The answer to `version.bind TXT CH`; empty refuses.
    pub version: String,
    /// What is done about cookies (RFC 7873).
    pub cookies: Cookies,
    /// The secrets that cookies are made with; none where the daemon makes its own.
    pub secrets: Option<Secrets>,
    /// How many responses a network may have; none where there is no limit.
    pub rate_limit: Option<RateLimit>,
    /// How long streams may be idle, in units of 100 ms, as those who ask are told (RFC 7828); 0 where nobody is told.
    pub keepalive: u16,
    /// How many threads answer, each of which counts by itself; none where nothing is to be counted.
    pub threads: usize,
}

/// Everything that is served, of one load.
#[derive(Debug)]
pub struct Image {
    /// Every name that exists.
    pub names: Names,
    /// What answers each type at each owner.
    pub entries: Box<[Entry]>,
    /// What the entries send.
    pub tails: Tails,
    /// Chains that come back to their wildcard, by entry.
    pub repeats: Box<[repeat::RepeatAt]>,
    /// The zones.
    pub zones: Box<[ZoneInfo]>,
    /// The origins of those that could not be loaded.
    pub failed: Box<[Name]>,
    /// What steers owners.
    pub steers: Box<[SteeredBy]>,
    /// Pools and policies.
    pub forest: Forest,
    /// What of the settings is compiled in.
    pub options: Options,
    /// What holds responses against their limits, if there are any.
    pub limiter: Option<Limiter>,
    /// How often which pool was chosen. It outlives the image, for as long as it is read.
    pub tally: Arc<Tally>,
}

impl Image {
    /// Asks for the entries of the owner that a name probably has.
    #[inline(always)]
    pub fn prefetch_entries(&self, hash: u64) {
        if let Some(owner) = self.names.probable_owner(hash) {
            prefetch::prefetch(&self.entries, owner.entries as usize);
        }
    }

    /// Asks for what the map of clients reads first of an address.
    #[inline(always)]
    pub fn prefetch_client(&self, address: IpAddr) {
        let (entries, entry) = self.forest.clients.first_load(address);
        prefetch::prefetch(entries, entry);
    }

    /// Asks for what it reads next.
    #[inline(always)]
    pub fn prefetch_client_node(&self, address: IpAddr) {
        if let Some((nodes, node)) = self.forest.clients.second_load(address) {
            prefetch::prefetch(nodes, node);
        }
    }

    /// Asks for what will be sent.
    #[inline(always)]
    pub fn prefetch_tail(&self, found: &Found) {
        if let Case::Entry(entry) = found.case {
            self.tails.prefetch(&self.entries[entry as usize].tail);
        }
    }
}

/// A zone, as far as answers need it.
#[derive(Debug, Clone)]
pub struct ZoneInfo {
    /// The name at its top.
    pub origin: Name,
    /// Its serial number.
    pub serial: u32,
    /// How many owners it has, empty non-terminals left out.
    pub owners: usize,
    /// The tail of its name errors and NODATA answers, made for the origin itself.
    pub negative: Tail,
}

/// What steers some owners.
#[derive(Debug, Clone, Copy)]
pub struct SteeredBy {
    /// The policy or pool.
    pub root: NodeId,
    /// Of its answers.
    pub ttl: SteerTtl,
    /// Where its decisions are counted.
    pub tallied: tally::Place,
    /// Whether anything under the root has the family.
    pub has_family: [bool; 2],
    /// Whether answers depend on the client's subnet.
    pub by_subnet: [bool; 2],
    /// Whether answers depend on where the client is.
    pub by_location: [bool; 2],
}

impl SteeredBy {
    /// The family that decides for a type: its own, or for all other types the first that the root has.
    pub fn deciding_family(&self, own: Option<Family>) -> Family {
        own.unwrap_or(if self.has_family[0] { Family::Ipv4 } else { Family::Ipv6 })
    }
}

/// An image, and what follows from the verdicts in force.
#[derive(Debug)]
pub struct Serving {
    /// The image.
    pub image: Arc<Image>,
    /// The policy tables under those verdicts.
    pub tables: Tables,
    /// What cookies are made with. Whoever publishes it sees to it that they are secret.
    pub secrets: Secrets,
}

/// In force until others are: cookies made with it prove nothing.
const NO_SECRET: [u8; 16] = [0; 16];

impl Serving {
    /// Works out the policy tables for these verdicts.
    pub fn new(image: Arc<Image>, verdicts: &Verdicts) -> Serving {
        Self::first(image, verdicts, &LastUsable::default())
    }

    /// The same for an image that takes the place of another: what was usable last is as that remembered it.
    pub fn first(image: Arc<Image>, verdicts: &Verdicts, last: &LastUsable) -> Serving {
        let tables = Tables::first(&image.forest, verdicts, last);
        let secrets = image.options.secrets.unwrap_or_else(|| Secrets::new(NO_SECRET, &[]));
        Serving { image, tables, secrets }
    }

    /// The same with other secrets.
    pub fn with(&self, secrets: Secrets) -> Serving {
        Serving {
            image: self.image.clone(),
            tables: self.tables.clone(),
            secrets,
        }
    }

    /// What its roots remember of when they were usable last.
    pub fn last_usable(&self) -> LastUsable {
        LastUsable::of(&self.image.forest, &self.tables)
    }

    /// The same image under other verdicts. What was usable last is carried over.
    pub fn under(&self, verdicts: &Verdicts) -> Serving {
        let tables = Tables::new(&self.image.forest, verdicts, Some(&self.tables));
        Serving {
            image: self.image.clone(),
            tables,
            secrets: self.secrets,
        }
    }
}
