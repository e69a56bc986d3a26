//! The names that records point to: NS and MX to no alias, NS inside the zone to what has an address, and the others to what exists.

use std::ops::Bound;

use super::check::{Owners, Placed, Target};
use crate::spec::Faults;
use crate::wire::code::RecordType;
use crate::wire::name::Name;

/// What the zone says of a name.
enum Found<'a> {
    /// It is not in the zone, or in one delegated from it.
    Elsewhere,
    /// It has data, of its own or of a wildcard.
    Data(&'a Placed<'a>),
    /// It has none.
    Nothing,
}

/// Checks the targets of every owner.
pub(super) fn check(owners: &Owners<'_>, faults: &mut Faults) {
    for (name, placed) in &owners.placed {
        for target in &placed.targets {
            match find(owners, name, target) {
                Found::Elsewhere => {}
                Found::Data(_) if target.rtype == RecordType::CNAME => {}
                Found::Data(found) if found.is_alias() => alias(owners, target, found, faults),
                Found::Data(found) => {
                    let addresses = found.has(RecordType::A) || found.has(RecordType::AAAA);
                    if !addresses && found.spec.steer.is_none() && !found.spec.poisoned {
                        missing(owners, target, faults);
                    }
                }
                Found::Nothing => missing(owners, target, faults),
            }
        }
    }
}

/// RFC 2181 10.3: NS and MX point to what has addresses itself. For SRV RFC 2782 says so too, but resolvers cope.
fn alias(owners: &Owners<'_>, target: &Target, found: &Placed<'_>, faults: &mut Faults) {
    let rtype = target.rtype;
    let how = if found.by_host {
        "may be answered by a CNAME"
    } else {
        "is a CNAME"
    };
    let message = format!("the {rtype} target {} {how}", target.name);
    if rtype == RecordType::SRV {
        faults.warning_hint(
            &target.span,
            message,
            "point to a name with addresses (RFC 2782)".to_owned(),
        );
    } else {
        let hint = "point to a name with addresses (RFC 2181 10.3)".to_owned();
        owners.hold.odd(&target.span, message, Some(hint), faults);
    }
}

/// A name server inside the zone is found only through the addresses given here (RFC 1034 4.2.1). Other names may come later.
fn missing(owners: &Owners<'_>, target: &Target, faults: &mut Faults) {
    let Target { rtype, name, span, .. } = target;
    if owners.may_hide(name) {
        return;
    }
    if *rtype == RecordType::NS {
        let message = format!("the name server {name} is in this zone and has no address");
        let hint = "give it A or AAAA; a name of another zone ends in a dot".to_owned();
        owners.hold.odd(span, message, Some(hint), faults);
    } else if !exists(owners, name) && !wildcard_may_hide(owners, name) && !below_dname(owners, name) {
        let hint = match &target.written {
            Some(written) if seems_absolute(written, owners.origin) => {
                format!("a name without a final dot is relative to the zone: write `{written}.`")
            }
            _ => "write its records too; a name of another zone ends in a dot".to_owned(),
        };
        faults.warning_hint(span, format!("the target {name} does not exist in this zone"), hint);
    }
}

/// The last labels by which a name is known for one that is not relative, beside that of the origin.
const TOP_LABELS: [&str; 4] = ["com", "net", "org", "io"];

/// Whether a name was written without the dot at its end, but hardly meant so.
fn seems_absolute(written: &str, origin: &Name) -> bool {
    let Ok(name) = Name::parse(&format!("{written}."), None) else {
        return false;
    };
    let known = |last: &str| TOP_LABELS.contains(&last) || last == last_label(origin);
    let has_dots = name.label_count() > 1;
    !origin.is_root()
        && !written.ends_with('.')
        && (name.is_at_or_below(origin) || (has_dots && known(&last_label(&name))))
}

fn last_label(name: &Name) -> String {
    let text = name.to_lowercase().to_string();
    let text = text.strip_suffix('.').unwrap_or(&text);
    text.rsplit('.').next().unwrap_or_default().to_owned()
}

/// Whether the wildcard that would stand for a name may be one that a fault hides.
fn wildcard_may_hide(owners: &Owners<'_>, name: &Name) -> bool {
    let parent = name.parent().and_then(|parent| parent.child(b"*"));
    parent.is_some_and(|wildcard| owners.may_hide(&wildcard))
}

/// Whether a DNAME redirects the name (RFC 6672 2.3).
fn below_dname(owners: &Owners<'_>, name: &Name) -> bool {
    let mut above = name.parent();
    while let Some(name) = above.filter(|name| name.is_at_or_below(owners.origin)) {
        if owners
            .placed
            .get(&name)
            .is_some_and(|placed| placed.has(RecordType::DNAME))
        {
            return true;
        }
        above = name.parent();
    }
    false
}

/// What the zone says of the target of a record at `at`.
fn find<'a>(owners: &'a Owners<'a>, at: &Name, target: &Target) -> Found<'a> {
    let name = &target.name;
    if !name.is_at_or_below(owners.origin) {
        return Found::Elsewhere;
    }
    match cut_above(owners, name) {
        // Glue is asked of the delegation that needs it: a server below its own cut.
        Some(cut) if target.rtype == RecordType::NS && cut == *at => {
            owners.placed.get(name).map_or(Found::Nothing, Found::Data)
        }
        Some(_) => Found::Elsewhere,
        None => owners
            .placed
            .get(name)
            .or_else(|| wildcard(owners, name))
            .map_or(Found::Nothing, Found::Data),
    }
}

/// The cut at or above a name, if that is in the zone.
pub(super) fn cut_above(owners: &Owners<'_>, name: &Name) -> Option<Name> {
    let mut cut = None;
    let mut next = Some(name.clone());
    while let Some(name) = next.filter(|name| name != owners.origin && name.is_at_or_below(owners.origin)) {
        next = name.parent();
        if owners
            .placed
            .get(&name)
            .is_some_and(|placed| placed.has(RecordType::NS))
        {
            // The highest counts: what is below it is not this zone's.
            cut = Some(name);
        }
    }
    cut
}

/// The wildcard that answers for a name which is not an owner (RFC 4592 3.3.1).
fn wildcard<'a>(owners: &'a Owners<'a>, name: &Name) -> Option<&'a Placed<'a>> {
    if exists(owners, name) {
        return None;
    }
    let mut encloser = name.parent()?;
    while !exists(owners, &encloser) && encloser != *owners.origin {
        encloser = encloser.parent()?;
    }
    owners.placed.get(&encloser.child(b"*")?)
}

/// Whether a name is the apex, is an owner or has one below it.
fn exists(owners: &Owners<'_>, name: &Name) -> bool {
    if name == owners.origin {
        return true;
    }
    let from = (Bound::Included(name), Bound::Unbounded);
    owners
        .placed
        .range::<Name, _>(from)
        .next()
        .is_some_and(|(next, _)| next.is_at_or_below(name))
}
