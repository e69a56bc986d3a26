//! windrose.toml: what it says of the daemon itself, table by table. What is not said stays `None`; the defaults are applied by
//! whoever knows the folder.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tracing::Level;

use super::rate_limit::{self, RateLimit};
use super::reader::{Entry, Table};
use super::steering::{self, SteeringSpec};
use super::value::{Units, Value};
use super::{At, Faults, syntax};
use crate::diagnostic::Source;
use crate::wire::cookie::Cookies;

/// The most octets of a text that goes into one character string of a TXT record (RFC 1035 3.3).
const CHARACTER_STRING_MAX: usize = 255;

/// The most UDP threads: more than any machine has cores.
const WORKERS_MAX: u32 = 1_024;

/// What windrose.toml says.
#[derive(Debug, Clone, Default)]
pub struct SettingsSpec {
    /// `[server] listen`.
    pub listen: Option<Vec<SocketAddr>>,
    /// `[server] workers`.
    pub workers: Option<u32>,
    /// Whether `[server] engine` is "portable".
    pub portable: Option<bool>,
    /// `[server] zones`.
    pub zones: Option<At<String>>,
    /// Whether a fault may hide what `zones` is.
    pub hides_zones: bool,
    /// `[server] client_subnet`.
    pub client_subnet: Option<bool>,
    /// `[server] nsid`.
    pub nsid: Option<String>,
    /// `[server] version`.
    pub version: Option<String>,
    /// `[server] cookies`.
    pub cookies: Option<Cookies>,
    /// `[server] cookie_secret_file`.
    pub cookie_secret_file: Option<At<String>>,
    /// `[server] rate_limit`.
    pub rate_limit: Option<RateLimit>,
    /// `[geo] city`.
    pub city: Option<Vec<At<String>>>,
    /// `[geo] asn`.
    pub asn: Option<Vec<At<String>>>,
    /// `[health] warmup`.
    pub warmup: Option<Duration>,
    /// `[control] socket`.
    pub socket: Option<String>,
    /// `[control] listen`: `Some(None)` is off.
    pub control_listen: Option<Option<SocketAddr>>,
    /// `[log] level`.
    pub level: Option<Level>,
    /// `[log] format`: whether JSON.
    pub json: Option<bool>,
    /// What it defines for every zone.
    pub steering: SteeringSpec,
}

const TABLES: &[&str] = &[
    "server",
    "geo",
    "health",
    "control",
    "log",
    "pools",
    "policies",
    "probes",
    "locations",
    "networks",
];
const ELSEWHERE: &[&str] = &["zone", "soa", "records"];

/// Reads windrose.toml.
pub fn read(source: &Arc<Source>, faults: &mut Faults) -> SettingsSpec {
    syntax::read(source, faults, walk, |_| {
        let steering = SteeringSpec {
            incomplete: true,
            ..SteeringSpec::default()
        };
        SettingsSpec {
            steering,
            hides_zones: true,
            ..SettingsSpec::default()
        }
    })
}

fn walk(document: &Table<'_>, faults: &mut Faults) -> SettingsSpec {
    let mut spec = SettingsSpec::default();
    for entry in &document.entries {
        match entry.key {
            "server" => {
                spec.hides_zones |= !entry.value.is_table();
                each(entry, faults, |entry, faults| server(entry, &mut spec, faults));
            }
            "geo" => each(entry, faults, |entry, faults| geo(entry, &mut spec, faults)),
            "health" => each(entry, faults, |entry, faults| health(entry, &mut spec, faults)),
            "control" => each(entry, faults, |entry, faults| control(entry, &mut spec, faults)),
            "log" => each(entry, faults, |entry, faults| log(entry, &mut spec, faults)),
            key if steering::TABLES.contains(&key) => spec.steering.read(entry, faults),
            key if ELSEWHERE.contains(&key) => {
                entry.unknown_hint("windrose.toml", format!("[{key}] belongs in a zone file"), faults);
            }
            _ => {
                // Its name may be misspelled: what is looked for in vain may be in it.
                spec.steering.incomplete |= entry.value.is_table();
                spec.hides_zones = true;
                entry.unknown("windrose.toml", TABLES, faults);
            }
        }
    }
    if faults.is_broken() {
        spec.steering.poison();
        spec.hides_zones = true;
    }
    spec
}

fn each(entry: &Entry<'_>, faults: &mut Faults, mut read: impl FnMut(&Entry<'_>, &mut Faults)) {
    let Some(table) = entry.value.table(faults) else { return };
    for entry in &table.entries {
        read(entry, faults);
    }
}

const SERVER_KEYS: &[&str] = &[
    "listen",
    "workers",
    "engine",
    "zones",
    "client_subnet",
    "nsid",
    "version",
    "cookies",
    "cookie_secret_file",
    "rate_limit",
];

const COOKIES: &[(&str, Cookies)] = &[
    ("on", Cookies::On),
    ("off", Cookies::Off),
    ("required", Cookies::Required),
];

