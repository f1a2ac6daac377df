//! Client connections: accepts them, answers plain IP queries, and passes all other requests on.
//!
//! A plain query costs one read, one lookup and one write. It needs no task, no channel, no header
//! map and no allocation. An idle connection holds no buffer, because reading, answering and
//! writing happen in one poll, in buffers that belong to the thread.
//!
//! All other requests of HTTP/1 clients go to `exchange::forward`. If the upstream of such a
//! request speaks HTTP/2, it goes on to `duplex`, which also serves the requests of HTTP/2 clients.
//! A request for a WebSocket goes to pingora's proxy. The connection comes back from each engine,
//! so every head of an HTTP/1 connection is parsed here, strictly and within `header_timeout`. Only
//! a connection that has become a WebSocket does not come back.

pub(crate) mod boundary;
mod bounded_reads;
mod connection;
mod duplex;
mod entrance;
mod h2_stream;
mod http2;
mod nominated;
mod peer_http2;
mod peer_session;
#[cfg(test)]
pub(crate) mod recorder;
mod response;
mod turn_away;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::BytesMut;
use pingora::apps::{HttpServerApp, ServerApp};
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;
use pingora::server::configuration::ServerConf;
use pingora_proxy::{HttpProxy, Session};
use tokio::time::Instant;

use self::boundary::Boundary;
use self::connection::{Arrival, Connection, Extent, ForProxy, Next};
use self::duplex::Duplex;
use self::entrance::{Entered, enter};
use self::turn_away::turn_away;
use super::client_ip::PeerAddr;
use super::context::Context;
use super::exchange::forward::{End, Forwarder};
use super::exchange::timer::Timer;
use super::{Gateway, Proxy};
use crate::config::model::{Listener, Speaks};
use crate::proto::h1::head::{self, Limits, Parse};

/// Server of all client connections, with the engines for their requests.
pub struct Lane {
    gateway: Arc<Gateway>,
    proxy: Arc<HttpProxy<Proxy>>,
    forwarder: Forwarder,
    duplex: Arc<Duplex>,
}

impl Lane {
    /// Creates the lane of `gateway`, with its engines.
    #[must_use]
    pub fn new(gateway: Arc<Gateway>, conf: &Arc<ServerConf>) -> Self {
        let mut proxy = HttpProxy::new(Proxy::new(Arc::clone(&gateway)), Arc::clone(conf));
        proxy.handle_init_modules();
        Lane {
            forwarder: Forwarder::new(Arc::clone(&gateway), conf),
            duplex: Arc::new(Duplex::new(Proxy::new(Arc::clone(&gateway)), conf)),
            proxy: Arc::new(proxy),
            gateway,
        }
    }
}

#[async_trait]
impl ServerApp for Lane {
    async fn process_new(
        self: &Arc<Self>,
        stream: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        self.gateway.heartbeats.watch_this_worker();
        let peer = peer_of(&stream)?;
        let local = || stream.get_socket_digest()?.local_addr()?.as_inet().copied();
        let special = self.gateway.settings().listeners.find(local);
        let (lane, shutdown) = (Arc::clone(self), shutdown.clone());
        // A separate task: the task of the caller reserves 9 KiB for a TLS handshake as long as it
        // lives.
        match special {
            None => tokio::spawn(lane.serve(stream, peer, shutdown)),
            Some(listener) => tokio::spawn(lane.let_in(listener, stream, peer, shutdown)),
        };
        None
    }

    async fn cleanup(&self) {
        self.gateway.drain.close_listeners();
        self.proxy.http_cleanup().await;
    }
}

impl Lane {
    /// Serves a connection of a plain listener to its end.
    async fn serve(self: Arc<Self>, stream: Stream, peer: PeerAddr, shutdown: ShutdownWatch) {
        if let Err(refusal) = self.gateway.has_room() {
            return turn_away(&self.gateway, stream, &refusal).await;
        }
        let _share = match self.gateway.share_of(peer) {
            Ok(share) => share,
            Err(refusal) => return turn_away(&self.gateway, stream, &refusal).await,
        };
        let arrival = Arrival::new(&self.gateway);
        self.serve_http1(stream, peer, arrival, true, &shutdown)
            .await;
    }

