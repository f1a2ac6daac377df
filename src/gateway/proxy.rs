//! Phases of a proxied request: `impl ProxyHttp`.
//!
//! Each phase is a few named calls; the decisions are in the modules beside this one. pingora's
//! `HttpProxy` runs the phases for WebSocket upgrades, and `lane::duplex` for HTTP/2. The HTTP/1
//! engine, `exchange::forward`, has no phases and calls the same decisions directly.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{StatusCode, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Digest;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};

use super::client_ip::PeerAddr;
use super::context::{Context, Invitation};
use super::exchange::edit::{change_request, change_response};
use super::exchange::log::{Sent, Served};
use super::exchange::tries::{TryFacts, fail_to_connect, fail_to_exchange, judge_response};
use super::exchange::{Outcome, decide, locate, peer_is_trusted};
use super::failure::{CLIENT_LEFT, slow_body, status_error, status_of, too_large};
use super::geo_headers;
use super::message::{
    answer_of, is_http2, linger, send_continue, send_file, send_head, send_query, send_reply,
    view_of,
};
use super::metrics::Engine;
use super::{Gateway, Settings, lane, local_reply, response_head, strict};
use crate::config::model::Protocol;

/// Phases of the gateway, for pingora's proxy and `lane::duplex`.
pub struct Proxy(Arc<Gateway>);

impl Proxy {
    /// Creates the proxy of `gateway`.
    #[must_use]
    pub fn new(gateway: Arc<Gateway>) -> Self {
        Proxy(gateway)
    }
}

/// Lets the proxy's code use the gateway's methods as its own.
impl std::ops::Deref for Proxy {
    type Target = Gateway;

