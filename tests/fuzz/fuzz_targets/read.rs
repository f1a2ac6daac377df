//! Any bytes, as a user's file: the format is told, and what is read is arranged for lookup.

#![no_main]

use std::sync::LazyLock;

use geogate::geo::format::{self, Languages};
use geogate::geo::{Codes, Database, Names};

static CODES: LazyLock<Codes> = LazyLock::new(Codes::built_in);

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(table) = format::read(bytes, &Languages::default()) {
        let _ = Database::build(table, &CODES, Names::Canonical);
    }
});
