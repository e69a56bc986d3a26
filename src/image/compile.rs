//! From checked zones to an image: each owner and type is answered once, and what was written is kept.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use super::limiter::Limiter;
use super::names::{NONE, NamesBuilder, OwnerKind};
use super::repeat::RepeatAt;
use super::tail::{Entry, Shape, Tail, Tails};
use super::tally;
use super::{Image, Options, SteeredBy, ZoneInfo};
use crate::policy::Family;
use crate::policy::model::{Fallback, Node, NodeId, NodeKind, Steering, Target};
use crate::policy::tree::Forest;
use crate::wire::code::RecordType;
use crate::wire::name::Name;
use crate::wire::query::NameKey;
use crate::wire::response::{Owner as RecordOwner, Writer};
use crate::zone::lookup::Lookup;
use crate::zone::model::{Owner, Steer, Zone};
use crate::zone::sections::{CHAIN_MAX, Reach, Sections, compose, redirected};

/// A type that no record has: what it is answered is the answer for every type that an owner lacks.
const NO_TYPE: RecordType = RecordType(0);

impl Image {
    /// Compiles zones. `failed` are the origins of zones that could not be loaded: SERVFAIL at and below. `random` keys the
    /// index of names.
    pub fn compile(zones: &[Zone], failed: &[Name], forest: Forest, options: Options, random: [u64; 2]) -> Image {
        let hosts = reaches_host(&forest.steering);
        let owners: usize = zones.iter().map(|zone| zone.owners.len()).sum();
        let origins = zones.iter().map(|zone| &zone.origin).chain(failed).cloned().collect();
        let mut compiler = Compiler {
            forest: &forest,
            hosts: &hosts,
            zones: (0..)
                .zip(zones)
                .map(|(index, zone)| (zone.origin.clone(), (index, zone)))
                .collect(),
            origins,
            // Empty non-terminals come on top: that many more are seldom.
            names: NamesBuilder::new(NameKey::new(random), owners + owners / 4 + failed.len()),
            entries: Vec::new(),
            tails: Tails::default(),
            steers: Vec::new(),
            steer_ids: HashMap::new(),
            tally: tally::Builder::default(),
            apexes: BTreeMap::new(),
            repeats: Vec::new(),
        };
        let infos: Vec<ZoneInfo> = zones
            .iter()
            .enumerate()
            .map(|(index, zone)| compiler.zone(index as u32, zone))
            .collect();
        for origin in failed {
            compiler
                .names
                .add(origin.to_lowercase().wire(), OwnerKind::Failed, NONE);
        }
        compiler.link_parents();
        let Compiler {
            names,
            entries,
            tails,
            steers,
            repeats,
            tally,
            ..
        } = compiler;
        let tally = Arc::new(tally.finish(options.threads));
        let limiter = options.rate_limit.clone().map(|limits| Limiter::new(limits, random));
        Image {
            names: names.finish(),
            entries: entries.into(),
            tails,
            repeats: repeats.into(),
            zones: infos.into(),
            failed: failed.into(),
            steers: steers.into(),
            forest,
            options,
            limiter,
            tally,
        }
    }
}

struct Compiler<'a> {
    forest: &'a Forest,
    hosts: &'a [bool],
    /// By origin, with their numbers.
    zones: HashMap<Name, (u32, &'a Zone)>,
    /// Of every zone: what is at or below another zone's origin is answered from there.
    origins: BTreeSet<Name>,
    names: NamesBuilder,
    entries: Vec<Entry>,
    tails: Tails,
    steers: Vec<SteeredBy>,
    steer_ids: HashMap<(NodeId, u32, u32, tally::Place), u32>,
    tally: tally::Builder,
    apexes: BTreeMap<Name, u32>,
    repeats: Vec<RepeatAt>,
}

/// A name on the way from the apex to an owner.
struct Passed {
    name: Name,
    /// Its number; none if it is another zone's.
    id: Option<u32>,
}

