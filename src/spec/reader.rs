//! The walk over a TOML table: entries in the order written, each a key with its value, and what to say of an unknown key.

use toml::de::DeTable;

use super::value::Value;
use super::{Faults, Span};
use crate::diagnostic::nearest_word;
use crate::wire::code::RecordType;

/// A table as it is written.
#[derive(Debug, Clone)]
pub struct Table<'t> {
    /// In the order written.
    pub entries: Vec<Entry<'t>>,
    /// Where it is.
    pub span: Span,
}

/// A key and its value.
#[derive(Debug, Clone)]
pub struct Entry<'t> {
    /// The key.
    pub key: &'t str,
    /// Where the key is.
    pub key_span: Span,
    /// The value.
    pub value: Value<'t>,
}

impl<'t> Table<'t> {
    /// The entries of a table, in the order written.
    pub fn new(table: &'t DeTable<'t>, span: Span) -> Self {
        let entries = table.iter().map(|(key, value)| Entry {
            key: key.get_ref(),
            key_span: key.span(),
            value: Value::new(value),
        });
        let mut entries: Vec<_> = entries.collect();
        entries.sort_by_key(|entry| entry.key_span.start);
        Self { entries, span }
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Entry<'t>> {
        self.entries.iter().find(|entry| entry.key == key)
    }
}

/// Keys that have one home: a table, and the keys that are found nowhere else.
const HOMES: &[(&str, &[&str])] = &[
    ("[zone]", &["origin"]),
    (
        "[soa]",
        &["mname", "rname", "serial", "refresh", "retry", "expire", "minimum"],
    ),
    ("[pools.NAME]", &["backends", "probe", "answers", "min_healthy"]),
    ("[policies.NAME]", &["choose", "members", "bias", "rules", "otherwise"]),
    ("[pools.NAME] or [policies.NAME]", &["sticky", "fallback", "location"]),
    (
        "[probes.NAME]",
        &["kind", "interval", "timeout", "rise", "fall", "expect"],
    ),
    ("an owner in [records]", &["steer"]),
    (
        "[server] of windrose.toml",
        &["workers", "engine", "zones", "client_subnet", "nsid", "version"],
    ),
    ("[health] of windrose.toml", &["warmup"]),
];

/// The table that a key belongs to, if there is only one.
pub fn home(key: &str) -> Option<&'static str> {
    HOMES
        .iter()
        .find(|(_, keys)| keys.contains(&key))
        .map(|(table, _)| *table)
}

/// Whether a table has record types and `steer` for keys, as only an owner has.
pub fn looks_like_owner(table: &Table<'_>) -> bool {
    table.entries.iter().any(|entry| entry.key != "ttl")
        && table.entries.iter().all(|entry| {
            let upper = entry
                .key
                .bytes()
                .all(|octet| octet.is_ascii_uppercase() || octet.is_ascii_digit());
            matches!(entry.key, "steer" | "ttl") || (upper && RecordType::parse(entry.key).is_some())
        })
}

impl Entry<'_> {
    /// Tells that the key is not known here. `known` are the keys that are.
    pub fn unknown(&self, place: &str, known: &[&str], faults: &mut Faults) {
        if self.value.as_table().is_some_and(|table| looks_like_owner(&table)) {
            if faults.first_slip(place) {
                let hint = format!("`{}` looks like an owner: owners stand under [records]", self.key);
                self.unknown_hint(place, hint, faults);
            }
            return;
        }
        let hint = home(self.key)
            .map(|home| format!("`{}` belongs in {home}", self.key))
            .or_else(|| did_you_mean(self.key, known.iter().copied()))
            .unwrap_or_else(|| format!("known here: {}", known.join(", ")));
        faults.error_hint(&self.key_span, format!("unknown key `{}` in {place}", self.key), hint);
    }

    /// Tells that the key is not known here, with a hint that fits better than a guess.
    pub fn unknown_hint(&self, place: &str, hint: String, faults: &mut Faults) {
        faults.error_hint(&self.key_span, format!("unknown key `{}` in {place}", self.key), hint);
    }
}

/// "did you mean `x`?", if some known word is near enough.
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest_word(word, known).map(|near| format!("did you mean `{near}`?"))
}
