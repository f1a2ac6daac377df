//! The decision on a request, as a value and without I/O.
//!
//! The order is fixed: limits and access rules first, so that a rejected request costs nothing else;
//! then the redirect to HTTPS, the IP query, the methods, and last the route.

use pingora::Result;

use super::Gateway;
use super::client_ip::HeaderLines;
use super::context::Context;
use super::failure_reason::FailureReason;
use super::files::FileRequest;
use super::https::is_challenge;
use super::local_reply::{self, Reply, RequestBody};
use super::request_view::RequestView;
use super::route;
use super::variables::is_query_target;

/// Answer to a request, or the way to one.
#[derive(Debug)]
pub enum Outcome {
    /// An IP query. Its body has to be read before it can be answered.
    Query,
    /// A response of the gateway's own.
    Reply(Reply),
    /// A file, which has to be opened.
    File(FileRequest),
    /// A request for the upstream in the context.
    Forward,
}

/// Decides on a request whose client and identity are in `ctx`.
///
/// # Errors
/// If a reply cannot be made: a configured value is no header's.
pub fn decide<H: HeaderLines>(
    gateway: &Gateway,
    request: &RequestView<H>,
    ctx: &mut Context,
) -> Result<Outcome> {
    if let Some(refusal) = gateway.refuses_request(request, ctx) {
        ctx.failure = Some(FailureReason::from(&refusal));
        return local_reply::rejection(request, ctx, &refusal).map(Outcome::Reply);
    }
    if let Some(port) = request.redirect_port
        && !is_challenge(request.target)
    {
        return local_reply::redirect_to_https(request, ctx, port).map(Outcome::Reply);
    }
    if is_query_target(request.target) {
        return Ok(Outcome::Query);
    }
    let refused = ctx.settings.client.methods.refusal(request.method.as_str());
    if let Some(status) = refused {
        ctx.failure = Some(FailureReason::MethodNotAllowed);
        return local_reply::page(request, ctx, status).map(Outcome::Reply);
    }
    route::decide(request, ctx)
}

/// The reply to a request that announces a longer body than it may have; `None` for all others. The
/// body is not read.
///
/// # Errors
/// Never: 413 is a status.
pub(super) fn refuse_long_body<H: HeaderLines>(
    request: &RequestView<H>,
    ctx: &mut Context,
) -> Result<Option<Outcome>> {
    let length = request.headers.first("content-length");
    let length = length.and_then(|length| std::str::from_utf8(length).ok()?.parse::<u64>().ok());
    if length.is_none_or(|length| length <= ctx.max_body_size) {
        return Ok(None);
    }
    ctx.failure = Some(FailureReason::BodyTooLarge);
    let mut reply = local_reply::page(request, ctx, 413)?;
    reply.request_body = RequestBody::Leave;
    Ok(Some(Outcome::Reply(reply)))
}