impl<'a> Compiler<'a> {
    fn zone(&mut self, index: u32, zone: &'a Zone) -> ZoneInfo {
        let mut path = Vec::new();
        // Of owners that hide what is below them the last: in canonical order that comes right after.
        let mut cover: Option<&Name> = None;
        for (name, owner) in &zone.owners {
            if cover.is_some_and(|cover| name.is_at_or_below(cover)) {
                continue; // Glue: a query for it is referred. Or a DNAME redirects it.
            }
            let kind = match &owner.rrsets {
                rrsets if rrsets.contains_key(&RecordType::NS) && *name != zone.origin => OwnerKind::Cut,
                rrsets if rrsets.contains_key(&RecordType::DNAME) => OwnerKind::Redirect,
                _ => OwnerKind::Node,
            };
            if kind != OwnerKind::Node {
                cover = Some(name);
            }
            self.empty_non_terminals(zone, index, name, &mut path);
            let id = self.owner(zone, index, (name, owner), kind);
            self.pass(&mut path, name.clone(), id);
        }
        if let Some(apex) = path.first().and_then(|apex| apex.id) {
            self.apexes.insert(zone.origin.clone(), apex);
        }
        ZoneInfo {
            origin: zone.origin.clone(),
            serial: zone.soa.serial,
            owners: zone.owners.len(),
            negative: self.negative(zone),
        }
    }

    /// Adds an owner; gives its number, unless its name is another zone's.
    fn owner(
        &mut self,
        zone: &'a Zone,
        index: u32,
        (name, owner): (&'a Name, &'a Owner),
        kind: OwnerKind,
    ) -> Option<u32> {
        if self.served_elsewhere(zone, name) {
            return None;
        }
        let lower = name.to_lowercase();
        let id = self.names.add(lower.wire(), kind, index);
        self.entries_of(zone, name, owner, id);
        if kind == OwnerKind::Cut && name.is_wildcard() {
            // RFC 4592 4.2 leaves open what NS records of a wildcard mean. Its own name is a cut; for others they are data.
            let synthesised = self.names.add_unlisted(lower.wire(), OwnerKind::Node, index);
            self.entries_of(zone, name, owner, synthesised);
            self.names.owner(id).wildcard = synthesised;
        }
        Some(id)
    }

    /// Whether a name belongs to a zone below this one.
    fn served_elsewhere(&self, zone: &Zone, name: &Name) -> bool {
        // Most zones have none below them; it would come right after in the order of names.
        let after = (Bound::Excluded(&zone.origin), Bound::Unbounded);
        let next = self.origins.range(after).next();
        if !next.is_some_and(|next| next.is_at_or_below(&zone.origin)) {
            return false;
        }
        let mut at = Some(name.clone());
        while let Some(name) = at.filter(|name| *name != zone.origin) {
            if self.origins.contains(&name) {
                return true;
            }
            at = name.parent();
        }
        false
    }

    /// The names between an owner and the origin exist too (RFC 4592 2.2.2). Afterwards `path` leads from the apex to the owner.
    fn empty_non_terminals(&mut self, zone: &Zone, index: u32, name: &Name, path: &mut Vec<Passed>) {
        while path.pop_if(|passed| !name.is_at_or_below(&passed.name)).is_some() {}
        let top = path.last().map_or(&zone.origin, |passed| &passed.name);
        let mut missing = Vec::new();
        let mut at = name.parent();
        while let Some(above) = at.filter(|above| above != top && above.is_at_or_below(top)) {
            at = above.parent();
            missing.push(above);
        }
        for name in missing.into_iter().rev() {
            let id = match self.served_elsewhere(zone, &name) {
                true => None,
                false => Some(self.names.add(name.to_lowercase().wire(), OwnerKind::Node, index)),
            };
            self.pass(path, name, id);
        }
    }

    /// Adds a name to the path; if it is a wildcard, tells it to the name it is below.
    fn pass(&mut self, path: &mut Vec<Passed>, name: Name, id: Option<u32>) {
        let wildcard = id.filter(|_| name.is_wildcard());
        if let (Some(id), Some(parent)) = (wildcard, path.last().and_then(|parent| parent.id)) {
            let line = self.names.owner(id);
            let synthesised = if line.kind == OwnerKind::Cut { line.wildcard } else { id };
            self.names.owner(parent).wildcard = synthesised;
        }
        path.push(Passed { name, id });
    }

