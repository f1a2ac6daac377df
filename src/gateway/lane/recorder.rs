//! Connection for tests that records its writes, one entry each. On a socket, each write would be a
//! system call, and for the client a read.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType,
};
use pingora_proxy::Session;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::boundary::Boundary;
use crate::config::{Overrides, parse};
use crate::proto::h1::body::Body;

/// Bytes of all writes, in order.
pub type Writes = Arc<Mutex<Vec<Vec<u8>>>>;

/// Server's end of a connection whose client sends nothing.
#[derive(Debug, Default)]
pub struct Recorder {
    writes: Writes,
}

/// Returns a session that has read a request with this head, and the writes to its client.
pub async fn session(head: &str) -> (Session, Writes) {
    let recorder = Recorder::default();
    let writes = Arc::clone(&recorder.writes);
    let config = parse("", "test", &Overrides::default()).unwrap();
    let ahead = bytes::BytesMut::new();
    let boundary = Boundary::new(Box::new(recorder), Body::Length(0), ahead, &config.client);
    let mut session = Session::new_h1(Box::new(boundary));
    session.set_pipelined_prefix(head.as_bytes().into());
    assert!(matches!(session.read_request().await, Ok(true)), "{head}");
    (session, writes)
}

/// Returns the writes so far, as text.
pub fn texts(writes: &Writes) -> Vec<String> {
    let writes = writes.lock().unwrap();
    let texts = writes.iter().map(|write| String::from_utf8_lossy(write));
    texts.map(String::from).collect()
}

impl AsyncRead for Recorder {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Recorder {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writes.lock().unwrap().push(bytes.to_vec());
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all: Vec<u8> = parts.iter().flat_map(|part| part.to_vec()).collect();
        self.poll_write(cx, &all)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[async_trait]
impl Shutdown for Recorder {
    async fn shutdown(&mut self) {}
}

#[async_trait]
impl Peek for Recorder {}

impl UniqueID for Recorder {
    fn id(&self) -> UniqueIDType {
        0
    }
}

impl Ssl for Recorder {}

impl GetTimingDigest for Recorder {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Recorder {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Recorder {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}
