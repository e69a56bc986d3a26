//! Faults of TOML's syntax, told in words of our own: the parser goes on after a fault, and most of what it says then is an echo.

use std::sync::Arc;

use toml::de::{DeTable, Error};

use super::reader::Table;
use super::{Faults, Span};
use crate::diagnostic::Source;

/// The most faults of syntax told of one file.
const FAULTS_MAX: usize = 50;

/// Gives the table of a document to `walk`, if its syntax is right, or wrong in places that are told and noted as such: then the
/// rest has its other faults. If a fault swallows what follows, gives as much as could be read to `salvage`.
pub fn read<T>(
    source: &Arc<Source>,
    faults: &mut Faults,
    walk: impl FnOnce(&Table<'_>, &mut Faults) -> T,
    salvage: impl FnOnce(&Table<'_>) -> T,
) -> T {
    let (document, errors) = DeTable::parse_recoverable(&source.text);
    let table = Table::new(document.get_ref(), document.span());
    if errors.is_empty() {
        return walk(&table, faults);
    }
    match tell(&errors, faults) {
        Some(places) => {
            faults.set_broken(places);
            walk(&table, faults)
        }
        None => salvage(&table),
    }
}

/// Tells faults by position, one a line, and none after a bracket, quote or comma that is missing: all that follows is then read
/// as part of the wrong thing. Gives the places of the faults, if what is between them can be relied upon.
fn tell(errors: &[Error], faults: &mut Faults) -> Option<Vec<Span>> {
    let mut errors: Vec<(Span, &str)> = errors
        .iter()
        .map(|error| (error.span().unwrap_or_default(), error.message()))
        .collect();
    errors.sort_by_key(|(span, _)| (span.start, span.end));
    let mut last_line = 0;
    let mut told = 0;
    let mut places = Vec::new();
    for (span, message) in errors {
        let fault = Fault::new(&faults.source().text, &span, message);
        let (line, _) = faults.source().line_column(fault.span.start);
        if line != last_line {
            faults.error_hint(&fault.span, fault.message, fault.hint.map(str::to_owned));
            told += 1;
        }
        last_line = line;
        if fault.swallows_the_rest || told == FAULTS_MAX {
            return None;
        }
        places.push(broken(
            &faults.source().text,
            fault.span.start..fault.span.end.max(span.end),
        ));
    }
    Some(places)
}

/// What a fault of syntax breaks: its lines, and with the header of a table all that stands under it.
fn broken(text: &str, span: Span) -> Span {
    let start = span.start - line(text, &span).len();
    let rest = text.get(start..).unwrap_or_default();
    let first = rest.lines().next().unwrap_or_default().trim();
    let is_header = first.starts_with('[') || (first.ends_with(']') && !first.contains('='));
    if is_header {
        let next = rest
            .match_indices('\n')
            .find(|(at, _)| rest.get(at + 1..).unwrap_or_default().trim_start().starts_with('['));
        return start..next.map_or(text.len(), |(at, _)| start + at);
    }
    let after = text.get(span.end..).unwrap_or_default();
    start..after.find('\n').map_or(text.len(), |at| span.end + at)
}

/// Parts of the parser's messages after which it does not find back before the end of what it is in.
const SWALLOWING: &[&str] = &["in array", "in inline table"];

/// The same, if a bracket is open on that line; else it goes on with the next line.
const SWALLOWING_IN_BRACKETS: &[&str] = &["missing assignment", "key with no value", "invalid key-value"];

struct Fault {
    span: Span,
    message: String,
    hint: Option<&'static str>,
    swallows_the_rest: bool,
}

/// How the parser's messages about a value that is none start.
const NO_VALUE: &[&str] = &[
    "string values must be quoted",
    "invalid float",
    "invalid integer",
    "invalid boolean",
    "invalid time",
    "invalid date",
    "invalid datetime",
];

impl Fault {
    /// Rewords the parser's message where it says how it reads rather than what is wrong.
    fn new(text: &str, span: &Span, message: &str) -> Self {
        let (mut span, mut hint, mut swallows_the_rest) = (before_space(text, span), None, false);
        let message = if NO_VALUE.iter().any(|start| message.starts_with(start)) {
            span = word(text, &span);
            let word = text.get(span.clone()).unwrap_or_default();
            if word.is_empty() {
                "a value is missing".to_owned()
            } else {
                hint = Some("a string needs quotes");
                format!("`{word}` is no value")
            }
        } else if message == "duplicate key" {
            hint = Some("give all values of a key in one place");
            "the key is given twice".to_owned()
        } else if message.starts_with("missing comma between array elements") || message.starts_with("unclosed array") {
            swallows_the_rest = true;
            "a comma is missing here, or the `]` that ends the list".to_owned()
        } else if message.starts_with("missing comma between key-value pairs") || message.starts_with("unclosed inline")
        {
            swallows_the_rest = true;
            "a comma is missing here, or the `}` that ends the table".to_owned()
        } else if message.contains(" string, expected `") {
            // A string of one line ends with it, unless a bracket stays open with the quote.
            swallows_the_rest = message.contains("multi-line") || line(text, &span).contains(['[', '{']);
            "the string does not end".to_owned()
        } else {
            let has_one = |parts: &[&str]| parts.iter().any(|part| message.contains(part));
            let in_brackets = line(text, &span).contains(['[', '{']);
            swallows_the_rest = has_one(SWALLOWING) || (in_brackets && has_one(SWALLOWING_IN_BRACKETS));
            message.to_owned()
        };
        Self {
            span,
            message,
            hint,
            swallows_the_rest,
        }
    }
}

/// What is missing is missing right after what is there, not on a line further down.
fn before_space(text: &str, span: &Span) -> Span {
    if !span.is_empty() {
        return span.clone();
    }
    let before = text.get(..span.start).unwrap_or_default();
    let end = before.trim_end_matches(['\n', '\r']).len();
    end..end
}

/// The line that a span begins in, up to there.
fn line<'t>(text: &'t str, span: &Span) -> &'t str {
    let before = text.get(..span.start).unwrap_or_default();
    before.rsplit('\n').next().unwrap_or_default()
}

/// The whole word around a span.
fn word(text: &str, span: &Span) -> Span {
    let ends = |c: char| c.is_whitespace() || "=,[]{}#\"'".contains(c);
    let before = text.get(..span.start).unwrap_or_default();
    let after = text.get(span.start..).unwrap_or_default();
    let start = before.rfind(ends).map_or(0, |at| {
        at + before
            .get(at..)
            .and_then(|rest| rest.chars().next())
            .map_or(1, char::len_utf8)
    });
    start..span.start + after.find(ends).unwrap_or(after.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(text: &str) -> Vec<String> {
        let source = Source::new("a.toml", text);
        let mut faults = Faults::new(&source);
        read(&source, &mut faults, |_, _| (), |_| ());
        faults.into_sorted().into_iter().map(|fault| fault.message).collect()
    }

    #[test]
    fn deep_nesting_is_a_fault_and_no_harm() {
        for (open, middle, close) in [("a.", "a = 1", ""), ("a = [", "", ""), ("[", "", ""), ("a = {", "", "")] {
            messages(&format!("{}{middle}{close}", open.repeat(100_000)));
        }
        messages(&format!("a = {}1{}", "[".repeat(50_000), "]".repeat(50_000)));
        messages(&format!("a = {}", "{a=".repeat(50_000)));
        messages(&format!("[{}a]", "a.".repeat(50_000)));
    }
}
