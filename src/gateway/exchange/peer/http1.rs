//! Peer of a try of HTTP/1.

use std::pin::Pin;
use std::task::{Context as Task, Poll, ready};

use bytes::{Buf, Bytes};
use http::{Method, StatusCode};
use pingora::Result;
use pingora::protocols::Stream;
use tokio::io::{AsyncRead, ReadBuf};

use super::super::head::write_request;
use super::super::outgoing::{Framing as Sending, Outgoing};
use super::super::piece::{Piece, Size};
use super::{Peer, Received, Sink, closed_early, invalid, not_read};
use crate::gateway::context::Context;
use crate::gateway::request::request_view::RequestView;
use crate::proto::h1::chunked::Scanner;
use crate::proto::h1::head::{self, slots};
use crate::proto::h1::response_head::{self, Framing, Limits, Parse, ResponseHead};
use crate::proto::h1::stored_head::StoredHead;

/// Bytes of a body that are left when it is read in large pieces.
const LONG: u64 = 128 << 10;

/// Connection to a peer, for one request.
pub struct Http1Peer {
    stream: Stream,
    outgoing: Outgoing,
    limits: Limits,
    heads: response_head::Received,
    is_head_request: bool,
    stage: Stage,
    /// Bytes that were received and not taken: of a head that is not complete, or behind an upgrade.
    input: Option<Piece>,
    body: Body,
    /// `true` after a read that filled its piece.
    is_full: bool,
    is_reusable: bool,
}

/// Part of the response that comes next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Head,
    Body,
    End,
}

/// Rest of a response's body.
enum Body {
    Length(u64),
    Chunked(Box<Scanner>),
    Close,
}

impl Http1Peer {
    /// A connection that no request was sent on.
    pub fn new(stream: Stream, limits: Limits) -> Self {
        Http1Peer {
            outgoing: Outgoing::new(&stream),
            stream,
            limits,
            heads: response_head::Received::default(),
            is_head_request: false,
            stage: Stage::Head,
            input: None,
            body: Body::Close,
            is_full: false,
            is_reusable: false,
        }
    }

    /// Connection, if it can carry another request after this one, whose end was sent.
    pub fn into_reusable(self) -> Option<Stream> {
        let is_reusable = self.is_reusable && self.stage == Stage::End;
        is_reusable.then_some(self.stream)
    }

    /// Connection that has changed its protocol, with what was received on it.
    pub fn into_upgraded(self) -> (Stream, Option<Piece>) {
        (self.stream, self.input)
    }

    /// The piece that the next bytes of the response are read into.
    fn next_piece(&mut self, size: Size) -> Piece {
        let is_long = matches!(self.body, Body::Length(left) if left > LONG);
        self.input.take().unwrap_or_else(|| match size {
            Size::Large if !is_long || !self.is_full => Piece::new(Size::Normal),
            size => Piece::new(size),
        })
    }

    /// Takes bytes of the response: heads, as long as they are awaited, and then the body.
    fn take(&mut self, mut piece: Piece, sink: &mut impl Sink) -> Result<()> {
        if self.stage == Stage::Head && !self.take_heads(&mut piece, sink)? {
            let is_full = piece.is_full();
            self.input = Some(if is_full { piece.enlarged() } else { piece });
            return Ok(());
        }
        if self.stage == Stage::End {
            self.input = Some(piece);
            return Ok(());
        }
        self.take_body(piece, sink)
    }

    /// Takes the heads at the start of a piece off it. Returns `true` once the final one was taken.
    fn take_heads(&mut self, piece: &mut Piece, sink: &mut impl Sink) -> Result<bool> {
        while self.stage == Stage::Head {
            let mut slots = slots();
            let head = match response_head::read(piece.content(), self.limits, &mut slots) {
                Parse::Incomplete => return Ok(false),
                Parse::Invalid(head) => return Err(invalid(head)),
                Parse::Complete(head) => head,
            };
            let counted = self.heads.count(&head, self.limits);
            counted.map_err(invalid)?;
            sink.head(&head)?;
            let length = head.length;
            if head.status == StatusCode::SWITCHING_PROTOCOLS {
                self.stage = Stage::End;
            } else if !head.status.is_informational() {
                self.begin_body(&head);
            }
            piece.advance(length);
        }
        Ok(true)
    }

