//! The definition of a probe, checked: what is asked of an address, and what counts as an answer.
//!
//! Definitions are normal: two that ask the same are equal, whatever the order in which they are written. Probes of equal
//! definitions on one address run once.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use regex::Regex;

use crate::spec::probes::{INTERVAL_DEFAULT, KindSpec, ProbeSpec};

/// For the whole probe, unless said otherwise, or the interval is shorter.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(2);

/// Successes in a row that bring an address up, unless said otherwise.
const RISE_DEFAULT: u32 = 2;

/// Failures in a row that take it down, unless said otherwise.
const FALL_DEFAULT: u32 = 3;

/// A probe.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Probe {
    /// What is asked.
    pub kind: Kind,
    /// At which port.
    pub port: u16,
    /// From start to start.
    pub interval: Duration,
    /// For the whole probe; not above the interval.
    pub timeout: Duration,
    /// Successes in a row that bring an address up.
    pub rise: u32,
    /// Failures in a row that take it down.
    pub fall: u32,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// That a connection is accepted.
    Tcp,
    /// That a request is answered.
    Http(Http),
}

/// A request, and what answers it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Http {
    /// The target of the request.
    pub path: String,
    /// The Host header and SNI; the address if there is none.
    pub host: Option<String>,
    /// The method.
    pub method: String,
    /// More headers, names in lower case, sorted.
    pub headers: Vec<(String, String)>,
    /// The status codes that pass: ranges, both ends included, sorted, apart.
    pub status: Vec<(u16, u16)>,
    /// What the body must hold.
    pub body: Option<Body>,
    /// For https: how the certificate is checked.
    pub tls: Option<Verify>,
}

/// What a body must hold, within its first 64 KiB.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Body {
    /// This text.
    Contains(String),
    /// A match of this regular expression.
    Matches(Expression),
}

/// A regular expression, compiled once. Those that are written alike are equal.
#[derive(Debug, Clone)]
pub struct Expression {
    text: String,
    /// Shared by all copies, and so is the memory that it works in.
    compiled: Arc<Regex>,
}

impl Expression {
    /// The expression that was written, if it is one.
    pub fn new(text: &str) -> Option<Self> {
        let compiled = Arc::new(Regex::new(text).ok()?);
        let text = text.to_owned();
        Some(Self { text, compiled })
    }

    /// Whether it matches somewhere in a text.
    pub fn is_match(&self, text: &str) -> bool {
        self.compiled.is_match(text)
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Expression {}

impl PartialOrd for Expression {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Expression {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text.cmp(&other.text)
    }
}

impl Hash for Expression {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

/// How a certificate is checked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verify {
    /// Against the system's roots.
    System,
    /// Against the certificates of a file.
    File(PathBuf),
    /// Not at all.
    No,
}

impl Probe {
    /// The probe that was written, with the defaults. `None` if its kind, the port that it needs, or its regular expression could not be read.
    pub fn new(spec: &ProbeSpec) -> Option<Self> {
        let (kind, port) = match spec.kind? {
            KindSpec::Tcp => (Kind::Tcp, spec.port?),
            KindSpec::Http => (Kind::Http(Http::new(spec, None)?), spec.port.unwrap_or(80)),
            KindSpec::Https => {
                let verify = match (&spec.ca, spec.verify) {
                    (_, Some(false)) => Verify::No,
                    (Some(file), _) => Verify::File(file.value.as_str().into()),
                    (None, _) => Verify::System,
                };
                (Kind::Http(Http::new(spec, Some(verify))?), spec.port.unwrap_or(443))
            }
        };
        let interval = spec
            .interval
            .as_ref()
            .map_or(INTERVAL_DEFAULT, |interval| interval.value);
        Some(Self {
            kind,
            port,
            interval,
            timeout: spec
                .timeout
                .as_ref()
                .map_or(TIMEOUT_DEFAULT.min(interval), |timeout| timeout.value),
            rise: spec.rise.unwrap_or(RISE_DEFAULT),
            fall: spec.fall.unwrap_or(FALL_DEFAULT),
        })
    }

    /// Makes relative paths count from a folder.
    pub fn find_files(&mut self, folder: &Path) {
        if let Kind::Http(Http {
            tls: Some(Verify::File(path)),
            ..
        }) = &mut self.kind
        {
            *path = folder.join(&*path);
        }
    }
}

impl Kind {
    /// `tcp`, `http` or `https`, as written.
    pub fn word(&self) -> &'static str {
        match self {
            Kind::Tcp => "tcp",
            Kind::Http(Http { tls: None, .. }) => "http",
            Kind::Http(_) => "https",
        }
    }
}

impl Http {
    fn new(spec: &ProbeSpec, tls: Option<Verify>) -> Option<Self> {
        let mut headers: Vec<_> = spec
            .headers
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
            .collect();
        headers.sort();
        let body = match spec.body.as_deref() {
            Some(text) => Some(Body::new(text)?),
            None => None,
        };
        Some(Self {
            path: spec.path.clone().unwrap_or_else(|| "/".to_owned()),
            host: spec.host.as_ref().map(|host| host.to_ascii_lowercase()),
            method: spec.method.clone().unwrap_or_else(|| "GET".to_owned()),
            headers,
            status: if spec.status.is_empty() {
                vec![(200, 399)]
            } else {
                merged(&spec.status)
            },
            body,
            tls,
        })
    }
}

impl Body {
    /// A regular expression stands between slashes.
    fn new(text: &str) -> Option<Self> {
        match text.strip_prefix('/').and_then(|text| text.strip_suffix('/')) {
            Some(expression) => Expression::new(expression).map(Body::Matches),
            None => Some(Body::Contains(text.to_owned())),
        }
    }
}

/// Ranges sorted, and joined where they touch.
fn merged(ranges: &[(u16, u16)]) -> Vec<(u16, u16)> {
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable();
    let mut merged: Vec<(u16, u16)> = Vec::new();
    for (from, to) in sorted {
        match merged.last_mut() {
            Some((_, end)) if from <= end.saturating_add(1) => *end = to.max(*end),
            _ => merged.push((from, to)),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_what_is_written() {
        let [one, same, other] = ["ok+", "ok+", "ok{1,}"].map(|text| Expression::new(text).unwrap());
        assert_eq!(one, same);
        assert!(one != other && one.cmp(&same).is_eq() && one > Expression::new("a").unwrap());
        assert!(one.is_match("it is okk") && !one.is_match("o"));
        assert!(Expression::new("ok(").is_none());
    }

    #[test]
    fn what_asks_the_same_is_equal() {
        let spec = |status: &[(u16, u16)], headers: &[(&str, &str)]| ProbeSpec {
            kind: Some(KindSpec::Http),
            status: status.to_vec(),
            headers: headers
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .collect(),
            ..ProbeSpec::default()
        };
        let one = Probe::new(&spec(
            &[(200, 299), (304, 304), (300, 300)],
            &[("X-A", "1"), ("b", "2")],
        ))
        .unwrap();
        let other = Probe::new(&spec(
            &[(200, 250), (304, 304), (240, 300)],
            &[("B", "2"), ("x-a", "1")],
        ))
        .unwrap();
        assert_eq!(one, other);
        assert_eq!(
            (one.port, one.timeout, one.rise, one.fall),
            (80, Duration::from_secs(2), 2, 3)
        );
    }
}
