//! `cargo +nightly fuzz run response`: see `closures.rs`.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../closures.rs"]
mod closures;

fuzz_target!(|octets: &[u8]| closures::response(octets));
