//! The client's side of one request of HTTP/1: its body read, its response written.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use pingora::protocols::Stream;
use pingora::{Error, ErrorType, Result};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::piece::Piece;
use crate::config::model;
use crate::gateway::failure::slow_body;
use crate::gateway::pace::Pace;
use crate::proto::h1::body::Body;

/// Bytes that a client may send ahead of the response to its request.
const AHEAD_LIMIT: usize = 64 << 10;

/// Bytes of a request that are read, and how long, after a response that came before its end.
const LINGER_BYTES: usize = 16 << 20;
const LINGER_TIME: Duration = Duration::from_secs(2);

/// Client of one request.
pub struct Client<'c> {
    stream: &'c mut Stream,
    /// Bytes that were read and not used: of the body, and of requests behind it.
    read_buf: &'c mut BytesMut,
    /// Rest of the request's body.
    body: Body,
    incoming: Pace,
    outgoing: Pace,
    read_timeout: Duration,
    write_timeout: Duration,
    flush: Flush,
    /// `true` if the client has sent all that it will. It may still read.
    has_ended: bool,
    /// `true` if a part of a final response was written.
    pub is_answered: bool,
}

/// State of what was written and waits to be sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Flush {
    /// In clear text nothing waits.
    Needless,
    /// All was sent.
    Done,
    /// Something waits, as it may in TLS.
    Due,
}

impl Flush {
    /// State of a stream to which nothing was written.
    pub fn of(stream: &Stream) -> Self {
        match stream.get_ssl_digest() {
            Some(_) => Flush::Done,
            None => Flush::Needless,
        }
    }

    /// Something was written.
    pub fn written(&mut self) {
        if *self == Flush::Done {
            *self = Flush::Due;
        }
    }
}

impl<'c> Client<'c> {
    /// The client of a request with this body. `read_buf` begins behind the request's head.
    pub fn new(
        stream: &'c mut Stream,
        read_buf: &'c mut BytesMut,
        body: Body,
        config: &model::Client,
    ) -> Self {
        Client {
            flush: Flush::of(stream),
            stream,
            read_buf,
            body,
            incoming: Pace::new(config.min_body_rate),
            outgoing: Pace::new(config.min_response_rate),
            read_timeout: config.read_timeout,
            write_timeout: config.write_timeout,
            has_ended: false,
            is_answered: false,
        }
    }

    /// Rest of the body.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// Returns `true` if something was read that no message was made of yet.
    pub fn has_read(&self) -> bool {
        !self.read_buf.is_empty()
    }

    /// Returns `true` if the client has closed its sending direction.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Longest wait for a part of the body.
    pub fn read_timeout(&self) -> Duration {
        self.read_timeout
    }

    /// Longest wait for the client to take something.
    pub fn write_timeout(&self) -> Duration {
        self.write_timeout
    }

    /// Takes the content that was read already off the body.
    ///
    /// # Errors
    /// If the chunks are malformed.
    pub fn take_read(&mut self, piece: &mut Piece) -> Result<()> {
        let room = piece.room();
        let length = room.len().min(self.read_buf.len());
        room[..length].copy_from_slice(&self.read_buf[..length]);
        let decoded = self.body.decode(&mut room[..length]).map_err(malformed)?;
        self.read_buf.advance(decoded.consumed);
        piece.fill(decoded.content);
        Ok(())
    }

