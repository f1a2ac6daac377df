//! Decision on a request by its route.

use std::sync::Arc;

use bytes::Bytes;
use pingora::Result;

use super::admission::admit_to_route;
use super::authenticate::{Verdict, authenticate};
use super::file_paths::{file_path, file_request};
use crate::gateway::access::Rejection;
use crate::gateway::context::Context;
use crate::gateway::exchange::{Outcome, ScriptPath};
use crate::gateway::failure::reason::FailureReason;
use crate::gateway::request::request_view::RequestView;
use crate::gateway::request::variables::{View, path_and_query, split_query};
use crate::gateway::respond::files::Elsewhere;
use crate::gateway::respond::local_reply;
use crate::gateway::route::condition::MatchInput;
use crate::gateway::route::{Action, Body, Decision, Rewrite, RouteMatch, Routes, target};
use crate::proto::headers::Headers;

/// Decides on a request by its route.
///
/// # Errors
/// If a reply cannot be made.
pub fn decide<H: Headers>(request: &RequestView<H>, ctx: &mut Context) -> Result<Outcome> {
    let Some(routes) = &ctx.settings.routes else {
        if let Some(reply) = refuse_long_body(request, ctx)? {
            return Ok(reply);
        }
        return match ctx.settings.pools.first().cloned() {
            Some(pool) => Ok(Outcome::Forward(pool)),
            None => failed(request, ctx, FailureReason::NoRoute, 404),
        };
    };
    let decision = find(routes, &View::of(request, ctx), request, false);
    if let Decision::Route(taken) = decision {
        let is_internal = routes.get(&taken).internal;
        ctx.routed = Some(taken);
        if is_internal {
            return failed(request, ctx, FailureReason::NoRoute, 404);
        }
        if let Some(rejection) = admit_to_route(request, ctx) {
            return rejected(request, ctx, &rejection);
        }
        return match refuse_long_body(request, ctx)? {
            Some(reply) => Ok(reply),
            None => enter(request, ctx),
        };
    }
    match refuse_long_body(request, ctx)? {
        Some(reply) => Ok(reply),
        None => no_route(request, ctx, &decision),
    }
}

/// Authenticates a request that its route admits, and executes the action of the route, unless the
/// credentials have to be verified first.
///
/// # Errors
/// If a reply cannot be made.
pub(super) fn enter<H: Headers>(request: &RequestView<H>, ctx: &mut Context) -> Result<Outcome> {
    match authenticate(request, ctx) {
        Verdict::Accepted => take(request, ctx),
        Verdict::Refused(rejection) => rejected(request, ctx, &rejection),
        Verdict::Unverified(unverified) => Ok(Outcome::Authenticate(unverified)),
    }
}

/// Executes the action of a request's route after its credentials were verified, or rejects the request.
///
/// # Errors
/// If a reply cannot be made.
pub(super) fn resume<H: Headers>(
    request: &RequestView<H>,
    ctx: &mut Context,
    rejection: Option<&Rejection>,
) -> Result<Outcome> {
    match rejection {
        None => take(request, ctx),
        Some(rejection) => rejected(request, ctx, rejection),
    }
}

/// Answers a request that no route takes.
///
/// # Errors
/// If a reply cannot be made.
pub(super) fn no_route<H: Headers>(
    request: &RequestView<H>,
    ctx: &mut Context,
    decision: &Decision,
) -> Result<Outcome> {
    match decision {
        Decision::OtherMethods(allow) => {
            ctx.failure = Some(FailureReason::MethodNotAllowed);
            local_reply::method_not_allowed(request, ctx, allow).map(Outcome::reply)
        }
        Decision::Ambiguous => failed(request, ctx, FailureReason::BadRequest, 400),
        Decision::Route(_) | Decision::Nothing => failed(request, ctx, FailureReason::NoRoute, 404),
    }
}

/// Answers a request that access rules or limits reject.
///
/// # Errors
/// If a reply cannot be made.
pub(super) fn rejected<H: Headers>(
    request: &RequestView<H>,
    ctx: &mut Context,
    rejection: &Rejection,
) -> Result<Outcome> {
    ctx.failure = Some(FailureReason::from(rejection));
    local_reply::rejection(request, ctx, rejection).map(Outcome::reply)
}

/// Answers with the page of a failure.
///
/// # Errors
/// If the status is invalid.
pub(super) fn failed<H: Headers>(
    request: &RequestView<H>,
    ctx: &mut Context,
    reason: FailureReason,
    status: u16,
) -> Result<Outcome> {
    ctx.failure = Some(reason);
    local_reply::page(request, ctx, status).map(Outcome::reply)
}

/// Finds the route for the target of a view.
pub(super) fn find<H: Headers>(
    routes: &Routes,
    view: &View<H>,
    request: &RequestView<H>,
    is_rerouted: bool,
) -> Decision {
    let host = view.host();
    let socket = request.socket.filter(|_| routes.has_listeners());
    let asked = MatchInput {
        host: host.as_deref(),
        local: socket.and_then(|socket| socket.local_addr()?.as_inet().copied()),
        tls: request.tls.is_some(),
        is_rerouted,
        method: request.method,
        headers: view.headers,
        place: view.place,
        variable: &|variable, out| view.append(variable, out),
    };
    routes.decide(&asked, path(view.target.routed))
}

