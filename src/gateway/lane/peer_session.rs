//! One request on a connection to a peer, in either version of HTTP.
//!
//! Framing and frames are pingora's and the h2 crate's; this makes one interface of both. There are no
//! timeouts here: whoever waits knows for whom.

use bytes::Bytes;
use pingora::http::RequestHeader;
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::v1::client::HttpSession as Http1;
use pingora::{Error, Result};

use super::peer_http2::Http2;
use crate::gateway::response_bytes;

/// A request to a peer, and its response.
pub enum PeerSession {
    /// The whole connection.
    Http1(Box<Http1>),
    /// One stream of it.
    Http2(Box<Http2>),
}

impl PeerSession {
    /// Whether it is one of HTTP/2.
    pub fn is_http2(&self) -> bool {
        matches!(self, PeerSession::Http2(_))
    }

    /// Sends the head of the request. `end` if there is no body.
    pub async fn send_head(&mut self, request: Box<RequestHeader>, end: bool) -> Result<()> {
        let sent = match self {
            PeerSession::Http1(session) => session.write_request_header(request).await.map(|_| ()),
            PeerSession::Http2(stream) => stream.send_head(&request, end).await,
        };
        sent.map_err(Error::into_up)
    }

    /// Sends a piece of the body, and its end after the last.
    pub async fn send(&mut self, piece: Option<Bytes>, end: bool) -> Result<()> {
        let sent = match self {
            PeerSession::Http1(session) => send_http1(session, piece, end).await,
            PeerSession::Http2(stream) => stream.send(piece, end).await,
        };
        sent.map_err(Error::into_up)
    }

    /// The next part of the response. Nothing is lost if the wait for it is given up.
    pub async fn next(&mut self) -> Result<HttpTask> {
        let task = match self {
            PeerSession::Http1(session) => read_http1(session).await,
            PeerSession::Http2(stream) => stream.next().await,
        };
        task.map_err(Error::into_up)
    }

    /// Lets the peer send more: the client has all that came.
    pub fn release(&mut self) {
        if let PeerSession::Http2(stream) = self {
            stream.release();
        }
    }

    /// No other request is sent on a connection that does not answer.
    pub fn distrust(&self) {
        if let PeerSession::Http2(stream) = self {
            stream.distrust();
        }
    }
}

impl From<Http1> for PeerSession {
    fn from(session: Http1) -> Self {
        PeerSession::Http1(Box::new(session))
    }
}

impl From<Http2> for PeerSession {
    fn from(stream: Http2) -> Self {
        PeerSession::Http2(Box::new(stream))
    }
}

/// The next part of a response over HTTP/1, the bytes of its head checked. Nothing is lost if the wait
/// for it is given up.
pub async fn read_http1(session: &mut Http1) -> Result<HttpTask> {
    let task = session.read_response_task().await?;
    if let HttpTask::Header(..) = task {
        response_bytes::check(&session.get_headers_raw_bytes())?;
    }
    Ok(task)
}

async fn send_http1(session: &mut Http1, piece: Option<Bytes>, end: bool) -> Result<()> {
    if let Some(piece) = piece {
        session.write_body(&piece).await?;
    }
    if end {
        session.finish_body().await?;
    }
    Ok(())
}
