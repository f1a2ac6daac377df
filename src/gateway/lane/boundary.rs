//! Stream of a single request of an HTTP/1 connection, for a pingora session.
//!
//! pingora reads all available bytes and does not give back those of the next request. The lane
//! knows the end of a request, so it lets pingora read up to there and no further. Bytes behind it
//! are kept for the lane. So a connection can carry a query, a proxied request and another query,
//! pipelined or not, and returns from pingora without the loss of a byte.
//!
//! The minimum rates and the write timeout of the client are enforced here, too, because all bytes
//! pass through this stream.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream,
    TimingDigest, UniqueID, UniqueIDType,
};
use pingora_proxy::Session;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::config::model::Client;
use crate::gateway::pace::{Pace, TooSlow};
use crate::proto::h1::body::Body;

/// Maximum number of bytes that are read ahead while a request is in flight.
const AHEAD_LIMIT: usize = 64 << 10;

/// Maximum number of parts of a write that are sent together with held bytes. A chunk has three:
/// its size, its data and its end.
const MAX_PARTS: usize = 4;

/// Stream that gives the bytes of one request.
#[derive(Debug)]
pub struct Boundary {
    inner: Stream,
    /// Rest of the request.
    body: Body,
    /// Bytes that were read from behind the request.
    ahead: BytesMut,
    /// `true` if the client has closed its sending direction; detected only behind the request.
    ended: bool,
    /// `true` if an upgrade was accepted.
    upgraded: AtomicBool,
    incoming: Pace,
    outgoing: Pace,
    /// Maximum time of a write without progress.
    write_timeout: Duration,
    /// Timer of a write without progress.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Number of next writes that are held for the write after them.
    hold: AtomicU8,
    /// Bytes of held writes.
    held: BytesMut,
    /// `true` if the next flush is held as well. pingora flushes after a head without a length and
    /// after every chunk.
    hold_flush: bool,
}

