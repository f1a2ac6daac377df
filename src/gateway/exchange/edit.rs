//! Changes of the heads that are passed on, the same in every engine.

use pingora::Result;

use super::peer_is_trusted;
use super::rewrite_cookies::rewrite_cookies;
use super::rewrite_location::rewrite_location;
use crate::gateway::compression;
use crate::gateway::context::Context;
use crate::gateway::request::geo_headers;
use crate::gateway::request::request_view::RequestView;
use crate::gateway::request::variables::View;
use crate::gateway::respond::{hsts, local_reply};
use crate::gateway::upstream::Pool;
use crate::proto::headers::{EditHeaders, EditResponse, Headers, Name};

/// Beginning of the names by which an upstream tells the gateway what to do.
const ACCEL: &str = "x-accel-";

/// Changes the headers of a request to those that its upstream gets.
pub fn change_request<H: Headers>(
    sent: &mut impl EditHeaders,
    request: &RequestView<H>,
    ctx: &Context,
) {
    // What removes lines comes first: then there are fewer to look at.
    if let Some(origin) = &ctx.origin {
        geo_headers::remove(sent, origin, &ctx.settings.location_headers);
    }
    ctx.identity.tell_upstream(sent, &ctx.settings.ids);
    if let Some(origin) = &ctx.origin {
        geo_headers::append(sent, request, origin, ctx.place_lines());
    }
    let route = ctx.route();
    if let Some(route) = route.filter(|route| !route.request_headers.is_empty()) {
        let view = View::of(request, ctx);
        route.request_headers.change_request(sent, &view);
    }
}

/// Returns `true` for a header that a client must not send to an upstream, because the gateway says it
/// itself or only a trusted proxy may.
pub fn is_kept_from_upstream(name: &str, ctx: &Context) -> bool {
    let is_trusted = peer_is_trusted(ctx);
    ctx.settings.location_headers.is_managed(name, is_trusted)
        || !is_trusted && ctx.settings.client_ip.untrusted_headers.contains(name)
}

/// Changes the headers of an upstream's response to those that the client gets, and begins to compress
/// the response if that is appropriate. Its framing is the engine's.
///
/// # Errors
/// If an encoder cannot be created.
pub fn change_response<H: Headers>(
    response: &mut impl EditResponse,
    request: &RequestView<H>,
    ctx: &mut Context,
) -> Result<()> {
    hsts::add(request.tls.is_some(), &ctx.settings, response);
    if response.status().is_informational() {
        return Ok(());
    }
    if ctx.attempts.pool().is_some_and(Pool::may_redirect) {
        // Those are for the gateway.
        response.remove_if(|name| {
            let start = name.get(..ACCEL.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(ACCEL))
        });
    }
    change_cookies(response, request, ctx);
    rewrite_location(response, request, ctx);
    local_reply::change_headers(response, request, ctx);
    if let Some(config) = ctx.compression() {
        ctx.encoder = compression::begin(config, request, response)?;
    }
    Ok(())
}

/// Changes the cookies that an upstream sets to those that the client gets, and adds the one that binds
/// the client to its peer.
pub fn change_cookies<H: Headers>(
    response: &mut impl EditResponse,
    request: &RequestView<H>,
    ctx: &Context,
) {
    rewrite_cookies(response, request, ctx);
    if let Some(cookie) = ctx.attempts.cookie(is_https(request, ctx)) {
        response.append(Name::Static("Set-Cookie"), cookie.as_bytes());
    }
}

/// Returns `true` if the client uses TLS, with us or with a trusted proxy.
pub fn is_https<H: Headers>(request: &RequestView<H>, ctx: &Context) -> bool {
    let origin = ctx.origin.as_ref();
    origin.is_some_and(|origin| geo_headers::proto(request, origin) == "https")
}
