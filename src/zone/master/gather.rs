//! Records to owners: sorted, each once, and judged together. What no server would serve is an error, what is merely odd a
//! warning.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::read::ReadRecords;
use super::told::Told;
use super::{Place, Record};
use crate::diagnostic::Source;
use crate::wire::code::RecordType;
use crate::wire::name::Name;
use crate::wire::rdata;
use crate::zone::check::{MESSAGE_FIXED, MESSAGE_MAX, RECORD_FIXED, normal};
use crate::zone::lookup::Lookup;
use crate::zone::model::{Owner, RRset, Soa, Zone};
use crate::zone::together::{AT_CUT, BESIDE_CNAME_OF_OLD, GLUE};

/// A record that names another of the zone, to be looked at when all owners are known.
struct Pointer {
    owner: Name,
    rtype: RecordType,
    target: Name,
    place: Place,
}

/// Makes the zone of what was read.
pub(super) fn gather(origin: &Name, source: &Arc<Source>, read: ReadRecords, told: &mut Told<'_>) -> Option<Zone> {
    let ReadRecords { mut records, other_soa } = read;
    let whole = told.errors() == 0;
    records.sort_by(|a, b| a.owner.cmp(&b.owner));
    let mut gatherer = Gatherer {
        origin,
        told,
        cover: None,
        pointers: Vec::new(),
    };
    let owners: BTreeMap<Name, Owner> = gatherer.owners(records).into_iter().collect();
    let pointers = gatherer.pointers;
    let apex = owners.get(origin);
    let record = apex.and_then(|apex| apex.rrsets.get(&RecordType::SOA));
    let soa = record.and_then(|rrset| Soa::read(rrset.ttl, rrset.rdata.first()?));
    if let Some((owner, place)) = &other_soa {
        misplaced_soa(origin, soa.is_some(), owner, place, told);
    } else if whole && soa.is_none() {
        let hint = "a zone begins with one, as in `@ SOA ns1 hostmaster 1 2h 30m 14d 1m`";
        told.error_of_zone(format!("the zone {origin} has no SOA record"), hint);
    }
    let has_servers = apex.is_some_and(|apex| apex.rrsets.contains_key(&RecordType::NS));
    let zone = Zone {
        origin: origin.clone(),
        path: source.path.clone(),
        soa: soa?,
        owners,
    };
    if whole && !has_servers {
        let message = format!("the zone {origin} has no NS records at its apex");
        told.warning_of_zone(message, "resolvers may not take its answers without them");
    }
    if whole {
        pointers.iter().for_each(|pointer| check(&zone, pointer, told));
    }
    Some(zone)
}

/// A zone has one SOA record, and its owner is the name of the zone (RFC 1034 4.2.1).
fn misplaced_soa(origin: &Name, has_own: bool, owner: &Name, place: &Place, told: &mut Told<'_>) {
    if !has_own {
        let file = match owner.to_lowercase().to_string() {
            root if root == "." => "root.zone".to_owned(),
            name => format!("{name}zone"),
        };
        let message = format!("the SOA record is that of {owner}, but the zone is {origin}, by the name of its file");
        told.error_at(place, message, &format!("name the file `{file}`"));
    } else if owner.is_at_or_below(origin) {
        let message = format!("the SOA record of {owner} is not at the top of the zone {origin}");
        told.error_at(
            place,
            message,
            "a zone has one, and what is below a cut is in a file of its own",
        );
    } else {
        let message = format!("{owner} is outside the zone {origin}: the record is left out");
        told.warning_at(place, message, "a zone has one SOA record, its own");
    }
}

struct Gatherer<'a, 'f> {
    origin: &'a Name,
    told: &'a mut Told<'f>,
    /// The last owner that hides what is below it, with the type that does: whatever is below comes right after.
    cover: Option<(Name, RecordType)>,
    pointers: Vec<Pointer>,
}

impl Gatherer<'_, '_> {
    /// The owners of sorted records.
    fn owners(&mut self, records: Vec<Record>) -> Vec<(Name, Owner)> {
        let mut owners = Vec::new();
        let mut group: Vec<Record> = Vec::new();
        for record in records {
            if group.first().is_some_and(|first| first.owner != record.owner) {
                owners.extend(self.owner(&mut group));
            }
            group.push(record);
        }
        owners.extend(self.owner(&mut group));
        owners
    }

