#![no_main]

use geogate::geo::format::{Languages, ipdb};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = ipdb::read(bytes, &Languages::default());
});
