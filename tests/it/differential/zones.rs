//! Random small zones as master files: names that collide, wildcards, cuts, aliases, redirections, empty non-terminals, binary labels.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use fastrand::Rng;

/// A name: its labels, leftmost first.
pub(crate) type Labels = Vec<Vec<u8>>;

/// What labels are drawn from: few, so that names meet. The weights are theirs.
const LABELS: [(&[u8], u32); 10] = [
    (b"a", 20),
    (b"b", 16),
    (b"c", 8),
    (b"*", 14),
    (b"ns", 6),
    (b"A", 3),
    (b"_x", 2),
    (b"\x00\xff.", 2),
    (b"**", 1),
    (&[b'x'; 63], 2),
];

/// A zone.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) origin: Labels,
    /// The master file.
    pub(crate) text: String,
    /// Owners and the names that data points to: what it pays to ask about.
    pub(crate) names: Vec<Labels>,
    /// Its owners on the wire, in lower case.
    pub(crate) owners: BTreeSet<Vec<u8>>,
}

/// Makes the zones of one world: some have a child that is served too, and sometimes there is the root.
/// Neither NSD nor Knot takes data below a DNAME: there is none.
pub(crate) fn world(rng: &mut Rng, count: usize, with_root: bool) -> Vec<Made> {
    let mut origins: Vec<Labels> = Vec::new();
    for index in 0..count {
        let origin = vec![format!("z{index}").into_bytes(), b"test".to_vec()];
        if rng.u32(0..3) == 0 {
            origins.push([vec![pick(rng, &LABELS[..3]).to_vec()], origin.clone()].concat());
        }
        origins.push(origin);
    }
    if with_root {
        origins.push(Labels::new());
    }
    let mut drafts: Vec<Draft> = Vec::new();
    for origin in &origins {
        let mut maker = Maker::new(rng, origin, &origins);
        maker.fill();
        drafts.push(maker.draft);
    }
    clear_below_redirections(&mut drafts, &origins);
    clear_below_cuts(&mut drafts, &origins);
    drafts.iter().map(Draft::made).collect()
}

/// Where a zone is delegated that is served too, there is nothing but what belongs to a delegation.
fn clear_below_cuts(drafts: &mut [Draft], origins: &[Labels]) {
    for draft in drafts {
        let is_cut = |origin: &&Labels| draft.records.get(*origin).is_some_and(|types| types.contains_key("NS"));
        let cuts: Vec<&Labels> = origins
            .iter()
            .filter(|origin| **origin != draft.origin)
            .filter(is_cut)
            .collect();
        for (owner, types) in &mut draft.records {
            if cuts.iter().any(|cut| owner.ends_with(cut)) {
                types.retain(|rtype, _| ["NS", "DS", "A", "AAAA"].contains(rtype));
            }
        }
    }
}

/// Of redirections above another zone and of data below the others, be it another zone's, there is nothing left.
fn clear_below_redirections(drafts: &mut [Draft], origins: &[Labels]) {
    let is_below = |name: &Labels, above: &Labels| name.len() > above.len() && name.ends_with(above);
    let mut redirections: Vec<Labels> = Vec::new();
    for draft in &mut *drafts {
        for (owner, types) in &mut draft.records {
            if origins.iter().any(|origin| is_below(origin, owner)) {
                types.remove("DNAME");
            }
            redirections.extend(types.contains_key("DNAME").then(|| owner.clone()));
        }
    }
    for draft in drafts {
        draft
            .records
            .retain(|owner, _| !redirections.iter().any(|above| is_below(owner, above)));
    }
}

/// A name in presentation form, absolute.
pub(crate) fn dotted(labels: &[Vec<u8>]) -> String {
    let mut text = String::new();
    for label in labels {
        for octet in label {
            match octet {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'*' => text.push(char::from(*octet)),
                _ => _ = write!(text, "\\{octet:03}"),
            }
        }
        text.push('.');
    }
    if labels.is_empty() {
        text.push('.');
    }
    text
}

