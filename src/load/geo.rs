//! Location databases: read into memory, packed, compiled to the map of clients, and let go. What one load has read and compiled serves the
//! next one too: a file is read again only when it has changed, and the map is made anew only when a file, or what is asked, has.

use std::fs::{self, Metadata};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::Settings;
use crate::diagnostic::Diagnostic;
use crate::geo::extract::Extract;
use crate::geo::lookup::{self, Sighting};
use crate::geo::mmdb::{Database, Error};
use crate::policy::client_map::{ClientMap, Known};
use crate::policy::questions::{Questions, SITES_MAX};
use crate::spec::settings::SettingsSpec;
use crate::spec::{Faults, Span};

/// The map of clients, and what it was made from.
#[derive(Debug, Clone)]
pub struct Locations {
    /// The map.
    pub map: Arc<ClientMap>,
    /// What the databases know of what was asked.
    pub known: Arc<Known>,
    pub(super) places: Vec<Source>,
    pub(super) asns: Vec<Source>,
}

impl Default for Locations {
    fn default() -> Self {
        Self {
            map: Arc::new(ClientMap::without_databases(&Questions::default())),
            known: Arc::default(),
            places: Vec::new(),
            asns: Vec::new(),
        }
    }
}

/// A database that was read.
#[derive(Debug, Clone)]
pub(super) struct Source {
    stamp: Stamp,
    /// The type that it says it has.
    kind: String,
    /// What is in it; nothing if nobody has asked for that yet.
    pub(super) extract: Option<Arc<Extract>>,
}