    /// DS records are the parent's (RFC 4035 3.1.4.1): where a zone above is served too, what that says is reached from the apex.
    fn link_parents(&mut self) {
        for (apex, id) in std::mem::take(&mut self.apexes) {
            let above = apex.parent().and_then(|above| self.origin_of(&above));
            let Some(&(index, zone)) = above.and_then(|origin| self.zones.get(&origin)) else {
                continue;
            };
            let lookup = zone.lookup(&apex);
            let kind = match lookup {
                Lookup::Cut(cut, _) if *cut == apex => OwnerKind::Cut,
                _ => OwnerKind::Node,
            };
            let above = self.names.add_unlisted(apex.to_lowercase().wire(), kind, index);
            let entry = self.entry(zone, &apex, lookup, RecordType::DS, Shape::Exact);
            let line = self.names.owner(above);
            (line.entries, line.entry_count) = (self.entries.len() as u32, 1);
            self.entries.push(entry);
            self.names.owner(id).above = above;
        }
    }

    fn entries_of(&mut self, zone: &'a Zone, name: &'a Name, owner: &'a Owner, id: u32) {
        let kind = self.names.owner(id).kind;
        let lookup = match kind {
            OwnerKind::Cut => Lookup::Cut(name, owner),
            _ => Lookup::Found(name, owner),
        };
        let (shape, types): (Shape, BTreeSet<RecordType>) = match lookup {
            Lookup::Cut(..) => {
                let ds = owner.rrsets.contains_key(&RecordType::DS).then_some(RecordType::DS);
                (Shape::Below, ds.into_iter().collect())
            }
            _ => (
                if name.is_wildcard() {
                    Shape::Wildcard
                } else {
                    Shape::Exact
                },
                self.types(name, owner),
            ),
        };
        let default = matches!(lookup, Lookup::Cut(..))
            || owner.rrsets.contains_key(&RecordType::CNAME)
            || owner.steer.as_ref().is_some_and(|steer| self.reach(steer).host);
        let first = self.entries.len();
        for rtype in types.into_iter().chain(default.then_some(NO_TYPE)) {
            let entry = self.entry(zone, name, lookup, rtype, shape);
            self.entries.push(entry);
        }
        let count = self.entries.len() - first;
        let line = self.names.owner(id);
        line.entries = first as u32;
        line.entry_count = count as u16;
        if line.kind == OwnerKind::Redirect {
            let entry = self.redirect(name, owner);
            self.entries.push(entry);
        }
    }

    /// The DNAME as it is sent for names below it; the CNAME that follows depends on the name.
    fn redirect(&mut self, name: &Name, owner: &Owner) -> Entry {
        let mut writer = Writer::after_question(name, 0);
        let mut sections = Sections::empty();
        if let Some(rrset) = owner.rrsets.get(&RecordType::DNAME) {
            for target in rrset.rdata.iter().take(1) {
                writer.record(RecordOwner::Name(name), RecordType::DNAME, rrset.ttl, target);
                sections.answers += 1;
            }
        }
        Entry::new(
            RecordType::DNAME,
            &sections,
            &writer,
            NONE,
            Shape::Below,
            &mut self.tails,
        )
    }

    /// The types that have an answer of their own at an owner, through its aliases.
    fn types(&self, name: &'a Name, owner: &'a Owner) -> BTreeSet<RecordType> {
        let mut types = BTreeSet::from([RecordType::ANY]);
        let mut lookup = Lookup::Found(name, owner);
        let mut passed: Option<Name> = None;
        for _ in 0..=CHAIN_MAX {
            let target = match lookup {
                Lookup::Found(_, owner) | Lookup::Wildcard(_, owner) => {
                    types.extend(owner.rrsets.keys());
                    if let Some(steer) = &owner.steer {
                        let reach = self.reach(steer);
                        // What a host answers for all types it does not for a family that the root lacks: that is NODATA, whatever its fallback.
                        types.extend((reach.ipv4 || reach.host).then_some(RecordType::A));
                        types.extend((reach.ipv6 || reach.host).then_some(RecordType::AAAA));
                    }
                    let alias = owner.rrsets.get(&RecordType::CNAME);
                    alias.and_then(|alias| Name::from_wire(alias.rdata.first()?))
                }
                Lookup::Redirect(above, owner) => {
                    let redirection = owner.rrsets.get(&RecordType::DNAME);
                    let name = passed.as_ref().unwrap_or(name);
                    redirection.and_then(|dname| redirected(name, above, dname.rdata.first()?))
                }
                // The one type that is not referred.
                Lookup::Cut(..) => {
                    types.insert(RecordType::DS);
                    None
                }
                _ => None,
            };
            let Some(target) = target else { break };
            let Some(zone) = self.zone_of(&target) else { break };
            // Of the name of an apex DS may be the parent's.
            types.extend((zone.origin == target).then_some(RecordType::DS));
            lookup = zone.lookup(&target);
            passed = Some(target);
        }
        types
    }

