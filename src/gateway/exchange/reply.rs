//! Replies of the gateway's own, sent over HTTP/1.

use http::{Method, Version};
use pingora::Result;

use super::client::Client;
use super::head::write_reply;
use super::piece::write_chunk_size;
use super::relay::Outcome;
use crate::gateway::context::Context;
use crate::gateway::failure::too_large;
use crate::gateway::files::{self, FileReply, FileRequest};
use crate::gateway::local_reply::{self, Reply, RequestBody};
use crate::gateway::request_view::RequestView;
use crate::geo::Live;
use crate::proto::h1::stored_head::StoredHead;
use crate::proto::headers::{Headers, is_expectation};
use crate::query;

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Sends a reply, after as much of the request's body was read as it asks for. Head and body leave in
/// one write.
///
/// # Errors
/// If the client leaves or is too slow.
pub async fn send(
    client: &mut Client<'_>,
    request: &RequestView<'_, StoredHead>,
    ctx: &Context,
    reply: Reply,
    outcome: &mut Outcome,
) -> Result<()> {
    let is_whole = match reply.request_body {
        RequestBody::Read(limit) => read_body(client, request, limit, |_| ()).await?,
        RequestBody::Leave => client.body().is_complete(),
    };
    send_after(client, request, ctx, reply, is_whole, outcome).await
}

/// Reads the body of an IP query and sends the answer.
///
/// # Errors
/// If the client leaves or is too slow.
pub async fn answer_query(
    client: &mut Client<'_>,
    request: &RequestView<'_, StoredHead>,
    ctx: &Context,
    live: &Live,
    outcome: &mut Outcome,
) -> Result<()> {
    let mut body = Vec::new();
    // No other method's body means anything here.
    let is_post = *request.method == Method::POST;
    let limit = query::BODY_LIMIT as u64;
    let is_whole = read_body(client, request, limit, |content| {
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
    send_after(client, request, ctx, reply, is_whole, outcome).await
}

/// Answers with a file, each piece of which is sent when the client has taken the one before.
///
/// # Errors
/// If the client leaves or is too slow, or the file cannot be read to its end.
pub async fn send_file(
    client: &mut Client<'_>,
    request: &RequestView<'_, StoredHead>,
    ctx: &Context,
    file: FileRequest,
    outcome: &mut Outcome,
) -> Result<()> {
    let (mut header, mut body) = match files::answer(request, ctx, file).await? {
        FileReply::Reply(reply) => return send(client, request, ctx, *reply, outcome).await,
        FileReply::File { header, body } => (header, body),
    };
    if !read_body(client, request, ctx.max_body_size, |_| ()).await? {
        return Err(too_large());
    }
    let is_chunked = body.is_encoded() && request.version == Version::HTTP_11;
    if is_chunked {
        header.insert_header(http::header::TRANSFER_ENCODING, "chunked")?;
    }
    let mut out = Vec::new();
    write_reply(&mut out, &header, outcome.keep);
    note(outcome, ctx, header.status.as_u16(), &out);
    client.is_answered = true;
    while !body.is_empty() {
        ctx.still_in_time()?;
        let piece = body.next().await?;
        outcome.body_bytes += piece.len();
        if is_chunked && !piece.is_empty() {
            let mut size = [0; 18];
            out.extend_from_slice(write_chunk_size(piece.len(), &mut size));
        }
        out.extend_from_slice(&piece);
        if is_chunked && !piece.is_empty() {
            out.extend_from_slice(b"\r\n");
        }
        if is_chunked && body.is_empty() {
            out.extend_from_slice(b"0\r\n\r\n");
        }
        client.write_all(&out).await?;
        out.clear();
    }
    client.write_all(&out).await
}

async fn send_after(
    client: &mut Client<'_>,
    request: &RequestView<'_, StoredHead>,
    ctx: &Context,
    reply: Reply,
    is_whole: bool,
    outcome: &mut Outcome,
) -> Result<()> {
    outcome.keep &= is_whole;
    let mut out = Vec::with_capacity(512 + reply.body.len());
    write_reply(&mut out, &reply.header, outcome.keep);
    note(outcome, ctx, reply.header.status.as_u16(), &out);
    if *request.method != Method::HEAD {
        outcome.body_bytes = reply.body.len();
        out.extend_from_slice(&reply.body);
    }
    client.is_answered = true;
    client.write_all(&out).await?;
    if !is_whole {
        client.linger().await;
    }
    Ok(())
}

/// Notes a head for the log.
fn note(outcome: &mut Outcome, ctx: &Context, status: u16, head: &[u8]) {
    outcome.status = Some(status);
    if ctx.settings.access_log.format().wants_sent() {
        outcome.head = head.to_vec();
    }
}

/// Reads a body to its end, for a client that waits to be asked for it as well (RFC 9110, 10.1.1).
/// Returns `false` if it is longer than `limit` bytes.
async fn read_body(
    client: &mut Client<'_>,
    request: &RequestView<'_, StoredHead>,
    limit: u64,
    content: impl FnMut(&[u8]),
) -> Result<bool> {
    let waits = request.headers.first("expect").is_some_and(is_expectation);
    if waits && request.version != Version::HTTP_10 && !client.body().is_complete() {
        client.write_all(CONTINUE).await?;
    }
    client.read_body(limit, content).await
}
