//! The client's side of a request: its body read, its response sent, in either version of HTTP.

mod http1;
mod http2;

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use pingora::http::ResponseHeader;
use pingora::protocols::Stream;
use pingora::{Error, ErrorType, Result};

pub use self::http1::Http1Client;
pub use self::http2::{Http2Client, Http2Request};
use super::piece::{Piece, Size};
use crate::config::model;
use crate::gateway::access::min_rate::MinRateMeter;
use crate::gateway::failure::slow_body;
use crate::proto::h1::rewrite::Rewrite;

/// Bytes of a request that are read, and how long, after a response that came before its end.
const LINGER_BYTES: u64 = 16 << 20;
const LINGER_TIME: Duration = Duration::from_secs(2);

/// Client of one request. What is put is sent by `poll_send` and `poll_flush`.
pub trait Client: Send {
    /// Returns `true` if the whole body was read.
    fn is_complete(&self) -> bool;

    /// Leaves the rest of the body unread, as if the body were complete, or reads it again.
    fn leave_body(&mut self, is_left: bool);

    /// Trailer lines of a body that is complete, each with its end.
    fn trailers(&self) -> &[u8];

    /// Returns `true` if content of the body, or framing, is in memory.
    fn has_read(&self) -> bool;

    /// Reads content of the body into an empty piece: nothing, perhaps, if only framing came.
    fn poll_read(&mut self, cx: &mut Context<'_>, piece: &mut Piece) -> Poll<Result<()>>;

    /// Reads content that is in memory into an empty piece.
    ///
    /// # Errors
    /// If the body is malformed.
    fn take_read(&mut self, piece: &mut Piece) -> Result<()>;

    /// Notices a client that leaves while its response is awaited. Never ready otherwise.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>>;

    /// Reads and drops whatever comes, for a client that is not understood any more.
    fn poll_drop(&mut self, cx: &mut Context<'_>) -> Poll<Option<usize>>;

    /// Puts an interim response (1xx).
    ///
    /// # Errors
    /// If the client has left.
    fn put_interim(&mut self, lines: &Rewrite<StatusCode>, head: &InterimHead) -> Result<()>;

    /// Puts `100 Continue`.
    ///
    /// # Errors
    /// If the client has left.
    fn put_continue(&mut self) -> Result<()>;

    /// Puts the head of a final response.
    ///
    /// # Errors
    /// If the client has left.
    fn put_head(&mut self, lines: &Rewrite<StatusCode>, head: &FinalHead) -> Result<()>;

    /// Puts the head of a reply of the gateway's own. Without a length in it, its content is framed
    /// as this version has it.
    ///
    /// # Errors
    /// If the client has left.
    fn put_reply_head(&mut self, head: &ResponseHeader, has_content: bool) -> Result<()>;

    /// Puts content, and counts it. All content that was put before must have been sent.
    fn put(&mut self, piece: Piece);

    /// Puts content behind what waits, and counts it.
    fn put_bytes(&mut self, content: Bytes);

    /// Puts the end of the response, with trailer lines if they can be sent.
    fn put_end(&mut self, trailers: &[u8]);

    /// Returns `true` if something that was put was not sent.
    fn is_waiting(&self) -> bool;

    /// Returns `true` if the client has taken something since the last call.
    fn take_moved(&mut self) -> bool;

    /// Sends what was put, as far as the client takes it; ready when it has taken all.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>>;

    /// Flushes what TLS holds back.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>>;

    /// Response, as far as it was put.
    fn answer(&self) -> &Answer;

    /// Response, to count what a tunnel sends.
    fn answer_mut(&mut self) -> &mut Answer;

    /// Times that the client has.
    fn times(&self) -> Times;

    /// Size of the pieces that the response comes in.
    fn piece_size(&self) -> Size;

    /// Takes back a response of which nothing was sent, so that another one can be put. Returns `false`
    /// if a part was sent.
    fn take_back(&mut self) -> bool;

    /// Closes the connection after the response, where it carries no other request.
    fn close_after(&mut self);

    /// Connection that changes its protocol, with the bytes that were read from it; `None` in HTTP/2.
    fn upgraded(&mut self) -> Option<(&mut Stream, &mut BytesMut)>;
}

/// Head of an interim response, without its lines.
#[derive(Clone, Copy, Debug)]
pub struct InterimHead<'h> {
    /// Reason phrase.
    pub reason: &'h str,
    /// Protocol that the client's connection changes to; then this is the last response of HTTP.
    pub upgrade: Option<&'h [u8]>,
}

/// Head of a final response, without its lines.
#[derive(Clone, Copy, Debug)]
pub struct FinalHead<'h> {
    /// Reason phrase.
    pub reason: &'h str,
    /// Content behind the head.
    pub content: Content,
    /// Length that is announced.
    pub length: Option<u64>,
    /// `true` if the head has no date of its own.
    pub needs_date: bool,
}

