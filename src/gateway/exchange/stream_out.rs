//! Content that waits to be sent on a stream of HTTP/2, and the end of it.
//!
//! The h2 crate would buffer all that it is given. So it is given content only as far as the other
//! side has room for it, and what it has not been given is held here, one piece at most.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http::HeaderMap;

use crate::proto::trailers;

/// Content of one direction of a stream, as far as it was not sent.
pub struct StreamOut {
    stream: SendStream<Bytes>,
    content: Bytes,
    end: End,
    has_moved: bool,
}

/// End of a direction of a stream.
enum End {
    /// More content may come.
    Open,
    /// It follows the content, with these trailers.
    Due(HeaderMap),
    /// It was sent.
    Sent,
}

impl StreamOut {
    /// A direction whose head was sent; `is_ended` if the head was its end as well.
    pub fn new(stream: SendStream<Bytes>, is_ended: bool) -> Self {
        StreamOut {
            stream,
            content: Bytes::new(),
            end: if is_ended { End::Sent } else { End::Open },
            has_moved: false,
        }
    }

    /// Puts content behind what waits.
    pub fn put(&mut self, content: Bytes) {
        if self.is_ended() || content.is_empty() {
            return;
        }
        self.content = if self.content.is_empty() {
            content
        } else {
            [&self.content[..], &content].concat().into()
        };
    }

    /// Puts the end behind what waits, with trailer lines.
    pub fn put_end(&mut self, lines: &[u8]) {
        if let End::Open = self.end {
            self.end = End::Due(trailers::to_map(lines));
        }
    }

    /// Returns `true` if the end was sent.
    pub fn is_ended(&self) -> bool {
        matches!(self.end, End::Sent)
    }

    /// Returns `true` if something was not sent.
    pub fn is_waiting(&self) -> bool {
        !self.content.is_empty() || matches!(self.end, End::Due(_))
    }

    /// Bytes of content that were not sent.
    pub fn waiting_bytes(&self) -> usize {
        self.content.len()
    }

    /// Returns `true` if the other side has taken something since the last call.
    pub fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.has_moved)
    }

    /// Sends what waits; ready when the other side had room for all of it.
    ///
    /// # Errors
    /// If the stream was reset, or its connection failed.
    pub fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        while !self.content.is_empty() {
            if self.stream.capacity() == 0 {
                self.stream.reserve_capacity(self.content.len());
                match ready!(self.stream.poll_capacity(cx)) {
                    Some(room) => drop(room?),
                    None => return Poll::Ready(Err(self.reason(cx))),
                }
            }
            let length = self.content.len().min(self.stream.capacity());
            if length == 0 {
                continue;
            }
            let is_last = length == self.content.len()
                && matches!(&self.end, End::Due(trailers) if trailers.is_empty());
            let part = self.content.split_to(length);
            self.stream.send_data(part, is_last)?;
            self.has_moved = true;
            if is_last {
                self.end = End::Sent;
            }
        }
        match std::mem::replace(&mut self.end, End::Sent) {
            End::Open => self.end = End::Open,
            End::Due(trailers) if trailers.is_empty() => {
                self.stream.send_data(Bytes::new(), true)?;
            }
            End::Due(trailers) => self.stream.send_trailers(trailers)?,
            End::Sent => {}
        }
        Poll::Ready(Ok(()))
    }

    /// The reason of a stream that takes no more.
    fn reason(&mut self, cx: &mut Context<'_>) -> h2::Error {
        match self.stream.poll_reset(cx) {
            Poll::Ready(Ok(reason)) => reason.into(),
            Poll::Ready(Err(error)) => error,
            Poll::Pending => Reason::STREAM_CLOSED.into(),
        }
    }

    /// Ready when the other side has reset the stream.
    ///
    /// # Errors
    /// If the connection failed.
    pub fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<Result<Reason, h2::Error>> {
        self.stream.poll_reset(cx)
    }
}
