//! What follows an alias that is made while a query is answered: the CNAME of a DNAME (RFC 6672 3.2), or of a host that a pool hands out.
//!
//! Other chains are compiled. These depend on the query, so that they are gone along here link by link: each target is written out in full,
//! and what ends the chain is a compiled tail whose pointers are moved to where the last target stands.

use super::write::{AA, Decided, Plan, Query, ResponseBuffer, TC, decide, room};
use crate::image::Serving;
use crate::image::lookup::{Case, Found};
use crate::image::names::{NONE, OwnerKind};
use crate::image::tail::{Entry, TOO_LONG, Tail};
use crate::policy::trace::Ear;
use crate::wire::code::{Rcode, RecordType, class};
use crate::wire::name::NAME_MAX;
use crate::wire::query::{HEADER, Kind, LabelStarts, Parsed, equals_lowercase};
use crate::wire::response::{POINTER_MAX, move_pointers};
use crate::zone::sections::CHAIN_MAX;

/// The octets of a record between its owner and its data.
const FIXED: usize = 10;

/// The names that a chain can have passed: those compiled before a decision, and those gone along here.
const PASSED_MAX: usize = 2 * CHAIN_MAX + 4;

/// Answers a name below a DNAME. What does not fit whole is TC, as it is with other chains.
#[cold]
pub(super) fn redirect(
    query: Query<'_>,
    entry: u32,
    found: &Found,
    serving: &Serving,
    response: &mut ResponseBuffer,
    plan: &mut Plan<'_>,
    ear: &mut impl Ear,
) {
    plan.flags = AA;
    let room = room(query, response, plan);
    let mut chain = Chain::new(query, serving, room);
    let question = query.parsed.name(query.request.bytes);
    // Records point to names in the message: here there is none yet but the question.
    response.octets[HEADER..HEADER + question.len()].copy_from_slice(question);
    chain.read(&response.octets, HEADER);
    chain.pass(&response.octets);
    let whole = match chain.redirection(entry, found, response, plan) {
        Step::On(at) => chain.go_on(at, response, plan, ear),
        Step::End => true,
        Step::TooLong => false,
    };
    if !whole {
        plan.flags |= TC;
        plan.rcode = Rcode::NOERROR;
        (plan.counts, plan.length) = ([0; 3], 0);
    }
}

/// Goes on after the CNAME of a host, whose name stands in full at `at`. What does not fit whole is left out: the resolver asks for it.
#[cold]
pub(super) fn host(
    query: Query<'_>,
    at: usize,
    room: usize,
    serving: &Serving,
    response: &mut ResponseBuffer,
    plan: &mut Plan<'_>,
    ear: &mut impl Ear,
) {
    // The alias itself is the whole answer to these.
    if matches!(query.parsed.qtype, RecordType::CNAME | RecordType::ANY) {
        return;
    }
    let mut chain = Chain::new(query, serving, room);
    chain.decided = true;
    let mut owner = HEADER + usize::from(query.parsed.name_length) + 4;
    let end = query.parsed.question_end();
    response.octets[..end].copy_from_slice(&query.request.bytes[..end]);
    for _ in 0..plan.counts[0] {
        let fixed = chain.read(&response.octets, owner);
        chain.pass(&response.octets);
        let [d1, d0] = [response.octets[fixed + 8], response.octets[fixed + 9]];
        owner = fixed + FIXED + usize::from(u16::from_be_bytes([d1, d0]));
    }
    let before = (plan.counts, plan.length, plan.rcode);
    if !chain.go_on(at, response, plan, ear) {
        (plan.counts, plan.length, plan.rcode) = before;
    }
}

/// What became of a name of the chain.
enum Step {
    /// It is an alias of the name that stands in full here.
    On(usize),
    /// The answer ends with it.
    End,
    /// What it has does not fit.
    TooLong,
}

/// A chain, at one of its names.
struct Chain<'a> {
    query: Query<'a>,
    serving: &'a Serving,
    /// Octets that there are after the question.
    room: usize,
    /// The name, after as many octets as a header has: as the question's stands in a query.
    octets: [u8; HEADER + NAME_MAX],
    length: usize,
    /// Where it stands in the message.
    at: usize,
    /// Its hash.
    hash: u64,
    /// The names passed: their hashes, and where they stand in the message.
    passed: [(u64, u16); PASSED_MAX],
    passed_count: usize,
    /// The owners whose DNAMEs are in the answer.
    redirections: [u32; CHAIN_MAX + 1],
    redirection_count: usize,
    /// Whether a policy or pool has been asked: an answer has one decision.
    decided: bool,
}

