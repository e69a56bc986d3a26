//! From files to what is served, at start and again at every reload. A reload is all or nothing: any fault, and everything stays
//! as it was.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::prober::Prober;
use crate::config::Settings;
use crate::diagnostic::{Diagnostic, Fault};
use crate::image::{Image, Options};
use crate::load::geo::{Databases, Locations};
use crate::load::{self, Loaded};
use crate::policy::targets::Targets;
use crate::policy::tree::Forest;
use crate::server::limit::Limits;
use crate::wire::name::Name;
use crate::zone::model::Zone;

/// Compiles what was loaded, for so many threads that answer.
pub fn build(loaded: Loaded, threads: usize) -> Arc<Image> {
    let Settings {
        client_subnet,
        nsid,
        version,
        cookies,
        rate_limit,
        ..
    } = loaded.settings;
    let options = Options {
        client_subnet,
        nsid: nsid.into_bytes(),
        version,
        cookies,
        secrets: loaded.cookie_secrets,
        rate_limit,
        keepalive: (Limits::default().idle.as_millis() / 100) as u16,
        threads,
    };
    let forest = Forest::new(loaded.steering, loaded.locations.map);
    Arc::new(Image::compile(
        &loaded.zones,
        &loaded.failed,
        forest,
        options,
        random_key(),
    ))
}

/// 128 bits that nobody else knows, for the index of names.
fn random_key() -> [u64; 2] {
    [0; 2].map(|_: u64| getrandom::u64().unwrap_or_else(|_| fastrand::u64(..)))
}

/// Loads anew and publishes, beside what is running.
#[derive(Debug)]
pub struct Reloader {
    config: Option<PathBuf>,
    in_force: Settings,
    prober: Prober,
    threads: usize,
    counts: Mutex<Counts>,
    /// What the next load goes by. Held by the reload under way: the one that began last has read last and must publish last.
    before: Mutex<Before>,
}

/// How reloads went so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Those that were done.
    pub done: u64,
    /// Those that changed nothing.
    pub refused: u64,
    /// When the last one ended, and whether it was done; none until there was one.
    pub last: Option<(SystemTime, bool)>,
}

/// What a load leaves to the next one.
#[derive(Debug, Default)]
pub struct Before {
    serials: Serials,
    locations: Locations,
}

impl Before {
    /// Of what was loaded.
    pub fn of(loaded: &Loaded) -> Self {
        Self {
            serials: Serials::of(loaded),
            locations: loaded.locations.clone(),
        }
    }
}

/// A reload that was done.
#[derive(Debug)]
pub struct Reloaded {
    /// How many zones are served now.
    pub zones: usize,
    /// Which of them are not as they were.
    pub changes: Changes,
    /// What is probably not meant.
    pub warnings: Vec<Diagnostic>,
    /// Settings that have changed and take effect only at the next start.
    pub later: Vec<&'static str>,
}

/// A reload that changed nothing.
#[derive(Debug)]
pub enum Refused {
    /// Every fault, warnings among them.
    Faults(Vec<Diagnostic>),
    /// These settings have changed, and need a restart.
    Restart(Vec<&'static str>),
    /// The daemon is ending.
    Ended,
}

/// The zones that a reload has changed, by origin.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// Those that were not served.
    pub added: Vec<String>,
    /// Those whose serial number is another.
    pub changed: Vec<String>,
    /// Those that are served no more.
    pub removed: Vec<String>,
}

impl Changes {
    fn between(old: &Serials, new: &Serials) -> Self {
        let sorted = |origins: &mut dyn Iterator<Item = &Name>| {
            let mut origins: Vec<String> = origins.map(ToString::to_string).collect();
            origins.sort_unstable();
            origins
        };
        let differs =
            |(origin, (serial, _)): &(&Name, &(u32, _))| old.0.get(*origin).is_some_and(|(before, _)| before != serial);
        Self {
            added: sorted(&mut new.0.keys().filter(|origin| !old.0.contains_key(*origin))),
            changed: sorted(&mut new.0.iter().filter(differs).map(|(origin, _)| origin)),
            removed: sorted(&mut old.0.keys().filter(|origin| !new.0.contains_key(*origin))),
        }
    }
}

