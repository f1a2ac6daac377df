//! The engine: one request of a client, to a peer or answered here, in any version of HTTP.
//!
//! Heads stay bytes: a request's is read once, kept with the positions of its parts, and written anew
//! for each peer; a response's is written from the buffer that it was read into. Nothing is parsed
//! twice. Only a side of HTTP/2 needs a map of headers, for the h2 crate.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{SocketDigest, Stream};
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};

use super::client::{self, Answer, Client, Http1Client, Http2Client, Http2Request};
use super::log::Served;
use super::peer::{self, Connected, Connections, FastCgiPeer, Http1Peer, Http2Peer};
use super::pool;
use super::relay::{Relay, Relayed, Replay, Timeouts, Tunnel};
use super::script_request::ScriptRequest;
use super::timer::Timer;
use super::tries::{fail_to_connect, fail_to_exchange};
use super::{Outcome, authenticate, decide, locate, peer_is_trusted, redirect, reply, routing};
use crate::config::model::Protocol;
use crate::gateway::Gateway;
use crate::gateway::access::drain::Drain;
use crate::gateway::context::Context;
use crate::gateway::failure::reason::FailureReason;
use crate::gateway::failure::{CLIENT_CLOSED_REQUEST, out_of_time, status_error, status_of};
use crate::gateway::request::client_ip::PeerAddr;
use crate::gateway::request::geo_headers;
use crate::gateway::request::request_view::RequestView;
use crate::gateway::respond::{local_reply, script};
use crate::gateway::telemetry::access_log::Sent;
use crate::gateway::upstream::attempts::Request;
use crate::gateway::upstream::{ConnectionKind, Peer, Pool};
use crate::proto::h1::response_head::Limits;
use crate::proto::h1::stored_head::StoredHead;

/// The engine, with the connections to peers.
pub struct Forwarder {
    gateway: Arc<Gateway>,
    connections: Connections,
}

/// An HTTP/1 client's connection, for one request.
pub struct Http1Connection<'c> {
    /// Stream with the client.
    pub stream: &'c mut Stream,
    /// Bytes that were read and not served, from the start of the request on.
    pub read_buf: &'c mut BytesMut,
    /// The other end of the socket.
    pub peer: PeerAddr,
    /// Requests that may follow this one.
    pub requests_left: u32,
}

/// An HTTP/2 client's connection.
#[derive(Clone)]
pub struct Http2Connection {
    /// The other end of the socket.
    pub peer: PeerAddr,
    /// TLS of the connection.
    pub tls: Option<Arc<SslDigest>>,
    /// Addresses of the connection.
    pub socket: Option<Arc<SocketDigest>>,
    /// Port of the redirect to HTTPS, on a listener that only redirects.
    pub redirect_port: Option<u16>,
}

/// A request on its way through the engine.
struct Exchange<'e, C> {
    ctx: &'e mut Context,
    request: RequestView<'e, StoredHead>,
    client: &'e mut C,
    /// Connection to the peer after an upgrade.
    tunnel: Option<Tunnel>,
    /// Script of the request, if a FastCGI server runs it.
    script: Option<Box<ScriptRequest>>,
}

impl Forwarder {
    /// An engine of `gateway`.
    #[must_use]
    pub fn new(gateway: Arc<Gateway>, conf: &ServerConf) -> Self {
        Forwarder {
            gateway,
            connections: Connections::new(conf),
        }
    }

