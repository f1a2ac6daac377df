//! Decision on a request by its route.

use std::sync::Arc;

use bytes::Bytes;
use pingora::Result;

use super::admission::admit_to_route;
use crate::gateway::context::Context;
use crate::gateway::exchange::{Outcome, ScriptPath};
use crate::gateway::failure::reason::FailureReason;
use crate::gateway::request::request_view::RequestView;
use crate::gateway::request::variables::{View, path_and_query, split_query};
use crate::gateway::respond::files::FileRequest;
use crate::gateway::respond::local_reply;
use crate::gateway::route::condition::MatchInput;
use crate::gateway::route::{
    Action, Body, Decision, Rewrite, RewrittenPart, RouteMatch, Routes, target,
};
use crate::proto::headers::Headers;
use crate::query;

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
    let decision = find(request, ctx, routes);
    if let Decision::Route(taken) = decision {
        ctx.routed = Some(taken);
        if let Some(rejection) = admit_to_route(request, ctx) {
            ctx.failure = Some(FailureReason::from(&rejection));
            return local_reply::rejection(request, ctx, &rejection).map(Outcome::reply);
        }
        return match refuse_long_body(request, ctx)? {
            Some(reply) => Ok(reply),
            None => take(request, ctx),
        };
    }
    if let Some(reply) = refuse_long_body(request, ctx)? {
        return Ok(reply);
    }
    match decision {
        Decision::OtherMethods(allow) => {
            ctx.failure = Some(FailureReason::MethodNotAllowed);
            local_reply::method_not_allowed(request, ctx, &allow).map(Outcome::reply)
        }
        Decision::Ambiguous => failed(request, ctx, FailureReason::BadRequest, 400),
        Decision::Route(_) | Decision::Nothing => failed(request, ctx, FailureReason::NoRoute, 404),
    }
}

fn failed<H: Headers>(
    request: &RequestView<H>,
    ctx: &mut Context,
    reason: FailureReason,
    status: u16,
) -> Result<Outcome> {
    ctx.failure = Some(reason);
    local_reply::page(request, ctx, status).map(Outcome::reply)
}

fn find<H: Headers>(request: &RequestView<H>, ctx: &Context, routes: &Routes) -> Decision {
    let view = View::of(request, ctx);
    let host = view.host();
    let asked = MatchInput {
        host: host.as_deref(),
        local: request.local,
        tls: request.tls.is_some(),
        method: request.method,
        headers: view.headers,
        place: view.place,
    };
    routes.decide(&asked, path(view.target))
}

/// Path of a request target; `None` for `*`.
fn path(target: &[u8]) -> Option<&[u8]> {
    match split_query(path_and_query(target)).0 {
        b"*" => None,
        b"" => Some(b"/"),
        path => Some(path),
    }
}

/// Executes the action of the request's route. Returns its outcome.
fn take<H: Headers>(request: &RequestView<H>, ctx: &mut Context) -> Result<Outcome> {
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
        } => match file_path(taken, rewrite.as_ref(), &view) {
            Some(path) => Ok(Outcome::Script(ScriptPath {
                pool: Arc::clone(pool),
                settings: Arc::clone(settings),
                path,
            })),
            None => local_reply::page(request, ctx, 400).map(Outcome::reply),
        },
        Action::Upstream { pool, rewrite, .. } => {
            let Ok(target) = upstream_target(taken, rewrite.as_ref(), &view) else {
                return local_reply::page(request, ctx, 400).map(Outcome::reply);
            };
            set_target(&mut ctx.routed, target);
            Ok(Outcome::Forward(Arc::clone(pool)))
        }
        Action::Files { files, rewrite } => match file_path(taken, rewrite.as_ref(), &view) {
            Some(path) => Ok(Outcome::File(FileRequest {
                files: Arc::clone(files),
                path,
            })),
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
            let body = match body {
                Body::Fixed(body) => body.clone(),
                Body::Template(template) => Bytes::from(view.expand(template)),
            };
            local_reply::respond(request, ctx, *status, media_type, body).map(Outcome::reply)
        }
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
    let query = split_query(path_and_query(view.target)).1;
    match (rewrite, &taken.target) {
        (Some(rewrite), _) => {
            let normal = taken.path().or(path(view.target)).unwrap_or(b"/");
            let target = target::rewritten(rewrite, view, normal, query);
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

/// Path of the file that is asked for; `None` if the rewritten one is invalid.
fn file_path<H: Headers>(
    taken: &RouteMatch,
    rewrite: Option<&Rewrite>,
    view: &View<H>,
) -> Option<Vec<u8>> {
    let normal = taken.path().or(path(view.target)).unwrap_or(b"/");
    let Some(rewrite) = rewrite else {
        return Some(normal.to_vec());
    };
    let named = target::rewritten(rewrite, view, normal, None)?;
    let named = query::normalize(split_query(&named).0);
    // The prefix itself names a folder without the trailing slash, whatever it is replaced by.
    if rewrite.part == RewrittenPart::Segments(normal.len()) && !normal.ends_with(b"/") {
        let named = &named[..];
        return Some(named.strip_suffix(b"/").unwrap_or(named).to_vec());
    }
    Some(named.into_owned())
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
