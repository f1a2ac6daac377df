//! Heads of HTTP/1 as they are written: to a peer, and to the client.

use std::cell::RefCell;
use std::time::SystemTime;

use http::{Method, StatusCode, Version};
use pingora::Result;
use pingora::http::ResponseHeader;

use super::edit::{change_request, change_response};
use crate::gateway::context::Context;
use crate::gateway::failure::bad_connection;
use crate::gateway::request_view::RequestView;
use crate::proto::date::with_date;
use crate::proto::h1::head;
use crate::proto::h1::response_head::{Framing, ResponseHead};
use crate::proto::h1::rewrite::{Memory, Rewrite, write_line};
use crate::proto::h1::stored_head::{Lines, StoredHead};
use crate::proto::headers::{EditHeaders, Headers, Name};
use crate::proto::hop_by_hop::{is_hop_by_hop, named_by_request, named_by_response};

/// Framing of a response to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sending {
    /// There is no body.
    Nothing,
    /// The body as it is: its length was sent, or the connection ends with it.
    Raw,
    /// Chunks.
    Chunks,
}

thread_local! {
    /// Memory for edits of a head, used within one call.
    static EDITS: RefCell<Memory> = RefCell::default();
}

/// Calls `edit` with memory for edits, which it returns.
fn with_edits<T>(edit: impl FnOnce(Memory) -> (T, Memory)) -> T {
    let memory = EDITS.with_borrow_mut(std::mem::take);
    let (done, memory) = edit(memory);
    EDITS.with_borrow_mut(|edits| *edits = memory);
    done
}

/// Writes the head of a request for a peer.
///
/// # Errors
/// With status 400 if `Connection` names what it may not.
pub fn write_request(
    out: &mut Vec<u8>,
    request: &RequestView<StoredHead>,
    ctx: &Context,
) -> Result<()> {
    let named = named_by_request(request.headers).map_err(|_| bad_connection())?;
    let mut lines = Lines::new();
    request.headers.read_lines(&mut lines);
    let routed = ctx.routed.as_ref();
    let target = routed.and_then(|routed| routed.target.as_deref());
    for part in [
        request.method.as_str().as_bytes(),
        b" ",
        target.unwrap_or(request.target),
        b" HTTP/1.1\r\n",
    ] {
        out.extend_from_slice(part);
    }
    with_edits(|memory| {
        let mut sent = Rewrite::new((), &lines, memory);
        sent.remove_if(is_hop_by_hop);
        for name in &named {
            sent.remove(name.as_str());
        }
        change_request(&mut sent, request, ctx);
        if let (false, Some(peer)) = (sent.has("host"), ctx.tried.last()) {
            // HTTP/1.0 needs no host; HTTP/1.1, which upstreams are spoken to in, does.
            sent.set(Name::Static("Host"), peer.to_string().as_bytes());
        }
        sent.write(out);
        ((), sent.into_memory())
    });
    match request.headers.framing() {
        head::Framing::None => {}
        head::Framing::Length(length) => write_length(out, length),
        head::Framing::Chunked => write_line(out, b"Transfer-Encoding", b"chunked"),
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Writes an interim response (1xx) for the client.
///
/// # Errors
/// Never; changes of a final response can fail.
pub fn write_interim(
    out: &mut Vec<u8>,
    response: &ResponseHead,
    request: &RequestView<StoredHead>,
    ctx: &mut Context,
) -> Result<()> {
    write_status(out, response.status, response.reason);
    with_edits(|memory| {
        let mut sent = Rewrite::new(response.status, response.lines, memory);
        remove_hop_by_hop(&mut sent);
        // An interim response has no content (RFC 9110, 8.6).
        for name in ["content-length", "trailer"] {
            sent.remove(name);
        }
        let changed = change_response(&mut sent, request, ctx);
        sent.write(out);
        (changed, sent.into_memory())
    })?;
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Writes a final response's head for the client. `keep` is whether its connection is kept; it is not
/// if only its end tells the end of the body.
///
/// # Errors
/// If the response cannot be compressed.
pub fn write_response(
    out: &mut Vec<u8>,
    response: &ResponseHead,
    request: &RequestView<StoredHead>,
    ctx: &mut Context,
    keep: &mut bool,
) -> Result<Sending> {
    write_status(out, response.status, response.reason);
    with_edits(|memory| {
        let mut sent = Rewrite::new(response.status, response.lines, memory);
        remove_hop_by_hop(&mut sent);
        if let Err(error) = change_response(&mut sent, request, ctx) {
            return (Err(error), sent.into_memory());
        }
        // Compression removes the length.
        let length = response
            .content_length
            .filter(|_| sent.has("content-length"));
        let has_date = sent.has("date");
        sent.remove("content-length");
        let sending = sending(response, request, ctx.encoder.is_some());
        let has_trailers = sending == Sending::Chunks && response.framing == Framing::Chunked;
        if ctx.encoder.is_some() || !has_trailers {
            sent.remove("trailer");
        }
        sent.write(out);
        match (sending, length) {
            (Sending::Chunks, _) => write_line(out, b"Transfer-Encoding", b"chunked"),
            (_, Some(length)) => write_length(out, length),
            (Sending::Raw, None) => *keep = false,
            (Sending::Nothing, None) => {
                let is_head = *request.method == Method::HEAD;
                if is_head && response.framing == Framing::Chunked {
                    write_line(out, b"Transfer-Encoding", b"chunked");
                }
            }
        }
        write_end(out, *keep, !has_date);
        (Ok(sending), sent.into_memory())
    })
}

/// Removes the fields of the connection to the upstream; a length stays to be looked at.
fn remove_hop_by_hop(sent: &mut Rewrite<StatusCode>) {
    for name in named_by_response(sent) {
        sent.remove(name.as_str());
    }
    sent.remove_if(|name| {
        const NAMES: [&str; 6] = [
            "connection",
            "keep-alive",
            "proxy-connection",
            "te",
            "transfer-encoding",
            "upgrade",
        ];
        NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
    });
}

fn sending(
    response: &ResponseHead,
    request: &RequestView<StoredHead>,
    is_encoded: bool,
) -> Sending {
    let chunks = if request.version == Version::HTTP_10 {
        Sending::Raw
    } else {
        Sending::Chunks
    };
    match response.framing {
        _ if *request.method == Method::HEAD => Sending::Nothing,
        Framing::None => Sending::Nothing,
        _ if is_encoded => chunks,
        Framing::Length(_) => Sending::Raw,
        Framing::Chunked | Framing::Close => chunks,
    }
}

/// Writes the head of a reply of the gateway's own.
pub fn write_reply(out: &mut Vec<u8>, header: &ResponseHeader, keep: bool) {
    let reason = header.get_reason_phrase().unwrap_or_default();
    write_status(out, header.status, reason);
    header.header_to_h1_wire(out);
    write_end(out, keep, !header.headers.contains_key(http::header::DATE));
}

fn write_status(out: &mut Vec<u8>, status: StatusCode, reason: &str) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason.as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn write_length(out: &mut Vec<u8>, length: u64) {
    write_line(
        out,
        b"Content-Length",
        itoa::Buffer::new().format(length).as_bytes(),
    );
}

fn write_end(out: &mut Vec<u8>, keep: bool, date: bool) {
    if date {
        with_date(SystemTime::now(), |date| {
            write_line(out, b"Date", date.as_bytes());
        });
    }
    let connection: &[u8] = if keep { b"keep-alive" } else { b"close" };
    write_line(out, b"Connection", connection);
    out.extend_from_slice(b"\r\n");
}
