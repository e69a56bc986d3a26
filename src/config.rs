//! The daemon's settings, as windrose.toml gives them or by default.

#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::string_slice, clippy::cast_possible_truncation)
)]

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::spec::At;
use crate::spec::rate_limit::RateLimit;
use crate::spec::settings::SettingsSpec;
use crate::wire::cookie::Cookies;

/// The port served when windrose.toml names none: no root is needed for it.
pub const DEFAULT_PORT: u16 = 5300;

/// What windrose.toml says about the daemon itself. Paths are already counted from its folder.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Addresses served, UDP and TCP alike.
    pub listen: Vec<SocketAddr>,
    /// Whether `listen` is the default: then an address of a family that the host lacks is passed over.
    pub listen_is_default: bool,
    /// UDP threads for each address, or all threads of the portable engine; 0 is one per core.
    pub workers: usize,
    /// What carries queries to `answer()`.
    pub engine: Engine,
    /// The folder of the zones.
    pub zones: PathBuf,
    /// Whether EDNS Client Subnet is read (RFC 7871).
    pub client_subnet: bool,
    /// Sent to whoever asks for it (RFC 5001); empty for none.
    pub nsid: String,
    /// The answer to `version.bind TXT CH`; empty refuses.
    pub version: String,
    /// What is done about cookies (RFC 7873).
    pub cookies: Cookies,
    /// How many responses a network may have in a second; none where there is no limit.
    pub rate_limit: Option<RateLimit>,
    /// Location databases.
    pub geo: Geo,
    /// The file that holds what outlives the daemon; in `$STATE_DIRECTORY`, else beside the config.
    pub state: PathBuf,
    /// How long the first round of probes may hold back the first answer.
    pub warmup: Duration,
    /// The control API.
    pub control: Control,
    /// Log lines.
    pub log: Log,
}

/// The folders that the system gives the daemon; none where it does not.
#[derive(Debug, Clone, Default)]
pub struct SystemFolders {
    /// `$RUNTIME_DIRECTORY`.
    pub runtime: Option<PathBuf>,
    /// `$STATE_DIRECTORY`.
    pub state: Option<PathBuf>,
}

/// What carries queries to `answer()`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Our own sockets, on Linux.
    Native,
    /// Those of hickory-server, on any system.
    Portable,
}

impl Default for Engine {
    fn default() -> Self {
        if cfg!(target_os = "linux") {
            Engine::Native
        } else {
            Engine::Portable
        }
    }
}

/// Location databases, each list in order of preference.
#[derive(Debug, Clone)]
pub struct Geo {
    /// Files with places.
    pub city: Vec<PathBuf>,
    /// Files with autonomous system numbers.
    pub asn: Vec<PathBuf>,
    /// Whether `city` is the default: then it may be missing.
    pub city_is_default: bool,
    /// Whether `asn` is the default: then it may be missing.
    pub asn_is_default: bool,
}

/// The control API.
#[derive(Debug, Clone)]
pub struct Control {
    /// The Unix socket; by default in `$RUNTIME_DIRECTORY`, else beside the config.
    pub socket: PathBuf,
    /// HTTP; `None` is off.
    pub listen: Option<SocketAddr>,
}

/// Log lines.
#[derive(Debug, Clone, Copy)]
pub struct Log {
    /// The least level that is written.
    pub level: tracing::Level,
    /// How.
    pub format: LogFormat,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON document a line.
    Json,
}

