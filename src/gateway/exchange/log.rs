//! The end of a request: its counters, its line in the access log and, if it failed, in the error log.

use pingora::{Error, ErrorType};

use crate::gateway::Gateway;
use crate::gateway::context::Context;
use crate::gateway::failure::reason::FailureReason;
use crate::gateway::failure::{CLIENT_CLOSED_REQUEST, status_of};
use crate::gateway::request::head_lines::HeadLines;
use crate::gateway::request::request_view::RequestView;
use crate::gateway::request::variables::{View, is_query_target};
use crate::gateway::telemetry::access_log::Entry;
use crate::gateway::telemetry::failure_log::Line;
use crate::gateway::telemetry::metrics::{HttpVersion, Kind};
use crate::gateway::upstream::Pool;
use crate::proto::headers::Headers;

/// Response that a client got.
pub struct Served<'s> {
    /// Status code; `None` if there was no response.
    pub status: Option<u16>,
    /// Bytes of the head.
    pub head_bytes: usize,
    /// Bytes of the body.
    pub body_bytes: usize,
    /// Head.
    pub sent: HeadLines<'s>,
    /// Bytes of the request's head and body.
    pub request_bytes: u64,
}

impl Gateway {
    /// Counts and logs a request that has ended, with an error if it failed.
    pub(in crate::gateway) fn end_request<H: Headers>(
        &self,
        request: &RequestView<H>,
        ctx: &Context,
        error: Option<&Error>,
        served: &Served,
    ) {
        // A connection without an address has nothing to log.
        if ctx.origin.is_none() {
            return;
        }
        let status = served.status;
        let status = status.unwrap_or_else(|| error.map_or(CLIENT_CLOSED_REQUEST, status_of));
        let failure = failure_of(error, ctx, status);
        let upstream = ctx.attempts.pool().map_or("", Pool::name);
        if let Some(reason) = failure {
            self.failures.log(&Line {
                reason,
                upstream,
                peer: ctx.attempts.tried().last().cloned(),
                method: request.method.as_str(),
                target: request.target,
                status,
                detail: error,
            });
        }
        let view = View::of(request, ctx);
        let entry = Entry {
            sent: served.sent,
            head_bytes: served.head_bytes,
            request_bytes: served.request_bytes,
            upstream: ctx.attempts.view(),
            trace: ctx.identity.trace(),
            failure,
            ..Entry::new(view, status, served.body_bytes, ctx.start)
        };
        let kind = if !ctx.attempts.tried().is_empty() {
            Kind::Upstream
        } else if is_query_target(request.target) {
            Kind::Query
        } else {
            Kind::Local
        };
        let client = if request.is_http2() {
            HttpVersion::Http2
        } else {
            HttpVersion::Http1
        };
        self.metrics.served_in((client, ctx.attempts.version()));
        let logs = ctx.route().and_then(|route| route.logs.as_deref());
        self.finish(&ctx.settings, kind, logs, &entry);
    }
}

/// Returns the reason of a failed request. If no peer was left to try, it is the reason of the last
/// failure.
fn failure_of(error: Option<&Error>, ctx: &Context, status: u16) -> Option<FailureReason> {
    // The status may be the peer's own response, which ended the connections and is not a failure.
    let is_failure = |error: &&Error| {
        !(ctx.attempts.progress().is_answered && *error.etype() == ErrorType::HTTPStatus(status))
    };
    let of_error = error.filter(is_failure).map(FailureReason::of);
    match of_error.or(ctx.failure)? {
        FailureReason::NoHealthyPeer => ctx
            .attempts
            .last_failure()
            .or(Some(FailureReason::NoHealthyPeer)),
        reason => Some(reason),
    }
}
