//! One try of a request on a peer: the request out, the response back, both at a time.
//!
//! Two functions are polled at every wake of the connection's task, one for each direction, so an
//! upload goes on while the response comes, without a second task or a channel. At every moment it is
//! known who is waited for, and so whose timeout applies and whom a failure counts against.

mod download;
mod upload;

use std::task::{Context as Task, Poll, ready};
use std::time::{Duration, Instant};

use pingora::protocols::Stream;
use pingora::{Error, ErrorType, Result};

use self::download::Download;
pub use self::upload::Replay;
use self::upload::{Upload, UploadState};
use super::client::{Client, too_slow_to_take};
use super::head::write_request;
use super::piece::write_chunk_size;
use super::pool;
use super::timer::Timer;
use crate::gateway::context::Context;
use crate::gateway::drain::Drain;
use crate::gateway::failure::slow_body;
use crate::gateway::request_view::RequestView;
use crate::proto::h1::response_head::Limits;
use crate::proto::h1::stored_head::StoredHead;

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
    ctx: &'r mut Context,
    request: RequestView<'r, StoredHead>,
    client: &'r mut Client<'c>,
    peer: &'r mut Stream,
    timeouts: Timeouts,
    limits: Limits,
    drain: &'r Drain,
    upload: Upload<'r>,
    download: Download<'r>,
}

/// Result of a try.
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
            upload: Upload::new(head, peer, request.headers, now, replay),
            download: Download::new(now, outcome),
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
        Poll::Ready(Err(waited_for.timed_out()))
    }

    /// The moment until which the other side may take its time, and which side that is.
    fn patience(&self) -> (Instant, WaitedFor) {
        let (upload, download) = (&self.upload, &self.download);
        let of_client = download.since + self.client.write_timeout();
        if !download.unsent.is_empty() || download.piece.is_some() {
            return (of_client, WaitedFor::ClientToTake);
        }
        let progress = self.ctx.progress;
        if upload.state == UploadState::Sending {
            if !upload.is_taken() {
                return (upload.since + self.timeouts.write, WaitedFor::PeerToTake);
            }
            if !progress.is_answered {
                return (upload.since + self.client.read_timeout(), WaitedFor::Body);
            }
        }
        let since = upload.since.max(download.since);
        (since + self.timeouts.read, WaitedFor::Response)
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

impl WaitedFor {
    /// Error of a side that took too long.
    fn timed_out(self) -> Box<Error> {
        match self {
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

/// The error of something that is otherwise never ready.
fn ready_error(polled: Poll<Result<()>>) -> Result<()> {
    match polled {
        Poll::Ready(result) => result,
        Poll::Pending => Ok(()),
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
