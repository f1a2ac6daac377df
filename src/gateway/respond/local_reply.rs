//! Local replies: responses of the gateway itself, as values: pages, redirects, answers to IP
//! queries.
//!
//! Nothing is sent here. A decision returns a [`Reply`], and each engine has one function that sends
//! it, so that a new decision needs no new code in any engine.

use bytes::Bytes;
use http::{StatusCode, header};
use pingora::Result;
use pingora::http::ResponseHeader;

use super::{hsts, https_redirect};
use crate::gateway::access::Rejection;
use crate::gateway::context::{Context, HeadValues};
use crate::gateway::error_page;
use crate::gateway::request::request_view::RequestView;
use crate::gateway::request::variables::{is_query_target, path_and_query, split_query};
use crate::gateway::route::Replaced;
use crate::geo::Database;
use crate::proto::headers::{EditResponse, Headers, Name, is_expectation};
use crate::query::{self, Answer, QueryError};

/// Maximum number of bytes of a rejected request's body that are read to keep its connection.
const REJECTED_BODY: u64 = 64 << 10;

/// Response of the gateway itself.
#[derive(Debug)]
pub struct Reply {
    /// Head. The engine adds framing and the fields of the connection.
    pub header: ResponseHeader,
    /// Body. It is not sent in a response to `HEAD`.
    pub body: Bytes,
    /// Treatment of the request's body before the reply is sent.
    pub request_body: RequestBody,
    /// `true` for a page that says nothing but its status. A page of the route may take its place.
    pub is_page: bool,
}

/// Treatment of a request's body by a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestBody {
    /// The body is read and dropped, up to this many bytes. If it is longer, the rest stays unread,
    /// and the connection is closed after the reply.
    Read(u64),
    /// The body stays unread. If there is one, the connection is closed after the reply.
    Leave,
}

/// Creates the page of `status`.
///
/// # Errors
/// If the status is invalid.
pub fn page<H: Headers>(request: &RequestView<H>, ctx: &Context, status: u16) -> Result<Reply> {
    let (header, body) = page_parts(ctx, status)?;
    Ok(Reply {
        is_page: true,
        ..complete(request, ctx, header, body)
    })
}

/// Creates the page of a failed request, whose body is not read any further.
///
/// # Errors
/// If the status is invalid.
pub fn error_page<H: Headers>(
    request: &RequestView<H>,
    ctx: &Context,
    status: u16,
) -> Result<Reply> {
    let reply = page(request, ctx, status)?;
    Ok(Reply {
        request_body: RequestBody::Leave,
        ..reply
    })
}

/// Creates the page of status 405, with the list of allowed methods.
///
/// # Errors
/// If the list is no valid header value.
pub fn method_not_allowed<H: Headers>(
    request: &RequestView<H>,
    ctx: &Context,
    allow: &str,
) -> Result<Reply> {
    let (mut header, body) = page_parts(ctx, 405)?;
    header.insert_header("Allow", allow)?;
    Ok(Reply {
        is_page: true,
        ..complete(request, ctx, header, body)
    })
}

/// Creates a redirect to `location`.
///
/// # Errors
/// If the location is no valid header value.
pub fn redirect<H: Headers>(
    request: &RequestView<H>,
    ctx: &Context,
    status: u16,
    location: &[u8],
) -> Result<Reply> {
    let (mut header, body) = page_parts(ctx, status)?;
    header.insert_header("Location", location)?;
    Ok(complete(request, ctx, header, body))
}

/// Creates a redirect to the same target over TLS, at `port`.
///
/// # Errors
/// If the location is no valid header value.
pub fn redirect_to_https<H: Headers>(
    request: &RequestView<H>,
    ctx: &Context,
    port: u16,
) -> Result<Reply> {
    let host = request.headers.first("host").unwrap_or_default();
    match https_redirect::location(host, request.target, port) {
        Some(location) => redirect(request, ctx, 308, &location),
        None => page(request, ctx, 400),
    }
}

/// Creates a reply with a body from the configuration.
///
/// # Errors
/// If the status or the media type is invalid.
pub fn respond<H: Headers>(
    request: &RequestView<H>,
    ctx: &Context,
    status: u16,
    media_type: &str,
    body: Bytes,
) -> Result<Reply> {
    let is_page = body.is_empty();
    let own = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    // An error in place of another answer is the answer.
    let is_error = is_page && status >= 400;
    let status = if is_error { own } else { ctx.final_status(own) };
    let mut header = ResponseHeader::build(status, Some(4))?;
    if !matches!(status.as_u16(), 204 | 304) {
        let of_upstream = ctx.replaced().and_then(Replaced::media_type);
        let media_type = of_upstream.unwrap_or(media_type.as_bytes());
        header.insert_header(header::CONTENT_TYPE, media_type)?;
        header.insert_header(header::CONTENT_LENGTH, body.len())?;
    }
    Ok(Reply {
        is_page,
        ..complete(request, ctx, header, body)
    })
}

