//! A connection that has changed its protocol: bytes both ways, until both sides have ended.

use std::io;
use std::pin::Pin;
use std::task::{Context as Task, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use pingora::protocols::Stream;
use pingora::{Error, ErrorType, Result};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::piece::{Piece, Size};
use super::super::timer::Timer;

/// Longest silence after one side has ended. Protocols that change a connection of HTTP close both
/// directions together; one that does not may go on as long as it has something to say.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// A peer's connection after its upgrade.
pub struct Tunnel {
    /// Stream with the peer.
    pub peer: Stream,
    /// Bytes that were received behind the peer's head.
    pub received: Option<Piece>,
    /// Longest silence of both sides.
    pub idle_timeout: Duration,
}

/// One direction of a tunnel. It holds memory only for bytes that the other side has not taken.
struct Direction {
    waiting: Option<Piece>,
    stage: Stage,
    needs_flush: bool,
    bytes: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// The sender has ended; the receiver is to be told.
    Ending,
    Ended,
}

impl Tunnel {
    /// Passes bytes on until both sides have ended, or one has failed. Returns the number of bytes
    /// that the client got, beside the result.
    ///
    /// # Errors
    /// If neither side has sent or taken anything for the idle timeout.
    pub async fn run(
        self,
        client: &mut Stream,
        read: &mut BytesMut,
        timer: &mut Timer<'_>,
    ) -> (usize, Result<()>) {
        let Tunnel {
            mut peer,
            received,
            idle_timeout,
        } = self;
        let mut up = Direction::new(piece_of(read));
        let mut down = Direction::new(received);
        let mut since = Instant::now();
        let result = std::future::poll_fn(|cx| {
            let before = (up.progress(), down.progress());
            let sent = [
                up.poll(cx, client, &mut peer),
                down.poll(cx, &mut peer, client),
            ];
            if (up.progress(), down.progress()) != before {
                since = Instant::now();
            }
            if sent.iter().any(|sent| matches!(sent, Poll::Ready(Err(_)))) {
                // A side that resets its connection ends the tunnel as one that closes it.
                return Poll::Ready(Ok(()));
            }
            if sent.iter().all(Poll::is_ready) {
                return Poll::Ready(Ok(()));
            }
            if sent.iter().any(Poll::is_ready) {
                ready!(timer.poll(cx, since + CLOSE_TIMEOUT.min(idle_timeout)));
                return Poll::Ready(Ok(()));
            }
            ready!(timer.poll(cx, since + idle_timeout));
            let reason = "an upgraded connection was idle for read_timeout";
            Poll::Ready(Err(
                Error::explain(ErrorType::ReadTimedout, reason).into_up()
            ))
        });
        let result = result.await;
        (down.bytes, result)
    }
}

/// Returns bytes that were read ahead as a piece.
fn piece_of(read: &mut BytesMut) -> Option<Piece> {
    if read.is_empty() {
        return None;
    }
    let mut piece = Piece::new(Size::Large);
    let length = read.len().min(piece.room().len());
    piece.room()[..length].copy_from_slice(&read.split_to(length));
    piece.fill(length);
    Some(piece)
}

impl Direction {
    fn new(waiting: Option<Piece>) -> Self {
        Direction {
            waiting,
            stage: Stage::Open,
            needs_flush: false,
            bytes: 0,
        }
    }

    fn progress(&self) -> (usize, Stage) {
        (self.bytes, self.stage)
    }

    /// Ready when the end of this direction was passed on.
    fn poll(
        &mut self,
        cx: &mut Task<'_>,
        from: &mut Stream,
        to: &mut Stream,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_write(cx, to))?;
            match self.stage {
                Stage::Ended => return Poll::Ready(Ok(())),
                Stage::Ending => {
                    ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                    self.stage = Stage::Ended;
                }
                Stage::Open => {
                    let mut piece = Piece::new(Size::Small);
                    let mut buffer = ReadBuf::new(piece.room());
                    let read = Pin::new(&mut *from).poll_read(cx, &mut buffer);
                    let length = buffer.filled().len();
                    if read.is_pending() {
                        ready!(self.poll_flush(cx, to))?;
                    }
                    ready!(read)?;
                    piece.fill(length);
                    if length == 0 {
                        self.stage = Stage::Ending;
                    } else {
                        self.waiting = Some(piece);
                    }
                }
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Task<'_>, to: &mut Stream) -> Poll<io::Result<()>> {
        while let Some(piece) = &mut self.waiting {
            if piece.is_empty() {
                self.waiting = None;
                break;
            }
            let length = ready!(Pin::new(&mut *to).poll_write(cx, piece.content()))?;
            if length == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            piece.advance(length);
            self.bytes += length;
            self.needs_flush = true;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, cx: &mut Task<'_>, to: &mut Stream) -> Poll<io::Result<()>> {
        if self.needs_flush {
            ready!(Pin::new(to).poll_flush(cx))?;
            self.needs_flush = false;
        }
        Poll::Ready(Ok(()))
    }
}
