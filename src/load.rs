//! The only reader of files: from windrose.toml and the zones folder to checked models, with every fault of every file.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::config::Settings;
use crate::diagnostic::{Diagnostic, Source};
use crate::policy::model::Steering;
use crate::spec::file::{Origin, ZoneSpec};
use crate::spec::settings::SettingsSpec;
use crate::spec::{Faults, file, settings};
use crate::wire::name::Name;
use crate::zone;
use crate::zone::model::Zone;
use crate::zone::roots::Roots;

/// Where the settings are looked for when nobody says.
const CONFIG_PATHS: [&str; 2] = ["windrose.toml", "/etc/windrose/windrose.toml"];

/// What was read.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The daemon's settings; the defaults where windrose.toml is faulty.
    pub settings: Settings,
    /// Whether windrose.toml itself (or the zones folder as a whole) is faulty, so that nothing should be served.
    pub unusable: bool,
    /// The zones without a fault.
    pub zones: Vec<Zone>,
    /// The origins of the zones with one.
    pub failed: Vec<Name>,
    /// The pools and policies of windrose.toml and of the zones without a fault.
    pub steering: Steering,
    /// Every fault of every file, errors and warnings, in the order of files and places.
    pub faults: Vec<Diagnostic>,
}

/// Reads everything, as `serve` and `check` do. `config` is the `--config` flag; without it ./windrose.toml, then
/// /etc/windrose/windrose.toml, then defaults.
pub fn load(config: Option<&Path>) -> Loaded {
    // Systemd may give several, separated by colons.
    let runtime = std::env::var_os("RUNTIME_DIRECTORY")
        .and_then(|folders| std::env::split_paths(&folders).next())
        .filter(|folder| !folder.as_os_str().is_empty());
    let mut loaded = Loaded::default();
    let config = read_config(config, runtime.as_deref(), &mut loaded);
    let files = read_folder(&config, &mut loaded);
    check_zones(files, config.modified, &mut loaded);
    loaded
}

/// windrose.toml, as far as it could be read.
struct Config {
    spec: SettingsSpec,
    source: Option<Arc<Source>>,
    modified: SystemTime,
}

fn read_config(flag: Option<&Path>, runtime: Option<&Path>, loaded: &mut Loaded) -> Config {
    let nothing = Config {
        spec: SettingsSpec::default(),
        source: None,
        modified: UNIX_EPOCH,
    };
    let found = flag
        .map(Path::to_path_buf)
        .or_else(|| CONFIG_PATHS.iter().map(PathBuf::from).find(|path| path.exists()));
    let Some(path) = found else {
        loaded.settings = Settings::new(&nothing.spec, Path::new(""), runtime);
        return nothing;
    };
    let folder = path.parent().unwrap_or(Path::new(""));
    match read(&path) {
        Err(fault) => {
            loaded.unusable = true;
            loaded.faults.push(fault);
            loaded.settings = Settings::new(&nothing.spec, folder, runtime);
            nothing
        }
        Ok((source, modified)) => {
            let mut faults = Faults::new(&source);
            let spec = settings::read(&source, &mut faults);
            loaded.unusable = faults.errors() > 0;
            loaded.settings = Settings::new(&spec, folder, runtime);
            loaded.faults.append(&mut faults.into_sorted());
            Config {
                spec,
                source: Some(source),
                modified,
            }
        }
    }
}

/// A file as text, and when it was last changed.
fn read(path: &Path) -> Result<(Arc<Source>, SystemTime), Diagnostic> {
    let fault = |error: io::Error| Diagnostic::file(path, format!("cannot be read: {error}"));
    let octets = std::fs::read(path).map_err(fault)?;
    let modified = std::fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .map_err(fault)?;
    match String::from_utf8(octets) {
        Ok(text) => Ok((Source::new(path, text), modified)),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let before = error.as_bytes().get(..valid).unwrap_or_default();
            let line = before.iter().filter(|&&octet| octet == b'\n').count() + 1;
            let message = format!("is not UTF-8 text: the first fault is in line {line}");
            Err(Diagnostic::file(path, message).hint("TOML is UTF-8; write it in that encoding"))
        }
    }
}

