//! Connections of HTTP/2 to peers.
//!
//! They belong to pingora's connector, which counts the requests on each and knows which are idle.
//! The connector does not expose its handle for requests, so the handshake is done here, and a
//! second handle is stored in the connection's digest. `ProxyDigest::user_data` is the only field of
//! the digest for a custom value. It is free, because no connection here passes through a proxy.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use h2::client::SendRequest;
use pingora::connectors::http::v2::{ConnectionRef, Connector};
use pingora::http::ResponseHeader;
use pingora::protocols::http::v2::client::{Http2Session, drive_connection};
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{Digest, Stream};
use pingora::upstreams::peer::{HttpPeer, Peer as _};
use pingora::{ErrorType, OkOrErr, OrErr, Result};
use tokio::sync::watch;

/// Bytes of a request that are given to the h2 crate and not yet written to the connection.
const SEND_BUFFER: usize = 64 << 10;

/// Opens an HTTP/2 connection on `stream`, and the slot of its first request.
///
/// # Errors
/// If the handshake fails, or the connection takes no request.
pub async fn open(connector: &Connector, peer: &HttpPeer, stream: Stream) -> Result<Http2Session> {
    let id = stream.id();
    let streams = peer.options.max_h2_streams;
    let mut digest = Digest {
        ssl_digest: stream.get_ssl_digest(),
        timing_digest: stream.get_timing_digest(),
        proxy_digest: None,
        socket_digest: stream.get_socket_digest(),
    };
    let mut builder = h2::client::Builder::new();
    builder.enable_push(false).initial_max_send_streams(streams);
    if let Some(window) = peer.options.h2_stream_window_size {
        builder.initial_window_size(window);
    }
    if let Some(window) = peer.options.h2_connection_window_size {
        builder.initial_connection_window_size(window);
    }
    builder.max_send_buffer_size(SEND_BUFFER);
    let begun = builder.handshake(stream).await;
    let failed = "in the handshake of HTTP/2";
    let (requests, connection) = begun.or_err(ErrorType::HandshakeError, failed)?;
    let streams = streams.min(connection.max_concurrent_send_streams());
    let nothing = Box::new(ResponseHeader::build(200, Some(0))?);
    let handle: SendRequest<Bytes> = requests.clone();
    digest.proxy_digest = Some(Arc::new(ProxyDigest::new(nothing, Some(Box::new(handle)))));
    let (closed, is_closed) = watch::channel(false);
    let ping_failed = Arc::new(AtomicBool::new(false));
    let driver = drive_connection(connection, id, closed, None, Arc::clone(&ping_failed));
    tokio::spawn(driver);
    let connection = ConnectionRef::new(requests, is_closed, ping_failed, id, streams, digest);
    let session = connection.spawn_stream().await?;
    let no_room = "a new connection of HTTP/2 takes no request";
    let session = session.or_err(ErrorType::H2Error, no_room)?;
    if connection.more_streams_allowed() {
        connector
            .in_use_pool()
            .insert(peer.reuse_hash(), connection);
    }
    Ok(session)
}

/// Returns the second handle of a connection.
pub fn handle(session: &Http2Session) -> Option<SendRequest<Bytes>> {
    let digest = session.digest()?.proxy_digest.as_ref()?;
    let value = digest.user_data.as_ref()?;
    value.downcast_ref::<SendRequest<Bytes>>().cloned()
}
