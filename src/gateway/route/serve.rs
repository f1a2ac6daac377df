//! Execution of the route of a request: proxying, a file, a redirect or a fixed response.

use std::sync::Arc;

use bytes::Bytes;
use http::header;
use pingora::Result;
use pingora_proxy::Session;

use super::admit::admit;
use super::condition::Asked;
use super::{Action, Body, Decision, Routed, Routes, target};
use crate::gateway::context::Context;
use crate::gateway::failure::too_large;
use crate::gateway::failure_reason::FailureReason;
use crate::gateway::variables::{View, path_and_query, split_query};
use crate::gateway::{files, own};
use crate::query;

/// Routes a request and responds to it locally if the route says so. Returns `true` if it has its
/// response; otherwise `ctx` has the upstream's pool.
pub async fn direct(session: &mut Session, ctx: &mut Context) -> Result<bool> {
    let Some(routes) = &ctx.settings.routes else {
        refuse_long_body(session, ctx)?;
        ctx.pool = ctx.settings.pools.first().cloned();
        if ctx.pool.is_none() {
            ctx.failure = Some(FailureReason::NoRoute);
            own::answer_with_page(session, ctx, 404).await?;
        }
        return Ok(ctx.pool.is_none());
    };
    match decide(session, ctx, routes) {
        Decision::Route(taken) => {
            ctx.routed = Some(taken);
            if let Some(refusal) = admit(session, ctx) {
                ctx.failure = Some(FailureReason::from(&refusal));
                own::refuse(session, ctx, &refusal).await?;
                return Ok(true);
            }
            refuse_long_body(session, ctx)?;
            take(session, ctx).await
        }
        Decision::OtherMethods(allow) => {
            refuse_long_body(session, ctx)?;
            ctx.failure = Some(FailureReason::MethodNotAllowed);
            own::answer_method_not_allowed(session, ctx, &allow).await?;
            Ok(true)
        }
        Decision::Nothing => {
            refuse_long_body(session, ctx)?;
            ctx.failure = Some(FailureReason::NoRoute);
            own::answer_with_page(session, ctx, 404).await?;
            Ok(true)
        }
        Decision::Ambiguous => {
            refuse_long_body(session, ctx)?;
            ctx.failure = Some(FailureReason::BadRequest);
            own::answer_with_page(session, ctx, 400).await?;
            Ok(true)
        }
    }
}

/// Rejects a request whose `Content-Length` exceeds the limit of the body size.
fn refuse_long_body(session: &Session, ctx: &Context) -> Result<()> {
    let length = session.get_header(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    match length {
        Some(length) if length > ctx.max_body_size => Err(too_large()),
        _ => Ok(()),
    }
}

fn decide(session: &Session, ctx: &Context, routes: &Routes) -> Decision {
    let view = View::of(session, ctx);
    let host = view.host();
    let asked = Asked {
        host: host.as_deref(),
        method: &session.req_header().method,
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

/// Executes the action of the request's route. Returns `true` if the request has its response.
async fn take(session: &mut Session, ctx: &mut Context) -> Result<bool> {
    let (Some(routes), Some(taken)) = (&ctx.settings.routes, &ctx.routed) else {
        return Ok(false);
    };
    let view = View::of(session, ctx);
    match &routes.get(taken).action {
        Action::Upstream { pool, rewrite, .. } => {
            let query = split_query(path_and_query(view.target)).1;
            let target = match (rewrite, &taken.target) {
                (Some(rewrite), _) => {
                    let normal = taken.path().or(path(view.target)).unwrap_or(b"/");
                    let target = target::rewritten(rewrite, &view, normal, query);
                    if target.is_none() {
                        own::answer_with_page(session, ctx, 400).await?;
                        return Ok(true);
                    }
                    target
                }
                (None, Some(path)) => {
                    let mut target = path.clone();
                    target::append_query(&mut target, query);
                    Some(target)
                }
                (None, None) => None,
            };
            ctx.pool = Some(Arc::clone(pool));
            set_target(&mut ctx.routed, target);
            Ok(false)
        }
        Action::Files { files, rewrite } => {
            let normal = taken.path().or(path(view.target)).unwrap_or(b"/");
            let named = match rewrite {
                Some(rewrite) => target::rewritten(rewrite, &view, normal, None),
                None => Some(normal.to_vec()),
            };
            let Some(named) = named else {
                own::answer_with_page(session, ctx, 400).await?;
                return Ok(true);
            };
            let named = match rewrite {
                // The prefix itself names a folder without the trailing slash, whatever it is
                // replaced by.
                Some(rewrite)
                    if rewrite.prefix == Some(normal.len()) && !normal.ends_with(b"/") =>
                {
                    let named = query::normalize(split_query(&named).0);
                    let named = &named[..];
                    named.strip_suffix(b"/").unwrap_or(named).to_vec()
                }
                Some(_) => query::normalize(split_query(&named).0).into_owned(),
                None => named,
            };
            files::serve(session, ctx, files, &named).await?;
            Ok(true)
        }
        Action::Redirect { status, to } => {
            let (status, location) = (*status, target::location(to, &view));
            own::redirect(session, ctx, status, &location).await?;
            Ok(true)
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
            own::respond(session, ctx, *status, media_type, body).await?;
            Ok(true)
        }
    }
}

fn set_target(routed: &mut Option<Routed>, target: Option<Vec<u8>>) {
    if let Some(routed) = routed {
        routed.target = target;
    }
}
