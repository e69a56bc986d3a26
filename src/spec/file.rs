//! A zone file: its tables, each read by its own module, and `[zone]` and `[soa]` here.

use std::sync::Arc;

use super::reader::{Entry, Table, looks_like_owner};
use super::records::{self, RecordsSpec};
use super::steering::{self, SteeringSpec};
use super::value::{Text, Value};
use super::{At, Faults, syntax};
use crate::diagnostic::{Source, nearest_word};
use crate::wire::name::Name;

/// What a zone file says.
#[derive(Debug, Clone)]
pub struct ZoneSpec {
    /// The file.
    pub source: Arc<Source>,
    /// Whether it is no TOML: then it is not served.
    pub broken: bool,
    /// Whether nothing of it but perhaps the origin is known, so that there is nothing to check.
    pub unread: bool,
    /// Its origin.
    pub origin: Origin,
    /// The default TTL, in seconds.
    pub ttl: Option<u32>,
    /// Whether it is held to no more than a master file is.
    pub lenient: bool,
    /// Its start of authority.
    pub soa: SoaSpec,
    /// Its owners.
    pub records: RecordsSpec,
    /// What it defines.
    pub steering: SteeringSpec,
}

impl ZoneSpec {
    /// A file that says nothing.
    pub fn empty(source: &Arc<Source>) -> Self {
        Self {
            source: source.clone(),
            broken: false,
            unread: false,
            origin: Origin::FileName,
            ttl: None,
            lenient: false,
            soa: SoaSpec::default(),
            records: RecordsSpec::default(),
            steering: SteeringSpec::default(),
        }
    }
}

/// What a file says of its origin.
#[derive(Debug, Clone)]
pub enum Origin {
    /// Nothing: the file's name counts.
    FileName,
    /// This.
    Given(At<Name>),
    /// Something that is no name.
    Poisoned,
}

/// `[soa]`. What is not given has a default; times are in seconds.
#[derive(Debug, Clone, Default)]
pub struct SoaSpec {
    /// The primary name server.
    pub mname: Option<Text>,
    /// The mailbox: with `@`, or as a name.
    pub rname: Option<Text>,
    /// The serial number.
    pub serial: Option<u32>,
    /// How often a secondary asks.
    pub refresh: Option<u32>,
    /// How soon it asks again.
    pub retry: Option<u32>,
    /// When it gives up.
    pub expire: Option<u32>,
    /// The TTL of negative answers.
    pub minimum: Option<u32>,
    /// The TTL of the record itself.
    pub ttl: Option<u32>,
}

const TABLES: &[&str] = &[
    "zone",
    "soa",
    "records",
    "pools",
    "policies",
    "probes",
    "locations",
    "networks",
];
const ELSEWHERE: &[&str] = &["server", "geo", "health", "control", "log"];

/// Reads a zone file.
pub fn read(source: &Arc<Source>, faults: &mut Faults) -> ZoneSpec {
    syntax::read(
        source,
        faults,
        |document, faults| walk(source, document, faults),
        |document| salvage(source, document),
    )
}

fn walk(source: &Arc<Source>, document: &Table<'_>, faults: &mut Faults) -> ZoneSpec {
    let mut spec = ZoneSpec::empty(source);
    let mut hidden = Hidden::default();
    for entry in &document.entries {
        match entry.key {
            "zone" => zone(entry.value, &mut spec, faults),
            "soa" => spec.soa = soa(entry.value, faults),
            "records" => spec.records = records::read(entry, faults),
            key if steering::TABLES.contains(&key) => spec.steering.read(entry, faults),
            _ => {
                unknown_table(entry, faults);
                hide(entry, &mut hidden);
            }
        }
    }
    spec.steering.incomplete |= hidden.steering || spec.records.hides_tables;
    spec.records.poisoned |= hidden.records;
    for entry in document.entries.iter().filter(|entry| entry.key != "records") {
        slipped_owners(entry, &mut spec.records.hidden);
    }
    if faults.is_broken() {
        spec.broken = true;
        // Names would be relative to the wrong one.
        spec.unread = matches!(spec.origin, Origin::FileName) && faults.may_hide("origin");
        spec.records.poison();
        spec.steering.poison();
    }
    spec
}

