//! Finding what answers a query: one probe for a name that exists, a search upwards for one that does not.

use super::Image;
use super::names::{NONE, OwnerKind};
use super::tail::Entry;
use crate::wire::code::RecordType;
use crate::wire::query::{HEADER, LABELS_MAX, LabelStarts, Parsed};

/// What answers a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// The entry.
    Entry(u32),
    /// The name is below a DNAME: the entry holds that, and the alias that follows from it is to be made.
    Redirect(u32),
    /// The name exists, the type does not.
    NoData,
    /// The name does not exist.
    NameError,
    /// No zone here has the name.
    NotOurs,
    /// The zone could not be loaded.
    Failed,
}

/// Where a query's answer is.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    /// What it is.
    pub case: Case,
    /// The owner that answers: the name itself, the wildcard, the cut, or the closest encloser of a name error.
    pub owner: u32,
    /// How many octets the question's name is longer than the one that the tail was made for.
    pub shift: u16,
}

impl Image {
    /// Finds what answers a query.
    #[inline]
    pub fn find(&self, parsed: &Parsed, bytes: &[u8]) -> Found {
        match self.names.find(parsed.hash, parsed.name(bytes)) {
            Some(id) => self.at_owner(id, parsed),
            None => self.below_encloser(parsed, bytes),
        }
    }

    #[inline]
    fn at_owner(&self, id: u32, parsed: &Parsed) -> Found {
        let owner = self.names.owner(id);
        let found = |case, owner, shift| Found { case, owner, shift };
        match owner.kind {
            OwnerKind::Node | OwnerKind::Redirect => {
                if parsed.qtype == RecordType::DS && owner.above != NONE {
                    return self.at_owner(owner.above, parsed);
                }
                match self.entry(id, parsed.qtype) {
                    Some(entry) => found(Case::Entry(entry), id, 0),
                    None => found(Case::NoData, id, self.beyond_origin(owner.zone, parsed)),
                }
            }
            // RFC 4035 3.1.4.1: the parent answers for DS, the child for all else.
            OwnerKind::Cut if parsed.qtype == RecordType::DS => match self.entry(id, parsed.qtype) {
                Some(entry) if self.entries[entry as usize].rtype == RecordType::DS => found(Case::Entry(entry), id, 0),
                _ => found(Case::NoData, id, self.beyond_origin(owner.zone, parsed)),
            },
            OwnerKind::Cut => found(self.referral(id), id, 0),
            OwnerKind::Failed => found(Case::Failed, id, 0),
        }
    }

    /// RFC 1034 4.3.2, 3c, with RFC 4592: the deepest name above it that exists decides. Searched from the depth of the
    /// deepest owner, so that a name of many labels costs no more than one of few.
    #[cold]
    fn below_encloser(&self, parsed: &Parsed, bytes: &[u8]) -> Found {
        let name = parsed.name(bytes);
        let starts = LabelStarts::of(name);
        let labels = starts.count();
        let shallowest = labels.saturating_sub(self.names.depth).max(1);
        let mut hashes = [0u64; LABELS_MAX + 1];
        let mut hash = self.names.key.root();
        hashes[labels] = hash;
        for label in (shallowest..labels).rev() {
            hash = self.names.key.child(hash, bytes, HEADER + starts.start(label));
            hashes[label] = hash;
        }
        for (label, hash) in hashes.iter().enumerate().take(labels + 1).skip(shallowest) {
            let start = starts.start(label);
            if let Some(id) = self.names.find(*hash, name.get(start..).unwrap_or_default()) {
                return self.at_encloser(id, start, parsed);
            }
        }
        Found {
            case: Case::NotOurs,
            owner: NONE,
            shift: 0,
        }
    }

    /// `offset` is where the closest encloser's name starts in the question's.
    fn at_encloser(&self, id: u32, offset: usize, parsed: &Parsed) -> Found {
        let owner = self.names.owner(id);
        match owner.kind {
            OwnerKind::Failed => Found {
                case: Case::Failed,
                owner: id,
                shift: 0,
            },
            OwnerKind::Cut => Found {
                case: self.referral(id),
                owner: id,
                shift: offset as u16,
            },
            OwnerKind::Redirect => Found {
                case: Case::Redirect(owner.entries + u32::from(owner.entry_count)),
                owner: id,
                shift: offset as u16,
            },
            OwnerKind::Node => {
                let beyond_origin = self.beyond_origin(owner.zone, parsed);
                if owner.wildcard == NONE {
                    return Found {
                        case: Case::NameError,
                        owner: id,
                        shift: beyond_origin,
                    };
                }
                let id = owner.wildcard;
                match self.entry(id, parsed.qtype) {
                    // The tail was made for `*` in the place of what the question has.
                    Some(entry) => Found {
                        case: Case::Entry(entry),
                        owner: id,
                        shift: (offset - 2) as u16,
                    },
                    None => Found {
                        case: Case::NoData,
                        owner: id,
                        shift: beyond_origin,
                    },
                }
            }
        }
    }

    /// The entry of a type at an owner, or the one for all other types.
    #[inline]
    fn entry(&self, id: u32, qtype: RecordType) -> Option<u32> {
        let owner = self.names.owner(id);
        let first = owner.entries as usize;
        let entries = &self.entries[first..first + usize::from(owner.entry_count)];
        let place = entries
            .iter()
            .position(|entry| entry.rtype == qtype || entry.rtype.0 == 0)?;
        if entries[place].rtype != qtype && qtype.is_of_aliases() && is_alias(entries) {
            return None;
        }
        Some((first + place) as u32)
    }

    /// The entry of a cut for all but DS: its last.
    fn referral(&self, id: u32) -> Case {
        let owner = self.names.owner(id);
        Case::Entry(owner.entries + u32::from(owner.entry_count) - 1)
    }

    #[inline]
    fn beyond_origin(&self, zone: u32, parsed: &Parsed) -> u16 {
        (usize::from(parsed.name_length) - self.zones[zone as usize].origin.wire().len()) as u16
    }
}

/// Whether these are the entries of an owner of a CNAME.
fn is_alias(entries: &[Entry]) -> bool {
    entries.iter().any(|entry| entry.rtype == RecordType::CNAME)
}
