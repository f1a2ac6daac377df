//! A connection, shown to the proxy as one request long.
//!
//! pingora reads what it can get and keeps what belongs to the next request to itself. The lane
//! knows where a request ends, so it lets pingora read to there and no further; what comes behind
//! is kept for the lane's next turn. So a connection can carry a query, a proxied request and a
//! query again, pipelined or not, and comes back from the proxy with not a byte lost.
//!
//! A client that is slower than it may be is noticed here, too, because every byte passes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream,
    TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::body::Body;
use crate::config::model::Client;
use crate::gateway::pace::{Pace, TooSlow};

/// How much a client may send ahead while a request of its is being proxied.
const AHEAD_LIMIT: usize = 64 << 10;

/// A stream that gives the bytes of one request.
#[derive(Debug)]
pub struct Boundary {
    inner: Stream,
    /// What is still to come of the request.
    body: Body,
    /// What came behind it.
    ahead: BytesMut,
    /// Whether the other end has sent all that it will.
    ended: bool,
    /// Whether an upgrade was agreed to.
    upgraded: AtomicBool,
    incoming: Pace,
    outgoing: Pace,
    /// How long nothing may move outwards.
    write_timeout: Duration,
    /// Runs while nothing does.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Whether the next write waits for the one after it.
    hold: AtomicBool,
    /// What waits.
    held: BytesMut,
}

impl Boundary {
    /// Gives what `body` is of `inner`; `ahead` was read from behind it.
    pub fn new(inner: Stream, body: Body, ahead: BytesMut, client: &Client) -> Self {
        Boundary {
            inner,
            body,
            ahead,
            ended: false,
            upgraded: AtomicBool::new(false),
            incoming: Pace::new(client.min_body_rate),
            outgoing: Pace::new(client.min_response_rate),
            write_timeout: client.write_timeout,
            stalled: None,
            hold: AtomicBool::new(false),
            held: BytesMut::new(),
        }
    }

    /// Keeps what is written next until something else is written, and sends both at once.
    pub fn hold_next_write(&self) {
        self.hold.store(true, Ordering::Relaxed);
    }

    /// The request was an upgrade and is agreed to: what comes now is no HTTP any more.
    pub fn begin_tunnel(&self) {
        self.upgraded.store(true, Ordering::Relaxed);
    }

    /// The stream and what was read from behind the request. `None` if part of the request was
    /// never read, so that nobody knows where the next one begins, or there can be no next one.
    pub fn into_parts(self) -> Option<(Stream, BytesMut)> {
        let open = self.body.can_be_followed() && !self.ended;
        open.then_some((self.inner, self.ahead))
    }

    /// The next part of the request.
    fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let room = match self.body {
            Body::Length(left) => usize::try_from(left).unwrap_or(usize::MAX),
            _ => usize::MAX,
        };
        let room = buffer.remaining().min(room);
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(room));
        let result = Pin::new(&mut self.inner).poll_read(cx, &mut part);
        if result.is_pending() {
            self.incoming.wait();
        }
        ready!(result)?;
        let read = part.filled();
        if !read.is_empty() {
            self.incoming.moved(read.len()).map_err(too_slow)?;
        }
        let taken = self.body.take(read);
        let taken = taken.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        self.ahead.extend_from_slice(&read[taken..]);
        buffer.advance(taken);
        Poll::Ready(Ok(()))
    }

    /// Whatever comes.
    fn poll_tunnel(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return Pin::new(&mut self.inner).poll_read(cx, buffer);
        }
        let length = self.ahead.len().min(buffer.remaining());
        buffer.put_slice(&self.ahead.split_to(length));
        Poll::Ready(Ok(()))
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

    /// Sends what is held, and `bytes` with it; how many of `bytes` went along.
    fn poll_held(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        while !self.held.is_empty() {
            let parts = [io::IoSlice::new(&self.held), io::IoSlice::new(bytes)];
            let sent = Pin::new(&mut self.inner).poll_write_vectored(cx, &parts);
            let sent = ready!(self.poll_sent(cx, sent))?;
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

    /// Looks at what became of a write: the client may take its time, but not all of ours.
    fn poll_sent(
        &mut self,
        cx: &mut Context<'_>,
        sent: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(sent) = sent {
            self.stalled = None;
            let sent = sent?;
            self.outgoing.moved(sent).map_err(too_slow)?;
            return Poll::Ready(Ok(sent));
        }
        self.outgoing.wait();
        let patience = self.write_timeout + self.outgoing.worth();
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(too_slow(TooSlow)))
    }
}

fn too_slow(error: TooSlow) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, error)
}

impl AsyncRead for Boundary {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.upgraded.load(Ordering::Relaxed) {
            self.body = Body::Tunnel;
        }
        match self.body {
            Body::Tunnel => self.poll_tunnel(cx, buffer),
            body if body.is_complete() => self.poll_behind(cx),
            _ => self.poll_body(cx, buffer),
        }
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
        let sent = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.poll_sent(cx, sent)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_held(cx, b""))?;
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        let flushed = flushed.map(|result| result.map(|()| 0));
        self.poll_sent(cx, flushed).map(|result| result.map(|_| ()))
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
