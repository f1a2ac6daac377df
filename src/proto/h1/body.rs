//! Body of a request: the bytes behind its head, up to the start of the next request.

use super::chunked::{Decoded, Malformed, Scanner};
use super::head::{Framing, Head};

/// Rest of a request's body.
#[derive(Debug, Clone)]
pub enum Body {
    /// This many bytes.
    Length(u64),
    /// Chunks, up to the last one.
    Chunked(Scanner),
}

impl Body {
    /// Returns the body that a head announces.
    #[must_use]
    pub fn of(head: &Head) -> Self {
        Body::framed(head.framing)
    }

    /// Returns a body with this framing.
    #[must_use]
    pub fn framed(framing: Framing) -> Self {
        match framing {
            Framing::None => Body::Length(0),
            Framing::Length(length) => Body::Length(length),
            Framing::Chunked => Body::Chunked(Scanner::new()),
        }
    }

    /// Reads the next bytes. Returns the number of bytes that belong to the body.
    ///
    /// # Errors
    /// If the chunks are malformed, so that the end of the body is unknown.
    pub fn take(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        match self {
            Body::Length(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX);
                let here = here.min(bytes.len());
                *left -= here as u64;
                Ok(here)
            }
            Body::Chunked(scanner) => scanner.scan(bytes),
        }
    }

    /// Reads the next bytes, and moves their content to the start of `bytes`.
    ///
    /// # Errors
    /// If the chunks are malformed.
    pub fn decode(&mut self, bytes: &mut [u8]) -> Result<Decoded, Malformed> {
        match self {
            Body::Chunked(scanner) => scanner.decode(bytes),
            Body::Length(_) => self.take(bytes).map(|taken| Decoded {
                consumed: taken,
                content: taken,
            }),
        }
    }

    /// Trailer lines of a body that is complete, each with its end.
    #[must_use]
    pub fn trailers(&self) -> &[u8] {
        match self {
            Body::Chunked(scanner) => scanner.trailers(),
            Body::Length(_) => &[],
        }
    }

    /// Returns `true` if the body is complete.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        match self {
            Body::Length(left) => *left == 0,
            Body::Chunked(scanner) => scanner.is_complete(),
        }
    }
}