    /// Serves the request of HTTP/1 with this head, which begins the connection's buffer. Returns
    /// `true` if another request can follow.
    pub async fn serve(
        &self,
        connection: Http1Connection<'_>,
        mut head: Box<StoredHead>,
        timer: &mut Timer<'_>,
    ) -> bool {
        let gateway = &*self.gateway;
        let mut ctx = Context::new(gateway);
        locate(&mut ctx, connection.peer, &*head, &gateway.database.load());
        hide_untrusted(&mut head, &ctx);
        if !head.is_upgrade() {
            // To a WebSocket only.
            head.hide_if(|name| name.eq_ignore_ascii_case("upgrade"));
        }
        let keep = head.keeps_connection()
            && !head.is_upgrade()
            && connection.requests_left > 0
            && !gateway.drain.is_draining();
        let tls = connection.stream.get_ssl_digest();
        let socket = connection.stream.get_socket_digest();
        let local = || socket.as_ref()?.local_addr()?.as_inet().copied();
        let redirect_port = ctx.settings.listening.listeners.redirect(local);
        let request = RequestView {
            socket: socket.as_deref(),
            ..RequestView::of_stored(&head, tls.as_deref(), redirect_port)
        };
        connection.read_buf.advance(head.length());
        let settings = Arc::clone(&ctx.settings);
        let Http1Connection {
            stream, read_buf, ..
        } = connection;
        let answer = Answer::new(settings.access_log.format().wants_sent());
        let mut client = Http1Client::new(stream, read_buf, &head, &settings.client, keep, answer);
        let is_done = self
            .serve_client(&mut ctx, request, &mut client, timer, None)
            .await;
        let keep = is_done && client.keeps_connection();
        drop(ctx);
        pool::keep_head(head);
        keep
    }

    /// Serves a request of HTTP/2.
    pub async fn serve_stream(&self, connection: Http2Connection, request: Http2Request) {
        let gateway = &*self.gateway;
        let mut ctx = Context::new(gateway);
        let Http2Request {
            head: parts,
            body,
            respond,
            refusal,
        } = request;
        let mut head = pool::head();
        head.store_http2(&parts, body.is_end_stream());
        locate(&mut ctx, connection.peer, &*head, &gateway.database.load());
        hide_untrusted(&mut head, &ctx);
        let settings = Arc::clone(&ctx.settings);
        drop(parts);
        let answer = Answer::new(settings.access_log.format().wants_sent());
        let mut client = Http2Client::new(body, respond, &settings.client, answer);
        let tls = connection.tls.as_deref();
        let request = RequestView {
            socket: connection.socket.as_deref(),
            ..RequestView::of_stored(&head, tls, connection.redirect_port)
        };
        let sleep = std::pin::pin!(tokio::time::sleep(settings.client.read_timeout));
        let timer = &mut Timer::new(sleep);
        let is_done = self
            .serve_client(&mut ctx, request, &mut client, timer, refusal)
            .await;
        if !is_done {
            client.abort();
        }
        drop(ctx);
        pool::keep_head(head);
    }

    /// Serves a request, or refuses it with a status. Returns `true` if it was answered to its end.
    async fn serve_client<C: Client>(
        &self,
        ctx: &mut Context,
        request: RequestView<'_, StoredHead>,
        client: &mut C,
        timer: &mut Timer<'_>,
        refusal: Option<u16>,
    ) -> bool {
        let gateway = &*self.gateway;
        let decided = match refusal {
            Some(status) => Err(status_error(status, "a request that is not well formed")),
            None => decide(gateway, &request, ctx),
        };
        let mut exchange = Exchange {
            ctx: &mut *ctx,
            request,
            client: &mut *client,
            tunnel: None,
            script: None,
        };
        let result = match decided {
            Ok(outcome) => self.answer(&mut exchange, outcome, timer).await,
            Err(error) => Err(error),
        };
        let is_failed = match &result {
            Ok(()) => false,
            Err(error) => !Box::pin(exchange.fail(error)).await,
        };
        let answer = client.answer();
        let served = Served {
            status: answer.status.map(|status| status.as_u16()),
            body_bytes: answer.body_bytes,
            sent: Sent(&answer.head),
        };
        let error = result.as_ref().err().map(AsRef::as_ref);
        gateway.end_request(&request, ctx, error, &served);
        !is_failed
    }

