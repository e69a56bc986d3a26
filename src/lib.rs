//! Windrose: an authoritative DNS server whose answers depend on who asks and on what is healthy.
//!
//! One function is the product: [`answer::answer`] writes the response to one query. UDP, TCP, `explain`, the benches and
//! every behaviour test call it. Everything else carries bytes to it or keeps what it reads fresh.
//!
//! The same facts have three shapes, each made only from the one before: what a person wrote, with its places
//! ([`spec`]); what it means, checked ([`zone`], [`policy`], [`health`]); and what is read when a query comes, compiled and
//! immutable ([`image`]). The modules are listed lowest first, and import only from those above them in this list.

pub mod diagnostic;
pub mod wire;

pub mod geo;
pub mod spec;

pub mod health;
pub mod zone;

pub mod policy;

pub mod image;

pub mod answer;

// Below this line: clocks, files, sockets and chance.

pub mod config;
pub mod probe;

pub mod load;

pub mod server;

pub mod control;

pub mod cli;
