//! `[probes.NAME]`: how an address is tried. Which keys a kind has is held here, and that each value can be sent.

use std::time::Duration;

use super::reader::{Entry, Table};
use super::value::{Units, Value};
use super::{At, Faults};

/// The most successes or failures in a row that may be asked for.
const STREAK_MAX: u32 = 1_000;

/// A probe.
#[derive(Debug, Clone, Default)]
pub struct ProbeSpec {
    /// What is spoken.
    pub kind: Option<KindSpec>,
    /// The port.
    pub port: Option<u16>,
    /// What is asked for.
    pub path: Option<String>,
    /// The Host header and SNI.
    pub host: Option<String>,
    /// The method.
    pub method: Option<String>,
    /// More headers.
    pub headers: Vec<(String, String)>,
    /// The status codes that pass, as ranges.
    pub status: Vec<(u16, u16)>,
    /// What the body must hold.
    pub body: Option<String>,
    /// Whether the certificate is checked.
    pub verify: Option<bool>,
    /// A file of certificates to check it against.
    pub ca: Option<At<String>>,
    /// From start to start.
    pub interval: Option<At<Duration>>,
    /// For the whole probe.
    pub timeout: Option<At<Duration>>,
    /// Successes in a row that bring an address up.
    pub rise: Option<u32>,
    /// Failures in a row that take it down.
    pub fall: Option<u32>,
}

/// What a probe speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KindSpec {
    /// A connection.
    Tcp,
    /// A request.
    Http,
    /// A request over TLS.
    Https,
}

const KINDS: &[(&str, KindSpec)] = &[
    ("tcp", KindSpec::Tcp),
    ("http", KindSpec::Http),
    ("https", KindSpec::Https),
];

const KEYS: &[&str] = &[
    "kind", "port", "path", "host", "method", "headers", "expect", "verify", "ca", "interval", "timeout", "rise",
    "fall",
];

/// The least kind that each key has a meaning for, for those that do not fit all.
const NEEDS: &[(&str, KindSpec)] = &[
    ("path", KindSpec::Http),
    ("host", KindSpec::Http),
    ("method", KindSpec::Http),
    ("headers", KindSpec::Http),
    ("expect", KindSpec::Http),
    ("verify", KindSpec::Https),
    ("ca", KindSpec::Https),
];

/// Reads a probe.
pub fn read(value: Value<'_>, faults: &mut Faults) -> ProbeSpec {
    let mut probe = ProbeSpec::default();
    let Some(table) = value.table(faults) else { return probe };
    let before = faults.errors();
    for entry in &table.entries {
        key(entry, &mut probe, faults);
    }
    match probe.kind {
        Some(kind) => fits(kind, &table, probe.verify, faults),
        None if faults.errors() == before => {
            let hint = "kind = \"tcp\", \"http\" or \"https\"".to_owned();
            faults.missing(&table.span, "the probe has no `kind`", hint);
        }
        None => {}
    }
    if probe.kind == Some(KindSpec::Tcp) && probe.port.is_none() && faults.errors() == before {
        faults.missing(
            &table.span,
            "the probe has no `port`",
            "a TCP connection needs one".to_owned(),
        );
    }
    if probe.verify == Some(false)
        && let Some(entry) = table.get("ca")
    {
        faults.error(&entry.key_span, "`ca` has no meaning where verify = false");
    }
    let (interval, timeout) = (probe.interval.as_ref(), probe.timeout.as_ref());
    let longest = interval.map_or(INTERVAL_DEFAULT, |interval| interval.value);
    if let Some(timeout) = timeout.filter(|timeout| timeout.value > longest)
        && (interval.is_some() || !faults.is_broken())
    {
        faults.error_hint(
            &timeout.span,
            format!("the timeout ({:?}) is above the interval ({longest:?})", timeout.value),
            "a probe ends before the next one starts".to_owned(),
        );
    }
    probe
}

/// From start to start, unless said otherwise.
pub const INTERVAL_DEFAULT: Duration = Duration::from_secs(10);

fn key(entry: &Entry<'_>, probe: &mut ProbeSpec, faults: &mut Faults) {
    let value = entry.value;
    match entry.key {
        "kind" => probe.kind = value.word(KINDS, faults),
        "port" => {
            probe.port = value
                .integer("a port", 1..=65_535, faults)
                .and_then(|port| u16::try_from(port).ok())
        }
        "path" => {
            probe.path = sendable(value, "a path that starts with `/`", faults, |text| {
                text.starts_with('/')
            })
        }
        "host" => probe.host = sendable(value, "a host name", faults, |text| !text.contains('/')),
        "method" => probe.method = sendable(value, "a method", faults, is_token),
        "headers" => probe.headers = headers(value, faults),
        "expect" => expect(value, probe, faults),
        "verify" => probe.verify = value.boolean(faults),
        "ca" => probe.ca = value.string(faults),
        "interval" => probe.interval = duration(value, faults),
        "timeout" => probe.timeout = duration(value, faults),
        "rise" => probe.rise = value.integer("a number of probes", 1..=STREAK_MAX, faults),
        "fall" => probe.fall = value.integer("a number of probes", 1..=STREAK_MAX, faults),
        "status" | "body" => {
            let hint = format!("it stands in `expect`: expect = {{ {} = ... }}", entry.key);
            entry.unknown_hint("a probe", hint, faults);
        }
        _ => entry.unknown("a probe", KEYS, faults),
    }
}

