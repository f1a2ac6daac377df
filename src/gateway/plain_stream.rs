//! TCP connections without TLS, in the least memory.
//!
//! pingora's stream counts times, and can replay and buffer what is read. A connection that carries
//! request after request needs none of it: without it, a request touches less memory and reads the
//! clock eight times less often. So a connection that has carried one request continues on its bare
//! socket. (One that carries a single request would not earn the four system calls back.)

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use pingora::protocols::l4::stream::Stream as Socket;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream,
    TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

/// TCP connection without TLS, with what pingora knows of its addresses.
#[derive(Debug)]
struct PlainStream {
    socket: TcpStream,
    addresses: Option<Arc<SocketDigest>>,
}

/// Returns `true` for a stream of pingora's without TLS.
pub fn may_be_bare(stream: &Stream) -> bool {
    stream.as_any().is::<Socket>()
}

/// Replaces pingora's stream by the bare socket, if it is a TCP connection without TLS. Must be
/// called within a runtime, after a read that returned `Pending`: bytes that pingora has read ahead
/// would be lost.
pub fn make_bare(stream: &mut Stream) {
    let socket = stream.as_any().downcast_ref::<Socket>();
    // Without a free file descriptor, the stream stays as it is.
    if let Some(Ok(bare)) = socket.map(PlainStream::of) {
        *stream = Box::new(bare);
    }
}

impl PlainStream {
    fn of(socket: &Socket) -> io::Result<PlainStream> {
        let addresses = socket.get_socket_digest();
        let peer = addresses
            .as_ref()
            .and_then(|addresses| addresses.peer_addr());
        if peer.is_none_or(|peer| peer.as_inet().is_none()) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        // SAFETY: `socket` owns the descriptor and outlives the borrow, which ends with this line.
        #[allow(unsafe_code)]
        let copy = unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) }.try_clone_to_owned()?;
        Ok(PlainStream {
            socket: TcpStream::from_std(copy.into())?,
            addresses,
        })
    }
}

impl AsyncRead for PlainStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buffer)
    }
}

impl AsyncWrite for PlainStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for PlainStream {
    async fn shutdown(&mut self) {
        // A connection that is gone needs no shutdown.
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

impl UniqueID for PlainStream {
    fn id(&self) -> UniqueIDType {
        self.socket.as_raw_fd()
    }
}

impl Ssl for PlainStream {}

impl Peek for PlainStream {}

impl GetTimingDigest for PlainStream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for PlainStream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for PlainStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.addresses.clone()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, UnixStream};

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await;
        (near.unwrap(), listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn bytes_pass_both_ways_until_each_side_has_ended() {
        let (near, mut far) = pair().await;
        let address = far.local_addr().unwrap();
        let mut socket = Socket::from(near);
        socket.set_socket_digest(SocketDigest::from_raw_fd(socket.as_raw_fd()));
        let mut near: Stream = Box::new(socket);
        make_bare(&mut near);
        assert!(near.as_any().is::<PlainStream>() && !may_be_bare(&near));
        let digest = near.get_socket_digest().unwrap();
        assert_eq!(digest.peer_addr().unwrap().as_inet(), Some(&address));
        far.write_all(b"a").await.unwrap();
        assert_eq!(near.read_u8().await.unwrap(), b'a');
        near.write_all(b"b").await.unwrap();
        AsyncWriteExt::shutdown(&mut near).await.unwrap();
        let mut read = Vec::new();
        far.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"b");
        drop(far);
        assert_eq!(near.read(&mut [0]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn other_streams_stay_as_they_are() {
        let (near, _far) = UnixStream::pair().unwrap();
        let mut unix: Stream = Box::new(Socket::from(near));
        make_bare(&mut unix);
        assert!(unix.as_any().is::<Socket>());
        let (near, _far) = tokio::io::duplex(1);
        let mut other: Stream = Box::new(near);
        make_bare(&mut other);
        assert!(other.as_any().is::<tokio::io::DuplexStream>());
    }
}
