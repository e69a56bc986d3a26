//! The one integration binary.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod decide;
mod forests;
mod invariants;
// The lint's exception for tests covers only functions marked as such; here everything is a test.
#![allow(clippy::unwrap_used)]
mod daemon;
mod serve;
mod stream;
