//! From what a zone file says to a zone: names made absolute, record data to wire form, owners in canonical order.
//!
//! Here each owner is read by itself; [`together`], [`targets`] and [`circles`] then hold the rules that
//! concern several records, and [`start`] makes the SOA.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::model::{Owner, RRset, Steer, SteerTtl, Zone};
use super::roots::Roots;
use super::{circles, start, targets, together};
use crate::spec::file::ZoneSpec;
use crate::spec::reader::did_you_mean;
use crate::spec::records::{OwnerSpec, RRsetSpec, SteerSpec};
use crate::spec::value::{Text, TtlSpec};
use crate::spec::{Faults, Span};
use crate::wire::code::RecordType;
use crate::wire::name::Name;
use crate::wire::rdata;

/// The TTL of records when nothing says otherwise: 5 minutes.
pub const TTL_DEFAULT: u32 = 300;

/// The most octets of a message (RFC 1035 4.2.2).
pub(super) const MESSAGE_MAX: usize = 65_535;

/// What every response carries beside its records: header and OPT (RFC 1035 4.1.1, RFC 6891 6.1.2).
pub(super) const MESSAGE_FIXED: usize = 12 + 11;

/// What a record takes beside its data when its owner is compressed to a pointer: 2 + type, class, TTL and length.
pub(super) const RECORD_FIXED: usize = 12;

/// How hard a zone is held to what it could be served without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// What makes no sense is an error.
    Strict,
    /// It is a warning, as in a master file: `[zone] lenient = true`.
    Lenient,
}

impl Hold {
    /// Tells of it.
    pub(super) fn odd(self, span: &Span, message: String, hint: Option<String>, faults: &mut Faults) {
        match self {
            Hold::Strict => faults.error_hint(span, message, hint),
            Hold::Lenient => faults.warning_hint(span, message, hint),
        }
    }
}

/// An owner of the zone under check, with what the rules ask about it.
#[derive(Debug)]
pub(super) struct Placed<'s> {
    /// As it is written.
    pub(super) spec: &'s OwnerSpec,
    /// As it is served.
    pub(super) owner: Owner,
    /// The names that its NS, CNAME, MX and SRV records point to.
    pub(super) targets: Vec<Target>,
    /// Whether it is steered by what may answer with a CNAME.
    pub(super) by_host: bool,
}

/// A name that a record points to.
#[derive(Debug)]
pub(super) struct Target {
    /// The type of the record.
    pub(super) rtype: RecordType,
    /// The name.
    pub(super) name: Name,
    /// As it is written; `None` if only octets are (RFC 3597 5).
    pub(super) written: Option<String>,
    /// Where its record is written.
    pub(super) span: Span,
}

impl Placed<'_> {
    /// Whether records of a type are written here, be they faulty.
    pub(super) fn has(&self, rtype: RecordType) -> bool {
        self.rrset(rtype).is_some()
    }

    /// The records of a type, as written.
    pub(super) fn rrset(&self, rtype: RecordType) -> Option<&RRsetSpec> {
        self.spec.rrsets.iter().find(|rrset| rrset.rtype.value == rtype)
    }

    /// Whether a query for a name here would be answered by an alias.
    pub(super) fn is_alias(&self) -> bool {
        self.has(RecordType::CNAME) || self.by_host
    }
}

/// The owners of the zone under check, in canonical order.
#[derive(Debug)]
pub(super) struct Owners<'s> {
    /// The name at the top.
    pub(super) origin: &'s Name,
    /// How hard they are held.
    pub(super) hold: Hold,
    /// By name.
    pub(super) placed: BTreeMap<Name, Placed<'s>>,
    /// Whether any owner may be missing here because of a fault.
    pub(super) incomplete: bool,
    /// The first labels of owners that are missing here because their names are faulty, in lower case; `@` is the apex.
    hidden: BTreeSet<String>,
}

impl Owners<'_> {
    /// Whether this name may be that of an owner which a fault hides.
    pub(super) fn may_hide(&self, name: &Name) -> bool {
        let apex = name == self.origin && self.hidden.contains("@");
        self.incomplete || apex || self.hidden.contains(&first_label(&name.to_string()))
    }
}

/// The first label of a name as written, in lower case.
fn first_label(name: &str) -> String {
    name.split('.').next().unwrap_or_default().to_ascii_lowercase()
}