impl Settings {
    /// What a windrose.toml says, and the defaults. Relative paths count from `folder`; the socket stands in the daemon's
    /// `$RUNTIME_DIRECTORY`, unless it is named or there is none, and the state in its `$STATE_DIRECTORY`.
    pub fn new(spec: &SettingsSpec, folder: &Path, system: &SystemFolders) -> Self {
        let default = Self::default();
        let paths = |list: &Option<Vec<At<String>>>, default: Vec<PathBuf>| match list {
            Some(list) => list.iter().map(|path| folder.join(&path.value)).collect(),
            None => default.iter().map(|path| folder.join(path)).collect(),
        };
        let default_socket = || {
            system
                .runtime
                .as_deref()
                .unwrap_or(folder)
                .join(&default.control.socket)
        };
        let format = |json| if json { LogFormat::Json } else { LogFormat::Text };
        Self {
            listen_is_default: spec.listen.is_none(),
            listen: spec.listen.clone().unwrap_or(default.listen),
            workers: spec.workers.map_or(default.workers, |workers| workers as usize),
            engine: match spec.portable {
                Some(true) => Engine::Portable,
                Some(false) => Engine::Native,
                None => default.engine,
            },
            zones: spec
                .zones
                .as_ref()
                .map_or_else(|| folder.join(&default.zones), |path| folder.join(&path.value)),
            client_subnet: spec.client_subnet.unwrap_or(default.client_subnet),
            nsid: spec.nsid.clone().unwrap_or(default.nsid),
            version: spec.version.clone().unwrap_or(default.version),
            cookies: spec.cookies.unwrap_or(default.cookies),
            rate_limit: spec.rate_limit.clone(),
            geo: Geo {
                city: paths(&spec.city, default.geo.city),
                asn: paths(&spec.asn, default.geo.asn),
                city_is_default: spec.city.is_none(),
                asn_is_default: spec.asn.is_none(),
            },
            state: system.state.as_deref().unwrap_or(folder).join(&default.state),
            warmup: spec.warmup.unwrap_or(default.warmup),
            control: Control {
                socket: spec
                    .socket
                    .as_ref()
                    .map_or_else(default_socket, |path| folder.join(path)),
                listen: spec.control_listen.unwrap_or(default.control.listen),
            },
            log: Log {
                level: spec.level.unwrap_or(default.log.level),
                format: spec.json.map_or(default.log.format, format),
            },
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: vec![
                (Ipv4Addr::LOCALHOST, DEFAULT_PORT).into(),
                (Ipv6Addr::LOCALHOST, DEFAULT_PORT).into(),
            ],
            listen_is_default: true,
            workers: 0,
            engine: Engine::default(),
            zones: "zones".into(),
            client_subnet: true,
            nsid: String::new(),
            version: String::new(),
            cookies: Cookies::On,
            rate_limit: None,
            geo: Geo {
                city: vec!["geo/city.mmdb".into()],
                asn: vec!["geo/asn.mmdb".into()],
                city_is_default: true,
                asn_is_default: true,
            },
            state: "windrose.state.json".into(),
            warmup: Duration::from_secs(3),
            control: Control {
                socket: "windrose.sock".into(),
                listen: Some((Ipv4Addr::LOCALHOST, 8053).into()),
            },
            log: Log {
                level: tracing::Level::INFO,
                format: LogFormat::Text,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Source;
    use crate::spec::{Faults, settings};

    fn settings(text: &str, folder: &str, system: [Option<&str>; 2]) -> Settings {
        let source = Source::new("windrose.toml", text);
        let mut faults = Faults::new(&source);
        let spec = settings::read(&source, &mut faults);
        assert_eq!(faults.errors(), 0);
        let [runtime, state] = system.map(|folder| folder.map(PathBuf::from));
        Settings::new(&spec, Path::new(folder), &SystemFolders { runtime, state })
    }

    #[test]
    fn paths_count_from_the_folder_of_the_file() {
        let text = "server.zones = \"z\"\ngeo.city = [\"a.mmdb\", \"/b.mmdb\"]\ncontrol.socket = \"s\"\n";
        let settings = settings(text, "/etc/windrose", [Some("/run/windrose"), None]);
        assert_eq!(settings.zones, Path::new("/etc/windrose/z"));
        assert_eq!(
            settings.geo.city,
            [Path::new("/etc/windrose/a.mmdb"), Path::new("/b.mmdb")]
        );
        assert_eq!(settings.control.socket, Path::new("/etc/windrose/s"));
    }

    #[test]
    fn the_socket_and_the_state_are_in_the_folders_of_the_system_or_beside_the_file() {
        let paths = |folder, system| {
            let settings = settings("", folder, system);
            [settings.control.socket, settings.state].map(|path| path.display().to_string())
        };
        let both = [Some("/run/w"), Some("/var/lib/w")];
        assert_eq!(
            paths("/etc/w", both),
            ["/run/w/windrose.sock", "/var/lib/w/windrose.state.json"]
        );
        assert_eq!(
            paths("/etc/w", [None, None]),
            ["/etc/w/windrose.sock", "/etc/w/windrose.state.json"]
        );
        assert_eq!(paths("", [None, None]), ["windrose.sock", "windrose.state.json"]);
    }

    #[test]
    fn what_is_said_counts_and_what_is_not_is_the_default() {
        let text = "server.listen = \"192.0.2.1:53\"\nserver.nsid = \"a\"\ncontrol.listen = \"\"\nhealth.warmup = \"500ms\"\nlog.format = \"json\"\n";
        let said = settings(text, "", [None, None]);
        assert_eq!(said.listen, ["192.0.2.1:53".parse().unwrap()]);
        assert!(!said.listen_is_default && said.control.listen.is_none() && said.client_subnet);
        assert_eq!(
            (said.warmup, said.log.format, said.nsid.as_str()),
            (Duration::from_millis(500), LogFormat::Json, "a")
        );
        let silent = settings("", "", [None, None]);
        assert_eq!(
            silent.listen,
            ["127.0.0.1:5300".parse().unwrap(), "[::1]:5300".parse().unwrap()]
        );
        assert!(silent.listen_is_default && silent.control.listen.is_some());
    }
}
