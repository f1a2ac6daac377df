//! A chunked body ends at the same byte, and has the same content and trailers, whether it comes
//! whole or in pieces, or in neither case. The first byte says how long the pieces are.

#![no_main]

use geogate::proto::h1::chunked::{Malformed, Scanner};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((&length, body)) = bytes.split_first() else {
        return;
    };
    let length = usize::from(length).max(1);
    let scanned = scan([body]);
    assert_eq!(scanned, scan(body.chunks(length)));
    for new in [Scanner::new as fn() -> Scanner, Scanner::of_response] {
        let whole = decode(new(), [body]);
        assert_eq!(whole, decode(new(), body.chunks(length)));
        if let Ok(Body {
            content,
            trailers,
            is_complete: true,
            ..
        }) = whole
        {
            let again = written(&content, &trailers);
            let again = decode(Scanner::new(), [&again[..]]).expect("what is written can be read");
            assert_eq!((again.content, again.trailers), (content, trailers));
        }
    }
    // Scanning and decoding agree on a request's body.
    let decoded = decode(Scanner::new(), [body]);
    assert_eq!(scanned, decoded.map(|body| (body.length, body.is_complete)));
});

#[derive(Debug, PartialEq)]
struct Body {
    length: usize,
    content: Vec<u8>,
    trailers: Vec<u8>,
    is_complete: bool,
}

/// How many bytes belong to the body, and whether it is complete.
fn scan<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> Result<(usize, bool), Malformed> {
    let (mut scanner, mut length) = (Scanner::new(), 0);
    for piece in pieces {
        length += scanner.scan(piece)?;
    }
    Ok((length, scanner.is_complete()))
}

fn decode<'b>(
    mut scanner: Scanner,
    pieces: impl IntoIterator<Item = &'b [u8]>,
) -> Result<Body, Malformed> {
    let (mut length, mut content) = (0, Vec::new());
    for piece in pieces {
        let mut piece = piece.to_vec();
        let decoded = scanner.decode(&mut piece)?;
        length += decoded.consumed;
        content.extend_from_slice(&piece[..decoded.content]);
    }
    Ok(Body {
        length,
        content,
        trailers: scanner.trailers().to_vec(),
        is_complete: scanner.is_complete(),
    })
}

/// The body as the gateway writes it.
fn written(content: &[u8], trailers: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    if !content.is_empty() {
        out.extend_from_slice(format!("{:x}\r\n", content.len()).as_bytes());
        out.extend_from_slice(content);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n");
    out.extend_from_slice(trailers);
    out.extend_from_slice(b"\r\n");
    out
}
