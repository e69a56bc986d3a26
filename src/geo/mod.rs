//! Where clients are: points and distances, what location databases say, and a map from every address to a number.
//!
//! Knows no policy and no file: databases come as octets, and what is mapped to is the business of whoever asks.

pub mod continents;
pub mod coordinates;
pub mod extract;
pub mod lookup;
pub mod mmdb;
pub mod overlay;
pub mod prefix_map;
pub mod record;

use coordinates::Coordinates;
use record::Place;

/// What is known of where a client is; by default nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Whereabouts {
    /// The point.
    pub coordinates: Option<Coordinates>,
    /// Country, subdivisions and continent.
    pub place: Place,
    /// The number of the autonomous system that announces its network.
    pub asn: Option<u32>,
}
