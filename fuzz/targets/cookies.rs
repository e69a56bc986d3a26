//! `cargo +nightly fuzz run cookies`: see `closures.rs`.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../closures.rs"]
mod closures;

fuzz_target!(|octets: &[u8]| closures::cookies(octets));
