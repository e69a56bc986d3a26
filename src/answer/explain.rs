//! Why a client gets what it gets: the decision step by step, told by the very walk that answers, then the answer as it is sent.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;

use super::{Located, Outcome, Request, ResponseBuffer, Transport, locate, parse, write};
use crate::geo::lookup::{Sighting, Told};
use crate::image::lookup::{Case, Found};
use crate::image::names::NONE;
use crate::image::{Image, Serving};
use crate::policy::client::Seen;
use crate::policy::trace::{Narrator, Step};
use crate::policy::{Client, Family};
use crate::wire::code::{RecordType, class};
use crate::wire::edns::{CLIENT_SUBNET, UDP_SIZE};
use crate::wire::message;
use crate::wire::name::Name;
use crate::wire::rdata;

pub use steps::{Candidate, Node, Rule};

mod steps;
mod text;

/// What is to be explained.
#[derive(Debug, Clone)]
pub struct Question {
    /// The name asked for.
    pub name: Name,
    /// The type asked for.
    pub rtype: RecordType,
    /// The client and how many bits of its address the resolver tells, if it tells any.
    pub client: Option<(IpAddr, u8)>,
    /// Who sends the query.
    pub resolver: IpAddr,
    /// The chance that draws are made with.
    pub random: u64,
}

/// The whole explanation. Every list is in the order things happened.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    /// The name asked for.
    pub name: String,
    /// The type asked for.
    #[serde(rename = "type")]
    pub rtype: String,
    /// The client as the decision sees it: an address, zero-extended.
    pub client: String,
    /// What the client's address comes from: `client subnet` or `resolver`.
    pub client_from: &'static str,
    /// Who sends the query.
    pub resolver: String,
    /// What is known of where the client is.
    pub location: Told,
    /// The zone that answers.
    pub zone: Option<String>,
    /// The owner that answers.
    pub owner: Option<String>,
    /// What the owner is to the name: `exact`, `wildcard`, `zone cut`, `closest encloser`.
    pub found: Option<&'static str>,
    /// The full name of the policy or pool that the record names.
    pub root: Option<String>,
    /// Whether nothing was usable, so that the root's fallback decided.
    pub fell_back: bool,
    /// Why there is nothing more to say, where that is so.
    pub note: Option<&'static str>,
    /// Each policy on the way, and the pool at its end; the root alone if nothing under it can be handed out.
    pub steps: Vec<Node>,
    /// The full name of the pool that answers.
    pub pool: Option<String>,
    /// The random number that draws were made with (`--random` repeats it).
    pub random: u64,
    /// The TTL of the answer section's last record.
    pub ttl: Option<u32>,
    /// Where that TTL was set is the record, the owner or the root; this is the range it may have.
    pub ttl_range: Option<[u32; 2]>,
    /// The scope prefix length of the answer (RFC 7871); null if no client subnet was sent.
    pub scope: Option<u8>,
    /// The response code.
    pub rcode: String,
    /// `aa`, `tc`.
    pub flags: Vec<&'static str>,
    /// The answer section, in presentation form.
    pub answer: Vec<String>,
    /// The authority section.
    pub authority: Vec<String>,
    /// The additional section.
    pub additional: Vec<String>,
}

/// The address whose location decides: that of the client subnet if it is told and read, else the resolver's; an IPv4 address if it carries one.
pub fn deciding_address(question: &Question, serving: &Serving) -> IpAddr {
    let told = question
        .client
        .filter(|(_, length)| *length > 0 && serving.image.options.client_subnet);
    let address = told.map_or(question.resolver, |(address, length)| {
        IpNet::new(address, length).map_or(address, |network| network.network())
    });
    Seen::new(address).address
}

