//! The response of a try on its way to the client.

use std::pin::Pin;
use std::task::{Context as Task, Poll, ready};
use std::time::Instant;

use bytes::Buf;
use pingora::{Error, ErrorType, Result};
use tokio::io::{AsyncRead, ReadBuf};

use super::super::head::{Sending, write_interim, write_response};
use super::super::piece::Piece;
use super::super::tries::judge_response;
use super::super::unsent::Unsent;
use super::upload::UploadState;
use super::{Outcome, Relay, append_content, last_chunk};
use crate::proto::h1::chunked::Scanner;
use crate::proto::h1::head::slots;
use crate::proto::h1::response_head::{self, BadHead, Framing, Parse, Received, ResponseHead};
use crate::proto::headers::Headers;

/// Bytes of a body that are left when it is read in large pieces.
const LONG: u64 = 128 << 10;

/// The response on its way to the client.
pub(super) struct Download<'r> {
    stage: Stage,
    /// Bytes of a head that is not complete.
    input: Option<Piece>,
    /// Heads for the client, as far as they were not sent.
    pub(super) unsent: Unsent,
    /// A part of the body, behind them.
    pub(super) piece: Option<Piece>,
    /// Last chunk and trailers, if they did not fit the piece.
    tail: Vec<u8>,
    body: Incoming,
    sending: Sending,
    received: Received,
    /// `true` after a read that filled its piece, if the client has taken all of it at once.
    keeps_up: bool,
    pub(super) since: Instant,
    pub(super) has_moved: bool,
    outcome: &'r mut Outcome,
}

impl<'r> Download<'r> {
    /// A response of which nothing has come.
    pub fn new(now: Instant, outcome: &'r mut Outcome) -> Self {
        Download {
            stage: Stage::Head,
            input: None,
            unsent: Unsent::new(),
            piece: None,
            tail: Vec::new(),
            body: Incoming::Close,
            sending: Sending::Nothing,
            received: Received::default(),
            keeps_up: false,
            since: now,
            has_moved: false,
            outcome,
        }
    }

    /// Bytes that the client has not taken.
    fn remaining(&self) -> usize {
        self.unsent.remaining() + self.piece.as_ref().map_or(0, Piece::remaining)
    }
}

/// Part of the response that comes next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Head,
    Body,
    End,
}

/// Rest of a response's body.
enum Incoming {
    Length(u64),
    Chunked(Box<Scanner>),
    Close,
}

impl Relay<'_, '_> {
    /// Passes the response on; ready when all of it was sent.
    pub(super) fn poll_download(&mut self, cx: &mut Task<'_>) -> Poll<Result<()>> {
        loop {
            ready!(self.poll_respond(cx))?;
            if self.download.stage == Stage::End {
                ready!(self.client.poll_flush(cx))?;
                return Poll::Ready(Ok(()));
            }
            let mut piece = self.next_piece();
            let mut buffer = ReadBuf::new(piece.room());
            let read = Pin::new(&mut *self.peer).poll_read(cx, &mut buffer);
            let length = buffer.filled().len();
            match read {
                Poll::Pending => {
                    if !piece.is_empty() {
                        self.download.input = Some(piece);
                    }
                    ready!(self.client.poll_flush(cx))?;
                    return Poll::Pending;
                }
                Poll::Ready(Err(error)) => {
                    let error = Error::because(ErrorType::ReadError, "reading a response", error);
                    return Poll::Ready(Err(error.into_up()));
                }
                Poll::Ready(Ok(())) if length == 0 => self.end_of_peer()?,
                Poll::Ready(Ok(())) => {
                    piece.fill(length);
                    self.download.has_moved = true;
                    self.download.keeps_up = piece.is_full();
                    self.take(piece)?;
                }
            }
        }
    }

    /// The piece that the next bytes of the response are read into.
    fn next_piece(&mut self) -> Piece {
        let download = &mut self.download;
        if let Some(input) = download.input.take() {
            return input;
        }
        let is_long = matches!(download.body, Incoming::Length(left) if left > LONG);
        if is_long && download.keeps_up {
            Piece::large()
        } else {
            Piece::new()
        }
    }

    /// Sends the client what is there for it.
    fn poll_respond(&mut self, cx: &mut Task<'_>) -> Poll<Result<()>> {
        let download = &mut self.download;
        loop {
            let before = download.remaining();
            let written = match &mut download.piece {
                _ if !download.unsent.is_empty() => {
                    self.client.poll_write(cx, &mut download.unsent)
                }
                Some(piece) => self.client.poll_write(cx, piece),
                None => return Poll::Ready(Ok(())),
            };
            download.has_moved |= download.remaining() < before;
            if written.is_pending() {
                download.keeps_up = false;
            }
            ready!(written)?;
            if download.piece.as_ref().is_none_or(Piece::is_empty) {
                download.piece = None;
                download.unsent.bytes().append(&mut download.tail);
            }
        }
    }

    /// Takes bytes of the response: heads, as long as they are awaited, and then the body.
    fn take(&mut self, mut piece: Piece) -> Result<()> {
        if self.download.stage == Stage::Head && !self.take_heads(&mut piece)? {
            self.download.input = Some(if piece.is_full() {
                piece.enlarged()
            } else {
                piece
            });
            return Ok(());
        }
        self.take_body(piece)
    }