    fn deref(&self) -> &Gateway {
        &self.0
    }
}

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        Context::new(self)
    }

    async fn early_request_filter(&self, session: &mut Session, ctx: &mut Context) -> Result<()> {
        if let Some(status) = is_http2(session)
            .then(|| strict::refusal(session.req_header(), &ctx.settings.client))
            .flatten()
        {
            return Err(status_error(status, "a request that is not well formed"));
        }
        let is_websocket = strict::settle(session.req_header_mut());
        name_host(session)?;
        join_cookies(session)?;
        self.set_connection_limits(session, &ctx.settings, is_websocket);
        if ctx.origin.is_none() {
            let peer = session.client_addr().and_then(|address| address.as_inet());
            let peer =
                peer.ok_or_else(|| status_error(400, "a connection without an IP address"))?;
            let (peer, headers) = (PeerAddr::new(*peer), &session.req_header().headers);
            locate(ctx, peer, headers, &self.database.load());
        }
        if !peer_is_trusted(ctx) {
            let untrusted = &ctx.settings.client_ip.untrusted_headers;
            geo_headers::remove_untrusted(session.req_header_mut(), untrusted);
        }
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut Context) -> Result<bool> {
        let view = view_of(session, &ctx.settings);
        match decide(self, &view, ctx)? {
            Outcome::Forward => return Ok(false),
            Outcome::Query => send_query(session, ctx, &self.database).await?,
            Outcome::Reply(reply) => send_reply(session, ctx, *reply).await?,
            Outcome::File(file) => send_file(session, ctx, file).await?,
        }
        Ok(true)
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Context,
    ) -> Result<()> {
        if session.was_upgraded() {
            // Data after an upgrade is not a body, and has no end.
            return Ok(());
        }
        if end_of_stream && body.as_ref().is_some_and(Bytes::is_empty) {
            // pingora would write an empty piece as a chunk, which would be the last chunk, and
            // then write the last chunk again.
            *body = None;
        }
        let length = body.as_ref().map_or(0, Bytes::len);
        // After the response has begun, the client may send slowly, as in streams of messages.
        if is_http2(session) && !ctx.progress.is_answered {
            ctx.pace.moved(length).map_err(|_| slow_body())?;
        }
        ctx.progress.is_sent = end_of_stream || body.is_none();
        ctx.body_bytes += length as u64;
        if ctx.body_bytes > ctx.max_body_size {
            return Err(too_large());
        }
        ctx.still_in_time()
    }

    async fn upstream_peer(
        &self,
        session: &mut Session,
        ctx: &mut Context,
    ) -> Result<Box<HttpPeer>> {
        let (peer, connection) = ctx.choose_peer(&session.req_header().headers)?;
        let mut peer = peer.http_peer_to_check(connection);
        if !session.as_downstream_mut().is_body_done() {
            // pingora waits for the peer while the client still sends. The client's own timeout
            // must end first.
            let read_timeout = &mut peer.options.read_timeout;
            *read_timeout = (*read_timeout).max(Some(ctx.settings.client.read_timeout));
        }
        ctx.hurry(&mut peer.options);
        Ok(Box::new(peer))
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream_request: &mut RequestHeader,
        ctx: &mut Context,
    ) -> Result<()> {
        ctx.progress.is_sent = session.as_downstream_mut().is_body_done();
        ctx.received = response_head::Received::default();
        if upstream_request.version == http::Version::HTTP_2 {
            continue_at_once(session, upstream_request, ctx).await?;
            keep_te(session, upstream_request)?;
        }
        if let (None, Some(peer)) = (upstream_request.headers.get(header::HOST), ctx.tried.last()) {
            // HTTP/1.0 does not require a host, but HTTP/1.1, which is used with upstreams, does.
            upstream_request.insert_header("Host", peer.to_string())?;
        }
        change_request(upstream_request, &view_of(session, &ctx.settings), ctx);
        let routed = ctx.routed.as_ref();
        if let Some(target) = routed.and_then(|routed| routed.target.as_ref()) {
            upstream_request.set_raw_path(target)?;
        }
        Ok(())
    }

    /// Accepts the peer's response, or tries another peer if its status is one of `retry_on`.
    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        upstream_response: &mut ResponseHeader,
        ctx: &mut Context,
    ) -> Result<()> {
        let status = upstream_response.status;
        ctx.progress.is_answered |=
            !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS;
        if let Some((pool, _)) = ctx.peer() {
            let limits = pool.response_limits();
            ctx.received.count(upstream_response, limits)?;
        }
        // The version of a response from HTTP/2 may have been set to HTTP/1.1 by now.
        let has_trailers = upstream_response.version == http::Version::HTTP_2
            || ctx
                .peer()
                .is_some_and(|(pool, _)| pool.protocol() == Protocol::Http2);
        ctx.upstream_connection =
            response_head::renew(upstream_response, has_trailers && is_http2(session))?;
        let may_repeat = facts_of(session, false).may_repeat();
        judge_response(ctx, status, may_repeat)
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        upstream_response: &mut ResponseHeader,
        ctx: &mut Context,
    ) -> Result<()> {
        if upstream_response.status == http::StatusCode::SWITCHING_PROTOCOLS {
            if !session.as_downstream().is_upgrade_req() {
                let reason = "the peer changes to a protocol that nobody asked for";
                return Err(Error::explain(ErrorType::InvalidHTTPHeader, reason).into_up());
            }
            lane::begin_tunnel(session);
            ctx.deadline = None;
        }
        if self.drain.is_draining() {
            session.set_keepalive(None);
        }
        let is_interim = upstream_response.status.is_informational();
        if !is_interim && session.req_header().version == http::Version::HTTP_10 {
            without_chunks(session, upstream_response);
        }
        let request = view_of(session, &ctx.settings);
        change_response(upstream_response, &request, ctx)?;
        if ctx.encoder.is_some() && session.req_header().version == http::Version::HTTP_11 {
            upstream_response.set_version(http::Version::HTTP_11);
            upstream_response.insert_header(header::TRANSFER_ENCODING, "chunked")?;
        }
        if ctx.upstream_connection == response_head::Connection::Doubtful
            && ctx.engine == Engine::Pingora
        {
            return answer_for_good(session, upstream_response).await;
        }
        Ok(())
    }

    fn response_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Context,
    ) -> Result<Option<Duration>> {
        if !session.was_upgraded() {
            ctx.still_in_time()?;
        }
        if let Some(encoder) = &mut ctx.encoder {
            let piece = body.take().unwrap_or_default();
            *body = Some(encoder.encode(&piece, end_of_stream)?);
        }
        Ok(None)
    }

    /// Removes forbidden trailers. The rest of a compressed body is sent in place of the trailers:
    /// pingora sends either the returned bytes or the trailers.
    async fn response_trailer_filter(
        &self,
        _session: &mut Session,
        trailers: &mut http::HeaderMap,
        ctx: &mut Context,
    ) -> Result<Option<Bytes>> {
        response_head::clean_trailers(trailers);
        let rest = ctx
            .encoder
            .as_mut()
            .map(|encoder| encoder.encode(b"", true));
        rest.transpose()
    }

    /// Decides after a failed connect. Nothing was sent yet, so any request may go to another peer.
    fn fail_to_connect(
        &self,
        session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut Context,
        error: Box<Error>,
    ) -> Box<Error> {
        let facts = facts_of(session, false);
        fail_to_connect(ctx, facts, error)
    }

    /// Verifies a peer that pingora does not verify, before anything is sent. An HTTP/2 connection
    /// that failed the check may be offered again, so reused connections are checked, too.
    async fn connected_to_upstream(
        &self,
        _session: &mut Session,
        _reused: bool,
        _peer: &HttpPeer,
        _socket: RawFd,
        digest: Option<&Digest>,
        ctx: &mut Context,
    ) -> Result<()> {
        let Some((_, peer)) = ctx.peer() else {
            return Ok(());
        };
        peer.check(digest.and_then(|digest| digest.ssl_digest.as_deref()))
    }

    /// Decides after an error that occurred when the request may have reached the peer.
    fn error_while_proxy(
        &self,
        peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        ctx: &mut Context,
        client_reused: bool,
    ) -> Box<Error> {
        if error.etype() == &ErrorType::InvalidCert {
            // Nothing was sent.
            return self.fail_to_connect(session, peer, ctx, error);
        }
        let error = error.more_context(format!("Peer: {peer}"));
        let facts = facts_of(session, client_reused);
        fail_to_exchange(ctx, facts, error)
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        ctx: &mut Context,
    ) -> FailToProxy {
        let status = status_of(error);
        if status != CLIENT_LEFT && answer_of(session.response_written()).is_none() {
            session.set_keepalive(None);
            let request = view_of(session, &ctx.settings);
            let sent = match local_reply::error_page(&request, ctx, status) {
                Ok(reply) => send_reply(session, ctx, reply).await,
                Err(error) => Err(error),
            };
            if let Err(error) = sent {
                log::debug!("the client left before its error page: {error}");
            }
            linger(session).await;
        }
        FailToProxy {
            error_code: status,
            can_reuse_downstream: false,
        }
    }

    /// Disables pingora's log line: every engine logs failed requests with their reason when they
    /// end.
    fn suppress_error_log(&self, _session: &Session, _ctx: &Context, _error: &Error) -> bool {
        true
    }

    /// Disables pingora's log lines for retries: the access log contains every peer that was tried,
    /// and the pool logs once that a peer failed. A line for every retry would hide both.
    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _ctx: &Context,
        _error: &Error,
        _context: ProxyWarnLogContext,
    ) -> bool {
        true
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Context) {
        self.log_access(session, error, ctx);
    }
}

