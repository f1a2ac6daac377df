//! The request of a try on its way to the peer.

use std::pin::Pin;
use std::task::{Context as Task, Poll, ready};
use std::time::Instant;

use bytes::Buf;
use pingora::Result;
use pingora::protocols::Stream;
use tokio::io::AsyncWrite;

use super::super::client::Flush;
use super::super::edit::is_kept_from_upstream;
use super::super::piece::Piece;
use super::super::unsent::Unsent;
use super::{Relay, append_content, last_chunk};
use crate::gateway::context::Context;
use crate::gateway::failure::too_large;
use crate::proto::h1::head::Framing;
use crate::proto::h1::stored_head::StoredHead;

/// Bytes of a request's body that are kept for another try.
const REPLAY_LIMIT: usize = 64 << 10;

/// The request on its way to the peer.
pub(super) struct Upload<'r> {
    /// The head, with what was read of the body, as far as it was not sent.
    unsent: Unsent,
    /// A part of the body, behind it.
    piece: Option<Piece>,
    /// The end of the body, if it did not fit the piece.
    tail: Vec<u8>,
    is_chunked: bool,
    /// `true` once the end of the body is in one of these.
    is_ended: bool,
    pub(super) state: UploadState,
    flush: Flush,
    pub(super) since: Instant,
    pub(super) has_moved: bool,
    pub(super) replay: &'r mut Replay,
}

impl<'r> Upload<'r> {
    /// A request with this head, of which nothing was sent.
    pub fn new(
        head: Vec<u8>,
        peer: &Stream,
        request: &StoredHead,
        now: Instant,
        replay: &'r mut Replay,
    ) -> Self {
        Upload {
            unsent: Unsent::of(head),
            piece: None,
            tail: Vec::new(),
            is_chunked: request.framing() == Framing::Chunked,
            is_ended: false,
            state: UploadState::Sending,
            flush: Flush::of(peer),
            since: now,
            has_moved: false,
            replay,
        }
    }

    /// Returns `true` if the peer has taken all that was read of the request.
    pub fn is_taken(&self) -> bool {
        self.unsent.is_empty() && self.piece.is_none() && self.flush != Flush::Due
    }
}

/// Progress of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum UploadState {
    /// Part of it is still to come or to be sent.
    Sending,
    /// The whole request was sent.
    Sent,
    /// The peer takes no more of it. It may have responded all the same.
    Refused,
}

/// The start of a request's body, kept for another try.
#[derive(Debug)]
pub struct Replay {
    content: Vec<u8>,
    is_lost: bool,
    is_wanted: bool,
}

impl Replay {
    /// Nothing yet. `is_wanted` is `true` for a request that another peer may get after one has seen it.
    pub fn new(is_wanted: bool) -> Self {
        Replay {
            content: Vec::new(),
            is_lost: false,
            is_wanted,
        }
    }

    /// Keeps content that is sent for the first time.
    fn keep(&mut self, content: &[u8]) {
        if content.is_empty() || self.is_lost {
            return;
        }
        if self.is_wanted && self.content.len() + content.len() <= REPLAY_LIMIT {
            self.content.extend_from_slice(content);
        } else {
            self.content = Vec::new();
            self.is_lost = true;
        }
    }

    /// Returns `true` if all content that was read is still there.
    pub fn is_complete(&self) -> bool {
        !self.is_lost
    }
}

impl Relay<'_, '_> {
    /// Puts what was read of the body behind the head, so that both leave in one write.
    pub(super) fn send_what_is_here(&mut self) -> Result<()> {
        let upload = &mut self.upload;
        let replayed = std::mem::take(&mut upload.replay.content);
        if !replayed.is_empty() {
            self.ctx.body_bytes += replayed.len() as u64;
            append_content(upload.unsent.bytes(), &replayed, upload.is_chunked);
            upload.replay.content = replayed;
        }
        if !self.client.body().is_complete() && self.client.has_read() {
            let mut piece = Piece::new();
            self.client.take_read(&mut piece)?;
            self.count(&piece)?;
            let upload = &mut self.upload;
            append_content(upload.unsent.bytes(), piece.content(), upload.is_chunked);
        }
        if self.client.body().is_complete() {
            self.end_upload();
        }
        Ok(())
    }

