//! The running daemon: what it serves and how that is replaced.

pub mod publisher;
pub mod reload;