impl<'a> Chain<'a> {
    fn new(query: Query<'a>, serving: &'a Serving, room: usize) -> Self {
        Self {
            query,
            serving,
            room,
            octets: [0; HEADER + NAME_MAX],
            length: 0,
            at: 0,
            hash: 0,
            passed: [(0, 0); PASSED_MAX],
            passed_count: 0,
            redirections: [NONE; CHAIN_MAX + 1],
            redirection_count: 0,
            decided: false,
        }
    }

    /// Comes to the name at `at` of the message, which was written here. Returns where it ends.
    fn read(&mut self, message: &[u8], at: usize) -> usize {
        (self.at, self.length) = (at, 0);
        let (mut from, mut end) = (at, None);
        loop {
            let length = message[from];
            if length >= 0xc0 {
                end.get_or_insert(from + 2);
                from = usize::from(u16::from_be_bytes([length & 0x3f, message[from + 1]]));
                continue;
            }
            let step = usize::from(length) + 1;
            let start = HEADER + self.length;
            self.octets[start..start + step].copy_from_slice(&message[from..from + step]);
            self.length += step;
            from += step;
            if length == 0 {
                return end.unwrap_or(from);
            }
        }
    }

    /// Notes the name; false if it has been passed before.
    fn pass(&mut self, message: &[u8]) -> bool {
        self.hash = self.serving.image.names.key.after_header(&self.octets);
        let mut passed = self.passed[..self.passed_count].iter();
        if passed.any(|(hash, at)| *hash == self.hash && same_name(message, usize::from(*at), self.at)) {
            return false;
        }
        if self.passed_count < PASSED_MAX {
            self.passed[self.passed_count] = (self.hash, self.at as u16);
            self.passed_count += 1;
        }
        true
    }

    fn name(&self) -> &[u8] {
        &self.octets[HEADER..HEADER + self.length]
    }

    /// Goes along from the name at `at`; false if something on the way does not fit.
    fn go_on(&mut self, at: usize, response: &mut ResponseBuffer, plan: &mut Plan<'_>, ear: &mut impl Ear) -> bool {
        let mut at = at;
        for _ in 0..CHAIN_MAX {
            self.read(&response.octets, at);
            // RFC 1034 3.6.2: a circle does no harm.
            if !self.pass(&response.octets) {
                return true;
            }
            match self.step(response, plan, ear) {
                Step::On(next) => at = next,
                Step::End => return true,
                Step::TooLong => return false,
            }
        }
        true
    }

    /// Answers for the name.
    fn step(&mut self, response: &mut ResponseBuffer, plan: &mut Plan<'_>, ear: &mut impl Ear) -> Step {
        let image = &*self.serving.image;
        let parsed = Parsed {
            hash: self.hash,
            name_length: self.length as u8,
            qtype: self.query.parsed.qtype,
            ..Parsed::empty(Kind::Query)
        };
        let found = image.find(&parsed, &self.octets);
        let entry = match found.case {
            Case::NotOurs | Case::Failed => return Step::End,
            Case::NoData => return self.negative(Rcode::NOERROR, &found, response, plan),
            Case::NameError => return self.negative(Rcode::NXDOMAIN, &found, response, plan),
            Case::Redirect(entry) => return self.redirection(entry, &found, response, plan),
            Case::Entry(entry) => &image.entries[entry as usize],
        };
        if let Some(alias) = self.alias(entry, &found) {
            return self.link(alias, &found, response, plan);
        }
        match entry.steer {
            NONE => self.end(entry, &found, response, plan),
            _ if self.decided => Step::End,
            steer => self.steered(steer, &found, response, plan, ear),
        }
    }

