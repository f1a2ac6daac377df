//! Internal redirects: the route of a request is chosen anew, by another path or by its name.
//!
//! A new route applies its own access rules and limits. Rate limits count a request once: those of
//! the first route that has some. The method stays the client's, but for a path whose answer replaces
//! another one.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use pingora::Result;

use super::Outcome;
use super::routing::{enter, failed, find, no_route, path, rejected, take};
use crate::config::model::Fallback;
use crate::gateway::context::Context;
use crate::gateway::exchange::admission::admit_again;
use crate::gateway::failure::reason::FailureReason;
use crate::gateway::request::request_view::RequestView;
use crate::gateway::request::variables::{RoutedTarget, View};
use crate::gateway::respond::files::{Elsewhere, FileRequest, Lookup};
use crate::gateway::respond::local_reply;
use crate::gateway::route::{
    Decision, InternalRedirect, Replacement, RouteMatch, Routes, Source, target,
};
use crate::proto::headers::Headers;

/// Maximum number of internal redirects of a request; more are a circle.
pub const MAX_REDIRECTS: u8 = 10;

/// Place where a request continues.
struct Next {
    /// Path and query.
    target: Vec<u8>,
    /// Name of the route; `None` for the one that the target has.
    route: Option<String>,
    /// `true` if no route of the first priority is meant.
    is_rerouted: bool,
}

/// Route that a request has anew, compared with the one before.
struct Entered {
    is_same_route: bool,
    is_same_target: bool,
}

/// Decides on a request that continues elsewhere.
///
/// # Errors
/// If a reply cannot be made.
pub fn follow<H: Headers>(
    request: &RequestView<H>,
    ctx: &mut Context,
    elsewhere: Elsewhere,
) -> Result<Outcome> {
    let Some(next) = next(&elsewhere, &View::of(request, ctx)) else {
        return local_reply::page(request, ctx, 400).map(Outcome::reply);
    };
    let entered = match choose_anew(request, ctx, next)? {
        ControlFlow::Continue(entered) => entered,
        ControlFlow::Break(outcome) => return Ok(outcome),
    };
    if !entered.is_same_route {
        return admitted(request, ctx);
    }
    match elsewhere {
        Elsewhere::Index { files, opened, .. } => Ok(Outcome::File(FileRequest {
            files,
            lookup: Lookup::Opened(opened),
        })),
        _ if entered.is_same_target => failed(request, ctx, FailureReason::NoRoute, 404),
        _ => take(request, ctx),
    }
}

/// Decides on a request whose response another answer replaces. It has a route.
///
/// # Errors
/// If a reply cannot be made.
pub fn replace<H: Headers>(
    request: &RequestView<H>,
    ctx: &mut Context,
    replacement: Replacement,
) -> Result<Outcome> {
    let Replacement {
        source,
        mut replaced,
        ..
    } = replacement;
    if let Some(before) = ctx.replaced() {
        replaced.keep_cookies_of(before);
    }
    let (is_error, is_own) = (replaced.is_error, replaced.status.is_none());
    if is_error && is_own {
        // The error is not the answer.
        ctx.failure = None;
    }
    let routed = View::of(request, ctx).target.routed.to_vec();
    if let Some(before) = &mut ctx.routed {
        let count = before.redirect.as_ref().map_or(0, |before| before.count);
        before.redirect = Some(Box::new(InternalRedirect {
            target: routed.clone(),
            count,
            replaced: Some(replaced),
        }));
    }
    let (target, route) = match source {
        Source::Target(target) => (target, None),
        Source::Route(name) => (routed, Some(name)),
        Source::Location { status, location } => {
            let redirect = local_reply::redirect(request, ctx, status, &location);
            return redirect.map(Outcome::reply);
        }
        Source::Nowhere => {
            return failed(request, ctx, FailureReason::UpstreamBadResponse, 404);
        }
    };
    let next = Next {
        target,
        route,
        is_rerouted: false,
    };
    if let ControlFlow::Break(outcome) = choose_anew(request, ctx, next)? {
        return Ok(outcome);
    }
    // The rules that have rejected a request apply to its page, too, even in the same route.
    let outcome = admitted(request, ctx)?;
    if is_error {
        // The time of the request may be over, which is why there is a page.
        let timeout = ctx.route().and_then(|route| route.limits.timeout);
        ctx.deadline = timeout.map(|timeout| Instant::now() + timeout);
    }
    Ok(outcome)
}

