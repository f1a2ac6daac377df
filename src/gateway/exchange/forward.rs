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
use super::{decide, locate, peer_is_trusted};
use crate::config::model::{Protocol, ProxyVersion};
use crate::gateway::Gateway;
use crate::gateway::access::drain::Drain;
use crate::gateway::context::Context;
use crate::gateway::failure::{out_of_time, status_error};
use crate::gateway::request::client_ip::PeerAddr;
use crate::gateway::request::geo_headers;
use crate::gateway::request::head_lines::HeadLines;
use crate::gateway::request::request_view::{RequestView, Serial};
use crate::gateway::route::Replacement;
use crate::gateway::upstream::attempts::Request;
use crate::gateway::upstream::{ConnectionKind, Peer, Pool};
use crate::geo::DatabaseHandle;
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
    /// Numbers of the connection and of this request on it.
    pub serial: Serial,
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
    /// Numbers of the connection and of the last request on it.
    pub serial: Serial,
}

/// Version of a PROXY header, and the addresses in it.
type Announced = (ProxyVersion, Option<(SocketAddr, SocketAddr)>);

/// A request on its way through the engine.
pub struct Exchange<'e, C> {
    pub(super) ctx: &'e mut Context,
    pub(super) request: RequestView<'e, StoredHead>,
    pub(super) client: &'e mut C,
    /// Connection to the peer after an upgrade.
    tunnel: Option<Tunnel>,
    /// Script of the request, if a FastCGI server runs it.
    pub(super) script: Option<Box<ScriptRequest>>,
    /// Body of the request, as far as an upstream was sent it.
    pub(super) replay: Option<Replay>,
    /// Answer in place of the last response, which was not passed on.
    replacement: Option<Box<Replacement>>,
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

    /// The database, as of now.
    pub(super) fn database(&self) -> &DatabaseHandle {
        &self.gateway.database
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
            serial: connection.serial,
            ..RequestView::of_stored(&head, tls.as_deref(), redirect_port)
        };
        connection.read_buf.advance(head.length());
        let settings = Arc::clone(&ctx.settings);
        let Http1Connection {
            stream, read_buf, ..
        } = connection;
        let answer = Answer::new(settings.access_logs.wants_sent());
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
        let answer = Answer::new(settings.access_logs.wants_sent());
        let mut client = Http2Client::new(body, respond, &settings.client, answer);
        let tls = connection.tls.as_deref();
        let request = RequestView {
            socket: connection.socket.as_deref(),
            serial: connection.serial,
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
        let mut exchange = Exchange::new(&mut *ctx, request, &mut *client);
        let result = match decided {
            Ok(outcome) => self.answer(&mut exchange, outcome, timer).await,
            Err(error) => Err(error),
        };
        let is_failed = match &result {
            Ok(()) => false,
            Err(error) => !Box::pin(self.fail(&mut exchange, error, timer)).await,
        };
        let answer = client.answer();
        let served = Served {
            status: answer.status.map(|status| status.as_u16()),
            head_bytes: answer.head_bytes,
            body_bytes: answer.body_bytes,
            sent: HeadLines(&answer.head),
            request_bytes: request.headers.length() as u64 + ctx.body.bytes,
        };
        let error = result.as_ref().err().map(AsRef::as_ref);
        gateway.end_request(&request, ctx, error, &served);
        !is_failed
    }

    /// Forwards a request to a peer of an upstream. Returns the answer in place of its response, if
    /// that was not passed on.
    pub(super) async fn forward<C: Client>(
        &self,
        exchange: &mut Exchange<'_, C>,
        pool: Arc<Pool>,
        timer: &mut Timer<'_>,
    ) -> Result<Option<Box<Replacement>>> {
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
        if let Some(tunnel) = exchange.tunnel.take() {
            Box::pin(exchange.pass(tunnel, timer)).await?;
        }
        Ok(exchange.replacement.take())
    }

    async fn try_peers<C: Client>(
        &self,
        exchange: &mut Exchange<'_, C>,
        timer: &mut Timer<'_>,
    ) -> Result<()> {
        // Of tries that do not come to an end, the body is lost.
        let before = exchange.replay.replace(Replay::lost());
        if before.as_ref().is_some_and(|before| !before.is_complete()) {
            let reason = "another upstream was sent the body, which is too long to be kept";
            return Err(status_error(502, reason));
        }
        let mut replay = match &mut exchange.script {
            Some(script) => script.replay(before),
            None => before.unwrap_or_else(|| Replay::new(exchange.may_be_sent_again())),
        };
        let result = loop {
            match self.try_peer(exchange, &mut replay, timer).await {
                Err(error) if error.retry() => {}
                result => break result,
            }
        };
        exchange.replay = Some(replay);
        result
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
            None => match Box::pin(self.connect(exchange.announced(), &chosen, kind)).await {
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
            Ok(Relayed::Early) if exchange.replacement.is_none() => {
                // Closing with unread data would take the response from the client.
                Box::pin(client::linger(exchange.client)).await;
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(error) => {
                let error = error.more_context(format!("Peer: {}", chosen.address));
                let request = exchange.facts(replay);
                Err(fail_to_exchange(exchange.ctx, request, error))
            }
        }
    }

    /// Connects to a peer. Returns `true` if the connection has carried other requests.
    async fn connect(
        &self,
        announced: Option<Announced>,
        chosen: &Peer,
        kind: ConnectionKind,
    ) -> Result<(Connected, bool)> {
        let Some((version, ends)) = announced else {
            return self.connections.get(chosen, kind).await;
        };
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

impl<'e, C: Client> Exchange<'e, C> {
    /// A request that nothing was done for.
    pub fn new(
        ctx: &'e mut Context,
        request: RequestView<'e, StoredHead>,
        client: &'e mut C,
    ) -> Self {
        Exchange {
            ctx,
            request,
            client,
            tunnel: None,
            script: None,
            replay: None,
            replacement: None,
        }
    }

    /// Returns `true` if the body may be needed again: another peer may get it after one has seen it,
    /// or another upstream.
    fn may_be_sent_again(&self) -> bool {
        // A peer of HTTP/2 may say that it has not processed a request, whatever its method.
        let pool = self.ctx.attempts.pool();
        self.request.method.is_idempotent()
            || pool.is_some_and(|pool| pool.protocol() == Protocol::Http2 || pool.may_redirect())
            || self
                .ctx
                .route()
                .is_some_and(|route| route.errors.lead_to_routes())
    }

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
        let relayed = relay.run(timer).await?;
        self.replacement = relay.into_replacement();
        Ok(relayed)
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
}

impl<C> Exchange<'_, C> {
    /// PROXY header of a connection for this request, if its upstream gets one.
    fn announced(&self) -> Option<Announced> {
        let pool = self.ctx.attempts.pool()?;
        Some((pool.proxy_version()?, self.ends()))
    }

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
