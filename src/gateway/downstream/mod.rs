//! Client connections: accepts them, answers plain IP queries, and passes all other requests on.
//!
//! A plain query costs one read, one lookup and one write. It needs no task, no channel, no header
//! map and no allocation. An idle connection holds no buffer, because reading, answering and
//! writing happen in one poll, in buffers that belong to the thread.
//!
//! All other requests go to the engine, `exchange::forward`. The connection comes back from it, so every
//! head of an HTTP/1 connection is parsed here, strictly and within `header_timeout`. Only a
//! connection that has become a WebSocket does not come back.

mod connection;
mod http2;
mod preface;
mod reject;
mod response;

use std::sync::Arc;

use async_trait::async_trait;
use pingora::apps::ServerApp;
use pingora::protocols::Stream;
use pingora::server::ShutdownWatch;
use pingora::server::configuration::ServerConf;
use tokio::time::Instant;

use self::connection::{Connection, ConnectionGuards, Next};
use self::preface::{Accepted, accept};
use self::reject::reject;
use super::Gateway;
use super::exchange::forward::Forwarder;
use super::exchange::timer::Timer;
use super::request::client_ip::PeerAddr;
use crate::config::model::{Listener, Speaks};

/// Server of all client connections, with the engine for their requests.
pub struct Downstream {
    gateway: Arc<Gateway>,
    forwarder: Arc<Forwarder>,
}

impl Downstream {
    /// Creates the server of `gateway`, with its engine.
    #[must_use]
    pub fn new(gateway: Arc<Gateway>, conf: &ServerConf) -> Self {
        Downstream {
            forwarder: Arc::new(Forwarder::new(Arc::clone(&gateway), conf)),
            gateway,
        }
    }
}

#[async_trait]
impl ServerApp for Downstream {
    async fn process_new(
        self: &Arc<Self>,
        stream: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        self.gateway.heartbeats.watch_this_worker();
        let peer = peer_of(&stream)?;
        let local = || stream.get_socket_digest()?.local_addr()?.as_inet().copied();
        let special = self.gateway.settings().listening.listeners.find(local);
        let (downstream, shutdown) = (Arc::clone(self), shutdown.clone());
        // A separate task: the task of the caller reserves 9 KiB for a TLS handshake as long as it
        // lives.
        match special {
            None => tokio::spawn(downstream.serve(stream, peer)),
            Some(listener) => {
                tokio::spawn(downstream.serve_special(listener, stream, peer, shutdown))
            }
        };
        None
    }

    async fn cleanup(&self) {
        self.gateway.drain.close_listeners();
    }
}

impl Downstream {
    /// Serves a connection of a plain listener to its end.
    async fn serve(self: Arc<Self>, stream: Stream, peer: PeerAddr) {
        if let Err(rejection) = self.gateway.has_room() {
            return reject(&self.gateway, stream, &rejection).await;
        }
        let _share = match self.gateway.share_of(peer) {
            Ok(share) => share,
            Err(rejection) => return reject(&self.gateway, stream, &rejection).await,
        };
        let guards = ConnectionGuards::new(&self.gateway);
        self.serve_http1(stream, peer, guards, true).await;
    }

    /// Serves a connection of a listener that is not plain to its end.
    async fn serve_special(
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
            Err(rejection) => return reject(gateway, stream, &rejection).await,
        };
        let guards = ConnectionGuards::new(gateway);
        let deadline = Instant::now() + gateway.settings().client.header_timeout;
        // Each step has its own box, so that only the current one takes memory.
        let entering = Box::pin(accept(gateway, listener, stream, peer, deadline));
        let Some(Accepted { stream, speaks_h2 }) = entering.await else {
            return;
        };
        // After a PROXY header it differs from the address of the socket.
        let Some(peer) = peer_of(&stream) else { return };
        let _share = match early.map_or_else(|| gateway.share_of(peer), Ok) {
            Ok(share) => share,
            Err(rejection) => return reject(gateway, stream, &rejection).await,
        };
        if speaks_h2 {
            let serving = http2::serve(
                gateway,
                &self.forwarder,
                stream,
                peer,
                guards,
                &shutdown,
                deadline,
            );
            Box::pin(serving).await;
        } else {
            let queries = !matches!(listener.speaks, Speaks::Redirect { .. });
            Box::pin(self.serve_http1(stream, peer, guards, queries)).await;
        }
    }

    /// Serves the requests of an HTTP/1 connection. Plain queries are answered here if `queries`.
    async fn serve_http1<'g>(
        &'g self,
        stream: Stream,
        peer: PeerAddr,
        guards: ConnectionGuards<'g>,
        queries: bool,
    ) {
        let mut connection = Connection::new(&self.gateway, stream, peer, guards, queries);
        let sleep = tokio::time::sleep(self.gateway.settings().client.header_timeout);
        let sleep = std::pin::pin!(sleep);
        let mut timer = Timer::new(sleep);
        while let Next::Request(head) = connection.next(&mut timer).await {
            connection.begin_request();
            let serving = self
                .forwarder
                .serve(connection.downstream(), head, &mut timer);
            // Not in a box: its room costs an idle connection less than a box costs each request.
            if !serving.await {
                break;
            }
            connection.begin_next();
        }
        connection.close().await;
    }
}

/// Returns the address of the other end: of the socket, or of the PROXY header.
fn peer_of(stream: &Stream) -> Option<PeerAddr> {
    let digest = stream.get_socket_digest()?;
    let address = digest.peer_addr()?.as_inet()?;
    Some(PeerAddr::new(*address))
}
