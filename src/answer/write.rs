//! The third stage: the response, octet by octet. An answer of static data is the question, a compiled tail, and an OPT record.

use super::follow;
use super::steer::{self, Steered};
use super::{Located, Outcome, Refusal, Request, Transport};
use crate::image::lookup::{Case, Found};
use crate::image::names::NONE;
use crate::image::tail::{AUTHORITATIVE, Entry, REPEATS, TOO_LONG};
use crate::image::{Image, Serving};
use crate::policy::model::MEMBERS_MAX;
use crate::policy::trace::Ear;
use crate::wire::code::{Rcode, RecordType, class};
use crate::wire::cookie::{self, Cookies};
use crate::wire::edns::{Edns, Keepalive, Reply, UDP_SIZE, UDP_SIZE_PLAIN};
use crate::wire::query::{HEADER, Parsed};
use crate::wire::response::QUESTION_POINTER;

/// The AA bit, in the third octet of a header.
pub(super) const AA: u8 = 0x04;
/// The TC bit, there too.
pub(super) const TC: u8 = 0x02;
/// QR, and of the query: the opcode and RD.
const QR: u8 = 0x80;
const KEPT: u8 = 0x79;

/// Extended errors (RFC 8914 4): the zone's data cannot be used; anything else; no zone of ours; an operation that is not there.
const INVALID_DATA: (u16, &str) = (24, "zone could not be loaded");
const NOTHING_USABLE: (u16, &str) = (0, "no usable backend");
const NOT_AUTHORITATIVE: (u16, &str) = (20, "");
const NOT_SUPPORTED: (u16, &str) = (21, "");

/// The most octets that an extended error takes: there is always room for one.
const ERROR_MAX: usize = 32;

/// Where a response is written. Its capacity bounds it: 65,535 octets for streams; less will do for datagrams.
#[derive(Debug)]
pub struct ResponseBuffer {
    pub(super) octets: Box<[u8]>,
    length: usize,
    /// What a response is cut to.
    limit: usize,
    /// The places of backends handed out, while they are.
    pub(super) places: Box<[u16]>,
}

impl ResponseBuffer {
    /// An empty one. At least 512 octets, at most 65,535.
    pub fn with_capacity(capacity: usize) -> Self {
        let capacity = capacity.clamp(512, 65_535);
        Self {
            octets: vec![0; capacity].into(),
            length: 0,
            limit: capacity,
            places: vec![0; MEMBERS_MAX].into(),
        }
    }

    /// From now on responses are cut to so many octets, and at most to the capacity: for whoever sends more than is written here. What
    /// is never cut may be longer: the header, the question and the OPT record.
    pub fn limit(&mut self, octets: usize) {
        self.limit = octets.min(self.octets.len());
    }

    /// The response written last.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        &self.octets[..self.length]
    }
}

/// A query, and what it is answered from.
#[derive(Clone, Copy)]
pub(super) struct Query<'a> {
    pub(super) parsed: &'a Parsed,
    pub(super) request: &'a Request<'a>,
    image: &'a Image,
}

/// What of a response is known before it is written.
pub(super) struct Plan<'a> {
    pub(super) rcode: Rcode,
    pub(super) flags: u8,
    pub(super) counts: [u16; 3],
    /// Octets after the question, the OPT record not counted.
    pub(super) length: usize,
    /// The OPT record: one for one (RFC 6891 6.1.1).
    reply: Option<Reply<'a>>,
    /// How long it is, but for an extended error: those come where there are no records.
    opt: usize,
}

impl Plan<'_> {
    /// A response code in the place of an answer, and why.
    fn fail(&mut self, rcode: Rcode, error: (u16, &'static str)) {
        self.rcode = rcode;
        if let Some(reply) = &mut self.reply {
            reply.error = Some(error);
        }
    }
}