    async fn answer<C: Client>(
        &self,
        exchange: &mut Exchange<'_, C>,
        outcome: Outcome,
        timer: &mut Timer<'_>,
    ) -> Result<()> {
        let Exchange {
            ctx,
            request,
            client,
            ..
        } = exchange;
        let mut outcome = outcome;
        // A file may turn out to be another route's.
        let outcome = loop {
            outcome = match outcome {
                Outcome::File(file) => {
                    // In boxes of their own, or every proxied request would set aside room for them.
                    let sent = Box::pin(reply::send_file(*client, request, ctx, file)).await?;
                    match sent {
                        Some(elsewhere) => Outcome::Elsewhere(elsewhere),
                        None => return Ok(()),
                    }
                }
                Outcome::Elsewhere(elsewhere) => redirect::follow(request, ctx, elsewhere)?,
                Outcome::Authenticate(unverified) => {
                    let rejection = Box::pin(authenticate::verify(ctx, *unverified)).await;
                    routing::resume(request, ctx, rejection.as_ref())?
                }
                other => break other,
            };
        };
        match outcome {
            Outcome::Reply(answer) => Box::pin(reply::send_reply(*client, request, *answer)).await,
            Outcome::Query => {
                let database = &self.gateway.database;
                Box::pin(reply::answer_query(*client, request, ctx, database)).await
            }
            Outcome::File(_) | Outcome::Elsewhere(_) | Outcome::Authenticate(_) => Ok(()),
            Outcome::Script(asked) => {
                let Some(script) = Box::pin(script::find(&asked.settings, &asked.path)).await?
                else {
                    ctx.failure = Some(FailureReason::NoRoute);
                    let page = local_reply::page(request, ctx, 404)?;
                    return Box::pin(reply::send_reply(*client, request, page)).await;
                };
                let script = ScriptRequest::new(asked.settings, script, *client, request, ctx);
                exchange.script = Some(Box::new(Box::pin(script).await?));
                Box::pin(self.forward(exchange, asked.pool, timer)).await
            }
            Outcome::Forward(pool) => self.forward(exchange, pool, timer).await,
        }
    }

    /// Forwards a request to a peer of an upstream.
    async fn forward<C: Client>(
        &self,
        exchange: &mut Exchange<'_, C>,
        pool: Arc<Pool>,
        timer: &mut Timer<'_>,
    ) -> Result<()> {
        let ctx = &mut *exchange.ctx;
        ctx.attempts.forward_to(pool);
        match ctx.deadline {
            None => self.try_peers(exchange, timer).await?,
            Some(deadline) => {
                let tries = self.try_peers(exchange, timer);
                let tries = tokio::time::timeout_at(deadline.into(), tries).await;
                tries.unwrap_or_else(|_| Err(out_of_time()))?;
            }
        }
        match exchange.tunnel.take() {
            Some(tunnel) => Box::pin(exchange.pass(tunnel, timer)).await,
            None => Ok(()),
        }
    }

    async fn try_peers<C: Client>(
        &self,
        exchange: &mut Exchange<'_, C>,
        timer: &mut Timer<'_>,
    ) -> Result<()> {
        // A peer of HTTP/2 may say that it has not processed a request, whatever its method.
        let pool = exchange.ctx.attempts.pool();
        let may_be_http2 = pool.is_some_and(|pool| pool.protocol() == Protocol::Http2);
        let is_idempotent = exchange.request.method.is_idempotent();
        let mut replay = match &mut exchange.script {
            Some(script) => script.replay(),
            None => Replay::new(is_idempotent || may_be_http2),
        };
        while let Err(error) = self.try_peer(exchange, &mut replay, timer).await {
            if !error.retry() {
                return Err(error);
            }
        }
        Ok(())
    }

