//! A request over HTTP/2 to a peer, and its response.
//!
//! pingora's own session for this drops interim responses (1xx), and lets a peer send more as soon as a
//! part was read. Here the h2 crate is used at first hand: every response is given as it comes, and a
//! peer may go on only when the client has taken what it sent before, so a window is all that a
//! response holds.
//!
//! Connections are still those of pingora's connector, which counts the requests on each and knows
//! which are idle. It keeps its handle for requests to itself, so the handshake is made here, and a
//! second handle goes along in the connection's digest: `ProxyDigest::user_data` is the one place in
//! it for a value of ours, and no connection here comes through a proxy.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::FutureExt;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Method, Response, Version, header};
use pingora::connectors::http::v2::{ConnectionRef, Connector};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::v2::client::{Http2Session, drive_connection};
use pingora::protocols::http::v2::write_body;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{Digest, Stream};
use pingora::upstreams::peer::{HttpPeer, Peer as _};
use pingora::{Error, ErrorType, OkOrErr, OrErr, Result};
use tokio::sync::watch;

/// A request to a peer.
pub struct Http2 {
    /// Its place on the connection.
    session: Http2Session,
    requests: SendRequest<Bytes>,
    is_head: bool,
    /// `None` once the whole request was sent.
    request_body: Option<SendStream<Bytes>>,
    stage: Stage,
    /// Bytes that were given, and that the peer may not send others for yet.
    unreleased: usize,
}

/// What of a response comes next.
enum Stage {
    /// Nothing, before the request is sent.
    Request,
    Head(ResponseFuture),
    Body(RecvStream),
    Trailers(RecvStream),
    End,
}

/// Makes a connection that carries requests over HTTP/2, and the place for the first.
///
/// # Errors
/// If the peer does not speak it.
pub async fn open(connector: &Connector, peer: &HttpPeer, stream: Stream) -> Result<Http2> {
    let id = stream.id();
    let streams = peer.options.max_h2_streams;
    let mut digest = Digest {
        ssl_digest: stream.get_ssl_digest(),
        timing_digest: stream.get_timing_digest(),
        proxy_digest: None,
        socket_digest: stream.get_socket_digest(),
    };
    let mut builder = h2::client::Builder::new();
    builder.enable_push(false).initial_max_send_streams(streams);
    if let Some(window) = peer.options.h2_stream_window_size {
        builder.initial_window_size(window);
    }
    if let Some(window) = peer.options.h2_connection_window_size {
        builder.initial_connection_window_size(window);
    }
    let begun = builder.handshake(stream).await;
    let failed = "in the handshake of HTTP/2";
    let (requests, connection) = begun.or_err(ErrorType::HandshakeError, failed)?;
    let streams = streams.min(connection.max_concurrent_send_streams());
    let nothing = Box::new(ResponseHeader::build(200, Some(0))?);
    let handle: SendRequest<Bytes> = requests.clone();
    digest.proxy_digest = Some(Arc::new(ProxyDigest::new(nothing, Some(Box::new(handle)))));
    let (closed, is_closed) = watch::channel(false);
    let ping_failed = Arc::new(AtomicBool::new(false));
    let driver = drive_connection(connection, id, closed, None, Arc::clone(&ping_failed));
    tokio::spawn(driver);
    let connection = ConnectionRef::new(requests, is_closed, ping_failed, id, streams, digest);
    let session = connection.spawn_stream().await?;
    let no_room = "a new connection of HTTP/2 takes no request";
    let session = session.or_err(ErrorType::H2Error, no_room)?;
    if connection.more_streams_allowed() {
        connector
            .in_use_pool()
            .insert(peer.reuse_hash(), connection);
    }
    Http2::new(session)
}

/// What comes of a response before its body.
enum Head {
    Interim(Response<()>),
    Final(Response<RecvStream>),
}

impl Http2 {
    /// A request on a connection that [`open`] made.
    ///
    /// # Errors
    /// If it is another.
    pub fn new(session: Http2Session) -> Result<Self> {
        let foreign = "a connection of HTTP/2 that was not made here";
        let requests = handle(&session).or_err(ErrorType::InternalError, foreign)?;
        Ok(Http2 {
            session,
            requests,
            is_head: false,
            request_body: None,
            stage: Stage::Request,
            unreleased: 0,
        })
    }

    /// Sends the head of the request. `end` if there is no body.
    pub async fn send_head(&mut self, request: &RequestHeader, end: bool) -> Result<()> {
        self.is_head = request.method == Method::HEAD;
        let request = http::Request::from_parts(request.as_owned_parts(), ());
        let ready = self.requests.clone().ready().await.map_err(failed)?;
        self.requests = ready;
        let (response, body) = self.requests.send_request(request, end).map_err(failed)?;
        self.stage = Stage::Head(response);
        self.request_body = (!end).then_some(body);
        Ok(())
    }

    /// Sends a piece of the body, and its end after the last.
    pub async fn send(&mut self, piece: Option<Bytes>, end: bool) -> Result<()> {
        let Some(body) = &mut self.request_body else {
            return Ok(());
        };
        write_body(body, piece.unwrap_or_default(), end, None).await?;
        if end {
            self.request_body = None;
        }
        Ok(())
    }

    /// The next part of the response. Nothing is lost if the wait for it is given up.
    pub async fn next(&mut self) -> Result<HttpTask> {
        match &mut self.stage {
            Stage::Request => {
                let reason = "a response before its request";
                Err(Error::explain(ErrorType::InternalError, reason))
            }
            Stage::Head(response) => {
                let head = poll_fn(|cx| poll_head(response, cx)).await;
                self.head(head.map_err(failed)?)
            }
            Stage::Body(body) => {
                let piece = next_piece(body).await?;
                self.piece(piece).await
            }
            Stage::Trailers(_) => self.trailers().await,
            Stage::End => Ok(HttpTask::Done),
        }
    }

