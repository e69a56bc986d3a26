//! The one integration binary.

// The lint's exception for tests covers only functions marked as such; here everything is a test.
#![allow(clippy::unwrap_used)]

mod daemon;
mod serve;
mod stream;