/// A name on the wire, in lower case.
pub(crate) fn wire(labels: &[Vec<u8>]) -> Vec<u8> {
    let label = |label: &Vec<u8>| [&[label.len() as u8], &label.to_ascii_lowercase()[..]].concat();
    [labels.iter().flat_map(label).collect(), vec![0]].concat()
}

/// The octets that a name has on the wire.
pub(crate) fn length(labels: &[Vec<u8>]) -> usize {
    labels.iter().map(|label| label.len() + 1).sum::<usize>() + 1
}

/// A label.
pub(crate) fn label(rng: &mut Rng) -> Vec<u8> {
    pick(rng, &LABELS).to_vec()
}

/// One of some things, by weight.
pub(crate) fn pick<T: Copy>(rng: &mut Rng, among: &[(T, u32)]) -> T {
    let mut left = rng.u32(0..among.iter().map(|(_, weight)| weight).sum());
    for (thing, weight) in among {
        match left.checked_sub(*weight) {
            Some(rest) => left = rest,
            None => return *thing,
        }
    }
    among[0].0
}

fn lower(labels: &[Vec<u8>]) -> Labels {
    labels.iter().map(|label| label.to_ascii_lowercase()).collect()
}

/// What stands at a drawn name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Addresses,
    Text,
    Pointing,
    Odd,
    Large,
    Alias,
    Redirection,
    Cut,
}

const KINDS: [(Kind, u32); 8] = [
    (Kind::Addresses, 26),
    (Kind::Text, 8),
    (Kind::Pointing, 14),
    (Kind::Odd, 6),
    (Kind::Large, 2),
    (Kind::Alias, 22),
    (Kind::Redirection, 9),
    (Kind::Cut, 13),
];

/// A zone while it is made.
struct Draft {
    origin: Labels,
    /// By name in lower case, then by type: the TTL and the data.
    records: BTreeMap<Labels, BTreeMap<&'static str, (u32, BTreeSet<String>)>>,
    /// Owners as they are written.
    written: BTreeMap<Labels, Labels>,
    names: Vec<Labels>,
}

impl Draft {
    fn made(&self) -> Made {
        let mut text = String::new();
        let sets = self
            .records
            .iter()
            .flat_map(|(owner, types)| types.iter().map(move |set| (owner, set)));
        let (first, rest): (Vec<_>, Vec<_>) = sets.partition(|(_, (rtype, _))| **rtype == "SOA");
        for (owner, (rtype, (ttl, data))) in first.into_iter().chain(rest) {
            for data in data {
                let _ = writeln!(text, "{} {ttl} IN {rtype} {data}", dotted(&self.written[owner]));
            }
        }
        let owners = self.records.iter().filter(|(_, types)| !types.is_empty());
        Made {
            origin: self.origin.clone(),
            text,
            names: self.names.clone(),
            owners: owners.map(|(owner, _)| wire(owner)).collect(),
        }
    }
}

/// Draws what a zone holds.
struct Maker<'a> {
    rng: &'a mut Rng,
    origins: &'a [Labels],
    draft: Draft,
}

impl<'a> Maker<'a> {
    fn new(rng: &'a mut Rng, origin: &'a Labels, origins: &'a [Labels]) -> Self {
        let (records, written, names) = (BTreeMap::new(), BTreeMap::new(), vec![origin.clone()]);
        let draft = Draft {
            origin: origin.clone(),
            records,
            written,
            names,
        };
        Self { rng, origins, draft }
    }

