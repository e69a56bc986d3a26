//! One TOML value, read as what it should be: each getter tells the fault if it is something else.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::reader::Table;
use super::{At, Faults, Span};

/// The greatest TTL: 2^31 - 1 seconds (RFC 2181 8).
pub const TTL_MAX: u32 = i32::MAX as u32;

/// A value as it is written.
#[derive(Debug, Clone, Copy)]
pub struct Value<'t> {
    inner: &'t Spanned<DeValue<'t>>,
}

/// A string that is read further: a fault in it is shown at its place in the string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// What it says.
    pub text: String,
    /// Where it is, quotes included.
    pub span: Span,
    /// Where its first octet is, if it is written without escapes, so that octets can be counted.
    start: Option<usize>,
}

impl Text {
    /// The place of an octet of the text; of the whole string if it is written with escapes.
    pub fn place(&self, offset: usize) -> Span {
        let Some(start) = self.start else {
            return self.span.clone();
        };
        let mut from = offset.min(self.text.len());
        while !self.text.is_char_boundary(from) {
            from -= 1;
        }
        let word = self.text.get(from..).unwrap_or_default();
        let length = word.find(char::is_whitespace).unwrap_or(word.len());
        if length == 0 {
            self.span.clone()
        } else {
            start + from..start + from + length
        }
    }
}

/// A TTL as written at a steered owner or a root: one that is fixed, or the range that follows health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TtlSpec {
    /// So many seconds.
    Fixed(u32),
    /// Between two, in seconds.
    Range {
        /// At least.
        min: u32,
        /// At most.
        max: u32,
    },
}

impl<'t> Value<'t> {
    /// Wraps the parser's value.
    pub fn new(inner: &'t Spanned<DeValue<'t>>) -> Self {
        Self { inner }
    }

    /// Where it is.
    pub fn span(self) -> Span {
        self.inner.span()
    }

