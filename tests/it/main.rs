//! The one integration binary: answers as text cases, the compiled tables held to the oracle, real daemons on real sockets, the
//! layers and tidiness of the source, and what README promises.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod allocation;
mod allocations;
mod atlases;
mod cases;
mod check_cases;
mod clockwork;
mod control;
mod daemon;
mod damaged;
mod decide;
mod demo;
mod expect;
mod explain;
mod explain_location;
mod fixture;
mod forests;
mod found;
mod fuzz;
mod geo_lookup;
mod health;
mod invariants;
mod last;
mod layers;
mod locations;
mod master;
mod message;
mod metrics;
mod mutations;
mod plain;
mod plain_chains;
mod portable;
mod prober;
mod probes;
mod query;
mod questions;
mod random_zones;
mod readme;
mod rfc;
mod serve;
mod stream;
mod tables;
mod tally;
mod tidy;
mod worlds;
