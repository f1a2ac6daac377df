//! Peer of a try of FastCGI: one request on a connection.

use std::pin::Pin;
use std::task::{Context as Task, Poll, ready};

use bytes::Bytes;
use http::Method;
use pingora::protocols::Stream;
use pingora::{Error, ErrorType, Result};
use tokio::io::{AsyncRead, ReadBuf};

use super::super::outgoing::{Framing as Sending, Outgoing};
use super::super::params::write_params;
use super::super::piece::{Piece, Size};
use super::super::script_request::ScriptRequest;
use super::{Peer, Received, Sink, closed_early, invalid, not_read};
use crate::gateway::context::Context;
use crate::gateway::failure::REFUSED_REQUEST;
use crate::gateway::request::request_view::RequestView;
use crate::proto::fastcgi::{Decoder, End, ProtocolStatus, begin_request, to_http};
use crate::proto::h1::head::slots;
use crate::proto::h1::response_head::{self, Framing, Limits, Parse};
use crate::proto::h1::stored_head::StoredHead;

/// Connection to a FastCGI server, for one request.
pub struct FastCgiPeer<'s> {
    stream: Stream,
    outgoing: Outgoing,
    limits: Limits,
    script: &'s ScriptRequest,
    /// `true` if the server is asked to keep the connection.
    keeps: bool,
    is_head_request: bool,
    decoder: Decoder,
    /// Output of the script before its head is complete.
    head: Vec<u8>,
    stage: Stage,
    /// `true` if all that was received belongs to the request.
    is_clean: bool,
}

/// Part of the response that comes next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Head,
    /// Content of this length.
    Length(u64),
    /// Content up to the end of the request.
    Open,
    /// Content that is dropped: of a `HEAD` request, or of a status that has none.
    Dropped,
    End,
}

impl<'s> FastCgiPeer<'s> {
    /// A connection that no request was sent on, for this script.
    pub fn new(stream: Stream, limits: Limits, script: &'s ScriptRequest, keeps: bool) -> Self {
        FastCgiPeer {
            outgoing: Outgoing::new(&stream),
            stream,
            limits,
            script,
            keeps,
            is_head_request: false,
            decoder: Decoder::new(),
            head: Vec::new(),
            stage: Stage::Head,
            is_clean: true,
        }
    }

    /// Messages of the script, for the log.
    pub fn stderr(&self) -> &[u8] {
        self.decoder.stderr()
    }

    /// Connection, if it can carry another request after this one, whose end was sent.
    pub fn into_reusable(self) -> Option<Stream> {
        let is_whole = self.stage == Stage::End && self.decoder.is_complete();
        (self.keeps && is_whole && self.is_clean).then_some(self.stream)
    }

    /// Takes output of the script. `end` is the end of the request if it has come.
    fn take(&mut self, piece: Piece, end: Option<End>, sink: &mut impl Sink) -> Result<()> {
        if self.stage != Stage::Head {
            return self.take_content(Received::Piece(piece), end, sink);
        }
        self.head.extend_from_slice(piece.content());
        let mut head = Vec::new();
        let length = to_http(&self.head, self.limits.max_size, &mut head);
        let length = length.map_err(invalid)?;
        let Some(length) = length else {
            return end.map_or(Ok(()), |end| Err(self.headless(end)));
        };
        // A head is no longer than before, but for the line of its status.
        let limits = Limits {
            max_size: head.len().max(self.limits.max_size),
            ..self.limits
        };
        let mut slots = slots();
        let head = match response_head::read(&head, limits, &mut slots) {
            Parse::Complete(head) => head,
            Parse::Invalid(head) => return Err(invalid(head)),
            Parse::Incomplete => return Err(invalid("a head without an end")),
        };
        sink.head(&head)?;
        self.stage = match head.framing {
            _ if self.is_head_request => Stage::Dropped,
            Framing::None => Stage::Dropped,
            Framing::Length(length) => Stage::Length(length),
            Framing::Chunked | Framing::Close => Stage::Open,
        };
        let output = std::mem::take(&mut self.head);
        let rest = Bytes::from(output).slice(length..);
        self.take_content(Received::Bytes(rest), end, sink)
    }

