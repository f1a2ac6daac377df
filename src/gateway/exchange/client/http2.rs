//! Client of a request of HTTP/2.
//!
//! The h2 crate implements the frames. pingora's own session would drop interim responses (1xx) and
//! wait for a body without a limit, so the crate is used directly.

use std::io;
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use bytes::{Buf, Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header, request};
use pingora::http::ResponseHeader;
use pingora::protocols::Stream;
use pingora::{Error, ErrorType, Result};

use super::super::piece::{Piece, Size};
use super::super::stream_out::StreamOut;
use super::{Answer, Client, Content, FinalHead, InterimHead, Rates, Times};
use crate::config::model;
use crate::gateway::access::min_rate::BelowMinRate;
use crate::gateway::failure::slow_body;
use crate::proto::date::with_date;
use crate::proto::h1::rewrite::{Rewrite, write_line};
use crate::proto::headers::EditResponse;
use crate::proto::hop_by_hop::CONNECTION_SPECIFIC;
use crate::proto::trailers;

/// Request of a connection, with its stream.
pub struct Http2Request {
    /// Head.
    pub head: request::Parts,
    /// Body.
    pub body: RecvStream,
    /// Sender of the response.
    pub respond: SendResponse<Bytes>,
    /// Status of the rejection of a head that is not well formed.
    pub refusal: Option<u16>,
}

/// Client of one stream of a connection.
pub struct Http2Client {
    body: RecvStream,
    /// Content that was received and not read.
    received: Bytes,
    /// Bytes that were read, and for which the client has no room again yet.
    unreleased: usize,
    /// `true` if the end of the body was read.
    is_complete: bool,
    /// `true` while the rest of the body is not to be read.
    is_body_left: bool,
    trailers: Vec<u8>,
    respond: SendResponse<Bytes>,
    /// Content of the response; `None` until its head was sent.
    out: Option<StreamOut>,
    rates: Rates,
    times: Times,
    answer: Answer,
}

impl Http2Client {
    /// The client of a request with this body.
    pub fn new(
        body: RecvStream,
        respond: SendResponse<Bytes>,
        config: &model::Client,
        answer: Answer,
    ) -> Self {
        Http2Client {
            is_complete: body.is_end_stream(),
            body,
            received: Bytes::new(),
            unreleased: 0,
            is_body_left: false,
            trailers: Vec::new(),
            respond,
            out: None,
            rates: Rates::new(config),
            times: Times {
                read: config.read_timeout,
                write: config.write_timeout,
            },
            answer,
        }
    }

    /// Resets the stream of a request that gets no response. A response that has begun is reset when
    /// it is dropped, behind what was sent of it; a reset at once would take that from the client.
    pub fn abort(&mut self) {
        if self.out.is_none() {
            self.respond.send_reset(Reason::INTERNAL_ERROR);
        }
    }

    /// Receives a frame of the body, or its end.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let Some(data) = ready!(self.body.poll_data(cx)) else {
            let trailers = ready!(self.body.poll_trailers(cx)).map_err(read_error)?;
            self.trailers = trailers.as_ref().map_or_else(Vec::new, trailers::to_lines);
            self.is_complete = true;
            return Poll::Ready(Ok(()));
        };
        self.received = data.map_err(read_error)?;
        self.is_complete = self.received.is_empty() && self.body.is_end_stream();
        Poll::Ready(Ok(()))
    }

    fn send_head(&mut self, status: StatusCode, lines: HeaderMap, is_end: bool) -> Result<()> {
        let mut response = Response::new(());
        (*response.status_mut(), *response.headers_mut()) = (status, lines);
        let out = self.respond.send_response(response, is_end);
        self.out = Some(StreamOut::new(out.map_err(write_error)?, is_end));
        self.answer.status = Some(status);
        Ok(())
    }

    fn send_interim(&mut self, status: StatusCode, lines: HeaderMap) -> Result<()> {
        let mut response = Response::new(());
        (*response.status_mut(), *response.headers_mut()) = (status, lines);
        self.respond
            .send_informational(response)
            .map_err(write_error)
    }

    /// Notes a head for the log.
    fn note(&mut self, lines: &HeaderMap) {
        if self.answer.keeps_head {
            let mut head = b"\n".to_vec();
            for (name, value) in lines {
                write_line(&mut head, name.as_str().as_bytes(), value.as_bytes());
            }
            self.answer.head = head;
        }
    }
}

impl Client for Http2Client {
    fn is_complete(&self) -> bool {
        self.is_body_left || self.is_complete
    }

    fn leave_body(&mut self, is_left: bool) {
        self.is_body_left = is_left;
    }

    fn trailers(&self) -> &[u8] {
        &self.trailers
    }

    fn has_read(&self) -> bool {
        !self.received.is_empty()
    }

    fn take_read(&mut self, piece: &mut Piece) -> Result<()> {
        let room = piece.room();
        let length = room.len().min(self.received.len());
        room[..length].copy_from_slice(&self.received[..length]);
        self.received.advance(length);
        piece.fill(length);
        self.unreleased += length;
        self.is_complete = self.received.is_empty() && self.body.is_end_stream();
        Ok(())
    }

