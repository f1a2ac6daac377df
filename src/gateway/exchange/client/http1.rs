//! Client of a request of HTTP/1.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use bytes::{Buf, Bytes, BytesMut};
use http::{StatusCode, Version, header};
use pingora::http::ResponseHeader;
use pingora::protocols::Stream;
use pingora::{Error, ErrorType, Result};
use tokio::io::{AsyncRead, ReadBuf};

use super::super::outgoing::{Framing, Outgoing};
use super::super::piece::{Piece, Size};
use super::{Answer, Client, Content, FinalHead, InterimHead, Rates, Times};
use crate::config::model;
use crate::gateway::failure::slow_body;
use crate::proto::date::with_date;
use crate::proto::h1::body::Body;
use crate::proto::h1::chunked::Malformed;
use crate::proto::h1::rewrite::{Rewrite, write_length, write_line};
use crate::proto::h1::stored_head::StoredHead;
use crate::proto::headers::EditResponse;

/// Bytes that a client may send ahead of the response to its request.
const AHEAD_LIMIT: usize = 64 << 10;

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Client of one request of a connection.
pub struct Http1Client<'c> {
    stream: &'c mut Stream,
    /// Bytes that were read and not used: of the body, and of requests behind it.
    read_buf: &'c mut BytesMut,
    /// Rest of the request's body.
    body: Body,
    version: Version,
    outgoing: Outgoing,
    rates: Rates,
    times: Times,
    progress: Progress,
    keep: bool,
    /// Position of the final response in what is sent.
    answered_at: usize,
    answer: Answer,
}

/// Progress of a request and its response.
#[derive(Default)]
struct Progress {
    /// `true` if the client has sent all that it will. It may still read.
    has_ended: bool,
    /// `true` while the rest of the body is not to be read.
    is_body_left: bool,
    /// `true` if the end of the response was put.
    is_answered: bool,
}

impl<'c> Http1Client<'c> {
    /// The client of a request. `read_buf` begins behind the request's head. `keep` is `false` if the
    /// connection is to be closed after the response.
    pub fn new(
        stream: &'c mut Stream,
        read_buf: &'c mut BytesMut,
        head: &StoredHead,
        config: &model::Client,
        keep: bool,
        answer: Answer,
    ) -> Self {
        Http1Client {
            outgoing: Outgoing::new(stream),
            stream,
            read_buf,
            body: head.body(),
            version: head.version(),
            rates: Rates::new(config),
            times: Times {
                read: config.read_timeout,
                write: config.write_timeout,
            },
            progress: Progress::default(),
            keep,
            answered_at: 0,
            answer,
        }
    }

    /// Returns `true` if the connection can carry another request, as the client was told.
    pub fn keeps_connection(&self) -> bool {
        self.keep && self.body.is_complete()
    }

    /// Puts the end of a head. `keep` tells the client what becomes of its connection.
    fn end_head(&mut self, needs_date: bool) {
        let keep = self.keep;
        let out = self.outgoing.head();
        if needs_date {
            with_date(SystemTime::now(), |date| {
                write_line(out, b"Date", date.as_bytes());
            });
        }
        let connection: &[u8] = if keep { b"keep-alive" } else { b"close" };
        write_line(out, b"Connection", connection);
        out.extend_from_slice(b"\r\n");
    }

    /// Notes the head that begins at `start` as that of the response.
    fn note(&mut self, status: StatusCode, start: usize) {
        self.answer.status = Some(status);
        let head = &self.outgoing.head()[start..];
        self.answer.head_bytes = head.len();
        if self.answer.keeps_head {
            self.answer.head = head.to_vec();
        }
    }

    /// Framing of content whose length is not announced.
    fn open_framing(&mut self) -> Framing {
        if self.version == Version::HTTP_10 {
            self.keep = false;
            return Framing::Raw;
        }
        write_line(self.outgoing.head(), b"Transfer-Encoding", b"chunked");
        Framing::Chunks
    }
}