    /// The zone that has a name, if it is served here.
    fn zone_of(&self, name: &Name) -> Option<&'a Zone> {
        let (_, zone) = self.zones.get(&self.origin_of(name)?)?;
        Some(zone)
    }

    /// The origin of the zone that has a name, be it one that could not be loaded.
    fn origin_of(&self, name: &Name) -> Option<Name> {
        let mut above = std::iter::successors(Some(name.clone()), Name::parent);
        above.find(|name| self.origins.contains(name))
    }

    fn entry(&mut self, zone: &'a Zone, name: &Name, lookup: Lookup<'a>, rtype: RecordType, shape: Shape) -> Entry {
        let mut writer = Writer::after_question(name, usize::from(shape == Shape::Wildcard));
        let sections = compose(
            zone,
            name,
            lookup,
            rtype,
            &|steer| self.reach(steer),
            &|name| self.zone_of(name),
            &mut writer,
        );
        let steer = sections
            .steer
            .map_or(NONE, |steered| self.steer(steered.steer, steered.record));
        for repeat in &sections.repeats {
            let hash = self.names.hash(repeat.name.to_lowercase().wire());
            let (answers, length) = (repeat.answers, repeat.end as u16);
            self.repeats.push(RepeatAt {
                entry: self.entries.len() as u32,
                hash,
                answers,
                length,
            });
        }
        Entry::new(rtype, &sections, &writer, steer, shape, &mut self.tails)
    }

    fn reach(&self, steer: &Steer) -> Reach {
        let Some(root) = self.forest.steering.by_name.get(&steer.root) else {
            return Reach::default();
        };
        Reach {
            ipv4: self.forest.has_family(*root, Family::Ipv4),
            ipv6: self.forest.has_family(*root, Family::Ipv6),
            host: self.hosts[root.0 as usize],
        }
    }

    /// The number of what steers an owner, whose decisions are counted as this record's.
    fn steer(&mut self, steer: &Steer, record: &Name) -> u32 {
        let Some(&root) = self.forest.steering.by_name.get(&steer.root) else {
            return NONE;
        };
        let ttl = self.forest.steering.ttl(steer, root);
        let tallied = self.tally.place(record, root, self.forest);
        *self
            .steer_ids
            .entry((root, ttl.min, ttl.max, tallied))
            .or_insert_with(|| {
                let families = [Family::Ipv4, Family::Ipv6];
                self.steers.push(SteeredBy {
                    root,
                    ttl,
                    tallied,
                    has_family: families.map(|family| self.forest.has_family(root, family)),
                    by_subnet: families.map(|family| self.forest.depends_on_subnet(root, family)),
                    by_location: families.map(|family| self.forest.depends_on_location(root, family)),
                });
                self.steers.len() as u32 - 1
            })
    }

    /// The tail of every name error and NODATA of a zone: it fits any name below its origin.
    fn negative(&mut self, zone: &Zone) -> Tail {
        let mut writer = Writer::after_question(&zone.origin, 0);
        compose(
            zone,
            &zone.origin,
            Lookup::NameError,
            NO_TYPE,
            &|_| Reach::default(),
            &|_| None,
            &mut writer,
        );
        self.tails.keep(&writer, writer.position(), Shape::Below)
    }
}

/// For each node whether it can hand out host names. Members come before the policies that name them.
fn reaches_host(steering: &Steering) -> Vec<bool> {
    let is_host = |target: &Target| matches!(target, Target::Host(_));
    let mut below: Vec<bool> = Vec::with_capacity(steering.nodes.len());
    for node in &steering.nodes {
        below.push(match &node.kind {
            NodeKind::Pool(pool) => pool.backends.iter().any(|backend| is_host(&backend.target)),
            NodeKind::Policy(policy) => policy.members.iter().any(|member| below[member.node.0 as usize]),
        });
    }
    let by_fallback = |node: &Node| matches!(node.root.fallback, Fallback::Pool(pool) if below[pool.0 as usize]);
    steering
        .nodes
        .iter()
        .zip(&below)
        .map(|(node, below)| *below || by_fallback(node))
        .collect()
}
