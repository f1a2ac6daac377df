//! Compression of a response body, piece by piece.
//!
//! Each encoder has a window of at most 2^[`WINDOW`] bytes and returns the output that is ready
//! after each piece. If the length of the body is unknown, the encoder is flushed after every
//! piece: the next piece may come much later, and the client waits for this one.

use std::io::{self, Write};

use brotli::CompressorWriter;
use bytes::Bytes;
use flate2::write::GzEncoder;
use pingora::{Error, ErrorType, Result};
use zstd::stream::write::Encoder as ZstdEncoder;

use crate::config::model::Coding;

/// Base-2 logarithm of the window size of Brotli and Zstandard; gzip's is 15.
const WINDOW: u32 = 19;

/// Size of Brotli's internal output buffer, in bytes.
const BUFFER: usize = 4096;

/// Encoder of one body.
pub struct Encoder {
    state: State,
    /// True if the encoder must be flushed after every piece.
    streamed: bool,
}

enum State {
    Gzip(GzEncoder<Vec<u8>>),
    Brotli(Box<CompressorWriter<Vec<u8>>>),
    Zstd(ZstdEncoder<'static, Vec<u8>>),
    Ended,
}

impl Encoder {
    /// Creates an encoder for a body; `streamed` if its length is unknown.
    ///
    /// # Errors
    /// If its memory cannot be allocated.
    pub fn new(coding: Coding, level: u32, streamed: bool) -> Result<Self> {
        let state = match coding {
            Coding::Gzip => {
                State::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::new(level)))
            }
            Coding::Brotli => State::Brotli(Box::new(CompressorWriter::new(
                Vec::new(),
                BUFFER,
                level,
                WINDOW,
            ))),
            Coding::Zstd => {
                let encoder = ZstdEncoder::new(Vec::new(), level.cast_signed());
                let mut encoder = encoder.map_err(failed)?;
                encoder.window_log(WINDOW).map_err(failed)?;
                State::Zstd(encoder)
            }
        };
        Ok(Encoder { state, streamed })
    }

    /// Compresses the next piece of the body and returns the output that is ready, which may be
    /// empty. With `end`, returns all remaining output.
    ///
    /// # Errors
    /// If the piece cannot be compressed; the encoder is then unusable.
    pub fn encode(&mut self, piece: &[u8], end: bool) -> Result<Bytes> {
        let out = if end {
            self.push(piece).and_then(|()| self.finish())
        } else {
            self.push(piece).and_then(|()| self.take())
        };
        out.map(Bytes::from).map_err(failed)
    }

    fn push(&mut self, piece: &[u8]) -> io::Result<()> {
        let Some(writer) = self.writer() else {
            return Ok(());
        };
        writer.write_all(piece)
    }

    fn take(&mut self) -> io::Result<Vec<u8>> {
        if self.streamed
            && let Some(writer) = self.writer()
        {
            writer.flush()?;
        }
        Ok(match &mut self.state {
            State::Gzip(encoder) => std::mem::take(encoder.get_mut()),
            State::Brotli(encoder) => std::mem::take(encoder.get_mut()),
            State::Zstd(encoder) => std::mem::take(encoder.get_mut()),
            State::Ended => Vec::new(),
        })
    }

    fn finish(&mut self) -> io::Result<Vec<u8>> {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Gzip(encoder) => encoder.finish(),
            State::Brotli(encoder) => Ok(encoder.into_inner()),
            State::Zstd(encoder) => encoder.finish(),
            State::Ended => Ok(Vec::new()),
        }
    }

    fn writer(&mut self) -> Option<&mut dyn Write> {
        match &mut self.state {
            State::Gzip(encoder) => Some(encoder),
            State::Brotli(encoder) => Some(encoder.as_mut()),
            State::Zstd(encoder) => Some(encoder),
            State::Ended => None,
        }
    }
}

/// Creates the error that aborts the response: a part of it was sent already.
fn failed(error: io::Error) -> Box<Error> {
    Error::because(ErrorType::InternalError, "compressing a response", error)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    const ALL: [Coding; 3] = [Coding::Gzip, Coding::Brotli, Coding::Zstd];

    /// Decodes as much of the body as possible from these bytes.
    fn decoded(coding: Coding, bytes: &[u8]) -> (Vec<u8>, io::Result<usize>) {
        let mut body = Vec::new();
        let result = match coding {
            Coding::Gzip => flate2::read::GzDecoder::new(bytes).read_to_end(&mut body),
            Coding::Brotli => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut body),
            Coding::Zstd => zstd::stream::read::Decoder::new(bytes)
                .unwrap()
                .read_to_end(&mut body),
        };
        (body, result)
    }

    #[test]
    fn a_body_comes_back_whole() {
        let body: Vec<u8> = (0..200_000_u32)
            .flat_map(|n| (n % 1013).to_le_bytes())
            .collect();
        for (coding, streamed) in ALL.into_iter().flat_map(|c| [(c, true), (c, false)]) {
            let mut encoder = Encoder::new(coding, 4, streamed).unwrap();
            let mut out = Vec::new();
            for piece in body.chunks(30_001) {
                out.extend(encoder.encode(piece, false).unwrap());
            }
            out.extend(encoder.encode(b"", true).unwrap());
            let (back, result) = decoded(coding, &out);
            result.unwrap();
            assert!(back == body, "{coding:?}");
            assert!(out.len() < body.len() / 10, "{coding:?}: {}", out.len());
        }
    }

    #[test]
    fn a_streamed_piece_can_be_read_before_the_next() {
        for coding in ALL {
            let mut encoder = Encoder::new(coding, 4, true).unwrap();
            let (mut sent, mut out) = (Vec::new(), Vec::new());
            for round in 0..3 {
                let piece = format!("data: {round}\n\n");
                sent.extend_from_slice(piece.as_bytes());
                out.extend(encoder.encode(piece.as_bytes(), false).unwrap());
                assert_eq!(decoded(coding, &out).0, sent, "{coding:?}");
            }
        }
    }

    #[test]
    fn an_empty_body_is_a_valid_one() {
        for coding in ALL {
            let mut encoder = Encoder::new(coding, 4, true).unwrap();
            let out = encoder.encode(b"", true).unwrap();
            let (body, result) = decoded(coding, &out);
            assert_eq!((body.len(), result.unwrap()), (0, 0), "{coding:?}");
        }
    }
}
