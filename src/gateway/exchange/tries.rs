//! Results of the tries of a request on its peers, and what follows from them.
//!
//! [`attempt`](crate::gateway::attempt) decides over plain facts; this gathers the facts and carries
//! the decision out in the request's context.

use http::StatusCode;
use pingora::{Error, ErrorSource, Result};

use crate::gateway::admission::close_idle_connections;
use crate::gateway::attempt::{Cause, Failed, Next, Progress};
use crate::gateway::context::{Context, Refresh};
use crate::gateway::failure::{CLIENT_STALLED, LOCAL, Unprocessed, is_local, unprocessed};
use crate::gateway::failure_reason::FailureReason;

/// Response in place of which another peer is tried.
const REFUSED: pingora::ErrorType = pingora::ErrorType::new("Refused");

/// Facts of a try that its engine knows.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::struct_excessive_bools)] // Facts that do not depend on each other.
pub struct TryFacts {
    /// `true` if the connection had carried other requests.
    pub is_reused: bool,
    /// `true` if the client has received a part of a final response.
    pub is_answered: bool,
    /// `true` if sending the request twice has the same effect as sending it once (RFC 9110, 9.2.2).
    pub is_idempotent: bool,
    /// `true` if all that was read of the request's body is still there.
    pub has_body: bool,
}

/// Judges a peer by the status of its response.
///
/// # Errors
/// If the configuration counts the status as a failure and another peer is to be tried.
pub fn judge_response(ctx: &mut Context, status: StatusCode, may_repeat: bool) -> Result<()> {
    let Some((pool, peer)) = ctx.peer() else {
        return Ok(());
    };
    if !pool.refuses(status) {
        pool.succeeded(peer);
        return Ok(());
    }
    pool.failed(peer, status.as_str());
    ctx.is_refused = may_repeat && ctx.may_go_on();
    if ctx.is_refused {
        let reason = "the status of the response is in retry_on";
        return Err(Error::explain(REFUSED, reason).into_up());
    }
    Ok(())
}

/// Concludes a try that came to no connection. Nothing was sent, so any request may go to another peer.
pub fn fail_to_connect(ctx: &mut Context, facts: TryFacts, error: Box<Error>) -> Box<Error> {
    let cause = if is_local(&error, true) {
        close_idle_connections(&ctx.settings);
        Cause::Local
    } else {
        cause_of_unprocessed(&error).unwrap_or(Cause::NotConnected)
    };
    conclude(ctx, facts, cause, error)
}

/// Concludes a try that failed after its request may have reached the peer.
pub fn fail_to_exchange(ctx: &mut Context, facts: TryFacts, mut error: Box<Error>) -> Box<Error> {
    if std::mem::take(&mut ctx.is_refused) && ctx.still_in_time().is_ok() {
        // The retry was decided when the response came.
        error.set_retry(true);
        return error;
    }
    if let Some(cause) = cause_of(&error) {
        return conclude(ctx, facts, cause, error);
    }
    error.set_retry(false);
    error
}

/// Decides what follows from a failed try, and records the failure.
fn conclude(ctx: &mut Context, facts: TryFacts, cause: Cause, mut error: Box<Error>) -> Box<Error> {
    if cause == Cause::Local {
        error.etype = LOCAL;
        // The shortage is usually short, so a retry may succeed.
        ctx.is_full = true;
    }
    ctx.try_failure = Some(FailureReason::of(&error));
    if ctx.still_in_time().is_err() {
        // The deadline of the request has passed; the peer is not at fault.
        error.set_retry(false);
        return error;
    }
    let failed = Failed {
        cause,
        is_reused: facts.is_reused,
        is_refreshed: ctx.refresh != Refresh::Unused,
        progress: Progress {
            is_answered: ctx.progress.is_answered || facts.is_answered,
            ..ctx.progress
        },
        is_idempotent: facts.is_idempotent,
        has_body: facts.has_body,
    };
    let verdict = failed.verdict();
    if verdict.counts {
        ctx.note_failure(&error);
    }
    if verdict.next == Next::BlameClient {
        error.etype = CLIENT_STALLED;
    }
    error.set_retry(ctx.goes_on(verdict.next));
    error
}

/// Returns the cause of a failed try if the peer or this host is at fault; `None` otherwise.
fn cause_of(error: &Error) -> Option<Cause> {
    if *error.esource() != ErrorSource::Upstream {
        return None;
    }
    if is_local(error, false) {
        return Some(Cause::Local);
    }
    let unprocessed = cause_of_unprocessed(error);
    Some(
        unprocessed.unwrap_or_else(|| match FailureReason::of(error) {
            FailureReason::UpstreamReadTimeout => Cause::ReadTimeout,
            FailureReason::UpstreamWriteTimeout => Cause::WriteTimeout,
            FailureReason::UpstreamClosed | FailureReason::UpstreamReset => Cause::Closed,
            _ => Cause::BadResponse,
        }),
    )
}

fn cause_of_unprocessed(error: &Error) -> Option<Cause> {
    Some(match unprocessed(error)? {
        Unprocessed::GoAway => Cause::GoAway,
        Unprocessed::RefusedStream => Cause::RefusedStream,
    })
}
