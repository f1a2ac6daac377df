//! One request on a connection to a peer, in either version of HTTP.
//!
//! Framing and frames are pingora's and the h2 crate's; this makes one interface of both. There are no
//! timeouts here: whoever waits knows for whom.

use bytes::Bytes;
use h2::SendStream;
use http::{Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::client::HttpSession;
use pingora::protocols::http::v1::client::HttpSession as Http1;
use pingora::protocols::http::v2::client::Http2Session;
use pingora::protocols::http::v2::write_body;
use pingora::{Error, ErrorType, Result};

use crate::gateway::response_bytes;

/// A request to a peer, and its response.
pub enum PeerSession {
    /// The whole connection.
    Http1(Box<Http1>),
    /// One stream of it.
    Http2(Box<Http2>),
}

/// A stream of HTTP/2.
pub struct Http2 {
    session: Http2Session,
    /// `None` once the whole request was sent.
    body: Option<SendStream<Bytes>>,
    stage: Stage,
}

/// What of a response comes next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Head,
    Body,
    Trailers,
    End,
}

impl PeerSession {
    /// The session that pingora's connector made.
    pub fn new(session: HttpSession<()>) -> Result<Self> {
        match session {
            HttpSession::H1(session) => Ok(PeerSession::Http1(Box::new(session))),
            HttpSession::H2(session) => Ok(PeerSession::from(session)),
            HttpSession::Custom(()) => {
                let reason = "a connection of no known protocol";
                Err(Error::explain(ErrorType::InternalError, reason))
            }
        }
    }

    /// Whether it is one of HTTP/2.
    pub fn is_http2(&self) -> bool {
        matches!(self, PeerSession::Http2(_))
    }

    /// Sends the head of the request. `end` if there is no body.
    pub async fn send_head(&mut self, request: Box<RequestHeader>, end: bool) -> Result<()> {
        let sent = match self {
            PeerSession::Http1(session) => session.write_request_header(request).await.map(|_| ()),
            PeerSession::Http2(stream) => stream.send_head(request, end),
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

    /// No other request is sent on a connection that does not answer.
    pub fn distrust(&self) {
        if let PeerSession::Http2(stream) = self {
            stream.session.conn.mark_shutdown();
        }
    }
}

impl From<Http1> for PeerSession {
    fn from(session: Http1) -> Self {
        PeerSession::Http1(Box::new(session))
    }
}

impl From<Http2Session> for PeerSession {
    fn from(session: Http2Session) -> Self {
        PeerSession::Http2(Box::new(Http2 {
            session,
            body: None,
            stage: Stage::Head,
        }))
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

impl Http2 {
    fn send_head(&mut self, request: Box<RequestHeader>, end: bool) -> Result<()> {
        self.session.write_request_header(request, end)?;
        if !end {
            self.body = self.session.take_request_body_writer();
        }
        Ok(())
    }

    async fn send(&mut self, piece: Option<Bytes>, end: bool) -> Result<()> {
        let Some(body) = &mut self.body else {
            return Ok(());
        };
        write_body(body, piece.unwrap_or_default(), end, None).await?;
        if end {
            self.body = None;
        }
        Ok(())
    }

    async fn next(&mut self) -> Result<HttpTask> {
        match self.stage {
            Stage::Head => self.head().await,
            Stage::Body => self.piece().await,
            Stage::Trailers => self.trailers().await,
            Stage::End => Ok(HttpTask::Done),
        }
    }

    async fn head(&mut self) -> Result<HttpTask> {
        self.session.read_response_header().await?;
        self.stage = Stage::Body;
        let end = self.session.check_response_end_or_error()?;
        let head = self.session.response_header().cloned();
        let no_head = || Error::explain(ErrorType::InternalError, "no head was read");
        let mut head = head.ok_or_else(no_head)?;
        if end {
            self.stage = Stage::End;
            self.check_end(&head)?;
        }
        // The client is spoken to in its own version.
        head.set_version(Version::HTTP_11);
        Ok(HttpTask::Header(Box::new(head), end))
    }

    /// The h2 crate lets a response end with its head that announces content (RFC 9113, 8.1.1).
    fn check_end(&self, head: &ResponseHeader) -> Result<()> {
        let request = self.session.request_header();
        let is_head = request.is_some_and(|request| request.method == http::Method::HEAD);
        let length = head.headers.get(header::CONTENT_LENGTH);
        let has_content =
            length.is_some_and(|length| length.as_bytes().iter().any(|&digit| digit != b'0'));
        if is_head || matches!(head.status.as_u16(), 204 | 304) || !has_content {
            return Ok(());
        }
        let reason = "a response with content ends with its head";
        Err(Error::explain(ErrorType::InvalidHTTPHeader, reason))
    }

    async fn piece(&mut self) -> Result<HttpTask> {
        loop {
            let Some(piece) = self.session.read_response_body().await? else {
                self.stage = Stage::Trailers;
                return self.trailers().await;
            };
            let end = self.session.check_response_end_or_error()?;
            if end {
                self.stage = Stage::End;
            }
            // An empty frame is none that HTTP/1 could have.
            if end || !piece.is_empty() {
                return Ok(HttpTask::Body(Some(piece), end));
            }
        }
    }

    async fn trailers(&mut self) -> Result<HttpTask> {
        let trailers = self.session.read_trailers().await?;
        self.stage = Stage::End;
        Ok(match trailers {
            Some(trailers) => HttpTask::Trailer(Some(Box::new(trailers))),
            None => HttpTask::Done,
        })
    }

    /// The session, to be given back to the connector.
    pub fn into_session(self) -> Http2Session {
        self.session
    }
}