    fn fill(&mut self) {
        let apex = self.draft.origin.clone();
        let mname = self.target(&apex);
        let minimum = pick(self.rng, &[(0, 1), (60, 4), (7200, 2)]);
        let soa = format!(
            "{} hostmaster.{} 1 7200 1800 1209600 {minimum}",
            dotted(&mname),
            dotted(&apex)
        );
        self.put(&apex, "SOA", &soa.replace("..", "."));
        for _ in 0..self.rng.usize(1..=3) {
            self.name_server(&apex);
        }
        if self.rng.u32(0..12) == 0 {
            let target = self.target(&apex);
            self.put(&apex, "DNAME", &dotted(&target));
        }
        if apex.is_empty() && self.rng.bool() {
            self.cut(&vec![b"test".to_vec()]);
        }
        for _ in 0..self.rng.usize(3..=18) {
            let owner = self.owner();
            let kind = pick(self.rng, &KINDS);
            self.stand(&owner, kind);
        }
        for origin in self.origins {
            // Mostly a child that is served is delegated, as it should be.
            let beyond = origin.len().checked_sub(apex.len() + 1);
            if beyond == Some(0) && origin[1..] == apex[..] && self.rng.u32(0..5) > 0 && !apex.is_empty() {
                self.cut(origin);
            }
        }
    }

    fn has(&self, owner: &Labels, rtype: &str) -> bool {
        self.draft
            .records
            .get(&lower(owner))
            .is_some_and(|types| types.contains_key(rtype))
    }

    /// Puts a record, unless what is there forbids it.
    fn put(&mut self, owner: &Labels, rtype: &'static str, data: &str) {
        if length(owner) > 255 {
            return;
        }
        let key = lower(owner);
        let others = self.draft.records.get(&key).map_or(0, BTreeMap::len) > usize::from(self.has(owner, rtype));
        let alone = |rtype: &str| rtype == "CNAME";
        let single = ["CNAME", "DNAME", "SOA"].contains(&rtype);
        let apart = |one: &str, other: &str| rtype == one && self.has(owner, other);
        if (alone(rtype) && others)
            || self.has(owner, "CNAME")
            || (single && self.has(owner, rtype))
            || ((apart("DNAME", "NS") || apart("NS", "DNAME")) && *owner != self.draft.origin)
        {
            return;
        }
        let ttl = pick(self.rng, &[(0, 1), (60, 2), (300, 6), (86_400, 1)]);
        self.draft.written.entry(key.clone()).or_insert_with(|| owner.clone());
        self.draft.names.push(owner.clone());
        let set = self.draft.records.entry(key).or_default().entry(rtype);
        set.or_insert((ttl, BTreeSet::new())).1.insert(data.to_owned());
    }

    /// A name of the zone, new or near one that is there.
    fn owner(&mut self) -> Labels {
        let base = match self.rng.u32(0..3) {
            0 => self.draft.names[self.rng.usize(0..self.draft.names.len())].clone(),
            _ => self.draft.origin.clone(),
        };
        let base = if self.is_inside(&base) {
            base
        } else {
            self.draft.origin.clone()
        };
        let depth = pick(self.rng, &[(1, 8), (2, 4), (3, 2), (4, 1)]);
        let labels: Labels = (0..depth).map(|_| label(self.rng)).collect();
        let name = [labels, base].concat();
        if length(&name) > 255 {
            self.draft.origin.clone()
        } else {
            name
        }
    }

    fn is_inside(&self, name: &Labels) -> bool {
        lower(name).ends_with(&lower(&self.draft.origin))
    }

    /// What a record may point to: a name of this zone, of another one served here, or of none.
    fn target(&mut self, owner: &Labels) -> Labels {
        let outside = vec![b"out".to_vec(), b"example".to_vec()];
        let target = match self.rng.u32(0..20) {
            0..8 => self.draft.names[self.rng.usize(0..self.draft.names.len())].clone(),
            8..15 => self.owner(),
            15..18 => {
                let origin = self.origins[self.rng.usize(0..self.origins.len())].clone();
                [vec![label(self.rng)], origin].concat()
            }
            18 => owner.clone(),
            _ => outside.clone(),
        };
        let target = if length(&target) > 255 { outside } else { target };
        self.draft.names.push(target.clone());
        target
    }

    fn addresses(&mut self, owner: &Labels) {
        for _ in 0..self.rng.usize(1..=3) {
            let address = format!("192.0.2.{}", self.rng.u8(..));
            self.put(owner, "A", &address);
        }
        if self.rng.bool() {
            let address = format!("2001:db8::{:x}", self.rng.u16(1..));
            self.put(owner, "AAAA", &address);
        }
    }

