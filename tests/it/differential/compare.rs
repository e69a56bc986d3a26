//! What two responses have in common, and what kind of difference is between them.

use std::collections::BTreeSet;
use std::fmt;

use super::questions::{ANY, Asked, DS, RRSIG};
use super::servers::Peer;
use super::zones::{Made, wire};
use crate::message::{Message, Record, decode_any, flag_names, rcode_name};

const NS: u16 = 2;
const CNAME: u16 = 5;
const SOA: u16 = 6;
const NSEC: u16 = 47;
const NSEC3: u16 = 50;
const DNAME: u16 = 39;
const TC: u16 = 0x0200;
const CD: u16 = 0x0010;

/// A response as it is compared.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    message: Message,
    sections: [BTreeSet<Record>; 3],
    /// How many octets it has.
    size: usize,
}

impl Shape {
    /// Reads a response; of another server's one that repeats its records is read too.
    pub(crate) fn read(octets: &[u8]) -> Result<Self, String> {
        let mut message = decode_any(octets)?;
        // Some servers keep the case of names in data, some do not (RFC 4343 4.1).
        for record in message.sections.iter_mut().flatten() {
            record.rdata.make_ascii_lowercase();
        }
        let sections = message.sections.clone().map(|records| records.into_iter().collect());
        Ok(Self {
            message,
            sections,
            size: octets.len(),
        })
    }

    fn flag(&self, bit: u16) -> bool {
        self.message.flags & bit != 0
    }

    fn rcode(&self) -> u16 {
        self.message.rcode
    }

    fn answers(&self) -> &BTreeSet<Record> {
        &self.sections[0]
    }

    fn is_negative(&self) -> bool {
        self.sections[1].iter().any(|record| record.rtype == SOA)
    }

    /// The aliases of the answer, from a name on, in the order in which they lead to one another.
    fn chain(&self, name: &[u8]) -> Vec<&Record> {
        let mut links: Vec<&Record> = Vec::new();
        let mut at = name;
        while let Some(link) = (self.answers().iter()).find(|record| record.rtype == CNAME && record.owner == at)
            && links.len() < self.answers().len()
        {
            links.push(link);
            at = &link.rdata;
        }
        links
    }

    /// The name that the aliases of the answer lead to.
    fn end(&self, name: &[u8]) -> Vec<u8> {
        self.chain(name).last().map_or(name, |link| &link.rdata).to_vec()
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", rcode_name(self.rcode()), flag_names(self.message.flags))?;
        for (records, title) in self.sections.iter().zip(["an", "ns", "ar"]) {
            for Record {
                owner,
                rtype,
                ttl,
                rdata,
                ..
            } in records
            {
                let shown = |octets: &[u8]| {
                    let dots = |octet: &u8| if *octet < 64 && *octet != b'*' { b'.' } else { *octet };
                    String::from_utf8_lossy(&octets.iter().map(dots).collect::<Vec<_>>()).into_owned()
                };
                write!(f, "\n    {title} {} {ttl} {rtype} {}", shown(owner), shown(rdata))?;
            }
        }
        Ok(())
    }
}

/// Types that no record has: a question about them is about messages (RFC 6895 3.1).
const META: [u16; 6] = [0, 41, 249, 250, 253, 254];

/// How many links of a chain are followed.
const LINKS_MAX: usize = 16;

/// And how many by Knot.
const KNOTS_LINKS_MAX: usize = 5;

/// How many labels NSD can make in one answer.
const NSDS_LABELS_MAX: usize = 1024;

/// Two responses to one query, and the origins of the zones that are served, in lower case.
pub(crate) struct Pair<'a> {
    pub(crate) peer: Peer,
    pub(crate) asked: &'a Asked,
    pub(crate) origins: &'a BTreeSet<Vec<u8>>,
    pub(crate) zones: &'a [Made],
    pub(crate) ours: Shape,
    pub(crate) theirs: Shape,
}

