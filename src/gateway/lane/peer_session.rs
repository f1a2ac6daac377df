//! Request on a connection to a peer, in either version of HTTP.
//!
//! This is one interface over pingora's HTTP/1 session and the h2 crate. It has no timeouts: only
//! the caller knows which side it waits for.

use bytes::Bytes;
use pingora::http::RequestHeader;
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::v1::client::HttpSession as Http1;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, Result};

use super::bounded_reads::BoundedReads;
use super::peer_http2::Http2;
use crate::gateway::response_bytes;

/// Request to a peer, and its response.
pub enum PeerSession {
    /// An HTTP/1 connection.
    Http1(Box<Http1>),
    /// One stream of an HTTP/2 connection.
    Http2(Box<Http2>),
}

impl PeerSession {
    /// Makes the response come in short pieces. Nothing may have been read yet.
    pub fn with_bounded_reads(self, peer: &HttpPeer) -> Self {
        match self {
            PeerSession::Http1(session) => {
                let stream = BoundedReads::wrap(session.into_inner());
                PeerSession::from(Http1::new_with_options(stream, peer))
            }
            // Frames are short pieces already.
            PeerSession::Http2(_) => self,
        }
    }

    /// Returns `true` for HTTP/2.
    pub fn is_http2(&self) -> bool {
        matches!(self, PeerSession::Http2(_))
    }

    /// Sends the head of the request. `end` is `true` if there is no body.
    pub async fn send_head(&mut self, request: Box<RequestHeader>, end: bool) -> Result<()> {
        let sent = match self {
            PeerSession::Http1(session) => session.write_request_header(request).await.map(|_| ()),
            PeerSession::Http2(stream) => stream.send_head(&request, end).await,
        };
        sent.map_err(Error::into_up)
    }

    /// Sends a piece of the body. `end` is `true` for the last one.
    pub async fn send(&mut self, piece: Option<Bytes>, end: bool) -> Result<()> {
        let sent = match self {
            PeerSession::Http1(session) => send_http1(session, piece, end).await,
            PeerSession::Http2(stream) => stream.send(piece, end).await,
        };
        sent.map_err(Error::into_up)
    }

    /// Returns the next part of the response. Cancel safe: dropping the future loses no data.
    pub async fn next(&mut self) -> Result<HttpTask> {
        let task = match self {
            PeerSession::Http1(session) => read_http1(session).await,
            PeerSession::Http2(stream) => stream.next().await,
        };
        task.map_err(Error::into_up)
    }

    /// Lets an HTTP/2 peer send more, after the client has taken all data so far.
    pub fn release(&mut self) {
        if let PeerSession::Http2(stream) = self {
            stream.release();
        }
    }

    /// Excludes an HTTP/2 connection that does not respond from further requests.
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

/// Returns the next part of an HTTP/1 response. The bytes of a head are checked. Cancel safe:
/// dropping the future loses no data.
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::super::bounded_reads::PIECE;
    use super::*;

    /// Returns the lengths of the pieces of a response's body.
    async fn pieces(response: Vec<u8>) -> Vec<usize> {
        let (server, mut origin) = tokio::io::duplex(1 << 20);
        let peer = HttpPeer::new(("127.0.0.1", 80), false, String::new());
        let session = Http1::new_with_options(Box::new(server), &peer);
        let mut session = PeerSession::from(session).with_bounded_reads(&peer);
        let mut request = RequestHeader::build("GET", b"/", None).unwrap();
        request.insert_header("Host", "a").unwrap();
        session.send_head(Box::new(request), true).await.unwrap();
        origin.read_u8().await.unwrap();
        origin.write_all(&response).await.unwrap();
        let mut pieces = Vec::new();
        loop {
            match session.next().await.unwrap() {
                HttpTask::Body(piece, end) => {
                    pieces.extend(piece.map(|piece| piece.len()));
                    if end {
                        return pieces;
                    }
                }
                HttpTask::Done => return pieces,
                _ => {}
            }
        }
    }

    /// The gateway holds a piece that an HTTP/2 client does not take.
    #[tokio::test]
    async fn a_response_is_read_in_short_pieces() {
        let body = "x".repeat(100_000);
        for (head, body) in [
            ("Content-Length: 100000", body.clone()),
            (
                "Transfer-Encoding: chunked",
                format!("186A0\r\n{body}\r\n0\r\n\r\n"),
            ),
        ] {
            let response = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}");
            let pieces = pieces(response.into_bytes()).await;
            assert_eq!(pieces.iter().sum::<usize>(), 100_000, "{head}: {pieces:?}");
            assert!(
                pieces.iter().all(|&piece| piece <= PIECE),
                "{head}: {pieces:?}"
            );
        }
    }
}
