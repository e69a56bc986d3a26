//! Location databases: read into memory, compiled to the map of clients, and let go. What a load has compiled serves the next one too, as long
//! as the files are the same and the same is asked of them.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::Settings;
use crate::diagnostic::Diagnostic;
use crate::geo::lookup::{self, Sighting};
use crate::geo::mmdb::{Database, Error};
use crate::policy::client_map::{Broken, ClientMap, Holds, Known};
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
    /// The files of either list, as they were.
    files: [Vec<Stamp>; 2],
}

impl Default for Locations {
    fn default() -> Self {
        Self {
            map: Arc::new(ClientMap::without_databases(&Questions::default())),
            known: Arc::default(),
            files: Default::default(),
        }
    }
}

/// The databases themselves, for as long as they are in memory.
#[derive(Debug, Default)]
pub struct Databases {
    /// Those with places, in order of preference.
    pub places: Vec<Database>,
    /// Those with AS numbers.
    pub asns: Vec<Database>,
}

impl Databases {
    /// What they know of an address.
    pub fn look_up(&self, address: std::net::IpAddr) -> Result<Sighting, Error> {
        lookup::look_up(&self.places, &self.asns, address)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty() && self.asns.is_empty()
    }
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

/// A database that the settings name.
struct Named {
    path: PathBuf,
    /// As it is written.
    name: String,
    /// Where, unless it is the default.
    span: Option<Span>,
}

impl Named {
    fn fault(&self, faults: &Faults, message: String) -> Diagnostic {
        let message = format!("the database {}: {message}", self.path.display());
        match &self.span {
            Some(span) => Diagnostic::error(faults.source(), span.clone(), message),
            None => Diagnostic::file(&self.path, message),
        }
    }
}

/// The databases that the settings name: those with places, and those with AS numbers.
fn named(spec: &SettingsSpec, settings: &Settings) -> [Vec<Named>; 2] {
    let lists = [
        (&spec.city, &settings.geo.city, settings.geo.city_is_default),
        (&spec.asn, &settings.geo.asn, settings.geo.asn_is_default),
    ];
    lists.map(|(written, paths, is_default)| {
        let paths = paths.iter().enumerate();
        let named = paths
            .filter(|(_, path)| !is_default || path.exists())
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

/// Reads the databases; `needed` says whether those with places, and those with AS numbers, are to be kept.
fn open(named: &[Vec<Named>; 2], faults: &mut Faults) -> Databases {
    let mut databases = named.iter().map(|list| {
        let mut opened = Vec::new();
        for database in list {
            let read = fs::read(&database.path).map_err(|error| cannot_be_read(&error));
            match read.and_then(|octets| Database::open(&database.name, octets).map_err(|error| error.to_string())) {
                Ok(database) => opened.push(database),
                Err(message) => {
                    let fault = database.fault(faults, message);
                    faults.push(fault);
                }
            }
        }
        opened
    });
    Databases {
        places: databases.next().unwrap_or_default(),
        asns: databases.next().unwrap_or_default(),
    }
}

fn cannot_be_read(error: &io::Error) -> String {
    format!("cannot be read: {error}")
}

/// The databases alone, for lookups.
pub(super) fn databases(spec: &SettingsSpec, settings: &Settings, faults: &mut Faults) -> Databases {
    open(&named(spec, settings), faults)
}

/// The map for these questions. `before` is what the load before this one has compiled. `None` if there is a fault.
pub(super) fn locate(
    spec: &SettingsSpec,
    settings: &Settings,
    questions: &Questions,
    before: Option<&Locations>,
    faults: &mut Faults,
) -> Option<(Locations, Databases)> {
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
    let named = named(spec, settings);
    // One that is not there is told when it is opened, with whatever is wrong with the others.
    let metadata = |database: &Named| Some(Stamp::new(&database.path, &fs::metadata(&database.path).ok()?));
    let files = named
        .each_ref()
        .map(|list| list.iter().filter_map(metadata).collect::<Vec<_>>());
    let all_there = files
        .iter()
        .zip(&named)
        .all(|(files, named)| files.len() == named.len());
    let is_same = |before: &&Locations| all_there && before.files == files && before.map.questions == *questions;
    if let Some(before) = before.filter(is_same) {
        tell_what_is_missing(&named, questions, faults);
        return Some((before.clone(), Databases::default()));
    }
    let databases = open(&named, faults);
    if faults.errors() > errors {
        return None;
    }
    // What nobody asks for is not walked through.
    let asked = |databases: bool| if databases { usize::MAX } else { 0 };
    let places = databases
        .places
        .get(..databases.places.len().min(asked(questions.ask_for_places())));
    let asns = databases
        .asns
        .get(..databases.asns.len().min(asked(questions.ask_for_asns())));
    let (places, asns) = (places.unwrap_or_default(), asns.unwrap_or_default());
    match ClientMap::build(questions, places, asns) {
        Ok((map, known)) => {
            let (of_places, of_asns) = known.databases.split_at(places.len());
            wrong_files(&named, of_places, of_asns, &databases, faults);
            tell_what_is_missing(&named, questions, faults);
            let locations = Locations {
                map: Arc::new(map),
                known: Arc::new(known),
                files,
            };
            (faults.errors() == errors).then_some((locations, databases))
        }
        Err(Broken { database, error }) => {
            let of_places = named[0].iter().take(places.len());
            if let Some(database) = of_places.chain(&named[1]).nth(database) {
                let fault = database.fault(faults, error.to_string());
                faults.push(fault);
            }
            None
        }
    }
}

/// Tells the databases in which nothing is that they are named for.
fn wrong_files(named: &[Vec<Named>; 2], places: &[Holds], asns: &[Holds], databases: &Databases, faults: &mut Faults) {
    for ((named, holds), database) in named[0].iter().zip(places).zip(&databases.places) {
        if !holds.coordinates && !holds.places {
            let message = format!(
                "there are neither points nor countries in it (its type is `{}`)",
                database.kind()
            );
            let hint = holds.asns.then_some("it has AS numbers: name it under `asn`");
            let fault = named.fault(faults, message);
            faults.push(hint.map_or(fault.clone(), |hint| fault.hint(hint)));
        }
    }
    for ((named, holds), database) in named[1].iter().zip(asns).zip(&databases.asns) {
        if !holds.asns {
            let message = format!("there are no AS numbers in it (its type is `{}`)", database.kind());
            let hint = holds.places.then_some("it has places: name it under `city`");
            let fault = named.fault(faults, message);
            faults.push(hint.map_or(fault.clone(), |hint| fault.hint(hint)));
        }
    }
}

/// Tells what is asked for and in no database, once.
fn tell_what_is_missing(named: &[Vec<Named>; 2], questions: &Questions, faults: &mut Faults) {
    let missing = [
        (
            named[0].is_empty() && questions.ask_for_places(),
            "no location database is loaded: every client's location is unknown, `nearest` tries its members in the order written, and rules by \
             country, subdivision or continent match nobody",
            "name one with `city` under [geo] of windrose.toml",
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
