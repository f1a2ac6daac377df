//! One try of a request on a peer: the request out, the response back, both at a time.
//!
//! Two functions are polled at every wake of the connection's task, one for each direction, so an
//! upload goes on while the response comes, without a second task or a channel. At every moment it is
//! known who is waited for, and so whose timeout applies and whom a failure counts against.

use std::pin::Pin;
use std::task::{Context as Task, Poll, ready};
use std::time::{Duration, Instant};

use pingora::protocols::Stream;
use pingora::{Error, ErrorType, Result};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::client::{Client, too_slow_to_take};
use super::edit::is_kept_from_upstream;
use super::head::{Sending, write_interim, write_request, write_response};
use super::piece::{Piece, write_chunk_size};
use super::pool;
use super::timer::Timer;
use super::tries::judge_response;
use crate::gateway::context::Context;
use crate::gateway::drain::Drain;
use crate::gateway::failure::{slow_body, too_large};
use crate::gateway::request_view::RequestView;
use crate::proto::h1::chunked::Scanner;
use crate::proto::h1::head::{Framing as RequestFraming, slots};
use crate::proto::h1::response_head::{
    self, BadHead, Framing, Limits, Parse, Received, ResponseHead,
};
use crate::proto::h1::stored_head::StoredHead;
use crate::proto::headers::Headers;

/// Bytes of a request's body that are kept for another try.
const REPLAY_LIMIT: usize = 64 << 10;

/// Bytes of a body that are left when it is read in large pieces.
const LONG: u64 = 128 << 10;

/// Trailer lines of a request that its upstream may get: a server may take them for header lines, so
/// what the client must not say there it must not say here.
fn forwarded_trailers(trailers: &[u8], ctx: &Context) -> Vec<u8> {
    let lines = trailers.split_inclusive(|&byte| byte == b'\n');
    let is_forwarded = |line: &&[u8]| {
        let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
        std::str::from_utf8(name).is_ok_and(|name| !is_kept_from_upstream(name, ctx))
    };
    lines.filter(is_forwarded).collect::<Vec<_>>().concat()
}

/// Timeouts of an upstream.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Longest silence of the peer after the request.
    pub read: Duration,
    /// Longest wait for the peer to take something.
    pub write: Duration,
}

impl Timeouts {
    /// The timeouts of a peer's options; without one it may take a day.
    pub fn new(read: Option<Duration>, write: Option<Duration>) -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Timeouts {
            read: read.unwrap_or(DAY),
            write: write.unwrap_or(DAY),
        }
    }
}

/// A try of a request.
pub struct Relay<'r, 'c> {
    pub ctx: &'r mut Context,
    pub request: RequestView<'r, StoredHead>,
    pub client: &'r mut Client<'c>,
    peer: &'r mut Stream,
    peer_is_tls: bool,
    timeouts: Timeouts,
    limits: Limits,
    drain: &'r Drain,
    upload: Upload<'r>,
    download: Download<'r>,
}

/// The request on its way to the peer.
struct Upload<'r> {
    /// The head, with what was read of the body, as far as it was not sent.
    head: Vec<u8>,
    sent: usize,
    piece: Option<Piece>,
    is_chunked: bool,
    /// `true` once the end of the body was given to `piece` or `head`.
    is_ended: bool,
    state: UploadState,
    needs_flush: bool,
    since: Instant,
    has_moved: bool,
    replay: &'r mut Replay,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum UploadState {
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

/// The response on its way to the client.
struct Download<'r> {
    stage: Stage,
    /// Bytes of a head that is not complete.
    input: Option<Piece>,
    /// Bytes for the client: heads first, then the piece.
    head: Vec<u8>,
    sent: usize,
    piece: Option<Piece>,
    /// Last chunk and trailers, if they did not fit the piece.
    tail: Vec<u8>,
    body: Incoming,
    sending: Sending,
    received: Received,
    /// `true` after a read that filled its piece and was taken by the client at once.
    keeps_up: bool,
    since: Instant,
    has_moved: bool,
    outcome: &'r mut Outcome,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Head,
    Body,
    End,
}

