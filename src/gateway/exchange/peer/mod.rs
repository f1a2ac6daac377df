//! The peer's side of a try: the request sent, the response received, in either version of HTTP or in
//! FastCGI.

mod connect;
mod fastcgi;
mod http1;
mod http2;
mod http2_connection;

use std::fmt::Display;
use std::io;
use std::task::{Context as Task, Poll};

use bytes::Bytes;
use pingora::{Error, ErrorType, Result};

pub use self::connect::{Connected, Connections, kept, may_be_kept};
pub use self::fastcgi::FastCgiPeer;
pub use self::http1::Http1Peer;
pub use self::http2::Http2Peer;
use super::piece::{Piece, Size};
use crate::gateway::context::Context;
use crate::gateway::request::request_view::RequestView;
use crate::proto::h1::response_head::ResponseHead;
use crate::proto::h1::stored_head::StoredHead;

/// Content of a response, in the memory that it was received into.
pub enum Received {
    /// Of a connection of HTTP/1.
    Piece(Piece),
    /// Of a frame of HTTP/2.
    Bytes(Bytes),
}

impl AsRef<[u8]> for Received {
    fn as_ref(&self) -> &[u8] {
        match self {
            Received::Piece(piece) => piece.content(),
            Received::Bytes(bytes) => bytes,
        }
    }
}

/// Error of a response that is not passed on.
fn invalid(reason: impl Display) -> Box<Error> {
    Error::explain(ErrorType::InvalidHTTPHeader, reason.to_string()).into_up()
}

/// Error of a connection that the peer closed before the end of its response.
fn closed_early() -> Box<Error> {
    let reason = "the peer closed the connection before the end of its response";
    Error::explain(ErrorType::ConnectionClosed, reason).into_up()
}

/// Error of a response that cannot be read.
fn not_read(error: io::Error) -> Box<Error> {
    Error::because(ErrorType::ReadError, "reading a response", error).into_up()
}

/// Peer of one try. What is put is sent by `poll_send`.
pub trait Peer: Send {
    /// `true` if the peer does not ask for a body that a client holds back, so the gateway does.
    const INVITES: bool;

    /// Puts the head of a request. `is_complete` if it has no body.
    ///
    /// # Errors
    /// With status 400 if the head cannot be passed on.
    fn put_request(
        &mut self,
        request: &RequestView<StoredHead>,
        ctx: &Context,
        is_complete: bool,
    ) -> Result<()>;

    /// Puts content. All content that was put before must have been sent.
    fn put(&mut self, piece: Piece);

    /// Puts a copy of content.
    fn put_bytes(&mut self, content: &[u8]);

    /// Puts the end of the request, with trailer lines if they can be sent.
    fn put_end(&mut self, trailers: &[u8]);

    /// Returns `true` if something that was put was not sent.
    fn is_waiting(&self) -> bool;

    /// Returns `true` if the peer has taken something since the last call.
    fn take_moved(&mut self) -> bool;

    /// Sends what was put; ready with `false` if the peer takes no more. It may have responded all
    /// the same.
    fn poll_send(&mut self, cx: &mut Task<'_>) -> Poll<Result<bool>>;

    /// Receives a part of the response, in pieces of this size if the peer has so much.
    ///
    /// # Errors
    /// If the peer fails, its response is invalid, or `sink` fails.
    fn poll_receive(
        &mut self,
        cx: &mut Task<'_>,
        size: Size,
        sink: &mut impl Sink,
    ) -> Poll<Result<()>>;
}

/// Reader of a response.
pub trait Sink {
    /// Takes a head, interim ones included.
    ///
    /// # Errors
    /// If the response cannot be passed on.
    fn head(&mut self, head: &ResponseHead) -> Result<()>;

    /// Takes content, perhaps none. `end` are the trailer lines if it is the last.
    ///
    /// # Errors
    /// If it cannot be encoded.
    fn content(&mut self, content: Received, end: Option<&[u8]>) -> Result<()>;
}
