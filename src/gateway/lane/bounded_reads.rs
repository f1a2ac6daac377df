//! Stream from a peer that gives a response in short pieces.
//!
//! pingora reads a body in pieces of 64 KiB, and each is in memory twice: in the read buffer, and
//! as the piece that is passed on. An HTTP/2 client may have a hundred streams on one connection
//! and take nothing of any, so a stream must hold little meanwhile. A frame carries at most 16 KiB
//! unless the client allows more, so longer reads gain nothing.
//!
//! The system provides memory only when it is written to, so the length of the reads matters, and
//! not the size of pingora's buffer.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    Stream, TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Maximum number of bytes of one read.
pub const PIECE: usize = 16 << 10;

thread_local! {
    /// Read buffer of the thread, used only within one poll.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; PIECE].into_boxed_slice());
}

/// Stream that gives at most [`PIECE`] bytes at a time.
#[derive(Debug)]
pub struct BoundedReads {
    inner: Stream,
}

impl BoundedReads {
    /// Bounds the reads of a stream.
    pub fn wrap(inner: Stream) -> Stream {
        Box::new(BoundedReads { inner })
    }

    /// Returns the inner stream if reads are bounded, otherwise `stream` itself.
    pub fn unwrap(stream: Stream) -> Stream {
        if !stream.as_any().is::<BoundedReads>() {
            return stream;
        }
        match stream.into_any().downcast::<BoundedReads>() {
            Ok(bounded) => bounded.inner,
            Err(_) => unreachable!("it was looked at"),
        }
    }
}

impl AsyncRead for BoundedReads {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Read here and copy: a bounded read into `buffer` itself would have to set that part of it
        // to zero first.
        SCRATCH.with_borrow_mut(|scratch| {
            let length = buffer.remaining().min(PIECE);
            let mut piece = ReadBuf::new(&mut scratch[..length]);
            ready!(Pin::new(&mut self.inner).poll_read(cx, &mut piece))?;
            buffer.put_slice(piece.filled());
            Poll::Ready(Ok(()))
        })
    }
}

impl AsyncWrite for BoundedReads {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for BoundedReads {
    async fn shutdown(&mut self) {
        Shutdown::shutdown(&mut *self.inner).await;
    }
}

#[async_trait]
impl Peek for BoundedReads {}

impl UniqueID for BoundedReads {
    fn id(&self) -> UniqueIDType {
        self.inner.id()
    }
}

impl Ssl for BoundedReads {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.inner.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.inner.selected_alpn_proto()
    }
}

impl GetTimingDigest for BoundedReads {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.inner.get_timing_digest()
    }
}

impl GetProxyDigest for BoundedReads {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.inner.get_proxy_digest()
    }
}

impl GetSocketDigest for BoundedReads {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.inner.get_socket_digest()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_response_comes_in_pieces_and_whole() {
        let (server, mut peer) = tokio::io::duplex(1 << 20);
        let mut stream = BoundedReads::wrap(Box::new(server));
        let sent: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
        peer.write_all(&sent).await.unwrap();
        drop(peer);
        let (mut read, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
        loop {
            let length = stream.read(&mut buffer).await.unwrap();
            assert!(length <= PIECE);
            if length == 0 {
                break;
            }
            read.extend_from_slice(&buffer[..length]);
        }
        assert_eq!(read, sent);
    }

    #[tokio::test]
    async fn a_short_buffer_is_not_overrun() {
        let (server, mut peer) = tokio::io::duplex(64);
        let mut stream = BoundedReads::wrap(Box::new(server));
        peer.write_all(b"abcdef").await.unwrap();
        let mut short = [0; 4];
        assert_eq!(stream.read(&mut short).await.unwrap(), 4);
        assert_eq!(&short, b"abcd");
        assert_eq!(stream.read(&mut short).await.unwrap(), 2);
    }

    #[test]
    fn the_stream_comes_back() {
        let stream = || -> Stream { Box::new(tokio::io::duplex(64).0) };
        let bounded = BoundedReads::wrap(stream());
        for stream in [stream(), bounded] {
            let stream = BoundedReads::unwrap(stream);
            assert!(stream.as_any().is::<tokio::io::DuplexStream>());
        }
    }
}