/// Applies the limits of the new route, and executes its action.
fn admitted<H: Headers>(request: &RequestView<H>, ctx: &mut Context) -> Result<Outcome> {
    match admit_again(request, ctx) {
        Some(rejection) => rejected(request, ctx, &rejection),
        None => enter(request, ctx),
    }
}

/// Gives a request its new route. Breaks with the answer if there is none.
fn choose_anew<H: Headers>(
    request: &RequestView<H>,
    ctx: &mut Context,
    next: Next,
) -> Result<ControlFlow<Outcome, Entered>> {
    let redirect = ctx.routed.as_ref();
    let redirect = redirect.and_then(|routed| routed.redirect.as_ref());
    let count = redirect.map_or(0, |redirect| redirect.count) + 1;
    if count > MAX_REDIRECTS {
        log::error!(
            "{MAX_REDIRECTS} internal redirects of one request, the last one in route {:?}: a circle",
            ctx.route().map_or("", |route| &route.name)
        );
        return failed(request, ctx, FailureReason::InternalError, 500).map(ControlFlow::Break);
    }
    let settings = Arc::clone(&ctx.settings);
    let Some(routes) = &settings.routes else {
        return failed(request, ctx, FailureReason::NoRoute, 404).map(ControlFlow::Break);
    };
    let view = View::of(request, ctx);
    let is_same_target = next.target == view.target.routed;
    let mut routed = match decide(routes, &next, &view, request) {
        Decision::Route(routed) => routed,
        other => return no_route(request, ctx, &other).map(ControlFlow::Break),
    };
    let before = ctx.routed.take();
    let is_same_route = before
        .as_ref()
        .is_some_and(|before| before.is_same_route(&routed));
    // The upstream of the new route gets the new path, not the client's.
    routed.target = routed.target.or(path(&next.target).map(<[u8]>::to_vec));
    routed.redirect = Some(Box::new(InternalRedirect {
        target: next.target,
        count,
        replaced: before.and_then(RouteMatch::into_replaced),
    }));
    ctx.routed = Some(routed);
    Ok(ControlFlow::Continue(Entered {
        is_same_route,
        is_same_target,
    }))
}

/// Returns where a request continues; `None` if the target is invalid.
fn next<H: Headers>(elsewhere: &Elsewhere, view: &View<H>) -> Option<Next> {
    let (target, route) = match elsewhere {
        Elsewhere::Index { target, .. } | Elsewhere::Rerouted(target) => (target.clone(), None),
        Elsewhere::Fallback(files) => match &files.fallback {
            Fallback::Path(to) => (target::requested(to, view, None)?, None),
            Fallback::Route(name) => (view.target.routed.to_vec(), Some(name.clone())),
            Fallback::Status(_) => (view.target.routed.to_vec(), None),
        },
    };
    Some(Next {
        target,
        route,
        is_rerouted: matches!(elsewhere, Elsewhere::Rerouted(_)),
    })
}

/// Returns the route for a target, or the one that is named.
fn decide<H: Headers>(
    routes: &Routes,
    next: &Next,
    view: &View<H>,
    request: &RequestView<H>,
) -> Decision {
    if let Some(name) = &next.route {
        let routed = routes.enter(name, path(&next.target).unwrap_or(b"/"));
        return routed.map_or(Decision::Ambiguous, Decision::Route);
    }
    let view = View {
        target: RoutedTarget {
            routed: &next.target,
            ..view.target
        },
        ..*view
    };
    find(routes, &view, request, next.is_rerouted)
}