/// Checks a zone. `serial` counts unless the file gives one. What comes back may be served only if there was no error.
pub fn check(spec: &ZoneSpec, origin: &Name, serial: u32, roots: &Roots, faults: &mut Faults) -> Zone {
    let owners = place(spec, origin, roots, faults);
    together::check(&owners, faults);
    start::check_apex(spec, &owners, faults);
    targets::check(&owners, faults);
    circles::check(&owners, roots, faults);
    let soa = start::soa(spec, &owners, serial, faults);
    let mut zone = Zone {
        origin: origin.clone(),
        path: spec.source.path.clone(),
        owners: owners
            .placed
            .into_iter()
            .map(|(name, placed)| (name, placed.owner))
            .collect(),
        soa,
    };
    let record = RRset {
        ttl: zone.soa.ttl,
        rdata: vec![zone.soa.rdata()],
    };
    zone.owners
        .entry(origin.clone())
        .or_default()
        .rrsets
        .insert(RecordType::SOA, record);
    zone
}

/// Reads every owner by itself.
fn place<'s>(spec: &'s ZoneSpec, origin: &'s Name, roots: &Roots, faults: &mut Faults) -> Owners<'s> {
    let mut owners = Owners {
        origin,
        hold: match spec.lenient {
            true => Hold::Lenient,
            false => Hold::Strict,
        },
        placed: BTreeMap::new(),
        incomplete: spec.records.poisoned,
        hidden: spec.records.hidden.iter().map(|key| first_label(key)).collect(),
    };
    let ttl = spec.ttl.unwrap_or(TTL_DEFAULT);
    for owner in &spec.records.owners {
        let Some(name) = owner_name(owner, origin, faults) else {
            owners.hidden.insert(first_label(&owner.key.value));
            continue;
        };
        match owners.placed.entry(name) {
            Entry::Occupied(other) => twice(owner, other.get().spec, faults),
            Entry::Vacant(free) => {
                let reader = OwnerReader {
                    owner,
                    name: free.key().clone(),
                    origin,
                    ttl,
                    hold: owners.hold,
                };
                let placed = reader.read(roots, faults);
                free.insert(placed);
            }
        }
    }
    owners
}

fn owner_name(owner: &OwnerSpec, origin: &Name, faults: &mut Faults) -> Option<Name> {
    let (key, span) = (&owner.key.value, &owner.key.span);
    match Name::parse(key, Some(origin)) {
        Err(error) => {
            faults.error(span, format!("`{key}` is no owner: {error}"));
            None
        }
        Ok(name) if !name.is_at_or_below(origin) => {
            faults.error_hint(
                span,
                format!("`{key}` is outside the zone {origin}"),
                "a name that ends in a dot is absolute; without the dot it is relative to the origin".to_owned(),
            );
            None
        }
        Ok(name) => Some(name),
    }
}

fn twice(owner: &OwnerSpec, other: &OwnerSpec, faults: &mut Faults) {
    let (line, column) = faults.source().line_column(other.key.span.start);
    let message = format!("`{}` is the same owner as `{}`", owner.key.value, other.key.value);
    faults.error_hint(
        &owner.key.span,
        message,
        format!("the other is at {line}:{column}: write both as one"),
    );
}

/// What is needed to read one owner.
struct OwnerReader<'s> {
    owner: &'s OwnerSpec,
    name: Name,
    origin: &'s Name,
    /// The default.
    ttl: u32,
    hold: Hold,
}

