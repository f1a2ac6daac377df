//! Peer of a try of HTTP/2: one stream of a connection.
//!
//! pingora's own session drops interim responses (1xx), and lets a peer send more as soon as a part
//! was read. Here the h2 crate is used directly: every response head arrives, and a peer may send
//! more only once the client has taken the content before, so a response holds at most one
//! flow-control window in memory.

use std::task::{Context as Task, Poll, ready};

use bytes::Bytes;
use futures_util::FutureExt;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream};
use http::{HeaderMap, Method, Request, StatusCode};
use httparse::Header;
use pingora::protocols::http::v2::client::Http2Session;
use pingora::{Error, ErrorType, Result};

use super::super::head::http2_request;
use super::super::piece::{Piece, Size};
use super::super::stream_out::StreamOut;
use super::http2_connection::handle;
use super::{Peer, Received, Sink, invalid};
use crate::gateway::context::Context;
use crate::gateway::request::request_view::RequestView;
use crate::proto::h1::response_head::{self, Framing, Limits};
use crate::proto::h1::stored_head::{Lines, StoredHead};
use crate::proto::trailers;

/// One request on a connection to a peer.
pub struct Http2Peer {
    /// Slot of the request on the connection.
    session: Box<Http2Session>,
    requests: SendRequest<Bytes>,
    is_tls: bool,
    limits: Limits,
    heads: response_head::Received,
    request: Outgoing,
    response: Incoming,
    is_head_request: bool,
    /// Error behind a head that is to be sent first.
    late_error: Option<Box<Error>>,
    /// Bytes that were received, and for which the peer has no room again yet.
    unreleased: usize,
}

/// Request, as far as it was not sent.
enum Outgoing {
    Head {
        head: Option<Box<Request<()>>>,
        content: Vec<u8>,
        end: Option<Vec<u8>>,
        is_complete: bool,
    },
    Content(StreamOut),
}

/// Next part of a response.
enum Incoming {
    /// None, because the request was not sent yet.
    Request,
    Head(ResponseFuture),
    Content(RecvStream),
    End,
}

/// Head of an interim or the final response.
enum Head {
    Interim(http::Response<()>),
    Final(http::Response<RecvStream>),
}

impl Http2Peer {
    /// A request on a connection that was opened by this gateway.
    ///
    /// # Errors
    /// If it was not.
    pub fn new(session: Box<Http2Session>, is_tls: bool, limits: Limits) -> Result<Self> {
        let foreign = "a connection of HTTP/2 that was not made here";
        let requests =
            handle(&session).ok_or_else(|| Error::explain(ErrorType::InternalError, foreign))?;
        Ok(Http2Peer {
            session,
            requests,
            is_tls,
            limits,
            heads: response_head::Received::default(),
            request: Outgoing::Head {
                head: None,
                content: Vec::new(),
                end: None,
                is_complete: false,
            },
            response: Incoming::Request,
            is_head_request: false,
            late_error: None,
            unreleased: 0,
        })
    }

    /// Excludes the connection from further requests.
    pub fn distrust(&self) {
        self.session.conn.mark_shutdown();
    }

    /// Slot on the connection, to be given back to the connector.
    pub fn into_session(self) -> Box<Http2Session> {
        self.session
    }

    /// Sends the head, if it was not; then what was put behind it waits to be sent.
    fn poll_begin(&mut self, cx: &mut Task<'_>) -> Poll<Result<()>> {
        let Outgoing::Head {
            head,
            content,
            end,
            is_complete,
        } = &mut self.request
        else {
            return Poll::Ready(Ok(()));
        };
        ready!(self.requests.poll_ready(cx)).map_err(failed)?;
        let no_head = || Error::explain(ErrorType::InternalError, "a request without a head");
        let head = head.take().ok_or_else(no_head)?;
        let sent = self.requests.send_request(*head, *is_complete);
        let (response, out) = sent.map_err(failed)?;
        let mut out = StreamOut::new(out, *is_complete);
        out.put(std::mem::take(content).into());
        if let Some(trailers) = end {
            out.put_end(trailers);
        }
        self.request = Outgoing::Content(out);
        self.response = Incoming::Head(response);
        Poll::Ready(Ok(()))
    }

