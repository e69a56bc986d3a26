//! What stands in the sections of a static answer: read off the model, step by step.
//!
//! This is the one place that knows. Zones are compiled by running it once for each owner and type; what the compiled form
//! answers is tested against running it for the query itself.

use std::collections::BTreeSet;

use super::lookup::Lookup;
use super::model::{Owner as ZoneOwner, Steer, Zone};
use crate::wire::code::{Rcode, RecordType};
use crate::wire::name::Name;
use crate::wire::rdata;
use crate::wire::response::{Owner, QUESTION_POINTER, Writer};

/// The most links of a chain of CNAMEs that are followed; then the resolver may go on by itself.
pub const CHAIN_MAX: usize = 16;

/// The TTL of the record that stands for ANY where only steered data is (RFC 8482 4.2).
const ANY_TTL: u32 = 3600;

/// What is told of a target.
const ADDRESSES: [RecordType; 2] = [RecordType::A, RecordType::AAAA];

/// What a root can hand out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reach {
    /// Answers to A.
    pub ipv4: bool,
    /// Answers to AAAA.
    pub ipv6: bool,
    /// Host names: answers to any type.
    pub host: bool,
}

/// The sections of one answer, as a [`Writer`] holds them.
#[derive(Debug)]
pub struct Sections<'a> {
    /// NOERROR or NXDOMAIN.
    pub rcode: Rcode,
    /// Whether the data is the zone's own (RFC 1035 4.1.1).
    pub authoritative: bool,
    /// Whether it is a referral.
    pub referral: bool,
    /// Records in the answer section.
    pub answers: u16,
    /// Records in the authority section.
    pub authorities: u16,
    /// Records in the additional section.
    pub additionals: u16,
    /// Where the authority section ends, from the end of the question.
    pub authority_end: usize,
    /// The records of the additional section, its first, that a referral needs (RFC 9471 3.1): glue below the cut.
    pub needed: u16,
    /// The record sets of the additional section: how many records, and where each set ends.
    pub additional_sets: Vec<(u16, usize)>,
    /// The steered owner whose records end the answer section.
    pub steer: Option<Steered<'a>>,
    /// Where a chain from a wildcard comes back to it.
    pub repeats: Vec<Repeat>,
}

/// A chain of aliases that comes back to the wildcard it started from, by another name. Whoever asks for that very name gets the
/// chain as far as this: what follows would be what it began with.
#[derive(Debug, Clone)]
pub struct Repeat {
    /// The name that the wildcard stands for again.
    pub name: Name,
    /// Records of the answer section before it.
    pub answers: u16,
    /// Octets of the answer section before it.
    pub end: usize,
}

/// A steered end of an answer section.
#[derive(Debug, Clone, Copy)]
pub struct Steered<'a> {
    /// What steers it.
    pub steer: &'a Steer,
    /// The owner: a wildcard, where one stands for the name.
    pub record: &'a Name,
    /// The pointer to its name.
    pub owner: u16,
}

/// Composes the answer for a name that was looked up in a zone, whose question `writer` stands after. `zone_of` gives the zone that has a
/// name, if it is one of those served here.
pub fn compose<'a>(
    zone: &'a Zone,
    question: &Name,
    start: Lookup<'a>,
    qtype: RecordType,
    reach: &dyn Fn(&Steer) -> Reach,
    zone_of: &dyn Fn(&Name) -> Option<&'a Zone>,
    writer: &mut Writer,
) -> Sections<'a> {
    let mut composer = Composer {
        zone,
        writer,
        sections: Sections::empty(),
        redirected: false,
    };
    let mut lookup = start;
    let mut chain: Vec<Name> = Vec::new();
    let mut passed: Vec<&Name> = Vec::new();
    loop {
        let name = chain.last().cloned();
        let target = match lookup {
            Lookup::Found(found, owner) | Lookup::Wildcard(found, owner) => {
                // What a wildcard answers is composed for its own name: for another name that the chain comes back to it has ended.
                if question.is_wildcard() && !chain.is_empty() && passed.first() == Some(&found) {
                    composer.note_repeat(name.as_ref().unwrap_or(question));
                }
                // A redirection through its DNAME is in the answer already; for a name that a wildcard stands for it is another record.
                composer.redirected = matches!(lookup, Lookup::Found(..)) && passed.contains(&found);
                passed.push(found);
                composer.at_owner((found, owner), name.as_ref(), qtype, reach)
            }
            Lookup::Redirect(found, owner) => {
                let first = !passed.contains(&found);
                passed.push(found);
                composer.redirect((found, owner), name.as_ref().unwrap_or(question), qtype, first)
            }
            Lookup::Cut(cut, owner) => {
                composer.referral(
                    (cut, owner),
                    name.as_ref(),
                    qtype,
                    cut == name.as_ref().unwrap_or(question),
                );
                None
            }
            Lookup::Empty => {
                composer.negative(Rcode::NOERROR);
                None
            }
            Lookup::NameError => {
                composer.negative(Rcode::NXDOMAIN);
                None
            }
            Lookup::Outside => None,
        };
        // RFC 1034 4.3.2, 3a and 3c: go on with the name that the alias stands for, in whichever zone here has it.
        let circle = |target: &Name| chain.contains(target) || (target == question && !question.is_wildcard());
        let Some(target) = target.filter(|target| chain.len() < CHAIN_MAX && !circle(target)) else {
            break;
        };
        let Some(zone) = zone_for(&target, qtype, zone_of) else {
            break;
        };
        composer.zone = zone;
        lookup = zone.lookup(&target);
        chain.push(target);
    }
    composer.finish()
}

