//! What happens to a request that is proxied, phase by phase: `impl ProxyHttp`.
//!
//! Each phase is a few named calls; what they decide stands in the modules beside this one. pingora
//! calls the phases, or the lane's straight path does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use http::header;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};

use super::Gateway;
use super::access_log::Entry;
use super::client_ip::{self, Origin, PeerAddr};
use super::drain::Counted;
use super::error_page;
use super::geo_headers::{self, Scheme};
use super::message::{Discard, linger, read_body, send};
use super::metrics::Kind;
use super::upstream::{ConnectionKind, Pool};
use crate::geo::{Database, Field, Place};
use crate::query::{self, Answer, QueryError};

/// Status of a request whose client left before there was an answer, as nginx logs it.
const CLIENT_LEFT: u16 = 499;

/// The proxy's side of the gateway.
pub struct Proxy(Arc<Gateway>);

impl Proxy {
    /// A door to `gateway`.
    #[must_use]
    pub fn new(gateway: Arc<Gateway>) -> Self {
        Proxy(gateway)
    }
}

/// So that the door's own code reads as the gateway's.
impl std::ops::Deref for Proxy {
    type Target = Gateway;

    fn deref(&self) -> &Gateway {
        &self.0
    }
}

/// What is known of one request, from its head to its line in the log.
pub struct Context {
    start: Instant,
    /// `None` until the head was looked at.
    origin: Option<Origin>,
    /// The database of this request: one for its whole life, whatever is swapped in meanwhile.
    database: Arc<Database>,
    /// The client's place in it.
    place: Option<u32>,
    /// The peers that were tried; the last one is the current one.
    tried: Vec<SocketAddr>,
    refresh: Refresh,
    upstream_start: Option<Instant>,
    /// Bytes of the request's body that passed.
    body_bytes: u64,
    _under_way: Counted,
}

/// A kept connection that ends is no sign that the peer is down: it may have been closing it just
/// then. So the same peer gets another try on a new connection, once in a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Refresh {
    Unused,
    Due(SocketAddr),
    Used,
}