/// A version of a file. A file that is written anew has another one, though its length may be the same.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    path: PathBuf,
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn new(path: &Path, metadata: &Metadata) -> Self {
        Self {
            path: path.to_path_buf(),
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

/// The databases themselves, for lookups of single addresses.
#[derive(Debug, Default)]
pub struct Databases {
    places: Vec<Database>,
    asns: Vec<Database>,
}

impl Databases {
    /// What they know of an address.
    pub fn look_up(&self, address: IpAddr) -> Result<Sighting, Error> {
        lookup::look_up(&self.places, &self.asns, address)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty() && self.asns.is_empty()
    }
}

/// A database that the settings name.
struct Named {
    path: PathBuf,
    /// As it is written.
    name: String,
    /// Where, unless it is the default.
    span: Option<Span>,
}

/// What a database is named for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Places,
    Asns,
}

impl Named {
    fn tell(&self, message: &str, hint: Option<&str>, faults: &mut Faults) {
        let message = format!("the database {}: {message}", self.path.display());
        let fault = match &self.span {
            Some(span) => Diagnostic::error(faults.source(), span.clone(), message),
            None => Diagnostic::file(&self.path, message),
        };
        faults.push(match hint {
            Some(hint) => fault.hint(hint),
            None => fault,
        });
    }

    /// What the system knows of the file. A pipe would be waited for, a device read without end, and neither can be told to be unchanged.
    fn metadata(&self) -> Result<Metadata, String> {
        let metadata = fs::metadata(&self.path).map_err(|error| format!("cannot be read: {error}"))?;
        match metadata.is_file() {
            true => Ok(metadata),
            false => Err("it is no regular file".to_owned()),
        }
    }

    fn open(&self, faults: &mut Faults) -> Option<Database> {
        let octets = |_| fs::read(&self.path).map_err(|error| format!("cannot be read: {error}"));
        let read = self.metadata().and_then(octets);
        match read.and_then(|octets| Database::open(&self.name, octets).map_err(|error| error.to_string())) {
            Ok(database) => Some(database),
            Err(message) => {
                self.tell(&message, None, faults);
                None
            }
        }
    }

    /// What is in it, if that is asked; from `before` if it is the same file as then.
    fn read(&self, kind: Kind, is_asked: bool, before: &[&Source], faults: &mut Faults) -> Option<Source> {
        let metadata = match self.metadata() {
            Ok(metadata) => metadata,
            Err(message) => {
                self.tell(&message, None, faults);
                return None;
            }
        };
        let stamp = Stamp::new(&self.path, &metadata);
        let is_known = |source: &&Source| source.stamp == stamp && (source.extract.is_some() || !is_asked);
        let source = match before.iter().copied().find(is_known) {
            Some(source) => source.clone(),
            None => self.extract(stamp, is_asked, faults)?,
        };
        // What it lacks is told of every list that names it.
        let Some(holds) = source
            .extract
            .as_ref()
            .filter(|_| is_asked)
            .map(|extract| extract.holds)
        else {
            return Some(source);
        };
        let (fits, lacks, hint) = match kind {
            Kind::Places => (
                holds.coordinates || holds.places,
                "neither points nor countries",
                holds.asns.then_some("it has AS numbers: name it under `asn`"),
            ),
            Kind::Asns => (
                holds.asns,
                "no AS numbers",
                holds.places.then_some("it has places: name it under `city`"),
            ),
        };
        if !fits {
            self.tell(
                &format!("there are {lacks} in it (its type is `{}`)", source.kind),
                hint,
                faults,
            );
            return None;
        }
        Some(source)
    }

    /// Reads it, to its end if what is in it is asked.
    fn extract(&self, stamp: Stamp, is_asked: bool, faults: &mut Faults) -> Option<Source> {
        let database = self.open(faults)?;
        let kind = database.kind().to_owned();
        let extract = match is_asked.then(|| Extract::of(&database)).transpose() {
            Ok(extract) => extract.map(Arc::new),
            Err(error) => {
                self.tell(&error.to_string(), None, faults);
                return None;
            }
        };
        Some(Source { stamp, kind, extract })
    }
}

/// The databases that the settings name: those with places, and those with AS numbers. A default one may be missing, unless it was read
/// `before`: whoever takes it away, if only to put a new one in its place, does not want all clients to be nowhere.
fn named(spec: &SettingsSpec, settings: &Settings, before: Option<&Locations>) -> [Vec<Named>; 2] {
    let geo = &settings.geo;
    let [places, asns] = before.map_or([&[][..]; 2], |before| [&before.places, &before.asns]);
    let lists = [
        (&spec.city, &geo.city, geo.city_is_default, places),
        (&spec.asn, &geo.asn, geo.asn_is_default, asns),
    ];
    lists.map(|(written, paths, is_default, before)| {
        // What cannot be told to exist will be told when it is read.
        let exists = |path: &Path| path.try_exists().unwrap_or(true);
        let was_read = |path: &Path| before.iter().any(|source| source.stamp.path == path);
        let paths = paths.iter().enumerate();
        let named = paths
            .filter(|(_, path)| !is_default || exists(path) || was_read(path))
            .map(|(at, path)| {
                let written = written.as_ref().and_then(|list| list.get(at));
                Named {
                    path: path.clone(),
                    name: written.map_or_else(|| path.display().to_string(), |written| written.value.clone()),
                    span: written.map(|written| written.span.clone()),
                }
            });
        named.collect()
    })
}

/// The databases alone, for lookups.
pub(super) fn databases(spec: &SettingsSpec, settings: &Settings, faults: &mut Faults) -> Databases {
    let [places, asns] = named(spec, settings, None).map(|named| {
        named
            .iter()
            .filter_map(|database| database.open(faults))
            .collect::<Vec<_>>()
    });
    Databases { places, asns }
}

/// The map for these questions. `before` is what the load before this one has left. `None` if there is a fault.
pub(super) fn locate(
    spec: &SettingsSpec,
    settings: &Settings,
    questions: &Questions,
    before: Option<&Locations>,
    faults: &mut Faults,
) -> Option<Locations> {
    let errors = faults.errors();
    if questions.sites() > SITES_MAX {
        let message = format!(
            "policies order {} places by distance: the most that are possible are {SITES_MAX}",
            questions.sites()
        );
        let hint = "pools at one place may name one location of [locations]".to_owned();
        faults.push(Diagnostic::file(faults.source().path.clone(), message).hint(hint));
        return None;
    }
    let named = named(spec, settings, before);
    let known = before
        .into_iter()
        .flat_map(|before| before.places.iter().chain(&before.asns));
    let mut known: Vec<&Source> = known.collect();
    let (by_place, by_asn) = (questions.ask_for_places(), questions.ask_for_asns());
    let places: Vec<Source> = named[0]
        .iter()
        .filter_map(|database| database.read(Kind::Places, by_place, &known, faults))
        .collect();
    // One file may be named for both.
    known.extend(&places);
    let asns: Vec<Source> = named[1]
        .iter()
        .filter_map(|database| database.read(Kind::Asns, by_asn, &known, faults))
        .collect();
    if faults.errors() > errors {
        return None;
    }
    tell_what_is_missing(&named, &places, questions, faults);
    let stamps = |sources: &[Source]| sources.iter().map(|source| source.stamp.clone()).collect::<Vec<_>>();
    let before = before.filter(|before| {
        let same_files = stamps(&places) == stamps(&before.places) && stamps(&asns) == stamps(&before.asns);
        same_files && before.map.questions == *questions
    });
    if let Some(before) = before {
        return Some(before.clone());
    }
    let extracts = |sources: &[Source]| {
        sources
            .iter()
            .filter_map(|source| source.extract.clone())
            .collect::<Vec<_>>()
    };
    let (map, known) = ClientMap::build(questions, &extracts(&places), &extracts(&asns));
    Some(Locations {
        map: Arc::new(map),
        known: Arc::new(known),
        places,
        asns,
    })
}

/// Tells what is asked for and in no database, once.
fn tell_what_is_missing(named: &[Vec<Named>; 2], places: &[Source], questions: &Questions, faults: &mut Faults) {
    let mut extracts = places.iter().filter_map(|source| source.extract.as_ref());
    let has_points = extracts.any(|extract| extract.holds.coordinates);
    let missing = [
        (
            named[0].is_empty() && questions.ask_for_places(),
            "no location database is loaded: every client's location is unknown, `nearest` tries its members in the order written, and rules by \
             country, subdivision or continent match nobody",
            "name one with `city` under [geo] of windrose.toml",
        ),
        (
            !named[0].is_empty() && !questions.sets.is_empty() && !has_points,
            "no loaded database has points, but countries alone: `nearest` tries its members in the order written",
            "name one of cities with `city` under [geo] of windrose.toml",
        ),
        (
            named[1].is_empty() && questions.ask_for_asns(),
            "no database of AS numbers is loaded: rules by `asn` match nobody",
            "name one with `asn` under [geo] of windrose.toml",
        ),
    ];
    for (_, message, hint) in missing.into_iter().filter(|(is_missing, _, _)| *is_missing) {
        faults.push(Diagnostic::file_warning(faults.source().path.clone(), message).hint(hint));
    }
}