/// Writes the response and says what it was.
#[inline]
pub fn write(
    parsed: &Parsed,
    located: &Located,
    request: &Request<'_>,
    serving: &Serving,
    response: &mut ResponseBuffer,
    ear: &mut impl Ear,
) -> Outcome {
    let image = &*serving.image;
    let query = Query { parsed, request, image };
    let mut plan = Plan {
        rcode: Rcode::NOERROR,
        flags: 0,
        counts: [0; 3],
        length: 0,
        reply: None,
        opt: 0,
    };
    let made;
    if let Some(edns) = &parsed.edns {
        made = edns.cookie.and_then(|place| cookie_reply(place, request, serving));
        let reply = plan.reply.insert(reply(edns, query, made.as_ref()));
        plan.opt = reply.length();
        // Beside the longest names 512 octets have no room for the longest identifiers. Everything else fits.
        if !reply.nsid.is_empty() && parsed.question_end() + plan.opt + ERROR_MAX > most(query) {
            reply.nsid = &[];
            plan.opt = reply.length();
        }
    }
    match located {
        Located::Refused(Refusal::Drop) => return Outcome::Dropped,
        Located::Refused(refusal) => refuse(*refusal, query, response, &mut plan),
        Located::Found(found) => match found.case {
            Case::Entry(id) => {
                let entry = &image.entries[id as usize];
                let repeat = match entry.flags & REPEATS {
                    0 => None,
                    _ => image.cut_at_repeat(id, parsed.hash),
                };
                match entry.steer {
                    NONE => fixed(query, entry, found, repeat, response, &mut plan),
                    _ if repeat.is_some() => fixed(query, entry, found, repeat, response, &mut plan),
                    _ => steered(query, entry, found, serving, response, &mut plan, ear),
                }
            }
            Case::Redirect(entry) => follow::redirect(query, entry, found, serving, response, &mut plan, ear),
            Case::NoData => negative(query, Rcode::NOERROR, found, response, &mut plan),
            Case::NameError => negative(query, Rcode::NXDOMAIN, found, response, &mut plan),
            Case::NotOurs => plan.fail(Rcode::REFUSED, NOT_AUTHORITATIVE),
            Case::Failed => plan.fail(Rcode::SERVFAIL, INVALID_DATA),
        },
    }
    finish(query, response, &mut plan)
}

/// RFC 7873 5.2.3 to 5.2.5: whoever shows a client cookie gets it back with a server cookie.
fn cookie_reply(place: cookie::Place, request: &Request<'_>, serving: &Serving) -> Option<[u8; cookie::LENGTH]> {
    if serving.image.options.cookies == Cookies::Off {
        return None;
    }
    let shown = place.read(request.bytes)?;
    Some(serving.secrets.reply(&shown, request.source, request.now))
}

/// What the OPT record holds, whatever the answer.
#[inline]
fn reply<'a>(edns: &Edns, query: Query<'a>, cookie: Option<&'a [u8; cookie::LENGTH]>) -> Reply<'a> {
    let options = &query.image.options;
    Reply {
        rcode: Rcode::NOERROR,
        dnssec_ok: edns.dnssec_ok,
        // RFC 7871 7.2.1: whoever sends the option gets it back, with the scope of this answer: 0 where all get the same.
        subnet: match options.client_subnet {
            true => edns.subnet.map(|subnet| (subnet, 0)),
            false => None,
        },
        nsid: if edns.nsid { &options.nsid } else { &[] },
        cookie,
        keepalive: match (edns.keepalive, query.request.transport) {
            (Keepalive::Asked, Transport::Tcp) => options.keepalive,
            _ => 0,
        },
        error: None,
    }
}

/// What is said in the place of an answer.
#[cold]
fn refuse(refusal: Refusal, query: Query<'_>, response: &mut ResponseBuffer, plan: &mut Plan<'_>) {
    match refusal {
        Refusal::Drop => {}
        Refusal::Truncated => plan.flags |= TC,
        Refusal::About(about) => chaos_text(query, about.text(&query.image.options), response, plan),
        Refusal::NotSupported(rcode) => plan.fail(rcode, NOT_SUPPORTED),
        Refusal::Say(rcode) => plan.rcode = rcode,
    }
    let Some(reply) = &mut plan.reply else { return };
    // What could not be read, or is of another version, says nothing about clients.
    reply.subnet = reply.subnet.filter(|_| plan.rcode == Rcode::REFUSED);
    reply.cookie = reply.cookie.filter(|_| plan.rcode != Rcode::BADVERS);
}

/// How many octets there are for a response's sections, after the question and before the OPT record.
#[inline]
pub(super) fn room(query: Query<'_>, response: &ResponseBuffer, plan: &Plan<'_>) -> usize {
    most(query)
        .min(response.limit)
        .saturating_sub(query.parsed.question_end() + plan.opt)
}

/// How long the response may be.
#[inline]
fn most(query: Query<'_>) -> usize {
    match (query.request.transport, &query.parsed.edns) {
        (Transport::Tcp, _) => usize::from(u16::MAX),
        (Transport::Udp, None) => usize::from(UDP_SIZE_PLAIN),
        // RFC 6891 6.2.3: less than 512 is read as 512.
        (Transport::Udp, Some(edns)) => usize::from(edns.udp_size.clamp(UDP_SIZE_PLAIN, UDP_SIZE)),
    }
}

