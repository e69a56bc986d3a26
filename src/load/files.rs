//! The files: which ones there are, and their text. What cannot be read is a fault like any other.

#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::string_slice, clippy::cast_possible_truncation)
)]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::master;
use crate::config::{Settings, SystemFolders};
use crate::diagnostic::{Diagnostic, Source};
use crate::spec::Faults;
use crate::spec::file::{self, Origin, ZoneSpec};
use crate::spec::settings::{self, SettingsSpec};
use crate::wire::name::Name;
use crate::zone::model::Zone;

/// Where the settings are looked for when nobody says.
const CONFIG_PATHS: [&str; 2] = ["windrose.toml", "/etc/windrose/windrose.toml"];

/// windrose.toml, as far as it could be read.
pub(super) struct Config {
    /// What it says.
    pub(super) spec: SettingsSpec,
    /// What that means, with the defaults.
    pub(super) settings: Settings,
    /// Its folder, from which relative paths count.
    pub(super) folder: PathBuf,
    /// Its faults, and those of the zones folder as a whole.
    pub(super) faults: Faults,
    /// When it was last changed; long ago if there is none.
    pub(super) modified: SystemTime,
}

/// The folders that systemd gives the daemon, if it does.
fn system_folders() -> SystemFolders {
    // It may give several, separated by colons.
    let first = |variable| {
        let folders = std::env::var_os(variable)?;
        let first = std::env::split_paths(&folders).next();
        first.filter(|folder| !folder.as_os_str().is_empty())
    };
    SystemFolders {
        runtime: first("RUNTIME_DIRECTORY"),
        state: first("STATE_DIRECTORY"),
    }
}

impl Config {
    /// Reads windrose.toml, if there is one. `flag` is `--config`.
    pub(super) fn read(flag: Option<&Path>) -> Self {
        let found = CONFIG_PATHS.iter().map(PathBuf::from).find(|path| path.exists());
        let path = flag.map(Path::to_path_buf).or(found);
        // Whoever says which file it is may well give a pipe.
        let read = path.as_deref().map(|path| read(path, |path| std::fs::read(path)));
        let (spec, faults, modified) = match read {
            None => (
                SettingsSpec::default(),
                nothing_read(Path::new(CONFIG_PATHS[0])),
                UNIX_EPOCH,
            ),
            Some(Ok((source, modified))) => {
                let mut faults = Faults::new(&source);
                (settings::read(&source, &mut faults), faults, modified)
            }
            Some(Err(fault)) => {
                let mut faults = nothing_read(fault.path());
                faults.push(fault);
                // Whatever zones name may be in it.
                let mut spec = SettingsSpec {
                    hides_zones: true,
                    ..SettingsSpec::default()
                };
                spec.steering.incomplete = true;
                (spec, faults, UNIX_EPOCH)
            }
        };
        let folder = path.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
        Self {
            settings: Settings::new(&spec, folder, &system_folders()),
            folder: folder.to_path_buf(),
            spec,
            faults,
            modified,
        }
    }
}

/// The faults of a file without text.
fn nothing_read(path: &Path) -> Faults {
    Faults::new(&Source::new(path, ""))
}

/// A file as text, and when it was last changed.
fn read(path: &Path, octets: impl Fn(&Path) -> io::Result<Vec<u8>>) -> Result<(Arc<Source>, SystemTime), Diagnostic> {
    let fault = |error: io::Error| Diagnostic::file(path, format!("cannot be read: {error}"));
    let octets = octets(path).map_err(fault)?;
    let modified = modified(path).map_err(fault)?;
    match String::from_utf8(octets) {
        Ok(text) => Ok((Source::new(path, text), modified)),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let before = error.as_bytes().get(..valid).unwrap_or_default();
            let source = Source::new(path, String::from_utf8_lossy(before));
            Err(
                Diagnostic::error(&source, valid..valid, "is not UTF-8 text from here on")
                    .hint("TOML is UTF-8: write the file in that encoding"),
            )
        }
    }
}

/// What is in a file. A FIFO would be waited for, and a device may have no end: neither is a file that says something.
pub(crate) fn octets(path: &Path) -> io::Result<Vec<u8>> {
    match std::fs::metadata(path)?.file_type() {
        kind if kind.is_file() => std::fs::read(path),
        kind if kind.is_dir() => Err(io::Error::other("it is a folder")),
        _ => Err(io::Error::other("it is a FIFO, a socket or a device")),
    }
}

/// When a file was last changed.
pub(super) fn modified(path: &Path) -> io::Result<SystemTime> {
    std::fs::metadata(path)?.modified()
}

/// A file of the zones folder.
pub(super) struct ZoneFile {
    /// The file.
    pub(super) path: PathBuf,
    /// The origin that its name gives.
    pub(super) named: Option<Name>,
    /// What it says; marked broken if it could not be read.
    pub(super) spec: ZoneSpec,
    /// The zone of a master file, which says nothing else; not to be served where there is an error.
    pub(super) master: Option<Zone>,
    /// Its faults.
    pub(super) faults: Faults,
    /// When it was last changed.
    pub(super) modified: SystemTime,
    /// Whether another file has the same origin.
    pub(super) twice: bool,
}

