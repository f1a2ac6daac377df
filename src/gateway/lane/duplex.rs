//! HTTP/2 engine: requests of HTTP/2 clients, and those of HTTP/1 clients to HTTP/2 upstreams.
//!
//! Each request is served in one task. Body and response may be sent at the same time, so one loop
//! waits for both: for the client's next piece and for the peer's next part. The loop always knows
//! which side it waits for, and so whose timeout applies and whom a failure counts against: the
//! client until the whole request is sent, then the peer. After the response has begun, the peer's
//! `read_timeout` applies in any case.
//!
//! The phases of [`Proxy`] make every decision; pingora and the h2 crate frame the messages.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use http::{Version, header};
use pingora::connectors::ConnectorOptions;
use pingora::connectors::http::v2::Connector;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::v1::client::HttpSession as Http1;
use pingora::protocols::http::{HttpTask, ServerSession};
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{ALPN, Digest, Stream};
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::{HttpPeer, Peer as _};
use pingora::{Error, ErrorSource, ErrorType, Result};
use pingora_proxy::{ProxyHttp, Session};

use super::boundary::Boundary;
use super::bounded_reads::BoundedReads;
use super::nominated::strip_nominated;
use super::peer_http2::{self, Http2};
use super::peer_session::PeerSession;
use crate::gateway::Proxy;
use crate::gateway::context::Context;
use crate::gateway::failure::{out_of_time, slow_body, status_error};
use crate::gateway::message::{is_http2, linger};
use crate::gateway::metrics::Engine;
use crate::gateway::response_head;
use crate::gateway::upstream::{ConnectionKind, Peer};

/// Maximum number of messages of a response in one batch. A batch contains only messages that the
/// peer has sent already; the gateway holds no more of them than this.
const BATCH: usize = 4;

/// Bytes of a body after which a batch is sent. The gateway holds one batch for a client that takes
/// nothing, so only small messages share one.
const BATCH_BYTES: usize = 16 << 10;

/// Fields of a request that are not passed on (RFC 9110, 7.6.1). [`strip_nominated`] removes those
/// that `Connection` names.
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

/// HTTP/2 engine.
pub struct Duplex {
    proxy: Proxy,
    /// Connects with both versions, and keeps idle HTTP/2 connections. Idle HTTP/1 connections are
    /// kept in the pool of their peer.
    connector: Connector,
}

/// Next event of an exchange.
enum Event {
    Response(Result<HttpTask>),
    Body(Result<Option<Bytes>>),
    Timeout,
}

impl Duplex {
    /// Creates an engine that decides with the phases of `proxy`.
    pub fn new(proxy: Proxy, conf: &ServerConf) -> Self {
        Duplex {
            proxy,
            connector: Connector::new(Some(ConnectorOptions::from_server_conf(conf))),
        }
    }

    /// Serves a request of HTTP/1 that begins with `read`, and whose route `ctx` has already.
    /// Returns the stream if it can carry another request.
    pub async fn serve(
        &self,
        boundary: Boundary,
        read: BytesMut,
        requests_left: u32,
        ctx: Context,
    ) -> Option<Stream> {
        let mut session = Session::new_h1(Box::new(boundary));
        session.set_pipelined_prefix(read);
        session.set_keepalive_reuses_remaining(Some(requests_left));
        if !matches!(session.read_request().await, Ok(true)) {
            // The lane has parsed this head with the same parser, so this is no error of the head.
            return None;
        }
        self.serve_session(session, ctx).await
    }

    /// Serves a request of HTTP/2.
    pub async fn serve_stream(&self, stream: ServerSession) {
        // pingora creates sessions only from HTTP/1 connections; this one is never used.
        let (unused, _) = tokio::io::duplex(1);
        let mut session = Session::new_h1(Box::new(unused));
        *session.downstream_session = stream;
        let ctx = self.proxy.new_ctx();
        self.serve_session(session, ctx).await;
    }

    async fn serve_session(&self, mut session: Session, mut ctx: Context) -> Option<Stream> {
        ctx.engine = Engine::Http2;
        let result = self.answer(&mut session, &mut ctx).await;
        if let Err(error) = &result {
            self.proxy
                .fail_to_proxy(&mut session, error, &mut ctx)
                .await;
        }
        let error = result.as_ref().err().map(AsRef::as_ref);
        self.proxy.logging(&mut session, error, &mut ctx).await;
        result.ok()?;
        let finished = session.downstream_session.finish().await;
        let (stream, _) = finished.ok()??.into_parts();
        Some(stream)
    }