    /// An NS record, and mostly an address where it points into the zone.
    fn name_server(&mut self, owner: &Labels) {
        let target = match self.rng.u32(0..4) {
            0 => [vec![b"ns".to_vec()], owner.clone()].concat(),
            1 => owner.clone(),
            _ => self.target(owner),
        };
        if length(&target) > 255 {
            return;
        }
        self.put(owner, "NS", &dotted(&target));
        if self.is_inside(&target) && self.rng.u32(0..5) > 0 {
            self.addresses(&target);
        }
    }

    fn cut(&mut self, owner: &Labels) {
        for _ in 0..self.rng.usize(1..=3) {
            self.name_server(owner);
        }
        if self.rng.u32(0..3) == 0 && self.has(owner, "NS") {
            self.put(
                owner,
                "DS",
                "1 8 2 0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20",
            );
        }
    }

    fn stand(&mut self, owner: &Labels, kind: Kind) {
        // What a delegation or redirection of a wildcard means is left open (RFC 4592 4.2, 4.4): few of them.
        let wild = owner.first().is_some_and(|label| label == b"*") && self.rng.u32(0..4) > 0;
        match kind {
            Kind::Addresses => self.addresses(owner),
            Kind::Text => {
                let text = format!("\"text {}\" \"\"", self.rng.u8(..));
                self.put(owner, "TXT", &text);
            }
            Kind::Pointing => self.pointing(owner),
            Kind::Odd => self.odd(owner),
            Kind::Large => self.large(owner),
            Kind::Alias if *owner != self.draft.origin => {
                let target = self.target(owner);
                self.put(owner, "CNAME", &dotted(&target));
            }
            Kind::Redirection if !wild => {
                let target = self.target(owner);
                self.put(owner, "DNAME", &dotted(&target));
            }
            Kind::Cut if !wild => self.cut(owner),
            _ => {}
        }
    }

    /// Records that give additional data.
    fn pointing(&mut self, owner: &Labels) {
        for _ in 0..self.rng.usize(1..=2) {
            let target = self.target(owner);
            let (name, number) = (dotted(&target), self.rng.u8(..));
            match self.rng.u32(0..6) {
                0 | 1 => self.put(owner, "MX", &format!("{number} {name}")),
                2 => self.put(owner, "SRV", &format!("{number} 0 5060 {name}")),
                3 => self.put(owner, "SVCB", &format!("{} {name}", number % 3)),
                4 => self.put(
                    owner,
                    "HTTPS",
                    &format!("{} {}", number % 3, if number > 99 { "." } else { &name }),
                ),
                _ => self.put(owner, "PTR", &name),
            }
            if self.is_inside(&target) && self.rng.bool() {
                self.addresses(&target);
            }
        }
    }

    fn odd(&mut self, owner: &Labels) {
        let target = self.target(owner);
        let name = dotted(&target);
        match self.rng.u32(0..9) {
            0 => self.put(owner, "NAPTR", &format!("1 2 \"u\" \"sip\" \"\" {name}")),
            1 => self.put(owner, "CAA", "0 issue \"ca.example\""),
            2 => self.put(owner, "TYPE65280", "\\# 3 010203"),
            3 => self.put(owner, "MINFO", &format!("{name} {name}")),
            4 => self.put(owner, "RP", &format!("{name} {name}")),
            5 => self.put(owner, "AFSDB", &format!("1 {name}")),
            6 => self.put(owner, "KX", &format!("1 {name}")),
            7 => self.put(owner, "HINFO", "\"cpu\" \"os\""),
            _ => self.put(owner, "RT", &format!("1 {name}")),
        }
    }

    /// More than a datagram holds, or nearly so.
    fn large(&mut self, owner: &Labels) {
        for index in 0..self.rng.usize(10..=90) {
            self.put(owner, "A", &format!("192.0.2.{index}"));
        }
    }
}