/// A file of the zones folder.
struct ZoneFile {
    path: PathBuf,
    /// The origin that its name gives.
    named: Option<Name>,
    /// What it says, and the faults so far; `None` if it could not be read.
    read: Option<(ZoneSpec, Faults, SystemTime)>,
    /// The faults of what could not be read.
    faults: Vec<Diagnostic>,
}

impl ZoneFile {
    fn origin(&self) -> Option<&Name> {
        match self.read.as_ref().map(|(spec, ..)| &spec.origin) {
            Some(Origin::Given(origin)) => Some(&origin.value),
            _ => self.named.as_ref(),
        }
    }
}

/// Reads the zones folder, in the order of names.
fn read_folder(config: &Config, loaded: &mut Loaded) -> Vec<ZoneFile> {
    let folder = loaded.settings.zones.clone();
    let names = std::fs::read_dir(&folder).and_then(|entries| {
        entries
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<io::Result<Vec<_>>>()
    });
    let mut names = match names {
        Ok(names) => names,
        Err(error) => {
            loaded.unusable = true;
            loaded.faults.push(folder_fault(config, &folder, &error));
            return Vec::new();
        }
    };
    names.sort();
    let mut files = Vec::new();
    for name in names {
        let text = name.to_string_lossy();
        if text.starts_with('.') || text.ends_with('~') {
            continue;
        }
        let path = folder.join(&name);
        if let Some(stem) = text.strip_suffix(".toml") {
            files.push(read_zone(path, stem));
        } else if let Some(stem) = text.strip_suffix(".zone") {
            files.push(master_file(path, stem));
        }
    }
    files
}

fn folder_fault(config: &Config, folder: &Path, error: &io::Error) -> Diagnostic {
    let message = format!("the zones folder {} cannot be read: {error}", folder.display());
    match (&config.source, &config.spec.zones) {
        (Some(source), Some(zones)) => Diagnostic::error(source, zones.span.clone(), message),
        _ => Diagnostic::file(folder, message)
            .hint("make it, or name another with `zones` under [server] of windrose.toml"),
    }
}

fn read_zone(path: PathBuf, stem: &str) -> ZoneFile {
    let named = Name::parse(stem, None).ok();
    match read(&path) {
        Err(fault) => ZoneFile {
            path,
            named,
            read: None,
            faults: vec![fault],
        },
        Ok((source, modified)) => {
            let mut faults = Faults::new(&source);
            let spec = file::read(&source, &mut faults);
            if named.is_none() && matches!(spec.origin, Origin::FileName) {
                let message = format!("the file's name does not give an origin: `{stem}` is no name");
                faults.push(
                    Diagnostic::file(&path, message).hint("name the file for its zone, or say `origin` under [zone]"),
                );
            }
            ZoneFile {
                path,
                named,
                read: Some((spec, faults, modified)),
                faults: Vec::new(),
            }
        }
    }
}

/// RFC 1035 master files come with a later version; left out in silence their zones would be missed.
fn master_file(path: PathBuf, stem: &str) -> ZoneFile {
    let fault = Diagnostic::file(&path, "master files are not served by this version")
        .hint("write the zone in TOML, or give the file a name that does not end in .zone");
    let named = if stem == "root" {
        Some(Name::root())
    } else {
        Name::parse(stem, None).ok()
    };
    ZoneFile {
        path,
        named,
        read: None,
        faults: vec![fault],
    }
}