/// The zone that answers for a name: the deepest one, or for DS at its apex the one above (RFC 4035 3.1.4.1).
fn zone_for<'a>(name: &Name, qtype: RecordType, zone_of: &dyn Fn(&Name) -> Option<&'a Zone>) -> Option<&'a Zone> {
    let zone = zone_of(name)?;
    let above = name
        .parent()
        .filter(|_| qtype == RecordType::DS && zone.origin == *name);
    above.and_then(|above| zone_of(&above)).or(Some(zone))
}

/// What a name below the owner of a DNAME stands for: its labels before the owner, then the target. `None` if that is too long (RFC 6672 2.2).
pub fn redirected(name: &Name, owner: &Name, target: &[u8]) -> Option<Name> {
    let kept = name.wire().len() - owner.wire().len();
    Name::from_wire(&[name.wire().get(..kept)?, target].concat())
}

/// The data that a zone itself has for a name. A wildcard stands for it, but not below a cut: "delegation cancels the wildcard defaults"
/// (RFC 1034 4.3.3).
fn own(lookup: Lookup<'_>) -> Option<&ZoneOwner> {
    match lookup {
        Lookup::Found(_, owner) | Lookup::Wildcard(_, owner) => Some(owner),
        _ => None,
    }
}

struct Composer<'a, 'w> {
    zone: &'a Zone,
    writer: &'w mut Writer,
    sections: Sections<'a>,
    /// Whether the DNAME of the owner at hand is in the answer.
    redirected: bool,
}