    /// Reads content of the body into an empty piece: nothing, perhaps, if only framing came.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, piece: &mut Piece) -> Poll<Result<()>> {
        if !self.read_buf.is_empty() {
            return Poll::Ready(self.take_read(piece));
        }
        // Of a body with a length nothing is read beyond it, so that what follows stays in the socket.
        let most = match self.body {
            Body::Length(left) => usize::try_from(left).unwrap_or(usize::MAX),
            _ => usize::MAX,
        };
        let room = piece.room();
        let most = room.len().min(most);
        let mut buffer = ReadBuf::new(&mut room[..most]);
        let read = Pin::new(&mut *self.stream).poll_read(cx, &mut buffer);
        if read.is_pending() {
            self.incoming.wait();
        }
        ready!(read).map_err(|error| {
            Error::because(ErrorType::ReadError, "reading a request's body", error).into_down()
        })?;
        let length = buffer.filled().len();
        if length == 0 {
            let reason = "the client closed the connection before the end of its request";
            return Poll::Ready(Err(
                Error::explain(ErrorType::ConnectionClosed, reason).into_down()
            ));
        }
        self.incoming.moved(length).map_err(|_| slow_body())?;
        let decoded = self.body.decode(&mut room[..length]).map_err(malformed)?;
        self.read_buf
            .extend_from_slice(&room[decoded.consumed..length]);
        piece.fill(decoded.content);
        Poll::Ready(Ok(()))
    }

    /// Writes the content of `bytes`, as far as the client takes it; ready when it has taken all.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &mut impl Buf) -> Poll<Result<()>> {
        while bytes.has_remaining() {
            let written = Pin::new(&mut *self.stream).poll_write(cx, bytes.chunk());
            if written.is_pending() {
                self.outgoing.wait();
            }
            let length = ready!(written).map_err(write_error)?;
            if length == 0 {
                return Poll::Ready(Err(write_error(io::ErrorKind::WriteZero.into())));
            }
            bytes.advance(length);
            self.flush.written();
            self.outgoing
                .moved(length)
                .map_err(|error| write_error(io::Error::new(io::ErrorKind::TimedOut, error)))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Flushes what TLS holds back.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if self.flush == Flush::Due {
            let flushed = Pin::new(&mut *self.stream).poll_flush(cx);
            ready!(flushed).map_err(write_error)?;
            self.flush = Flush::Done;
        }
        Poll::Ready(Ok(()))
    }

    /// Notices a client that leaves while its response is awaited. Never ready otherwise.
    ///
    /// The end of what it sends is no sign of that: a client may close this direction after its last
    /// request and wait for the response (RFC 9112, 9.6). What it sends ahead is kept, up to a limit.
    pub fn poll_behind(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        while !self.has_ended && self.read_buf.len() < AHEAD_LIMIT {
            let mut bytes = [0; 1024];
            let mut buffer = ReadBuf::new(&mut bytes);
            let read = Pin::new(&mut *self.stream).poll_read(cx, &mut buffer);
            ready!(read).map_err(|error| {
                Error::because(ErrorType::ConnectionClosed, "the client left", error).into_down()
            })?;
            self.has_ended = buffer.filled().is_empty();
            self.read_buf.extend_from_slice(buffer.filled());
        }
        Poll::Pending
    }

    /// Writes bytes and sends them.
    ///
    /// # Errors
    /// If the client leaves or takes nothing for too long.
    pub async fn write_all(&mut self, mut bytes: &[u8]) -> Result<()> {
        let patience = self.write_timeout;
        while !bytes.is_empty() {
            let length = bytes.len();
            let writing = std::future::poll_fn(|cx| {
                let written = self.poll_write(cx, &mut bytes);
                // A part that was taken begins the time anew.
                if written.is_pending() && bytes.len() < length {
                    return Poll::Ready(Ok(()));
                }
                written
            });
            match tokio::time::timeout(patience, writing).await {
                Ok(written) => written?,
                Err(_) => return Err(too_slow_to_take()),
            }
        }
        let flushing = std::future::poll_fn(|cx| self.poll_flush(cx));
        match tokio::time::timeout(patience, flushing).await {
            Ok(flushed) => flushed,
            Err(_) => Err(too_slow_to_take()),
        }
    }

    /// Reads the body to its end into `content`. Returns `false` if it is longer than `limit` bytes;
    /// then part of it is still to come.
    ///
    /// # Errors
    /// If the client leaves, is too slow, or sends malformed chunks.
    pub async fn read_body(&mut self, limit: u64, mut content: impl FnMut(&[u8])) -> Result<bool> {
        let (mut total, patience) = (0, self.read_timeout);
        while !self.body.is_complete() {
            let mut piece = Piece::new();
            let read = std::future::poll_fn(|cx| self.poll_read(cx, &mut piece));
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
    pub async fn linger(&mut self) {
        let read = async {
            let mut total = 0;
            let mut count = |content: &[u8]| total += content.len();
            let whole = self.read_body(LINGER_BYTES as u64, &mut count).await;
            if !matches!(whole, Ok(true)) {
                self.drop_input().await;
            }
        };
        // Out of time or not, the connection is closed next.
        let _ = tokio::time::timeout(LINGER_TIME, read).await;
    }

    /// Reads and drops whatever comes, for a client that is not understood any more.
    async fn drop_input(&mut self) {
        let mut total = 0;
        while total < LINGER_BYTES {
            let mut piece = Piece::new();
            let read = std::future::poll_fn(|cx| {
                let mut buffer = ReadBuf::new(piece.room());
                let read = Pin::new(&mut *self.stream).poll_read(cx, &mut buffer);
                read.map_ok(|()| buffer.filled().len())
            });
            match read.await {
                Ok(length) if length > 0 => total += length,
                _ => return,
            }
        }
    }
}

fn write_error(error: io::Error) -> Box<Error> {
    Error::because(ErrorType::WriteError, "writing a response", error).into_down()
}

/// Error of a client that takes nothing within `client.write_timeout`.
pub fn too_slow_to_take() -> Box<Error> {
    let reason = "the client takes nothing within client.write_timeout";
    Error::explain(ErrorType::WriteTimedout, reason).into_down()
}

fn malformed(error: crate::proto::h1::chunked::Malformed) -> Box<Error> {
    let error = io::Error::new(io::ErrorKind::InvalidData, error);
    Error::because(ErrorType::ReadError, "reading a request's body", error).into_down()
}
