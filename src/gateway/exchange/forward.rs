//! The HTTP/1 engine: one request of an HTTP/1 client, to an HTTP/1 peer or answered here.
//!
//! Heads stay bytes: a request's is read once, kept with the positions of its parts, and written anew
//! for each peer; a response's is written from the buffer that it was read into. Nothing is parsed
//! twice, and there is no map of headers.

use std::sync::Arc;

use bytes::{Buf, BytesMut};
use pingora::connectors::{ConnectorOptions, TransportConnector};
use pingora::protocols::Stream;
use pingora::server::configuration::ServerConf;
use pingora::{Error, Result};

use super::client::Client;
use super::log::{Sent, Served};
use super::pool;
use super::relay::{Outcome as Relayed, Relay, Replay, Timeouts};
use super::timer::Timer;
use super::tries::{TryFacts, fail_to_connect, fail_to_exchange};
use super::{Outcome, decide, locate, peer_is_trusted, reply};
use crate::config::model::Protocol;
use crate::gateway::Gateway;
use crate::gateway::client_ip::PeerAddr;
use crate::gateway::context::Context;
use crate::gateway::drain::Drain;
use crate::gateway::failure::{CLIENT_LEFT, out_of_time, status_of};
use crate::gateway::geo_headers;
use crate::gateway::local_reply;
use crate::gateway::metrics::Engine;
use crate::gateway::request_view::RequestView;
use crate::gateway::upstream::{ConnectionKind, Peer};
use crate::proto::h1::stored_head::StoredHead;
use crate::proto::headers::Headers;

/// The HTTP/1 engine.
pub struct Forwarder {
    gateway: Arc<Gateway>,
    connector: TransportConnector,
}

/// A client's connection, for one request.
pub struct Downstream<'c> {
    /// Stream with the client.
    pub stream: &'c mut Stream,
    /// Bytes that were read and not served, from the start of the request on.
    pub read_buf: &'c mut BytesMut,
    /// The other end of the socket.
    pub peer: PeerAddr,
    /// Requests that may follow this one.
    pub requests_left: u32,
}

/// End of a request on its connection.
pub enum End {
    /// Another request can follow.
    Keep,
    /// The connection is to be closed.
    Close,
    /// The request is for an upstream of HTTP/2; nothing was read or written.
    Http2Upstream(Box<Context>),
}

/// A request on its way through the engine.
struct Exchange<'e, 'c> {
    ctx: &'e mut Context,
    request: RequestView<'e, StoredHead>,
    client: &'e mut Client<'c>,
    relayed: Relayed,
}

impl Forwarder {
    /// An engine of `gateway`.
    #[must_use]
    pub fn new(gateway: Arc<Gateway>, conf: &ServerConf) -> Self {
        Forwarder {
            gateway,
            connector: TransportConnector::new(Some(ConnectorOptions::from_server_conf(conf))),
        }
    }

    /// Serves the request with this head, which begins the connection's buffer.
    pub async fn serve(
        &self,
        connection: Downstream<'_>,
        mut head: Box<StoredHead>,
        timer: &mut Timer<'_>,
    ) -> End {
        let gateway = &*self.gateway;
        let mut ctx = Context::new(gateway);
        ctx.engine = Engine::Http1;
        locate(&mut ctx, connection.peer, &*head, &gateway.database.load());
        if !peer_is_trusted(&ctx) {
            let untrusted = &ctx.settings.client_ip.untrusted_headers;
            head.hide_if(|name| geo_headers::is_untrusted(name, untrusted));
        }
        if head.has("upgrade") {
            // To a WebSocket only, and such a request is not for this engine.
            head.hide_if(|name| name.eq_ignore_ascii_case("upgrade"));
        }
        let keep =
            head.keeps_connection() && connection.requests_left > 0 && !gateway.drain.is_draining();
        let tls = connection.stream.get_ssl_digest();
        let socket = connection.stream.get_socket_digest();
        let local = || socket.as_ref()?.local_addr()?.as_inet().copied();
        let request = RequestView {
            method: head.method(),
            target: head.target(),
            version: head.version(),
            authority: None,
            headers: &*head,
            tls: tls.as_deref(),
            redirect_port: ctx.settings.listeners.redirect(local),
        };
        let decided = decide(gateway, &request, &mut ctx);
        let is_http2 = |ctx: &Context| {
            let pool = ctx.pool.as_ref();
            pool.is_some_and(|pool| pool.protocol() != Protocol::Http1)
        };
        if matches!(decided, Ok(Outcome::Forward)) && is_http2(&ctx) {
            return End::Http2Upstream(Box::new(ctx));
        }
        connection.read_buf.advance(head.length());
        let settings = Arc::clone(&ctx.settings);
        let Downstream {
            stream, read_buf, ..
        } = connection;
        let mut client = Client::new(stream, read_buf, head.body(), &settings.client);
        let mut exchange = Exchange {
            ctx: &mut ctx,
            request,
            client: &mut client,
            relayed: Relayed {
                keep,
                ..Relayed::default()
            },
        };
        let result = match decided {
            Ok(outcome) => self.answer(&mut exchange, outcome, timer).await,
            Err(error) => Err(error),
        };
        if let Err(error) = &result {
            Box::pin(exchange.fail(error)).await;
        }
        let Exchange { relayed, .. } = exchange;
        let served = Served {
            status: relayed.status,
            body_bytes: relayed.body_bytes,
            sent: Sent::Bytes(&relayed.head),
        };
        let error = result.as_ref().err().map(AsRef::as_ref);
        gateway.end_request(&request, &ctx, error, &served);
        let keep = result.is_ok() && relayed.keep && client.body().is_complete();
        drop(ctx);
        pool::keep_head(head);
        if keep { End::Keep } else { End::Close }
    }