    async fn try_peer<C: Client>(
        &self,
        exchange: &mut Exchange<'_, C>,
        replay: &mut Replay,
        timer: &mut Timer<'_>,
    ) -> Result<()> {
        let (chosen, kind) = exchange.ctx.choose_peer(exchange.request.headers)?;
        let (connected, is_reused) = match peer::kept(&chosen, kind) {
            Some(stream) => (Connected::Http1(stream), true),
            // In a box of its own: connecting takes 9 KiB, which every request would set aside.
            None => match Box::pin(self.connect(exchange, &chosen, kind)).await {
                Ok(connected) => connected,
                Err(mut error) => {
                    error.as_up();
                    let request = exchange.facts(replay);
                    return Err(fail_to_connect(exchange.ctx, request, error));
                }
            },
        };
        let connected = match connected {
            Connected::Http1(stream) if exchange.script.is_some() => Connected::FastCgi(stream),
            connected => connected,
        };
        let version = connected.version();
        exchange.ctx.attempts.on_connected(version, is_reused);
        let result = match connected {
            Connected::Http1(stream) => {
                self.try_http1(exchange, stream, &chosen, replay, timer)
                    .await
            }
            Connected::FastCgi(stream) => {
                Box::pin(self.try_fastcgi(exchange, stream, &chosen, replay, timer)).await
            }
            Connected::Http2(session, apart) => {
                let apart = apart.as_deref();
                let peer = Http2Peer::new(session, chosen.template().is_tls(), exchange.limits());
                Box::pin(self.try_http2(exchange, peer?, &chosen, apart, replay, timer)).await
            }
        };
        match result {
            Ok(Relayed::Early) => {
                // Closing with unread data would take the response from the client.
                Box::pin(client::linger(exchange.client)).await;
                Ok(())
            }
            Ok(Relayed::Whole | Relayed::Upgraded) => Ok(()),
            Err(error) => {
                let error = error.more_context(format!("Peer: {}", chosen.address));
                let request = exchange.facts(replay);
                Err(fail_to_exchange(exchange.ctx, request, error))
            }
        }
    }

    /// Connects to a peer. Returns `true` if the connection has carried other requests.
    async fn connect<C>(
        &self,
        exchange: &Exchange<'_, C>,
        chosen: &Peer,
        kind: ConnectionKind,
    ) -> Result<(Connected, bool)> {
        let pool = exchange.ctx.attempts.pool();
        let Some(version) = pool.and_then(Pool::proxy_version) else {
            return self.connections.get(chosen, kind).await;
        };
        let ends = exchange.ends();
        let connected = self.connections.get_for(chosen, version, ends).await?;
        Ok((connected, false))
    }

    async fn try_http1<C: Client>(
        &self,
        exchange: &mut Exchange<'_, C>,
        stream: Stream,
        chosen: &Peer,
        replay: &mut Replay,
        timer: &mut Timer<'_>,
    ) -> Result<Relayed> {
        let mut peer = Http1Peer::new(stream, exchange.limits());
        let drain = &self.gateway.drain;
        let relayed = exchange
            .relay(&mut peer, chosen, drain, replay, timer)
            .await?;
        match relayed {
            Relayed::Whole => {
                if let Some(stream) = peer.into_reusable()
                    && peer::may_be_kept(chosen)
                    && self.gateway.may_keep(&exchange.ctx.settings)
                {
                    chosen.keep(stream);
                }
            }
            Relayed::Upgraded => {
                let (peer, received) = peer.into_upgraded();
                exchange.tunnel = Some(Tunnel {
                    peer,
                    received,
                    idle_timeout: Timeouts::of(chosen).read,
                });
            }
            Relayed::Early => {}
        }
        Ok(relayed)
    }

    async fn try_fastcgi<C: Client>(
        &self,
        exchange: &mut Exchange<'_, C>,
        stream: Stream,
        chosen: &Peer,
        replay: &mut Replay,
        timer: &mut Timer<'_>,
    ) -> Result<Relayed> {
        let no_script = || Error::explain(ErrorType::InternalError, "FastCGI without a script");
        let script = exchange.script.take().ok_or_else(no_script)?;
        let keeps = chosen.may_keep() && self.gateway.may_keep(&exchange.ctx.settings);
        let mut peer = FastCgiPeer::new(stream, exchange.limits(), &script, keeps);
        let drain = &self.gateway.drain;
        let relayed = exchange
            .relay(&mut peer, chosen, drain, replay, timer)
            .await;
        let upstream = exchange.ctx.attempts.pool().map_or("", Pool::name);
        self.gateway
            .failures
            .log_script(upstream, &chosen.address, peer.stderr());
        if let (Ok(Relayed::Whole), Some(stream)) = (&relayed, peer.into_reusable()) {
            chosen.keep(stream);
        }
        exchange.script = Some(script);
        relayed
    }