impl Client for Http1Client<'_> {
    fn is_complete(&self) -> bool {
        self.progress.is_body_left || self.body.is_complete()
    }

    fn leave_body(&mut self, is_left: bool) {
        self.progress.is_body_left = is_left;
        self.keep &= self.body.is_complete();
    }

    fn trailers(&self) -> &[u8] {
        self.body.trailers()
    }

    fn has_read(&self) -> bool {
        !self.read_buf.is_empty()
    }

    fn take_read(&mut self, piece: &mut Piece) -> Result<()> {
        let room = piece.room();
        let length = room.len().min(self.read_buf.len());
        room[..length].copy_from_slice(&self.read_buf[..length]);
        let decoded = self.body.decode(&mut room[..length]).map_err(malformed)?;
        self.read_buf.advance(decoded.consumed);
        piece.fill(decoded.content);
        Ok(())
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, piece: &mut Piece) -> Poll<Result<()>> {
        if !self.read_buf.is_empty() {
            return Poll::Ready(self.take_read(piece));
        }
        // Of a body with a length nothing is read beyond it, so that what follows stays in the socket.
        let most = match self.body {
            Body::Length(left) => usize::try_from(left).unwrap_or(usize::MAX),
            Body::Chunked(_) => usize::MAX,
        };
        let room = piece.room();
        let most = room.len().min(most);
        let mut buffer = ReadBuf::new(&mut room[..most]);
        let read = Pin::new(&mut *self.stream).poll_read(cx, &mut buffer);
        if read.is_pending() {
            self.rates.body.wait();
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
        self.rates.body.moved(length).map_err(|_| slow_body())?;
        let decoded = self.body.decode(&mut room[..length]).map_err(malformed)?;
        self.read_buf
            .extend_from_slice(&room[decoded.consumed..length]);
        piece.fill(decoded.content);
        Poll::Ready(Ok(()))
    }

    /// The end of what it sends is no sign of a client that left: a client may close this direction
    /// after its last request and wait for the response (RFC 9112, 9.6). What it sends ahead is kept,
    /// up to a limit.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        while !self.progress.has_ended && self.read_buf.len() < AHEAD_LIMIT {
            let mut bytes = [MaybeUninit::uninit(); 1024];
            let mut buffer = ReadBuf::uninit(&mut bytes);
            let read = Pin::new(&mut *self.stream).poll_read(cx, &mut buffer);
            ready!(read).map_err(|error| {
                Error::because(ErrorType::ConnectionClosed, "the client left", error).into_down()
            })?;
            self.progress.has_ended = buffer.filled().is_empty();
            self.read_buf.extend_from_slice(buffer.filled());
        }
        Poll::Pending
    }

    fn poll_drop(&mut self, cx: &mut Context<'_>) -> Poll<Option<usize>> {
        let mut piece = Piece::new(Size::Normal);
        let mut buffer = ReadBuf::new(piece.room());
        let read = ready!(Pin::new(&mut *self.stream).poll_read(cx, &mut buffer));
        let length = buffer.filled().len();
        Poll::Ready(read.is_ok().then_some(length).filter(|&length| length > 0))
    }

    fn put_interim(&mut self, lines: &Rewrite<StatusCode>, head: &InterimHead) -> Result<()> {
        // HTTP/1.0 clients do not know interim responses (RFC 9110, 15.2).
        if self.version == Version::HTTP_10 {
            return Ok(());
        }
        let out = self.outgoing.head();
        let start = out.len();
        write_status(out, lines.status(), head.reason);
        lines.write(out);
        if let Some(protocol) = head.upgrade {
            write_line(out, b"Connection", b"upgrade");
            write_line(out, b"Upgrade", protocol);
            self.keep = false;
        }
        self.outgoing.head().extend_from_slice(b"\r\n");
        if head.upgrade.is_some() {
            self.note(lines.status(), start);
        }
        Ok(())
    }

    fn put_continue(&mut self) -> Result<()> {
        if self.version != Version::HTTP_10 {
            self.outgoing.head().extend_from_slice(CONTINUE);
        }
        Ok(())
    }

    fn put_head(&mut self, lines: &Rewrite<StatusCode>, head: &FinalHead) -> Result<()> {
        self.answered_at = self.outgoing.position();
        let out = self.outgoing.head();
        let start = out.len();
        write_status(out, lines.status(), head.reason);
        lines.write(out);
        if let Some(length) = head.length {
            write_length(out, length);
        }
        let framing = match head.content {
            Content::Nothing { would_be_chunked } => {
                if would_be_chunked {
                    write_line(out, b"Transfer-Encoding", b"chunked");
                }
                Framing::Nothing
            }
            Content::Announced => Framing::Raw,
            Content::Open => self.open_framing(),
        };
        self.outgoing.frame(framing);
        self.end_head(head.needs_date);
        self.note(lines.status(), start);
        Ok(())
    }

    fn put_reply_head(&mut self, head: &ResponseHeader, has_content: bool) -> Result<()> {
        self.answered_at = self.outgoing.position();
        let out = self.outgoing.head();
        let start = out.len();
        let reason = head.get_reason_phrase().unwrap_or_default();
        write_status(out, head.status, reason);
        head.header_to_h1_wire(out);
        let framing = if !has_content {
            Framing::Nothing
        } else if head.headers.contains_key(header::CONTENT_LENGTH) {
            Framing::Raw
        } else {
            self.open_framing()
        };
        self.outgoing.frame(framing);
        self.end_head(!head.headers.contains_key(header::DATE));
        self.note(head.status, start);
        Ok(())
    }

    fn put(&mut self, piece: Piece) {
        self.answer.body_bytes += piece.content().len();
        self.outgoing.put(piece);
    }

    fn put_bytes(&mut self, content: Bytes) {
        self.answer.body_bytes += content.len();
        self.outgoing.put_bytes(&content);
    }

    fn put_end(&mut self, trailers: &[u8]) {
        self.progress.is_answered = true;
        self.outgoing.put_end(trailers);
    }

    fn is_waiting(&self) -> bool {
        self.outgoing.is_waiting()
    }

    fn take_moved(&mut self) -> bool {
        self.outgoing.take_moved()
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        // Only a second write tells that a client which closed its sending direction has left.
        if !self.progress.has_ended || self.progress.is_answered {
            self.outgoing.join();
        }
        let rate = Some(&mut self.rates.response);
        let sent = self.outgoing.poll_send(cx, self.stream, rate);
        sent.map_err(write_error)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let flushed = self.outgoing.poll_flush(cx, self.stream);
        flushed.map_err(write_error)
    }

    fn answer(&self) -> &Answer {
        &self.answer
    }

    fn answer_mut(&mut self) -> &mut Answer {
        &mut self.answer
    }

    fn times(&self) -> Times {
        self.times
    }

    fn piece_size(&self) -> Size {
        Size::Normal
    }

    fn take_back(&mut self) -> bool {
        if self.answer.status.is_none() {
            return true;
        }
        let is_back = self.outgoing.take_back(self.answered_at);
        if is_back {
            self.answer = Answer::new(self.answer.keeps_head);
            self.progress.is_answered = false;
        }
        is_back
    }

    fn close_after(&mut self) {
        self.keep = false;
    }

    fn upgraded(&mut self) -> Option<(&mut Stream, &mut BytesMut)> {
        Some((self.stream, self.read_buf))
    }
}

fn write_status(out: &mut Vec<u8>, status: StatusCode, reason: &str) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason.as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn write_error(error: io::Error) -> Box<Error> {
    Error::because(ErrorType::WriteError, "writing a response", error).into_down()
}

fn malformed(error: Malformed) -> Box<Error> {
    let error = io::Error::new(io::ErrorKind::InvalidData, error);
    Error::because(ErrorType::ReadError, "reading a request's body", error).into_down()
}