    /// The records of one owner, in the order of the file. They are taken.
    fn owner(&mut self, records: &mut Vec<Record>) -> Option<(Name, Owner)> {
        let (name, place) = records.first().map(|first| (first.owner.clone(), first.place))?;
        self.alone(&name, records);
        self.hidden(&name, records);
        let mut owner = Owner::default();
        let mut seen = BTreeSet::new();
        let several = records.len() > 1;
        for record in records.drain(..) {
            if several && !seen.insert((record.rtype, normal(record.rtype, &record.data))) {
                let message = format!("{name} has this {} record twice", record.rtype);
                self.told.warning_at(&record.place, message, "it is served once");
                continue;
            }
            self.point(&record);
            match owner.rrsets.get_mut(&record.rtype) {
                Some(rrset) => self.one_more(rrset, record),
                None => {
                    let rrset = RRset {
                        ttl: record.ttl,
                        rdata: vec![record.data],
                    };
                    owner.rrsets.insert(record.rtype, rrset);
                }
            }
        }
        if several {
            self.too_long(&name, &owner, place);
        }
        Some((name, owner))
    }

    /// Warns of records that fit no message.
    fn too_long(&mut self, name: &Name, owner: &Owner, place: Place) {
        for (rtype, rrset) in &owner.rrsets {
            let size: usize = rrset.rdata.iter().map(|data| data.len() + RECORD_FIXED).sum();
            if MESSAGE_FIXED + name.wire().len() + 4 + size > MESSAGE_MAX {
                let message = format!("the {rtype} records of {name} do not fit into a message of 65,535 octets");
                self.told.warning_at(&place, message, "they cannot be answered");
            }
        }
    }

    /// Adds a record to those of its owner and type.
    fn one_more(&mut self, rrset: &mut RRset, record: Record) {
        let (owner, rtype) = (&record.owner, record.rtype);
        if matches!(rtype, RecordType::SOA | RecordType::CNAME | RecordType::DNAME) {
            // RFC 1034 4.2.1, RFC 2181 10.1, RFC 6672 2.4.
            let message = format!("{owner} has more than one {rtype} record");
            self.told
                .error_at(&record.place, message, "of this type there is one record");
            return;
        }
        // Signatures have the TTLs of what they sign (RFC 4034 3).
        let signs = matches!(rtype, RecordType::RRSIG | RecordType::SIG);
        if rrset.ttl != record.ttl && !signs {
            let message = format!(
                "the {rtype} records of {owner} have different TTLs: the first, {}, counts",
                rrset.ttl
            );
            let hint = "records of one owner and type have one TTL (RFC 2181 5.2)";
            self.told.warning_at(&record.place, message, hint);
        }
        rrset.rdata.push(record.data);
    }

    /// A CNAME stands alone (RFC 1034 3.6.2). The record that was written later is told.
    fn alone(&mut self, name: &Name, records: &[Record]) {
        let is_alias = |record: &&Record| record.rtype == RecordType::CNAME;
        let is_other = |record: &&Record| !record.rtype.is_of_aliases() && !BESIDE_CNAME_OF_OLD.contains(&record.rtype);
        let Some(alias) = records.iter().position(|record| is_alias(&record)) else {
            return;
        };
        let Some(other) = records.iter().position(|record| is_other(&record)) else {
            return;
        };
        let (Some(later), Some(other)) = (records.get(alias.max(other)), records.get(other)) else {
            return;
        };
        let message = format!("{name} has a CNAME and other data: {}", other.rtype);
        self.told
            .error_at(&later.place, message, "a CNAME stands alone (RFC 1034 3.6.2)");
    }