    fn head(&mut self, head: Head) -> Result<HttpTask> {
        let (mut head, end) = match head {
            Head::Interim(response) => (ResponseHeader::from(response.into_parts().0), false),
            Head::Final(response) => {
                let (head, mut body) = response.into_parts();
                let head = ResponseHeader::from(head);
                let end = has_ended(&mut body)?;
                if end {
                    self.check_end(&head)?;
                    self.stage = Stage::End;
                } else {
                    self.stage = Stage::Body(body);
                }
                (head, end)
            }
        };
        // The client is spoken to in its own version.
        head.set_version(Version::HTTP_11);
        Ok(HttpTask::Header(Box::new(head), end))
    }

    /// The h2 crate lets a response end with its head that announces content (RFC 9113, 8.1.1).
    fn check_end(&self, head: &ResponseHeader) -> Result<()> {
        let length = head.headers.get(header::CONTENT_LENGTH);
        let has_content =
            length.is_some_and(|length| length.as_bytes().iter().any(|&digit| digit != b'0'));
        if self.is_head || matches!(head.status.as_u16(), 204 | 304) || !has_content {
            return Ok(());
        }
        let reason = "a response with content ends with its head";
        Err(Error::explain(ErrorType::InvalidHTTPHeader, reason))
    }

    async fn piece(&mut self, piece: Option<(Bytes, bool)>) -> Result<HttpTask> {
        if let Some((piece, end)) = piece {
            self.unreleased += piece.len();
            if end {
                self.stage = Stage::End;
            }
            return Ok(HttpTask::Body(Some(piece), end));
        }
        if let Stage::Body(body) = std::mem::replace(&mut self.stage, Stage::End) {
            self.stage = Stage::Trailers(body);
        }
        self.trailers().await
    }

    async fn trailers(&mut self) -> Result<HttpTask> {
        let Stage::Trailers(body) = &mut self.stage else {
            return Ok(HttpTask::Done);
        };
        let trailers = match body.trailers().await {
            Ok(trailers) => trailers,
            // A peer that has answered in full may want no more of the request (RFC 9113, 8.1).
            Err(error) if is_good_end(&error) => None,
            Err(error) => return Err(failed(error)),
        };
        self.stage = Stage::End;
        Ok(match trailers {
            Some(trailers) => HttpTask::Trailer(Some(Box::<HeaderMap>::new(trailers))),
            None => HttpTask::Done,
        })
    }

    /// Lets the peer send as much as was taken: the client has all that was given.
    pub fn release(&mut self) {
        let length = std::mem::take(&mut self.unreleased);
        if let Stage::Body(body) | Stage::Trailers(body) = &mut self.stage {
            // An error is a stream that was closed meanwhile; the next part tells why.
            let _ = body.flow_control().release_capacity(length);
        }
    }

    /// No other request is sent on the connection.
    pub fn distrust(&self) {
        self.session.conn.mark_shutdown();
    }

    /// The place on the connection, to be given back to the connector.
    pub fn into_session(self) -> Http2Session {
        self.session
    }
}

/// The second handle of a connection.
fn handle(session: &Http2Session) -> Option<SendRequest<Bytes>> {
    let digest = session.digest()?.proxy_digest.as_ref()?;
    let value = digest.user_data.as_ref()?;
    value.downcast_ref::<SendRequest<Bytes>>().cloned()
}

/// To wait for the final head alone would drop those before it.
fn poll_head(response: &mut ResponseFuture, cx: &mut Context<'_>) -> Poll<Result<Head, h2::Error>> {
    match ready!(response.poll_informational(cx)) {
        Some(interim) => Poll::Ready(interim.map(Head::Interim)),
        None => response.poll_unpin(cx).map_ok(Head::Final),
    }
}

/// The next piece of a body that is one, and whether it is the last; `None` if trailers may follow.
async fn next_piece(body: &mut RecvStream) -> Result<Option<(Bytes, bool)>> {
    while let Some(piece) = body.data().await {
        let piece = piece.map_err(failed)?;
        let end = has_ended(body)?;
        // An empty frame is none that HTTP/1 could have.
        if end || !piece.is_empty() {
            return Ok(Some((piece, end)));
        }
    }
    Ok(None)
}

/// Whether a response is whole. To the h2 crate a stream that failed has ended, too, so what comes next
/// is asked for.
fn has_ended(body: &mut RecvStream) -> Result<bool> {
    if !body.is_end_stream() {
        return Ok(false);
    }
    match tokio::task::unconstrained(body.data()).now_or_never() {
        Some(None) => Ok(true),
        Some(Some(Err(error))) => Err(failed(error)),
        Some(Some(Ok(_))) | None => {
            let reason = "a response that goes on behind its end";
            Err(Error::explain(ErrorType::H2Error, reason))
        }
    }
}

/// Whether a peer ended a connection or a stream without an error.
fn is_good_end(error: &h2::Error) -> bool {
    let ended = error.is_go_away() || error.is_reset();
    ended && error.is_remote() && error.reason() == Some(Reason::NO_ERROR)
}

/// An error of the peer's connection.
fn failed(error: h2::Error) -> Box<Error> {
    let kind = if error.is_io() {
        ErrorType::ReadError
    } else {
        ErrorType::H2Error
    };
    Error::because(kind, "in a request over HTTP/2", error)
}