impl Proxy {
    /// Sets the timeouts of the client's connection and decides if it is kept. pingora keeps idle
    /// connections forever unless each request sets a timeout. A connection with a rejected upgrade
    /// is not kept.
    fn set_connection_limits(
        &self,
        session: &mut Session,
        settings: &Settings,
        is_websocket: bool,
    ) {
        let client = &settings.client;
        session.set_read_timeout(Some(client.read_timeout));
        session.set_write_timeout(Some(client.write_timeout));
        session.set_total_drain_timeout(Some(client.read_timeout));
        let request = session.req_header();
        let is_1_0 = request.version == http::Version::HTTP_10;
        let keep = !self.drain.is_draining() && may_keep(request) && !is_websocket;
        // HTTP/1.0 clients do not know interim responses (RFC 9110, 15.2).
        session.set_ignore_info_resp(is_1_0);
        session.set_keepalive(keep.then_some(client.keepalive_timeout.as_secs()));
    }

    fn log_access(&self, session: &Session, error: Option<&Error>, ctx: &Context) {
        let written = answer_of(session.response_written());
        let served = Served {
            status: written.map(|response| response.status.as_u16()),
            body_bytes: session.body_bytes_sent(),
            sent: written.map_or(Sent::Nothing, |response| Sent::Map(&response.headers)),
        };
        let request = view_of(session, &ctx.settings);
        self.end_request(&request, ctx, error, &served);
    }
}

