//! The immutable thing that answers are read from: names, tails and policy tables, compiled once and swapped whole.

use std::sync::Arc;

use crate::health::Verdicts;
use crate::policy::model::Steering;
use crate::wire::name::Name;
use crate::zone::model::Zone;

/// What of the settings is compiled in.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Whether EDNS Client Subnet is read (RFC 7871).
    pub client_subnet: bool,
    /// Sent to whoever asks for it (RFC 5001); empty for none.
    pub nsid: Vec<u8>,
    /// The answer to `version.bind TXT CH`; empty refuses.
    pub version: String,
}

/// Everything that is served, of one load.
#[derive(Debug)]
pub struct Image {}

impl Image {
    /// Compiles zones. `failed` are the origins of zones that could not be loaded: SERVFAIL at and below.
    pub fn compile(_zones: &[Zone], _failed: &[Name], _steering: Steering, _options: &Options) -> Image {
        Image {}
    }
}

/// An image, and what follows from the verdicts in force.
#[derive(Debug)]
pub struct Serving {
    /// The image.
    pub image: Arc<Image>,
}

impl Serving {
    /// Works out the policy tables for these verdicts.
    pub fn new(image: Arc<Image>, _verdicts: &Verdicts) -> Serving {
        Serving { image }
    }
}
