//! Messages that wait to be sent on a connection of HTTP/1: heads, content, and the framing around it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use pingora::protocols::Stream;
use tokio::io::AsyncWrite;

use super::piece::{Piece, write_chunk_size};
use super::unsent::Unsent;
use crate::gateway::access::min_rate::MinRateMeter;
use crate::proto::fastcgi::{MAX_CONTENT, stdin_header};

/// Framing of the content of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no content.
    Nothing,
    /// The content as it is: the head has its length, or the connection ends with it.
    Raw,
    /// Chunks (RFC 9112, 7.1).
    Chunks,
    /// Records of FastCGI.
    Records,
}

/// State of what was written to a stream and waits to be sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flush {
    /// In clear text nothing waits.
    Needless,
    /// All was sent.
    Done,
    /// Something waits, as it may in TLS.
    Due,
}

/// Messages of one direction of a connection, as far as they were not sent.
pub struct Outgoing {
    /// Heads, and whatever else comes before the piece.
    unsent: Unsent,
    /// Number of the first bytes of `unsent` that are a head with content behind it, until they are
    /// joined.
    head_length: usize,
    piece: Option<Piece>,
    /// Bytes behind the piece that did not fit it.
    tail: Vec<u8>,
    framing: Framing,
    flush: Flush,
    has_moved: bool,
    /// Bytes that were given to the stream.
    sent: usize,
}

impl Outgoing {
    /// Nothing that waits to be sent on `stream`.
    pub fn new(stream: &Stream) -> Self {
        Outgoing {
            unsent: Unsent::new(),
            head_length: 0,
            piece: None,
            tail: Vec::new(),
            framing: Framing::Raw,
            flush: match stream.get_ssl_digest() {
                Some(_) => Flush::Done,
                None => Flush::Needless,
            },
            has_moved: false,
            sent: 0,
        }
    }

    /// Number of bytes, from the first one on, that were sent or wait to be sent before any content.
    pub fn position(&self) -> usize {
        self.sent + self.unsent.remaining()
    }

    /// Drops what waits, if nothing or exactly the first `position` bytes were sent: another message
    /// can begin there. Returns `true` if it was dropped.
    pub fn take_back(&mut self, position: usize) -> bool {
        if self.sent != 0 && self.sent != position {
            return false;
        }
        self.unsent.clear();
        self.head_length = 0;
        self.piece = None;
        self.tail.clear();
        true
    }

    /// Bytes that are sent next, to append a head.
    pub fn head(&mut self) -> &mut Vec<u8> {
        self.unsent.bytes()
    }

    /// Sets the framing of the content that is put behind the head.
    pub fn frame(&mut self, framing: Framing) {
        self.framing = framing;
    }

    /// Puts content behind what waits. All content that was put before must have been sent.
    pub fn put(&mut self, mut piece: Piece) {
        if piece.is_empty() || self.framing == Framing::Nothing {
            return;
        }
        match self.framing {
            Framing::Chunks => piece.make_chunk(),
            Framing::Records if piece.content().len() > MAX_CONTENT => {
                return self.put_bytes(piece.content());
            }
            Framing::Records => {
                let has_room = piece.prepend(&stdin_header(piece.content().len()));
                debug_assert!(has_room, "room before the content is set aside");
            }
            Framing::Nothing | Framing::Raw => {}
        }
        debug_assert!(self.piece.is_none(), "one piece at a time");
        self.piece = Some(piece);
    }

    /// Puts a copy of content behind what waits.
    pub fn put_bytes(&mut self, content: &[u8]) {
        if content.is_empty() || self.framing == Framing::Nothing {
            return;
        }
        let framing = self.framing;
        if self.piece.is_none() && self.head_length == 0 {
            self.head_length = self.unsent.remaining();
        }
        let out = self.behind();
        match framing {
            Framing::Chunks => {
                let mut size = [0; 18];
                out.extend_from_slice(write_chunk_size(content.len(), &mut size));
                out.extend_from_slice(content);
                out.extend_from_slice(b"\r\n");
            }
            Framing::Records => {
                for part in content.chunks(MAX_CONTENT) {
                    out.extend_from_slice(&stdin_header(part.len()));
                    out.extend_from_slice(part);
                }
            }
            Framing::Nothing | Framing::Raw => out.extend_from_slice(content),
        }
    }

