//! The running daemon: what it serves and how that is replaced.

pub mod api;
mod connections;
mod cookie_secrets;
pub mod director;
pub mod endpoint;
pub mod explain;
mod exposition;
pub mod metrics;
pub mod prober;
pub mod publisher;
pub mod reload;
pub mod results;
pub mod state;
pub mod status;