impl Boundary {
    /// Creates a stream of the request of which `body` is still to be read from `inner`. `ahead`
    /// was read from behind the request.
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
            hold: AtomicU8::new(0),
            held: BytesMut::new(),
            hold_flush: false,
        }
    }

    /// Returns the boundary that a session reads from; `None` for HTTP/2.
    pub fn of(session: &Session) -> Option<&Boundary> {
        let stream = session.as_downstream().stream()?;
        stream.as_any().downcast_ref::<Boundary>()
    }

    /// Holds the next `count` writes, and sends them together with the write after them. Held bytes
    /// are copied, so they should be few.
    pub fn hold_writes(&self, count: u8) {
        self.hold.store(count, Ordering::Relaxed);
    }

    /// Starts the tunnel of an accepted upgrade: all later bytes pass, and are not HTTP any more.
    pub fn begin_tunnel(&self) {
        self.upgraded.store(true, Ordering::Relaxed);
    }

    /// Returns the stream, and the bytes that were read from behind the request. Returns `None` if
    /// no other request can follow: part of this one was not read, so that the start of the next
    /// one is unknown, or it was an upgrade.
    pub fn into_parts(self) -> Option<(Stream, BytesMut)> {
        let open = self.body.can_be_followed();
        open.then_some((self.inner, self.ahead))
    }

    /// Reads the next part of the request.
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

    /// Reads any bytes, those read ahead first.
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

    /// Reads ahead behind the request. Gives no bytes, and fails if the client has left.
    ///
    /// The end of the client's data is no such failure: a client may close this direction after its
    /// last request and wait for the response (RFC 9112, 9.6). A client that has closed both
    /// directions looks the same until something is sent to it.
    fn poll_behind(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.ahead.len() < AHEAD_LIMIT && !self.ended {
            let mut bytes = [0; 1024];
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.inner).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => {
                    self.ended = true;
                }
                Poll::Ready(Ok(())) => self.ahead.extend_from_slice(buffer.filled()),
                other => return other,
            }
        }
        Poll::Pending
    }

    /// Sends the held bytes, and `parts` with them. Returns the number of bytes of `parts` that
    /// were sent.
    fn poll_held(
        &mut self,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.hold_flush = false;
        while !self.held.is_empty() {
            let mut all = [io::IoSlice::new(b""); 1 + MAX_PARTS];
            all[0] = io::IoSlice::new(&self.held);
            let count = parts.len().min(MAX_PARTS);
            all[1..=count].copy_from_slice(&parts[..count]);
            let sent = Pin::new(&mut self.inner).poll_write_vectored(cx, &all[..=count]);
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

    /// Holds a write, if it is one of those to hold. Returns the number of its bytes.
    fn hold(&mut self, parts: &[io::IoSlice<'_>]) -> Option<usize> {
        let left = self.hold.load(Ordering::Relaxed).checked_sub(1)?;
        self.hold.store(left, Ordering::Relaxed);
        for part in parts {
            self.held.extend_from_slice(part);
        }
        self.hold_flush = true;
        Some(parts.iter().map(|part| part.len()).sum())
    }

    /// Checks the result of a write. Fails if the client is below its minimum rate, or has taken
    /// nothing within `write_timeout`.
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
        let patience = self.write_timeout;
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
        match &self.body {
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
        let parts = [io::IoSlice::new(bytes)];
        if let Some(length) = self.hold(&parts) {
            return Poll::Ready(Ok(length));
        }
        let beyond = ready!(self.poll_held(cx, &parts))?;
        if beyond > 0 {
            return Poll::Ready(Ok(beyond));
        }
        let sent = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.poll_sent(cx, sent)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(length) = self.hold(parts) {
            return Poll::Ready(Ok(length));
        }
        let beyond = ready!(self.poll_held(cx, parts))?;
        if beyond > 0 {
            return Poll::Ready(Ok(beyond));
        }
        let sent = Pin::new(&mut self.inner).poll_write_vectored(cx, parts);
        self.poll_sent(cx, sent)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.hold_flush) {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_held(cx, &[]))?;
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

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::*;
    use crate::config::{Overrides, parse};
    use crate::proto::h1::chunked::Scanner;

    const CHUNKED: &[u8] = b"3;x=y\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n";

    /// Returns a boundary, and the client at its other end.
    fn pair(body: Body, ahead: &[u8], configuration: &str) -> (Boundary, DuplexStream) {
        let (client, server) = tokio::io::duplex(1 << 10);
        let config = parse(configuration, "test", &Overrides::default()).unwrap();
        let boundary = Boundary::new(Box::new(server), body, ahead.into(), &config.client);
        (boundary, client)
    }

    /// Reads all bytes that are available now.
    fn read(boundary: &mut Boundary) -> io::Result<Vec<u8>> {
        let mut context = Context::from_waker(Waker::noop());
        let mut all = Vec::new();
        loop {
            let mut bytes = [0; 7];
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(&mut *boundary).poll_read(&mut context, &mut buffer) {
                Poll::Ready(result) => result?,
                Poll::Pending => return Ok(all),
            }
            assert!(
                !buffer.filled().is_empty(),
                "the end, though nobody has left"
            );
            all.extend_from_slice(buffer.filled());
        }
    }

    fn send(client: &mut DuplexStream, bytes: &[u8]) {
        let mut context = Context::from_waker(Waker::noop());
        let sent = Pin::new(client).poll_write(&mut context, bytes);
        assert!(matches!(sent, Poll::Ready(Ok(length)) if length == bytes.len()));
    }

    proptest! {
        /// For all cuts of the bytes, the request gets its own bytes, and the next one gets the
        /// rest.
        #[test]
        fn a_request_ends_where_it_ends(
            is_chunked in any::<bool>(),
            behind in proptest::collection::vec(any::<u8>(), 0..40),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let body = if is_chunked {
                Body::Chunked(Scanner::new())
            } else {
                Body::Length(CHUNKED.len() as u64)
            };
            let (mut boundary, mut client) = pair(body, b"", "");
            let text = [CHUNKED, &behind].concat();
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let mut given = Vec::new();
            for ends in cuts.windows(2).filter(|ends| ends[0] < ends[1]) {
                send(&mut client, &text[ends[0]..ends[1]]);
                given.extend(read(&mut boundary).unwrap());
            }
            prop_assert_eq!(&given, CHUNKED);
            let (_, ahead) = boundary.into_parts().expect("a whole request");
            prop_assert_eq!(&ahead[..], &behind[..]);
        }
    }

    #[test]
    fn chunks_that_are_none_are_an_error_and_the_end() {
        let (mut boundary, mut client) = pair(Body::Chunked(Scanner::new()), b"", "");
        send(&mut client, b"3\r\nabc\r\n");
        assert_eq!(read(&mut boundary).unwrap(), b"3\r\nabc\r\n");
        send(&mut client, b"0\n\r\nGET");
        let error = read(&mut boundary).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(boundary.into_parts().is_none());
    }

    #[test]
    fn a_request_that_was_not_read_to_its_end_has_no_next() {
        let (mut boundary, mut client) = pair(Body::Length(3), b"", "");
        send(&mut client, b"ab");
        assert_eq!(read(&mut boundary).unwrap(), b"ab");
        assert!(boundary.into_parts().is_none());
    }

    #[test]
    fn an_upgrade_gives_nothing_before_it_is_agreed_to_and_has_no_next() {
        let (mut boundary, mut client) = pair(Body::Upgrade, b"early", "");
        send(&mut client, b" frame");
        assert_eq!(read(&mut boundary).unwrap(), b"");
        boundary.begin_tunnel();
        assert_eq!(read(&mut boundary).unwrap(), b"early frame");
        send(&mut client, b"more");
        assert_eq!(read(&mut boundary).unwrap(), b"more");
        assert!(boundary.into_parts().is_none());
        let (refused, _client) = pair(Body::Upgrade, b"", "");
        assert!(refused.into_parts().is_none());
    }

    #[tokio::test]
    async fn a_client_that_reads_nothing_is_given_up() {
        let configuration = "[client]\nwrite_timeout = '20ms'\n";
        let (mut boundary, _client) = pair(Body::Length(0), b"", configuration);
        let error = boundary.write_all(&[b'x'; 2000]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_client_that_reads_a_byte_at_a_time_is_given_up() {
        let configuration = "[client]\nmin_response_rate = '1m'\nrate_grace = '20ms'\n";
        let (mut boundary, mut client) = pair(Body::Length(0), b"", configuration);
        let reads = async {
            loop {
                tokio::time::sleep(Duration::from_millis(5)).await;
                assert_eq!(client.read(&mut [0]).await.unwrap(), 1);
            }
        };
        let error = tokio::select! {
            sent = boundary.write_all(&[b'x'; 2000]) => sent.unwrap_err(),
            () = reads => unreachable!(),
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_body_that_drips_is_given_up() {
        let configuration = "[client]\nmin_body_rate = '1m'\nrate_grace = '20ms'\n";
        let (mut boundary, mut client) = pair(Body::Length(2000), b"", configuration);
        let writes = async {
            loop {
                client.write_all(b"x").await.unwrap();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let mut body = [0; 2000];
        let error = tokio::select! {
            read = boundary.read_exact(&mut body) => read.unwrap_err(),
            () = writes => unreachable!(),
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