/// An entry of static data, cut down to what fits.
#[inline]
fn fixed(
    query: Query<'_>,
    entry: &Entry,
    found: &Found,
    repeat: Option<(u16, u16)>,
    response: &mut ResponseBuffer,
    plan: &mut Plan<'_>,
) {
    plan.rcode = Rcode(u16::from(entry.rcode));
    plan.flags = if entry.flags & AUTHORITATIVE != 0 { AA } else { 0 };
    plan.counts = entry.counts;
    plan.length = usize::from(entry.tail.length);
    let room = room(query, response, plan);
    if let Some((answers, length)) = repeat {
        plan.rcode = Rcode::NOERROR;
        (plan.counts, plan.length) = ([answers, 0, 0], usize::from(length));
    }
    if plan.length > room || entry.flags & TOO_LONG != 0 {
        cut(query, entry, found, room, plan);
    }
    copy(query, entry, found, response, plan.length);
}

/// RFC 2181 9: TC when what had to be sent was left out; additional data may be left out without a word, glue below the cut that a referral is for
/// may not (RFC 9471 3.1). A record set is sent whole or not at all.
#[cold]
fn cut(query: Query<'_>, entry: &Entry, found: &Found, room: usize, plan: &mut Plan<'_>) {
    let made_end = query.parsed.question_end() - usize::from(found.shift);
    plan.length = 0;
    plan.counts = [0; 3];
    if usize::from(entry.authority_end) > room || entry.flags & TOO_LONG != 0 {
        plan.flags |= TC;
        return;
    }
    let (additionals, length) = query.image.tails.fit(entry, made_end, room);
    plan.length = length;
    plan.counts = [entry.counts[0], entry.counts[1], additionals];
    if additionals < entry.needed {
        plan.flags |= TC;
    }
}

/// RFC 2308 3: the SOA of the zone, and nothing else.
#[inline]
fn negative(query: Query<'_>, rcode: Rcode, found: &Found, response: &mut ResponseBuffer, plan: &mut Plan<'_>) {
    plan.rcode = rcode;
    plan.flags = AA;
    let tail = &query.image.zones[query.image.names.owner(found.owner).zone as usize].negative;
    if usize::from(tail.length) > room(query, response, plan) {
        plan.flags |= TC;
        return;
    }
    plan.counts = [0, 1, 0];
    plan.length = usize::from(tail.length);
    let start = query.parsed.question_end();
    query.image.tails.copy(
        tail,
        usize::from(found.shift),
        &mut response.octets[start..start + plan.length],
    );
}

/// An entry that a policy or pool answers, after the aliases that lead to it.
fn steered(
    query: Query<'_>,
    entry: &Entry,
    found: &Found,
    serving: &Serving,
    response: &mut ResponseBuffer,
    plan: &mut Plan<'_>,
    ear: &mut impl Ear,
) {
    plan.flags = AA;
    plan.counts = entry.counts;
    plan.length = usize::from(entry.tail.length);
    let room = room(query, response, plan);
    if plan.length > room {
        return cut(query, entry, found, room, plan); // The aliases alone are too long.
    }
    copy(query, entry, found, response, plan.length);
    let owner = match entry.steered_owner {
        QUESTION_POINTER => QUESTION_POINTER,
        pointer => pointer + found.shift,
    };
    match decide(query, entry.steer, owner, room, serving, response, plan, ear) {
        Decided::Whole => {}
        Decided::Alias(at) => follow::host(query, at, room, serving, response, plan, ear),
        Decided::NoData => {
            // Only where no alias leads here: the tail would stand after it.
            let zone = query.image.names.owner(found.owner).zone as usize;
            let negative = &query.image.zones[zone].negative;
            if plan.counts[0] > 0 || usize::from(negative.length) > room {
                return;
            }
            let shift = usize::from(query.parsed.name_length) - query.image.zones[zone].origin.wire().len();
            plan.counts[1] = 1;
            plan.length = usize::from(negative.length);
            let start = query.parsed.question_end();
            let target = &mut response.octets[start..start + plan.length];
            query.image.tails.copy(negative, shift, target);
        }
    }
}

/// What became of a decision.
pub(super) enum Decided {
    /// It is answered, or said to be too long or in vain.
    Whole,
    /// It is a CNAME; the host's name stands in full here in the message.
    Alias(usize),
    /// It has nothing of the type asked for.
    NoData,
}