/// Tells the keys that mean nothing to this kind.
fn fits(kind: KindSpec, table: &Table<'_>, verify: Option<bool>, faults: &mut Faults) {
    for entry in &table.entries {
        // What goes without saying may be said.
        if entry.key == "verify" && verify == Some(true) && kind == KindSpec::Http {
            continue;
        }
        let Some((_, least)) = NEEDS.iter().find(|(key, least)| *key == entry.key && *least > kind) else {
            continue;
        };
        let word = |kind| {
            KINDS
                .iter()
                .find(|(_, other)| *other == kind)
                .map_or("", |(word, _)| word)
        };
        let hint = match least {
            KindSpec::Https => "kind = \"https\" has it",
            _ => "kinds \"http\" and \"https\" have it",
        };
        let message = format!("`{}` has no meaning where kind = \"{}\"", entry.key, word(kind));
        faults.error_hint(&entry.key_span, message, hint.to_owned());
    }
}

fn duration(value: Value<'_>, faults: &mut Faults) -> Option<At<Duration>> {
    let duration = value.duration(Units::Milliseconds, faults)?;
    if duration.is_zero() {
        faults.error(&value.span(), "a duration above 0 is needed here");
        return None;
    }
    Some(At::new(duration, value.span()))
}

/// A text that goes into a request line or header: visible ASCII, without spaces.
fn sendable(value: Value<'_>, what: &str, faults: &mut Faults, good: fn(&str) -> bool) -> Option<String> {
    let text = value.string(faults)?;
    let visible = !text.value.is_empty() && text.value.bytes().all(|octet| octet.is_ascii_graphic());
    if !visible || !good(&text.value) {
        faults.error(&text.span, format!("expected {what}, found \"{}\"", text.value));
        return None;
    }
    Some(text.value)
}

/// RFC 9110 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|octet| octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&octet))
}

fn headers(value: Value<'_>, faults: &mut Faults) -> Vec<(String, String)> {
    let Some(table) = value.table(faults) else {
        return Vec::new();
    };
    let mut headers = Vec::new();
    for entry in &table.entries {
        if !is_token(entry.key) {
            faults.error(&entry.key_span, format!("`{}` is no header name", entry.key));
            continue;
        }
        let Some(text) = entry.value.string(faults) else {
            continue;
        };
        if text
            .value
            .bytes()
            .any(|octet| octet.is_ascii_control() && octet != b'\t')
        {
            faults.error(&text.span, "a header has no line breaks or control characters");
            continue;
        }
        headers.push((entry.key.to_owned(), text.value));
    }
    headers
}

fn expect(value: Value<'_>, probe: &mut ProbeSpec, faults: &mut Faults) {
    let Some(table) = value.table(faults) else { return };
    for entry in &table.entries {
        match entry.key {
            "status" => {
                let list = entry.value.filled_list(faults);
                probe.status = list.into_iter().filter_map(|value| status(value, faults)).collect();
            }
            "body" => probe.body = body(entry.value, faults),
            _ => entry.unknown("`expect`", &["status", "body"], faults),
        }
    }
}

fn body(value: Value<'_>, faults: &mut Faults) -> Option<String> {
    let body = value.string(faults)?;
    if body.value.is_empty() || body.value == "//" {
        faults.error(&body.span, "the text to look for is empty");
        return None;
    }
    let expression = body.value.strip_prefix('/').and_then(|text| text.strip_suffix('/'));
    if let Some(Err(error)) = expression.map(regex::Regex::new) {
        // Its last line says what is wrong; those before it show where.
        let told = error.to_string();
        let what = told
            .lines()
            .last()
            .unwrap_or_default()
            .trim_start_matches("error: ")
            .to_owned();
        faults.error(
            &body.span,
            format!("\"{}\" is not a regular expression: {what}", body.value),
        );
        return None;
    }
    Some(body.value)
}

/// A status code, or a range of them: "200-299".
fn status(value: Value<'_>, faults: &mut Faults) -> Option<(u16, u16)> {
    let Some(text) = value.as_str() else {
        let code = u16::try_from(value.integer("a status code", 100..=599, faults)?).ok()?;
        return Some((code, code));
    };
    let code = |text: &str| text.parse().ok().filter(|code| (100..=599).contains(code));
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    match (code(from), code(to)) {
        (Some(from), Some(to)) if from <= to => Some((from, to)),
        _ => {
            let message = format!("\"{text}\" is not a range of status codes");
            faults.error_hint(&value.span(), message, "as in \"200-299\"".to_owned());
            None
        }
    }
}