    async fn answer(
        &self,
        exchange: &mut Exchange<'_, '_>,
        outcome: Outcome,
        timer: &mut Timer<'_>,
    ) -> Result<()> {
        let Exchange {
            ctx,
            request,
            client,
            relayed,
        } = exchange;
        match outcome {
            // In boxes of their own, or every proxied request would set aside room for them.
            Outcome::Reply(answer) => {
                Box::pin(reply::send(client, request, ctx, *answer, relayed)).await
            }
            Outcome::Query => {
                let database = &self.gateway.database;
                Box::pin(reply::answer_query(client, request, ctx, database, relayed)).await
            }
            Outcome::File(file) => {
                Box::pin(reply::send_file(client, request, ctx, file, relayed)).await
            }
            Outcome::Forward => match ctx.deadline {
                None => self.try_peers(exchange, timer).await,
                Some(deadline) => {
                    let tries = self.try_peers(exchange, timer);
                    let tries = tokio::time::timeout_at(deadline.into(), tries).await;
                    tries.unwrap_or_else(|_| Err(out_of_time()))
                }
            },
        }
    }

    async fn try_peers(
        &self,
        exchange: &mut Exchange<'_, '_>,
        timer: &mut Timer<'_>,
    ) -> Result<()> {
        let keep = exchange.relayed.keep;
        let mut replay = Replay::new(exchange.request.method.is_idempotent());
        while let Err(error) = self.try_peer(exchange, &mut replay, timer).await {
            if !error.retry() {
                return Err(error);
            }
            exchange.relayed.keep = keep;
        }
        Ok(())
    }

    async fn try_peer(
        &self,
        exchange: &mut Exchange<'_, '_>,
        replay: &mut Replay,
        timer: &mut Timer<'_>,
    ) -> Result<()> {
        let (chosen, connection) = exchange.ctx.choose_peer(exchange.request.headers)?;
        let kept = match connection {
            ConnectionKind::Any => chosen.kept(),
            ConnectionKind::Fresh => None,
        };
        let is_reused = kept.is_some();
        let mut peer = match kept {
            Some(stream) => stream,
            // In a box of its own: connecting takes 9 KiB, which every request would set aside.
            None => match Box::pin(self.connect(&chosen)).await {
                Ok(stream) => stream,
                Err(mut error) => {
                    error.as_up();
                    let facts = exchange.facts(replay, false);
                    return Err(fail_to_connect(exchange.ctx, facts, error));
                }
            },
        };
        let drain = &self.gateway.drain;
        let result = exchange
            .relay(&mut peer, &chosen, drain, replay, timer)
            .await;
        if let Err(error) = result {
            let error = error.more_context(format!("Peer: {}", chosen.address));
            let facts = exchange.facts(replay, is_reused);
            return Err(fail_to_exchange(exchange.ctx, facts, error));
        }
        let relayed = &mut exchange.relayed;
        if relayed.peer_is_reusable && self.gateway.may_keep(&exchange.ctx.settings) {
            chosen.keep(peer);
        }
        if !exchange.client.body().is_complete() {
            // Closing with unread data would take the response from the client.
            Box::pin(exchange.client.linger()).await;
        }
        Ok(())
    }

    async fn connect(&self, chosen: &Peer) -> Result<Stream> {
        let peer = chosen.template_to_check();
        let stream = self.connector.new_stream(peer).await?;
        chosen.check(stream.get_ssl_digest().as_deref())?;
        Ok(stream)
    }
}

impl Exchange<'_, '_> {
    async fn relay(
        &mut self,
        peer: &mut Stream,
        chosen: &Peer,
        drain: &Drain,
        replay: &mut Replay,
        timer: &mut Timer<'_>,
    ) -> Result<()> {
        let options = &chosen.template().options;
        let timeouts = Timeouts::new(options.read_timeout, options.write_timeout);
        let (ctx, request, client) = (&mut *self.ctx, self.request, &mut *self.client);
        let relayed = &mut self.relayed;
        let mut relay = Relay::new(ctx, request, client, peer, timeouts, drain, replay, relayed)?;
        relay.run(timer).await
    }

    fn facts(&self, replay: &Replay, is_reused: bool) -> TryFacts {
        TryFacts {
            is_reused,
            is_answered: self.client.is_answered,
            is_idempotent: self.request.method.is_idempotent(),
            has_body: replay.is_complete(),
        }
    }

    /// Tells the client of a failure, if it has received nothing yet.
    async fn fail(&mut self, error: &Error) {
        self.relayed.keep = false;
        let status = status_of(error);
        if status == CLIENT_LEFT || self.client.is_answered {
            return;
        }
        let page = local_reply::error_page(&self.request, self.ctx, status);
        let (client, relayed) = (&mut *self.client, &mut self.relayed);
        let sent = match page {
            Ok(page) => reply::send(client, &self.request, self.ctx, page, relayed).await,
            Err(error) => Err(error),
        };
        if let Err(error) = sent {
            log::debug!("the client left before its error page: {error}");
        }
        self.client.linger().await;
    }
}