impl ZoneFile {
    /// The origin of the zone, as far as it can be told.
    pub(super) fn origin(&self) -> Option<&Name> {
        match &self.spec.origin {
            Origin::Given(origin) => Some(&origin.value),
            _ => self.named.as_ref(),
        }
    }

    /// A file of which nothing is known but a fault.
    pub(super) fn unread(path: PathBuf, named: Option<Name>, fault: Diagnostic) -> Self {
        let mut faults = nothing_read(&path);
        faults.push(fault);
        let spec = ZoneSpec {
            broken: true,
            unread: true,
            ..ZoneSpec::empty(faults.source())
        };
        Self {
            path,
            named,
            spec,
            master: None,
            faults,
            modified: UNIX_EPOCH,
            twice: false,
        }
    }
}

/// Reads the zones folder, in the order of names.
pub(super) fn read_folder(config: &mut Config) -> Vec<ZoneFile> {
    let folder = &config.settings.zones;
    let names = match list(folder) {
        Ok(names) => names,
        // The default stands in for what could not be read: that it is missing is no news.
        Err(_) if config.spec.hides_zones && config.spec.zones.is_none() => return Vec::new(),
        Err(error) => {
            let fault = folder_fault(config, folder, &error);
            config.faults.push(fault);
            return Vec::new();
        }
    };
    let files: Vec<ZoneFile> = names.into_iter().filter_map(|name| read_entry(folder, name)).collect();
    // Where windrose.toml is faulty, the zones may be elsewhere, or in it.
    if files.is_empty() && config.faults.errors() == 0 {
        let fault = no_zone(config, folder);
        config.faults.push(fault);
    }
    files
}

fn list(folder: &Path) -> io::Result<Vec<OsString>> {
    let entries = std::fs::read_dir(folder)?;
    let mut names = entries
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

fn folder_fault(config: &Config, folder: &Path, error: &io::Error) -> Diagnostic {
    let message = format!("the zones folder {} cannot be read: {error}", folder.display());
    match &config.spec.zones {
        Some(zones) => Diagnostic::error(config.faults.source(), zones.span.clone(), message),
        None => Diagnostic::file(folder, message)
            .hint("make it, or name another with `zones` under [server] of windrose.toml"),
    }
}

/// A daemon may be started before its zones are there; more likely they are elsewhere.
fn no_zone(config: &Config, folder: &Path) -> Diagnostic {
    let message = format!("no zone in {}: every query is refused", folder.display());
    let fault = match &config.spec.zones {
        Some(zones) => Diagnostic::warning(config.faults.source(), zones.span.clone(), message),
        None => Diagnostic::file_warning(folder, message),
    };
    fault.hint("a zone is a file whose name ends in .toml or .zone")
}

/// Reads a file, if it is one that should be served. Editors leave copies that end in `~`.
fn read_entry(folder: &Path, name: OsString) -> Option<ZoneFile> {
    let text = name.to_string_lossy();
    if text.starts_with('.') || text.ends_with('~') {
        return None;
    }
    let path = folder.join(&name);
    match text.rsplit_once('.') {
        Some((stem, "toml")) => Some(read_zone(path, stem)),
        Some((stem, "zone")) => Some(master::read_zone(folder, path, stem)),
        _ => None,
    }
}

fn read_zone(path: PathBuf, stem: &str) -> ZoneFile {
    let named = Name::parse(stem, None).ok();
    match read(&path, octets) {
        Err(fault) => ZoneFile::unread(path, named, fault),
        Ok((source, modified)) => {
            let mut faults = Faults::new(&source);
            let spec = file::read(&source, &mut faults);
            if named.is_none() && !spec.broken && matches!(spec.origin, Origin::FileName) {
                let message = format!("the file's name gives no origin: `{stem}` is no name");
                let hint = "name the file for its zone, or write `origin` under [zone]";
                faults.push(Diagnostic::file(&path, message).hint(hint));
            }
            ZoneFile {
                path,
                named,
                spec,
                master: None,
                faults,
                modified,
                twice: false,
            }
        }
    }
}

/// Tells the files whose origin another file has.
pub(super) fn one_file_an_origin(files: &mut [ZoneFile]) {
    let mut by_origin: BTreeMap<Name, Vec<usize>> = BTreeMap::new();
    for (index, file) in files.iter().enumerate() {
        if let Some(origin) = file.origin() {
            by_origin.entry(origin.clone()).or_default().push(index);
        }
    }
    for (origin, indices) in by_origin.into_iter().filter(|(_, indices)| indices.len() > 1) {
        let first = indices
            .first()
            .and_then(|first| files.get(*first))
            .map(|file| file.path.display().to_string());
        let message = format!("the zone {origin} is in {} too", first.unwrap_or_default());
        for (position, index) in indices.into_iter().enumerate() {
            let Some(file) = files.get_mut(index) else { continue };
            file.twice = true;
            if position > 0 {
                let fault = match &file.spec.origin {
                    Origin::Given(at) => Diagnostic::error(file.faults.source(), at.span.clone(), &message),
                    _ => Diagnostic::file(&file.path, &message),
                };
                file.faults.push(fault.hint("a zone is one file"));
            }
        }
    }
}
