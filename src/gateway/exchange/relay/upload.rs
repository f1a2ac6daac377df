//! The request of a try on its way to the peer.

use std::task::{Context as Task, Poll, ready};
use std::time::Instant;

use pingora::Result;

use super::super::client::Client;
use super::super::edit::is_kept_from_upstream;
use super::super::peer::Peer;
use super::super::piece::{Piece, Size};
use super::Relay;
use crate::gateway::context::Context;
use crate::gateway::failure::too_large;
use crate::proto::h1::head::Framing;

/// Bytes of a request's body that are kept for another try.
const REPLAY_LIMIT: usize = 64 << 10;

/// The request on its way to the peer.
pub(super) struct Upload<'r> {
    /// `true` once the end of the body was put.
    is_ended: bool,
    pub(super) state: UploadState,
    pub(super) since: Instant,
    pub(super) has_moved: bool,
    pub(super) replay: &'r mut Replay,
}

impl<'r> Upload<'r> {
    /// A request of which nothing was sent.
    pub fn new(now: Instant, replay: &'r mut Replay) -> Self {
        Upload {
            is_ended: false,
            state: UploadState::Sending,
            since: now,
            has_moved: false,
            replay,
        }
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

    /// A body of which something was read and is not there any more.
    pub fn lost() -> Self {
        Replay {
            content: Vec::new(),
            is_lost: true,
            is_wanted: false,
        }
    }

    /// A body that was read before the first try.
    pub fn of(content: Vec<u8>) -> Self {
        Replay {
            content,
            is_lost: false,
            is_wanted: true,
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

    /// Content that was read, to be sent again.
    pub fn content(&self) -> &[u8] {
        &self.content
    }

    /// Returns `true` if there is nothing to send again.
    pub fn is_empty(&self) -> bool {
        self.content.is_empty()
    }

    /// Returns `true` if all content that was read is still there.
    pub fn is_complete(&self) -> bool {
        !self.is_lost
    }
}

impl<C: Client, P: Peer> Relay<'_, C, P> {
    /// Puts what was read of the body behind the head, so that both leave in one write.
    pub(super) fn send_what_is_here(&mut self) -> Result<()> {
        let replayed = &self.upload.replay.content;
        if !replayed.is_empty() {
            self.ctx.body.bytes += replayed.len() as u64;
            self.peer.put_bytes(replayed);
        }
        if !self.client.is_complete() && self.client.has_read() {
            let mut piece = Piece::new(Size::Normal);
            self.client.take_read(&mut piece)?;
            self.count(&piece)?;
            self.peer.put_bytes(piece.content());
        }
        if self.client.is_complete() {
            self.end_upload();
        }
        Ok(())
    }

    /// Counts content of the request's body that is sent for the first time.
    fn count(&mut self, piece: &Piece) -> Result<()> {
        self.upload.replay.keep(piece.content());
        self.ctx.body.bytes += piece.content().len() as u64;
        if self.ctx.body.bytes > self.ctx.body.max_bytes {
            return Err(too_large());
        }
        Ok(())
    }

    /// Puts the end of the body behind what is to be sent.
    fn end_upload(&mut self) {
        self.upload.is_ended = true;
        let trailers = match self.request.headers.framing() {
            // The body that had them was dropped.
            Framing::None => b"",
            Framing::Length(_) | Framing::Chunked => self.client.trailers(),
        };
        if trailers.is_empty() {
            self.peer.put_end(trailers);
        } else {
            self.peer.put_end(&forwarded_trailers(trailers, self.ctx));
        }
    }

    /// Sends the request; ready when all of it was sent, or the peer takes no more.
    pub(super) fn poll_upload(&mut self, cx: &mut Task<'_>) -> Poll<Result<()>> {
        loop {
            let sent = self.peer.poll_send(cx);
            self.upload.has_moved |= self.peer.take_moved();
            if !ready!(sent)? {
                self.upload.state = UploadState::Refused;
                self.ctx.attempts.on_sent();
                return Poll::Ready(Ok(()));
            }
            if self.upload.is_ended {
                self.upload.state = UploadState::Sent;
                self.ctx.attempts.on_sent();
                return Poll::Ready(Ok(()));
            }
            let mut piece = Piece::new(self.client.piece_size());
            ready!(self.client.poll_read(cx, &mut piece))?;
            self.upload.has_moved = true;
            self.count(&piece)?;
            self.peer.put(piece);
            if self.client.is_complete() {
                self.end_upload();
            }
        }
    }
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
