//! The running daemon: what it serves and how that is replaced.

pub mod api;
pub mod director;
pub mod endpoint;
pub mod explain;
mod limited;
pub mod prober;
pub mod publisher;
pub mod reload;
pub mod status;