fn server(entry: &Entry<'_>, spec: &mut SettingsSpec, faults: &mut Faults) {
    let value = entry.value;
    match entry.key {
        "listen" => spec.listen = Some(listen(value, faults)),
        "workers" => spec.workers = value.integer("a number of threads", 0..=WORKERS_MAX, faults),
        "engine" => spec.portable = engine(value, faults),
        "zones" => {
            spec.zones = path(value, faults);
            spec.hides_zones |= spec.zones.is_none();
        }
        "client_subnet" => spec.client_subnet = value.boolean(faults),
        "nsid" => spec.nsid = short(value, faults),
        "version" => spec.version = short(value, faults),
        "cookies" => spec.cookies = value.word(COOKIES, faults),
        "cookie_secret_file" => spec.cookie_secret_file = path(value, faults),
        "rate_limit" => spec.rate_limit = rate_limit::read(value, faults),
        _ => {
            // It may be `zones`, misspelled.
            spec.hides_zones = true;
            entry.unknown("[server]", SERVER_KEYS, faults);
        }
    }
}

fn listen(value: Value<'_>, faults: &mut Faults) -> Vec<SocketAddr> {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for written in value.strings(faults) {
        let Some(address) = socket_address(&written, faults) else {
            continue;
        };
        if address.port() != 0 && addresses.contains(&address) {
            faults.error(&written.span, format!("{address} is given twice"));
        } else {
            addresses.push(address);
        }
    }
    addresses
}

fn socket_address(written: &At<String>, faults: &mut Faults) -> Option<SocketAddr> {
    let address = written.value.parse().ok();
    if address.is_none() {
        faults.error_hint(
            &written.span,
            format!("\"{}\" is not an address with a port", written.value),
            "write \"192.0.2.1:53\" or \"[2001:db8::1]:53\"; \"0.0.0.0:53\" and \"[::]:53\" are all addresses"
                .to_owned(),
        );
    }
    address
}

fn engine(value: Value<'_>, faults: &mut Faults) -> Option<bool> {
    let portable = value.word(&[("native", false), ("portable", true)], faults)?;
    if !portable && cfg!(not(target_os = "linux")) {
        faults.error_hint(
            &value.span(),
            "the native engine needs Linux",
            "\"portable\" is what this system has, and the default here".to_owned(),
        );
    }
    Some(portable)
}

fn path(value: Value<'_>, faults: &mut Faults) -> Option<At<String>> {
    let path = value.string(faults)?;
    if path.value.is_empty() || path.value.contains('\0') {
        faults.error(&path.span, "expected a path");
        return None;
    }
    Some(path)
}

/// A text that is sent as it is in one character string.
fn short(value: Value<'_>, faults: &mut Faults) -> Option<String> {
    let text = value.string(faults)?;
    if text.value.len() > CHARACTER_STRING_MAX {
        faults.error(&text.span, format!("more than {CHARACTER_STRING_MAX} octets"));
        return None;
    }
    Some(text.value)
}

fn geo(entry: &Entry<'_>, spec: &mut SettingsSpec, faults: &mut Faults) {
    let mut paths = || {
        entry
            .value
            .list()
            .into_iter()
            .filter_map(|value| path(value, faults))
            .collect()
    };
    match entry.key {
        "city" => spec.city = Some(paths()),
        "asn" => spec.asn = Some(paths()),
        _ => entry.unknown("[geo]", &["city", "asn"], faults),
    }
}

fn health(entry: &Entry<'_>, spec: &mut SettingsSpec, faults: &mut Faults) {
    match entry.key {
        "warmup" => spec.warmup = entry.value.duration(Units::Milliseconds, faults),
        _ => entry.unknown("[health]", &["warmup"], faults),
    }
}

fn control(entry: &Entry<'_>, spec: &mut SettingsSpec, faults: &mut Faults) {
    match entry.key {
        "socket" => spec.socket = path(entry.value, faults).map(|path| path.value),
        "listen" if entry.value.as_str() == Some("") => spec.control_listen = Some(None),
        "listen" => {
            let written = entry.value.string(faults);
            spec.control_listen = written.and_then(|written| socket_address(&written, faults)).map(Some);
        }
        _ => entry.unknown("[control]", &["socket", "listen"], faults),
    }
}

fn log(entry: &Entry<'_>, spec: &mut SettingsSpec, faults: &mut Faults) {
    const LEVELS: &[(&str, Level)] = &[
        ("error", Level::ERROR),
        ("warn", Level::WARN),
        ("info", Level::INFO),
        ("debug", Level::DEBUG),
        ("trace", Level::TRACE),
    ];
    match entry.key {
        "level" => spec.level = entry.value.word(LEVELS, faults),
        "format" => spec.json = entry.value.word(&[("text", false), ("json", true)], faults),
        _ => entry.unknown("[log]", &["level", "format"], faults),
    }
}
