//! The one integration binary: answers as text cases, the layers and tidiness of the source, and what README promises.

// The lint's exception for tests covers only functions marked as such; here everything is a test.
#![allow(clippy::unwrap_used)]

mod cases;
mod expect;
mod layers;
mod message;
mod query;
mod readme;
mod tidy;
