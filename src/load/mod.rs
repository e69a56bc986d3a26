//! From windrose.toml and the zones folder to checked models, with every fault of every file.
//!
//! This is the only reader of files, but for the certificates that `probe` reads and the state that `control` keeps; what they say is checked by the modules below, all files
//! together, since what windrose.toml defines is known in every zone.

mod cookie_secrets;
mod files;
pub mod geo;
pub mod master;

pub(crate) use files::octets;

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use self::files::{Config, ZoneFile};
use self::geo::{Databases, Locations};
use crate::config::Settings;
use crate::diagnostic::Diagnostic;
use crate::policy::build::Probes;
use crate::policy::check;
use crate::policy::model::Steering;
use crate::policy::names::Scope;
use crate::policy::questions::Questions;
use crate::probe::roots_of;
use crate::spec::file::{Origin, ZoneSpec};
use crate::wire::cookie::Secrets;
use crate::wire::name::Name;
use crate::zone;
use crate::zone::model::Zone;
use crate::zone::roots::Roots;

/// What was read.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The daemon's settings; the defaults where windrose.toml is faulty.
    pub settings: Settings,
    /// The secrets that cookies are made with, if windrose.toml names a file of them.
    pub cookie_secrets: Option<Secrets>,
    /// Whether windrose.toml itself (or the zones folder as a whole) is faulty, so that nothing should be served: then no zone is
    /// given here.
    pub unusable: bool,
    /// The zones without a fault.
    pub zones: Vec<Zone>,
    /// The origins of the zones with one.
    pub failed: Vec<Name>,
    /// The origins of the zones whose serial number is the time of their newest file, since none is given; and that time, exactly.
    pub dated: Vec<(Name, SystemTime)>,
    /// The pools and policies of windrose.toml and of the zones without a fault.
    pub steering: Steering,
    /// Where clients are, as far as those ask.
    pub locations: Locations,
    /// The probes of the same, by full name.
    pub probes: Probes,
    /// Every fault of every file, errors and warnings: windrose.toml first, then the zones in the order of their files' names; in
    /// a file in the order of places.
    pub faults: Vec<Diagnostic>,
}

/// Reads everything, as `serve` and `check` do. `config` is the `--config` flag; without it ./windrose.toml, then
/// /etc/windrose/windrose.toml, then defaults.
pub fn load(config: Option<&Path>) -> Loaded {
    load_again(config, None)
}

/// The same, when it was done before: location databases that are the same, and of which the same is asked, are not read again.
pub fn load_again(config: Option<&Path>, before: Option<&Locations>) -> Loaded {
    let mut config = Config::read(config);
    let cookie_secrets = cookie_secrets::read(&config.spec, &config.folder, &mut config.faults);
    let mut files = files::read_folder(&mut config);
    files::one_file_an_origin(&mut files);

    let mut scopes = vec![Scope {
        origin: None,
        spec: &config.spec.steering,
        roots: Vec::new(),
        faults: &mut config.faults,
    }];
    let mut read = Vec::new();
    for file in &mut files {
        let origin = file.origin().cloned();
        let ZoneFile {
            spec,
            master,
            faults,
            modified,
            twice,
            ..
        } = file;
        let owners = spec.records.owners.iter();
        let roots = owners
            .filter_map(|owner| Some(owner.steer.as_ref()?.name.value.as_str()))
            .collect();
        let newest = (*modified).max(config.modified);
        scopes.push(Scope {
            origin: origin.clone(),
            spec: &spec.steering,
            roots,
            faults,
        });
        read.push(Read {
            origin,
            spec,
            master: master.take(),
            newest,
            twice: *twice,
        });
    }

    scopes
        .iter_mut()
        .for_each(|scope| read_certificates(scope, &config.folder));
    let checked = check::check(&mut scopes);
    let mut loaded = Loaded {
        settings: config.settings,
        cookie_secrets,
        ..Loaded::default()
    };
    let mut served = vec![true];
    for (scope, read) in (1..).zip(&mut read) {
        let is_master = read.master.is_some();
        let zone = scopes
            .get_mut(scope)
            .and_then(|of_zone| read.check(&checked.roots(scope), of_zone));
        served.push(zone.is_some());
        match zone {
            Some(zone) => {
                let dated = !is_master && read.spec.soa.serial.is_none();
                loaded.dated.extend(dated.then(|| (zone.origin.clone(), read.newest)));
                loaded.zones.push(zone);
            }
            None => loaded
                .failed
                .extend(read.origin.clone().filter(|origin| !loaded.failed.contains(origin))),
        }
    }
    if scopes.iter().all(|scope| scope.faults.errors() == 0) {
        checked.tell_unused(&mut scopes);
    }
    if scopes.first().is_some_and(|shared| shared.faults.errors() > 0) {
        loaded.unusable = true;
        loaded.zones.clear();
    } else {
        (loaded.steering, loaded.probes) = checked.build(&scopes, &served);
        for probe in loaded.probes.values_mut() {
            probe.find_files(&config.folder);
        }
        let (questions, _) = Questions::of(&loaded.steering);
        let located = scopes
            .first_mut()
            .and_then(|shared| geo::locate(&config.spec, &loaded.settings, &questions, before, shared.faults));
        match located {
            Some(locations) => {
                checked.tell_unsatisfied(&mut scopes, &questions, &locations.known);
                loaded.locations = locations;
            }
            None => {
                loaded.unusable = true;
                loaded.zones.clear();
            }
        }
    }
    loaded.faults = config.faults.into_sorted();
    loaded
        .faults
        .extend(files.into_iter().flat_map(|file| file.faults.into_sorted()));
    loaded
}