/// What seems to be missing because it stands in a table that is not known.
#[derive(Default)]
struct Hidden {
    steering: bool,
    records: bool,
}

/// The owners in a table other than `[records]`: they are not missing, but elsewhere.
fn slipped_owners(entry: &Entry<'_>, into: &mut Vec<String>) {
    let Some(table) = entry.value.as_table() else { return };
    if looks_like_owner(&table) {
        into.push(entry.key.to_owned());
    } else {
        table.entries.iter().for_each(|entry| slipped_owners(entry, into));
    }
}

/// A table of which the name is misspelled holds what seems to be missing. A value by itself hides nothing.
fn hide(entry: &Entry<'_>, hidden: &mut Hidden) {
    let Some(table) = entry.value.as_table() else { return };
    let near = nearest_word(entry.key, TABLES.iter().copied());
    if !looks_like_owner(&table) {
        hidden.records |= near.is_none_or(|near| near == "records");
        hidden.steering |= near.is_none_or(|near| steering::TABLES.contains(&near));
    }
}

/// Of a file with faults of syntax, the origin that it seems to have: the zone that cannot be served should at least be named.
fn salvage(source: &Arc<Source>, document: &Table<'_>) -> ZoneSpec {
    let origin = document
        .get("zone")
        .and_then(|zone| zone.value.as_table())
        .and_then(|zone| {
            let origin = zone.get("origin")?.value;
            Some(At::new(Name::parse(origin.as_str()?, None).ok()?, origin.span()))
        });
    let origin = origin.map_or(Origin::FileName, Origin::Given);
    ZoneSpec {
        broken: true,
        unread: true,
        origin,
        ..ZoneSpec::empty(source)
    }
}

fn unknown_table(entry: &Entry<'_>, faults: &mut Faults) {
    if ELSEWHERE.contains(&entry.key) {
        entry.unknown_hint(
            "a zone file",
            format!("[{}] belongs in windrose.toml", entry.key),
            faults,
        );
    } else if entry.key == "ttl" {
        entry.unknown_hint("a zone file", "`ttl` belongs in [zone]".to_owned(), faults);
    } else {
        entry.unknown("a zone file", TABLES, faults);
    }
}

fn zone(value: Value<'_>, spec: &mut ZoneSpec, faults: &mut Faults) {
    let Some(table) = value.table(faults) else {
        spec.origin = Origin::Poisoned;
        return;
    };
    for entry in &table.entries {
        match entry.key {
            "origin" => spec.origin = origin(entry.value, faults).map_or(Origin::Poisoned, Origin::Given),
            "ttl" => spec.ttl = entry.value.seconds(faults),
            "lenient" => spec.lenient = entry.value.boolean(faults).unwrap_or(true),
            _ => entry.unknown("[zone]", &["origin", "ttl", "lenient"], faults),
        }
    }
}

fn origin(value: Value<'_>, faults: &mut Faults) -> Option<At<Name>> {
    let text = value.text(faults)?;
    match Name::parse(&text.text, None) {
        Ok(name) => Some(At::new(name, text.span)),
        Err(error) => {
            faults.error(
                &text.place(error.offset),
                format!("`{}` is no name: {error}", text.text),
            );
            None
        }
    }
}

fn soa(value: Value<'_>, faults: &mut Faults) -> SoaSpec {
    let mut soa = SoaSpec::default();
    let Some(table) = value.table(faults) else { return soa };
    for entry in &table.entries {
        let value = entry.value;
        match entry.key {
            "mname" => soa.mname = value.text(faults),
            "rname" => soa.rname = value.text(faults),
            "serial" => soa.serial = value.integer("a serial", 0..=u32::MAX, faults),
            "refresh" => soa.refresh = value.seconds(faults),
            "retry" => soa.retry = value.seconds(faults),
            "expire" => soa.expire = value.seconds(faults),
            "minimum" => soa.minimum = value.seconds(faults),
            "ttl" => soa.ttl = value.seconds(faults),
            _ => entry.unknown(
                "[soa]",
                &[
                    "mname", "rname", "serial", "refresh", "retry", "expire", "minimum", "ttl",
                ],
                faults,
            ),
        }
    }
    soa
}