    /// Once the response has begun, a client may send slowly, as in streams of messages.
    fn poll_read(&mut self, cx: &mut Context<'_>, piece: &mut Piece) -> Poll<Result<()>> {
        // What was read before has been sent by now.
        let length = std::mem::take(&mut self.unreleased);
        if length > 0 {
            // An error means that the stream was closed; the next frame tells the reason.
            let _ = self.body.flow_control().release_capacity(length);
        }
        if self.received.is_empty() {
            let received = self.poll_receive(cx);
            if received.is_pending() {
                self.rates.body.wait();
            }
            ready!(received)?;
            let moved = self.rates.body.moved(self.received.len());
            if moved.is_err() && self.answer.status.is_none() {
                return Poll::Ready(Err(slow_body()));
            }
        }
        if self.received.is_empty() {
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(self.take_read(piece))
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let reset = match &mut self.out {
            Some(out) => out.poll_reset(cx),
            None => self.respond.poll_reset(cx),
        };
        Poll::Ready(Err(match ready!(reset) {
            Ok(reason) => {
                let reason = format!("the client reset the stream: {reason}");
                Error::explain(ErrorType::H2Error, reason).into_down()
            }
            Err(error) => read_error(error),
        }))
    }

    fn poll_drop(&mut self, _: &mut Context<'_>) -> Poll<Option<usize>> {
        // The end of this stream is no end of the connection.
        Poll::Ready(None)
    }

    fn put_interim(&mut self, lines: &Rewrite<StatusCode>, head: &InterimHead) -> Result<()> {
        debug_assert!(head.upgrade.is_none(), "HTTP/2 has no upgrades");
        self.send_interim(lines.status(), lines.to_http2())
    }

    fn put_continue(&mut self) -> Result<()> {
        self.send_interim(StatusCode::CONTINUE, HeaderMap::new())
    }

    fn put_head(&mut self, lines: &Rewrite<StatusCode>, head: &FinalHead) -> Result<()> {
        let mut map = lines.to_http2();
        if let Some(length) = head.length {
            map.insert(header::CONTENT_LENGTH, length.into());
        }
        add_date(&mut map);
        self.note(&map);
        let is_end = matches!(head.content, Content::Nothing { .. });
        self.send_head(lines.status(), map, is_end)
    }

    fn put_reply_head(&mut self, head: &ResponseHeader, has_content: bool) -> Result<()> {
        let mut map = head.headers.clone();
        for name in CONNECTION_SPECIFIC {
            map.remove(name);
        }
        add_date(&mut map);
        self.note(&map);
        self.send_head(head.status, map, !has_content)
    }

    fn put(&mut self, piece: Piece) {
        self.answer.body_bytes += piece.content().len();
        if let (Some(out), false) = (&mut self.out, piece.is_empty()) {
            out.put(Bytes::from_owner(piece));
        }
    }

    fn put_bytes(&mut self, content: Bytes) {
        self.answer.body_bytes += content.len();
        if let Some(out) = &mut self.out {
            out.put(content);
        }
    }

    fn put_end(&mut self, trailers: &[u8]) {
        if let Some(out) = &mut self.out {
            out.put_end(trailers);
        }
    }

    fn is_waiting(&self) -> bool {
        self.out.as_ref().is_some_and(StreamOut::is_waiting)
    }

    fn take_moved(&mut self) -> bool {
        self.out.as_mut().is_some_and(StreamOut::take_moved)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let Some(out) = &mut self.out else {
            return Poll::Ready(Ok(()));
        };
        let before = out.waiting_bytes();
        let sent = out.poll_send(cx);
        let moved = before - out.waiting_bytes();
        if moved > 0 && self.rates.response.moved(moved).is_err() {
            let slow = io::Error::new(io::ErrorKind::TimedOut, BelowMinRate);
            let error = Error::because(ErrorType::WriteError, "writing a response", slow);
            return Poll::Ready(Err(error.into_down()));
        }
        if sent.is_pending() {
            self.rates.response.wait();
        }
        sent.map_err(write_error)
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        // The connection's own task flushes.
        Poll::Ready(Ok(()))
    }

    fn answer(&self) -> &Answer {
        &self.answer
    }

    fn answer_mut(&mut self) -> &mut Answer {
        &mut self.answer
    }

    fn times(&self) -> Times {
        self.times
    }

    fn piece_size(&self) -> Size {
        Size::Small
    }

    fn take_back(&mut self) -> bool {
        // The h2 crate may have sent the head.
        self.answer.status.is_none()
    }

    fn close_after(&mut self) {}

    fn upgraded(&mut self) -> Option<(&mut Stream, &mut BytesMut)> {
        None
    }
}

fn add_date(map: &mut HeaderMap) {
    if !map.contains_key(header::DATE) {
        with_date(SystemTime::now(), |date| {
            if let Ok(date) = HeaderValue::from_str(date) {
                map.insert(header::DATE, date);
            }
        });
    }
}

fn read_error(error: h2::Error) -> Box<Error> {
    let reason = "reading a request over HTTP/2";
    Error::because(ErrorType::ReadError, reason, error).into_down()
}

fn write_error(error: h2::Error) -> Box<Error> {
    let reason = "writing a response over HTTP/2";
    Error::because(ErrorType::WriteError, reason, error).into_down()
}