    fn take_content(
        &mut self,
        content: Received,
        end: Option<End>,
        sink: &mut impl Sink,
    ) -> Result<()> {
        let available = content.as_ref().len();
        let here = match &mut self.stage {
            Stage::Length(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(available);
                *left -= here as u64;
                here
            }
            Stage::Open => available,
            Stage::Head | Stage::Dropped | Stage::End => 0,
        };
        let content = match content {
            Received::Piece(mut piece) => {
                piece.truncate(here);
                Received::Piece(piece)
            }
            Received::Bytes(bytes) => Received::Bytes(bytes.slice(..here)),
        };
        let Some(end) = end else {
            return if here > 0 {
                sink.content(content, None)
            } else {
                Ok(())
            };
        };
        if end.protocol_status != ProtocolStatus::Complete {
            return Err(invalid("the peer gave a request up that it had begun"));
        }
        self.end_content(content, sink)
    }

    /// Passes the last content on.
    fn end_content(&mut self, content: Received, sink: &mut impl Sink) -> Result<()> {
        if let Stage::Length(1..) = self.stage {
            let reason = "the script ended before the end of its response";
            return Err(Error::explain(ErrorType::ConnectionClosed, reason).into_up());
        }
        self.stage = Stage::End;
        sink.content(content, Some(b""))
    }

    /// Error of a request that ended without a response.
    fn headless(&self, end: End) -> Box<Error> {
        match end.protocol_status {
            ProtocolStatus::Refused if self.head.is_empty() => {
                let reason = "the FastCGI server has no room for the request";
                Error::explain(REFUSED_REQUEST, reason).into_up()
            }
            _ => invalid(format!(
                "the script ended with status {} and no response",
                end.app_status
            )),
        }
    }

    /// The server has closed its connection.
    fn end_of_peer(&mut self, sink: &mut impl Sink) -> Result<()> {
        let is_ended = match self.stage {
            Stage::Length(0) => true,
            Stage::Open | Stage::Dropped => self.decoder.stdout_has_ended(),
            _ => false,
        };
        if is_ended {
            self.is_clean = false;
            return self.end_content(Received::Bytes(Bytes::new()), sink);
        }
        Err(closed_early())
    }
}

impl Peer for FastCgiPeer<'_> {
    const INVITES: bool = true;

    fn put_request(
        &mut self,
        request: &RequestView<StoredHead>,
        ctx: &Context,
        _is_complete: bool,
    ) -> Result<()> {
        self.is_head_request = *request.method == Method::HEAD;
        self.outgoing.frame(Sending::Records);
        let out = self.outgoing.head();
        begin_request(out, self.keeps);
        write_params(out, request, ctx, self.script)
    }

    fn put(&mut self, piece: Piece) {
        self.outgoing.put(piece);
    }

    fn put_bytes(&mut self, content: &[u8]) {
        self.outgoing.put_bytes(content);
    }

    fn put_end(&mut self, _trailers: &[u8]) {
        self.outgoing.put_end(b"");
    }

    fn is_waiting(&self) -> bool {
        self.outgoing.is_due()
    }

    fn take_moved(&mut self) -> bool {
        self.outgoing.take_moved()
    }

    fn poll_send(&mut self, cx: &mut Task<'_>) -> Poll<Result<bool>> {
        let sent = ready!(self.outgoing.poll_send_all(cx, &mut self.stream));
        Poll::Ready(Ok(sent.is_ok()))
    }

    fn poll_receive(
        &mut self,
        cx: &mut Task<'_>,
        size: Size,
        sink: &mut impl Sink,
    ) -> Poll<Result<()>> {
        let mut piece = Piece::new(size);
        let mut buffer = ReadBuf::new(piece.room());
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer));
        let length = buffer.filled().len();
        if let Err(error) = read {
            return Poll::Ready(Err(not_read(error)));
        }
        if length == 0 {
            return Poll::Ready(self.end_of_peer(sink));
        }
        piece.fill(length);
        let decoded = match self.decoder.decode(piece.content_mut()) {
            Ok(decoded) => decoded,
            Err(error) => return Poll::Ready(Err(invalid(error))),
        };
        // Bytes behind a response are none that the next request should get.
        self.is_clean &= decoded.consumed == length;
        piece.truncate(decoded.content);
        let end = self.decoder.end().filter(|_| self.decoder.is_complete());
        Poll::Ready(self.take(piece, end, sink))
    }
}
