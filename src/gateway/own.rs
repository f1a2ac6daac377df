//! What the gateway answers itself to requests that the proxy has: queries, pages.

use bytes::Bytes;
use http::header;
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora_proxy::Session;

use super::context::Context;
use super::error_page;
use super::https;
use super::limit::Refusal;
use super::message::{Discard, linger, read_body, send};
use super::variables::View;
use crate::geo::Live;
use crate::query::{self, Answer, QueryError};

/// Answers an IP query through the same code as every other door.
pub async fn answer_query(session: &mut Session, ctx: &Context, live: &Live) -> Result<()> {
    let request = session.req_header();
    let method = request.method.clone();
    let query = request.uri.query().unwrap_or_default().to_owned();
    let (limits, mut body) = (&ctx.settings.client, Vec::new());
    let whole = match method {
        http::Method::POST => {
            read_body(session, limits, query::BODY_LIMIT as u64, &mut body).await?
        }
        // No other method's body means anything here.
        _ => read_body(session, limits, query::BODY_LIMIT as u64, &mut Discard).await?,
    };
    if !whole {
        session.set_keepalive(None);
    }
    let (header, body) = {
        // Only while the answer is copied: the client may take its time over it.
        let database = live.load();
        let answer = if whole {
            let request = query::Request {
                method: method.as_str(),
                query: query.as_bytes(),
                body: &body,
            };
            query::answer(&request, &database)
        } else {
            QueryError::BodyTooLarge.into()
        };
        (
            answer_header(&answer)?,
            Bytes::copy_from_slice(&answer.body),
        )
    };
    send(session, ctx, header, body).await?;
    if !whole {
        linger(session).await;
    }
    Ok(())
}

/// Sends a client to the same place over TLS.
pub async fn redirect_to_https(session: &mut Session, ctx: &Context, port: u16) -> Result<()> {
    let host = session.get_header_bytes(header::HOST);
    match https::location(host, session.req_header().raw_path(), port) {
        Some(location) => redirect(session, ctx, 308, &location).await,
        None => answer_with_page(session, ctx, 400).await,
    }
}

/// How much of a body is read to keep the connection of a request that is refused.
const REFUSED_BODY: u64 = 64 << 10;

/// Answers a request that is not served. Its connection is kept if its body is short: whoever
/// comes too often should not have to connect again for every time that he is told so.
pub async fn refuse(session: &mut Session, ctx: &Context, refusal: &Refusal) -> Result<()> {
    let expect = session.get_header(header::EXPECT).is_some();
    let wanted = !expect && !matches!(refusal, Refusal::Overloaded);
    let whole = session.as_downstream_mut().is_body_empty()
        || wanted && read_body(session, &ctx.settings.client, REFUSED_BODY, &mut Discard).await?;
    if !whole {
        session.set_keepalive(None);
    }
    let (mut header, body) = if query::is_query(session.req_header().uri.path().as_bytes()) {
        let answer = Answer::from(refusal.to_query());
        (
            answer_header(&answer)?,
            Bytes::from(answer.body.into_owned()),
        )
    } else {
        let page = ctx.settings.error_pages.page(refusal.status());
        let mut header = page_header(refusal.status(), &page)?;
        change_headers(&mut header, session, ctx)?;
        (header, page)
    };
    for (name, value) in refusal.lines() {
        header.insert_header(name, value)?;
    }
    send(session, ctx, header, body).await?;
    if !whole {
        linger(session).await;
    }
    Ok(())
}

/// Answers with a page after the whole request was read.
pub async fn answer_with_page(session: &mut Session, ctx: &Context, status: u16) -> Result<()> {
    let (header, page) = page(ctx, status)?;
    answer(session, ctx, header, page).await
}

/// Says which methods there are, as the list `allow`.
pub async fn answer_method_not_allowed(
    session: &mut Session,
    ctx: &Context,
    allow: &str,
) -> Result<()> {
    let (mut header, page) = page(ctx, 405)?;
    header.insert_header("Allow", allow)?;
    answer(session, ctx, header, page).await
}

/// Sends a client elsewhere.
pub async fn redirect(
    session: &mut Session,
    ctx: &Context,
    status: u16,
    location: &[u8],
) -> Result<()> {
    let (mut header, page) = page(ctx, status)?;
    header.insert_header("Location", location)?;
    answer(session, ctx, header, page).await
}

/// Answers with a body that the configuration has.
pub async fn respond(
    session: &mut Session,
    ctx: &Context,
    status: u16,
    media_type: &str,
    body: Bytes,
) -> Result<()> {
    let mut header = ResponseHeader::build(status, Some(4))?;
    if !matches!(status, 204 | 304) {
        header.insert_header(header::CONTENT_TYPE, media_type)?;
        header.insert_header(header::CONTENT_LENGTH, body.len())?;
    }
    answer(session, ctx, header, body).await
}

/// Sends a page.
pub async fn send_page(session: &mut Session, ctx: &Context, status: u16) -> Result<()> {
    let (mut header, page) = page(ctx, status)?;
    change_headers(&mut header, session, ctx)?;
    send(session, ctx, header, page).await
}

/// Changes the headers of a response as the request's route has it, after the client was told the
/// request's id.
pub fn change_headers(header: &mut ResponseHeader, session: &Session, ctx: &Context) -> Result<()> {
    ctx.identity.tell_client(header, &ctx.settings)?;
    let Some(route) = ctx
        .route()
        .filter(|route| !route.response_headers.is_empty())
    else {
        return Ok(());
    };
    let view = View::of(session, ctx);
    route.response_headers.change_response(header, &view)
}

/// Answers after the whole request was read. Of one that is too long the rest is left, and the
/// connection with it.
async fn answer(
    session: &mut Session,
    ctx: &Context,
    mut header: ResponseHeader,
    body: Bytes,
) -> Result<()> {
    let limits = &ctx.settings.client;
    let whole = read_body(session, limits, ctx.max_body_size, &mut Discard).await?;
    if !whole {
        session.set_keepalive(None);
    }
    change_headers(&mut header, session, ctx)?;
    send(session, ctx, header, body).await?;
    if !whole {
        linger(session).await;
    }
    Ok(())
}

fn page(ctx: &Context, status: u16) -> Result<(ResponseHeader, Bytes)> {
    let page = ctx.settings.error_pages.page(status);
    let mut header = page_header(status, &page)?;
    if status == 405 {
        header.insert_header(header::ALLOW, ctx.settings.client.methods.allow())?;
    }
    if ctx.is_full {
        // Requests end within a second, mostly, and then there is room.
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

fn answer_header(answer: &Answer) -> Result<ResponseHeader> {
    let mut header = ResponseHeader::build(answer.status, Some(4))?;
    if answer.names_methods() {
        header.insert_header("Allow", query::METHODS)?;
    }
    if answer.status != 204 {
        header.insert_header(header::CONTENT_TYPE, query::CONTENT_TYPE)?;
        header.insert_header(header::CONTENT_LENGTH, answer.body.len())?;
    }
    Ok(header)
}