impl<'a> Composer<'a, '_> {
    /// Whoever asks for this name gets the chain as far as this.
    fn note_repeat(&mut self, name: &Name) {
        self.sections.repeats.push(Repeat {
            name: name.clone(),
            answers: self.sections.answers,
            end: self.writer.position(),
        });
    }

    /// Answers at an owner. Returns the target of an alias that is to be followed.
    fn at_owner(
        &mut self,
        (record, owner): (&'a Name, &'a ZoneOwner),
        name: Option<&Name>,
        qtype: RecordType,
        reach: &dyn Fn(&Steer) -> Reach,
    ) -> Option<Name> {
        if owner.rrsets.contains_key(&qtype) {
            self.answer(owner, name, qtype);
            self.additional(record, owner, qtype);
            return None;
        }
        if let Some(steer) = &owner.steer {
            let reach = reach(steer);
            let steered = match qtype {
                RecordType::A => reach.ipv4,
                RecordType::AAAA => reach.ipv6,
                _ => reach.host,
            };
            if steered {
                let owner = name.map_or(Some(QUESTION_POINTER), |name| self.writer.pointer_to(name));
                self.sections.steer = owner.map(|owner| Steered { steer, record, owner });
                return None;
            }
        }
        if qtype == RecordType::ANY {
            self.any(owner, name);
            return None;
        }
        let alias = owner.rrsets.get(&RecordType::CNAME);
        let Some(alias) = alias.filter(|_| !qtype.is_of_aliases()) else {
            self.negative(Rcode::NOERROR);
            return None;
        };
        self.answer(owner, name, RecordType::CNAME);
        alias.rdata.first().and_then(|data| Name::from_wire(data))
    }

    fn answer(&mut self, owner: &ZoneOwner, name: Option<&Name>, rtype: RecordType) {
        if rtype == RecordType::DNAME && self.redirected {
            return;
        }
        let Some(rrset) = owner.rrsets.get(&rtype) else { return };
        for data in &rrset.rdata {
            self.writer
                .record(name.map_or(Owner::Question, Owner::Name), rtype, rrset.ttl, data);
            self.sections.answers += 1;
        }
    }

    /// RFC 8482 4.1: one of the record sets will do; 4.2: a HINFO where there is none.
    fn any(&mut self, owner: &ZoneOwner, name: Option<&Name>) {
        match owner.rrsets.keys().next() {
            Some(rtype) => self.answer(owner, name, *rtype),
            None => {
                let name = name.map_or(Owner::Question, Owner::Name);
                self.writer.record(name, RecordType::HINFO, ANY_TTL, b"\x07RFC8482\x00");
                self.sections.answers += 1;
            }
        }
    }

    /// RFC 2308 3: the SOA with the TTL that the negative answer may be kept for.
    fn negative(&mut self, rcode: Rcode) {
        self.sections.rcode = rcode;
        let soa = &self.zone.soa;
        self.writer.record(
            Owner::Name(&self.zone.origin),
            RecordType::SOA,
            soa.negative_ttl(),
            &soa.rdata(),
        );
        self.sections.authorities = 1;
        self.sections.authority_end = self.writer.position();
    }

    /// RFC 1034 4.3.2, 3b: the NS records of the cut and what addresses of their targets we have. DS is the parent's (RFC 4035 3.1.4.1).
    fn referral(&mut self, (cut, owner): (&Name, &'a ZoneOwner), name: Option<&Name>, qtype: RecordType, at_cut: bool) {
        if qtype == RecordType::DS && at_cut {
            match owner.rrsets.contains_key(&RecordType::DS) {
                true => self.answer(owner, name, RecordType::DS),
                false => self.negative(Rcode::NOERROR),
            }
            return;
        }
        let Some(rrset) = owner.rrsets.get(&RecordType::NS) else {
            return;
        };
        self.sections.referral = true;
        // RFC 1035 4.1.1: the bit speaks of the first owner of the answer section, where there is one.
        self.sections.authoritative = self.sections.answers > 0;
        for data in &rrset.rdata {
            self.writer.record(Owner::Name(cut), RecordType::NS, rrset.ttl, data);
            self.sections.authorities += 1;
        }
        self.sections.authority_end = self.writer.position();
        let targets: Vec<Name> = rrset
            .rdata
            .iter()
            .flat_map(|data| rdata::names(RecordType::NS, data))
            .collect();
        // What is below the cut comes first: without it the child cannot be reached (RFC 9471 3.1).
        let (below, beside): (Vec<_>, Vec<_>) = targets.into_iter().partition(|target| target.is_at_or_below(cut));
        below.iter().for_each(|target| self.server_addresses(target));
        self.sections.needed = self.sections.additionals;
        beside.iter().for_each(|target| self.server_addresses(target));
    }

    /// RFC 6672 3.2: the DNAME, unless it is there already, and the CNAME that follows from it for `name`. Returns the target of that.
    fn redirect(
        &mut self,
        (owner_name, owner): (&Name, &ZoneOwner),
        name: &Name,
        qtype: RecordType,
        first: bool,
    ) -> Option<Name> {
        let rrset = owner.rrsets.get(&RecordType::DNAME)?;
        let target = rrset.rdata.first()?;
        if first {
            self.writer
                .record(Owner::Name(owner_name), RecordType::DNAME, rrset.ttl, target);
            self.sections.answers += 1;
        }
        let Some(made) = redirected(name, owner_name, target) else {
            self.sections.rcode = Rcode::YXDOMAIN;
            return None;
        };
        self.writer
            .record(Owner::Name(name), RecordType::CNAME, rrset.ttl, made.wire());
        self.sections.answers += 1;
        // A DNAME that leads below itself does so without end; and to who asks for CNAME the one that was made is the answer.
        let endless = Name::from_wire(target).is_some_and(|target| target.is_at_or_below(owner_name));
        Some(made).filter(|_| !endless && qtype != RecordType::CNAME)
    }

    /// The addresses of the names that the records answered point to (RFC 1035 3.3.9, 3.3.11, RFC 2782); of SVCB and HTTPS also those records of
    /// them (RFC 9460 4.1).
    fn additional(&mut self, record: &Name, owner: &ZoneOwner, qtype: RecordType) {
        let is_service = matches!(qtype, RecordType::SVCB | RecordType::HTTPS);
        if !is_service && !matches!(qtype, RecordType::NS | RecordType::MX | RecordType::SRV) {
            return;
        }
        self.sections.authority_end = self.writer.position();
        let Some(rrset) = owner.rrsets.get(&qtype) else { return };
        // RFC 9460 2.5: `.` is the owner itself, but in an alias no name at all. The owner that a wildcard stands for has no name here.
        let target = |data: &[u8], name: Name| match is_service && name == Name::root() {
            true => (!data.starts_with(&[0, 0]) && !record.is_wildcard()).then(|| record.clone()),
            false => Some(name),
        };
        let targets = rrset.rdata.iter().flat_map(|data| {
            let names = rdata::names(qtype, data).into_iter();
            names.filter_map(|name| target(data, name)).collect::<Vec<_>>()
        });
        let targets: BTreeSet<Name> = targets.collect();
        for target in targets {
            if qtype == RecordType::NS {
                self.server_addresses(&target);
                continue;
            }
            let owner = own(self.zone.lookup(&target));
            if is_service && target != *record {
                self.sets(&target, owner, &[qtype]);
            }
            self.sets(&target, owner, &ADDRESSES);
        }
    }

    /// The addresses of a name server: of other targets glue is not told, which is "only used as part of a referral response" (RFC 1034 4.2.1).
    fn server_addresses(&mut self, name: &Name) {
        let owner = match self.zone.lookup(name) {
            Lookup::Cut(..) => self.zone.owners.get(name),
            lookup => own(lookup),
        };
        self.sets(name, owner, &ADDRESSES);
    }

    /// Record sets of a name. Those of a wildcard are its own too; steered names have no addresses.
    fn sets(&mut self, name: &Name, owner: Option<&ZoneOwner>, rtypes: &[RecordType]) {
        let Some(owner) = owner else { return };
        for &rtype in rtypes {
            let Some(rrset) = owner.rrsets.get(&rtype) else {
                continue;
            };
            for data in &rrset.rdata {
                self.writer.record(Owner::Name(name), rtype, rrset.ttl, data);
                self.sections.additionals += 1;
            }
            let set = (rrset.rdata.len() as u16, self.writer.position());
            self.sections.additional_sets.push(set);
        }
    }

    fn finish(mut self) -> Sections<'a> {
        let end = self.writer.position();
        if self.sections.authorities == 0 && self.sections.additionals == 0 {
            self.sections.authority_end = end;
        }
        self.sections
    }
}

