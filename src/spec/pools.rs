//! `[pools.NAME]`: backends that serve alike.

use std::net::IpAddr;

use super::places::{self, LocationSpec};
use super::reader::{Entry, Table};
use super::steering::good_name;
use super::value::{Text, TtlSpec, Value};
use super::{At, Faults, Span};

/// The greatest weight: 2^20 - 1.
pub const WEIGHT_MAX: u32 = (1 << 20) - 1;

/// The most backends that `answers` may ask for by number.
pub const ANSWERS_MAX: u32 = 256;

/// The most backends of a pool, and members of a policy.
pub const MEMBERS_MAX: usize = 4_096;

/// The words that `fallback` knows beside names of pools.
pub const FALLBACK_WORDS: [&str; 3] = ["all", "last", "servfail"];

/// A pool.
#[derive(Debug, Clone, Default)]
pub struct PoolSpec {
    /// Where it is.
    pub location: Option<LocationSpec>,
    /// The names of its probes.
    pub probes: Vec<At<String>>,
    /// How many backends stand in one answer.
    pub answers: Option<At<AnswersSpec>>,
    /// When it is usable.
    pub min_healthy: Option<At<MinHealthySpec>>,
    /// Whether a client keeps its backend.
    pub sticky: bool,
    /// What counts when a record names it.
    pub root: RootSpec,
    /// In the order written.
    pub backends: Vec<BackendSpec>,
}

/// What counts only where a record names the pool or policy.
#[derive(Debug, Clone, Default)]
pub struct RootSpec {
    /// What happens when nothing is usable: a word, or a pool's name.
    pub fallback: Option<At<String>>,
    /// The TTL of its answers.
    pub ttl: Option<TtlSpec>,
}

/// How many backends stand in one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswersSpec {
    /// So many.
    Count(u16),
    /// All.
    All,
}

/// When a pool is usable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MinHealthySpec {
    /// While so many backends are healthy.
    Backends(u32),
    /// While so many percent of the weight are.
    Percent(u8),
}

/// A backend.
#[derive(Debug, Clone)]
pub struct BackendSpec {
    /// Where it is written.
    pub span: Span,
    /// Its name, if it has one of its own.
    pub name: Option<At<String>>,
    /// Its weight.
    pub weight: u32,
    /// Its addresses, each where it is written.
    pub addresses: Vec<At<IpAddr>>,
    /// Its host.
    pub host: Option<Text>,
    /// Whether something of it is faulty.
    pub poisoned: bool,
}

const KEYS: &[&str] = &[
    "location",
    "probe",
    "answers",
    "min_healthy",
    "sticky",
    "backends",
    "fallback",
    "ttl",
];

/// Reads a pool.
pub fn read(value: Value<'_>, faults: &mut Faults) -> PoolSpec {
    let mut pool = PoolSpec::default();
    let Some(table) = value.table(faults) else { return pool };
    let before = faults.errors();
    let mut given = false;
    for entry in &table.entries {
        let value = entry.value;
        match entry.key {
            "location" => pool.location = places::location(value, faults),
            "probe" => pool.probes = value.strings(faults),
            "answers" => pool.answers = answers(value, faults).map(|answers| At::new(answers, value.span())),
            "min_healthy" => pool.min_healthy = min_healthy(value, faults).map(|min| At::new(min, value.span())),
            "sticky" => pool.sticky = value.boolean(faults).unwrap_or_default(),
            "backends" => {
                given = true;
                pool.backends = backends(value, faults);
            }
            _ if root(entry, &mut pool.root, faults) => {}
            _ => unknown(entry, faults),
        }
    }
    // A key that is unknown may be `backends`, misspelled.
    if !given && faults.errors() == before {
        faults.missing(
            &table.span,
            "the pool has no `backends`",
            "as in backends = [\"192.0.2.10\"]".to_owned(),
        );
    }
    pool
}

fn unknown(entry: &Entry<'_>, faults: &mut Faults) {
    let singular = ["address", "addresses", "host", "hosts", "members", "backend"];
    if singular.contains(&entry.key) {
        entry.unknown_hint("a pool", "a pool has `backends = [...]`".to_owned(), faults);
    } else if entry.key == "probes" {
        entry.unknown_hint("a pool", "did you mean `probe`?".to_owned(), faults);
    } else {
        entry.unknown("a pool", KEYS, faults);
    }
}

/// Reads a key that counts at the root only, if it is one.
pub(super) fn root(entry: &Entry<'_>, root: &mut RootSpec, faults: &mut Faults) -> bool {
    match entry.key {
        "fallback" => root.fallback = entry.value.string(faults),
        "ttl" => root.ttl = entry.value.ttl(faults),
        _ => return false,
    }
    true
}

