//! `cargo +nightly fuzz run mmdb`: see `closures.rs`.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../closures.rs"]
mod closures;

fuzz_target!(|octets: &[u8]| closures::mmdb(&QUESTIONS, octets));

static QUESTIONS: std::sync::LazyLock<windrose::policy::questions::Questions> =
    std::sync::LazyLock::new(closures::mmdb_questions);
