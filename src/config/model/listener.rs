//! Where clients connect, and what is spoken there.

use std::net::SocketAddr;

/// An address that is listened on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener {
    /// Where.
    pub address: SocketAddr,
    /// What.
    pub speaks: Speaks,
    /// Whether every connection begins with a PROXY header, from a trusted proxy. Never guessed: a
    /// listener that takes connections with and without one would let clients name themselves.
    pub proxy_protocol: bool,
}

/// What is spoken on a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// HTTP in clear text.
    Http {
        /// Whether HTTP/2 is understood as well, from clients that know it beforehand.
        h2c: bool,
    },
    /// HTTP over TLS, as `[tls]` says.
    Tls,
    /// HTTP in clear text, and every answer is that the same thing is at this port over TLS.
    Redirect {
        /// Of the URLs that clients are sent to.
        port: u16,
    },
}

impl Listener {
    /// HTTP/1 in clear text and nothing else.
    #[must_use]
    pub fn plain(address: SocketAddr) -> Self {
        Listener {
            address,
            speaks: Speaks::Http { h2c: false },
            proxy_protocol: false,
        }
    }

    /// Whether it is like [`Listener::plain`].
    #[must_use]
    pub fn is_plain(&self) -> bool {
        *self == Listener::plain(self.address)
    }
}
