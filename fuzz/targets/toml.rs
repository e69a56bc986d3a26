//! `cargo +nightly fuzz run toml`: see `closures.rs`.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../closures.rs"]
mod closures;

fuzz_target!(|octets: &[u8]| closures::toml_files(octets));
