#![no_main]

use geogate::geo::format::{Languages, mmdb};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = mmdb::read(bytes, &Languages::default());
});
