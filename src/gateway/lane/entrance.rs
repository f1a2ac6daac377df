//! What comes before the first request, where a listener is not plain: a PROXY header, a TLS
//! handshake, the preface of HTTP/2. All of it has one deadline, so a silent client holds nothing
//! for long.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;

use pingora::protocols::l4::socket::SocketAddr as Address;
use pingora::protocols::l4::stream::Stream as Socket;
use pingora::protocols::{ALPN, GetSocketDigest, SocketDigest, Ssl, Stream};
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, timeout_at};

use crate::config::model::{Listener, Speaks};
use crate::gateway::client_ip::PeerAddr;
use crate::gateway::metrics::Refused;
use crate::gateway::proxy_protocol::{self, Malformed, Reading};
use crate::gateway::{Gateway, Settings};

/// What a client that knows HTTP/2 beforehand begins with (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection that requests can come on.
pub struct Entered {
    pub stream: Stream,
    pub speaks_h2: bool,
}

/// Why there will be none.
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

/// Takes a connection in as `listener` asks; `None` if it is not to be served.
pub async fn enter(
    gateway: &Gateway,
    listener: Listener,
    stream: Stream,
    peer: PeerAddr,
    deadline: Instant,
) -> Option<Entered> {
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

/// Who is refused for what the operator set up is worth a line; what strangers do wrong in a
/// handshake is not.
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
) -> Result<Entered, Refusal> {
    let Ok(mut socket) = stream.into_any().downcast::<Socket>() else {
        // pingora shakes no hands for us, so it is a socket.
        return Err(Refusal::NoTls);
    };
    if listener.proxy_protocol {
        let trusted = &settings.client_ip.trusted_proxies;
        if let Some(source) = read_source(&mut socket, trusted.contains(peer.ip())).await? {
            set_peer(&mut socket, source);
        }
    }
    match listener.speaks {
        Speaks::Http { h2c: true } => Ok(Entered {
            speaks_h2: begins_with_preface(&mut socket).await?,
            stream: socket,
        }),
        Speaks::Http { h2c: false } | Speaks::Redirect { .. } => Ok(Entered {
            stream: socket,
            speaks_h2: false,
        }),
        Speaks::Tls => {
            let tls = settings.tls.as_deref().ok_or(Refusal::NoTls)?;
            wait_for_start(&mut socket).await?;
            let stream = tls.accept(*socket).await.map_err(Refusal::Handshake)?;
            Ok(Entered {
                speaks_h2: matches!(stream.selected_alpn_proto(), Some(ALPN::H2)),
                stream: Box::new(stream),
            })
        }
    }
}

/// Reads the PROXY header. Whoever just looks whether somebody listens is nobody to be refused, so
/// what is said comes before who says it.
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

/// Waits for the first bytes. Whoever leaves without any fails no handshake.
async fn wait_for_start(socket: &mut Socket) -> Result<(), Refusal> {
    let mut start = [0; 1024];
    let read = socket.read(&mut start).await?;
    if read == 0 {
        return Err(Refusal::Left);
    }
    socket.rewind(&start[..read]);
    Ok(())
}

/// From here on the connection is that of `source`.
fn set_peer(socket: &mut Socket, source: SocketAddr) {
    let digest = SocketDigest::from_raw_fd(socket.as_raw_fd());
    // It is new, so it has no address yet.
    let _ = digest.peer_addr.set(Some(Address::Inet(source)));
    socket.set_socket_digest(digest);
}

/// Reads no further than it takes to know.
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
