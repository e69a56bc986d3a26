//! What a file defines beside records or settings: pools, policies, probes, locations and networks, each known by its name.

use ipnet::IpNet;

use super::policies::{self, PolicySpec};
use super::pools::{self, FALLBACK_WORDS, PoolSpec};
use super::probes::{self, ProbeSpec};
use super::reader::{Entry, Table};
use super::value::Value;
use super::{At, Faults, places};

/// The tables that [`SteeringSpec::read`] reads.
pub const TABLES: &[&str] = &["pools", "policies", "probes", "locations", "networks"];

/// What a file defines.
#[derive(Debug, Clone, Default)]
pub struct SteeringSpec {
    /// Pools, in the order written; and so the others.
    pub pools: Vec<Named<PoolSpec>>,
    /// Policies.
    pub policies: Vec<Named<PolicySpec>>,
    /// Probes.
    pub probes: Vec<Named<ProbeSpec>>,
    /// Points on the Earth: latitude and longitude.
    pub locations: Vec<Named<Option<Point>>>,
    /// Lists of networks.
    pub networks: Vec<Named<Vec<IpNet>>>,
    /// Whether definitions are missing here because of a fault: then a name that is unknown may be one of theirs.
    pub incomplete: bool,
}

/// Latitude and longitude, in degrees.
pub type Point = [f64; 2];

/// A definition and its name.
#[derive(Debug, Clone)]
pub struct Named<T> {
    /// The name.
    pub name: At<String>,
    /// What could be read of the definition.
    pub content: T,
    /// Whether something of it is faulty.
    pub poisoned: bool,
}

impl SteeringSpec {
    /// Marks that the syntax of the file is broken: nothing here may be all of it.
    pub fn poison(&mut self) {
        fn each<T>(list: &mut [Named<T>]) {
            list.iter_mut().for_each(|item| item.poisoned = true);
        }
        self.incomplete = true;
        each(&mut self.pools);
        each(&mut self.policies);
        each(&mut self.probes);
        each(&mut self.locations);
        each(&mut self.networks);
    }

    /// Reads one of [`TABLES`].
    pub fn read(&mut self, entry: &Entry<'_>, faults: &mut Faults) {
        let Some(table) = entry.value.table(faults) else {
            self.incomplete = true;
            return;
        };
        match entry.key {
            "pools" => each(&table, &FALLBACK_WORDS, &mut self.pools, faults, |value, _, faults| {
                pools::read(value, faults)
            }),
            "policies" => each(&table, &FALLBACK_WORDS, &mut self.policies, faults, policies::read),
            "probes" => each(&table, &[], &mut self.probes, faults, |value, _, faults| {
                probes::read(value, faults)
            }),
            "locations" => each(&table, &[], &mut self.locations, faults, |value, _, faults| {
                places::point(value, faults)
            }),
            _ => each(&table, &[], &mut self.networks, faults, |value, _, faults| {
                places::networks(value, faults)
            }),
        }
    }
}

/// Reads every definition of a table; names that are `reserved` mean something else. One whose name cannot be a name is still known by it.
fn each<T>(
    table: &Table<'_>,
    reserved: &[&str],
    into: &mut Vec<Named<T>>,
    faults: &mut Faults,
    read: impl Fn(Value<'_>, &str, &mut Faults) -> T,
) {
    for entry in &table.entries {
        let before = faults.errors();
        check_name(entry, reserved, faults);
        let content = read(entry.value, entry.key, faults);
        into.push(Named {
            name: At::new(entry.key.to_owned(), entry.key_span.clone()),
            content,
            poisoned: faults.errors() > before,
        });
    }
}

/// A full name is `ORIGIN/NAME`, and `POOL/BACKEND` names a backend: so a name has no slash, and nothing that a shell or a log
/// line would cut.
fn check_name(entry: &Entry<'_>, reserved: &[&str], faults: &mut Faults) {
    if !good_name(entry.key) {
        let message = format!("`{}` is no name", entry.key);
        faults.error_hint(&entry.key_span, message, "a name has no spaces and no slash".to_owned());
    } else if reserved.contains(&entry.key) {
        let message = format!("`{}` is a word of `fallback`, and no name", entry.key);
        faults.error_hint(&entry.key_span, message, "give it another name".to_owned());
    }
}

/// Whether a text can be the name of a pool, policy, probe, location, network or backend.
pub fn good_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c == '/' || c.is_whitespace() || c.is_control())
}