/// What is still to come of a response's body.
enum Incoming {
    Length(u64),
    Chunked(Box<Scanner>),
    Close,
}

/// What became of a try.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Status that the client got.
    pub status: Option<u16>,
    /// Head that the client got, if it was asked for.
    pub head: Vec<u8>,
    /// Bytes of the body that the client got.
    pub body_bytes: usize,
    /// `true` if the client's connection can be kept, as it was told.
    pub keep: bool,
    /// `true` if the peer's connection can carry another request.
    pub peer_is_reusable: bool,
    /// `true` if the whole request was sent.
    pub is_whole: bool,
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

impl<'r, 'c> Relay<'r, 'c> {
    /// A try on the connection `peer`.
    ///
    /// # Errors
    /// If the body is malformed or too long, as far as it was read.
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        ctx: &'r mut Context,
        request: RequestView<'r, StoredHead>,
        client: &'r mut Client<'c>,
        peer: &'r mut Stream,
        timeouts: Timeouts,
        drain: &'r Drain,
        replay: &'r mut Replay,
        outcome: &'r mut Outcome,
    ) -> Result<Self> {
        let now = Instant::now();
        let mut head = pool::buffer();
        write_request(&mut head, &request, ctx)?;
        let limits = ctx.peer().map_or(
            Limits {
                max_size: 64 << 10,
                max_lines: 256,
            },
            |(pool, _)| pool.response_limits(),
        );
        let mut relay = Relay {
            peer_is_tls: peer.get_ssl_digest().is_some(),
            upload: Upload {
                head,
                sent: 0,
                piece: None,
                is_chunked: request.headers.framing() == RequestFraming::Chunked,
                is_ended: false,
                state: UploadState::Sending,
                needs_flush: false,
                since: now,
                has_moved: false,
                replay,
            },
            download: Download {
                stage: Stage::Head,
                input: None,
                head: pool::buffer(),
                sent: 0,
                piece: None,
                tail: Vec::new(),
                body: Incoming::Close,
                sending: Sending::Nothing,
                received: Received::default(),
                keeps_up: false,
                since: now,
                has_moved: false,
                outcome,
            },
            ctx,
            request,
            client,
            peer,
            timeouts,
            limits,
            drain,
        };
        relay.send_what_is_here()?;
        Ok(relay)
    }

    /// Puts what was read of the body behind the head, so that both leave in one write.
    fn send_what_is_here(&mut self) -> Result<()> {
        let upload = &mut self.upload;
        let replayed = std::mem::take(&mut upload.replay.content);
        if !replayed.is_empty() {
            self.ctx.body_bytes += replayed.len() as u64;
            append_content(&mut upload.head, &replayed, upload.is_chunked);
            upload.replay.content = replayed;
        }
        if !self.client.body().is_complete() && self.client.has_read() {
            let mut piece = Piece::new();
            self.client.take_read(&mut piece)?;
            self.count(&piece)?;
            let upload = &mut self.upload;
            append_content(&mut upload.head, piece.content(), upload.is_chunked);
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
        if let Some(piece) = &mut upload.piece
            && piece.append(&end)
        {
            return;
        }
        // Behind the piece, if there is one, the head's buffer is free.
        if upload.piece.is_none() && upload.sent < upload.head.len() {
            upload.head.extend_from_slice(&end);
        } else {
            upload.head = end;
            upload.sent = 0;
        }
    }

    /// Runs the try to its end.
    ///
    /// # Errors
    /// If it fails, on whichever side.
    pub async fn run(&mut self, timer: &mut Timer<'_>) -> Result<()> {
        std::future::poll_fn(|cx| self.poll(cx, timer)).await
    }

    fn poll(&mut self, cx: &mut Task<'_>, timer: &mut Timer<'_>) -> Poll<Result<()>> {
        if self.upload.state == UploadState::Sending
            && let Poll::Ready(Err(error)) = self.poll_upload(cx)
        {
            return Poll::Ready(Err(error));
        }
        if let Poll::Ready(done) = self.poll_download(cx) {
            return Poll::Ready(done);
        }
        if self.upload.state != UploadState::Sending && self.client.body().is_complete() {
            ready_error(self.client.poll_behind(cx))?;
        }
        self.poll_timeouts(cx, timer)
    }

    /// Sends the request; ready when all of it was sent, or the peer takes no more.
    fn poll_upload(&mut self, cx: &mut Task<'_>) -> Poll<Result<()>> {
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
                piece.chunk();
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
        let mut peer = Pin::new(&mut *self.peer);
        loop {
            // The end of a body that did not fit the piece comes after it, and is alone in `head`.
            let is_tail = upload.piece.is_some() && upload.is_ended;
            let piece = upload.piece.as_ref().map(Piece::content);
            let (bytes, of_piece) = match piece {
                Some(content) if is_tail || upload.sent == upload.head.len() => (content, true),
                _ => (&upload.head[upload.sent..], false),
            };
            if bytes.is_empty() && of_piece {
                upload.piece = None;
                continue;
            }
            if bytes.is_empty() {
                break;
            }
            let written = ready!(peer.as_mut().poll_write(cx, bytes));
            let length = match written {
                Ok(length) if length > 0 => length,
                _ => return Poll::Ready(false),
            };
            upload.has_moved = true;
            upload.needs_flush = self.peer_is_tls;
            match &mut upload.piece {
                Some(piece) if of_piece => piece.advance(length),
                _ => upload.sent += length,
            }
        }
        if upload.needs_flush {
            if ready!(peer.poll_flush(cx)).is_err() {
                return Poll::Ready(false);
            }
            upload.needs_flush = false;
        }
        Poll::Ready(true)
    }

    /// Passes the response on; ready when all of it was sent.
    fn poll_download(&mut self, cx: &mut Task<'_>) -> Poll<Result<()>> {
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
        let mut head = &download.head[download.sent..];
        let before = head.len();
        if before > 0 {
            let written = self.client.poll_write(cx, &mut head);
            let length = before - head.len();
            download.sent += length;
            download.has_moved |= length > 0;
            ready_or_slow(written, &mut download.keeps_up)?;
            if download.sent < download.head.len() {
                return Poll::Pending;
            }
        }
        download.head.clear();
        download.sent = 0;
        if let Some(piece) = &mut download.piece {
            let mut content = piece.content();
            let before = content.len();
            let written = self.client.poll_write(cx, &mut content);
            let length = before - content.len();
            download.has_moved |= length > 0;
            piece.advance(length);
            ready_or_slow(written, &mut download.keeps_up)?;
            if !piece.is_empty() {
                return Poll::Pending;
            }
            download.piece = None;
        }
        if !download.tail.is_empty() {
            download.head = std::mem::take(&mut download.tail);
            return self.poll_respond(cx);
        }
        Poll::Ready(Ok(()))
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
            return write_interim(&mut download.head, head, &self.request, self.ctx);
        }
        self.ctx.progress.is_answered = true;
        let repeatable = self.request.method.is_idempotent()
            && !self.client.is_answered
            && self.upload.replay.is_complete();
        judge_response(self.ctx, head.status, repeatable)?;
        // A client that waits to be asked for its body may send it or the next request.
        let waits = self.request.headers.has("expect") && !self.client.body().is_complete();
        download.outcome.keep &= !waits && !self.drain.is_draining();
        let start = download.head.len();
        download.sending = write_response(
            &mut download.head,
            head,
            &self.request,
            self.ctx,
            &mut download.outcome.keep,
        )?;
        self.client.is_answered = true;
        download.outcome.status = Some(head.status.as_u16());
        download.outcome.peer_is_reusable = head.keep;
        if self.ctx.settings.access_log.format().wants_sent() {
            download.outcome.head = download.head[start..].to_vec();
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
            append_content(&mut download.head, &encoded, is_chunked);
            if is_end && is_chunked {
                download.head.extend_from_slice(&last_chunk(b""));
            }
        } else if download.sending != Sending::Nothing {
            download.outcome.body_bytes += piece.content().len();
            if is_chunked {
                piece.chunk();
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
            if !is_apart && piece.prepend(&download.head) {
                download.head.clear();
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

    /// Ends the try if the side that is waited for takes too long.
    fn poll_timeouts(&mut self, cx: &mut Task<'_>, timer: &mut Timer<'_>) -> Poll<Result<()>> {
        if self.upload.has_moved || self.download.has_moved {
            let now = Instant::now();
            if std::mem::take(&mut self.upload.has_moved) {
                self.upload.since = now;
            }
            if std::mem::take(&mut self.download.has_moved) {
                self.download.since = now;
            }
        }
        let (deadline, waited_for) = self.patience();
        ready!(timer.poll(cx, deadline));
        Poll::Ready(Err(self.timed_out(waited_for)))
    }

    /// The moment until which the other side may take its time, and which side that is.
    fn patience(&self) -> (Instant, WaitedFor) {
        let (upload, download) = (&self.upload, &self.download);
        let of_client = download.since + self.client.write_timeout();
        if download.sent < download.head.len() || download.piece.is_some() {
            return (of_client, WaitedFor::ClientToTake);
        }
        let progress = self.ctx.progress;
        if upload.state == UploadState::Sending {
            let is_waiting = upload.piece.is_some() || upload.sent < upload.head.len();
            if is_waiting || upload.needs_flush {
                return (upload.since + self.timeouts.write, WaitedFor::PeerToTake);
            }
            if !progress.is_answered {
                return (upload.since + self.client.read_timeout(), WaitedFor::Body);
            }
        }
        let since = upload.since.max(download.since);
        (since + self.timeouts.read, WaitedFor::Response)
    }

    fn timed_out(&self, waited_for: WaitedFor) -> Box<Error> {
        match waited_for {
            WaitedFor::ClientToTake => too_slow_to_take(),
            WaitedFor::Body => slow_body(),
            WaitedFor::PeerToTake => {
                let reason = "the peer takes nothing within write_timeout";
                Error::explain(ErrorType::WriteTimedout, reason).into_up()
            }
            WaitedFor::Response => {
                let reason = "the peer sends nothing within read_timeout";
                Error::explain(ErrorType::ReadTimedout, reason).into_up()
            }
        }
    }
}

impl Drop for Upload<'_> {
    fn drop(&mut self) {
        pool::keep_buffer(std::mem::take(&mut self.head));
    }
}

impl Drop for Download<'_> {
    fn drop(&mut self) {
        pool::keep_buffer(std::mem::take(&mut self.head));
    }
}

/// The side that is waited for, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WaitedFor {
    ClientToTake,
    Body,
    PeerToTake,
    Response,
}

/// The error of something that is otherwise never ready.
fn ready_error(polled: Poll<Result<()>>) -> Result<()> {
    match polled {
        Poll::Ready(result) => result,
        Poll::Pending => Ok(()),
    }
}

/// Notes a client that does not take all at once.
fn ready_or_slow(written: Poll<Result<()>>, keeps_up: &mut bool) -> Result<()> {
    match written {
        Poll::Ready(result) => result,
        Poll::Pending => {
            *keeps_up = false;
            Ok(())
        }
    }
}

fn append_content(out: &mut Vec<u8>, content: &[u8], is_chunked: bool) {
    if content.is_empty() {
        return;
    }
    if is_chunked {
        let mut size = [0; 18];
        out.extend_from_slice(write_chunk_size(content.len(), &mut size));
    }
    out.extend_from_slice(content);
    if is_chunked {
        out.extend_from_slice(b"\r\n");
    }
}

/// The last chunk, with trailer lines.
fn last_chunk(trailers: &[u8]) -> Vec<u8> {
    [b"0\r\n", trailers, b"\r\n"].concat()
}

fn bad(head: &BadHead) -> Box<Error> {
    Error::explain(ErrorType::InvalidHTTPHeader, head.to_string()).into_up()
}