    /// Counts content of the request's body that is sent for the first time.
    fn count(&mut self, piece: &Piece) -> Result<()> {
        self.upload.replay.keep(piece.content());
        self.ctx.body_bytes += piece.content().len() as u64;
        if self.ctx.body_bytes > self.ctx.max_body_size {
            return Err(too_large());
        }
        Ok(())
    }

    /// Puts the end of the body behind what is to be sent.
    fn end_upload(&mut self) {
        let upload = &mut self.upload;
        upload.is_ended = true;
        if !upload.is_chunked {
            return;
        }
        let end = last_chunk(&forwarded_trailers(self.client.body().trailers(), self.ctx));
        match &mut upload.piece {
            None => upload.unsent.bytes().extend_from_slice(&end),
            Some(piece) => {
                if !piece.append(&end) {
                    upload.tail = end;
                }
            }
        }
    }

    /// Sends the request; ready when all of it was sent, or the peer takes no more.
    pub(super) fn poll_upload(&mut self, cx: &mut Task<'_>) -> Poll<Result<()>> {
        loop {
            if let Poll::Ready(is_taken) = self.poll_send(cx) {
                if !is_taken {
                    self.upload.state = UploadState::Refused;
                    self.ctx.progress.is_sent = true;
                    return Poll::Ready(Ok(()));
                }
            } else {
                return Poll::Pending;
            }
            if self.upload.is_ended {
                self.upload.state = UploadState::Sent;
                self.ctx.progress.is_sent = true;
                return Poll::Ready(Ok(()));
            }
            let mut piece = Piece::new();
            ready!(self.client.poll_read(cx, &mut piece))?;
            self.upload.has_moved = true;
            self.count(&piece)?;
            if self.upload.is_chunked {
                piece.make_chunk();
            }
            self.upload.piece = Some(piece);
            if self.client.body().is_complete() {
                self.end_upload();
            }
        }
    }

    /// Sends what is there to be sent; ready with `false` if the peer takes no more.
    fn poll_send(&mut self, cx: &mut Task<'_>) -> Poll<bool> {
        let upload = &mut self.upload;
        loop {
            // What is unsent comes before the piece; behind it there may be the end of the body.
            let is_taken = match &mut upload.piece {
                _ if !upload.unsent.is_empty() => {
                    poll_write(self.peer, cx, &mut upload.unsent, &mut upload.has_moved)
                }
                Some(piece) => poll_write(self.peer, cx, piece, &mut upload.has_moved),
                None => break,
            };
            if !ready!(is_taken) {
                return Poll::Ready(false);
            }
            upload.flush.written();
            if upload.piece.as_ref().is_none_or(Piece::is_empty) {
                upload.piece = None;
                upload.unsent.bytes().append(&mut upload.tail);
            }
            if upload.piece.is_none() && upload.unsent.is_empty() {
                break;
            }
        }
        if upload.flush == Flush::Due {
            if ready!(Pin::new(&mut *self.peer).poll_flush(cx)).is_err() {
                return Poll::Ready(false);
            }
            upload.flush = Flush::Done;
        }
        Poll::Ready(true)
    }
}

/// Writes bytes, as far as the peer takes them; ready with `false` if it takes no more.
fn poll_write(
    peer: &mut Stream,
    cx: &mut Task<'_>,
    bytes: &mut impl Buf,
    has_moved: &mut bool,
) -> Poll<bool> {
    while bytes.has_remaining() {
        match ready!(Pin::new(&mut *peer).poll_write(cx, bytes.chunk())) {
            Ok(length) if length > 0 => bytes.advance(length),
            _ => return Poll::Ready(false),
        }
        *has_moved = true;
    }
    Poll::Ready(true)
}

/// Returns the trailer lines of a request without the names that are removed from its head. A server
/// may merge trailers into the head, so a client could forge location headers there.
fn forwarded_trailers(trailers: &[u8], ctx: &Context) -> Vec<u8> {
    let lines = trailers.split_inclusive(|&byte| byte == b'\n');
    let is_forwarded = |line: &&[u8]| {
        let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
        std::str::from_utf8(name).is_ok_and(|name| !is_kept_from_upstream(name, ctx))
    };
    lines.filter(is_forwarded).collect::<Vec<_>>().concat()
}
