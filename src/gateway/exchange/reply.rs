//! Replies of the gateway's own, sent to a client of either version.

use http::Method;
use pingora::Result;

use super::Outcome;
use super::client::{Client, linger, read_body, send};
use crate::gateway::context::Context;
use crate::gateway::failure::too_large;
use crate::gateway::request::request_view::RequestView;
use crate::gateway::respond::files::{self, FileReply, FileRequest};
use crate::gateway::respond::local_reply::{self, Reply, RequestBody};
use crate::geo::DatabaseHandle;
use crate::proto::h1::stored_head::StoredHead;
use crate::proto::headers::{Headers, is_expectation};
use crate::query;

/// Sends a reply, after as much of the request's body was read as it asks for.
///
/// # Errors
/// If the client leaves or is too slow.
pub async fn send_reply(
    client: &mut impl Client,
    request: &RequestView<'_, StoredHead>,
    reply: Reply,
) -> Result<()> {
    let is_whole = match reply.request_body {
        RequestBody::Read(limit) => read_request(client, request, limit, |_| ()).await?,
        RequestBody::Leave => client.is_complete(),
    };
    send_after(client, request, reply, is_whole).await
}

/// Reads the body of an IP query and sends the answer.
///
/// # Errors
/// If the client leaves or is too slow.
pub async fn answer_query(
    client: &mut impl Client,
    request: &RequestView<'_, StoredHead>,
    ctx: &Context,
    live: &DatabaseHandle,
) -> Result<()> {
    let mut body = Vec::new();
    // No other method's body means anything here.
    let is_post = *request.method == Method::POST;
    let limit = query::BODY_LIMIT as u64;
    let is_whole = read_request(client, request, limit, |content| {
        if is_post {
            body.extend_from_slice(content);
        }
    })
    .await?;
    let reply = {
        // Only while the answer is made: the client may take its time over it.
        let database = live.load();
        local_reply::answer_query(request, ctx, is_whole.then_some(&body[..]), &database)?
    };
    send_after(client, request, reply, is_whole).await
}

/// Answers with a file, each piece of which is sent when the client has taken the one before. Returns
/// what answers the request in its place, if there is no file to send.
///
/// # Errors
/// If the client leaves or is too slow, or the file cannot be read to its end.
pub async fn send_file(
    client: &mut impl Client,
    request: &RequestView<'_, StoredHead>,
    ctx: &Context,
    file: FileRequest,
) -> Result<Option<Outcome>> {
    let (header, mut body) = match files::answer(request, ctx, file).await? {
        FileReply::Reply(reply) => return Ok(Some(Outcome::Reply(reply))),
        FileReply::File { header, body } => (header, body),
        FileReply::Elsewhere(elsewhere) => return Ok(Some(Outcome::Elsewhere(elsewhere))),
    };
    if !read_request(client, request, ctx.body.max_bytes, |_| ()).await? {
        return Err(too_large());
    }
    client.put_reply_head(&header, !body.is_empty())?;
    while !body.is_empty() {
        ctx.still_in_time()?;
        client.put_bytes(body.next().await?);
        if body.is_empty() {
            break;
        }
        send(client).await?;
    }
    client.put_end(b"");
    send(client).await?;
    Ok(None)
}

/// Sends a reply: head and body in one write, because some clients read only once. Unless `is_whole`,
/// a part of the request is unread, and the connection is closed after the reply.
async fn send_after(
    client: &mut impl Client,
    request: &RequestView<'_, StoredHead>,
    reply: Reply,
    is_whole: bool,
) -> Result<()> {
    if !is_whole {
        client.close_after();
    }
    let has_content = *request.method != Method::HEAD && !reply.body.is_empty();
    client.put_reply_head(&reply.header, has_content)?;
    if has_content {
        client.put_bytes(reply.body);
    }
    client.put_end(b"");
    send(client).await?;
    if !is_whole {
        linger(client).await;
    }
    Ok(())
}

/// Reads a body to its end, for a client that waits to be asked for it as well (RFC 9110, 10.1.1).
/// Returns `false` if it is longer than `limit` bytes.
///
/// # Errors
/// If the client leaves, is too slow, or sends malformed chunks.
pub async fn read_request(
    client: &mut impl Client,
    request: &RequestView<'_, StoredHead>,
    limit: u64,
    content: impl FnMut(&[u8]),
) -> Result<bool> {
    let waits = request.headers.first("expect").is_some_and(is_expectation);
    if waits && !client.is_complete() {
        client.put_continue()?;
        send(client).await?;
    }
    read_body(client, limit, content).await
}
