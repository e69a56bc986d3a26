//! Zones as they are meant, checked: names, record sets, and which owners are steered. Knows no policy, only its name.

pub mod check;
pub mod circles;
pub mod export;
pub mod lookup;
pub mod master;
pub mod model;
pub mod roots;
pub mod sections;
pub mod start;
pub mod targets;
pub mod together;
pub mod toml;
