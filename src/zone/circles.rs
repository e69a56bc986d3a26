//! Aliases that lead nowhere: chains of CNAMEs that come back to themselves, and owners steered to a host that they are themselves.

use std::collections::BTreeSet;

use super::check::{Owners, Placed};
use super::roots::Roots;
use super::targets::cut_above;
use crate::spec::Faults;
use crate::wire::code::RecordType;
use crate::wire::name::Name;

/// Tells the circles of a zone. A chain without an end resolves to nothing (RFC 1034 3.6.2).
pub(super) fn check(owners: &Owners<'_>, roots: &Roots, faults: &mut Faults) {
    aliases(owners, faults);
    for (name, placed) in &owners.placed {
        steered(owners, name, placed, roots, faults);
    }
}

/// Warns of each circle of CNAMEs once, at the first of its owners in the file: it does no harm, and other servers take it. Only what is literally so: wildcards stand for no
/// other name here.
fn aliases(owners: &Owners<'_>, faults: &mut Faults) {
    let mut passed: BTreeSet<&Name> = BTreeSet::new();
    for start in owners.placed.keys() {
        let mut way: Vec<(&Name, &Placed<'_>)> = Vec::new();
        let mut on_the_way: BTreeSet<&Name> = BTreeSet::new();
        let mut next = owners.placed.get_key_value(start);
        while let Some((name, placed)) = next.filter(|(name, _)| !passed.contains(name)) {
            passed.insert(name);
            on_the_way.insert(name);
            way.push((name, placed));
            next = alias(owners, placed);
        }
        let Some((back, _)) = next.filter(|(name, _)| on_the_way.contains(name)) else {
            continue;
        };
        let circle = way.iter().skip_while(|(name, _)| *name != back);
        tell(circle.map(|(_, placed)| *placed).collect(), faults);
    }
}

/// The owner that an owner is an alias of, if both are this zone's.
fn alias<'a>(owners: &'a Owners<'a>, placed: &Placed<'_>) -> Option<(&'a Name, &'a Placed<'a>)> {
    let target = placed
        .targets
        .iter()
        .find(|target| target.rtype == RecordType::CNAME)
        .filter(|target| cut_above(owners, &target.name).is_none())?;
    owners.placed.get_key_value(&target.name)
}

fn tell(mut circle: Vec<&Placed<'_>>, faults: &mut Faults) {
    let first = (0..circle.len()).min_by_key(|at| circle.get(*at).map(|placed| placed.spec.key.span.start));
    circle.rotate_left(first.unwrap_or_default());
    let Some(first) = circle.first() else { return };
    let key = &first.spec.key;
    let way: Vec<&str> = circle
        .iter()
        .chain([first])
        .map(|placed| placed.spec.key.value.as_str())
        .collect();
    let message = format!("the alias `{}` leads back to itself: {}", key.value, way.join(" -> "));
    let hint = "let one of them point to a name with records, or give it the records".to_owned();
    faults.warning_hint(&key.span, message, hint);
}

/// Tells an owner that its root may answer by a CNAME to the owner itself. What no host may answer for is told elsewhere.
fn steered(owners: &Owners<'_>, name: &Name, placed: &Placed<'_>, roots: &Roots, faults: &mut Faults) {
    let Some(steer) = &placed.spec.steer else { return };
    let root = roots.known.get(&steer.name.value);
    let leads_back = root.is_some_and(|root| root.hosts.iter().any(|hosts| hosts.contains(name)));
    if leads_back && name != owners.origin && cut_above(owners, name).is_none() {
        let message = format!(
            "`{}` may hand out {name} at `{}`, which is that name itself",
            steer.name.value, placed.spec.key.value
        );
        let hint = "a host is another name, with addresses of its own".to_owned();
        faults.error_hint(&steer.name.span, message, hint);
    }
}
