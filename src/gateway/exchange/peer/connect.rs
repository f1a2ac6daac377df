//! Connections to peers: opened, or taken from those that are kept.

use std::net::SocketAddr;

use pingora::Result;
use pingora::connectors::ConnectorOptions;
use pingora::connectors::http::v2::Connector;
use pingora::protocols::http::v2::client::Http2Session;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{ALPN, Digest, Stream};
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::{HttpPeer, Peer as _};

use super::http2_connection::open;
use crate::config::model::ProxyVersion;
use crate::gateway::telemetry::metrics::HttpVersion;
use crate::gateway::upstream::proxy_header::begin_with;
use crate::gateway::upstream::{ConnectionKind, Peer};

/// Connector of either version, and keeper of idle HTTP/2 connections. Idle HTTP/1 connections are
/// kept by their peer.
pub struct Connections(Connector);

/// Connection to a peer, for one request.
pub enum Connected {
    /// A whole connection.
    Http1(Stream),
    /// A whole connection to a FastCGI server.
    FastCgi(Stream),
    /// A stream of a connection, with the key of the connection if no other request may find it.
    Http2(Box<Http2Session>, Option<Box<HttpPeer>>),
}

impl Connected {
    /// Protocol that the peer is spoken to in.
    pub fn version(&self) -> HttpVersion {
        match self {
            Connected::Http1(_) => HttpVersion::Http1,
            Connected::FastCgi(_) => HttpVersion::FastCgi,
            Connected::Http2(..) => HttpVersion::Http2,
        }
    }
}

impl Connections {
    /// A connector with the process's options.
    pub fn new(conf: &ServerConf) -> Self {
        let options = ConnectorOptions::from_server_conf(conf);
        Connections(Connector::new(Some(options)))
    }

    /// Returns a new connection to a peer that begins with a PROXY header for this client, and is used for
    /// one request.
    ///
    /// # Errors
    /// If the peer cannot be reached, or is not the one that it should be.
    pub async fn get_for(
        &self,
        chosen: &Peer,
        version: ProxyVersion,
        ends: Option<(SocketAddr, SocketAddr)>,
    ) -> Result<Connected> {
        let mut peer = chosen.http_peer_to_check(ConnectionKind::Fresh);
        begin_with(&mut peer, version, ends);
        self.open(chosen, &peer).await
    }

    /// Returns a connection to a peer, and `true` if it has carried other requests.
    ///
    /// # Errors
    /// If the peer cannot be reached, or is not the one that it should be.
    pub async fn get(&self, chosen: &Peer, kind: ConnectionKind) -> Result<(Connected, bool)> {
        if kind == ConnectionKind::Fresh {
            let apart = Box::new(chosen.http_peer_to_check(kind));
            let connected = match self.open(chosen, &apart).await? {
                Connected::Http2(session, _) => Connected::Http2(session, Some(apart)),
                connected => connected,
            };
            return Ok((connected, false));
        }
        let peer = chosen.template_to_check();
        if speaks_http2(peer)
            // A kept connection that is unusable says nothing about the peer; a new one does.
            && let Ok(Some(session)) = self.0.reused_http_session(peer).await
        {
            if chosen.check(ssl_digest(session.digest())).is_ok() {
                return Ok((Connected::Http2(Box::new(session), None), true));
            }
            session.conn.mark_shutdown();
        }
        Ok((self.open(chosen, peer).await?, false))
    }

    async fn open(&self, chosen: &Peer, peer: &HttpPeer) -> Result<Connected> {
        let stream = self.0.transport().new_stream(peer).await?;
        chosen.check(stream.get_ssl_digest().as_deref())?;
        Ok(if has_chosen_http2(peer, &stream) {
            let session = open(&self.0, peer, stream).await?;
            Connected::Http2(Box::new(session), None)
        } else {
            Connected::Http1(stream)
        })
    }

    /// Gives the slot of a request on an HTTP/2 connection back.
    pub fn release(&self, session: Box<Http2Session>, chosen: &Peer, apart: Option<&HttpPeer>) {
        let peer = apart.unwrap_or(chosen.template_to_check());
        self.0
            .release_http_session(*session, peer, peer.idle_timeout());
    }
}

/// Returns an idle connection of HTTP/1, if one may be used.
pub fn kept(chosen: &Peer, kind: ConnectionKind) -> Option<Stream> {
    let may = kind == ConnectionKind::Any && may_be_kept(chosen);
    may.then(|| chosen.kept()).flatten()
}

/// Returns `true` if connections of HTTP/1 to a peer are kept. A peer that is spoken to in HTTP/2
/// where it can is asked anew each time.
pub fn may_be_kept(chosen: &Peer) -> bool {
    !speaks_http2(chosen.template())
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

fn ssl_digest(digest: Option<&Digest>) -> Option<&SslDigest> {
    digest?.ssl_digest.as_deref()
}