impl Pair<'_> {
    /// Whether one of these zones has a part in it.
    pub(crate) fn touches(&self, origins: &BTreeSet<Vec<u8>>) -> bool {
        let shapes = [&self.ours, &self.theirs];
        let records = shapes.into_iter().flat_map(|shape| shape.sections.iter().flatten());
        let name = wire(&self.asked.name);
        let named = records.flat_map(|record| [&record.owner, &record.rdata]).chain([&name]);
        let mut zones = named
            .filter_map(|name| self.origin_of(name))
            .chain(self.answering(&name));
        zones.any(|origin| origins.contains(origin))
    }

    /// The kinds of difference; `?` begins those that are not explained.
    pub(crate) fn differences(mut self) -> Vec<String> {
        let mut kinds = Vec::new();
        if self.drop_name_servers() {
            kinds.push("NS of the zone beside an answer".to_owned());
        }
        if self.theirs.message.sections[0].len() > self.theirs.answers().len() {
            kinds.push("records repeated in a circle of aliases".to_owned());
        }
        if self.peer == Peer::Bind && !self.ours.flag(CD) && self.theirs.flag(CD) {
            self.theirs.message.flags &= !CD;
            kinds.push("CD is copied".to_owned());
        }
        match self.explained() {
            Some(kind) => kinds.push(kind.to_owned()),
            None => kinds.extend(self.unexplained()),
        }
        kinds
    }

    /// Takes the name servers of the zone, and their addresses, out of the other server's answer.
    fn drop_name_servers(&mut self) -> bool {
        let apex_ns = |record: &Record| record.rtype == NS && self.origins.contains(&record.owner);
        if self.theirs.answers().is_empty()
            || !self.ours.sections[1].is_empty()
            || self.theirs.sections[1].is_empty()
            || !self.theirs.sections[1].iter().all(apex_ns)
        {
            return false;
        }
        let dropped = std::mem::take(&mut self.theirs.sections[1]);
        let ours = &self.ours.sections[2];
        self.theirs.sections[2]
            .retain(|record| ours.contains(record) || !dropped.iter().any(|ns| ns.rdata == record.owner));
        true
    }

    /// The origin of the zone that answers for a name: DS at an apex is the zone's above.
    fn answering<'n>(&self, name: &'n [u8]) -> Option<&'n [u8]> {
        match self.asked.qtype {
            DS if self.origins.contains(name) && name.len() > 1 => self.origin_of(&name[usize::from(name[0]) + 1..]),
            _ => self.origin_of(name),
        }
    }

    /// Whether our chain leads into another zone than it began in, by a link that they have too.
    fn leads_elsewhere(&self, name: &[u8]) -> bool {
        let began = self.answering(name);
        let ours = self.ours.chain(name);
        let elsewhere = ours.into_iter().find(|link| self.answering(&link.rdata) != began);
        elsewhere.is_some_and(|link| self.theirs.answers().contains(link))
    }

    /// How many labels the names of our chain have, to the end of the first link that they lack.
    fn labels_until_they_end(&self, name: &[u8]) -> usize {
        let labels = |mut rest: &[u8]| {
            let mut count = 0;
            while let Some(length) = rest.first().filter(|length| **length > 0) {
                rest = &rest[usize::from(*length) + 1..];
                count += 1;
            }
            count
        };
        let ours = self.ours.chain(name);
        let lacking = ours.iter().position(|link| !self.theirs.answers().contains(*link));
        let made = lacking.map_or(&[][..], |at| &ours[..=at]);
        made.iter().map(|link| labels(&link.owner) + labels(&link.rdata)).sum()
    }

    /// The origin of the zone that has a name.
    fn origin_of<'n>(&self, name: &'n [u8]) -> Option<&'n [u8]> {
        let mut rest = name;
        loop {
            if self.origins.contains(rest) {
                return Some(rest);
            }
            let length = usize::from(*rest.first()?);
            if length == 0 {
                return None;
            }
            rest = rest.get(length + 1..)?; // What is data, and no name, may end here.
        }
    }

    /// Whether a name, or one above it, or a wildcard that would stand for it, exists in another zone than its own only.
    fn exists_elsewhere(&self, name: &[u8]) -> bool {
        let own = self.answering(name).unwrap_or_default();
        let exists = |name: &[u8], here: bool| {
            let zones = self.zones.iter().filter(|zone| (wire(&zone.origin) == own) == here);
            zones
                .flat_map(|zone| &zone.owners)
                .any(|owner| is_at_or_below(owner, name))
        };
        let mut name = name;
        while name.len() > own.len().max(1) {
            let above = &name[usize::from(name[0]) + 1..];
            let wildcard = [b"\x01*", above].concat();
            if [name, &wildcard]
                .into_iter()
                .any(|name| exists(name, false) && !exists(name, true))
            {
                return true;
            }
            name = above;
        }
        false
    }

    fn explained(&self) -> Option<&'static str> {
        let (ours, theirs) = (&self.ours, &self.theirs);
        let name = wire(&self.asked.name);
        let ends = [name.clone(), ours.end(&name), theirs.end(&name)];
        let flags = (ours.message.flags ^ theirs.message.flags) & 0xfff0;
        let both_cut = ours.flag(TC) && theirs.flag(TC);
        if both_cut || (ours.sections == theirs.sections && ours.rcode() == theirs.rcode() && flags == 0) {
            return None;
        }
        if self.asked.qtype == 0 && theirs.rcode() == 4 {
            return Some("type 0 is NOTIMP");
        }
        if self.peer == Peer::Bind && META.contains(&self.asked.qtype) && [1, 4].contains(&theirs.rcode()) {
            return Some("a meta type is FORMERR or NOTIMP");
        }
        let servfail = theirs.rcode() == 2 && theirs.answers().is_subset(ours.answers());
        let circles = ours.chain(&name).len() >= ours.answers().len();
        if self.peer == Peer::Bind && servfail && ours.rcode() == 0 && !ours.answers().is_empty() && circles {
            return Some("SERVFAIL for a circle of aliases");
        }
        let glue_elsewhere = theirs.sections[2]
            .difference(&ours.sections[2])
            .any(|record| self.exists_elsewhere(&record.owner));
        if self.peer == Peer::Nsd && (glue_elsewhere || ends.iter().any(|end| self.exists_elsewhere(end))) {
            return Some("a name exists in another zone only");
        }
        let is_dname = |record: &&Record| record.rtype == DNAME;
        let is_wild = |record: &Record| record.owner.starts_with(b"\x01*");
        let mut referral = theirs.sections[1].difference(&ours.sections[1]);
        if referral.any(|record| record.rtype == NS && is_wild(record)) {
            return Some("NS of a wildcard");
        }
        if ours.rcode() == 6
            && ours
                .answers()
                .iter()
                .filter(is_dname)
                .all(|dname| theirs.answers().contains(dname))
        {
            return Some("more after YXDOMAIN");
        }
        if self.leads_elsewhere(&name) {
            return Some("a chain goes on in another zone");
        }
        let is_begun = theirs.answers().is_subset(ours.answers());
        let [_, _, their_end] = &ends;
        let alias_there = ours
            .answers()
            .iter()
            .any(|record| record.rtype == CNAME && record.owner == *their_end);
        let qtype = self.asked.qtype;
        if self.peer == Peer::Nsd && alias_there && is_begun && qtype == NSEC3 {
            return Some("NSEC3 of an alias");
        }
        let [our_links, their_links] = [ours, theirs].map(|shape| shape.chain(&name).len());
        let goes_on = ours.answers().is_subset(theirs.answers()) && their_links > our_links;
        if self.peer == Peer::Nsd && goes_on && [RRSIG, NSEC].contains(&qtype) {
            return Some("RRSIG or NSEC of an alias");
        }
        if self.peer == Peer::Knot && our_links > KNOTS_LINKS_MAX && their_links == KNOTS_LINKS_MAX && is_begun {
            return Some("a chain of more than five links");
        }
        if self.peer == Peer::Nsd && is_begun && self.labels_until_they_end(&name) > NSDS_LABELS_MAX {
            return Some("a chain of very long names");
        }
        let lacks_soa = ours.sections[0] == theirs.sections[0] && ours.is_negative() && theirs.sections[1].is_empty();
        let soa: usize = ours.sections[1]
            .iter()
            .map(|soa| soa.owner.len() + 10 + soa.rdata.len())
            .sum();
        if lacks_soa && theirs.size + soa > self.asked.size_max {
            return Some("SOA where it hardly fits");
        }
        if our_links >= LINKS_MAX && (is_begun || ours.answers().is_subset(theirs.answers())) {
            return Some("a chain of more than 16 links");
        }
        let leads_below = |dname: &&Record| is_at_or_below(&dname.rdata, &dname.owner);
        if ours.answers().iter().filter(is_dname).any(|dname| leads_below(&dname)) && (goes_on || theirs.rcode() == 6) {
            return Some("a DNAME that leads below itself");
        }
        if ours.answers().iter().filter(is_dname).any(is_wild) {
            return Some("a DNAME of a wildcard");
        }
        let any = |shape: &Shape| !shape.answers().is_empty();
        if self.asked.qtype == ANY && any(ours) && any(theirs) {
            return Some("ANY");
        }
        let is_cut = theirs.flag(TC) && theirs.answers().is_subset(ours.answers());
        if ours.flag(TC) || is_cut {
            return Some("TC where something does not fit");
        }
        if flags & TC == 0 && ours.sections[..2] == theirs.sections[..2] && ours.rcode() == theirs.rcode() {
            return Some("other additional data");
        }
        None
    }

    fn unexplained(&self) -> Vec<String> {
        let (ours, theirs) = (&self.ours, &self.theirs);
        if ours.flag(TC) && theirs.flag(TC) {
            return Vec::new();
        }
        let mut kinds = Vec::new();
        let qtype = match self.asked.qtype {
            0 | DS | ANY | DNAME | CNAME => self.asked.qtype.to_string(),
            46.. => "meta".to_owned(),
            _ => "some".to_owned(),
        };
        let has_dname = ours.answers().iter().any(|record| record.rtype == DNAME);
        let context = format!(
            "qtype {qtype}{}{}{}",
            if has_dname { " dname" } else { "" },
            if ours.is_negative() { " neg" } else { "" },
            if theirs.is_negative() { " theirs-neg" } else { "" }
        );
        if ours.rcode() != theirs.rcode() {
            kinds.push(format!("rcode {} {}", ours.rcode(), theirs.rcode()));
        }
        let flags = ours.message.flags ^ theirs.message.flags;
        if flags & 0xfff0 != 0 {
            kinds.push(format!("flags{}", flag_names(flags & 0xfff0)));
        }
        if !ours.flag(TC) && !theirs.flag(TC) {
            for (index, title) in ["answer", "authority", "additional"].into_iter().enumerate() {
                let (one, other) = (&ours.sections[index], &theirs.sections[index]);
                let more = if one.difference(other).count() > 0 { "+" } else { "" };
                let less = if other.difference(one).count() > 0 { "-" } else { "" };
                if one != other {
                    kinds.push(format!("{title}{more}{less}"));
                }
            }
        }
        let opt = |shape: &Shape| shape.message.opt.as_ref().map(|opt| (opt.version, opt.flags));
        if opt(ours) != opt(theirs) {
            kinds.push(format!("opt {:?} {:?}", opt(ours), opt(theirs)));
        }
        if kinds.is_empty() {
            Vec::new()
        } else {
            vec![format!("?{} {context}", kinds.join(" "))]
        }
    }
}

/// Whether a name on the wire is another or below it.
fn is_at_or_below(name: &[u8], above: &[u8]) -> bool {
    let mut rest = name;
    while rest.len() > above.len() {
        rest = &rest[usize::from(rest[0]) + 1..];
    }
    rest == above
}