    /// Takes the heads at the start of a piece off it. Returns `true` once the final one was taken.
    fn take_heads(&mut self, piece: &mut Piece) -> Result<bool> {
        loop {
            let length = {
                let mut slots = slots();
                match response_head::read(piece.content(), self.limits, &mut slots) {
                    Parse::Incomplete => return Ok(false),
                    Parse::Invalid(invalid) => return Err(bad(&invalid)),
                    Parse::Complete(head) => {
                        let counted = self.download.received.count(&head, self.limits);
                        counted.map_err(|error| bad(&error))?;
                        self.take_head(&head)?;
                        head.length
                    }
                }
            };
            piece.advance(length);
            if self.download.stage != Stage::Head {
                return Ok(true);
            }
        }
    }

    fn take_head(&mut self, head: &ResponseHead) -> Result<()> {
        let download = &mut self.download;
        if head.status == http::StatusCode::SWITCHING_PROTOCOLS {
            let reason = "the peer changes to a protocol that the client did not ask for";
            return Err(Error::explain(ErrorType::InvalidHTTPHeader, reason).into_up());
        }
        if head.status.is_informational() {
            // HTTP/1.0 clients do not know interim responses (RFC 9110, 15.2).
            if self.request.version == http::Version::HTTP_10 {
                return Ok(());
            }
            return write_interim(download.unsent.bytes(), head, &self.request, self.ctx);
        }
        self.ctx.progress.is_answered = true;
        let repeatable = self.request.method.is_idempotent()
            && !self.client.is_answered
            && self.upload.replay.is_complete();
        judge_response(self.ctx, head.status, repeatable)?;
        // A client that waits to be asked for its body may send it or the next request.
        let waits = self.request.headers.has("expect") && !self.client.body().is_complete();
        download.outcome.keep &= !waits && !self.drain.is_draining();
        let start = download.unsent.bytes().len();
        download.sending = write_response(
            download.unsent.bytes(),
            head,
            &self.request,
            self.ctx,
            &mut download.outcome.keep,
        )?;
        self.client.is_answered = true;
        download.outcome.status = Some(head.status.as_u16());
        download.outcome.peer_is_reusable = head.keep;
        if self.ctx.settings.access_log.format().wants_sent() {
            download.outcome.head = download.unsent.bytes()[start..].to_vec();
        }
        download.body = match head.framing {
            Framing::None => Incoming::Length(0),
            Framing::Length(length) => Incoming::Length(length),
            Framing::Chunked => Incoming::Chunked(Box::new(Scanner::of_response())),
            Framing::Close => Incoming::Close,
        };
        if *self.request.method == http::Method::HEAD {
            download.body = Incoming::Length(0);
        }
        download.stage = Stage::Body;
        Ok(())
    }

    /// Takes bytes of the body and makes them what the client gets.
    fn take_body(&mut self, mut piece: Piece) -> Result<()> {
        let download = &mut self.download;
        let length = piece.content().len();
        let (consumed, content, is_end) = match &mut download.body {
            Incoming::Length(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(length);
                *left -= here as u64;
                (here, here, *left == 0)
            }
            Incoming::Chunked(scanner) => {
                let decoded = scanner.decode(piece.content_mut());
                let decoded = decoded.map_err(|error| {
                    Error::explain(ErrorType::InvalidHTTPHeader, error.to_string()).into_up()
                })?;
                (decoded.consumed, decoded.content, scanner.is_complete())
            }
            Incoming::Close => (length, length, false),
        };
        if consumed < length {
            // Bytes behind a response are none that the next request should get.
            download.outcome.peer_is_reusable = false;
        }
        piece.truncate(content);
        self.send_body(piece, is_end)
    }

    /// The peer has closed its connection.
    fn end_of_peer(&mut self) -> Result<()> {
        let is_body = self.download.stage == Stage::Body;
        if is_body && matches!(self.download.body, Incoming::Close) {
            self.download.outcome.peer_is_reusable = false;
            return self.send_body(Piece::new(), true);
        }
        let reason = "the peer closed the connection before the end of its response";
        Err(Error::explain(ErrorType::ConnectionClosed, reason).into_up())
    }

    /// Makes content what the client gets: encoded, if it is compressed, and framed.
    fn send_body(&mut self, mut piece: Piece, is_end: bool) -> Result<()> {
        let download = &mut self.download;
        let is_chunked = download.sending == Sending::Chunks;
        if let Some(encoder) = &mut self.ctx.encoder {
            let encoded = encoder.encode(piece.content(), is_end)?;
            download.outcome.body_bytes += encoded.len();
            append_content(download.unsent.bytes(), &encoded, is_chunked);
            if is_end && is_chunked {
                download.unsent.bytes().extend_from_slice(&last_chunk(b""));
            }
        } else if download.sending != Sending::Nothing {
            download.outcome.body_bytes += piece.content().len();
            if is_chunked {
                piece.make_chunk();
            }
            if is_end && is_chunked {
                let end = match &download.body {
                    Incoming::Chunked(scanner) => last_chunk(scanner.trailers()),
                    _ => last_chunk(b""),
                };
                if !piece.append(&end) {
                    download.tail = end;
                }
            }
            // Only a second write tells that a client which closed its sending direction has left.
            let is_apart = self.client.has_ended() && !is_end;
            if !is_apart && piece.prepend(download.unsent.chunk()) {
                download.unsent.clear();
            }
            download.piece = Some(piece);
        }
        if is_end {
            download.stage = Stage::End;
            download.outcome.is_whole = self.upload.state == UploadState::Sent;
            download.outcome.peer_is_reusable &= download.outcome.is_whole;
        }
        Ok(())
    }
}

fn bad(head: &BadHead) -> Box<Error> {
    Error::explain(ErrorType::InvalidHTTPHeader, head.to_string()).into_up()
}
