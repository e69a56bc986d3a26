//! What a zone knows of the pools and policies that its records may name: that they exist, and whether they answer by CNAME, and to which.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::wire::name::Name;

/// The pools and policies known in a zone, by the name used there.
#[derive(Debug, Clone, Default)]
pub struct Roots {
    /// Each of them.
    pub known: BTreeMap<String, RootFacts>,
    /// Whether there may be more, in a file that could not be read: then an unknown name is no fault of who names it.
    pub incomplete: bool,
}

/// What a zone must know of a root.
#[derive(Debug, Clone)]
pub struct RootFacts {
    /// Its full name.
    pub full_name: String,
    /// Whether it may answer by a host, so by CNAME; `None` if a fault hides it.
    pub answers_by_host: Option<bool>,
    /// The hosts that it may answer by, as far as they are known: those beneath it, and those of its fallback.
    pub hosts: [Arc<BTreeSet<Name>>; 2],
}