    async fn answer(&self, session: &mut Session, ctx: &mut Context) -> Result<()> {
        // The decision on an HTTP/1 request was made before it came here: its upstream is known.
        let is_decided = ctx.pool.is_some();
        self.proxy.early_request_filter(session, ctx).await?;
        if !is_decided && self.proxy.request_filter(session, ctx).await? {
            return Ok(());
        }
        match ctx.deadline {
            None => self.try_peers(session, ctx).await,
            Some(deadline) => {
                let tries = self.try_peers(session, ctx);
                let tries = tokio::time::timeout_at(deadline.into(), tries).await;
                tries.unwrap_or_else(|_| Err(out_of_time()))
            }
        }
    }

    async fn try_peers(&self, session: &mut Session, ctx: &mut Context) -> Result<()> {
        while let Err(error) = self.try_peer(session, ctx).await {
            if !error.retry() {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Returns a session with the peer, and `true` if its connection has carried other requests.
    async fn connect(
        &self,
        chosen: &Peer,
        peer: &HttpPeer,
        connection: ConnectionKind,
    ) -> Result<(PeerSession, bool)> {
        if connection == ConnectionKind::Any {
            if speaks_http2(peer) {
                // A kept connection that is unusable says nothing about the peer; a new one does.
                let reused = self.connector.reused_http_session(peer).await;
                if let Ok(Some(session)) = reused {
                    if chosen.check(ssl_digest(session.digest())).is_ok() {
                        return Ok((PeerSession::from(Http2::new(session)?), true));
                    }
                    session.conn.mark_shutdown();
                }
            } else if let Some(stream) = chosen.kept() {
                let session = Http1::new_with_options(stream, peer);
                return Ok((PeerSession::from(session), true));
            }
        }
        let stream = self.connector.transport().new_stream(peer).await?;
        chosen.check(stream.get_ssl_digest().as_deref())?;
        let session = if has_chosen_http2(peer, &stream) {
            PeerSession::from(peer_http2::open(&self.connector, peer, stream).await?)
        } else {
            PeerSession::from(Http1::new_with_options(stream, peer))
        };
        Ok((session, false))
    }

    /// Sends the request and passes the response on. Returns `true` if the whole request was sent.
    async fn exchange(
        &self,
        session: &mut Session,
        upstream: &mut PeerSession,
        peer: &HttpPeer,
        ctx: &mut Context,
    ) -> Result<bool> {
        let write_timeout = peer.options.write_timeout.unwrap_or(Duration::MAX);
        let request = self.request_for(session, upstream, peer, ctx).await?;
        let is_empty = session.as_downstream_mut().is_body_empty();
        let head = upstream.send_head(Box::new(request), is_empty);
        in_time(write_timeout, head).await?;
        session.as_downstream_mut().enable_retry_buffering();
        // A retry begins with the part of the body that was read before.
        let buffer = session.as_downstream().get_retry_buffer();
        let mut body_done = session.as_downstream_mut().is_body_done();
        if buffer.is_some() || body_done && !is_empty {
            self.send(session, upstream, write_timeout, ctx, buffer, body_done)
                .await?;
        }
        let mut can_send = true;
        loop {
            let patience = patience(peer, ctx);
            if !body_done && can_send {
                ctx.pace.wait();
            }
            let event = tokio::select! {
                task = upstream.next() => Event::Response(task),
                piece = session.as_downstream_mut().read_body_or_idle(body_done),
                    if body_done || can_send => Event::Body(piece),
                () = tokio::time::sleep(patience) => Event::Timeout,
            };
            match event {
                Event::Response(task) => {
                    if self.respond(session, upstream, ctx, task?).await? {
                        // A request without content is complete with its head.
                        return Ok((body_done || is_empty) && can_send);
                    }
                }
                Event::Body(piece) => {
                    let piece = piece.map_err(Error::into_down)?;
                    if body_done {
                        let left = Error::explain(ErrorType::ConnectionClosed, "the client left");
                        return Err(left.into_down());
                    }
                    body_done = piece.is_none() || session.as_downstream_mut().is_body_done();
                    let sent = self
                        .send(session, upstream, write_timeout, ctx, piece, body_done)
                        .await;
                    match sent {
                        Err(error) if is_refusal(&error) => {
                            // The peer may have responded, though it reads no further.
                            can_send = false;
                            ctx.progress.is_sent = true;
                        }
                        sent => sent?,
                    }
                }
                Event::Timeout => return Err(timed_out(upstream, ctx)),
            }
        }
    }

    /// Returns the head that is sent to the peer.
    async fn request_for(
        &self,
        session: &mut Session,
        upstream: &PeerSession,
        peer: &HttpPeer,
        ctx: &mut Context,
    ) -> Result<RequestHeader> {
        let mut request = session.req_header().clone();
        let (from_http2, to_http2) = (request.version == Version::HTTP_2, upstream.is_http2());
        if !from_http2 {
            strip_nominated(&mut request)?;
            request.remove_header(&header::UPGRADE);
        }
        if !(from_http2 && to_http2) {
            strip_hop_by_hop(&mut request);
        }
        request.set_version(if to_http2 {
            Version::HTTP_2
        } else {
            Version::HTTP_11
        });
        self.proxy
            .upstream_request_filter(session, &mut request, ctx)
            .await?;
        if to_http2 {
            address(&mut request, peer.is_tls())?;
            request.remove_header(&header::TRANSFER_ENCODING);
        } else if !session.as_downstream_mut().is_body_empty()
            && !request.headers.contains_key(header::CONTENT_LENGTH)
        {
            request.insert_header(header::TRANSFER_ENCODING, "chunked")?;
        }
        Ok(request)
    }

    /// Sends a piece of the body, after the phases have checked it.
    async fn send(
        &self,
        session: &mut Session,
        upstream: &mut PeerSession,
        write_timeout: Duration,
        ctx: &mut Context,
        mut piece: Option<Bytes>,
        end: bool,
    ) -> Result<()> {
        let end = end || piece.is_none();
        self.proxy
            .request_body_filter(session, &mut piece, end, ctx)
            .await?;
        // An empty piece would be sent as the last chunk.
        let piece = piece.filter(|piece| !piece.is_empty());
        if piece.is_none() && !end {
            return Ok(());
        }
        let sending = in_time(write_timeout, upstream.send(piece, end));
        if !is_http2(session) {
            return sending.await;
        }
        tokio::select! {
            biased;
            sent = sending => sent,
            left = session.as_downstream_mut().read_body_or_idle(true) => {
                let left = left.err().unwrap_or_else(|| Error::new(ErrorType::ConnectionClosed));
                Err(left.into_down())
            }
        }
    }

    /// Passes on a part of the response, and the parts behind it that have arrived already. Returns
    /// `true` if the last part was among them.
    async fn respond(
        &self,
        session: &mut Session,
        upstream: &mut PeerSession,
        ctx: &mut Context,
        first: HttpTask,
    ) -> Result<bool> {
        let mut last = is_last(&first);
        let mut held = body_length(&first);
        let (mut batch, mut broken) = (vec![first], None);
        while !last && batch.len() < BATCH && held < BATCH_BYTES {
            match upstream.next().now_or_never() {
                Some(Ok(next)) => {
                    last = is_last(&next);
                    held += body_length(&next);
                    batch.push(next);
                }
                Some(Err(error)) => {
                    // The parts before the error are passed on first.
                    broken = Some(error);
                    break;
                }
                None => break,
            }
        }
        for task in &mut batch {
            self.filter(session, ctx, task).await?;
        }
        join_writes(session, &batch);
        let downstream = session.as_downstream_mut();
        let last = downstream.response_duplex_vec(batch).await?;
        upstream.release();
        match broken {
            Some(error) if !last => Err(error),
            _ => Ok(last),
        }
    }

    async fn filter(
        &self,
        session: &mut Session,
        ctx: &mut Context,
        task: &mut HttpTask,
    ) -> Result<()> {
        match task {
            HttpTask::Header(response, end) => {
                self.proxy
                    .upstream_response_filter(session, response, ctx)
                    .await?;
                if *end && has_no_length(session, response) {
                    response.insert_header(header::CONTENT_LENGTH, "0")?;
                }
                frame(session, response, *end)?;
                self.proxy.response_filter(session, response, ctx).await?;
            }
            HttpTask::Body(body, end) => {
                self.proxy.response_body_filter(session, body, *end, ctx)?;
            }
            HttpTask::Trailer(Some(trailers)) => {
                let rest = self
                    .proxy
                    .response_trailer_filter(session, trailers, ctx)
                    .await?;
                if rest.is_some() {
                    *task = HttpTask::Body(rest, true);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Duplex {
    async fn try_peer(&self, session: &mut Session, ctx: &mut Context) -> Result<()> {
        let (chosen, connection) = ctx.choose_peer(&session.req_header().headers)?;
        let apart;
        let peer = if connection == ConnectionKind::Fresh {
            apart = chosen.http_peer_to_check(connection);
            &apart
        } else {
            chosen.template_to_check()
        };
        // In its own box: connecting takes 9 KiB, which every request would reserve otherwise.
        let connected = Box::pin(self.connect(&chosen, peer, connection)).await;
        let (mut upstream, reused) = match connected {
            Ok(connected) => connected,
            Err(mut error) => {
                error.as_up();
                return Err(self.proxy.fail_to_connect(session, peer, ctx, error));
            }
        };
        if is_http2(session) {
            upstream = upstream.with_bounded_reads(peer);
        }
        let exchanged = self.exchange(session, &mut upstream, peer, ctx).await;
        let is_whole = matches!(exchanged, Ok(true));
        match upstream {
            PeerSession::Http1(mut connection) if is_whole => {
                connection.respect_keepalive();
                let may_keep = ctx.upstream_connection == response_head::Connection::Reusable
                    && !speaks_http2(peer)
                    && !is_open_ended(session, &connection)
                    && self.proxy.may_keep(&ctx.settings);
                if let Some(stream) = connection.reuse().await
                    && may_keep
                {
                    chosen.keep(BoundedReads::unwrap(stream));
                }
            }
            PeerSession::Http1(_) => {}
            PeerSession::Http2(stream) => {
                let session = stream.into_session();
                let idle_timeout = peer.idle_timeout();
                self.connector
                    .release_http_session(session, peer, idle_timeout);
            }
        }
        match exchanged {
            Ok(true) => Ok(()),
            Ok(false) => {
                // After a close with unread data, the client may lose the response.
                linger(session).await;
                if !session.as_downstream_mut().is_body_done() {
                    session.set_keepalive(None);
                }
                Ok(())
            }
            Err(error) => Err(self
                .proxy
                .error_while_proxy(peer, session, error, ctx, reused)),
        }
    }
}

/// Returns the timeout of the next event: the client's until the request is sent or the response
/// has begun, then the peer's.
fn patience(peer: &HttpPeer, ctx: &Context) -> Duration {
    if ctx.progress.is_sent || ctx.progress.is_answered {
        peer.options.read_timeout.unwrap_or(Duration::MAX)
    } else {
        ctx.settings.client.read_timeout
    }
}

fn timed_out(upstream: &PeerSession, ctx: &Context) -> Box<Error> {
    if !ctx.progress.is_sent && !ctx.progress.is_answered {
        return slow_body();
    }
    if !ctx.progress.is_answered {
        upstream.distrust();
    }
    let reason = "the peer sends nothing within read_timeout";
    Error::explain(ErrorType::ReadTimedout, reason).into_up()
}

async fn in_time(
    timeout: Duration,
    sending: impl std::future::Future<Output = Result<()>>,
) -> Result<()> {
    let sent = tokio::time::timeout(timeout, sending).await;
    sent.unwrap_or_else(|_| {
        let reason = "the peer takes nothing within write_timeout";
        Err(Error::explain(ErrorType::WriteTimedout, reason).into_up())
    })
}

/// Returns `true` if the peer takes no more of a request.
fn is_refusal(error: &Error) -> bool {
    *error.esource() == ErrorSource::Upstream && *error.etype() != ErrorType::WriteTimedout
}

/// Returns `true` if an HTTP/1 client would wait for the body of a response that ends with its
/// head, because the head has no length.
fn has_no_length(session: &Session, response: &ResponseHeader) -> bool {
    let request = session.req_header();
    request.version != Version::HTTP_2
        && request.method != http::Method::HEAD
        && !response.status.is_informational()
        && !matches!(response.status.as_u16(), 204 | 304)
        && !response.headers.contains_key(header::CONTENT_LENGTH)
        && !response.headers.contains_key(header::TRANSFER_ENCODING)
}

fn ssl_digest(digest: Option<&Digest>) -> Option<&SslDigest> {
    digest?.ssl_digest.as_deref()
}

/// Returns `true` if a connection speaks HTTP/2. Over TLS, ALPN decides.
fn has_chosen_http2(peer: &HttpPeer, stream: &Stream) -> bool {
    match stream.selected_alpn_proto() {
        Some(chosen) => chosen == ALPN::H2,
        None => !peer.is_tls() && speaks_http2(peer),
    }
}

fn speaks_http2(peer: &HttpPeer) -> bool {
    peer.options.alpn.get_min_http_version() == 2
}

/// Moves the host to the target, where HTTP/2 has it.
fn address(request: &mut RequestHeader, is_tls: bool) -> Result<()> {
    let no_host = || status_error(400, "a host that HTTP/2 cannot name");
    let host = request.remove_header(&header::HOST).ok_or_else(no_host)?;
    let uri = http::Uri::builder()
        .scheme(if is_tls { "https" } else { "http" })
        .authority(host.as_bytes())
        .path_and_query(request.raw_path())
        .build();
    request.set_uri(uri.map_err(|_| no_host())?);
    Ok(())
}

/// Returns `true` if a response to `HEAD` has no length. The end of the connection would have ended
/// the response to any other method. A server with such responses mostly closes the connection
/// after `HEAD` as well, and a request at just that time would fail if it cannot be repeated.
fn is_open_ended(session: &Session, upstream: &Http1) -> bool {
    let is_head = session.req_header().method == http::Method::HEAD;
    is_head
        && upstream.resp_header().is_some_and(|response| {
            !matches!(response.status.as_u16(), 204 | 304)
                && !response.headers.contains_key(header::CONTENT_LENGTH)
                && !response.headers.contains_key(header::TRANSFER_ENCODING)
        })
}

/// Returns the number of body bytes in a message.
fn body_length(task: &HttpTask) -> usize {
    match task {
        HttpTask::Body(Some(body), _) | HttpTask::UpgradedBody(Some(body), _) => body.len(),
        _ => 0,
    }
}

fn is_last(task: &HttpTask) -> bool {
    match task {
        HttpTask::Header(_, end) | HttpTask::Body(_, end) | HttpTask::UpgradedBody(_, end) => *end,
        HttpTask::Trailer(_) | HttpTask::Done | HttpTask::Failed(_) => true,
    }
}

fn strip_hop_by_hop(request: &mut RequestHeader) {
    // Few requests have any, and a search costs less than removing absent fields.
    let is_one = |name: &&http::HeaderName| HOP_BY_HOP.contains(&name.as_str());
    let found: Vec<_> = request.headers.keys().filter(is_one).cloned().collect();
    for name in found {
        request.remove_header(&name);
    }
}

/// Makes a response chunked if the end of its connection ends it, so that the client's connection
/// can be kept.
fn frame(session: &Session, response: &mut ResponseHeader, end: bool) -> Result<()> {
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

/// Sends a batch in one write: the head of a response with the body that is here, and the body with
/// the last chunk.
fn join_writes(session: &Session, batch: &[HttpTask]) {
    if let Some(boundary) = Boundary::of(session) {
        let is_chunked = session.response_written().is_some_and(is_chunked);
        let writes = count_writes(batch, is_chunked);
        boundary.hold_writes(writes.saturating_sub(1));
    }
}

fn is_chunked(head: &ResponseHeader) -> bool {
    head.headers.contains_key(header::TRANSFER_ENCODING)
}

/// Returns the number of writes in which pingora sends a batch; 0 if no write should be held for
/// the others. `is_chunked` is the framing of a response whose head was sent before the batch.
fn count_writes(batch: &[HttpTask], mut is_chunked: bool) -> u8 {
    let (mut heads, mut length) = (0, 0);
    for task in batch {
        if let HttpTask::Header(head, _) = task {
            // An interim response should arrive before the final one.
            if head.status.is_informational() || heads > 0 {
                return 0;
            }
            heads += 1;
            is_chunked = self::is_chunked(head);
        }
        length += body_length(task);
    }
    let is_whole = batch.last().is_some_and(is_last);
    // The rest of a chunked body may come much later, and only a second write detects that a client
    // which has closed its sending direction has left.
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

    /// Returns the writes of these batches to a client.
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
