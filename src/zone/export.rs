//! A zone as a master file: what `export` prints. Every name is absolute, so that a line means the same wherever it is pasted.

use std::fmt::Write as _;

use super::model::{Owner, RRset, Steer, Zone};
use crate::wire::code::RecordType;
use crate::wire::name::Name;
use crate::wire::rdata;

/// What stands in the place of a steered owner: record sets, or why there are none.
pub type Expand<'a> = &'a dyn Fn(&Steer) -> Vec<(RecordType, RRset)>;

/// Writes a zone, its steered owners expanded.
pub fn write(zone: &Zone, expand: Expand<'_>) -> String {
    let mut text = format!("$ORIGIN {}\n", zone.origin);
    // The SOA record comes first (RFC 1035 5.2 asks for one, and some readers for its place).
    let apex = zone.owners.get(&zone.origin);
    if let Some(soa) = apex.and_then(|apex| apex.rrsets.get(&RecordType::SOA)) {
        write_rrset(&mut text, &zone.origin, RecordType::SOA, soa);
    }
    for (name, owner) in &zone.owners {
        write_owner(&mut text, name, owner, expand);
    }
    text
}

fn write_owner(text: &mut String, name: &Name, owner: &Owner, expand: Expand<'_>) {
    for (rtype, rrset) in owner.rrsets.iter().filter(|(rtype, _)| *rtype != RecordType::SOA) {
        write_rrset(text, name, *rtype, rrset);
    }
    let Some(steer) = &owner.steer else { return };
    // A string takes no more than memory.
    let _ = writeln!(
        text,
        "; {name} is steered by {}: all that it may answer",
        steer.root.escape_debug()
    );
    for (rtype, rrset) in expand(steer) {
        write_rrset(text, name, rtype, &rrset);
    }
}

fn write_rrset(text: &mut String, name: &Name, rtype: RecordType, rrset: &RRset) {
    for data in &rrset.rdata {
        let _ = writeln!(text, "{name} {} IN {rtype} {}", rrset.ttl, rdata::present(rtype, data));
    }
}
