//! Internal redirects: the route of a request is chosen anew, by another path or by its name.
//!
//! A new route applies its own access rules and limits. Rate limits count a request once: those of
//! the first route that has some. The method stays the client's.

use pingora::Result;

use super::Outcome;
use super::routing::{failed, find, path, take};
use crate::gateway::context::Context;
use crate::gateway::exchange::admission::admit_again;
use crate::gateway::failure::reason::FailureReason;
use crate::gateway::request::request_view::RequestView;
use crate::gateway::request::variables::{RoutedTarget, View};
use crate::gateway::respond::files::{Elsewhere, FileRequest, Paths};
use crate::gateway::respond::local_reply;
use crate::gateway::route::{Decision, InternalRedirect, RouteMatch};
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
    let redirect = ctx
        .routed
        .as_ref()
        .and_then(|routed| routed.redirect.as_ref());
    let count = redirect.map_or(0, |redirect| redirect.count) + 1;
    if count > MAX_REDIRECTS {
        log::error!(
            "{} internal redirects of one request, the last one in route {:?}: a circle",
            MAX_REDIRECTS,
            ctx.route().map_or("", |route| &route.name)
        );
        return failed(request, ctx, FailureReason::InternalError, 500);
    }
    let is_rerouted = matches!(elsewhere, Elsewhere::Rerouted(_));
    let view = View::of(request, ctx);
    let (target, name, index) = match elsewhere {
        Elsewhere::Index {
            target,
            files,
            opened,
        } => (target, None, Some((files, opened))),
        Elsewhere::Target(target) | Elsewhere::Rerouted(target) => (target, None, None),
        Elsewhere::Route(name) => (view.target.routed.to_vec(), Some(name), None),
    };
    let is_same_target = target == view.target.routed;
    let found = match name {
        Some(name) => enter(ctx, &name, &target),
        None => find(
            &View {
                target: RoutedTarget {
                    routed: &target,
                    ..view.target
                },
                ..view
            },
            request,
            ctx,
            is_rerouted,
        ),
    };
    let mut routed = match found {
        Some(Decision::Route(routed)) => routed,
        Some(Decision::OtherMethods(allow)) => {
            ctx.failure = Some(FailureReason::MethodNotAllowed);
            return local_reply::method_not_allowed(request, ctx, &allow).map(Outcome::reply);
        }
        Some(Decision::Ambiguous) => return failed(request, ctx, FailureReason::BadRequest, 400),
        Some(Decision::Nothing) | None => return failed(request, ctx, FailureReason::NoRoute, 404),
    };
    let before = ctx.routed.take();
    let is_same_route = before.is_some_and(|before| before.is_same_route(&routed));
    // The upstream of the new route gets the new path, not the client's.
    let sent = path(&target).map(<[u8]>::to_vec);
    routed.target = routed.target.or(sent);
    routed.redirect = Some(Box::new(InternalRedirect { target, count }));
    ctx.routed = Some(routed);
    if is_same_route {
        if let Some((files, opened)) = index {
            return Ok(Outcome::File(FileRequest {
                files,
                paths: Paths::First(Vec::new()),
                fallback: None,
                opened: Some(opened),
            }));
        }
        if is_same_target {
            return failed(request, ctx, FailureReason::NoRoute, 404);
        }
    } else if let Some(rejection) = admit_again(request, ctx) {
        ctx.failure = Some(FailureReason::from(&rejection));
        return local_reply::rejection(request, ctx, &rejection).map(Outcome::reply);
    }
    take(request, ctx)
}

fn enter(ctx: &Context, name: &str, target: &[u8]) -> Option<Decision> {
    let routes = ctx.settings.routes.as_ref()?;
    let routed: Option<RouteMatch> = routes.enter(name, path(target).unwrap_or(b"/"));
    Some(routed.map_or(Decision::Ambiguous, Decision::Route))
}
