//! The duplex path: a request with a body, or of HTTP/2, to an upstream and back, in one task.
//!
//! Body and response may flow at a time, so one loop waits for both: for the client's next piece and
//! for the peer's next part. It knows at every moment whom it waits for, and so whose timeout holds
//! and whom a failure counts against. Until the request is sent whole that is the client, from then on
//! the peer. A response that has begun may be silent for as long as `read_timeout`, whoever is next.
//!
//! As on the straight path every decision is made by the phases of [`Proxy`]; framing is pingora's.

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
use super::forwarder::{self, Forwarder};
use super::nominated::strip_nominated;
use super::peer_http2::{self, Http2};
use super::peer_session::PeerSession;
use super::straight::{
    BATCH, BATCH_BYTES, body_length, frame, is_last, is_open_ended, join_writes, strip_hop_by_hop,
};
use crate::gateway::Proxy;
use crate::gateway::context::{Context, Engine};
use crate::gateway::failure::{slow_body, status_error};
use crate::gateway::message::{is_http2, linger};
use crate::gateway::response_head;
use crate::gateway::upstream::{ConnectionKind, Peer};

/// The duplex path.
pub struct Duplex {
    proxy: Proxy,
    /// Connects in both versions, and keeps the connections of HTTP/2. Those of HTTP/1 are kept by
    /// their peers.
    connector: Connector,
}

/// What happened next.
enum Event {
    Response(Result<HttpTask>),
    Body(Result<Option<Bytes>>),
    Timeout,
}

impl Duplex {
    /// A path on which `proxy` decides.
    pub fn new(proxy: Proxy, conf: &ServerConf) -> Self {
        Duplex {
            proxy,
            connector: Connector::new(Some(ConnectorOptions::from_server_conf(conf))),
        }
    }

    /// Serves the request that begins with `read`; the stream afterwards, if it can carry another.
    pub async fn serve(
        &self,
        boundary: Boundary,
        read: BytesMut,
        requests_left: u32,
    ) -> Option<Stream> {
        let session = forwarder::begin(boundary, read, requests_left).await?;
        self.serve_session(session).await
    }

    /// Serves a request of HTTP/2.
    pub async fn serve_stream(&self, stream: ServerSession) {
        // pingora makes a session of nothing but a connection of HTTP/1; this one is never used.
        let (unused, _) = tokio::io::duplex(1);
        let mut session = Session::new_h1(Box::new(unused));
        *session.downstream_session = stream;
        self.serve_session(session).await;
    }

    async fn serve_session(&self, session: Session) -> Option<Stream> {
        let mut ctx = self.proxy.new_ctx();
        ctx.engine = Engine::Own;
        forwarder::serve(self, session, ctx).await
    }

    /// A session with the peer, and whether its connection has carried other requests.
    async fn connect(
        &self,
        chosen: &Peer,
        peer: &HttpPeer,
        connection: ConnectionKind,
    ) -> Result<(PeerSession, bool)> {
        if connection == ConnectionKind::Any {
            if speaks_http2(peer) {
                // A kept connection that is of no use says nothing of the peer: a new one does.
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

    /// Sends the request and passes the response on; whether the whole request was sent.
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
        // A try after the first begins with what was read of the body.
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
                        // Without content a request is whole with its head, whatever ends it.
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
                            // It may have answered, though it reads no further.
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

    /// The head that the peer is sent.
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

    /// Sends a piece of the body, after the phases have seen it.
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
        // An empty piece would be the last chunk.
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

    /// Passes on a part of the response, and those behind it that are here already; whether it was
    /// the last.
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
                    // What came before it is passed on first.
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

impl Forwarder for Duplex {
    fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    async fn try_peer(&self, session: &mut Session, ctx: &mut Context) -> Result<()> {
        let (chosen, connection) = ctx.choose_peer(session.req_header())?;
        let apart;
        let peer = if connection == ConnectionKind::Fresh {
            apart = chosen.http_peer_to_check(connection);
            &apart
        } else {
            chosen.template_to_check()
        };
        // In a box of its own: connecting takes 9 KiB, which every request would set aside.
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
                // Closing with unread data would take the response from the client.
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

/// How long nothing may happen: for the client to send, until the peer is to answer.
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

/// Whether the peer takes no more of a request.
fn is_refusal(error: &Error) -> bool {
    *error.esource() == ErrorSource::Upstream && *error.etype() != ErrorType::WriteTimedout
}

/// Whether a response that ends with its head does not say so to a client of HTTP/1, which would wait
/// for its end.
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

/// Whether a connection is one of HTTP/2. Over TLS that was agreed on.
fn has_chosen_http2(peer: &HttpPeer, stream: &Stream) -> bool {
    match stream.selected_alpn_proto() {
        Some(chosen) => chosen == ALPN::H2,
        None => !peer.is_tls() && speaks_http2(peer),
    }
}

fn speaks_http2(peer: &HttpPeer) -> bool {
    peer.options.alpn.get_min_http_version() == 2
}

/// HTTP/2 has the host in the target.
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
