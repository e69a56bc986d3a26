//! `[records]`: owners, each with record sets by type and Windrose's own words `steer` and `ttl`. Names and record data stay
//! text here: what they mean depends on the origin.

use super::reader::{Entry, Table, did_you_mean, home};
use super::value::{Text, TtlSpec, Value};
use super::{At, Faults, Span};
use crate::wire::code::{RECORD_TYPES, RecordType};

/// The owners of a zone.
#[derive(Debug, Clone, Default)]
pub struct RecordsSpec {
    /// Where `[records]` is first written, if it is.
    pub span: Option<Span>,
    /// In the order written.
    pub owners: Vec<OwnerSpec>,
    /// Whether any owner may be missing here because of a fault.
    pub poisoned: bool,
    /// Keys of which the owner that is meant is missing here: `ns` of an unquoted `ns.eu.A`.
    pub hidden: Vec<String>,
    /// Whether another table has slipped in here.
    pub hides_tables: bool,
}

/// An owner.
#[derive(Debug, Clone)]
pub struct OwnerSpec {
    /// Its name as written.
    pub key: At<String>,
    /// What answers for it.
    pub steer: Option<SteerSpec>,
    /// The TTL of what stands here.
    pub ttl: Option<At<TtlSpec>>,
    /// Its record sets, in the order written.
    pub rrsets: Vec<RRsetSpec>,
    /// Whether something of it is faulty.
    pub poisoned: bool,
}

/// `steer = "web"`, or with a TTL of its own: `steer = { data = "web", ttl = "10s" }`.
#[derive(Debug, Clone)]
pub struct SteerSpec {
    /// The name of the policy or pool.
    pub name: At<String>,
    /// The TTL given with it.
    pub ttl: Option<TtlSpec>,
}

/// The records of a type.
#[derive(Debug, Clone)]
pub struct RRsetSpec {
    /// The type, and where its key is.
    pub rtype: At<RecordType>,
    /// Whether its key is `TXT`: then the strings are the data itself, and not its presentation form.
    pub literal: bool,
    /// The TTL given with it.
    pub ttl: Option<u32>,
    /// One for each record.
    pub data: Vec<Text>,
    /// Whether something of it is faulty.
    pub poisoned: bool,
}

impl RecordsSpec {
    /// Marks that the syntax of the file is broken: nothing here may be all of it.
    pub fn poison(&mut self) {
        self.poisoned = true;
        for owner in &mut self.owners {
            owner.poisoned = true;
            owner.rrsets.iter_mut().for_each(|rrset| rrset.poisoned = true);
        }
    }
}

/// The tables of a file: a name of them inside `[records]` has slipped.
const SECTIONS: &[&str] = &[
    "zone",
    "soa",
    "records",
    "pools",
    "policies",
    "probes",
    "locations",
    "networks",
];

/// Reads `[records]`.
pub fn read(entry: &Entry<'_>, faults: &mut Faults) -> RecordsSpec {
    let mut records = RecordsSpec {
        span: Some(entry.key_span.clone()),
        ..RecordsSpec::default()
    };
    let Some(table) = entry.value.table(faults) else {
        records.poisoned = true;
        return records;
    };
    for entry in &table.entries {
        match entry.value.as_table() {
            Some(table) => {
                let owner = owner(entry, &table, faults);
                if owner.poisoned && nests(&table) {
                    records.hidden.push(entry.key.to_owned());
                }
                records.hides_tables |= owner.poisoned && SECTIONS.contains(&entry.key);
                records.owners.push(owner);
            }
            None => {
                not_an_owner(entry, faults);
                // `NS = [...]` without an owner is most likely the apex's.
                let apex = RecordType::parse(entry.key).is_some();
                records.hidden.push(if apex { "@" } else { entry.key }.to_owned());
            }
        }
    }
    records
}

/// Whether there are tables in tables here, as of a name with unquoted dots.
fn nests(table: &Table<'_>) -> bool {
    table
        .entries
        .iter()
        .any(|item| item.value.is_table() && item.key != "ttl" && item.key != "steer")
}

/// A key of `[records]` whose value is no table: mostly one that has slipped under it.
fn not_an_owner(entry: &Entry<'_>, faults: &mut Faults) {
    let key = entry.key;
    let found = match key {
        "ttl" => Some("[zone], for the default of all records, or an owner"),
        _ => home(key),
    };
    if let Some(home) = found {
        entry.unknown_hint("[records]", format!("`{key}` belongs in {home}"), faults);
    } else if RecordType::parse(key).is_some() {
        let hint = format!("name the owner first: `\"@\".{key}` is the apex");
        entry.value.expected_hint("an owner", Some(hint), faults);
    } else {
        let hint = format!(
            "write a type after the owner, as in `{}.A = \"192.0.2.1\"`",
            quoted_if_needed(key)
        );
        entry
            .value
            .expected_hint("the records of an owner, by type", Some(hint), faults);
    }
}

fn owner(entry: &Entry<'_>, table: &Table<'_>, faults: &mut Faults) -> OwnerSpec {
    let before = faults.errors();
    let mut owner = OwnerSpec {
        key: At::new(entry.key.to_owned(), entry.key_span.clone()),
        steer: None,
        ttl: None,
        rrsets: Vec::new(),
        poisoned: false,
    };
    for item in &table.entries {
        match item.key {
            "steer" => owner.steer = steer(item.value, faults),
            "ttl" => owner.ttl = item.value.ttl(faults).map(|ttl| At::new(ttl, item.value.span())),
            key => match RecordType::parse(key) {
                Some(rtype) => rrset(&mut owner, rtype, item, faults),
                None => unknown_in_owner(entry.key, item, faults),
            },
        }
    }
    owner.poisoned = faults.errors() > before;
    owner
}

