//! How far a request goes beyond its head, so that what follows it is known to be the next one.

use super::chunked::{Decoded, Malformed, Scanner};
use super::head::{Demand, Framing, Head};

/// What is still to come of a request.
#[derive(Debug, Clone)]
pub enum Body {
    /// So many bytes.
    Length(u64),
    /// What its chunks say.
    Chunked(Scanner),
    /// Nothing, until the answer agrees to leave HTTP behind.
    Upgrade,
    /// All that comes, for ever: it is HTTP no more.
    Tunnel,
}

impl Body {
    /// The body that a head announces.
    pub fn of(head: &Head) -> Self {
        match head.framing {
            _ if head.demand == Demand::Upgrade => Body::Upgrade,
            Framing::None => Body::Length(0),
            Framing::Length(length) => Body::Length(length),
            Framing::Chunked => Body::Chunked(Scanner::new()),
        }
    }

    /// Reads on; how many of `bytes` belong to the body.
    ///
    /// # Errors
    /// If nobody can tell.
    pub fn take(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        match self {
            Body::Length(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX);
                let here = here.min(bytes.len());
                *left -= here as u64;
                Ok(here)
            }
            Body::Chunked(scanner) => scanner.scan(bytes),
            Body::Upgrade => Ok(0),
            Body::Tunnel => Ok(bytes.len()),
        }
    }

    /// Reads on, and moves the content to the start of `bytes`.
    ///
    /// # Errors
    /// If the chunks are malformed.
    pub fn decode(&mut self, bytes: &mut [u8]) -> Result<Decoded, Malformed> {
        match self {
            Body::Chunked(scanner) => scanner.decode(bytes),
            _ => self.take(bytes).map(|taken| Decoded {
                consumed: taken,
                content: taken,
            }),
        }
    }

    /// Trailer lines of a body that is complete, each with its end.
    pub fn trailers(&self) -> &[u8] {
        match self {
            Body::Chunked(scanner) => scanner.trailers(),
            _ => &[],
        }
    }

    /// Whether nothing is to come.
    pub fn is_complete(&self) -> bool {
        match self {
            Body::Length(left) => *left == 0,
            Body::Chunked(scanner) => scanner.is_complete(),
            Body::Upgrade => true,
            Body::Tunnel => false,
        }
    }

    /// Whether another request may come after it on the same connection.
    pub fn can_be_followed(&self) -> bool {
        self.is_complete() && !matches!(self, Body::Upgrade)
    }
}