    async fn try_http2<C: Client>(
        &self,
        exchange: &mut Exchange<'_, C>,
        mut peer: Http2Peer,
        chosen: &Peer,
        apart: Option<&HttpPeer>,
        replay: &mut Replay,
        timer: &mut Timer<'_>,
    ) -> Result<Relayed> {
        let drain = &self.gateway.drain;
        let relayed = exchange
            .relay(&mut peer, chosen, drain, replay, timer)
            .await;
        let is_silent = |error: &Error| *error.etype() == ErrorType::ReadTimedout;
        if relayed.as_ref().is_err_and(|error| is_silent(error))
            && !exchange.ctx.attempts.progress().is_answered
        {
            peer.distrust();
        }
        self.connections.release(peer.into_session(), chosen, apart);
        relayed
    }
}

impl<C: Client> Exchange<'_, C> {
    async fn relay(
        &mut self,
        peer: &mut impl peer::Peer,
        chosen: &Peer,
        drain: &Drain,
        replay: &mut Replay,
        timer: &mut Timer<'_>,
    ) -> Result<Relayed> {
        let (ctx, request, client) = (&mut *self.ctx, self.request, &mut *self.client);
        let timeouts = Timeouts::of(chosen);
        let mut relay = Relay::new(ctx, request, client, peer, timeouts, drain, replay)?;
        relay.run(timer).await
    }

    /// Passes the bytes of an upgraded connection on, to the end of both sides.
    async fn pass(&mut self, tunnel: Tunnel, timer: &mut Timer<'_>) -> Result<()> {
        let Some((stream, read)) = self.client.upgraded() else {
            return Ok(());
        };
        let (bytes, result) = tunnel.run(stream, read, timer).await;
        self.client.answer_mut().body_bytes += bytes;
        result
    }

    /// Limits of the heads of a response.
    fn limits(&self) -> Limits {
        let any = Limits {
            max_size: 64 << 10,
            max_lines: 256,
        };
        let peer = self.ctx.attempts.peer();
        peer.map_or(any, |(pool, _)| pool.response_limits())
    }

    fn facts(&self, replay: &Replay) -> Request {
        Request {
            is_idempotent: self.request.method.is_idempotent(),
            has_body: replay.is_complete(),
        }
    }

    /// Tells the client of a failure, if it has received nothing yet. Returns `true` if it was told.
    async fn fail(&mut self, error: &Error) -> bool {
        self.client.close_after();
        let status = status_of(error);
        if status == CLIENT_CLOSED_REQUEST || !self.client.take_back() {
            return false;
        }
        let page = local_reply::error_page(&self.request, self.ctx, status);
        let sent = match page {
            Ok(page) => reply::send_reply(self.client, &self.request, page).await,
            Err(error) => Err(error),
        };
        if let Err(error) = &sent {
            log::debug!("the client left before its error page: {error}");
        }
        sent.is_ok()
    }
}

impl<C> Exchange<'_, C> {
    /// Addresses of the client and of the listener. A client behind trusted proxies has no port that is
    /// known here.
    fn ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        let socket = self.request.socket?;
        let origin = self.ctx.origin.as_ref()?;
        let local = *socket.local_addr()?.as_inet()?;
        let local = SocketAddr::new(local.ip().to_canonical(), local.port());
        let client = origin.client.ip();
        let peer = socket.peer_addr().and_then(|peer| peer.as_inet());
        let peer = peer.filter(|peer| peer.ip().to_canonical() == client);
        let port = peer.map_or(0, SocketAddr::port);
        Some((SocketAddr::new(client, port), local))
    }
}

/// Hides the lines that only a trusted proxy may send.
fn hide_untrusted(head: &mut StoredHead, ctx: &Context) {
    if !peer_is_trusted(ctx) {
        let untrusted = &ctx.settings.client_ip.untrusted_headers;
        head.hide_if(|name| geo_headers::is_untrusted(name, untrusted));
    }
}
