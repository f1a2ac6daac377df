//! A connection, shown to the proxy as one request long.
//!
//! pingora reads what it can get and keeps what belongs to the next request to itself. The lane
//! knows where a request ends, so it lets pingora read to there and no further; what comes behind
//! is kept for the lane's next turn. So a connection can carry a query, a proxied request and a
//! query again, pipelined or not, and comes back from the proxy with not a byte lost.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream,
    TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much a client may send ahead while a request of its is being proxied.
const AHEAD_LIMIT: usize = 64 << 10;

/// A stream that gives the bytes of one request.
#[derive(Debug)]
pub struct Boundary {
    inner: Stream,
    /// Bytes that are still to come of the request.
    left: u64,
    /// What came behind it.
    ahead: BytesMut,
    /// Whether the other end has sent all that it will.
    ended: bool,
    /// Whether the next write waits for the one after it.
    hold: AtomicBool,
    /// What waits.
    held: BytesMut,
}

impl Boundary {
    /// Gives `left` more bytes of `inner`; `ahead` was read from behind them.
    pub fn new(inner: Stream, left: u64, ahead: BytesMut) -> Self {
        Boundary {
            inner,
            left,
            ahead,
            ended: false,
            hold: AtomicBool::new(false),
            held: BytesMut::new(),
        }
    }

    /// Keeps what is written next until something else is written, and sends both at once.
    pub fn hold_next_write(&self) {
        self.hold.store(true, Ordering::Relaxed);
    }

    /// The stream and what was read from behind the request. `None` if part of the request was
    /// never read, so that nobody knows where the next one begins.
    pub fn into_parts(self) -> Option<(Stream, BytesMut)> {
        (self.left == 0 && !self.ended).then_some((self.inner, self.ahead))
    }

    /// Behind the request: nothing to give, but whether the client is still there is worth knowing.
    fn poll_behind(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.ahead.len() < AHEAD_LIMIT {
            let mut bytes = [0; 1024];
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.inner).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => {
                    self.ended = true;
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Ok(())) => self.ahead.extend_from_slice(buffer.filled()),
                other => return other,
            }
        }
        Poll::Pending
    }
}

impl Boundary {
    /// Sends what is held, and `bytes` with it; how many of `bytes` went along.
    fn poll_held(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        while !self.held.is_empty() {
            let parts = [io::IoSlice::new(&self.held), io::IoSlice::new(bytes)];
            let sent = ready!(Pin::new(&mut self.inner).poll_write_vectored(cx, &parts))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            if let Some(beyond) = sent.checked_sub(self.held.len()) {
                self.held.clear();
                return Poll::Ready(Ok(beyond));
            }
            self.held.advance(sent);
        }
        Poll::Ready(Ok(0))
    }
}

impl AsyncRead for Boundary {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left == 0 {
            return self.poll_behind(cx);
        }
        let limit = usize::try_from(self.left).unwrap_or(usize::MAX);
        let room = buffer.remaining().min(limit);
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(room));
        let result = Pin::new(&mut self.inner).poll_read(cx, &mut part);
        let length = part.filled().len();
        buffer.advance(length);
        self.left -= length as u64;
        result
    }
}

impl AsyncWrite for Boundary {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.hold.swap(false, Ordering::Relaxed) {
            self.held.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        let beyond = ready!(self.poll_held(cx, bytes))?;
        if beyond > 0 {
            return Poll::Ready(Ok(beyond));
        }
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_held(cx, b""))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for Boundary {
    async fn shutdown(&mut self) {
        Shutdown::shutdown(&mut *self.inner).await;
    }
}

#[async_trait]
impl Peek for Boundary {}

impl UniqueID for Boundary {
    fn id(&self) -> UniqueIDType {
        self.inner.id()
    }
}

impl Ssl for Boundary {
    fn get_ssl_digest(&self) -> Option<Arc<pingora::protocols::tls::SslDigest>> {
        self.inner.get_ssl_digest()
    }
}

impl GetTimingDigest for Boundary {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.inner.get_timing_digest()
    }
}

impl GetProxyDigest for Boundary {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.inner.get_proxy_digest()
    }
}

impl GetSocketDigest for Boundary {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.inner.get_socket_digest()
    }
}