/// Content behind a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// None. `true` if the same response to another method had been chunked.
    Nothing { would_be_chunked: bool },
    /// As much as the head announces.
    Announced,
    /// As much as comes.
    Open,
}

/// Response that a client got.
#[derive(Debug, Default)]
pub struct Answer {
    /// Status; `None` until a final response was put.
    pub status: Option<StatusCode>,
    /// Bytes of the head that were put; in HTTP/2 it is compressed, and not counted.
    pub head_bytes: usize,
    /// Bytes of the body that were put.
    pub body_bytes: usize,
    /// Head as lines, if it is kept for the log.
    pub head: Vec<u8>,
    keeps_head: bool,
}

impl Answer {
    /// No response yet. `keeps_head` is `true` if the log asks for lines of the head.
    pub fn new(keeps_head: bool) -> Self {
        Answer {
            keeps_head,
            ..Answer::default()
        }
    }
}

/// Times that a client has.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Longest wait for a part of the body.
    pub read: Duration,
    /// Longest wait for the client to take something.
    pub write: Duration,
}

/// Minimum rates of a client.
struct Rates {
    body: MinRateMeter,
    response: MinRateMeter,
}

impl Rates {
    fn new(config: &model::Client) -> Self {
        Rates {
            body: MinRateMeter::new(config.min_body_rate),
            response: MinRateMeter::new(config.min_response_rate),
        }
    }
}

/// Sends all that was put.
///
/// # Errors
/// If the client leaves or takes nothing for too long.
pub async fn send(client: &mut impl Client) -> Result<()> {
    let patience = client.times().write;
    loop {
        // A part that was taken begins the time anew.
        client.take_moved();
        let sending = poll_fn(|cx| match client.poll_send(cx) {
            Poll::Ready(Ok(())) => client.poll_flush(cx).map_ok(|()| true),
            Poll::Pending if client.take_moved() => Poll::Ready(Ok(false)),
            sent => sent.map_ok(|()| true),
        });
        match tokio::time::timeout(patience, sending).await {
            Ok(Ok(true)) => return Ok(()),
            Ok(Ok(false)) => {}
            Ok(Err(error)) => return Err(error),
            Err(_) => return Err(too_slow_to_take()),
        }
    }
}

/// Reads the body to its end into `content`. Returns `false` if it is longer than `limit` bytes; then
/// part of it is still to come.
///
/// # Errors
/// If the client leaves, is too slow, or sends malformed chunks.
pub async fn read_body(
    client: &mut impl Client,
    limit: u64,
    mut content: impl FnMut(&[u8]),
) -> Result<bool> {
    let (mut total, patience) = (0, client.times().read);
    while !client.is_complete() {
        let mut piece = Piece::new(Size::Normal);
        let read = poll_fn(|cx| client.poll_read(cx, &mut piece));
        let read = tokio::time::timeout(patience, read).await;
        read.map_err(|_| slow_body())??;
        total += piece.content().len() as u64;
        if total > limit {
            return Ok(false);
        }
        content(piece.content());
    }
    Ok(true)
}

/// Reads on for a while after a response that came before the request's end. Closing with unread
/// data makes the system reset the connection, and the client would lose the response.
pub async fn linger(client: &mut impl Client) {
    let read = async {
        let mut total = 0;
        let count = |content: &[u8]| total += content.len() as u64;
        let whole = read_body(client, LINGER_BYTES, count).await;
        while !matches!(whole, Ok(true)) && total < LINGER_BYTES {
            match poll_fn(|cx| client.poll_drop(cx)).await {
                Some(length) => total += length as u64,
                None => return,
            }
        }
    };
    // Out of time or not, the connection is closed next.
    let _ = tokio::time::timeout(LINGER_TIME, read).await;
}

/// Error of a client that takes nothing within `client.write_timeout`.
pub fn too_slow_to_take() -> Box<Error> {
    let reason = "the client takes nothing within client.write_timeout";
    Error::explain(ErrorType::WriteTimedout, reason).into_down()
}
