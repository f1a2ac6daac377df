//! A chunked body ends at the same byte whether it comes whole or in pieces, or in neither case.
//! The first byte says how long the pieces are.

#![no_main]

use geogate::chunks::{Malformed, Scanner};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((&length, body)) = bytes.split_first() else {
        return;
    };
    let pieces = body.chunks(usize::from(length).max(1));
    assert_eq!(scan([body]), scan(pieces));
});

/// How many bytes belong to the body, and whether it is complete.
fn scan<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> Result<(usize, bool), Malformed> {
    let (mut scanner, mut length) = (Scanner::new(), 0);
    for piece in pieces {
        length += scanner.scan(piece)?;
    }
    Ok((length, scanner.is_complete()))
}