/// Adds what a policy or pool hands out to the answer section, `owner` being a pointer to the name.
#[inline]
#[allow(clippy::too_many_arguments)]
pub(super) fn decide(
    query: Query<'_>,
    steer: u32,
    owner: u16,
    room: usize,
    serving: &Serving,
    response: &mut ResponseBuffer,
    plan: &mut Plan<'_>,
    ear: &mut impl Ear,
) -> Decided {
    let steered_by = &query.image.steers[steer as usize];
    ear.steered(steer);
    let asked = steer::Asked::new(
        query.parsed.qtype,
        plan.reply.as_ref().and_then(|reply| Some(reply.subnet?.0)),
        query.request,
        steered_by,
        &query.image.forest.clients,
    );
    if let Some((_, scope)) = plan.reply.as_mut().and_then(|reply| reply.subnet.as_mut()) {
        *scope = asked.scope(steered_by);
    }
    let question_end = query.parsed.question_end();
    let target = &mut response.octets[question_end + plan.length..question_end + room];
    match steer::write(&asked, steered_by, owner, serving, target, &mut response.places, ear) {
        Steered::Records { count, length } => {
            plan.counts[0] += count;
            plan.length += length;
        }
        Steered::Alias { length, name } => {
            plan.counts[0] += 1;
            plan.length += length;
            return Decided::Alias(question_end + plan.length - name);
        }
        Steered::NoData => return Decided::NoData,
        // An answer without any record would say that there are none.
        Steered::TooLong => {
            plan.flags |= TC;
            plan.counts = [0; 3];
            plan.length = 0;
        }
        Steered::Servfail => {
            plan.flags = 0;
            plan.counts = [0; 3];
            plan.length = 0;
            plan.fail(Rcode::SERVFAIL, NOTHING_USABLE);
        }
    }
    Decided::Whole
}

#[inline]
fn copy(query: Query<'_>, entry: &Entry, found: &Found, response: &mut ResponseBuffer, length: usize) {
    let start = query.parsed.question_end();
    query.image.tails.copy(
        &entry.tail,
        usize::from(found.shift),
        &mut response.octets[start..start + length],
    );
}

/// A TXT record of class CH.
#[cold]
fn chaos_text(query: Query<'_>, text: &[u8], response: &mut ResponseBuffer, plan: &mut Plan<'_>) {
    let text = &text[..text.len().min(255)];
    let length = text.len() as u16 + 1;
    let record = [
        &QUESTION_POINTER.to_be_bytes()[..],
        &RecordType::TXT.0.to_be_bytes(),
        &class::CH.to_be_bytes(),
        &[0; 4],
        &length.to_be_bytes(),
        &[text.len() as u8],
        text,
    ];
    plan.flags = AA;
    let length = record.iter().map(|part| part.len()).sum();
    if length > room(query, response, plan) {
        plan.flags |= TC;
        return;
    }
    let mut at = query.parsed.question_end();
    for part in record {
        response.octets[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    plan.counts = [1, 0, 0];
    plan.length = length;
}

/// The header, the question as it came (its case kept), and the OPT record.
#[inline]
fn finish(query: Query<'_>, response: &mut ResponseBuffer, plan: &mut Plan<'_>) -> Outcome {
    let end = query.parsed.question_end();
    response.octets[..end].copy_from_slice(&query.request.bytes[..end]);
    let mut at = end + plan.length;
    let mut additionals = plan.counts[2];
    if let Some(reply) = &mut plan.reply {
        reply.rcode = plan.rcode;
        let written = reply.write(&mut response.octets[at..]);
        additionals += u16::from(written > 0);
        at += written;
    }
    let [an1, an0] = plan.counts[0].to_be_bytes();
    let [ns1, ns0] = plan.counts[1].to_be_bytes();
    let [ar1, ar0] = additionals.to_be_bytes();
    // RFC 1035 6.2: an answer to all classes has authority only if it covers all of them.
    let claimed = if query.parsed.qclass == class::ANY { !AA } else { !0 };
    let flags = QR | (query.request.bytes[2] & KEPT) | (plan.flags & claimed);
    let question = u8::from(end > HEADER);
    // RA, Z, AD and CD are clear: there is no recursion, and CD is not copied (RFC 4035 3.1.6).
    let rest = [
        flags,
        (plan.rcode.0 & 15) as u8,
        0,
        question,
        an1,
        an0,
        ns1,
        ns0,
        ar1,
        ar0,
    ];
    response.octets[2..HEADER].copy_from_slice(&rest);
    response.length = at;
    Outcome::Answered(plan.rcode)
}