/// Creates the reply to a request that access rules or limits reject. The connection is kept if the
/// request's body is short: a client above its rate limit should not have to reconnect after every
/// 429.
///
/// # Errors
/// If a line of the rejection is no valid header line.
pub fn rejection<H: Headers>(
    request: &RequestView<H>,
    ctx: &Context,
    rejection: &Rejection,
) -> Result<Reply> {
    let expect = request.headers.first("expect");
    let waits = expect.is_some_and(is_expectation);
    let mut reply = if is_query_target(request.target) {
        let answer = Answer::from(rejection.to_query());
        query_reply(request, ctx, &answer)?
    } else {
        let body = ctx.settings.error_pages.page(rejection.status());
        let header = page_header(rejection.status(), &body)?;
        Reply {
            is_page: true,
            ..complete(request, ctx, header, body)
        }
    };
    for (name, value) in rejection.lines() {
        reply.header.insert_header(name, value)?;
    }
    reply.request_body = if waits || matches!(rejection, Rejection::Overloaded) {
        RequestBody::Leave
    } else {
        RequestBody::Read(REJECTED_BODY)
    };
    Ok(reply)
}

/// Creates the answer to an IP query. `body` is `None` if the request's body is longer than
/// [`query::BODY_LIMIT`].
///
/// # Errors
/// Never: the header lines of the API are valid.
pub fn answer_query<H: Headers>(
    request: &RequestView<H>,
    ctx: &Context,
    body: Option<&[u8]>,
    database: &Database,
) -> Result<Reply> {
    let (_, query) = split_query(path_and_query(request.target));
    let answer = match body {
        Some(body) => {
            let request = query::Request {
                method: request.method.as_str(),
                query: query.unwrap_or_default(),
                body,
            };
            query::answer(&request, database)
        }
        None => QueryError::BodyTooLarge.into(),
    };
    query_reply(request, ctx, &answer)
}

/// Adds the request's id for the client, then applies the header rules of the request's route.
pub fn change_headers<H: Headers>(
    response: &mut impl EditResponse,
    request: &RequestView<H>,
    ctx: &Context,
) {
    if let Some(replaced) = ctx.replaced() {
        add_lines(response, replaced);
    }
    ctx.identity.tell_client(response, &ctx.settings.ids);
    let route = ctx.route();
    if let Some(route) = route.filter(|route| !route.response_headers.is_empty()) {
        let values = HeadValues::of(request, ctx);
        route.response_headers.change(response, &values);
    }
}

/// Adds the lines of a response that the answer replaces. Of those that an upstream meant for another
/// answer, an error gets the cookies alone.
fn add_lines(response: &mut impl EditResponse, replaced: &Replaced) {
    let is_other = !replaced.is_error && response.status().as_u16() >= 400;
    for (name, value) in replaced.lines.iter() {
        let is_cookie = name.eq_ignore_ascii_case("set-cookie");
        if is_cookie || !is_other && !response.has(name) {
            response.append(
                Name::Spelled(&Bytes::copy_from_slice(name.as_bytes())),
                value,
            );
        }
    }
}

/// Completes a reply with the route's header rules and HSTS. The request's body is read up to its
/// maximum size.
fn complete<H: Headers>(
    request: &RequestView<H>,
    ctx: &Context,
    mut header: ResponseHeader,
    body: Bytes,
) -> Reply {
    change_headers(&mut header, request, ctx);
    hsts::add(request.tls.is_some(), &ctx.settings, &mut header);
    Reply {
        header,
        body,
        request_body: RequestBody::Read(ctx.body.max_bytes),
        is_page: false,
    }
}

fn page_parts(ctx: &Context, status: u16) -> Result<(ResponseHeader, Bytes)> {
    let page = ctx.settings.error_pages.page(status);
    let mut header = page_header(status, &page)?;
    if status == 405 {
        header.insert_header(header::ALLOW, ctx.settings.client.methods.allow())?;
    }
    if ctx.attempts.is_full() {
        // Most requests end within a second, and make room for others.
        header.insert_header(header::RETRY_AFTER, "1")?;
    }
    Ok((header, page))
}

fn page_header(status: u16, page: &Bytes) -> Result<ResponseHeader> {
    let mut header = ResponseHeader::build(status, Some(4))?;
    header.insert_header(header::CONTENT_TYPE, error_page::CONTENT_TYPE)?;
    header.insert_header(header::CONTENT_LENGTH, page.len())?;
    Ok(header)
}

fn query_reply<H: Headers>(
    request: &RequestView<H>,
    ctx: &Context,
    answer: &Answer,
) -> Result<Reply> {
    let mut header = ResponseHeader::build(answer.status, Some(4))?;
    if answer.names_methods() {
        header.insert_header("Allow", query::METHODS)?;
    }
    if answer.status != 204 {
        header.insert_header(header::CONTENT_TYPE, query::CONTENT_TYPE)?;
        header.insert_header(header::CONTENT_LENGTH, answer.body.len())?;
    }
    hsts::add(request.tls.is_some(), &ctx.settings, &mut header);
    Ok(Reply {
        header,
        body: Bytes::copy_from_slice(&answer.body),
        request_body: RequestBody::Leave,
        is_page: false,
    })
}
