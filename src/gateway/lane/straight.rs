//! The straight path: a request without a body, to an upstream and back, in one task.
//!
//! pingora's proxy moves every message through channels between two loops, because a request's and
//! a response's body may flow at a time. Where there is no body to flow up, one loop does: read
//! from the peer, write to the client. Parsing and framing are pingora's on both sides, and every
//! decision is made by the same phases of [`Proxy`], in the same order, so this door differs from the
//! other in nothing but time.

use bytes::BytesMut;
use futures_util::FutureExt;
use http::header;
use pingora::connectors::ConnectorOptions;
use pingora::connectors::http::v1::Connector;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Stream;
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::v1::client::HttpSession as Upstream;
use pingora::server::configuration::ServerConf;
use pingora::{Error, ErrorType, Result};
use pingora_proxy::{ProxyHttp, Session};

use super::boundary::Boundary;
use super::forwarder::{self, Forwarder};
use super::peer_session::read_http1;
use crate::gateway::context::{Context, Engine};
use crate::gateway::response_head;
use crate::gateway::upstream::{ConnectionKind, Peer};
use crate::gateway::{Gateway, Proxy};

/// How many messages of a response are sent in one go: what a peer has sent already, without
/// holding more of it than this.
pub(super) const BATCH: usize = 4;

/// Bytes of a body that are enough for one go. A client that takes nothing makes the gateway hold one
/// batch, so only small messages share one.
pub(super) const BATCH_BYTES: usize = 16 << 10;

/// What a request must not carry to the next hop (RFC 9110, 7.6.1). What `Connection` names besides
/// is not for this door.
const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "http2-settings",
];

/// The straight path.
pub struct Straight {
    proxy: Proxy,
    /// Connects. What it would keep itself stays empty: nothing is ever given back to it.
    connector: Connector,
}

impl Straight {
    /// A path on which `proxy` decides.
    pub fn new(proxy: Proxy, conf: &ServerConf) -> Self {
        Straight {
            proxy,
            connector: Connector::new(Some(ConnectorOptions::from_server_conf(conf))),
        }
    }

    /// What is known of a request before it is read, if it can take this path: with the settings that
    /// it is served with, all upstreams are spoken to as it can.
    pub fn context(&self, may: bool, gateway: &Gateway) -> Option<Context> {
        if !may || !gateway.settings().is_straight {
            return None;
        }
        let mut ctx = self.proxy.new_ctx();
        ctx.engine = Engine::Own;
        ctx.settings.is_straight.then_some(ctx)
    }

    /// Serves the request that begins with `read`; the stream afterwards, if it can carry another.
    pub async fn serve(
        &self,
        boundary: Boundary,
        read: BytesMut,
        requests_left: u32,
        ctx: Context,
    ) -> Option<Stream> {
        let session = forwarder::begin(boundary, read, requests_left).await?;
        forwarder::serve(self, session, ctx).await
    }

    async fn connect(&self, chosen: &Peer) -> Result<Upstream> {
        let peer = chosen.template_to_check();
        let (upstream, _) = self.connector.get_http_session(peer).await?;
        chosen.check(upstream.digest().ssl_digest.as_deref())?;
        Ok(upstream)
    }

    /// Sends the request and passes the response on.
    async fn exchange(
        &self,
        session: &mut Session,
        upstream: &mut Upstream,
        ctx: &mut Context,
    ) -> Result<()> {
        let mut request = session.req_header().clone();
        strip_hop_by_hop(&mut request);
        self.proxy
            .upstream_request_filter(session, &mut request, ctx)
            .await?;
        let sent = upstream.write_request_header(Box::new(request)).await;
        sent.map_err(Error::into_up)?;
        loop {
            let mut batch = self.next_batch(session, upstream).await?;
            for task in &mut batch {
                match task {
                    HttpTask::Header(header, end) => {
                        let filter = self.proxy.upstream_response_filter(session, header, ctx);
                        filter.await?;
                        frame(session, header, *end)?;
                        self.proxy.response_filter(session, header, ctx).await?;
                    }
                    HttpTask::Body(body, end) => {
                        self.proxy.response_body_filter(session, body, *end, ctx)?;
                    }
                    _ => {}
                }
            }
            join_writes(session, &batch);
            if session
                .as_downstream_mut()
                .response_duplex_vec(batch)
                .await?
            {
                return Ok(());
            }
        }
    }

