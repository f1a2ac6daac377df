//! Answers in place of responses: error pages, and what `X-Accel-Redirect` of an upstream names.
//!
//! A response of an upstream can be replaced as long as nothing of it was sent. The answer is chosen by
//! an [internal redirect](super::redirect).

use http::StatusCode;

use super::edit::change_cookies;
use super::redirect::MAX_REDIRECTS;
use crate::config::model::{ErrorSource, ErrorStatus};
use crate::gateway::context::Context;
use crate::gateway::request::request_view::RequestView;
use crate::gateway::request::variables::View;
use crate::gateway::respond::local_reply::{Reply, RequestBody};
use crate::gateway::route::{Action, Replaced, Replacement, Source, target};
use crate::proto::h1::response_head::ResponseHead;
use crate::proto::h1::rewrite::Rewrite;
use crate::proto::h1::stored_head::StoredHead;
use crate::proto::headers::LineBuffer;

/// Header by which an upstream names the path whose answer the client gets.
const X_ACCEL_REDIRECT: &str = "x-accel-redirect";

/// Headers that the client gets from a response with that header.
const PASSED: [&str; 5] = [
    "cache-control",
    "content-disposition",
    "content-type",
    "expires",
    "set-cookie",
];

/// Headers of an error of the gateway that its page has, too.
const OF_ERROR: [&str; 5] = [
    "allow",
    "ratelimit",
    "ratelimit-policy",
    "retry-after",
    "www-authenticate",
];

/// Returns the answer that takes the place of an upstream's response, if there is one. `has_body` is
/// `true` if the request's body can be sent again.
pub fn of_response(
    response: &ResponseHead,
    request: &RequestView<StoredHead>,
    ctx: &Context,
    has_body: bool,
) -> Option<Box<Replacement>> {
    if ctx.attempts.pool()?.may_redirect()
        && let Some(named) = first(response, X_ACCEL_REDIRECT)
    {
        let source = accelerated(named, ctx, has_body);
        let mut sent = Rewrite::new(response.status, response.lines, LineBuffer::default());
        change_cookies(&mut sent, request, ctx);
        let lines = lines(&sent, &PASSED);
        return Some(Box::new(Replacement {
            source,
            replaced: Replaced {
                status: None,
                lines,
                is_error: false,
            },
            read_body: ctx.body.max_bytes,
        }));
    }
    if !ctx.route()?.errors.intercept {
        return None;
    }
    let mut page = of_status(response.status.as_u16(), request, ctx, has_body)?;
    if response.status == StatusCode::UNAUTHORIZED {
        let sent = Rewrite::new(response.status, response.lines, LineBuffer::default());
        page.replaced.lines = lines(&sent, &["www-authenticate"]);
    }
    Some(page)
}

/// Returns the error page that takes the place of a reply of the gateway's own, if there is one.
pub fn of_reply(
    reply: &Reply,
    request: &RequestView<StoredHead>,
    ctx: &Context,
    has_body: bool,
) -> Option<Box<Replacement>> {
    if !reply.is_page {
        return None;
    }
    let status = reply.header.status;
    let mut page = of_status(status.as_u16(), request, ctx, has_body)?;
    if let RequestBody::Read(limit) = reply.request_body {
        page.read_body = limit;
    }
    if page.replaced.status == Some(status) {
        for name in OF_ERROR {
            for value in reply.header.headers.get_all(name) {
                page.replaced.lines.push(name, value.as_bytes());
            }
        }
    }
    Some(page)
}

/// Returns the error page of a status, if the request's route has one. The answer to an error has none.
pub fn of_status(
    status: u16,
    request: &RequestView<StoredHead>,
    ctx: &Context,
    has_body: bool,
) -> Option<Box<Replacement>> {
    let redirect = ctx.routed.as_ref()?.redirect.as_ref();
    if redirect.is_some_and(|redirect| redirect.count >= MAX_REDIRECTS)
        || ctx.replaced().is_some_and(|replaced| replaced.is_error)
    {
        return None;
    }
    let view = View::of(request, ctx);
    let (source, answer) = match &ctx.route()?.errors.page(status)?.source {
        // The error itself is the answer where the path of its page is none.
        ErrorSource::Path { to, status } => {
            (Source::Target(target::requested(to, &view, None)?), *status)
        }
        ErrorSource::Route { name, .. } if !has_body && leads_to_upstream(name, ctx) => {
            return None;
        }
        ErrorSource::Route { name, status } => (Source::Route(name.clone()), *status),
        ErrorSource::Redirect { to, status } => {
            let location = target::location(to, &view);
            let status = *status;
            (Source::Location { status, location }, ErrorStatus::OfAnswer)
        }
    };
    let answer = match answer {
        ErrorStatus::OfError => Some(status),
        ErrorStatus::OfAnswer => None,
        ErrorStatus::Fixed(status) => Some(status),
    };
    Some(Box::new(Replacement {
        source,
        replaced: Replaced {
            status: answer.and_then(|status| StatusCode::from_u16(status).ok()),
            lines: LineBuffer::default(),
            is_error: true,
        },
        // The client may wait for the answer before it sends more.
        read_body: 0,
    }))
}

/// Returns the place that an upstream names: a path, perhaps with a query, or `@` and the name of a
/// route that has nothing but its name.
fn accelerated(named: &[u8], ctx: &Context, has_body: bool) -> Source {
    let routes = ctx.settings.routes.as_ref();
    if let Some(name) = named.strip_prefix(b"@") {
        let name = std::str::from_utf8(name).ok();
        let by_name = name
            .filter(|name| routes.is_some_and(|routes| routes.is_by_name(name)))
            .filter(|name| has_body || !leads_to_upstream(name, ctx));
        return by_name.map_or(Source::Nowhere, |name| Source::Route(name.to_owned()));
    }
    target::named(named).map_or(Source::Nowhere, Source::Target)
}

fn leads_to_upstream(route: &str, ctx: &Context) -> bool {
    let routes = ctx.settings.routes.as_ref();
    let route = routes.and_then(|routes| routes.by_name(route));
    route.is_some_and(|route| matches!(route.action, Action::Upstream { .. }))
}

fn first<'h>(response: &'h ResponseHead, name: &str) -> Option<&'h [u8]> {
    let mut lines = response.lines.iter();
    let line = lines.find(|line| line.name.eq_ignore_ascii_case(name))?;
    Some(line.value)
}

fn lines(sent: &Rewrite<StatusCode>, names: &[&str]) -> LineBuffer {
    let mut found = LineBuffer::default();
    sent.each(|name, value| {
        if names.iter().any(|known| name.eq_ignore_ascii_case(known)) {
            found.push(name, value);
        }
    });
    found
}
