//! One try of a request on a peer: the request out, the response back, both at a time.
//!
//! Two functions are polled at every wake of the connection's task, one for each direction, so an
//! upload goes on while the response comes, without a second task or a channel. At every moment it is
//! known who is waited for, and so whose timeout applies and whom a failure counts against.

mod download;
mod tunnel;
mod upload;

use std::task::{Context as Task, Poll, ready};
use std::time::{Duration, Instant};

use pingora::{Error, ErrorType, Result};

use self::download::{Download, Stage};
pub use self::tunnel::Tunnel;
pub use self::upload::Replay;
use self::upload::{Upload, UploadState};
use super::client::{Client, too_slow_to_take};
use super::peer::Peer;
use super::timer::Timer;
use crate::gateway::access::drain::Drain;
use crate::gateway::context::Context;
use crate::gateway::failure::slow_body;
use crate::gateway::request::request_view::RequestView;
use crate::gateway::route::Replacement;
use crate::gateway::upstream;
use crate::proto::h1::stored_head::StoredHead;
use crate::proto::headers::{Headers, is_expectation};

/// Timeouts of an upstream.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Longest silence of the peer after the request.
    pub read: Duration,
    /// Longest wait for the peer to take something.
    pub write: Duration,
}

impl Timeouts {
    /// The timeouts of a peer.
    pub fn of(peer: &upstream::Peer) -> Self {
        let options = &peer.template().options;
        Timeouts::new(options.read_timeout, options.write_timeout)
    }

    /// These timeouts; without one a peer may take a day.
    pub fn new(read: Option<Duration>, write: Option<Duration>) -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Timeouts {
            read: read.unwrap_or(DAY),
            write: write.unwrap_or(DAY),
        }
    }
}

/// A try of a request.
pub struct Relay<'r, C, P> {
    ctx: &'r mut Context,
    request: RequestView<'r, StoredHead>,
    client: &'r mut C,
    peer: &'r mut P,
    timeouts: Timeouts,
    drain: &'r Drain,
    upload: Upload<'r>,
    download: Download,
}

/// End of a try that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relayed {
    /// The response was received, after the whole request was sent.
    Whole,
    /// A part of the request was not sent, or a part of a response that is given up was not received.
    Early,
    /// The connections have changed to another protocol.
    Upgraded,
}

impl<'r, C: Client, P: Peer> Relay<'r, C, P> {
    /// A try on the connection `peer`.
    ///
    /// # Errors
    /// If the head cannot be passed on, or the body is malformed or too long, as far as it was read.
    pub fn new(
        ctx: &'r mut Context,
        request: RequestView<'r, StoredHead>,
        client: &'r mut C,
        peer: &'r mut P,
        timeouts: Timeouts,
        drain: &'r Drain,
        replay: &'r mut Replay,
    ) -> Result<Self> {
        let now = Instant::now();
        // A retry begins with the part of the body that was read before.
        let is_complete = client.is_complete() && replay.is_empty();
        peer.put_request(&request, ctx, is_complete)?;
        let mut relay = Relay {
            upload: Upload::new(now, replay),
            download: Download::new(now),
            ctx,
            request,
            client,
            peer,
            timeouts,
            drain,
        };
        if P::INVITES {
            relay.invite()?;
        }
        relay.send_what_is_here()?;
        Ok(relay)
    }

    /// Asks for the body of a client that waits for it, once (RFC 9110, 10.1.1): few servers of
    /// HTTP/2 do, and none of FastCGI, so the client would wait in vain.
    fn invite(&mut self) -> Result<()> {
        let mut expectations = self.request.headers.lines("expect");
        if expectations.any(is_expectation)
            && !self.client.is_complete()
            && !self.ctx.body.is_invited
        {
            self.ctx.body.is_invited = true;
            return self.client.put_continue();
        }
        Ok(())
    }

    /// Runs the try to its end.
    ///
    /// # Errors
    /// If it fails, on whichever side.
    pub async fn run(&mut self, timer: &mut Timer<'_>) -> Result<Relayed> {
        std::future::poll_fn(|cx| self.poll(cx, timer)).await?;
        Ok(match (self.download.stage, self.upload.state) {
            (Stage::Upgraded, _) => Relayed::Upgraded,
            (Stage::End, UploadState::Sent) => Relayed::Whole,
            _ => Relayed::Early,
        })
    }

    /// Answer in place of the response, if that was not passed on.
    pub fn into_replacement(self) -> Option<Box<Replacement>> {
        Some(self.download.given_up?.replacement)
    }

    fn poll(&mut self, cx: &mut Task<'_>, timer: &mut Timer<'_>) -> Poll<Result<()>> {
        if self.upload.state == UploadState::Sending
            && let Poll::Ready(Err(error)) = self.poll_upload(cx)
        {
            return Poll::Ready(Err(error));
        }
        // Before the response is sent: a client that has ended gets it in another way.
        if self.upload.state != UploadState::Sending && self.client.is_complete() {
            ready_error(self.client.poll_gone(cx))?;
        }
        if let Poll::Ready(done) = self.poll_download(cx) {
            return Poll::Ready(done);
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
        let client = self.client.times();
        if self.client.is_waiting() {
            return (download.since + client.write, WaitedFor::ClientToTake);
        }
        let progress = self.ctx.attempts.progress();
        if upload.state == UploadState::Sending {
            if self.peer.is_waiting() {
                return (upload.since + self.timeouts.write, WaitedFor::PeerToTake);
            }
            if !progress.is_answered {
                return (upload.since + client.read, WaitedFor::Body);
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
