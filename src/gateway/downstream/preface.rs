//! Steps before the first request of a listener that is not plain: PROXY header, TLS handshake, and
//! detection of the HTTP/2 preface.
//!
//! All steps share one deadline, so a silent client does not hold resources for long.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;

use pingora::protocols::l4::socket::SocketAddr as Address;
use pingora::protocols::l4::stream::Stream as Socket;
use pingora::protocols::{ALPN, GetSocketDigest, SocketDigest, Ssl, Stream};
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, timeout_at};

use crate::config::model::{Listener, Speaks};
use crate::gateway::request::client_ip::PeerAddr;
use crate::gateway::telemetry::metrics::Refused;
use crate::gateway::{Gateway, Settings};
use crate::proto::proxy_protocol::{self, Malformed, Reading};

/// First bytes of an HTTP/2 client with prior knowledge (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Connection that is ready for requests.
pub struct Accepted {
    pub stream: Stream,
    pub speaks_h2: bool,
}

/// Reason why a connection is not served.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("it left before it had said anything")]
    Left,
    #[error("it took too long")]
    Slow,
    #[error("it is not among client_ip.trusted_proxies, and the listener is for them only")]
    Untrusted,
    #[error("{0}")]
    Header(#[from] Malformed),
    #[error("{0}")]
    Handshake(Box<pingora::Error>),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("there is no TLS any more")]
    NoTls,
}

/// Accepts a connection as configured for `listener`. Returns `None` if it is not served.
pub async fn accept(
    gateway: &Gateway,
    listener: Listener,
    stream: Stream,
    peer: PeerAddr,
    deadline: Instant,
) -> Option<Accepted> {
    let settings = gateway.settings.load_full();
    let entering = take_in(&settings, listener, stream, peer);
    let entered = timeout_at(deadline, entering).await;
    match entered.unwrap_or(Err(Refusal::Slow)) {
        Ok(entered) => Some(entered),
        Err(refusal) => {
            note(gateway, peer.ip(), listener, &refusal);
            None
        }
    }
}

/// Counts and logs a rejection. A wrong PROXY header is logged at level info, because it may be a
/// mistake of the configuration; errors of clients in a handshake are logged at level debug.
fn note(gateway: &Gateway, peer: IpAddr, listener: Listener, refusal: &Refusal) {
    let kind = match refusal {
        Refusal::Left | Refusal::Io(_) => {
            log::debug!("{peer} at {}: {refusal}", listener.address);
            return;
        }
        Refusal::Slow => Refused::Slow,
        Refusal::Untrusted | Refusal::Header(_) => Refused::ProxyProtocol,
        Refusal::Handshake(_) | Refusal::NoTls => Refused::Handshake,
    };
    gateway.metrics.refused(kind);
    let level = match kind {
        Refused::ProxyProtocol => log::Level::Info,
        Refused::Slow | Refused::Handshake => log::Level::Debug,
    };
    log::log!(
        level,
        "{peer} at {} is refused: {refusal}",
        listener.address
    );
}

async fn take_in(
    settings: &Settings,
    listener: Listener,
    stream: Stream,
    peer: PeerAddr,
) -> Result<Accepted, Refusal> {
    let Ok(mut socket) = stream.into_any().downcast::<Socket>() else {
        // pingora does no TLS handshake for these listeners, so this is a plain socket.
        return Err(Refusal::NoTls);
    };
    if listener.proxy_protocol {
        let trusted = &settings.client_ip.trusted_proxies;
        if let Some(source) = read_source(&mut socket, trusted.contains(peer.ip())).await? {
            set_peer(&mut socket, source);
        }
    }
    match listener.speaks {
        Speaks::Http { h2c: true } => Ok(Accepted {
            speaks_h2: begins_with_preface(&mut socket).await?,
            stream: socket,
        }),
        Speaks::Http { h2c: false } | Speaks::Redirect { .. } => Ok(Accepted {
            stream: socket,
            speaks_h2: false,
        }),
        Speaks::Tls => {
            let tls = settings.listening.tls.as_deref().ok_or(Refusal::NoTls)?;
            wait_for_start(&mut socket).await?;
            let stream = tls.accept(*socket).await.map_err(Refusal::Handshake)?;
            Ok(Accepted {
                speaks_h2: matches!(stream.selected_alpn_proto(), Some(ALPN::H2)),
                stream: Box::new(stream),
            })
        }
    }
}

/// Reads the PROXY header. The peer's address is checked only after the first bytes, so that a
/// health check that connects and sends nothing is not counted as rejected.
async fn read_source(socket: &mut Socket, is_trusted: bool) -> Result<Option<SocketAddr>, Refusal> {
    let mut bytes = [0; proxy_protocol::LIMIT];
    let mut length = 0;
    loop {
        let read = socket.read(&mut bytes[length..]).await?;
        if read == 0 {
            return Err(Refusal::Left);
        }
        if !is_trusted {
            return Err(Refusal::Untrusted);
        }
        length += read;
        if let Reading::Header(header) = proxy_protocol::read(&bytes[..length])? {
            socket.rewind(&bytes[header.length..length]);
            return Ok(header.source);
        }
    }
}

/// Waits for the first bytes. A client that leaves without sending any is not a failed handshake.
async fn wait_for_start(socket: &mut Socket) -> Result<(), Refusal> {
    let mut start = [0; 1024];
    let read = socket.read(&mut start).await?;
    if read == 0 {
        return Err(Refusal::Left);
    }
    socket.rewind(&start[..read]);
    Ok(())
}

/// Sets the peer's address of a connection to `source`.
fn set_peer(socket: &mut Socket, source: SocketAddr) {
    let digest = SocketDigest::from_raw_fd(socket.as_raw_fd());
    // The digest is new, so it has no address yet.
    let _ = digest.peer_addr.set(Some(Address::Inet(source)));
    socket.set_socket_digest(digest);
}

/// Returns `true` if a connection begins with the preface. Reads no more bytes than that needs.
async fn begins_with_preface(socket: &mut Socket) -> Result<bool, Refusal> {
    let mut bytes = [0; PREFACE.len()];
    let mut length = 0;
    while length < bytes.len() && bytes[..length] == PREFACE[..length] {
        let read = socket.read(&mut bytes[length..]).await?;
        if read == 0 {
            return Err(Refusal::Left);
        }
        length += read;
    }
    socket.rewind(&bytes[..length]);
    Ok(bytes == PREFACE)
}