/// How a reload went, as `POST /v1/reload` and `windrose reload --json` tell it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadReport {
    /// Whether it was done; else everything stays as it was.
    pub reloaded: bool,
    /// Why not, in a few words.
    pub error: Option<String>,
    /// How many zones are served now; null if it was not done.
    pub zones: Option<usize>,
    /// Which of them are not as they were.
    #[serde(flatten)]
    pub changes: Changes,
    /// Settings that have changed and take effect only at the next start.
    pub later: Vec<String>,
    /// Settings that have changed and need a restart, so that nothing was done.
    pub restart: Vec<String>,
    /// How many of the faults are errors.
    pub errors: usize,
    /// How many are warnings.
    pub warnings: usize,
    /// Every fault.
    pub faults: Vec<ShownFault>,
}

/// A fault, and how it is shown to people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownFault {
    /// As `check --json` has it.
    #[serde(flatten)]
    pub fault: Fault,
    /// As `check` prints it, with the line and a caret.
    pub shown: String,
}

impl ReloadReport {
    /// Of a reload.
    pub fn new(result: &Result<Reloaded, Refused>) -> Self {
        let words = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect();
        let mut report = Self {
            reloaded: result.is_ok(),
            error: result.as_ref().err().map(ToString::to_string),
            zones: None,
            changes: Changes::default(),
            later: Vec::new(),
            restart: Vec::new(),
            errors: 0,
            warnings: 0,
            faults: Vec::new(),
        };
        let faults = match result {
            Ok(reloaded) => {
                report.zones = Some(reloaded.zones);
                report.changes = reloaded.changes.clone();
                report.later = words(&reloaded.later);
                &reloaded.warnings[..]
            }
            Err(Refused::Faults(faults)) => faults,
            Err(Refused::Restart(keys)) => {
                report.restart = words(keys);
                &[]
            }
            Err(Refused::Ended) => &[],
        };
        report.errors = faults.iter().filter(|fault| fault.is_error()).count();
        report.warnings = faults.len() - report.errors;
        report.faults.extend(faults.iter().map(|fault| ShownFault {
            fault: fault.into(),
            shown: fault.to_string(),
        }));
        report
    }
}

/// The serial number of every zone; and for those whose serial number is the time of a file, that time exactly.
#[derive(Debug, Default)]
pub struct Serials(HashMap<Name, (u32, Option<SystemTime>)>);

impl Serials {
    /// Those of what was loaded.
    pub fn of(loaded: &Loaded) -> Self {
        let dated: HashMap<&Name, SystemTime> = loaded.dated.iter().map(|(origin, time)| (origin, *time)).collect();
        let serial = |zone: &Zone| (zone.origin.clone(), (zone.soa.serial, dated.get(&zone.origin).copied()));
        Self(loaded.zones.iter().map(serial).collect())
    }

    /// A serial number that is the time of a file never goes back, though the file may be replaced by an older one, and goes on by one where
    /// the file was changed twice in a second: a secondary would take no notice of the change (RFC 1982).
    fn hold(&self, loaded: &mut Loaded) {
        let dated: HashMap<&Name, SystemTime> = loaded.dated.iter().map(|(origin, time)| (origin, *time)).collect();
        for zone in &mut loaded.zones {
            let Some(time) = dated.get(&zone.origin) else { continue };
            let Some((before, time_before)) = self.0.get(&zone.origin) else {
                continue;
            };
            if zone.soa.serial <= *before {
                let is_another = time_before.is_some_and(|before| before != *time);
                zone.set_serial(before.wrapping_add(u32::from(is_another)));
            }
        }
    }
}

