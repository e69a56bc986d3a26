//! Which records may stand together: at one owner, and below cuts and DNAMEs. One fault an owner, the gravest.

use super::check::{Hold, Owners, Placed};
use crate::spec::Faults;
use crate::spec::records::RRsetSpec;
use crate::wire::code::RecordType;
use crate::wire::name::Name;

/// What might stand beside a CNAME of old (RFC 2535 2.3.5).
pub(super) const BESIDE_CNAME_OF_OLD: &[RecordType] = &[RecordType::KEY, RecordType::SIG, RecordType::NXT];

/// What may stand at a zone cut: the delegation, and glue (RFC 1034 4.2.1, RFC 4035 2.2 to 2.4).
pub(super) const AT_CUT: &[RecordType] = &[
    RecordType::NS,
    RecordType::DS,
    RecordType::A,
    RecordType::AAAA,
    RecordType::RRSIG,
    RecordType::NSEC,
];

/// What may stand below a zone cut: glue.
pub(super) const GLUE: &[RecordType] = &[RecordType::A, RecordType::AAAA];

/// An owner that hides what is below it.
struct Cover {
    name: Name,
    rtype: RecordType,
}

/// Checks every owner. In canonical order whatever is below an owner comes right after it.
pub(super) fn check(owners: &Owners<'_>, faults: &mut Faults) {
    let mut cover: Option<Cover> = None;
    for (name, placed) in &owners.placed {
        if let Some(cover) = cover.as_ref().filter(|cover| name.is_at_or_below(&cover.name)) {
            below(cover, placed, faults);
            continue;
        }
        let apex = name == owners.origin;
        let hold = owners.hold;
        at_owner(
            &Place {
                name,
                apex,
                placed,
                hold,
            },
            faults,
        );
        let rtype = match () {
            _ if placed.has(RecordType::NS) && !apex => Some(RecordType::NS),
            _ if placed.has(RecordType::DNAME) => Some(RecordType::DNAME),
            _ => None,
        };
        cover = rtype.map(|rtype| Cover {
            name: name.clone(),
            rtype,
        });
    }
}

/// An owner below a cut or a DNAME.
fn below(cover: &Cover, placed: &Placed<'_>, faults: &mut Faults) {
    let (key, spec) = (&placed.spec.key, placed.spec);
    let what = match cover.rtype {
        RecordType::NS => "zone cut",
        _ => "DNAME",
    };
    if let Some(steer) = &spec.steer {
        faults.error(
            &steer.name.span,
            format!(
                "`{}` can never be answered: it is below the {what} at {}",
                key.value, cover.name
            ),
        );
        return;
    }
    let is_cut = cover.rtype == RecordType::NS;
    let hidden = spec
        .rrsets
        .iter()
        .find(|rrset| !(is_cut && GLUE.contains(&rrset.rtype.value)));
    let Some(hidden) = hidden else { return };
    let rtype = hidden.rtype.value;
    if is_cut {
        faults.error_hint(
            &hidden.rtype.span,
            format!(
                "{rtype} of `{}` can never be answered: it is below the zone cut at {}",
                key.value, cover.name
            ),
            "below a cut only glue may stand, A and AAAA: the rest belongs to the zone delegated there".to_owned(),
        );
    } else {
        faults.error_hint(
            &hidden.rtype.span,
            format!(
                "{rtype} of `{}` can never be answered: it is below the DNAME at {}",
                key.value, cover.name
            ),
            "nothing stands below a DNAME (RFC 6672 2.4)".to_owned(),
        );
    }
}

/// An owner by itself.
fn at_owner(place: &Place<'_>, faults: &mut Faults) {
    let checks: [fn(&Place<'_>, &mut Faults) -> bool; 6] = [wildcard, alias, steered, steered_by_host, cut, dname];
    // The first that finds a fault ends it: the others would tell the same mistake from another side.
    let _ = checks.iter().any(|check| check(place, faults));
}

struct Place<'a> {
    name: &'a Name,
    apex: bool,
    placed: &'a Placed<'a>,
    hold: Hold,
}

impl Place<'_> {
    fn key(&self) -> &str {
        &self.placed.spec.key.value
    }

    /// The types that are not among `allowed`, as text: "A, AAAA and MX".
    fn others(&self, allowed: &[RecordType]) -> Vec<String> {
        let rrsets = self
            .placed
            .spec
            .rrsets
            .iter()
            .filter(|rrset| !allowed.contains(&rrset.rtype.value));
        rrsets.map(|rrset| rrset.rtype.value.to_string()).collect()
    }
}

/// RFC 4592 4.2 and 4.4: what delegations and DNAMEs of wildcards mean is not defined.
fn wildcard(place: &Place<'_>, faults: &mut Faults) -> bool {
    let found = [RecordType::NS, RecordType::DNAME]
        .into_iter()
        .find_map(|rtype| place.placed.rrset(rtype));
    let Some(rrset) = found.filter(|_| place.name.is_wildcard()) else {
        return false;
    };
    let rtype = rrset.rtype.value;
    let message = format!("a wildcard has no {rtype} (RFC 4592 4.2, 4.4)");
    place.hold.odd(&rrset.rtype.span, message, None, faults);
    true
}

