//! PROXY header at the start of a connection to a peer, before TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::connectors::L4Connect;
use pingora::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora::protocols::l4::stream::Stream;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};

use crate::config::model::ProxyVersion;
use crate::proto::proxy_protocol::{write_binary, write_text};

/// Connector that writes a PROXY header first.
#[derive(Debug)]
struct WithHeader {
    header: Vec<u8>,
    timeout: Option<Duration>,
}

/// Lets connections to a peer begin with a header that names a client and the address that it connected
/// to; without them it says that the connection is the gateway's own.
pub fn begin_with(
    peer: &mut HttpPeer,
    version: ProxyVersion,
    ends: Option<(SocketAddr, SocketAddr)>,
) {
    let header = match version {
        ProxyVersion::V1 => write_text(ends),
        ProxyVersion::V2 => write_binary(ends),
    };
    let timeout = peer.options.connection_timeout;
    peer.options.custom_l4 = Some(Arc::new(WithHeader { header, timeout }));
}

#[async_trait]
impl L4Connect for WithHeader {
    async fn connect(&self, address: &PeerAddress) -> Result<Stream> {
        let connect = async {
            match address {
                PeerAddress::Inet(address) => {
                    let mut stream = TcpStream::connect(address).await?;
                    stream.write_all(&self.header).await?;
                    Ok(Stream::from(stream))
                }
                PeerAddress::Unix(address) => {
                    let path = address.as_pathname().unwrap_or("".as_ref());
                    let mut stream = UnixStream::connect(path).await?;
                    stream.write_all(&self.header).await?;
                    Ok(Stream::from(stream))
                }
            }
        };
        let connected = match self.timeout {
            None => connect.await,
            Some(timeout) => match tokio::time::timeout(timeout, connect).await {
                Ok(connected) => connected,
                Err(error) => {
                    let reason = "connecting to a peer";
                    return Err(Error::because(ErrorType::ConnectTimedout, reason, error));
                }
            },
        };
        connected.map_err(|error: std::io::Error| {
            let etype = match error.kind() {
                std::io::ErrorKind::ConnectionRefused => ErrorType::ConnectRefused,
                _ => ErrorType::ConnectError,
            };
            Error::because(etype, "connecting to a peer", error)
        })
    }
}