/// Tells the certificates of probes that cannot be read: such a probe would never pass. They are read again when the load is served.
fn read_certificates(scope: &mut Scope<'_>, folder: &Path) {
    for probe in &scope.spec.probes {
        let Some(written) = &probe.content.ca else { continue };
        // That it has no meaning then is told elsewhere.
        if probe.content.verify == Some(false) {
            continue;
        }
        let path = folder.join(&written.value);
        if let Err(fault) = roots_of(&path) {
            let message = format!("the certificates {}: {fault}", path.display());
            scope.faults.error(&written.span, message);
        }
    }
}

/// The settings, and every fault of windrose.toml by itself. Nothing else is read.
pub fn load_settings(config: Option<&Path>) -> (Settings, Vec<Diagnostic>) {
    let config = Config::read(config);
    (config.settings, config.faults.into_sorted())
}

/// The location databases that the settings name, and every fault of windrose.toml and of them. Zones are not read.
pub fn load_databases(config: Option<&Path>) -> (Databases, Vec<Diagnostic>) {
    let mut config = Config::read(config);
    let databases = geo::databases(&config.spec, &config.settings, &mut config.faults);
    (databases, config.faults.into_sorted())
}

/// A zone file that was read.
struct Read<'f> {
    origin: Option<Name>,
    spec: &'f ZoneSpec,
    /// The zone, if it is that of a master file.
    master: Option<Zone>,
    /// When it, or windrose.toml, was last changed: the serial number if the file gives none.
    newest: SystemTime,
    twice: bool,
}

impl Read<'_> {
    /// Checks the zone; gives it if there is no error in its file.
    fn check(&mut self, roots: &Roots, scope: &mut Scope<'_>) -> Option<Zone> {
        if let Some(zone) = self.master.take() {
            return (scope.faults.errors() == 0 && !self.twice).then_some(zone);
        }
        let origin = self.origin.as_ref()?;
        if self.spec.unread || matches!(self.spec.origin, Origin::Poisoned) {
            return None;
        }
        let zone = zone::check::check(self.spec, origin, unix_time(self.newest), roots, scope.faults);
        (!self.spec.broken && scope.faults.errors() == 0 && !self.twice).then_some(zone)
    }
}

/// Seconds since 1970, as a serial number: the time of the newest input file.
fn unix_time(time: SystemTime) -> u32 {
    // Serial numbers wrap (RFC 1982); the first time is in 2106.
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs() as u32)
}

#[cfg(test)]
mod tests;
