//! The checksum is made right, which no mutation would do.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((content, _)) = bytes.split_last_chunk::<4>() else {
        return;
    };
    let checksum = crc32fast::hash(content).to_le_bytes();
    let _ = geogate::geo::format::pack::read(&[content, &checksum].concat());
});
