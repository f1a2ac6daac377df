//! A response head that is accepted ends at one byte, however much comes behind it; and written anew
//! with the framing that was decided, it reads as the same response.

#![no_main]

use geogate::proto::h1::head::slots;
use geogate::proto::h1::response_head::{Framing, Limits, Parse, ResponseHead, read};
use geogate::proto::h1::rewrite::{Rewrite, write_length, write_line};
use geogate::proto::headers::{EditHeaders, LineBuffer};

const LIMITS: Limits = Limits {
    max_size: 64 << 10,
    max_lines: 100,
};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut first = slots();
    let Parse::Complete(head) = read(bytes, LIMITS, &mut first) else {
        return;
    };
    let mut second = slots();
    let before = read(&bytes[..head.length - 1], LIMITS, &mut second);
    assert!(matches!(before, Parse::Incomplete), "{before:?}");
    let (out, lines) = written(&head);
    let mut third = slots();
    let Parse::Complete(again) = read(&out, LIMITS, &mut third) else {
        panic!("{:?}", String::from_utf8_lossy(&out));
    };
    assert_eq!(again.length, out.len());
    assert_eq!((again.status, again.framing), (head.status, head.framing));
    let kept = again.lines.iter();
    let kept = kept.filter(|line| !is_framing(line.name));
    let kept: Vec<_> = kept.map(|line| (line.name.to_owned(), line.value.to_vec())).collect();
    assert_eq!(kept, lines);
});

fn is_framing(name: &str) -> bool {
    ["content-length", "transfer-encoding", "connection"]
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known))
}

/// The head as it is passed on, and its lines but for those of the framing.
fn written(head: &ResponseHead) -> (Vec<u8>, Vec<(String, Vec<u8>)>) {
    let mut sent = Rewrite::new(head.status, head.lines, LineBuffer::default());
    sent.remove_if(is_framing);
    let mut lines = Vec::new();
    sent.each(|name, value| lines.push((name.to_owned(), value.to_vec())));
    let mut out = format!("HTTP/1.1 {} {}\r\n", head.status.as_u16(), head.reason).into_bytes();
    sent.write(&mut out);
    match head.framing {
        Framing::None | Framing::Close => {}
        Framing::Length(length) => write_length(&mut out, length),
        Framing::Chunked => write_line(&mut out, b"Transfer-Encoding", b"chunked"),
    }
    out.extend_from_slice(b"\r\n");
    (out, lines)
}