    fn take_interim(&mut self, head: &http::Response<()>, sink: &mut impl Sink) -> Result<()> {
        self.take_head(head.status(), head.headers(), false, sink)
    }

    fn take_final(
        &mut self,
        response: http::Response<RecvStream>,
        sink: &mut impl Sink,
    ) -> Result<()> {
        let (head, mut body) = response.into_parts();
        let is_end = has_ended(&mut body)?;
        self.take_head(head.status, &head.headers, is_end, sink)?;
        if is_end {
            self.response = Incoming::End;
            return sink.content(Received::Bytes(Bytes::new()), Some(b""));
        }
        self.response = Incoming::Content(body);
        Ok(())
    }

    fn take_head(
        &mut self,
        status: StatusCode,
        headers: &HeaderMap,
        is_end: bool,
        sink: &mut impl Sink,
    ) -> Result<()> {
        let lines: Lines<'_> = headers
            .iter()
            .map(|(name, value)| Header {
                name: name.as_str(),
                value: value.as_bytes(),
            })
            .collect();
        // As it would be in HTTP/1.1: with ": " and a line end.
        let size = lines
            .iter()
            .map(|line| line.name.len() + line.value.len() + 4);
        let size = size.sum::<usize>() + "HTTP/1.1 200 OK\r\n\r\n".len();
        let head = response_head::of_http2(status, &lines, size, is_end, self.limits);
        let head = head.map_err(invalid)?;
        let counted = self.heads.count(&head, self.limits);
        counted.map_err(invalid)?;
        // The h2 crate accepts it (RFC 9113, 8.1.1).
        let has_content = head.framing != Framing::None && !self.is_head_request;
        if is_end && has_content && head.content_length.is_some_and(|length| length > 0) {
            let reason = "a response with content ends with its head";
            return Err(Error::explain(ErrorType::InvalidHTTPHeader, reason).into_up());
        }
        sink.head(&head)
    }

    fn poll_content(&mut self, cx: &mut Task<'_>, sink: &mut impl Sink) -> Poll<Result<()>> {
        let Incoming::Content(body) = &mut self.response else {
            return Poll::Ready(Ok(()));
        };
        // The client has taken what came before. An error means that the stream was closed; the
        // next frame tells the reason.
        let length = std::mem::take(&mut self.unreleased);
        let _ = body.flow_control().release_capacity(length);
        let Some(data) = ready!(body.poll_data(cx)) else {
            return self.poll_trailers(cx, sink);
        };
        let data = data.map_err(failed)?;
        self.unreleased = data.len();
        let is_end = has_ended(body)?;
        if is_end {
            self.response = Incoming::End;
        }
        let end: Option<&[u8]> = is_end.then_some(b"");
        Poll::Ready(sink.content(Received::Bytes(data), end))
    }

    fn poll_trailers(&mut self, cx: &mut Task<'_>, sink: &mut impl Sink) -> Poll<Result<()>> {
        let Incoming::Content(body) = &mut self.response else {
            return Poll::Ready(Ok(()));
        };
        let trailers = match ready!(body.poll_trailers(cx)) {
            Ok(trailers) => trailers,
            // After a complete response, a peer may refuse the rest of the request (RFC 9113, 8.1).
            Err(error) if is_good_end(&error) => None,
            Err(error) => return Poll::Ready(Err(failed(error))),
        };
        self.response = Incoming::End;
        let lines = trailers.as_ref().map(trailers::to_lines);
        let nothing = Received::Bytes(Bytes::new());
        Poll::Ready(sink.content(nothing, Some(&lines.unwrap_or_default())))
    }
}

impl Peer for Http2Peer {
    const INVITES: bool = true;