/// Checks every zone, and sorts those that can be served from those that cannot.
fn check_zones(mut files: Vec<ZoneFile>, config_modified: SystemTime, loaded: &mut Loaded) {
    let twice = one_file_an_origin(&mut files);
    for mut file in files {
        let origin = file.origin().cloned();
        loaded.faults.append(&mut file.faults);
        let mut zone = None;
        if let (Some((spec, mut faults, modified)), Some(origin)) = (file.read, &origin) {
            if !spec.broken && !matches!(spec.origin, Origin::Poisoned) {
                let serial = unix_time(modified.max(config_modified));
                zone = Some(zone::check::check(
                    &spec,
                    origin,
                    serial,
                    &Roots::default(),
                    &mut faults,
                ));
            }
            zone = zone.filter(|_| faults.errors() == 0 && !twice.contains_key(origin));
            loaded.faults.append(&mut faults.into_sorted());
        }
        match zone {
            Some(zone) => loaded.zones.push(zone),
            None => loaded
                .failed
                .extend(origin.filter(|origin| !loaded.failed.contains(origin))),
        }
    }
}

/// Tells the files whose origin another file has; gives those origins.
fn one_file_an_origin(files: &mut [ZoneFile]) -> BTreeMap<Name, ()> {
    let mut first: BTreeMap<Name, PathBuf> = BTreeMap::new();
    let mut twice = BTreeMap::new();
    for file in files {
        let Some(origin) = file.origin().cloned() else { continue };
        let Some(other) = first.get(&origin) else {
            first.insert(origin, file.path.clone());
            continue;
        };
        let message = format!("the zone {origin} is in {} too", other.display());
        let fault = match &file.read {
            Some((
                ZoneSpec {
                    source,
                    origin: Origin::Given(at),
                    ..
                },
                ..,
            )) => Diagnostic::error(source, at.span.clone(), message),
            _ => Diagnostic::file(&file.path, message),
        };
        file.faults.push(fault.hint("a zone is one file"));
        twice.insert(origin, ());
    }
    twice
}

/// Seconds since 1970, as a serial number.
fn unix_time(time: SystemTime) -> u32 {
    // Serial numbers wrap (RFC 1982); the first time is in 2106.
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::code::RecordType;

    /// Loads files from a folder of their own.
    fn load_files(files: &[(&str, &str)]) -> Loaded {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("zones")).unwrap();
        for (path, text) in files {
            std::fs::write(folder.path().join(path), text).unwrap();
        }
        std::fs::write(folder.path().join("windrose.toml"), "").unwrap();
        load(Some(&folder.path().join("windrose.toml")))
    }

    #[test]
    fn a_zone_is_read_whole() {
        let text = r#"
[zone]
ttl = "1m"
[soa]
rname = "dns@example.net"
[records]
"@".NS = ["ns1", "ns2.example.net."]
"@".MX = { data = "10 mail", ttl = "1d" }
ns1.A = "192.0.2.1"
mail = { A = "192.0.2.25", TXT = "v=spf1 -all", ttl = "1h" }
sub.NS = "ns.sub"
"ns.sub".A = "192.0.2.3"
"#;
        let loaded = load_files(&[("zones/gtm.example.com.toml", text)]);
        assert_eq!(
            loaded.faults.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [""; 0]
        );
        let zone = &loaded.zones[0];
        let name = |text| Name::parse(text, Some(&zone.origin)).unwrap();
        assert_eq!(zone.origin.to_string(), "gtm.example.com.");
        assert_eq!(
            (zone.soa.mname.clone(), zone.soa.rname.to_string()),
            (name("ns1"), "dns.example.net.".into())
        );
        assert!(zone.soa.serial > 1_700_000_000);
        let ttl = |owner, rtype| zone.owners[&name(owner)].rrsets[&rtype].ttl;
        assert_eq!(ttl("@", RecordType::SOA), 3_600);
        assert_eq!(ttl("@", RecordType::NS), 60);
        assert_eq!(ttl("@", RecordType::MX), 86_400);
        assert_eq!(ttl("mail", RecordType::TXT), 3_600);
        assert_eq!(zone.owners.len(), 5);
    }
}