/// A key of an owner that is no type: mostly a name with unquoted dots, or a key that belongs elsewhere.
fn unknown_in_owner(owner: &str, item: &Entry<'_>, faults: &mut Faults) {
    let place = format!("the owner `{owner}`");
    if SECTIONS.contains(&owner) && item.value.is_table() {
        item.unknown_hint(
            &place,
            format!("[{owner}] stands by itself, not inside [records]"),
            faults,
        );
    } else if item.value.is_table() {
        item.unknown_hint(
            &place,
            format!("a name with dots is quoted: \"{owner}.{}\"", item.key),
            faults,
        );
    } else if let Some(home) = home(item.key) {
        item.unknown_hint(&place, format!("`{}` belongs in {home}", item.key), faults);
    } else {
        let known = ["steer", "ttl"]
            .into_iter()
            .chain(RECORD_TYPES.iter().map(|(_, mnemonic)| *mnemonic));
        let hint = did_you_mean(item.key, known).unwrap_or_else(|| {
            "known here: steer, ttl, and every record type; TYPEnnn for one without a name".to_owned()
        });
        item.unknown_hint(&place, hint, faults);
    }
}

fn steer(value: Value<'_>, faults: &mut Faults) -> Option<SteerSpec> {
    let Some(table) = value.as_table() else {
        return value.string(faults).map(|name| SteerSpec { name, ttl: None });
    };
    let (mut name, mut ttl) = (None, None);
    let before = faults.errors();
    for entry in &table.entries {
        match entry.key {
            "data" => name = entry.value.string(faults),
            "ttl" => ttl = entry.value.ttl(faults),
            _ => entry.unknown("`steer`", &["data", "ttl"], faults),
        }
    }
    if name.is_none() && faults.errors() == before {
        faults.missing(&table.span, "no `data`: the name of a policy or pool", None);
    }
    name.map(|name| SteerSpec { name, ttl })
}

/// Reads one record set into its owner, unless the owner has the type under another spelling.
fn rrset(owner: &mut OwnerSpec, rtype: RecordType, item: &Entry<'_>, faults: &mut Faults) {
    if let Some(other) = owner.rrsets.iter().find(|rrset| rrset.rtype.value == rtype) {
        let (line, column) = faults.source().line_column(other.rtype.span.start);
        faults.error_hint(
            &item.key_span,
            format!("`{}` has {rtype} under two spellings", owner.key.value),
            format!("the other is at {line}:{column}: give all records of a type in one list"),
        );
        return;
    }
    let before = faults.errors();
    let mut rrset = RRsetSpec {
        rtype: At::new(rtype, item.key_span.clone()),
        literal: item.key.eq_ignore_ascii_case("TXT"),
        ttl: None,
        data: Vec::new(),
        poisoned: false,
    };
    let known = before_data(rtype, item, faults);
    if known {
        match item.value.as_table() {
            Some(table) => rrset_table(&owner.key.value, item.key, &table, &mut rrset, faults),
            None => rrset.data = data(item.value, faults),
        }
    }
    rrset.poisoned = faults.errors() > before;
    owner.rrsets.push(rrset);
}

/// Whether records of the type may be written here at all.
fn before_data(rtype: RecordType, item: &Entry<'_>, faults: &mut Faults) -> bool {
    if rtype == RecordType::SOA {
        faults.error_hint(
            &item.key_span,
            "the SOA record does not stand in [records]",
            "write its values in [soa]: mname, rname, serial, refresh, retry, expire, minimum, ttl".to_owned(),
        );
        return false;
    }
    if rtype.is_meta() {
        let message = format!("{rtype} is a type of queries or messages: no zone holds records of it (RFC 6895 3.1)");
        faults.error(&item.key_span, message);
        return false;
    }
    true
}

/// `{ data = ..., ttl = ... }`.
fn rrset_table(owner: &str, written: &str, table: &Table<'_>, rrset: &mut RRsetSpec, faults: &mut Faults) {
    let before = faults.errors();
    let mut given = false;
    for entry in &table.entries {
        match entry.key {
            "data" => {
                given = true;
                rrset.data = data(entry.value, faults);
            }
            "ttl" => rrset.ttl = entry.value.seconds(faults),
            key if RecordType::parse(key).is_some() || entry.value.is_table() => {
                // `www.a.A = ...`: the name `www.a`, not the type A of `www`.
                let place = format!("{} of `{owner}`", rrset.rtype.value);
                entry.unknown_hint(
                    &place,
                    format!("a name with dots is quoted: \"{owner}.{written}\""),
                    faults,
                );
            }
            _ => entry.unknown(&format!("{} of `{owner}`", rrset.rtype.value), &["data", "ttl"], faults),
        }
    }
    if !given && faults.errors() == before {
        faults.missing(
            &table.span,
            format!("{} of `{owner}` has no `data`", rrset.rtype.value),
            None,
        );
    }
}

fn data(value: Value<'_>, faults: &mut Faults) -> Vec<Text> {
    value
        .filled_list(faults)
        .into_iter()
        .filter_map(|value| value.text(faults))
        .collect()
}

/// A key as it must be written in TOML.
fn quoted_if_needed(key: &str) -> String {
    let bare = !key.is_empty()
        && key
            .bytes()
            .all(|octet| octet.is_ascii_alphanumeric() || b"-_".contains(&octet));
    if bare { key.to_owned() } else { format!("\"{key}\"") }
}