    /// Serves a connection of a listener that is not plain to its end.
    async fn let_in(
        self: Arc<Self>,
        listener: Listener,
        stream: Stream,
        peer: PeerAddr,
        shutdown: ShutdownWatch,
    ) {
        let gateway = &*self.gateway;
        if gateway.has_room().is_err() {
            // A response would itself need scarce memory or files; just close.
            return;
        }
        // A client that has not sent a request yet counts as a connection, too. Behind a proxy, its
        // address is known only after the PROXY header.
        let early = (!listener.proxy_protocol).then(|| gateway.share_of(peer));
        let early = match early.transpose() {
            Ok(share) => share,
            // In TLS, a response would need a handshake first.
            Err(_) if listener.speaks == Speaks::Tls => return,
            Err(refusal) => return turn_away(gateway, stream, &refusal).await,
        };
        let arrival = Arrival::new(gateway);
        let deadline = Instant::now() + gateway.settings().client.header_timeout;
        // Each step has its own box, so that only the current one takes memory.
        let entering = Box::pin(enter(gateway, listener, stream, peer, deadline));
        let Some(Entered { stream, speaks_h2 }) = entering.await else {
            return;
        };
        // After a PROXY header it differs from the address of the socket.
        let Some(peer) = peer_of(&stream) else { return };
        let _share = match early.map_or_else(|| gateway.share_of(peer), Ok) {
            Ok(share) => share,
            Err(refusal) => return turn_away(gateway, stream, &refusal).await,
        };
        if speaks_h2 {
            let serving = http2::serve(gateway, &self.duplex, stream, arrival, &shutdown, deadline);
            Box::pin(serving).await;
        } else {
            let queries = !matches!(listener.speaks, Speaks::Redirect { .. });
            Box::pin(self.serve_http1(stream, peer, arrival, queries, &shutdown)).await;
        }
    }

    /// Serves the requests of an HTTP/1 connection. Plain queries are answered here if `queries`.
    async fn serve_http1<'g>(
        &'g self,
        stream: Stream,
        peer: PeerAddr,
        arrival: Arrival<'g>,
        queries: bool,
        shutdown: &ShutdownWatch,
    ) {
        let mut connection = Connection::new(&self.gateway, stream, peer, arrival, queries);
        let sleep = tokio::time::sleep(self.gateway.settings().client.header_timeout);
        let sleep = std::pin::pin!(sleep);
        let mut timer = Timer::new(sleep);
        while let Next::Proxy(request) = connection.next(&mut timer).await {
            let ForProxy {
                head,
                extent,
                is_upgrade,
            } = request;
            connection.begin_proxied();
            let mut decided = None;
            // In boxes of their own, or every idle connection would keep room for a request.
            if !is_upgrade {
                let serving = self
                    .forwarder
                    .serve(connection.downstream(), head, &mut timer);
                match Box::pin(serving).await {
                    End::Keep => {
                        connection.begin_next();
                        continue;
                    }
                    End::Close => break,
                    End::Http2Upstream(ctx) => decided = Some(*ctx),
                }
            }
            match Box::pin(self.hand_over(connection, extent, decided, shutdown)).await {
                Some(back) => connection = back,
                None => return,
            }
        }
        connection.close().await;
    }

    /// Passes one request to its engine. Returns the connection if it can carry another request.
    async fn hand_over<'g>(
        &self,
        mut connection: Connection<'g>,
        request: Extent,
        decided: Option<Context>,
        shutdown: &ShutdownWatch,
    ) -> Option<Connection<'g>> {
        let left = connection.requests_left();
        let mut read = connection.read_buf.split_to(request.here);
        if request.is_absolute {
            read = in_origin_form(read);
        }
        let ahead = connection.read_buf;
        let boundary = {
            let settings = self.gateway.settings();
            Boundary::new(connection.stream, request.body, ahead, &settings.client)
        };
        let stream = if let Some(ctx) = decided {
            self.duplex.serve(boundary, read, left, ctx).await?
        } else {
            let mut session = ServerSession::new_http1(Box::new(boundary));
            session.set_pipelined_prefix(read);
            session.set_keepalive_reuses_remaining(Some(left));
            let back = self.proxy.process_new_http(session, shutdown).await?;
            back.consume().0
        };
        let boundary = stream.into_any().downcast::<Boundary>().ok()?;
        (connection.stream, connection.read_buf) = boundary.into_parts()?;
        connection.begin_next();
        Some(connection)
    }
}

/// Writes the head of a request in origin form, and keeps the bytes of the body behind it. So no
/// later code has to handle absolute targets, or compare `Host` with the target.
fn in_origin_form(read: BytesMut) -> BytesMut {
    let (limits, mut slots) = (Limits::any(read.len()), head::slots());
    let written = match head::read(&read, limits, &mut slots) {
        Parse::Complete(head) => head.to_origin_form().map(|written| (written, head.length)),
        _ => None,
    };
    match written {
        Some((mut written, length)) => {
            written.extend_from_slice(&read[length..]);
            BytesMut::from(&written[..])
        }
        None => read,
    }
}

/// Starts the tunnel of a session, after its response has accepted the upgrade.
pub(super) fn begin_tunnel(session: &Session) {
    if let Some(boundary) = Boundary::of(session) {
        boundary.begin_tunnel();
    }
}

/// Returns the address of the other end: of the socket, or of the PROXY header.
fn peer_of(stream: &Stream) -> Option<PeerAddr> {
    let digest = stream.get_socket_digest()?;
    let address = digest.peer_addr()?.as_inet()?;
    Some(PeerAddr::new(*address))
}
