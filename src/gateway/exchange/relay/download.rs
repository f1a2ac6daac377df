//! The response of a try on its way to the client.

use std::task::{Context as Task, Poll, ready};
use std::time::Instant;

use http::StatusCode;
use pingora::{Error, ErrorType, Result};

use super::super::client::Client;
use super::super::head::{put_interim, put_response};
use super::super::peer::{Peer, Received, Sink};
use super::super::piece::Size;
use super::super::replacement;
use super::super::tries::judge_response;
use super::Relay;
use crate::gateway::access::drain::Drain;
use crate::gateway::context::Context;
use crate::gateway::request::request_view::RequestView;
use crate::gateway::route::Replacement;
use crate::proto::h1::response_head::ResponseHead;
use crate::proto::h1::stored_head::StoredHead;
use crate::proto::headers::Headers;

/// Bytes of a response that are dropped to keep the connection to the peer.
const MAX_DROPPED: usize = 64 << 10;

/// The response on its way to the client.
pub(super) struct Download {
    pub(super) stage: Stage,
    /// `true` if the client has taken all that was read, at once.
    keeps_up: bool,
    /// Answer in place of the response, once it is given up.
    pub(super) given_up: Option<GivenUp>,
    pub(super) since: Instant,
    pub(super) has_moved: bool,
}

impl Download {
    /// A response of which nothing has come.
    pub fn new(now: Instant) -> Self {
        Download {
            stage: Stage::Response,
            keeps_up: false,
            given_up: None,
            since: now,
            has_moved: false,
        }
    }
}

/// A response in whose place the client gets another one. What is there of it is dropped; more is not
/// waited for.
pub(super) struct GivenUp {
    pub(super) replacement: Box<Replacement>,
    dropped: usize,
}

/// Progress of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// A part of it is still to come.
    Response,
    /// All of it was received.
    End,
    /// The connections are not HTTP any more.
    Upgraded,
}

impl<C: Client, P: Peer> Relay<'_, C, P> {
    /// Passes the response on; ready when all of it was sent.
    pub(super) fn poll_download(&mut self, cx: &mut Task<'_>) -> Poll<Result<()>> {
        loop {
            ready!(self.poll_respond(cx))?;
            if self.download.stage != Stage::Response {
                ready!(self.client.poll_flush(cx))?;
                return Poll::Ready(Ok(()));
            }
            let size = match self.client.piece_size() {
                Size::Normal if self.download.keeps_up => Size::Large,
                size => size,
            };
            let mut response = Response {
                has_body: self.upload.replay.is_complete(),
                ctx: self.ctx,
                request: &self.request,
                client: self.client,
                drain: self.drain,
                stage: &mut self.download.stage,
                given_up: &mut self.download.given_up,
            };
            let received = self.peer.poll_receive(cx, size, &mut response);
            if let Some(given_up) = &self.download.given_up {
                let goes_on = matches!(received, Poll::Ready(Ok(())));
                if !goes_on || given_up.dropped > MAX_DROPPED {
                    return Poll::Ready(Ok(()));
                }
            }
            if received.is_pending() {
                ready!(self.client.poll_flush(cx))?;
            }
            ready!(received)?;
            self.download.has_moved = true;
            self.download.keeps_up = true;
        }
    }

    /// Sends the client what is there for it.
    fn poll_respond(&mut self, cx: &mut Task<'_>) -> Poll<Result<()>> {
        let sent = self.client.poll_send(cx);
        self.download.has_moved |= self.client.take_moved();
        self.download.keeps_up &= sent.is_ready();
        sent
    }
}

/// Reader of a response that passes it on to the client.
struct Response<'s, 'r, C> {
    ctx: &'s mut Context,
    request: &'s RequestView<'r, StoredHead>,
    client: &'s mut C,
    drain: &'s Drain,
    stage: &'s mut Stage,
    given_up: &'s mut Option<GivenUp>,
    /// `true` if the body of the request could be sent again.
    has_body: bool,
}

impl<C: Client> Response<'_, '_, C> {
    /// Takes the head that ends HTTP on both connections.
    fn upgrade(&mut self, head: &ResponseHead) -> Result<()> {
        let protocol = head.lines.iter();
        let mut protocol = protocol.filter(|line| line.name.eq_ignore_ascii_case("upgrade"));
        let is_asked_for = self.request.headers.is_upgrade();
        let Some(protocol) = protocol.next().filter(|_| is_asked_for) else {
            let reason = "the peer changes to a protocol that the client did not ask for";
            return Err(Error::explain(ErrorType::InvalidHTTPHeader, reason).into_up());
        };
        judge_response(self.ctx, head.status, false)?;
        let upgrade = Some(protocol.value);
        put_interim(self.client, head, self.request, self.ctx, upgrade)?;
        *self.stage = Stage::Upgraded;
        Ok(())
    }
}

impl<C: Client> Sink for Response<'_, '_, C> {
    fn head(&mut self, head: &ResponseHead) -> Result<()> {
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return self.upgrade(head);
        }
        if head.status.is_informational() {
            return put_interim(self.client, head, self.request, self.ctx, None);
        }
        let may_repeat = self.has_body && self.request.method.is_idempotent();
        judge_response(self.ctx, head.status, may_repeat)?;
        self.ctx.attempts.keep_head(|keep| {
            for line in head.lines {
                keep(line.name.as_bytes(), line.value);
            }
        });
        if let Some(replacement) =
            replacement::of_response(head, self.request, self.ctx, self.has_body)
        {
            *self.given_up = Some(GivenUp {
                replacement,
                dropped: 0,
            });
            return Ok(());
        }
        // A client that waits to be asked for its body may send it or the next request.
        let waits = self.request.headers.has("expect") && !self.client.is_complete();
        if waits || self.drain.is_draining() {
            self.client.close_after();
        }
        put_response(self.client, head, self.request, self.ctx)
    }

    fn content(&mut self, content: Received, end: Option<&[u8]>) -> Result<()> {
        if let Some(given_up) = self.given_up {
            given_up.dropped += content.as_ref().len();
            if end.is_some() {
                *self.stage = Stage::End;
            }
            return Ok(());
        }
        let is_encoded = self.ctx.encoder.is_some();
        if let Some(encoder) = &mut self.ctx.encoder {
            let encoded = encoder.encode(content.as_ref(), end.is_some())?;
            self.client.put_bytes(encoded);
        } else {
            match content {
                Received::Piece(piece) => self.client.put(piece),
                Received::Bytes(bytes) => self.client.put_bytes(bytes),
            }
        }
        if let Some(trailers) = end {
            *self.stage = Stage::End;
            self.client.put_end(if is_encoded { b"" } else { trailers });
        }
        Ok(())
    }
}