impl<'s> OwnerReader<'s> {
    fn read(&self, roots: &Roots, faults: &mut Faults) -> Placed<'s> {
        let spec = self.owner;
        let mut placed = Placed {
            spec,
            owner: Owner::default(),
            targets: Vec::new(),
            by_host: false,
        };
        if spec.rrsets.is_empty() && spec.steer.is_none() && !spec.poisoned {
            faults.error_hint(
                &spec.key.span,
                format!("`{}` has no records", spec.key.value),
                "give it a type, or `steer`".to_owned(),
            );
        }
        self.range_needs_steer(faults);
        for rrset in &spec.rrsets {
            self.rrset(rrset, &mut placed, faults);
        }
        if let Some(steer) = &spec.steer {
            self.steer(steer, roots, &mut placed, faults);
        }
        placed
    }

    fn range_needs_steer(&self, faults: &mut Faults) {
        let Some(ttl) = &self.owner.ttl else { return };
        if matches!(ttl.value, TtlSpec::Range { .. }) && self.owner.steer.is_none() && !self.owner.poisoned {
            faults.error_hint(
                &ttl.span,
                format!(
                    "`{}` is not steered: its TTL cannot follow health",
                    self.owner.key.value
                ),
                "write one duration, as in ttl = \"5m\"".to_owned(),
            );
        }
    }

    fn rrset(&self, spec: &RRsetSpec, placed: &mut Placed<'s>, faults: &mut Faults) {
        let rtype = spec.rtype.value;
        let mut data: Vec<Box<[u8]>> = Vec::with_capacity(spec.data.len());
        let mut seen = BTreeSet::new();
        for text in &spec.data {
            let Some(octets) = self.rdata(spec, text, faults) else {
                continue;
            };
            if !seen.insert(normal(rtype, &octets)) {
                faults.error(
                    &text.span,
                    format!("`{}` has this {rtype} record twice", self.owner.key.value),
                );
                continue;
            }
            if has_idle_parameters(rtype, &octets) {
                let hint = "give a priority of 1 or more to a record with parameters (RFC 9460 2.4.2)".to_owned();
                let message = "priority 0 makes the record an alias, whose parameters everyone ignores";
                faults.warning_hint(&text.span, message, hint);
            }
            if let Some(name) = target(rtype, &octets) {
                placed.targets.push(Target {
                    rtype,
                    name,
                    written: written(&text.text),
                    span: text.span.clone(),
                });
            }
            data.push(octets);
        }
        let size: usize = data.iter().map(|octets| octets.len() + RECORD_FIXED).sum();
        if MESSAGE_FIXED + self.name.wire().len() + 4 + size > MESSAGE_MAX {
            let message = format!(
                "{rtype} of `{}` does not fit into a message of 65,535 octets",
                self.owner.key.value
            );
            self.hold.odd(&spec.rtype.span, message, None, faults);
        }
        let at_owner = self.owner.ttl.as_ref().and_then(|ttl| match ttl.value {
            TtlSpec::Fixed(seconds) => Some(seconds),
            TtlSpec::Range { .. } => None,
        });
        let ttl = spec.ttl.or(at_owner).unwrap_or(self.ttl);
        placed.owner.rrsets.insert(rtype, RRset { ttl, rdata: data });
    }

    fn rdata(&self, spec: &RRsetSpec, text: &Text, faults: &mut Faults) -> Option<Box<[u8]>> {
        if spec.literal {
            return Some(rdata::txt(&text.text));
        }
        match rdata::parse(spec.rtype.value, &text.text, self.origin) {
            Ok(octets) => Some(octets),
            Err(error) => {
                faults.error_hint(&text.place(error.offset), error.message, error.hint);
                None
            }
        }
    }

    fn steer(&self, steer: &SteerSpec, roots: &Roots, placed: &mut Placed<'s>, faults: &mut Faults) {
        let name = &steer.name.value;
        let Some(root) = roots.known.get(name) else {
            if !roots.incomplete {
                let hint = did_you_mean(name, roots.known.keys().map(String::as_str));
                faults.error_hint(&steer.name.span, format!("no pool or policy is called `{name}`"), hint);
            }
            return;
        };
        placed.by_host = root.answers_by_host == Some(true);
        let ttl = steer.ttl.or(self.owner.ttl.as_ref().map(|ttl| ttl.value));
        placed.owner.steer = Some(Box::new(Steer {
            root: root.full_name.clone(),
            ttl: ttl.map(SteerTtl::from),
        }));
    }
}

impl From<TtlSpec> for SteerTtl {
    fn from(spec: TtlSpec) -> Self {
        match spec {
            TtlSpec::Fixed(seconds) => SteerTtl::fixed(seconds),
            TtlSpec::Range { min, max } => SteerTtl { min, max },
        }
    }
}

/// The octets before the one name that data of a type holds, for those types that the checks look into.
fn name_offset(rtype: RecordType) -> Option<usize> {
    match rtype {
        RecordType::NS | RecordType::CNAME | RecordType::PTR | RecordType::DNAME => Some(0),
        RecordType::MX => Some(2),
        RecordType::SRV => Some(6),
        _ => None,
    }
}

/// The name that a record points to, for the types whose targets are checked.
fn target(rtype: RecordType, octets: &[u8]) -> Option<Name> {
    let checked = matches!(
        rtype,
        RecordType::NS | RecordType::CNAME | RecordType::MX | RecordType::SRV
    );
    let offset = name_offset(rtype).filter(|_| checked)?;
    Name::from_wire(octets.get(offset..)?)
}

/// Whether a record that makes an alias has parameters all the same.
fn has_idle_parameters(rtype: RecordType, octets: &[u8]) -> bool {
    let is_alias = matches!(rtype, RecordType::SVCB | RecordType::HTTPS) && octets.starts_with(&[0, 0]);
    is_alias
        && rdata::names(rtype, octets)
            .iter()
            .any(|target| octets.len() > 2 + target.wire().len())
}

/// The name at the end of a record in presentation form.
fn written(text: &str) -> Option<String> {
    let is_name = !text.trim_start().starts_with("\\#");
    is_name.then(|| text.split_whitespace().next_back().map(str::to_owned))?
}

/// The form of a record's data by which two are one: names in them differ in case only.
pub(super) fn normal(rtype: RecordType, octets: &[u8]) -> Vec<u8> {
    let mut normal = octets.to_vec();
    if let Some(name) = name_offset(rtype).and_then(|offset| normal.get_mut(offset..)) {
        name.make_ascii_lowercase();
    }
    normal
}
