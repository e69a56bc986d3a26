//! `cargo +nightly fuzz run query`: see `closures.rs`.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/it/fixture.rs"]
mod fixture;

#[path = "../closures.rs"]
mod closures;

fuzz_target!(init: { std::sync::LazyLock::force(&SERVING); }, |octets: &[u8]| closures::query(&SERVING, octets));

static SERVING: std::sync::LazyLock<windrose::image::Serving> = std::sync::LazyLock::new(fixture::serving);