    /// Puts the end of the content behind what waits, with trailer lines if they can be sent.
    pub fn put_end(&mut self, trailers: &[u8]) {
        let end = match self.framing {
            Framing::Chunks => [b"0\r\n", trailers, b"\r\n"].concat(),
            Framing::Records => stdin_header(0).to_vec(),
            Framing::Nothing | Framing::Raw => return,
        };
        let is_added = self.piece.as_mut().is_some_and(|piece| piece.append(&end));
        if !is_added {
            self.behind().extend_from_slice(&end);
        }
    }

    /// Bytes behind all that waits.
    fn behind(&mut self) -> &mut Vec<u8> {
        match self.piece {
            Some(_) => &mut self.tail,
            None => self.unsent.bytes(),
        }
    }

    /// Returns `true` if something was not given to the stream.
    pub fn is_waiting(&self) -> bool {
        !self.unsent.is_empty() || self.piece.is_some()
    }

    /// Returns `true` if something was not sent.
    pub fn is_due(&self) -> bool {
        self.is_waiting() || self.flush == Flush::Due
    }

    /// Returns `true` if the other side has taken something since the last call.
    pub fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.has_moved)
    }

    /// Makes a head and the content behind it leave in one write. A long head before a piece stays
    /// apart.
    pub fn join(&mut self) {
        self.head_length = 0;
        if let (Some(piece), false) = (&mut self.piece, self.unsent.is_empty())
            && piece.prepend(self.unsent.chunk())
        {
            self.unsent.clear();
        }
    }

    /// Writes what waits; ready when the stream has taken all of it.
    ///
    /// # Errors
    /// If the stream fails, or the other side is slower than `rate` allows.
    pub fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
        mut rate: Option<&mut MinRateMeter>,
    ) -> Poll<io::Result<()>> {
        loop {
            let bytes = match &self.piece {
                _ if self.head_length > 0 => &self.unsent.chunk()[..self.head_length],
                _ if !self.unsent.is_empty() => self.unsent.chunk(),
                Some(piece) if !piece.is_empty() => piece.content(),
                Some(_) => {
                    self.piece = None;
                    self.unsent.bytes().append(&mut self.tail);
                    continue;
                }
                None => return Poll::Ready(Ok(())),
            };
            let written = Pin::new(&mut *stream).poll_write(cx, bytes);
            if let (true, Some(rate)) = (written.is_pending(), &mut rate) {
                rate.wait();
            }
            let length = ready!(written)?;
            if length == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written(length);
            if let Some(rate) = &mut rate {
                let moved = rate.moved(length);
                moved.map_err(|slow| io::Error::new(io::ErrorKind::TimedOut, slow))?;
            }
        }
    }

    /// Writes and flushes all that waits, a head and the content behind it in one write; ready when the
    /// stream has taken all of it.
    ///
    /// # Errors
    /// If the stream fails.
    pub fn poll_send_all(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
    ) -> Poll<io::Result<()>> {
        self.join();
        ready!(self.poll_send(cx, stream, None))?;
        self.poll_flush(cx, stream)
    }

    fn written(&mut self, length: usize) {
        self.has_moved = true;
        self.sent += length;
        self.head_length = self.head_length.saturating_sub(length);
        if self.flush == Flush::Done {
            self.flush = Flush::Due;
        }
        match &mut self.piece {
            _ if !self.unsent.is_empty() => self.unsent.advance(length),
            Some(piece) => piece.advance(length),
            None => {}
        }
    }

    /// Flushes what TLS holds back.
    ///
    /// # Errors
    /// If the stream fails.
    pub fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
    ) -> Poll<io::Result<()>> {
        if self.flush == Flush::Due {
            ready!(Pin::new(stream).poll_flush(cx))?;
            self.flush = Flush::Done;
        }
        Poll::Ready(Ok(()))
    }
}
