//! What the gateway answers itself to requests that the proxy has: queries, pages.

use bytes::Bytes;
use http::header;
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora_proxy::Session;

use super::context::Context;
use super::error_page;
use super::message::{Discard, linger, read_body, send};
use crate::query::{self, Answer, QueryError};

/// Answers an IP query through the same code as every other door.
pub async fn answer_query(session: &mut Session, ctx: &Context) -> Result<()> {
    let request = session.req_header();
    let method = request.method.clone();
    let query = request.uri.query().unwrap_or_default().to_owned();
    let mut body = Vec::new();
    let whole = match method {
        http::Method::POST => read_body(session, query::BODY_LIMIT as u64, &mut body).await?,
        // No other method's body means anything here.
        _ => read_body(session, query::BODY_LIMIT as u64, &mut Discard).await?,
    };
    let answer = if whole {
        let request = query::Request {
            method: method.as_str(),
            query: query.as_bytes(),
            body: &body,
        };
        query::answer(&request, &ctx.database)
    } else {
        session.set_keepalive(None);
        QueryError::BodyTooLarge.into()
    };
    let header = answer_header(&answer)?;
    send(session, header, Bytes::copy_from_slice(&answer.body)).await?;
    if !whole {
        linger(session).await;
    }
    Ok(())
}

/// Answers with a page after the whole request was read.
pub async fn answer_with_page(session: &mut Session, ctx: &Context, status: u16) -> Result<()> {
    read_body(session, ctx.settings.client.max_body_size, &mut Discard).await?;
    send_page(session, ctx, status).await
}

/// Sends a page.
pub async fn send_page(session: &mut Session, ctx: &Context, status: u16) -> Result<()> {
    let page = ctx.settings.error_pages.page(status);
    let mut header = ResponseHeader::build(status, Some(4))?;
    header.insert_header(header::CONTENT_TYPE, error_page::CONTENT_TYPE)?;
    header.insert_header(header::CONTENT_LENGTH, page.len())?;
    if status == 405 {
        header.insert_header(header::ALLOW, ctx.settings.client.methods.allow())?;
    }
    if ctx.is_full {
        // Requests end within a second, mostly, and then there is room.
        header.insert_header(header::RETRY_AFTER, "1")?;
    }
    send(session, header, page).await
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