    /// The entry of the CNAME that stands at the name, if that is how its answer begins.
    fn alias(&self, entry: &Entry, found: &Found) -> Option<&'a Entry> {
        let image = &*self.serving.image;
        if matches!(self.query.parsed.qtype, RecordType::CNAME | RecordType::ANY) {
            return None;
        }
        let first = image.tails.octets(&entry.tail).get(2..4);
        let begins = entry.counts[0] > 0 && first == Some(&RecordType::CNAME.0.to_be_bytes());
        if !begins && entry.flags & TOO_LONG == 0 {
            return None;
        }
        let owner = image.names.owner(found.owner);
        let entries = image.entries[owner.entries as usize..].iter();
        entries
            .take(usize::from(owner.entry_count))
            .find(|entry| entry.rtype == RecordType::CNAME)
    }

    /// Adds that CNAME, its target in full.
    fn link(&self, alias: &Entry, found: &Found, response: &mut ResponseBuffer, plan: &mut Plan<'_>) -> Step {
        const DATA: usize = 2 + FIXED; // Behind a pointer to the question.
        let tail = self.serving.image.tails.octets(&alias.tail);
        let mut target = [0; NAME_MAX];
        let (mut from, mut length) = (DATA, 0);
        loop {
            let label = usize::from(tail[from]);
            if label >= 0xc0 {
                // Before it there is nothing but the name that the tail was made for: what ends that ends this one too.
                let made_at = usize::from(u16::from_be_bytes([tail[from] & 0x3f, tail[from + 1]])) - HEADER;
                let rest = &self.name()[made_at + usize::from(found.shift)..];
                target[length..length + rest.len()].copy_from_slice(rest);
                length += rest.len();
                break;
            }
            target[length..=length + label].copy_from_slice(&tail[from..=from + label]);
            length += label + 1;
            from += label + 1;
            if label == 0 {
                break;
            }
        }
        self.cname(
            [tail[6], tail[7], tail[8], tail[9]],
            [&target[..length], &[]],
            response,
            plan,
        )
    }

    /// RFC 6672 3.2: the DNAME above the name, unless it is there already, and the CNAME that follows from it.
    fn redirection(&mut self, entry: u32, found: &Found, response: &mut ResponseBuffer, plan: &mut Plan<'_>) -> Step {
        let image = &*self.serving.image;
        let tail = image.tails.octets(&image.entries[entry as usize].tail);
        let above = usize::from(found.shift);
        // The owner of the DNAME is a pointer to the end of the name, or the root.
        let pointer = ((0xc000 | (self.at + above)) as u16).to_be_bytes();
        let (owner, rest): (&[u8], &[u8]) = match image.names.name(found.owner).len() {
            1 => (&[0], &tail[1..]),
            _ => (&pointer, &tail[2..]),
        };
        if !self.has_redirected(found.owner) {
            self.redirections[self.redirection_count] = found.owner;
            self.redirection_count += 1;
            if !self.add(&[owner, rest], response, plan) {
                return Step::TooLong;
            }
        }
        let target = &rest[FIXED..];
        if above + target.len() > NAME_MAX {
            plan.rcode = Rcode::YXDOMAIN;
            return Step::End;
        }
        let ttl = [rest[4], rest[5], rest[6], rest[7]];
        let step = self.cname(ttl, [&self.name()[..above], target], response, plan);
        // A DNAME that leads below itself does so without end; and to who asks for CNAME the one that was made is the answer.
        let endless = is_at_or_below(target, image.names.name(found.owner));
        match step {
            Step::On(_) if endless || self.query.parsed.qtype == RecordType::CNAME => Step::End,
            step => step,
        }
    }

    fn has_redirected(&self, owner: u32) -> bool {
        self.redirections[..self.redirection_count].contains(&owner)
    }

    /// Adds a CNAME of the name.
    fn cname(&self, ttl: [u8; 4], target: [&[u8]; 2], response: &mut ResponseBuffer, plan: &mut Plan<'_>) -> Step {
        let length = target[0].len() + target[1].len();
        let at = self.query.parsed.question_end() + plan.length + 2 + FIXED;
        let record = [
            &((0xc000 | self.at) as u16).to_be_bytes()[..],
            &RecordType::CNAME.0.to_be_bytes(),
            &class::IN.to_be_bytes(),
            &ttl,
            &(length as u16).to_be_bytes(),
            target[0],
            target[1],
        ];
        match self.add(&record, response, plan) {
            true => Step::On(at),
            false => Step::TooLong,
        }
    }

    /// Adds a record to the answer section; false if there is no room for it, or nothing could point to it.
    fn add(&self, record: &[&[u8]], response: &mut ResponseBuffer, plan: &mut Plan<'_>) -> bool {
        let length: usize = record.iter().map(|part| part.len()).sum();
        let mut at = self.query.parsed.question_end() + plan.length;
        if plan.length + length > self.room || at + length > POINTER_MAX {
            return false;
        }
        for part in record {
            response.octets[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        plan.counts[0] += 1;
        plan.length += length;
        true
    }

    /// Ends with what is compiled for the name.
    fn end(&self, entry: &Entry, found: &Found, response: &mut ResponseBuffer, plan: &mut Plan<'_>) -> Step {
        let (mut counts, mut length) = (entry.counts, usize::from(entry.tail.length));
        if plan.length + length > self.room && entry.flags & TOO_LONG == 0 {
            let made_end = HEADER + self.length - usize::from(found.shift) + 4;
            let room = self.room - plan.length;
            (counts[2], length) = self.serving.image.tails.fit(entry, made_end, room);
            if counts[2] < entry.needed {
                return Step::TooLong;
            }
        }
        if entry.flags & TOO_LONG != 0 {
            return Step::TooLong;
        }
        // A DNAME that has redirected the chain is in the answer already; for a name that a wildcard stands for it is another record.
        let image = &*self.serving.image;
        let first = image.tails.octets(&entry.tail).get(2..4);
        if first == Some(&RecordType::DNAME.0.to_be_bytes())
            && self.has_redirected(found.owner)
            && equals_lowercase(self.name(), image.names.name(found.owner))
        {
            return Step::End;
        }
        plan.rcode = Rcode(u16::from(entry.rcode));
        self.tail(&entry.tail, length, counts, found, response, plan)
    }

    /// RFC 2308 3: ends with the SOA of the zone.
    fn negative(&self, rcode: Rcode, found: &Found, response: &mut ResponseBuffer, plan: &mut Plan<'_>) -> Step {
        let image = &*self.serving.image;
        let zone = &image.zones[image.names.owner(found.owner).zone as usize];
        let found = Found {
            shift: (self.length - zone.origin.wire().len()) as u16,
            ..*found
        };
        plan.rcode = rcode;
        self.tail(
            &zone.negative,
            usize::from(zone.negative.length),
            [0, 1, 0],
            &found,
            response,
            plan,
        )
    }

    /// Adds the first `length` octets of a tail.
    fn tail(
        &self,
        tail: &Tail,
        length: usize,
        counts: [u16; 3],
        found: &Found,
        response: &mut ResponseBuffer,
        plan: &mut Plan<'_>,
    ) -> Step {
        let image = &*self.serving.image;
        let start = self.query.parsed.question_end() + plan.length;
        if plan.length + length > self.room || start + length > POINTER_MAX {
            return Step::TooLong;
        }
        let owner = image.names.owner(found.owner);
        let data = matches!(found.case, Case::Entry(_)) && counts[0] > 0;
        let wildcard = data && owner.kind != OwnerKind::Cut && image.names.name(found.owner).starts_with(b"\x01*");
        let shift = usize::from(found.shift);
        let made_end = HEADER + self.length - shift;
        let octets = &mut response.octets[start..start + length];
        octets.copy_from_slice(&image.tails.octets(tail)[..length]);
        let records = counts.iter().sum();
        move_pointers(octets, records, |pointer| match usize::from(pointer) {
            // The owner of all that a wildcard answers, whatever it stands for.
            HEADER if wildcard => self.at as u16,
            at if at < made_end => (at - HEADER + shift + self.at) as u16,
            // There type and class of the question came in between.
            at => (at - (made_end + 4) + start) as u16,
        });
        plan.length += length;
        plan.counts
            .iter_mut()
            .zip(counts)
            .for_each(|(count, more)| *count += more);
        Step::End
    }

    /// Ends with what a policy or pool hands out, or goes on with the host that it does.
    fn steered(
        &mut self,
        steer: u32,
        found: &Found,
        response: &mut ResponseBuffer,
        plan: &mut Plan<'_>,
        ear: &mut impl Ear,
    ) -> Step {
        self.decided = true;
        let owner = (0xc000 | self.at) as u16;
        match decide(self.query, steer, owner, self.room, self.serving, response, plan, ear) {
            Decided::Whole => Step::End,
            Decided::Alias(at) => Step::On(at),
            Decided::NoData => self.negative(Rcode::NOERROR, found, response, plan),
        }
    }
}

/// Whether a name is at another, which is in lower case, or below it.
fn is_at_or_below(name: &[u8], above: &[u8]) -> bool {
    let starts = LabelStarts::of(name);
    let suffixes = (0..=starts.count()).map(|label| &name[starts.start(label)..]);
    suffixes.into_iter().any(|suffix| equals_lowercase(suffix, above))
}

/// Whether two names of a message are one.
fn same_name(message: &[u8], mut one: usize, mut other: usize) -> bool {
    let skip = |mut at: usize| {
        while message[at] >= 0xc0 {
            at = usize::from(u16::from_be_bytes([message[at] & 0x3f, message[at + 1]]));
        }
        at
    };
    loop {
        (one, other) = (skip(one), skip(other));
        let length = usize::from(message[one]) + 1;
        if !message[one..one + length].eq_ignore_ascii_case(&message[other..other + length]) {
            return false;
        }
        if length == 1 {
            return true;
        }
        (one, other) = (one + length, other + length);
    }
}