/// RFC 1034 3.6.2, RFC 2181 10.1.
fn alias(place: &Place<'_>, faults: &mut Faults) -> bool {
    let Some(cname) = place.placed.rrset(RecordType::CNAME) else {
        return false;
    };
    let span = &cname.rtype.span;
    if place.apex {
        let hint = "an apex has SOA and NS, and a CNAME stands alone; steer it, or give it A and AAAA".to_owned();
        faults.error_hint(span, "the apex cannot be a CNAME", hint);
        return true;
    }
    let allowed = match place.hold {
        Hold::Strict => RecordType::BESIDE_CNAME.to_vec(),
        Hold::Lenient => [RecordType::BESIDE_CNAME, BESIDE_CNAME_OF_OLD].concat(),
    };
    let mut others = place.others(&allowed);
    others.extend(place.placed.spec.steer.is_some().then(|| "steer".to_owned()));
    if !others.is_empty() {
        let message = format!("`{}` has a CNAME and other data: {}", place.key(), others.join(", "));
        faults.error_hint(span, message, "a CNAME stands alone (RFC 1034 3.6.2)".to_owned());
        return true;
    }
    more_than_one(place, cname, faults)
}

/// One target is all that a CNAME or DNAME can have (RFC 2181 10.1, RFC 6672 2.4).
fn more_than_one(place: &Place<'_>, rrset: &RRsetSpec, faults: &mut Faults) -> bool {
    let Some(second) = rrset.data.get(1) else { return false };
    let message = format!("`{}` has more than one {}", place.key(), rrset.rtype.value);
    let hint = "an alias has one target; for a choice of hosts steer the name to a pool of them".to_owned();
    faults.error_hint(&second.span, message, hint);
    true
}

/// docs: a steered owner answers A and AAAA.
fn steered(place: &Place<'_>, faults: &mut Faults) -> bool {
    let Some(steer) = &place.placed.spec.steer else {
        return false;
    };
    let beside = place
        .placed
        .spec
        .rrsets
        .iter()
        .find(|rrset| GLUE.contains(&rrset.rtype.value));
    if let Some(beside) = beside {
        let rtype = beside.rtype.value;
        faults.error_hint(
            &beside.rtype.span,
            format!("`{}` is steered and has {rtype} beside", place.key()),
            format!(
                "`{}` answers A and AAAA here: put the address into a pool",
                steer.name.value
            ),
        );
        return true;
    }
    if !place.apex && place.placed.has(RecordType::NS) {
        let message = format!("`{}` can never be answered: it is a zone cut", place.key());
        faults.error(&steer.name.span, message);
        return true;
    }
    false
}

/// docs: an owner that can be answered by a CNAME carries nothing else and is not an apex.
fn steered_by_host(place: &Place<'_>, faults: &mut Faults) -> bool {
    let Some(steer) = place.placed.spec.steer.as_ref().filter(|_| place.placed.by_host) else {
        return false;
    };
    let name = &steer.name.value;
    if place.apex {
        let message = format!("the apex cannot be steered by `{name}`, which may answer with a CNAME");
        faults.error_hint(&steer.name.span, message, "use pools of addresses there".to_owned());
        return true;
    }
    let others = place.others(&[]);
    if others.is_empty() {
        return false;
    }
    let message = format!(
        "`{}` is steered by `{name}`, which may answer with a CNAME, and has other data: {}",
        place.key(),
        others.join(", ")
    );
    faults.error_hint(
        &steer.name.span,
        message,
        "a CNAME stands alone (RFC 1034 3.6.2)".to_owned(),
    );
    true
}

/// RFC 1034 4.2.1: at a cut the zone ends.
fn cut(place: &Place<'_>, faults: &mut Faults) -> bool {
    if place.apex || !place.placed.has(RecordType::NS) {
        return false;
    }
    let rrsets = &place.placed.spec.rrsets;
    let Some(hidden) = rrsets.iter().find(|rrset| !AT_CUT.contains(&rrset.rtype.value)) else {
        return false;
    };
    faults.error_hint(
        &hidden.rtype.span,
        format!(
            "{} of `{}` can never be answered: its NS records delegate the name",
            hidden.rtype.value,
            place.key()
        ),
        "at a cut only NS, DS and glue may stand: the rest belongs to the zone delegated there".to_owned(),
    );
    true
}

/// RFC 6672 2.4.
fn dname(place: &Place<'_>, faults: &mut Faults) -> bool {
    place
        .placed
        .rrset(RecordType::DNAME)
        .is_some_and(|dname| more_than_one(place, dname, faults))
}