impl Reloader {
    /// `config` is the `--config` flag; settings, what was before and how many threads answer are those that the daemon was started with.
    pub fn new(config: Option<PathBuf>, in_force: Settings, before: Before, threads: usize, prober: Prober) -> Self {
        Self {
            threads,
            counts: Mutex::default(),
            config,
            in_force,
            prober,
            before: Mutex::new(before),
        }
    }

    /// The location databases as they are in the files now. Blocks for as long as that takes.
    pub fn databases(&self) -> Databases {
        load::load_databases(self.config.as_deref()).0
    }

    /// Reads everything, and publishes it if nothing is wrong. Blocks for as long as that takes.
    pub fn reload(&self) -> Result<Reloaded, Refused> {
        let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        let loaded = load::load_again(self.config.as_deref(), Some(&before.locations));
        if loaded.unusable || !loaded.failed.is_empty() || loaded.faults.iter().any(Diagnostic::is_error) {
            return Err(Refused::Faults(loaded.faults));
        }
        let restart = needs_restart(&self.in_force, &loaded.settings);
        if !restart.is_empty() {
            return Err(Refused::Restart(restart));
        }
        let zones = loaded.zones.len();
        let later = takes_effect_later(&self.in_force, &loaded.settings);
        let mut loaded = loaded;
        let warnings = std::mem::take(&mut loaded.faults);
        before.serials.hold(&mut loaded);
        let now = Before::of(&loaded);
        let changes = Changes::between(&before.serials, &now.serials);
        *before = now;
        let (targets, warmup) = (Targets::of(&loaded.steering, &loaded.probes), loaded.settings.warmup);
        // What was served goes on being served until the first round of what is new is in.
        let served = self.prober.serve(build(loaded, self.threads), targets, warmup);
        if served.blocking_recv().is_err() {
            return Err(Refused::Ended);
        }
        Ok(Reloaded {
            zones,
            changes,
            warnings,
            later,
        })
    }

    /// How they went so far, as far as they were told in the log.
    pub fn counts(&self) -> Counts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, done: bool) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *(if done { &mut counts.done } else { &mut counts.refused }) += 1;
        counts.last = Some((SystemTime::now(), done));
    }

    /// As [`Self::reload`], told in the log and counted too.
    pub fn reload_and_log(&self) -> Result<Reloaded, Refused> {
        let result = self.reload();
        self.count(result.is_ok());
        match &result {
            Ok(reloaded) => {
                reloaded.warnings.iter().for_each(log);
                for key in &reloaded.later {
                    tracing::warn!("`{key}` has changed: that takes effect at the next start");
                }
                tracing::info!(zones = reloaded.zones, "reloaded");
            }
            Err(refused) => {
                if let Refused::Faults(faults) = refused {
                    faults.iter().for_each(log);
                }
                tracing::error!("reload refused, everything stays as it was: {refused}");
            }
        }
        result
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Faults(faults) => match faults.iter().filter(|fault| fault.is_error()).count() {
                1 => f.write_str("1 error"),
                count => write!(f, "{count} errors"),
            },
            Refused::Ended => f.write_str("the daemon is ending"),
            Refused::Restart(keys) => {
                write!(f, "{} changed, which needs a restart", keys.join(", "))
            }
        }
    }
}

/// One line for one fault; `check` shows the text and the caret too.
pub fn log(fault: &Diagnostic) {
    let (line, column) = fault.line_column();
    let hint = fault.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
    let told = format!(
        "{}:{line}:{column}: {}: {}{hint}",
        fault.path().display(),
        fault.severity,
        fault.message
    );
    if fault.is_error() {
        tracing::error!("{told}");
    } else {
        tracing::warn!("{told}");
    }
}

/// Settings that are built into the sockets and their threads.
fn needs_restart(old: &Settings, new: &Settings) -> Vec<&'static str> {
    let changed = [
        ("listen", old.listen != new.listen),
        ("workers", old.workers != new.workers),
        ("engine", old.engine != new.engine),
    ];
    changed
        .into_iter()
        .filter_map(|(key, changed)| changed.then_some(key))
        .collect()
}

