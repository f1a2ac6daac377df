//! Whole messages of a pingora session: reads the body of a request, and sends local replies.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use pingora::http::ResponseHeader;
use pingora::{Error, Result};
use pingora_proxy::Session;

use super::Settings;
use super::context::Context;
use super::failure::{slow_body, too_large};
use super::files::{self, FileBody, FileReply, FileRequest};
use super::lane::boundary::Boundary;
use super::local_reply::{self, Reply, RequestBody};
use super::pace::Pace;
use super::request_view::RequestView;
use crate::config::model::Client;
use crate::geo::Live;
use crate::proto::headers::is_expectation;
use crate::query;

/// Maximum number of bytes, and maximum time, to read of a request after an early response.
const LINGER_BYTES: usize = 16 << 20;
const LINGER_TIME: Duration = Duration::from_secs(2);

/// Sink for a body that is not needed.
pub struct Discard;

impl Extend<u8> for Discard {
    fn extend<T: IntoIterator<Item = u8>>(&mut self, _: T) {}
}

/// The request of a session.
pub fn view_of<'r>(session: &'r Session, settings: &Settings) -> RequestView<'r, HeaderMap> {
    let local = || session.server_addr()?.as_inet().copied();
    RequestView {
        tls: session
            .digest()
            .and_then(|digest| digest.ssl_digest.as_deref()),
        redirect_port: settings.listeners.redirect(local),
        ..RequestView::of(session.req_header())
    }
}

/// Reads a body to its end, so that the connection can carry another request after the response.
/// Returns `false` if the body is longer than `limit` bytes; then part of it stays unread.
pub async fn read_body(
    session: &mut Session,
    client: &Client,
    limit: u64,
    body: &mut (impl Extend<u8> + Send),
) -> Result<bool> {
    let expect = session.get_header_bytes(header::EXPECT);
    let is_1_0 = session.req_header().version == http::Version::HTTP_10;
    if is_expectation(expect) && !is_1_0 {
        send_continue(session).await?;
    }
    let (mut length, mut pace) = (0, Pace::new(client.min_body_rate));
    while let Some(part) = read_part(session, client, &mut pace).await? {
        length += part.len() as u64;
        if length > limit {
            return Ok(false);
        }
        body.extend(part);
    }
    Ok(true)
}

/// Sends `100 Continue` to a client that waits for it before it sends its body.
pub async fn send_continue(session: &mut Session) -> Result<()> {
    let downstream = session.as_downstream_mut();
    // pingora closes the connection after any response that comes before the end of the request,
    // this interim one included.
    let keepalive = downstream.get_keepalive();
    let sent = downstream.write_continue_response().await;
    downstream.set_keepalive(keepalive);
    sent.map_err(Error::into_down)
}

/// Returns `true` if a request came over HTTP/2.
pub fn is_http2(session: &Session) -> bool {
    session.req_header().version == http::Version::HTTP_2
}

/// Reads a part of a body. For HTTP/2, timeout and minimum rate are enforced here. For HTTP/1,
/// pingora enforces the timeout, and [`Boundary`] the minimum rate.
async fn read_part(
    session: &mut Session,
    client: &Client,
    pace: &mut Pace,
) -> Result<Option<Bytes>> {
    let is_h2 = is_http2(session);
    let part = session.as_downstream_mut().read_request_body();
    if !is_h2 {
        return part.await.map_err(Error::into_down);
    }
    pace.wait();
    let part = tokio::time::timeout(client.read_timeout, part).await;
    let part = part.map_err(|_| slow_body())?.map_err(Error::into_down)?;
    let moved = pace.moved(part.as_ref().map_or(0, Bytes::len));
    moved.map_err(|_| slow_body()).map(|()| part)
}

/// Reads on for a while after a response that came before the request's end. Closing with unread
/// data makes the system reset the connection, and the client would lose the response.
pub async fn linger(session: &mut Session) {
    let read = async {
        let mut length = 0;
        while let Ok(Some(part)) = session.as_downstream_mut().read_request_body().await {
            length += part.len();
            if length > LINGER_BYTES {
                break;
            }
        }
    };
    // Out of time or not, the connection is closed next.
    let _ = tokio::time::timeout(LINGER_TIME, read).await;
}

/// Returns the head that was written, if it is that of a final response or a change of protocols;
/// `None` for all other interim responses.
pub fn answer_of(written: Option<&ResponseHeader>) -> Option<&ResponseHeader> {
    written.filter(|response| {
        !response.status.is_informational() || response.status == StatusCode::SWITCHING_PROTOCOLS
    })
}

/// Reads the body of an IP query and sends the answer.
pub async fn send_query(session: &mut Session, ctx: &Context, live: &Live) -> Result<()> {
    let (limits, mut body) = (&ctx.settings.client, Vec::new());
    let whole = match session.req_header().method {
        http::Method::POST => {
            read_body(session, limits, query::BODY_LIMIT as u64, &mut body).await?
        }
        // The body of any other method is ignored.
        _ => read_body(session, limits, query::BODY_LIMIT as u64, &mut Discard).await?,
    };
    let reply = {
        // The database is held only while the answer is created: the client may be slow to take it.
        let database = live.load();
        let request = view_of(session, &ctx.settings);
        local_reply::answer_query(&request, ctx, whole.then_some(&body[..]), &database)?
    };
    send_after(session, reply, whole).await
}