    /// The string, if it is one.
    pub fn as_str(self) -> Option<&'t str> {
        self.inner.get_ref().as_str()
    }

    /// Whether it is a table.
    pub fn is_table(self) -> bool {
        self.inner.get_ref().is_table()
    }

    /// The table, if it is one.
    pub fn as_table(self) -> Option<Table<'t>> {
        self.inner
            .get_ref()
            .as_table()
            .map(|table| Table::new(table, self.span()))
    }

    /// The elements, if it is an array.
    pub fn as_array(self) -> Option<Vec<Value<'t>>> {
        self.inner
            .get_ref()
            .as_array()
            .map(|array| array.iter().map(Value::new).collect())
    }

    /// Tells that it should be something else.
    pub fn expected(self, what: &str, faults: &mut Faults) {
        self.expected_hint(what, None, faults);
    }

    /// Tells that it should be something else, with a hint.
    pub fn expected_hint(self, what: &str, hint: Option<String>, faults: &mut Faults) {
        let found = match self.inner.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        faults.error_hint(&self.span(), format!("expected {what}, found {found}"), hint);
    }

    /// A table.
    pub fn table(self, faults: &mut Faults) -> Option<Table<'t>> {
        let table = self.as_table();
        if table.is_none() {
            self.expected("a table", faults);
        }
        table
    }

    /// A list; a value alone is a list of one.
    pub fn list(self) -> Vec<Value<'t>> {
        self.as_array().unwrap_or_else(|| vec![self])
    }

    /// A list of at least one; a value alone is a list of one.
    pub fn filled_list(self, faults: &mut Faults) -> Vec<Value<'t>> {
        let list = self.list();
        if list.is_empty() {
            faults.missing(&self.span(), "the list is empty", None);
        }
        list
    }

    /// A string.
    pub fn string(self, faults: &mut Faults) -> Option<At<String>> {
        let string = self.as_str();
        if string.is_none() {
            self.expected("a string", faults);
        }
        string.map(|string| At::new(string.to_owned(), self.span()))
    }

    /// A string that is read further.
    pub fn text(self, faults: &mut Faults) -> Option<Text> {
        let text = self.string(faults)?.value;
        let span = self.span();
        let written = faults.source().text.get(span.clone()).unwrap_or_default();
        let start = [3, 1].into_iter().find(|&quotes| {
            let inside = written
                .len()
                .checked_sub(quotes)
                .and_then(|end| written.get(quotes..end));
            inside == Some(&text)
        });
        let start = start.map(|quotes| span.start + quotes);
        Some(Text { text, span, start })
    }

    /// A list of strings, or one alone. Those that are no strings are left out and told.
    pub fn strings(self, faults: &mut Faults) -> Vec<At<String>> {
        self.filled_list(faults)
            .into_iter()
            .filter_map(|value| value.string(faults))
            .collect()
    }

    /// `true` or `false`.
    pub fn boolean(self, faults: &mut Faults) -> Option<bool> {
        let boolean = self.inner.get_ref().as_bool();
        if boolean.is_none() {
            self.expected("`true` or `false`", faults);
        }
        boolean
    }

    /// One of some words.
    pub fn word<T: Copy>(self, words: &[(&str, T)], faults: &mut Faults) -> Option<T> {
        let written = self.string(faults)?;
        if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == written.value) {
            return Some(*meaning);
        }
        let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        let quoted: Vec<_> = known.iter().map(|word| format!("\"{word}\"")).collect();
        faults.error_hint(
            &written.span,
            format!("expected {}, found \"{}\"", one_of(&quoted), written.value),
            super::reader::did_you_mean(&written.value, known),
        );
        None
    }

    /// The integer, if it is one and fits.
    pub fn as_integer(self) -> Option<i128> {
        let integer = self.inner.get_ref().as_integer()?;
        // What does not fit is out of every range anyway.
        Some(i128::from_str_radix(integer.as_str(), integer.radix()).unwrap_or(i128::MAX))
    }

    /// An integer within a range. `what` names it: "a port".
    pub fn integer(self, what: &str, range: RangeInclusive<u32>, faults: &mut Faults) -> Option<u32> {
        let expected = format!("{what} from {} to {}", range.start(), range.end());
        let Some(integer) = self.as_integer() else {
            self.expected(&expected, faults);
            return None;
        };
        let found = u32::try_from(integer).ok().filter(|integer| range.contains(integer));
        if found.is_none() {
            faults.error(
                &self.span(),
                format!("expected {expected}, found {}", self.written(faults)),
            );
        }
        found
    }

    /// A number within a range, with or without a fraction. `what` names it: "a latitude".
    pub fn number(self, what: &str, range: RangeInclusive<f64>, faults: &mut Faults) -> Option<f64> {
        let expected = format!("{what} from {} to {}", range.start(), range.end());
        let Some(number) = self.as_number() else {
            self.expected(&expected, faults);
            return None;
        };
        if !range.contains(&number) {
            faults.error(
                &self.span(),
                format!("expected {expected}, found {}", self.written(faults)),
            );
            return None;
        }
        Some(number)
    }

    /// The number, if it is one, with or without a fraction.
    pub fn as_number(self) -> Option<f64> {
        match self.inner.get_ref() {
            DeValue::Float(float) => float.as_str().replace('_', "").parse().ok(),
            DeValue::Integer(_) => self.as_integer().map(|integer| integer as f64),
            _ => None,
        }
    }

    /// A duration in whole seconds: an integer, or a string with a unit.
    pub fn seconds(self, faults: &mut Faults) -> Option<u32> {
        let duration = self.duration(Units::Seconds, faults)?;
        let seconds = u32::try_from(duration.as_secs())
            .ok()
            .filter(|&seconds| seconds <= TTL_MAX);
        if seconds.is_none() {
            faults.error(&self.span(), format!("more than {TTL_MAX} seconds (RFC 2181 8)"));
        }
        seconds
    }

    /// A duration: an integer is seconds, a string carries its unit.
    pub fn duration(self, units: Units, faults: &mut Faults) -> Option<Duration> {
        let hint =
            || Some("an integer is seconds; a string has a unit: \"90s\", \"5m\", \"2h\", \"1d\", \"1w\"".to_owned());
        if let Some(integer) = self.as_integer() {
            let seconds = u64::try_from(integer)
                .ok()
                .filter(|&seconds| seconds <= u64::from(u32::MAX));
            if seconds.is_none() {
                let message = format!("{} is not a duration", self.written(faults));
                faults.error_hint(&self.span(), message, hint());
            }
            return seconds.map(Duration::from_secs);
        }
        let Some(written) = self.as_str() else {
            self.expected_hint("a duration", hint(), faults);
            return None;
        };
        let duration = parse_duration(written, units);
        if duration.is_none() {
            faults.error_hint(&self.span(), format!("\"{written}\" is not a duration"), hint());
        }
        duration
    }

    /// A TTL that may be a range: a duration, or `{ min, max }`.
    pub fn ttl(self, faults: &mut Faults) -> Option<TtlSpec> {
        let Some(table) = self.as_table() else {
            return self.seconds(faults).map(TtlSpec::Fixed);
        };
        let (mut min, mut max) = (None, None);
        let before = faults.errors();
        for entry in &table.entries {
            match entry.key {
                "min" => min = entry.value.seconds(faults),
                "max" => max = entry.value.seconds(faults),
                _ => entry.unknown("a TTL", &["min", "max"], faults),
            }
        }
        if faults.errors() > before {
            return None;
        }
        let (Some(min), Some(max)) = (min, max) else {
            let missing = if min.is_none() { "min" } else { "max" };
            faults.missing(
                &table.span,
                format!("the TTL has no `{missing}`"),
                "write both, as in { min = \"5s\", max = \"2m\" }, or one duration".to_owned(),
            );
            return None;
        };
        if min > max {
            faults.error(&table.span, format!("`min` ({min} s) is above `max` ({max} s)"));
            return None;
        }
        Some(TtlSpec::Range { min, max })
    }

    /// The value as it stands in the file.
    fn written(self, faults: &Faults) -> String {
        faults.source().text.get(self.span()).unwrap_or_default().to_owned()
    }
}

