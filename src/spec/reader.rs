//! The walk over a TOML table: entries in the order written, each a key with its value, and what to say of an unknown key.

use toml::de::{DeTable, Error};

use super::value::Value;
use super::{Faults, Span};
use crate::diagnostic::nearest_word;

/// The most faults of syntax told of one file: what follows the first few is mostly their echo.
const SYNTAX_FAULTS_MAX: usize = 5;

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

impl Entry<'_> {
    /// Tells that the key is not known here. `known` are the keys that are.
    pub fn unknown(&self, place: &str, known: &[&str], faults: &mut Faults) {
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

/// Tells the faults of syntax: by position, one a line, and nothing after a bracket or comma is missing, since all that follows is
/// then read as part of the wrong thing.
pub fn tell_syntax(errors: &[Error], faults: &mut Faults) {
    let mut errors: Vec<(Span, &str)> = errors
        .iter()
        .map(|error| (error.span().unwrap_or_default(), error.message()))
        .collect();
    errors.sort_by_key(|(span, _)| (span.start, span.end));
    let mut last_line = 0;
    for (span, message) in errors.into_iter().take(SYNTAX_FAULTS_MAX) {
        let (line, _) = faults.source().line_column(span.start);
        if line == last_line {
            continue;
        }
        last_line = line;
        let (message, hint) = reword(message, span.is_empty());
        faults.error_hint(&span, message, hint.map(str::to_owned));
        if ["unclosed", "missing comma", "in array", "multi-line"]
            .iter()
            .any(|part| message.contains(part))
        {
            break;
        }
    }
}

/// The parser's message, or a plainer one, and a hint.
fn reword(message: &str, nothing_there: bool) -> (&str, Option<&'static str>) {
    match message {
        "string values must be quoted, expected literal string" if nothing_there => ("a value is missing", None),
        "string values must be quoted, expected literal string" => {
            ("a string must be quoted", Some("put quotes around it"))
        }
        "duplicate key" => ("the key is given twice", Some("give all values of a key in one place")),
        other
            if ["invalid float", "invalid integer", "invalid time", "invalid date"]
                .iter()
                .any(|start| other.starts_with(start)) =>
        {
            (other, Some("put quotes around what is not a number"))
        }
        other => (other, None),
    }
}