/// Sends a reply, after the treatment of the request's body that the reply requires.
pub async fn send_reply(session: &mut Session, ctx: &Context, reply: Reply) -> Result<()> {
    let whole = match reply.request_body {
        RequestBody::Read(limit) => {
            read_body(session, &ctx.settings.client, limit, &mut Discard).await?
        }
        RequestBody::Leave => session.as_downstream_mut().is_body_empty(),
    };
    send_after(session, reply, whole).await
}

/// Sends a reply. Unless `whole`, part of the request is unread, and the connection is closed after
/// the reply.
async fn send_after(session: &mut Session, reply: Reply, whole: bool) -> Result<()> {
    if !whole {
        session.set_keepalive(None);
    }
    send_whole(session, reply.header, reply.body).await?;
    if !whole {
        linger(session).await;
    }
    Ok(())
}

/// Sends head and body in one write: some clients read only once, and take the result for the whole
/// response.
async fn send_whole(session: &mut Session, header: ResponseHeader, body: Bytes) -> Result<()> {
    if body.is_empty() || session.req_header().method == http::Method::HEAD {
        return send_head(session, header).await;
    }
    hold_writes(session, 1);
    let sent = session.write_response_header(Box::new(header), false).await;
    sent.map_err(Error::into_down)?;
    let sent = session.write_response_body(Some(body), true).await;
    sent.map_err(Error::into_down)
}

/// Answers a request with a file. Each piece is read after the client has taken the piece before.
pub async fn send_file(session: &mut Session, ctx: &Context, file: FileRequest) -> Result<()> {
    let request = view_of(session, &ctx.settings);
    let (mut header, mut body) = match files::answer(&request, ctx, file).await? {
        FileReply::Reply(reply) => return send_reply(session, ctx, *reply).await,
        FileReply::File { header, body } => (header, body),
    };
    let limits = &ctx.settings.client;
    if !read_body(session, limits, ctx.max_body_size, &mut Discard).await? {
        return Err(too_large());
    }
    if body.is_encoded() && session.req_header().version == http::Version::HTTP_11 {
        header.insert_header(header::TRANSFER_ENCODING, "chunked")?;
    }
    if !body.is_empty() {
        hold_writes(session, body.writes_before_end());
    }
    session
        .write_response_header(header, body.is_empty())
        .await?;
    send_pieces(session, ctx, &mut body).await
}

async fn send_pieces(session: &mut Session, ctx: &Context, body: &mut FileBody) -> Result<()> {
    while !body.is_empty() {
        ctx.still_in_time()?;
        let piece = body.next().await?;
        let end = body.is_empty();
        if !piece.is_empty() || end {
            session.write_response_body(Some(piece), end).await?;
        }
    }
    Ok(())
}

/// Holds the next `count` writes to an HTTP/1 client, to send them with the write after them.
pub fn hold_writes(session: &Session, count: u8) {
    if let Some(boundary) = Boundary::of(session) {
        boundary.hold_writes(count);
    }
}

/// Sends a response without a body, and its end. Over HTTP/2 a head alone does not end the
/// response, and a stream without an end would be reset.
pub async fn send_head(session: &mut Session, header: ResponseHeader) -> Result<()> {
    let sent = session.write_response_header(Box::new(header), true).await;
    sent.map_err(Error::into_down)?;
    let ended = session.as_downstream_mut().finish_body().await;
    ended.map_err(Error::into_down)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::lane::recorder::{session, texts};

    /// A client that reads once gets only the first write.
    #[tokio::test]
    async fn head_and_body_are_one_write() {
        for version in ["1.0", "1.1"] {
            for length in [1, 1000, 100_000] {
                let head = format!("GET / HTTP/{version}\r\nHost: a\r\n\r\n");
                let (mut session, writes) = session(&head).await;
                let mut header = ResponseHeader::build(404, None).unwrap();
                header.insert_header("Content-Length", length).unwrap();
                let body = Bytes::from(vec![b'x'; length]);
                send_whole(&mut session, header, body).await.unwrap();
                let writes = texts(&writes);
                assert_eq!(writes.len(), 1, "HTTP/{version}, {length} bytes");
                assert!(writes[0].starts_with("HTTP/1.1 404 "), "{}", writes[0]);
                let end = format!("\r\n\r\n{}", "x".repeat(length));
                assert!(writes[0].ends_with(&end));
            }
        }
    }

    #[tokio::test]
    async fn a_head_alone_waits_for_nothing() {
        let (mut session, writes) = session("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let mut header = ResponseHeader::build(200, None).unwrap();
        header.insert_header("Content-Length", 5).unwrap();
        send_whole(&mut session, header, Bytes::from_static(b"12345"))
            .await
            .unwrap();
        let writes = texts(&writes);
        assert!(
            matches!(&writes[..], [head] if head.ends_with("\r\n\r\n")),
            "{writes:?}"
        );
    }

    /// A compressed file is sent in this way.
    #[tokio::test]
    async fn a_chunk_and_its_end_go_with_the_head() {
        let (mut session, writes) = session("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let mut header = ResponseHeader::build(200, None).unwrap();
        header
            .insert_header("Transfer-Encoding", "chunked")
            .unwrap();
        hold_writes(&session, 2);
        let head = session.write_response_header(Box::new(header), false);
        head.await.unwrap();
        assert!(texts(&writes).is_empty());
        let body = session.write_response_body(Some(Bytes::from_static(b"abc")), true);
        body.await.unwrap();
        let writes = texts(&writes);
        assert_eq!(writes.len(), 1, "{writes:?}");
        assert!(
            writes[0].ends_with("\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
            "{writes:?}"
        );
    }
}
