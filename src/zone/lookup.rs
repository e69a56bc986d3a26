//! Finding a name in a zone, by the algorithm of RFC 1034 4.3.2 with RFC 4592's closest encloser: slowly and obviously, on the model.

use super::model::{Owner, Zone};
use crate::wire::code::RecordType;
use crate::wire::name::Name;

/// What stands at a name.
#[derive(Debug, Clone, Copy)]
pub enum Lookup<'a> {
    /// The name is not in this zone.
    Outside,
    /// The name is at a zone cut or below it: this is the cut.
    Cut(&'a Name, &'a Owner),
    /// The name is below an owner with a DNAME: this is the owner (RFC 6672 2.3).
    Redirect(&'a Name, &'a Owner),
    /// The name itself.
    Found(&'a Name, &'a Owner),
    /// The name does not exist; this wildcard stands for it.
    Wildcard(&'a Name, &'a Owner),
    /// Nothing, but there are names below it: an empty non-terminal, or a wildcard that is one.
    Empty,
    /// The name does not exist.
    NameError,
}

impl Zone {
    /// Looks a name up.
    pub fn lookup(&self, name: &Name) -> Lookup<'_> {
        if !name.is_at_or_below(&self.origin) {
            return Lookup::Outside;
        }
        if let Some(above) = self.hidden_by(name) {
            return above;
        }
        if let Some((name, owner)) = self.owners.get_key_value(name) {
            return Lookup::Found(name, owner);
        }
        if self.has_below(name) {
            return Lookup::Empty;
        }
        // RFC 4592 3.3.1: only the wildcard right below the closest encloser counts.
        let mut encloser = name.parent();
        while let Some(name) = encloser.take_if(|name| !self.exists(name)) {
            encloser = name.parent();
        }
        let wildcard = encloser.and_then(|encloser| encloser.child(b"*"));
        match wildcard {
            Some(wildcard) => match self.owners.get_key_value(&wildcard) {
                // RFC 4592 4.2 leaves open what NS records of a wildcard mean: here they are data like any other.
                Some((name, owner)) => Lookup::Wildcard(name, owner),
                None if self.has_below(&wildcard) => Lookup::Empty,
                None => Lookup::NameError,
            },
            None => Lookup::NameError,
        }
    }

    /// Whether a name exists, if only because names below it do (RFC 4592 2.2.2).
    fn exists(&self, name: &Name) -> bool {
        self.owners.contains_key(name) || self.has_below(name)
    }

    fn has_below(&self, name: &Name) -> bool {
        // In canonical order the names below a name come right after it.
        let after = (std::ops::Bound::Excluded(name), std::ops::Bound::Unbounded);
        self.owners
            .range(after)
            .next()
            .is_some_and(|(next, _)| next.is_at_or_below(name))
    }

    /// The highest cut at a name or above it, or DNAME above it: what is there decides.
    fn hidden_by(&self, name: &Name) -> Option<Lookup<'_>> {
        let mut highest = None;
        let mut at = Some(name.clone());
        while let Some(above) = at.filter(|above| above.is_at_or_below(&self.origin)) {
            if let Some((owner_name, owner)) = self.owners.get_key_value(&above) {
                if above != self.origin && owner.rrsets.contains_key(&RecordType::NS) {
                    highest = Some(Lookup::Cut(owner_name, owner));
                } else if above != *name && owner.rrsets.contains_key(&RecordType::DNAME) {
                    highest = Some(Lookup::Redirect(owner_name, owner));
                }
            }
            at = above.parent();
        }
        highest
    }
}
