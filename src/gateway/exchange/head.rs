//! Heads as they are passed on: to a peer, and to the client.

use std::cell::RefCell;

use http::{HeaderValue, Method, Request, StatusCode, Version, header};
use pingora::Result;

use super::client::{Client, Content, FinalHead, InterimHead};
use super::edit::{change_request, change_response};
use crate::config::model::SocketAddress;
use crate::gateway::context::Context;
use crate::gateway::failure::{bad_connection, status_error};
use crate::gateway::request::request_view::RequestView;
use crate::proto::h1::head;
use crate::proto::h1::response_head::{Framing, ResponseHead};
use crate::proto::h1::rewrite::{Rewrite, write_length, write_line};
use crate::proto::h1::stored_head::{Lines, StoredHead};
use crate::proto::headers::{EditHeaders, Headers, LineBuffer, Name};
use crate::proto::hop_by_hop::{
    is_hop_by_hop, is_hop_by_hop_in_response, named_by_request, named_by_response,
};

thread_local! {
    /// Memory for edits of a head, used within one call.
    static EDITS: RefCell<LineBuffer> = RefCell::default();
}

/// Calls `edit` with memory for edits, which it returns.
fn with_edits<T>(edit: impl FnOnce(LineBuffer) -> (T, LineBuffer)) -> T {
    let memory = EDITS.with_borrow_mut(std::mem::take);
    let (done, memory) = edit(memory);
    EDITS.with_borrow_mut(|edits| *edits = memory);
    done
}

/// Calls `read` with the lines of a request as a peer gets them, without their framing.
///
/// # Errors
/// With status 400 if `Connection` names what it may not.
pub fn request_lines<T>(
    request: &RequestView<StoredHead>,
    ctx: &Context,
    read: impl FnOnce(&mut Rewrite<()>) -> T,
) -> Result<T> {
    let named = named_by_request(request.headers).map_err(|_| bad_connection())?;
    let mut lines = Lines::new();
    request.headers.read_lines(&mut lines);
    Ok(with_edits(|memory| {
        let mut sent = Rewrite::new((), &lines, memory);
        sent.remove_if(is_hop_by_hop);
        for name in &named {
            sent.remove(name.as_str());
        }
        change_request(&mut sent, request, ctx);
        if let (false, Some(peer)) = (sent.has("host"), ctx.attempts.tried().last()) {
            // HTTP/1.0 needs no host; upstreams, which are spoken to in later versions, do.
            sent.set(Name::Static("Host"), host_of(peer).as_bytes());
        }
        (read(&mut sent), sent.into_memory())
    }))
}

/// Host for a request without one. A path is no host (RFC 9110, 7.2).
fn host_of(peer: &SocketAddress) -> String {
    match peer {
        SocketAddress::Inet(address) => address.to_string(),
        SocketAddress::Unix(_) => "localhost".to_owned(),
    }
}

/// Target that a peer gets.
fn target<'r>(request: &RequestView<'r, StoredHead>, ctx: &'r Context) -> &'r [u8] {
    let routed = ctx.routed.as_ref();
    let target = routed.and_then(|routed| routed.target.as_deref());
    target.unwrap_or(request.target)
}

