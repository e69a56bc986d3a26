//! The one integration binary.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod daemon;
mod decide;
mod forests;
mod invariants;
mod serve;
mod stream;
