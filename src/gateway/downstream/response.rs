//! Answers to plain queries, and rejections, written as bytes: head and body in one buffer.
//!
//! A head has the lines that pingora would write, in the same order, so that a client sees no
//! difference between the engines.

use std::time::SystemTime;

use crate::proto::date::with_date;
use crate::query::{self, Answer};

/// Additional header lines of a response.
pub type Lines = [(&'static str, String)];

/// Appends a response. `with_body` is `false` in a response to `HEAD`.
pub fn write(
    out: &mut Vec<u8>,
    answer: &Answer,
    lines: &Lines,
    with_body: bool,
    keep: bool,
    now: SystemTime,
) {
    start(out, answer.status);
    if answer.names_methods() {
        line(out, b"Allow", query::METHODS.as_bytes());
    }
    if answer.status != 204 {
        line(out, b"Content-Type", query::CONTENT_TYPE.as_bytes());
        out.extend_from_slice(b"Content-Length: ");
        out.extend_from_slice(itoa::Buffer::new().format(answer.body.len()).as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    more(out, lines);
    end(out, keep, now);
    if with_body {
        out.extend_from_slice(&answer.body);
    }
}

/// Appends the page of a rejected request. The connection is closed after it.
pub fn write_refusal(out: &mut Vec<u8>, status: u16, lines: &Lines, media_type: &str, page: &[u8]) {
    start(out, status);
    line(out, b"Content-Type", media_type.as_bytes());
    line(
        out,
        b"Content-Length",
        itoa::Buffer::new().format(page.len()).as_bytes(),
    );
    more(out, lines);
    end(out, false, SystemTime::now());
    out.extend_from_slice(page);
}

fn start(out: &mut Vec<u8>, status: u16) {
    if status == 200 {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        return;
    }
    let known = http::StatusCode::from_u16(status).ok();
    let reason = known
        .and_then(|status| status.canonical_reason())
        .unwrap_or_default();
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason.as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn more(out: &mut Vec<u8>, lines: &Lines) {
    for (name, value) in lines {
        line(out, name.as_bytes(), value.as_bytes());
    }
}

fn end(out: &mut Vec<u8>, keep: bool, now: SystemTime) {
    out.extend_from_slice(b"Date: ");
    with_date(now, |date| out.extend_from_slice(date.as_bytes()));
    out.extend_from_slice(if keep {
        b"\r\nConnection: keep-alive\r\n\r\n"
    } else {
        b"\r\nConnection: close\r\n\r\n"
    });
}