    /// Warns of what is never answered: data at and below cuts, and below DNAMEs. Notes what this owner hides.
    fn hidden(&mut self, name: &Name, records: &[Record]) {
        let apex = name == self.origin;
        let cover = self.cover.as_ref().filter(|(cover, _)| name.is_at_or_below(cover));
        if let Some((cover, by)) = cover {
            let (what, seen): (_, &[RecordType]) = match *by {
                RecordType::NS => ("zone cut", GLUE),
                _ => ("DNAME", &[]),
            };
            let hidden = records
                .iter()
                .find(|record| !seen.contains(&record.rtype) && !is_denial(record.rtype));
            if let Some(record) = hidden {
                let message = format!(
                    "{} of {name} is never answered: it is below the {what} at {cover}",
                    record.rtype
                );
                self.told
                    .warning_at(&record.place, message, "it belongs in another zone");
            }
            return;
        }
        let has = |rtype| records.iter().find(|record| record.rtype == rtype);
        if let Some(record) = has(RecordType::DS).filter(|_| apex) {
            let message = format!("DS of {name}, the top of the zone, is never believed");
            let hint = "it belongs in the zone above, beside the NS records there (RFC 4035 2.4)";
            self.told.warning_at(&record.place, message, hint);
        }
        let cut = has(RecordType::NS).filter(|_| !apex);
        if let Some(record) = cut.or(has(RecordType::DNAME)).filter(|_| name.is_wildcard()) {
            let message = format!(
                "what {} of a wildcard means is not defined (RFC 4592 4.2, 4.4)",
                record.rtype
            );
            self.told
                .warning_at(&record.place, message, "name the owners one by one");
        }
        if cut.is_some() {
            let hidden = records.iter().find(|record| !AT_CUT.contains(&record.rtype));
            if let Some(record) = hidden {
                let message = format!(
                    "{} of {name} is never answered: its NS records delegate the name",
                    record.rtype
                );
                self.told
                    .warning_at(&record.place, message, "it belongs in the zone delegated there");
            }
        }
        let by = cut
            .map(|_| RecordType::NS)
            .or(has(RecordType::DNAME).map(|_| RecordType::DNAME));
        if let Some(by) = by {
            self.cover = Some((name.clone(), by));
        }
    }

    /// Notes the name of this zone that a record points to.
    fn point(&mut self, record: &Record) {
        if !matches!(record.rtype, RecordType::NS | RecordType::MX) {
            return;
        }
        let targets = rdata::names(record.rtype, &record.data);
        let Some(target) = targets
            .into_iter()
            .next()
            .filter(|target| target.is_at_or_below(self.origin))
        else {
            return;
        };
        self.pointers.push(Pointer {
            owner: record.owner.clone(),
            rtype: record.rtype,
            target,
            place: record.place,
        });
    }
}

/// Whether a record speaks of names by standing somewhere: signed zones have those at cuts and below.
fn is_denial(rtype: RecordType) -> bool {
    matches!(rtype, RecordType::RRSIG | RecordType::NSEC | RecordType::NSEC3)
}

/// RFC 2181 10.3: NS and MX point to what has addresses itself. RFC 1034 4.2.1: a server inside the zone has them here.
fn check(zone: &Zone, pointer: &Pointer, told: &mut Told<'_>) {
    let Pointer {
        owner: at,
        rtype,
        target,
        place,
    } = pointer;
    let has_address = |owner: &Owner| GLUE.iter().any(|rtype| owner.rrsets.contains_key(rtype));
    let missing = match zone.lookup(target) {
        Lookup::Found(_, owner) | Lookup::Wildcard(_, owner) => {
            if owner.rrsets.contains_key(&RecordType::CNAME) {
                let message = format!("the {rtype} target {target} is a CNAME");
                told.warning_at(place, message, "point to a name with addresses (RFC 2181 10.3)");
                return;
            }
            !has_address(owner)
        }
        // Glue is asked of the delegation that needs it: a server below its own cut.
        Lookup::Cut(cut, _) if cut == at => !zone.owners.get(target).is_some_and(has_address),
        Lookup::Empty | Lookup::NameError => true,
        Lookup::Cut(..) | Lookup::Redirect(..) | Lookup::Outside => false,
    };
    if missing && *rtype == RecordType::NS {
        let message = format!("the name server {target} is in this zone and has no address");
        told.warning_at(
            place,
            message,
            "give it A or AAAA; a name of another zone ends in a dot",
        );
    }
}