    /// The next message of the peer, and those behind it that are here already.
    async fn next_batch(
        &self,
        session: &mut Session,
        upstream: &mut Upstream,
    ) -> Result<Vec<HttpTask>> {
        let first = tokio::select! {
            biased;
            task = read_http1(upstream) => task.map_err(Error::into_up)?,
            gone = session.as_downstream_mut().read_body_or_idle(true) => {
                let gone = gone.err().unwrap_or_else(|| Error::new(ErrorType::ConnectionClosed));
                return Err(gone.into_down());
            }
        };
        let mut last = is_last(&first);
        let mut held = body_length(&first);
        let mut batch = vec![first];
        while !last && batch.len() < BATCH && held < BATCH_BYTES {
            let Some(next) = read_http1(upstream).now_or_never() else {
                break;
            };
            let next = next.map_err(Error::into_up)?;
            last = is_last(&next);
            held += body_length(&next);
            batch.push(next);
        }
        Ok(batch)
    }
}

impl Forwarder for Straight {
    fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    async fn try_peer(&self, session: &mut Session, ctx: &mut Context) -> Result<()> {
        let (chosen, connection) = ctx.choose_peer(session.req_header())?;
        let peer = chosen.template();
        let kept = match connection {
            ConnectionKind::Any => chosen.kept(),
            ConnectionKind::Fresh => None,
        };
        let reused = kept.is_some();
        let mut upstream = match kept {
            Some(stream) => Upstream::new_with_options(stream, peer),
            // In a box of its own: connecting takes 9 KiB, which every request would set aside.
            None => match Box::pin(self.connect(&chosen)).await {
                Ok(upstream) => upstream,
                Err(mut error) => {
                    error.as_up();
                    return Err(self.proxy.fail_to_connect(session, peer, ctx, error));
                }
            },
        };
        upstream.read_timeout = peer.options.read_timeout;
        upstream.write_timeout = peer.options.write_timeout;
        if let Err(error) = self.exchange(session, &mut upstream, ctx).await {
            return Err(self
                .proxy
                .error_while_proxy(peer, session, error, ctx, reused));
        }
        upstream.respect_keepalive();
        let may_keep = ctx.upstream_connection == response_head::Connection::Reusable
            && !is_open_ended(session, &upstream)
            && self.proxy.may_keep(&ctx.settings);
        if let Some(stream) = upstream.reuse().await
            && may_keep
        {
            chosen.keep(stream);
        }
        Ok(())
    }
}

/// Whether a response to HEAD has no length: to any other method its end would have been that of its
/// connection. A server that answers so mostly closes after HEAD as well, and a request that comes
/// just then and cannot be repeated would fail.
pub(super) fn is_open_ended(session: &Session, upstream: &Upstream) -> bool {
    let is_head = session.req_header().method == http::Method::HEAD;
    is_head
        && upstream.resp_header().is_some_and(|response| {
            !matches!(response.status.as_u16(), 204 | 304)
                && !response.headers.contains_key(header::CONTENT_LENGTH)
                && !response.headers.contains_key(header::TRANSFER_ENCODING)
        })
}

/// Bytes of a body in a message.
pub(super) fn body_length(task: &HttpTask) -> usize {
    match task {
        HttpTask::Body(Some(body), _) | HttpTask::UpgradedBody(Some(body), _) => body.len(),
        _ => 0,
    }
}

pub(super) fn is_last(task: &HttpTask) -> bool {
    match task {
        HttpTask::Header(_, end) | HttpTask::Body(_, end) | HttpTask::UpgradedBody(_, end) => *end,
        HttpTask::Trailer(_) | HttpTask::Done | HttpTask::Failed(_) => true,
    }
}

pub(super) fn strip_hop_by_hop(request: &mut RequestHeader) {
    // Few requests have any, and looking costs less than removing what is not there.
    let is_one = |name: &&http::HeaderName| HOP_BY_HOP.contains(&name.as_str());
    let found: Vec<_> = request.headers.keys().filter(is_one).cloned().collect();
    for name in found {
        request.remove_header(&name);
    }
}

/// A response that ends with its connection becomes a chunked one, so that the client's connection
/// need not end as well.
pub(super) fn frame(session: &Session, response: &mut ResponseHeader, end: bool) -> Result<()> {
    let has_none = session.req_header().method == http::Method::HEAD
        || response.status.is_informational()
        || matches!(response.status.as_u16(), 204 | 304);
    let is_framed = response.headers.contains_key(header::CONTENT_LENGTH)
        || response.headers.contains_key(header::TRANSFER_ENCODING);
    if !has_none && !is_framed && !end {
        response.set_version(http::Version::HTTP_11);
        response.insert_header(header::TRANSFER_ENCODING, "chunked")?;
    }
    Ok(())
}

/// Lets a batch go out in one write: the head of a response with what is here of its body, and that
/// with the last chunk.
pub(super) fn join_writes(session: &Session, batch: &[HttpTask]) {
    if let Some(boundary) = Boundary::of(session) {
        let is_chunked = session.response_written().is_some_and(is_chunked);
        let writes = count_writes(batch, is_chunked);
        boundary.hold_writes(writes.saturating_sub(1));
    }
}

fn is_chunked(head: &ResponseHeader) -> bool {
    head.headers.contains_key(header::TRANSFER_ENCODING)
}