/// How fine a duration may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Units {
    /// Whole seconds.
    Seconds,
    /// Milliseconds too: "500ms".
    Milliseconds,
}

/// Reads a number and its unit.
fn parse_duration(text: &str, units: Units) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u32 = number.parse().ok()?;
    let seconds_each = match unit {
        "ms" if units == Units::Milliseconds => return Some(Duration::from_millis(u64::from(number))),
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return None,
    };
    Some(Duration::from_secs(u64::from(number) * seconds_each))
}

/// "a", "a or b", "a, b or c".
pub fn one_of(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use toml::de::DeTable;

    use super::*;
    use crate::diagnostic::Source;

    #[test]
    fn reads_durations() {
        assert_eq!(parse_duration("90s", Units::Seconds), Some(Duration::from_secs(90)));
        assert_eq!(parse_duration("1w", Units::Seconds), Some(Duration::from_secs(604_800)));
        assert_eq!(
            parse_duration("500ms", Units::Milliseconds),
            Some(Duration::from_millis(500))
        );
        for text in ["", "5", "s", "-5s", "5 s", "5M", "500ms", "1.5h", "99999999999s", "5m5"] {
            assert_eq!(parse_duration(text, Units::Seconds), None, "{text}");
        }
    }

    #[test]
    fn a_place_in_a_string_is_its_place_in_the_file() {
        let place = |written: &str, offset| {
            let source = Source::new("a.toml", format!("a = {written}\n"));
            let mut faults = Faults::new(&source);
            let document = DeTable::parse(&source.text).unwrap();
            let table = Table::new(document.get_ref(), document.span());
            let place = table.entries[0].value.text(&mut faults).unwrap().place(offset);
            source.text[place].to_owned()
        };
        assert_eq!(place("\"10 mail x\"", 3), "mail");
        assert_eq!(place("'10 mail'", 5), "il");
        assert_eq!(place("\"\"\"10 mail\"\"\"", 0), "10");
        // At the end there is nothing to mark but the whole; escapes cannot be counted.
        assert_eq!(place("\"10 mail\"", 7), "\"10 mail\"");
        assert_eq!(place("\"10\\u0020mail\"", 3), "\"10\\u0020mail\"");
        assert_eq!(place("\"\"", 0), "\"\"");
        assert_eq!(place("\"üü x\"", 1), "üü");
    }
}
