//! Prometheus' text format, version 0.0.4: what every version of Prometheus reads, and what promtool lints.

use std::fmt::{Display, Write};

/// What it is called in HTTP.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A text that grows by families of samples.
#[derive(Debug, Default)]
pub(super) struct Exposition {
    text: String,
}

/// What kind of number a family has.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// It never falls, but to 0 at a start. Its name ends in `_total`.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Counts by upper bounds, a sum and a count.
    Histogram,
}

/// The samples of one family.
#[derive(Debug)]
pub(super) struct Family<'a> {
    name: &'static str,
    text: &'a mut String,
}

impl Exposition {
    /// Begins a family.
    pub(super) fn family(&mut self, name: &'static str, kind: Kind, help: &'static str) -> Family<'_> {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        // Writing to a string never fails, here and below.
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        Family {
            name,
            text: &mut self.text,
        }
    }

    /// A counter or gauge without labels.
    pub(super) fn single(&mut self, name: &'static str, kind: Kind, help: &'static str, value: impl Display) {
        self.family(name, kind, help).sample(&[], value);
    }

    /// All of it.
    pub(super) fn finish(self) -> String {
        self.text
    }
}

impl Family<'_> {
    /// A number with labels.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.line("", labels, value);
    }

    /// How many observations there were up to each bound and above the one before it (a number of seconds as text), how many beyond the last,
    /// and their sum in seconds.
    pub(super) fn histogram(&mut self, labels: &[(&str, &str)], bounds: &[(String, u64)], beyond: u64, sum: f64) {
        let mut count = 0;
        let last = ("+Inf".to_owned(), beyond);
        for (bound, more) in bounds.iter().chain([&last]) {
            count += more;
            self.line("_bucket", &[labels, &[("le", bound)]].concat(), count);
        }
        self.line("_sum", labels, sum);
        self.line("_count", labels, count);
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        let _ = write!(self.text, "{}{suffix}", self.name);
        for (at, (label, value)) in labels.iter().enumerate() {
            let _ = write!(self.text, "{}{label}=\"", if at == 0 { '{' } else { ',' });
            for c in value.chars() {
                match c {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    c => self.text.push(c),
                }
            }
            self.text.push('"');
        }
        let _ = writeln!(self.text, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_ranges_add_up() {
        let mut exposition = Exposition::default();
        exposition.single("up_seconds", Kind::Gauge, "How long.", 1.5);
        let mut family = exposition.family("took_seconds", Kind::Histogram, "How long each.");
        let bounds = [("0.1".to_owned(), 2), ("1".to_owned(), 3)];
        family.histogram(&[("name", "a\\b\"c\nd"), ("kind", "x")], &bounds, 1, 4.25);
        let expected = r#"# HELP up_seconds How long.
# TYPE up_seconds gauge
up_seconds 1.5
# HELP took_seconds How long each.
# TYPE took_seconds histogram
took_seconds_bucket{name="a\\b\"c\nd",kind="x",le="0.1"} 2
took_seconds_bucket{name="a\\b\"c\nd",kind="x",le="1"} 5
took_seconds_bucket{name="a\\b\"c\nd",kind="x",le="+Inf"} 6
took_seconds_sum{name="a\\b\"c\nd",kind="x"} 4.25
took_seconds_count{name="a\\b\"c\nd",kind="x"} 6
"#;
        assert_eq!(exposition.finish(), expected);
    }
}