fn answers(value: Value<'_>, faults: &mut Faults) -> Option<AnswersSpec> {
    if value.as_str() == Some("all") {
        return Some(AnswersSpec::All);
    }
    if value.as_integer().is_none() {
        value.expected("a number of backends, or \"all\"", faults);
        return None;
    }
    let count = value.integer("a number of backends", 1..=ANSWERS_MAX, faults)?;
    u16::try_from(count).ok().map(AnswersSpec::Count)
}

fn min_healthy(value: Value<'_>, faults: &mut Faults) -> Option<MinHealthySpec> {
    let Some(text) = value.as_str() else {
        if value.as_integer().is_none() {
            value.expected("a number of backends, or a percentage such as \"50%\"", faults);
            return None;
        }
        return value
            .integer("a number of backends", 1..=u32::MAX, faults)
            .map(MinHealthySpec::Backends);
    };
    let percent = text
        .strip_suffix('%')
        .filter(|digits| digits.bytes().all(|octet| octet.is_ascii_digit()));
    let percent = percent
        .and_then(|digits| digits.parse().ok())
        .filter(|percent| (1..=100).contains(percent));
    if percent.is_none() {
        faults.error(
            &value.span(),
            format!("expected a percentage from \"1%\" to \"100%\", found \"{text}\""),
        );
    }
    percent.map(MinHealthySpec::Percent)
}

fn backends(value: Value<'_>, faults: &mut Faults) -> Vec<BackendSpec> {
    let Some(list) = value.as_array() else {
        value.expected("a list of backends", faults);
        return Vec::new();
    };
    if list.is_empty() {
        faults.missing(&value.span(), "the pool has no backends", None);
    }
    if list.len() > MEMBERS_MAX {
        faults.error(&value.span(), format!("a pool has at most {MEMBERS_MAX} backends"));
    }
    list.into_iter().map(|value| backend(value, faults)).collect()
}

fn backend(value: Value<'_>, faults: &mut Faults) -> BackendSpec {
    let before = faults.errors();
    let mut backend = BackendSpec {
        span: value.span(),
        name: None,
        weight: 1,
        addresses: Vec::new(),
        host: None,
        poisoned: false,
    };
    match value.as_table() {
        Some(table) => backend_table(&table, &mut backend, faults),
        None if value.as_str().is_some() => backend.addresses.extend(address(value, faults)),
        None => value.expected("an address or a table", faults),
    }
    backend.poisoned = faults.errors() > before;
    backend
}

fn backend_table(table: &Table<'_>, backend: &mut BackendSpec, faults: &mut Faults) {
    let before = faults.errors();
    let mut given = None;
    for entry in &table.entries {
        let value = entry.value;
        match entry.key {
            "name" => backend.name = backend_name(value, faults),
            "weight" => {
                backend.weight = value.integer("a weight", 0..=WEIGHT_MAX, faults).unwrap_or(1);
            }
            "address" | "host" if given.is_some_and(|given| given != entry.key) => {
                faults.error(&entry.key_span, "a backend has `address` or `host`, not both");
            }
            "address" => {
                given = Some(entry.key);
                let values = value.filled_list(faults);
                backend.addresses = values.into_iter().filter_map(|value| address(value, faults)).collect();
            }
            "host" => {
                given = Some(entry.key);
                backend.host = value.text(faults);
            }
            _ => entry.unknown("a backend", &["name", "address", "host", "weight"], faults),
        }
    }
    if given.is_none() && faults.errors() == before {
        faults.missing(&table.span, "the backend has no `address` and no `host`", None);
    }
}

fn backend_name(value: Value<'_>, faults: &mut Faults) -> Option<At<String>> {
    let name = value.string(faults)?;
    if !good_name(&name.value) {
        let message = format!("\"{}\" is no name", name.value);
        faults.error_hint(&name.span, message, "a name has no spaces and no slash".to_owned());
        return None;
    }
    Some(name)
}

fn address(value: Value<'_>, faults: &mut Faults) -> Option<At<IpAddr>> {
    let written = value.string(faults)?;
    match written.value.parse() {
        Ok(address) => Some(At::new(address, written.span)),
        Err(_) => {
            let message = format!("\"{}\" is not an address", written.value);
            faults.error_hint(&written.span, message, address_hint(&written.value));
            None
        }
    }
}

fn address_hint(text: &str) -> String {
    let bare = text
        .rsplit_once(':')
        .map_or(text, |(before, _)| before)
        .trim_matches(['[', ']']);
    if bare.parse::<IpAddr>().is_ok() {
        return format!("an answer carries no port: write \"{bare}\"");
    }
    if text.contains('/') {
        return "a backend is one address, not a network".to_owned();
    }
    if text.contains(|c: char| c.is_ascii_alphabetic()) && !text.contains(':') {
        return format!("for a host write {{ host = \"{}.\" }}", text.trim_end_matches('.'));
    }
    "as in \"192.0.2.10\" or \"2001:db8::10\"".to_owned()
}
