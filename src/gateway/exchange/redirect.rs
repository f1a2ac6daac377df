//! Internal redirects: the route of a request is chosen anew, by another path or by its name.
//!
//! A new route applies its own access rules and limits. Rate limits count a request once: those of
//! the first route that has some. The method stays the client's.

use std::sync::Arc;

use pingora::Result;

use super::Outcome;
use super::routing::{enter, failed, find, no_route, path, rejected, take};
use crate::config::model::{Fallback, Files};
use crate::gateway::context::Context;
use crate::gateway::exchange::admission::admit_again;
use crate::gateway::failure::reason::FailureReason;
use crate::gateway::request::request_view::RequestView;
use crate::gateway::request::variables::{RoutedTarget, View};
use crate::gateway::respond::files::{Elsewhere, FileRequest, Lookup};
use crate::gateway::respond::local_reply;
use crate::gateway::route::{Decision, InternalRedirect, Routes, target};
use crate::proto::headers::Headers;

/// Maximum number of internal redirects of a request; more are a circle.
const MAX_REDIRECTS: u8 = 10;

/// Decides on a request that continues elsewhere.
///
/// # Errors
/// If a reply cannot be made.
pub fn follow<H: Headers>(
    request: &RequestView<H>,
    ctx: &mut Context,
    elsewhere: Elsewhere,
) -> Result<Outcome> {
    let before = ctx.routed.as_ref();
    let redirect = before.and_then(|routed| routed.redirect.as_ref());
    let count = redirect.map_or(0, |redirect| redirect.count) + 1;
    if count > MAX_REDIRECTS {
        log::error!(
            "{MAX_REDIRECTS} internal redirects of one request, the last one in route {:?}: a circle",
            ctx.route().map_or("", |route| &route.name)
        );
        return failed(request, ctx, FailureReason::InternalError, 500);
    }
    let settings = Arc::clone(&ctx.settings);
    let Some(routes) = &settings.routes else {
        return failed(request, ctx, FailureReason::NoRoute, 404);
    };
    let view = View::of(request, ctx);
    let Some(target) = target_of(&elsewhere, &view) else {
        return local_reply::page(request, ctx, 400).map(Outcome::reply);
    };
    let is_same_target = target == view.target.routed;
    let mut routed = match decide(routes, &elsewhere, &target, &view, request) {
        Decision::Route(routed) => routed,
        other => return no_route(request, ctx, &other),
    };
    let is_same_route = before.is_some_and(|before| before.is_same_route(&routed));
    // The upstream of the new route gets the new path, not the client's.
    routed.target = routed.target.or(path(&target).map(<[u8]>::to_vec));
    routed.redirect = Some(Box::new(InternalRedirect { target, count }));
    ctx.routed = Some(routed);
    if !is_same_route {
        return match admit_again(request, ctx) {
            Some(rejection) => rejected(request, ctx, &rejection),
            None => enter(request, ctx),
        };
    }
    match elsewhere {
        Elsewhere::Index { files, opened, .. } => Ok(Outcome::File(FileRequest {
            files,
            lookup: Lookup::Opened(opened),
        })),
        _ if is_same_target => failed(request, ctx, FailureReason::NoRoute, 404),
        _ => take(request, ctx),
    }
}

/// Returns the target that a request continues with; `None` if it is invalid.
fn target_of<H: Headers>(elsewhere: &Elsewhere, view: &View<H>) -> Option<Vec<u8>> {
    match elsewhere {
        Elsewhere::Index { target, .. } | Elsewhere::Rerouted(target) => Some(target.clone()),
        Elsewhere::Fallback(files) => match &files.fallback {
            Fallback::Path(to) => target::requested(to, view, None),
            Fallback::Route(_) | Fallback::Status(_) => Some(view.target.routed.to_vec()),
        },
    }
}

/// Returns the route for a target, or the one that a fallback names.
fn decide<H: Headers>(
    routes: &Routes,
    elsewhere: &Elsewhere,
    target: &[u8],
    view: &View<H>,
    request: &RequestView<H>,
) -> Decision {
    if let Elsewhere::Fallback(files) = elsewhere
        && let Files {
            fallback: Fallback::Route(name),
            ..
        } = &**files
    {
        let routed = routes.enter(name, path(target).unwrap_or(b"/"));
        return routed.map_or(Decision::Ambiguous, Decision::Route);
    }
    let view = View {
        target: RoutedTarget {
            routed: target,
            ..view.target
        },
        ..*view
    };
    let is_rerouted = matches!(elsewhere, Elsewhere::Rerouted(_));
    find(routes, &view, request, is_rerouted)
}