    fn begin_body(&mut self, head: &ResponseHead) {
        self.stage = Stage::Body;
        self.is_reusable = head.keep;
        self.body = match head.framing {
            _ if self.is_head_request => Body::Length(0),
            Framing::None => Body::Length(0),
            Framing::Length(length) => Body::Length(length),
            Framing::Chunked => Body::Chunked(Box::new(Scanner::of_response())),
            Framing::Close => Body::Close,
        };
    }

    fn take_body(&mut self, mut piece: Piece, sink: &mut impl Sink) -> Result<()> {
        let length = piece.content().len();
        let (consumed, content, is_end) = match &mut self.body {
            Body::Length(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(length);
                *left -= here as u64;
                (here, here, *left == 0)
            }
            Body::Chunked(scanner) => {
                let decoded = scanner.decode(piece.content_mut());
                let decoded = decoded.map_err(invalid)?;
                (decoded.consumed, decoded.content, scanner.is_complete())
            }
            Body::Close => (length, length, false),
        };
        if consumed < length {
            // Bytes behind a response are none that the next request should get.
            self.is_reusable = false;
        }
        piece.truncate(content);
        if is_end {
            self.stage = Stage::End;
        }
        let trailers = match &self.body {
            Body::Chunked(scanner) => scanner.trailers(),
            Body::Length(_) | Body::Close => b"",
        };
        sink.content(Received::Piece(piece), is_end.then_some(trailers))
    }

    /// The peer has closed its connection.
    fn end_of_peer(&mut self, sink: &mut impl Sink) -> Result<()> {
        if self.stage == Stage::Body && matches!(self.body, Body::Close) {
            self.is_reusable = false;
            self.stage = Stage::End;
            return sink.content(Received::Bytes(Bytes::new()), Some(b""));
        }
        Err(closed_early())
    }
}

impl Peer for Http1Peer {
    const INVITES: bool = false;

    fn put_request(
        &mut self,
        request: &RequestView<StoredHead>,
        ctx: &Context,
        _is_complete: bool,
    ) -> Result<()> {
        self.is_head_request = *request.method == Method::HEAD;
        if request.headers.framing() == head::Framing::Chunked {
            self.outgoing.frame(Sending::Chunks);
        }
        write_request(self.outgoing.head(), request, ctx)
    }

    fn put(&mut self, piece: Piece) {
        self.outgoing.put(piece);
    }

    fn put_bytes(&mut self, content: &[u8]) {
        self.outgoing.put_bytes(content);
    }

    fn put_end(&mut self, trailers: &[u8]) {
        self.outgoing.put_end(trailers);
    }

    fn is_waiting(&self) -> bool {
        self.outgoing.is_due()
    }

    fn take_moved(&mut self) -> bool {
        self.outgoing.take_moved()
    }

    fn poll_send(&mut self, cx: &mut Task<'_>) -> Poll<Result<bool>> {
        let sent = ready!(self.outgoing.poll_send_all(cx, &mut self.stream));
        Poll::Ready(Ok(sent.is_ok()))
    }

    fn poll_receive(
        &mut self,
        cx: &mut Task<'_>,
        size: Size,
        sink: &mut impl Sink,
    ) -> Poll<Result<()>> {
        let mut piece = self.next_piece(size);
        let mut buffer = ReadBuf::new(piece.room());
        let read = Pin::new(&mut self.stream).poll_read(cx, &mut buffer);
        let length = buffer.filled().len();
        match read {
            Poll::Pending => {
                if !piece.is_empty() {
                    self.input = Some(piece);
                }
                Poll::Pending
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(not_read(error))),
            Poll::Ready(Ok(())) if length == 0 => Poll::Ready(self.end_of_peer(sink)),
            Poll::Ready(Ok(())) => {
                piece.fill(length);
                self.is_full = piece.is_full();
                Poll::Ready(self.take(piece, sink))
            }
        }
    }
}