/// Path of a request target; `None` for `*`.
pub(super) fn path(target: &[u8]) -> Option<&[u8]> {
    match split_query(path_and_query(target)).0 {
        b"*" => None,
        b"" => Some(b"/"),
        path => Some(path),
    }
}

/// Executes the action of the request's route. Returns its outcome.
///
/// # Errors
/// If a reply cannot be made.
pub(super) fn take<H: Headers>(request: &RequestView<H>, ctx: &mut Context) -> Result<Outcome> {
    let settings = Arc::clone(&ctx.settings);
    let (Some(routes), Some(taken)) = (&settings.routes, &ctx.routed) else {
        return failed(request, ctx, FailureReason::NoRoute, 404);
    };
    let view = View::of(request, ctx);
    match &routes.get(taken).action {
        Action::Upstream {
            pool,
            rewrite,
            fastcgi: Some(settings),
            ..
        } => match file_path(normal_path(taken, &view), rewrite.as_ref(), &view) {
            Some(path) => Ok(Outcome::Script(ScriptPath {
                pool: Arc::clone(pool.pool(&view)),
                settings: Arc::clone(settings),
                path,
            })),
            None => local_reply::page(request, ctx, 400).map(Outcome::reply),
        },
        Action::Upstream { pool, rewrite, .. } => {
            let Ok(target) = upstream_target(taken, rewrite.as_ref(), &view) else {
                return local_reply::page(request, ctx, 400).map(Outcome::reply);
            };
            let pool = Arc::clone(pool.pool(&view));
            set_target(&mut ctx.routed, target);
            Ok(Outcome::Forward(pool))
        }
        Action::Files { files, rewrite } => {
            match file_request(files, normal_path(taken, &view), rewrite.as_ref(), &view) {
                Some(file) => Ok(Outcome::File(file)),
                None => local_reply::page(request, ctx, 400).map(Outcome::reply),
            }
        }
        Action::Reroute(to) => match target::requested(to, &view, view.query()) {
            Some(mut target) => {
                // The client's query may be empty behind the one of the new path.
                while target.ends_with(b"&") || target.ends_with(b"?") {
                    target.pop();
                }
                Ok(Outcome::Elsewhere(Elsewhere::Rerouted(target)))
            }
            None => local_reply::page(request, ctx, 400).map(Outcome::reply),
        },
        Action::Redirect { status, to } => {
            let location = target::location(to, &view);
            local_reply::redirect(request, ctx, *status, &location).map(Outcome::reply)
        }
        Action::Respond {
            status,
            body,
            media_type,
        } => {
            let body = respond_body(body, &view);
            local_reply::respond(request, ctx, *status, media_type, body).map(Outcome::reply)
        }
    }
}

fn respond_body<H: Headers>(body: &Body, view: &View<H>) -> Bytes {
    match body {
        Body::Fixed(body) => body.clone(),
        Body::Template(template) => Bytes::from(view.expand(template)),
    }
}

/// Error of a rewritten target that is invalid.
struct BadTarget;

/// Target for the upstream, if it differs from the client's.
fn upstream_target<H: Headers>(
    taken: &RouteMatch,
    rewrite: Option<&Rewrite>,
    view: &View<H>,
) -> std::result::Result<Option<Vec<u8>>, BadTarget> {
    let query = view.query();
    match (rewrite, &taken.target) {
        (Some(rewrite), _) => {
            let target = target::rewritten(rewrite, view, normal_path(taken, view), query);
            target.map(Some).ok_or(BadTarget)
        }
        (None, Some(path)) => {
            let mut target = path.clone();
            target::append_query(&mut target, query);
            Ok(Some(target))
        }
        (None, None) => Ok(None),
    }
}

/// Path that was matched.
fn normal_path<'r, H>(taken: &'r RouteMatch, view: &View<'r, H>) -> &'r [u8] {
    taken.path().or(path(view.target.routed)).unwrap_or(b"/")
}

fn set_target(routed: &mut Option<RouteMatch>, target: Option<Vec<u8>>) {
    if let Some(routed) = routed {
        routed.target = target;
    }
}

/// Rejects a request that announces a body above the maximum size. Returns `None` for all other
/// requests. The body is not read.
///
/// # Errors
/// Never: 413 is a valid status.
fn refuse_long_body<H: Headers>(
    request: &RequestView<H>,
    ctx: &mut Context,
) -> Result<Option<Outcome>> {
    let length = request.headers.first("content-length");
    let length = length.and_then(|length| std::str::from_utf8(length).ok()?.parse::<u64>().ok());
    if length.is_none_or(|length| length <= ctx.body.max_bytes) {
        return Ok(None);
    }
    ctx.failure = Some(FailureReason::BodyTooLarge);
    let mut reply = local_reply::page(request, ctx, 413)?;
    reply.request_body = local_reply::RequestBody::Leave;
    Ok(Some(Outcome::reply(reply)))
}