/// In how many writes pingora sends a batch of a response that `is_chunked`, or of one that begins with
/// it; 0 if none of them should wait for the others.
fn count_writes(batch: &[HttpTask], mut is_chunked: bool) -> u8 {
    let (mut heads, mut length) = (0, 0);
    for task in batch {
        if let HttpTask::Header(head, _) = task {
            // A hint is to arrive before what it is a hint to.
            if head.status.is_informational() || heads > 0 {
                return 0;
            }
            heads += 1;
            is_chunked = self::is_chunked(head);
        }
        length += body_length(task);
    }
    let is_whole = batch.last().is_some_and(is_last);
    // What goes on may be silent for long, and only a second write tells that a client which closed its
    // sending direction has left.
    if length == 0 || is_chunked && !is_whole || heads == 0 && length > BATCH_BYTES {
        return 0;
    }
    // All but the last write are copied.
    let ends = is_chunked && length <= BATCH_BYTES;
    heads + 1 + u8::from(ends)
}

#[cfg(test)]
mod tests {
    use super::super::recorder::{session, texts};
    use super::*;

    fn head(status: u16, is_chunked: bool) -> HttpTask {
        let mut head = ResponseHeader::build(status, None).unwrap();
        if is_chunked {
            head.insert_header("transfer-encoding", "chunked").unwrap();
        }
        HttpTask::Header(Box::new(head), false)
    }

    fn body(length: usize, end: bool) -> HttpTask {
        HttpTask::Body(Some(vec![b'x'; length].into()), end)
    }

    #[track_caller]
    fn check(batch: &[HttpTask], is_chunked: bool, expected: u8) {
        assert_eq!(count_writes(batch, is_chunked), expected, "{batch:?}");
    }

    #[test]
    fn a_head_goes_with_its_body() {
        check(&[head(200, false), body(5, true)], false, 2);
        check(&[head(200, false), body(5, false), body(5, true)], false, 2);
        check(&[head(200, false), body(64 << 10, false)], false, 2);
    }

    #[test]
    fn a_last_chunk_goes_with_the_one_before() {
        check(&[head(200, true), body(5, true)], false, 3);
        check(&[head(200, true), body(5, false), HttpTask::Done], false, 3);
        check(&[body(5, true)], true, 2);
        check(&[body(5, false), HttpTask::Done], true, 2);
        // The chunk would be copied.
        check(&[head(200, true), body(BATCH_BYTES + 1, true)], false, 2);
        check(&[body(BATCH_BYTES + 1, true)], true, 0);
    }

    #[test]
    fn nothing_waits_for_what_is_not_there() {
        check(&[head(200, true)], false, 0);
        check(&[head(200, false), HttpTask::Done], false, 0);
        check(&[head(200, false), HttpTask::Body(None, false)], false, 0);
        check(&[HttpTask::Done], true, 0);
        check(
            &[head(103, false), head(200, false), body(5, true)],
            false,
            0,
        );
        check(&[head(200, true), body(5, false)], false, 0);
        check(&[body(5, false)], true, 0);
        check(&[body(5, true)], false, 1);
    }

    /// What a client is sent of batches, one entry a write.
    async fn writes(batches: Vec<Vec<HttpTask>>) -> Vec<String> {
        let (mut session, writes) = session("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        for batch in batches {
            join_writes(&session, &batch);
            let downstream = session.as_downstream_mut();
            downstream.response_duplex_vec(batch).await.unwrap();
        }
        texts(&writes)
    }

    #[tokio::test]
    async fn a_batch_is_one_write() {
        let whole = writes(vec![vec![head(200, true), body(3, false), HttpTask::Done]]).await;
        assert_eq!(whole.len(), 1, "{whole:?}");
        assert!(
            whole[0].ends_with("\r\n\r\n3\r\nxxx\r\n0\r\n\r\n"),
            "{whole:?}"
        );
        let parts = writes(vec![
            vec![head(200, true)],
            vec![body(3, false), body(3, false)],
            vec![body(3, false)],
            vec![body(3, false), HttpTask::Done],
        ]);
        let parts = parts.await;
        assert!(parts[0].starts_with("HTTP/1.1 200 OK\r\n"), "{parts:?}");
        let rest = ["6\r\nxxxxxx\r\n", "3\r\nxxx\r\n", "3\r\nxxx\r\n0\r\n\r\n"];
        assert_eq!(parts[1..], rest);
    }

    #[tokio::test]
    async fn a_hint_does_not_wait() {
        let parts = writes(vec![
            vec![head(103, false)],
            vec![head(103, false), head(200, true), body(3, true)],
        ]);
        let parts = parts.await;
        for (part, status) in parts.iter().zip(["103", "103", "200"]) {
            assert!(
                part.starts_with(&format!("HTTP/1.1 {status} ")),
                "{parts:?}"
            );
        }
    }
}