/// Writes the head of a request for a peer of HTTP/1.
///
/// # Errors
/// With status 400 if `Connection` names what it may not.
pub fn write_request(
    out: &mut Vec<u8>,
    request: &RequestView<StoredHead>,
    ctx: &Context,
) -> Result<()> {
    for part in [
        request.method.as_str().as_bytes(),
        b" ",
        target(request, ctx),
        b" HTTP/1.1\r\n",
    ] {
        out.extend_from_slice(part);
    }
    request_lines(request, ctx, |sent| sent.write(out))?;
    if request.headers.is_upgrade() {
        let protocol = request.headers.first("upgrade").unwrap_or_default();
        write_line(out, b"Connection", b"upgrade");
        write_line(out, b"Upgrade", protocol);
    }
    match request.headers.framing() {
        head::Framing::None => {}
        head::Framing::Length(length) => write_length(out, length),
        head::Framing::Chunked => write_line(out, b"Transfer-Encoding", b"chunked"),
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Creates the head of a request for a peer of HTTP/2, where the host is part of the target.
///
/// # Errors
/// With status 400 if `Connection` names what it may not, or the host cannot be named.
pub fn http2_request(
    request: &RequestView<StoredHead>,
    ctx: &Context,
    is_tls: bool,
) -> Result<Request<()>> {
    let no_host = || status_error(400, "a host that HTTP/2 cannot name");
    let (host, mut headers) = request_lines(request, ctx, |sent| {
        let host = sent.first("host").map(<[u8]>::to_vec);
        // The gateway has answered the expectation: few servers of HTTP/2 do.
        sent.remove_if(|name| {
            ["host", "expect"]
                .iter()
                .any(|known| name.eq_ignore_ascii_case(known))
        });
        (host, sent.to_http2())
    })?;
    // gRPC requires it, and it is true of every HTTP/2 client that sends it.
    let te = request.headers.first("te");
    if request.is_http2() && te == Some(b"trailers") {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    if let head::Framing::Length(length) = request.headers.framing() {
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
    let uri = http::Uri::builder()
        .scheme(if is_tls { "https" } else { "http" })
        .authority(host.ok_or_else(no_host)?)
        .path_and_query(target(request, ctx))
        .build();
    let mut written = Request::new(());
    *written.method_mut() = request.method.clone();
    *written.uri_mut() = uri.map_err(|_| no_host())?;
    *written.version_mut() = Version::HTTP_2;
    *written.headers_mut() = headers;
    Ok(written)
}

/// Puts an interim response (1xx) for the client. `upgrade` is the protocol that its connection
/// changes to.
///
/// # Errors
/// If the client has left.
pub fn put_interim(
    client: &mut impl Client,
    response: &ResponseHead,
    request: &RequestView<StoredHead>,
    ctx: &mut Context,
    upgrade: Option<&[u8]>,
) -> Result<()> {
    with_edits(|memory| {
        let mut sent = Rewrite::new(response.status, response.lines, memory);
        remove_hop_by_hop(&mut sent);
        // An interim response has no content (RFC 9110, 8.6).
        for name in ["content-length", "trailer"] {
            sent.remove(name);
        }
        let head = InterimHead {
            reason: response.reason,
            upgrade,
        };
        let put = change_response(&mut sent, request, ctx)
            .and_then(|()| client.put_interim(&sent, &head));
        (put, sent.into_memory())
    })
}

/// Puts a final response's head for the client.
///
/// # Errors
/// If the response cannot be compressed, or the client has left.
pub fn put_response(
    client: &mut impl Client,
    response: &ResponseHead,
    request: &RequestView<StoredHead>,
    ctx: &mut Context,
) -> Result<()> {
    with_edits(|memory| {
        // A status without content says that of its own response.
        let status = match response.framing {
            Framing::None => response.status,
            _ => ctx.final_status(response.status),
        };
        let mut sent = Rewrite::new(status, response.lines, memory);
        remove_hop_by_hop(&mut sent);
        if let Err(error) = change_response(&mut sent, request, ctx) {
            return (Err(error), sent.into_memory());
        }
        let is_encoded = ctx.encoder.is_some();
        let content = content(response, request, is_encoded);
        let head = FinalHead {
            reason: reason(response, status),
            content,
            length: length(response, request, content, sent.has("content-length")),
            needs_date: !sent.has("date"),
        };
        sent.remove("content-length");
        // Only a response in parts can have trailers.
        if is_encoded
            || response.framing != Framing::Chunked
            || content != Content::Open
            || request.version == Version::HTTP_10
        {
            sent.remove("trailer");
        }
        (client.put_head(&sent, &head), sent.into_memory())
    })
}

/// Removes the fields of the connection to the upstream; a length stays to be looked at.
fn remove_hop_by_hop(sent: &mut Rewrite<StatusCode>) {
    for name in named_by_response(sent) {
        sent.remove(name.as_str());
    }
    sent.remove_if(is_hop_by_hop_in_response);
}

/// Reason phrase of the response, or of the status that it has in place of its own.
fn reason<'b>(response: &ResponseHead<'_, 'b>, status: StatusCode) -> &'b str {
    if status == response.status {
        return response.reason;
    }
    status.canonical_reason().unwrap_or_default()
}

/// Content behind a response's head, as the client gets it.
fn content(
    response: &ResponseHead,
    request: &RequestView<StoredHead>,
    is_encoded: bool,
) -> Content {
    let is_head = *request.method == Method::HEAD;
    match response.framing {
        framing if is_head || framing == Framing::None => Content::Nothing {
            would_be_chunked: is_head && framing == Framing::Chunked,
        },
        _ if is_encoded => Content::Open,
        Framing::Length(0) => Content::Nothing {
            would_be_chunked: false,
        },
        Framing::None | Framing::Length(_) => Content::Announced,
        Framing::Chunked | Framing::Close => Content::Open,
    }
}

/// Length that a response's head announces. Compression removes it.
fn length(
    response: &ResponseHead,
    request: &RequestView<StoredHead>,
    content: Content,
    is_announced: bool,
) -> Option<u64> {
    let Some(length) = response.content_length else {
        // A response of HTTP/2 may end with its head, where a client of HTTP/1 would go on waiting.
        let is_empty = response.framing == Framing::Length(0) && *request.method != Method::HEAD;
        return (is_empty && content != Content::Open && !request.is_http2()).then_some(0);
    };
    (is_announced && content != Content::Open).then_some(length)
}
