//! Request to a peer over HTTP/2, and its response.
//!
//! pingora's own session drops interim responses (1xx), and lets a peer send more as soon as a part
//! was read. This session uses the h2 crate directly: it returns every response as it arrives, and
//! lets a peer send more only after the client has taken the data before. So a response holds at
//! most one flow-control window in memory.
//!
//! The connections still belong to pingora's connector, which counts the requests on each and knows
//! which are idle. The connector does not expose its handle for requests, so the handshake is done
//! here, and a second handle is stored in the connection's digest. `ProxyDigest::user_data` is the
//! only field of the digest for a custom value. It is free, because no connection here passes
//! through a proxy.

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

/// Request to a peer.
pub struct Http2 {
    /// Slot of the request on the connection.
    session: Http2Session,
    requests: SendRequest<Bytes>,
    is_head: bool,
    /// Sender of the body; `None` after the whole request was sent.
    request_body: Option<SendStream<Bytes>>,
    stage: Stage,
    /// Bytes that were returned, and not yet released from the flow-control window.
    unreleased: usize,
}

/// Next part of a response.
enum Stage {
    /// None, because the request was not sent yet.
    Request,
    Head(ResponseFuture),
    Body(RecvStream),
    Trailers(RecvStream),
    End,
}

/// Opens an HTTP/2 connection on `stream`, and the slot of its first request.
///
/// # Errors
/// If the handshake fails, or the connection takes no request.
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

/// Head of an interim or the final response.
enum Head {
    Interim(Response<()>),
    Final(Response<RecvStream>),
}

impl Http2 {
    /// Creates a request on a connection that [`open`] made.
    ///
    /// # Errors
    /// If [`open`] did not make the connection.
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

    /// Sends the head of the request. `end` is `true` if there is no body.
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

    /// Sends a piece of the body. `end` is `true` for the last one.
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

    /// Returns the next part of the response. Cancel safe: dropping the future loses no data.
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
        // The phases expect HTTP/1.1; the client's session writes its own version.
        head.set_version(Version::HTTP_11);
        Ok(HttpTask::Header(Box::new(head), end))
    }

    /// Rejects a response that announces content and ends with its head (RFC 9113, 8.1.1), which
    /// the h2 crate accepts.
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
            // After a complete response, a peer may refuse the rest of the request (RFC 9113, 8.1).
            Err(error) if is_good_end(&error) => None,
            Err(error) => return Err(failed(error)),
        };
        self.stage = Stage::End;
        Ok(match trailers {
            Some(trailers) => HttpTask::Trailer(Some(Box::<HeaderMap>::new(trailers))),
            None => HttpTask::Done,
        })
    }

    /// Lets the peer send more, after the client has taken all data that was returned.
    pub fn release(&mut self) {
        let length = std::mem::take(&mut self.unreleased);
        if let Stage::Body(body) | Stage::Trailers(body) = &mut self.stage {
            // An error means that the stream was closed; the next part returns the reason.
            let _ = body.flow_control().release_capacity(length);
        }
    }

    /// Excludes the connection from further requests.
    pub fn distrust(&self) {
        self.session.conn.mark_shutdown();
    }

    /// Returns the slot on the connection, to be given back to the connector.
    pub fn into_session(self) -> Http2Session {
        self.session
    }
}

/// Returns the second handle of a connection.
fn handle(session: &Http2Session) -> Option<SendRequest<Bytes>> {
    let digest = session.digest()?.proxy_digest.as_ref()?;
    let value = digest.user_data.as_ref()?;
    value.downcast_ref::<SendRequest<Bytes>>().cloned()
}

/// Polls the next head. A poll for the final head alone would drop the interim ones before it.
fn poll_head(response: &mut ResponseFuture, cx: &mut Context<'_>) -> Poll<Result<Head, h2::Error>> {
    match ready!(response.poll_informational(cx)) {
        Some(interim) => Poll::Ready(interim.map(Head::Interim)),
        None => response.poll_unpin(cx).map_ok(Head::Final),
    }
}

/// Returns the next piece of a body, and `true` if it is the last; `None` if trailers may follow.
async fn next_piece(body: &mut RecvStream) -> Result<Option<(Bytes, bool)>> {
    while let Some(piece) = body.data().await {
        let piece = piece.map_err(failed)?;
        let end = has_ended(body)?;
        // Empty frames are skipped: HTTP/1 has no equivalent.
        if end || !piece.is_empty() {
            return Ok(Some((piece, end)));
        }
    }
    Ok(None)
}

/// Returns `true` if a response is complete. For the h2 crate a failed stream has ended, too, so
/// the next part is polled.
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

/// Returns `true` if a peer ended a connection or a stream without an error.
fn is_good_end(error: &h2::Error) -> bool {
    let ended = error.is_go_away() || error.is_reset();
    ended && error.is_remote() && error.reason() == Some(Reason::NO_ERROR)
}

/// Converts an error of the peer's connection.
fn failed(error: h2::Error) -> Box<Error> {
    let kind = if error.is_io() {
        ErrorType::ReadError
    } else {
        ErrorType::H2Error
    };
    Error::because(kind, "in a request over HTTP/2", error)
}
