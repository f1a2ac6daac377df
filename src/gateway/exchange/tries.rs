//! Results of the tries of a request, told to its `Attempts`, and what follows from them.

use http::StatusCode;
use pingora::{Error, ErrorSource, Result};

use crate::gateway::context::Context;
use crate::gateway::exchange::admission::close_idle_connections;
use crate::gateway::failure::reason::FailureReason;
use crate::gateway::failure::tls;
use crate::gateway::failure::{CLIENT_STALLED, LOCAL, Unprocessed, is_local, unprocessed};
use crate::gateway::upstream::attempts::{Request, Step};
use crate::gateway::upstream::verdict::Cause;

/// Response in place of which another peer is tried.
const REFUSED: pingora::ErrorType = pingora::ErrorType::new("Refused");

/// Judges a peer by the status of its response.
///
/// # Errors
/// If the configuration counts the status as a failure and another peer is to be tried.
pub fn judge_response(ctx: &mut Context, status: StatusCode, may_repeat: bool) -> Result<()> {
    if ctx.attempts.on_status(status, may_repeat) {
        let reason = "the status of the response is in retry_on";
        return Err(Error::explain(REFUSED, reason).into_up());
    }
    Ok(())
}

/// Concludes a try that came to no connection. Nothing was sent, so any request may go to another peer.
pub fn fail_to_connect(ctx: &mut Context, request: Request, error: Box<Error>) -> Box<Error> {
    let cause = if is_local(&error, true) {
        close_idle_connections(&ctx.settings);
        Cause::Local
    } else {
        cause_of_unprocessed(&error).unwrap_or(Cause::NotConnected)
    };
    conclude(ctx, request, cause, error)
}

/// Concludes a try that failed after its request may have reached the peer.
pub fn fail_to_exchange(ctx: &mut Context, request: Request, mut error: Box<Error>) -> Box<Error> {
    if ctx.attempts.take_refused() && ctx.still_in_time().is_ok() {
        // The retry was decided when the response came.
        error.set_retry(true);
        return error;
    }
    if let Some(cause) = cause_of(&error) {
        return conclude(ctx, request, cause, error);
    }
    error.set_retry(false);
    error
}

/// Decides what follows from a failed try, and records the failure.
fn conclude(
    ctx: &mut Context,
    request: Request,
    cause: Cause,
    mut error: Box<Error>,
) -> Box<Error> {
    if cause == Cause::Local {
        error.etype = LOCAL;
    }
    ctx.attempts.note(FailureReason::of(&error));
    if ctx.still_in_time().is_err() {
        // The deadline of the request has passed; the peer is not at fault.
        error.set_retry(false);
        return error;
    }
    let why = tls::describe(&error);
    let why = why.as_deref().unwrap_or(error.etype().as_str());
    let step = ctx.attempts.on_failure(cause, request, why);
    if step == Step::BlameClient {
        error.etype = CLIENT_STALLED;
    }
    error.set_retry(step == Step::Retry);
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