/// Settings that are read once, but that nothing served depends on.
fn takes_effect_later(old: &Settings, new: &Settings) -> Vec<&'static str> {
    let changed = [
        ("log.level", old.log.level != new.log.level),
        ("log.format", old.log.format != new.log.format),
        ("control.socket", old.control.socket != new.control.socket),
        ("control.listen", old.control.listen != new.control.listen),
    ];
    changed
        .into_iter()
        .filter_map(|(key, changed)| changed.then_some(key))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_sockets_need_a_restart() {
        let old = Settings::default();
        let mut new = Settings {
            workers: 7,
            ..Settings::default()
        };
        new.listen.pop();
        assert_eq!(needs_restart(&old, &new), ["listen", "workers"]);
        assert_eq!(
            Refused::Restart(needs_restart(&old, &new)).to_string(),
            "listen, workers changed, which needs a restart"
        );
        assert!(needs_restart(&old, &old).is_empty());
    }

    #[test]
    fn other_settings_do_not() {
        let old = Settings::default();
        let mut new = Settings {
            client_subnet: false,
            ..Settings::default()
        };
        new.log.level = tracing::Level::DEBUG;
        assert!(needs_restart(&old, &new).is_empty());
        assert_eq!(takes_effect_later(&old, &new), ["log.level"]);
    }

    #[test]
    fn zones_are_told_apart_by_their_serial_numbers() {
        let serials = |zones: &[(&str, u32)]| {
            let zones = zones
                .iter()
                .map(|(name, serial)| (Name::parse(name, None).unwrap(), (*serial, None)));
            Serials(zones.collect())
        };
        let changes = Changes::between(
            &serials(&[("a.example.", 1), ("b.example.", 1), ("c.example.", 1)]),
            &serials(&[("a.example.", 1), ("b.example.", 2), ("d.example.", 1)]),
        );
        assert_eq!(changes.added, ["d.example."]);
        assert_eq!(changes.changed, ["b.example."]);
        assert_eq!(changes.removed, ["c.example."]);
    }

    #[test]
    fn a_serial_that_is_a_time_never_goes_back_and_one_that_is_given_may() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("zones")).unwrap();
        let config = folder.path().join("windrose.toml");
        let zone = folder.path().join("zones/example.com.toml");
        std::fs::write(&config, "").unwrap();
        let at_nanos = |seconds, nanos| {
            for path in [&config, &zone] {
                let file = std::fs::File::options().append(true).open(path).unwrap();
                file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::new(seconds, nanos))
                    .unwrap();
            }
            load::load(Some(&config))
        };
        std::fs::write(&zone, "[records]\n\"@\".NS = \"ns.example.net.\"\n").unwrap();
        let at = |seconds| at_nanos(seconds, 0);
        let serials = Serials::of(&at(2_000));
        // What was changed goes on by one where its time does not say so.
        for (seconds, nanos, serial) in [
            (1_000, 0, 2_001),
            (2_000, 0, 2_000),
            (2_000, 5, 2_001),
            (3_000, 0, 3_000),
        ] {
            let mut loaded = at_nanos(seconds, nanos);
            serials.hold(&mut loaded);
            assert_eq!(loaded.zones[0].soa.serial, serial);
            let apex = &loaded.zones[0].owners[&loaded.zones[0].origin];
            assert_eq!(
                apex.rrsets.get(&crate::wire::code::RecordType::SOA).unwrap().rdata,
                [loaded.zones[0].soa.rdata()]
            );
        }
        std::fs::write(&zone, "[soa]\nserial = 7\n[records]\n\"@\".NS = \"ns.example.net.\"\n").unwrap();
        let mut loaded = at(1_000);
        serials.hold(&mut loaded);
        assert_eq!(loaded.zones[0].soa.serial, 7);
    }
}
