//! Sockets to `answer()` and back.
//!
//! Whatever carries a query (a datagram, a stream) reads what is served through one [`Shared`] pointer, and never writes it.

pub mod counters;
pub mod engine;
pub mod limit;
pub mod listen;
pub mod portable;
pub mod stream;
pub mod syscall;
#[cfg(target_os = "linux")]
pub mod udp;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;

use crate::image::Serving;

/// What is served now. The publisher (`control`) is its only writer; a reader loads it for one query or batch and lets go
/// before it waits for anything.
pub type Shared = Arc<ArcSwap<Serving>>;

/// Seconds since 1970, without what 32 bits do not hold: what answers need of the time. No system call where the kernel shares its clock.
pub(crate) fn unix_seconds() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() as u32)
}