/// Facts of a try that a session knows.
fn facts_of(session: &mut Session, is_reused: bool) -> TryFacts {
    let downstream = session.as_downstream();
    TryFacts {
        is_reused,
        is_answered: answer_of(downstream.response_written()).is_some(),
        is_idempotent: downstream.req_header().method.is_idempotent(),
        has_body: !downstream.retry_buffer_truncated(),
    }
}

/// Sends `100 Continue` to the client, once (RFC 9110, 10.1.1): few HTTP/2 servers ask for a body, so the
/// client would wait in vain.
async fn continue_at_once(
    session: &mut Session,
    upstream_request: &mut RequestHeader,
    ctx: &mut Context,
) -> Result<()> {
    let expects = upstream_request.remove_header(&header::EXPECT).is_some();
    if expects && ctx.invitation == Invitation::Unsent {
        ctx.invitation = Invitation::Sent;
        send_continue(session).await?;
    }
    Ok(())
}

/// Passes on `TE: trailers`, which gRPC requires. It is true for every HTTP/2 client that sends it,
/// but pingora removes it from a request that it does not regard as HTTP/2.
fn keep_te(session: &Session, upstream_request: &mut RequestHeader) -> Result<()> {
    let te = session.req_header().headers.get(header::TE);
    if is_http2(session) && te.is_some_and(|te| te == "trailers") {
        upstream_request.insert_header(header::TE, "trailers")?;
    }
    Ok(())
}

/// Sends a response without a body and closes both connections: its upstream may send data that
/// would be read as the next response. The returned error makes pingora do so.
async fn answer_for_good(session: &mut Session, response: &ResponseHeader) -> Result<()> {
    session.set_keepalive(None);
    send_head(session, response.clone()).await?;
    let reason = "the upstream's connection cannot be kept after such a response";
    Err(status_error(response.status.as_u16(), reason))
}

/// Returns `true` if the gateway may keep the connection after a request. An HTTP/1.0 client must
/// ask for it, which pingora ignores once a keep-alive timeout is set. pingora itself handles
/// `Connection: close`.
fn may_keep(request: &RequestHeader) -> bool {
    let asks = request.headers.get(header::CONNECTION);
    let asks = asks.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"keep-alive"));
    request.version != http::Version::HTTP_10 || asks
}

/// Removes the transfer coding for an HTTP/1.0 client, which does not know chunks. Without a
/// length, the end of the connection ends the body.
fn without_chunks(session: &mut Session, response: &mut ResponseHeader) {
    response.remove_header(&header::TRANSFER_ENCODING);
    if !response.headers.contains_key(header::CONTENT_LENGTH) {
        session.set_keepalive(None);
    }
}

/// Copies the authority of an HTTP/2 request to `Host`, which all later code reads. If both are
/// present, pingora has checked that they are equal (RFC 9113, 8.3.1).
fn name_host(session: &mut Session) -> Result<()> {
    let request = session.req_header();
    if request.version != http::Version::HTTP_2 || request.headers.contains_key(header::HOST) {
        return Ok(());
    }
    let Some(authority) = request.uri.authority().cloned() else {
        return Ok(());
    };
    let request = session.req_header_mut();
    request.insert_header(header::HOST, authority.as_str())
}

/// Joins the cookie lines of an HTTP/2 request into one: HTTP/2 may split them, but all other
/// software expects one line (RFC 9113, 8.2.3).
fn join_cookies(session: &mut Session) -> Result<()> {
    let request = session.req_header();
    let lines = request.headers.get_all(header::COOKIE);
    if request.version != http::Version::HTTP_2 || lines.iter().nth(1).is_none() {
        return Ok(());
    }
    let lines: Vec<_> = lines.iter().map(http::HeaderValue::as_bytes).collect();
    let joined = lines.join(&b"; "[..]);
    let request = session.req_header_mut();
    request.insert_header(header::COOKIE, joined)
}