    fn put_request(
        &mut self,
        request: &RequestView<StoredHead>,
        ctx: &Context,
        is_complete: bool,
    ) -> Result<()> {
        self.is_head_request = *request.method == Method::HEAD;
        let written = http2_request(request, ctx, self.is_tls)?;
        if let Outgoing::Head {
            head,
            is_complete: is_end,
            ..
        } = &mut self.request
        {
            *head = Some(Box::new(written));
            *is_end = is_complete;
        }
        Ok(())
    }

    fn put(&mut self, piece: Piece) {
        match &mut self.request {
            Outgoing::Head { content, .. } => content.extend_from_slice(piece.content()),
            Outgoing::Content(out) => out.put(Bytes::from_owner(piece)),
        }
    }

    fn put_bytes(&mut self, bytes: &[u8]) {
        match &mut self.request {
            Outgoing::Head { content, .. } => content.extend_from_slice(bytes),
            Outgoing::Content(out) => out.put(Bytes::copy_from_slice(bytes)),
        }
    }

    fn put_end(&mut self, trailers: &[u8]) {
        match &mut self.request {
            Outgoing::Head { end, .. } => *end = Some(trailers.to_vec()),
            Outgoing::Content(out) => out.put_end(trailers),
        }
    }

    fn is_waiting(&self) -> bool {
        match &self.request {
            Outgoing::Head { .. } => true,
            Outgoing::Content(out) => out.is_waiting(),
        }
    }

    fn take_moved(&mut self) -> bool {
        match &mut self.request {
            Outgoing::Head { .. } => false,
            Outgoing::Content(out) => out.take_moved(),
        }
    }

    fn poll_send(&mut self, cx: &mut Task<'_>) -> Poll<Result<bool>> {
        ready!(self.poll_begin(cx))?;
        let Outgoing::Content(out) = &mut self.request else {
            return Poll::Pending;
        };
        let sent = ready!(out.poll_send(cx));
        Poll::Ready(Ok(sent.is_ok()))
    }

    fn poll_receive(
        &mut self,
        cx: &mut Task<'_>,
        _: Size,
        sink: &mut impl Sink,
    ) -> Poll<Result<()>> {
        if let Some(error) = self.late_error.take() {
            return Poll::Ready(Err(error));
        }
        match &mut self.response {
            Incoming::Request => Poll::Pending,
            Incoming::Head(response) => {
                let head = ready!(poll_head(response, cx)).map_err(failed)?;
                match head {
                    Head::Interim(head) => self.take_interim(&head, sink)?,
                    Head::Final(response) => self.take_final(response, sink)?,
                }
                // Content that is here leaves with its head: some clients read only once.
                if let Poll::Ready(Err(error)) = self.poll_content(cx, sink) {
                    self.late_error = Some(error);
                }
                Poll::Ready(Ok(()))
            }
            Incoming::Content(..) => self.poll_content(cx, sink),
            Incoming::End => Poll::Ready(Ok(())),
        }
    }
}

/// Polls the next head. A poll for the final head alone would drop the interim ones before it.
fn poll_head(response: &mut ResponseFuture, cx: &mut Task<'_>) -> Poll<Result<Head, h2::Error>> {
    match ready!(response.poll_informational(cx)) {
        Some(interim) => Poll::Ready(interim.map(Head::Interim)),
        None => response.poll_unpin(cx).map_ok(Head::Final),
    }
}

/// Returns `true` if a response is complete. For the h2 crate a failed stream has ended, too, so
/// the next part is polled.
fn has_ended(body: &mut RecvStream) -> Result<bool> {
    if !body.is_end_stream() {
        return Ok(false);
    }
    match tokio::task::unconstrained(std::future::poll_fn(|cx| body.poll_data(cx))).now_or_never() {
        Some(None) => Ok(true),
        Some(Some(Err(error))) => Err(failed(error)),
        Some(Some(Ok(_))) | None => {
            let reason = "a response that goes on behind its end";
            Err(Error::explain(ErrorType::H2Error, reason).into_up())
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
    Error::because(kind, "in a request over HTTP/2", error).into_up()
}