impl Sections<'_> {
    /// Nothing yet.
    pub fn empty() -> Self {
        Self {
            rcode: Rcode::NOERROR,
            authoritative: true,
            referral: false,
            answers: 0,
            authorities: 0,
            additionals: 0,
            authority_end: 0,
            needed: 0,
            additional_sets: Vec::new(),
            steer: None,
            repeats: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::model::{RRset, Soa};

    fn name(text: &str) -> Name {
        Name::parse(text, None).unwrap()
    }

    fn zone(aliases: &[(&str, &str)]) -> Zone {
        let alias = |target: &str| RRset {
            ttl: 300,
            rdata: vec![name(target).wire().into()],
        };
        let owner = |target| ZoneOwner {
            rrsets: [(RecordType::CNAME, alias(target))].into_iter().collect(),
            steer: None,
        };
        let owners = aliases.iter().map(|(from, to)| (name(from), owner(to)));
        Zone {
            origin: name("example."),
            path: "".into(),
            soa: Soa {
                mname: name("ns.example."),
                rname: name("hostmaster.example."),
                serial: 1,
                refresh: 2,
                retry: 3,
                expire: 4,
                minimum: 5,
                ttl: 6,
            },
            owners: owners.collect(),
        }
    }

    #[test]
    fn aliases_in_a_circle_are_told_once_each() {
        let aliases = [
            ("a.example.", "b.example."),
            ("b.example.", "a.example."),
            ("c.example.", "c.example."),
        ];
        let zone = zone(&[&aliases[..], &[("*.w.example.", "x.w.example.")]].concat());
        for (asked, answers) in [
            ("a.example.", 2),
            ("c.example.", 1),
            ("x.w.example.", 1),
            ("y.w.example.", 2),
        ] {
            let asked = name(asked);
            let mut writer = Writer::after_question(&asked, 0);
            let none = |_: &Steer| Reach::default();
            let sections = compose(
                &zone,
                &asked,
                zone.lookup(&asked),
                RecordType::A,
                &none,
                &|_| Some(&zone),
                &mut writer,
            );
            assert_eq!((sections.answers, sections.authorities), (answers, 0), "{asked}");
        }
    }
}
