//! Decision on a request by its route.

use std::sync::Arc;

use bytes::Bytes;
use pingora::Result;

use super::admission::admit_to_route;
use crate::config::model::{Fallback, Files, Part, RequestVariable, Template};
use crate::gateway::context::Context;
use crate::gateway::exchange::{Outcome, ScriptPath};
use crate::gateway::failure::reason::FailureReason;
use crate::gateway::request::request_view::RequestView;
use crate::gateway::request::variables::{View, path_and_query, split_query};
use crate::gateway::respond::files::{Elsewhere, FileRequest, Paths, Tried};
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
    let view = View::of(request, ctx);
    let decision = find_in(routes, &view, request, false);
    if let Decision::Route(taken) = decision {
        if routes.get(&taken).internal {
            return failed(request, ctx, FailureReason::NoRoute, 404);
        }
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

/// Finds the route for the target of a view. Returns `None` if there are no routes.
pub(super) fn find<H: Headers>(
    view: &View<H>,
    request: &RequestView<H>,
    ctx: &Context,
    is_rerouted: bool,
) -> Option<Decision> {
    let routes = ctx.settings.routes.as_ref()?;
    Some(find_in(routes, view, request, is_rerouted))
}

fn find_in<H: Headers>(
    routes: &Routes,
    view: &View<H>,
    request: &RequestView<H>,
    is_rerouted: bool,
) -> Decision {
    let host = view.host();
    let asked = MatchInput {
        host: host.as_deref(),
        local: request.local,
        tls: request.tls.is_some(),
        is_rerouted,
        method: request.method,
        headers: view.headers,
        place: view.place,
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
        Action::Files { files, rewrite } => {
            match file_request(files, taken, rewrite.as_ref(), &view) {
                Some(file) => Ok(Outcome::File(file)),
                None => local_reply::page(request, ctx, 400).map(Outcome::reply),
            }
        }
        Action::Reroute(rewrite) => {
            let (path, query) = split_query(path_and_query(view.target.routed));
            match target::rewritten(rewrite, &view, path, query) {
                Some(mut target) => {
                    // The client's query may be empty behind the one of the new path.
                    while target.ends_with(b"&") || target.ends_with(b"?") {
                        target.pop();
                    }
                    Ok(Outcome::Elsewhere(Elsewhere::Rerouted(target)))
                }
                None => local_reply::page(request, ctx, 400).map(Outcome::reply),
            }
        }
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
    let query = split_query(path_and_query(view.target.routed)).1;
    match (rewrite, &taken.target) {
        (Some(rewrite), _) => {
            let normal = taken.path().or(path(view.target.routed)).unwrap_or(b"/");
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

/// Path that was matched.
fn normal_path<'r, H>(taken: &'r RouteMatch, view: &View<'r, H>) -> &'r [u8] {
    taken.path().or(path(view.target.routed)).unwrap_or(b"/")
}

/// Request for a file; `None` if a path is invalid.
fn file_request<H: Headers>(
    files: &Arc<Files>,
    taken: &RouteMatch,
    rewrite: Option<&Rewrite>,
    view: &View<H>,
) -> Option<FileRequest> {
    let normal = normal_path(taken, view);
    let paths = match &files.tried {
        None => Paths::One(file_path(normal, rewrite, view)?),
        Some(templates) => {
            let tried = templates
                .iter()
                .map(|template| tried_path(template, rewrite, view));
            Paths::First(tried.collect::<Option<Vec<_>>>()?)
        }
    };
    let fallback = match &files.fallback {
        Fallback::Path(to) => {
            let whole = Rewrite {
                to: to.clone(),
                part: RewrittenPart::Path,
            };
            Some(target::rewritten(&whole, view, normal, None)?)
        }
        Fallback::Status(_) | Fallback::Route(_) => None,
    };
    Some(FileRequest {
        files: Arc::clone(files),
        paths,
        fallback,
        opened: None,
    })
}

/// Path to try; `None` if the rewritten one is invalid. A template that ends in a slash is a folder's.
fn tried_path<H: Headers>(
    template: &Template<RequestVariable>,
    rewrite: Option<&Rewrite>,
    view: &View<H>,
) -> Option<Tried> {
    let text = view.expand(template);
    let is_folder = match template.parts().last() {
        Some(Part::Text(end)) => end.ends_with('/'),
        Some(Part::Variable(_)) | None => false,
    };
    let text = match text.strip_suffix(b"/") {
        Some(b"") => b"/",
        Some(path) if is_folder => path,
        _ => &text[..],
    };
    let path = file_path(&normalized(text), rewrite, view)?;
    Some(if is_folder {
        Tried::Folder(path)
    } else {
        Tried::File(path)
    })
}

/// Returns a decoded path without empty segments and dots.
fn normalized(path: &[u8]) -> Vec<u8> {
    let escaped = percent_encoding::percent_encode(path, percent_encoding::NON_ALPHANUMERIC);
    let escaped = escaped.to_string().replace("%2F", "/");
    query::normalize(escaped.as_bytes()).into_owned()
}

/// Path of the file for a path of requests; `None` if the rewritten one is invalid.
fn file_path<H: Headers>(
    normal: &[u8],
    rewrite: Option<&Rewrite>,
    view: &View<H>,
) -> Option<Vec<u8>> {
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