/// Answers a question through the ordinary stages, and tells how it came about. `sighting` is what is known of the location of
/// [`deciding_address`]. `None` only if the answer cannot be read back.
pub fn explain(question: &Question, serving: &Serving, sighting: &Sighting) -> Option<Explanation> {
    let bytes = query(question);
    let request = Request {
        bytes: &bytes,
        source: question.resolver,
        transport: Transport::Tcp,
        random: question.random,
        // It shows no cookie, so that the time is nothing to it.
        now: 0,
    };
    let image = &*serving.image;
    let parsed = parse(&bytes, &image.names.key);
    let located = locate(&parsed, &request, serving);
    let mut response = ResponseBuffer::with_capacity(usize::from(u16::MAX));
    let mut narrator = Narrator::default();
    let outcome = write(&parsed, &located, &request, serving, &mut response, &mut narrator);
    let Outcome::Answered(rcode) = outcome else { return None };
    let message = message::read(response.as_slice())?;

    let found = match located {
        Located::Found(found) if found.owner != NONE => Some(found),
        Located::Found(_) | Located::Refused(_) => None,
    };
    let note = match located {
        Located::Found(found) => note(&found),
        Located::Refused(_) => Some("queries of this kind are refused, whatever the name"),
    };
    // What was decided, also at the end of a chain that is followed only now; else what steers an owner that has nothing of the type.
    let decided = narrator.steered.or_else(|| steer_without_data(image, &found?));
    let steered_by = decided.and_then(|steer| image.steers.get(steer as usize).copied());
    let [answer, authority, additional] = &message.sections;
    let subnet = parsed
        .edns
        .and_then(|edns| edns.subnet)
        .filter(|_| image.options.client_subnet);
    let client = subnet.and_then(|subnet| subnet.client());
    let address = deciding_address(question, serving);
    let placed = image.forest.clients.place(address);
    let asker = steps::Asker {
        serving,
        class: placed.class,
        client: Client {
            address,
            whereabouts: sighting.whereabouts.clone(),
            shared: placed.length,
        },
    };
    let flags = [(message.authoritative, "aa"), (message.truncated, "tc")];
    Some(Explanation {
        name: question.name.to_string(),
        rtype: question.rtype.to_string(),
        client: client.unwrap_or(question.resolver).to_string(),
        client_from: if client.is_some() { "client subnet" } else { "resolver" },
        resolver: question.resolver.to_string(),
        location: sighting.told(),
        zone: found.and_then(|found| zone(image, &found)),
        owner: found
            .and_then(|found| Name::from_wire(image.names.name(found.owner)))
            .map(|name| name.to_string()),
        found: found.map(|found| how_found(image, &found, question)),
        root: steered_by.map(|by| image.forest.steering.node(by.root).name.clone()),
        fell_back: narrator.steps.iter().any(|step| matches!(step, Step::FellBack { .. })),
        note,
        steps: steered_by.map_or_else(Vec::new, |by| {
            steps::tell(
                &asker,
                by.root,
                by.deciding_family(family(question.rtype)),
                &narrator.steps,
            )
        }),
        pool: narrator.steps.iter().rev().find_map(|step| match step {
            Step::HandedOut { pool, .. } => Some(image.forest.steering.node(*pool).name.clone()),
            Step::Chose { .. } | Step::FellBack { .. } => None,
        }),
        random: question.random,
        ttl: answer.last().map(|record| record.ttl),
        ttl_range: steered_by.map(|by| [by.ttl.min, by.ttl.max]),
        scope: message.scope,
        rcode: rcode.to_string(),
        flags: flags.iter().filter(|(set, _)| *set).map(|(_, word)| *word).collect(),
        answer: answer.iter().map(show).collect(),
        authority: authority.iter().map(show).collect(),
        additional: additional.iter().map(show).collect(),
    })
}