impl Context {
    fn place(&self) -> Option<Place<'_>> {
        self.place.map(|number| self.database.place(number))
    }
}

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        Context {
            start: Instant::now(),
            origin: None,
            database: self.database.current(),
            place: None,
            tried: Vec::new(),
            refresh: Refresh::Unused,
            upstream_start: None,
            body_bytes: 0,
            _under_way: self.drain.enter(),
        }
    }

    async fn early_request_filter(&self, session: &mut Session, ctx: &mut Context) -> Result<()> {
        self.set_connection_limits(session);
        self.locate(session, ctx)
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut Context) -> Result<bool> {
        if query::is_query(session.req_header().uri.path().as_bytes()) {
            self.answer_query(session, ctx).await?;
            return Ok(true);
        }
        if self.declares_too_large_a_body(session) {
            return Err(too_large());
        }
        if self.upstream.is_none() {
            read_body(session, self.client.max_body_size, &mut Discard).await?;
            self.send_page(session, 404).await?;
            return Ok(true);
        }
        Ok(false)
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        _end_of_stream: bool,
        ctx: &mut Context,
    ) -> Result<()> {
        if session.was_upgraded() {
            // What comes after an upgrade is no body, and has no end.
            return Ok(());
        }
        ctx.body_bytes += body.as_ref().map_or(0, |part| part.len() as u64);
        if ctx.body_bytes > self.client.max_body_size {
            return Err(too_large());
        }
        Ok(())
    }

    async fn upstream_peer(
        &self,
        _session: &mut Session,
        ctx: &mut Context,
    ) -> Result<Box<HttpPeer>> {
        let (pool, address, connection) = self.choose_peer(ctx)?;
        Ok(Box::new(pool.http_peer(address, connection)))
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream_request: &mut RequestHeader,
        ctx: &mut Context,
    ) -> Result<()> {
        if let (None, Some(peer)) = (upstream_request.headers.get(header::HOST), ctx.tried.last()) {
            // HTTP/1.0 needs no host; HTTP/1.1, which upstreams are spoken to in, does.
            upstream_request.insert_header("Host", peer.to_string())?;
        }
        if let Some(origin) = &ctx.origin {
            let (scheme, place) = (scheme(session), ctx.place());
            geo_headers::replace(
                upstream_request,
                origin,
                scheme,
                place.as_ref(),
                &self.location_headers,
            );
        }
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        _upstream_response: &mut ResponseHeader,
        ctx: &mut Context,
    ) -> Result<()> {
        if let (Some(pool), Some(peer)) = (&self.upstream, ctx.tried.last()) {
            pool.succeeded(*peer);
        }
        if self.drain.is_draining() {
            session.set_keepalive(None);
        }
        Ok(())
    }

    /// Nothing was sent yet, so any request may go to another peer.
    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut Context,
        mut error: Box<Error>,
    ) -> Box<Error> {
        error.set_retry(self.give_up_peer(ctx));
        error
    }

    /// The request may have reached the peer: only one that may be repeated goes to another, and
    /// only while the client has seen nothing of an answer.
    fn error_while_proxy(
        &self,
        peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        ctx: &mut Context,
        client_reused: bool,
    ) -> Box<Error> {
        let mut error = error.more_context(format!("Peer: {peer}"));
        let downstream = session.as_downstream();
        let unanswered = downstream.response_written().is_none();
        let may_repeat = unanswered
            && downstream.req_header().method.is_idempotent()
            && !downstream.retry_buffer_truncated();
        let is_stale = client_reused && unanswered && !is_timeout(&error);
        let retry = match (error.esource(), ctx.tried.last()) {
            (ErrorSource::Upstream, Some(&peer)) if is_stale && ctx.refresh == Refresh::Unused => {
                ctx.refresh = Refresh::Due(peer);
                may_repeat
            }
            (ErrorSource::Upstream, _) => self.give_up_peer(ctx) && may_repeat,
            _ => false,
        };
        error.set_retry(retry);
        error
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        _ctx: &mut Context,
    ) -> FailToProxy {
        let status = status_of(error);
        if status != CLIENT_LEFT && session.response_written().is_none() {
            session.set_keepalive(None);
            if let Err(error) = self.send_page(session, status).await {
                log::debug!("the client left before its error page: {error}");
            }
            linger(session).await;
        }
        FailToProxy {
            error_code: status,
            can_reuse_downstream: false,
        }
    }

    /// What clients do wrong is in the access log; the error log is for what we or upstreams do.
    fn suppress_error_log(&self, _session: &Session, _ctx: &Context, error: &Error) -> bool {
        status_of(error) < 500
    }

    /// The access log names every peer that a request was tried on, and the pool says once that a
    /// peer failed; a line for every retry would bury both.
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
    /// pingora keeps idle connections for ever unless it is told otherwise on every request.
    fn set_connection_limits(&self, session: &mut Session) {
        session.set_pipelining_enabled(true);
        session.set_read_timeout(Some(self.client.read_timeout));
        session.set_write_timeout(Some(self.client.write_timeout));
        session.set_total_drain_timeout(Some(self.client.read_timeout));
        let keep = !self.drain.is_draining() && may_keep(session.req_header());
        session.set_keepalive(keep.then_some(self.client.keepalive_timeout.as_secs()));
    }

    /// The peer for the next try of a request, and whether a kept connection to it will do.
    pub(super) fn choose_peer(
        &self,
        ctx: &mut Context,
    ) -> Result<(&Pool, SocketAddr, ConnectionKind)> {
        let pool = self
            .upstream
            .as_ref()
            .ok_or_else(|| status_error(502, "no upstream"))?;
        ctx.upstream_start.get_or_insert_with(Instant::now);
        // A retry sends the body again from its beginning.
        ctx.body_bytes = 0;
        if let Refresh::Due(address) = ctx.refresh {
            ctx.refresh = Refresh::Used;
            return Ok((pool, address, ConnectionKind::Fresh));
        }
        let next = pool.select(&ctx.tried);
        let next = next.ok_or_else(|| status_error(502, "no peer is left to try"))?;
        ctx.tried.push(next);
        Ok((pool, next, ConnectionKind::Any))
    }

    /// Who is the client, and where.
    fn locate(&self, session: &Session, ctx: &mut Context) -> Result<()> {
        let peer = session.client_addr().and_then(|address| address.as_inet());
        let peer = peer.ok_or_else(|| status_error(400, "a connection without an IP address"))?;
        let headers = &session.req_header().headers;
        let origin = client_ip::resolve(PeerAddr::new(*peer), headers, &self.client_ip);
        ctx.place = ctx
            .database
            .lookup(origin.client.ip())
            .map(|place| place.number());
        ctx.origin = Some(origin);
        Ok(())
    }

    /// Answers an IP query through the same code as every other door.
    async fn answer_query(&self, session: &mut Session, ctx: &Context) -> Result<()> {
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

    async fn send_page(&self, session: &mut Session, status: u16) -> Result<()> {
        let page = self.error_pages.page(status);
        let mut header = ResponseHeader::build(status, Some(4))?;
        header.insert_header(header::CONTENT_TYPE, error_page::CONTENT_TYPE)?;
        header.insert_header(header::CONTENT_LENGTH, page.len())?;
        send(session, header, page).await
    }

    fn declares_too_large_a_body(&self, session: &Session) -> bool {
        let length = session.get_header(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        length.is_some_and(|length| length > self.client.max_body_size)
    }

    /// Notes that the current peer failed; whether there is another one to try.
    fn give_up_peer(&self, ctx: &Context) -> bool {
        let (Some(pool), Some(peer)) = (&self.upstream, ctx.tried.last()) else {
            return false;
        };
        pool.failed(*peer);
        pool.has_another(&ctx.tried)
    }

    fn log_access(&self, session: &Session, error: Option<&Error>, ctx: &Context) {
        // A connection without an address has nothing that could be logged of it.
        let Some(origin) = &ctx.origin else { return };
        let request = session.req_header();
        let written = session.response_written();
        let status = written.map(|response| response.status.as_u16());
        let header = |name| {
            request
                .headers
                .get(name)
                .map_or(&b""[..], |value| value.as_bytes())
        };
        let entry = Entry {
            time: SystemTime::now(),
            client: origin.client.ip(),
            country: ctx
                .place()
                .map_or("", |place| place.text(Field::CountryCode)),
            authorization: header(header::AUTHORIZATION),
            method: request.method.as_str().as_bytes(),
            target: request.raw_path(),
            protocol: protocol(request.version),
            status: status.unwrap_or_else(|| error.map_or(CLIENT_LEFT, status_of)),
            body_bytes: session.body_bytes_sent(),
            referer: header(header::REFERER),
            user_agent: header(header::USER_AGENT),
            forwarded_for: header(http::HeaderName::from_static("x-forwarded-for")),
            upstream: &ctx.tried,
            request_time: ctx.start.elapsed(),
            upstream_time: ctx.upstream_start.map(|start| start.elapsed()),
        };
        let kind = if !ctx.tried.is_empty() {
            Kind::Upstream
        } else if query::is_query(request.uri.path().as_bytes()) {
            Kind::Query
        } else {
            Kind::Own
        };
        self.finish(kind, &entry);
    }
}

/// Whether a request leaves it to us to keep the connection. An HTTP/1.0 client has to ask for it,
/// which pingora forgets once it is told a time. `Connection: close` it remembers.
fn may_keep(request: &RequestHeader) -> bool {
    let asks = request.headers.get(header::CONNECTION);
    let asks = asks.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"keep-alive"));
    request.version != http::Version::HTTP_10 || asks
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

