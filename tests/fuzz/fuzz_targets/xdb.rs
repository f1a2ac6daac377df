#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = geogate::geo::format::xdb::read(bytes);
});