/// The query as a resolver would send it, with a client subnet if there is one to tell.
pub fn query(question: &Question) -> Vec<u8> {
    let mut bytes = vec![0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    bytes.extend_from_slice(question.name.wire());
    bytes.extend_from_slice(&question.rtype.0.to_be_bytes());
    bytes.extend_from_slice(&class::IN.to_be_bytes());
    bytes.push(0);
    bytes.extend_from_slice(&RecordType::OPT.0.to_be_bytes());
    bytes.extend_from_slice(&UDP_SIZE.to_be_bytes());
    bytes.extend_from_slice(&[0; 4]);
    let option = question
        .client
        .map_or_else(Vec::new, |(address, length)| subnet_option(address, length));
    bytes.extend_from_slice(&(option.len() as u16).to_be_bytes());
    bytes.extend_from_slice(&option);
    bytes
}

/// RFC 7871 6.
fn subnet_option(address: IpAddr, length: u8) -> Vec<u8> {
    let (family, mut octets, width) = match address {
        IpAddr::V4(address) => (1, address.octets().to_vec(), 32),
        IpAddr::V6(address) => (2, address.octets().to_vec(), 128),
    };
    let length = length.min(width);
    octets.truncate(usize::from(length).div_ceil(8));
    if let (Some(last), used @ 1..) = (octets.last_mut(), length % 8) {
        *last &= 0xff << (8 - used);
    }
    let mut option = CLIENT_SUBNET.to_be_bytes().to_vec();
    option.extend_from_slice(&(octets.len() as u16 + 4).to_be_bytes());
    option.extend_from_slice(&[0, family, length, 0]);
    option.extend_from_slice(&octets);
    option
}

/// What steers an owner that has nothing of the type, if something does.
fn steer_without_data(image: &Image, found: &Found) -> Option<u32> {
    if found.case != Case::NoData {
        return None;
    }
    let owner = image.names.owner(found.owner);
    let first = owner.entries as usize;
    let entries = image.entries.get(first..first + usize::from(owner.entry_count))?;
    entries.iter().map(|entry| entry.steer).find(|steer| *steer != NONE)
}

/// The family of addresses that a type asks for.
fn family(rtype: RecordType) -> Option<Family> {
    match rtype {
        RecordType::A => Some(Family::Ipv4),
        RecordType::AAAA => Some(Family::Ipv6),
        _ => None,
    }
}

/// The zone that answers; one that could not be loaded is its own owner.
fn zone(image: &Image, found: &Found) -> Option<String> {
    if found.case == Case::Failed {
        return Some(Name::from_wire(image.names.name(found.owner))?.to_string());
    }
    let zone = image.zones.get(image.names.owner(found.owner).zone as usize);
    zone.map(|zone| zone.origin.to_string())
}

fn note(found: &Found) -> Option<&'static str> {
    match found.case {
        Case::NotOurs => Some("no zone here has the name"),
        Case::Failed => Some("the zone has faults and could not be loaded"),
        Case::NoData => Some("the name exists, but not with this type"),
        Case::NameError => Some("the name does not exist"),
        Case::Redirect(_) => Some("a DNAME above the name redirects it"),
        Case::Entry(_) => None,
    }
}

fn how_found(image: &Image, found: &Found, question: &Question) -> &'static str {
    use crate::image::names::OwnerKind;
    let owner = image.names.name(found.owner);
    match image.names.owner(found.owner).kind {
        OwnerKind::Cut => "zone cut",
        OwnerKind::Redirect if matches!(found.case, Case::Redirect(_)) => "DNAME above it",
        OwnerKind::Failed => "zone that could not be loaded",
        OwnerKind::Node | OwnerKind::Redirect if owner.eq_ignore_ascii_case(question.name.wire()) => "exact",
        OwnerKind::Node | OwnerKind::Redirect if found.case == Case::NameError => "closest encloser",
        OwnerKind::Node | OwnerKind::Redirect => "wildcard",
    }
}

fn show(record: &message::Record) -> String {
    let data = rdata::present(record.rtype, &record.rdata);
    format!("{} {} IN {} {data}", record.owner, record.ttl, record.rtype)
}

/// The word for a family.
fn family_word(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "IPv4",
        Family::Ipv6 => "IPv6",
    }
}