fn scheme(session: &Session) -> Scheme {
    let tls = session
        .digest()
        .is_some_and(|digest| digest.ssl_digest.is_some());
    if tls { Scheme::Https } else { Scheme::Http }
}

fn is_timeout(error: &Error) -> bool {
    matches!(
        error.etype(),
        ErrorType::ReadTimedout | ErrorType::WriteTimedout
    )
}

fn too_large() -> Box<Error> {
    status_error(413, "the request body is too large")
}

fn status_error(status: u16, reason: &'static str) -> Box<Error> {
    let mut error = Error::explain(ErrorType::HTTPStatus(status), reason);
    error.as_in();
    error
}

/// The status that tells a client what went wrong.
fn status_of(error: &Error) -> u16 {
    match (error.etype(), error.esource()) {
        (ErrorType::HTTPStatus(status), _) => *status,
        (ErrorType::ConnectTimedout | ErrorType::ReadTimedout, ErrorSource::Upstream) => 504,
        (_, ErrorSource::Upstream) => 502,
        (ErrorType::ReadTimedout, ErrorSource::Downstream) => 408,
        (
            ErrorType::ReadError | ErrorType::WriteError | ErrorType::ConnectionClosed,
            ErrorSource::Downstream,
        ) => CLIENT_LEFT,
        (_, ErrorSource::Downstream) => 400,
        _ => 500,
    }
}

fn protocol(version: http::Version) -> &'static str {
    match version {
        http::Version::HTTP_09 => "HTTP/0.9",
        http::Version::HTTP_10 => "HTTP/1.0",
        http::Version::HTTP_11 => "HTTP/1.1",
        http::Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/3.0",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_the_status_that_tells_them() {
        use ErrorSource::{Downstream, Internal, Upstream};
        for (kind, source, status) in [
            (ErrorType::ConnectRefused, Upstream, 502),
            (ErrorType::ConnectTimedout, Upstream, 504),
            (ErrorType::ReadTimedout, Upstream, 504),
            (ErrorType::ConnectionClosed, Upstream, 502),
            (ErrorType::ReadTimedout, Downstream, 408),
            (ErrorType::ConnectionClosed, Downstream, CLIENT_LEFT),
            (ErrorType::InvalidHTTPHeader, Downstream, 400),
            (ErrorType::InternalError, Internal, 500),
            (ErrorType::HTTPStatus(413), Internal, 413),
        ] {
            let mut error = Error::new(kind);
            error.esource = source.clone();
            assert_eq!(status_of(&error), status, "{error}");
        }
    }
}
