//! A request head that is accepted ends at one byte, however much comes behind it; and written anew
//! from what was read, it reads as the same request.

#![no_main]

use geogate::proto::h1::head::{self, Limits, Parse};
use geogate::proto::h1::rewrite::Rewrite;
use geogate::proto::h1::stored_head::{Lines, StoredHead};
use geogate::proto::headers::{Headers, LineBuffer};
use http::Version;

/// A request as it was read.
#[derive(Debug, PartialEq)]
struct Read {
    method: String,
    target: Vec<u8>,
    lines: Vec<(String, Vec<u8>)>,
    framing: String,
    is_upgrade: bool,
    is_1_1: bool,
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((length, stored)) = read(bytes) else {
        return;
    };
    // No part of it is a head, and what is behind it changes nothing.
    let before = &bytes[..length - 1];
    let mut slots = head::slots();
    let parsed = head::read(before, limits(100), &mut slots);
    assert!(matches!(parsed, Parse::Incomplete), "{parsed:?}");
    let alone = read(&bytes[..length]).expect("the head alone");
    assert_eq!((alone.0, view(&alone.1)), (length, view(&stored)));
    let again = written(&stored);
    // The authority of the target may have become a line.
    let (_, again) = read_with(&again, 101).expect("what is written can be read");
    assert_eq!(view(&again), view(&stored));
});

fn limits(lines: usize) -> Limits {
    Limits::new(64 << 10, lines)
}

fn read(bytes: &[u8]) -> Option<(usize, StoredHead)> {
    read_with(bytes, 100)
}

fn read_with(bytes: &[u8], lines: usize) -> Option<(usize, StoredHead)> {
    let mut slots = head::slots();
    let Parse::Complete(head) = head::read(bytes, limits(lines), &mut slots) else {
        return None;
    };
    let mut stored = StoredHead::default();
    stored.store(&head, bytes).then_some((head.length, stored))
}

fn view(head: &StoredHead) -> Read {
    let mut lines = Lines::new();
    head.read_lines(&mut lines);
    let lines = lines.iter();
    assert!(head.lines("host").count() <= 1, "one host");
    Read {
        method: head.method().to_string(),
        target: head.target().to_vec(),
        lines: lines
            .map(|line| (line.name.to_owned(), line.value.to_vec()))
            .collect(),
        framing: format!("{:?}", head.framing()),
        is_upgrade: head.is_upgrade(),
        is_1_1: head.version() == Version::HTTP_11,
    }
}

fn written(head: &StoredHead) -> Vec<u8> {
    let mut lines = Lines::new();
    head.read_lines(&mut lines);
    let mut out = head.method().as_str().as_bytes().to_vec();
    out.push(b' ');
    out.extend_from_slice(head.target());
    out.extend_from_slice(match head.version() {
        Version::HTTP_11 => b" HTTP/1.1\r\n",
        _ => b" HTTP/1.0\r\n",
    });
    Rewrite::new((), &lines, LineBuffer::default()).write(&mut out);
    out.extend_from_slice(b"\r\n");
    out
}
