//! Listeners for clients.

use std::net::SocketAddr;

/// A listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener {
    /// Address and port.
    pub address: SocketAddr,
    /// Protocol of its connections.
    pub speaks: Speaks,
    /// True if every connection begins with a PROXY header from a trusted proxy. It is never
    /// detected: a listener that accepted connections with and without it would let clients forge
    /// their address.
    pub proxy_protocol: bool,
}

/// Protocol of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// HTTP in clear text.
    Http {
        /// True if HTTP/2 with prior knowledge is accepted, too.
        h2c: bool,
    },
    /// HTTP over TLS, configured by `[tls]`.
    Tls,
    /// HTTP in clear text; every response redirects to the same URL over TLS.
    Redirect {
        /// Port of the redirect URL.
        port: u16,
    },
}

impl Listener {
    /// Returns a listener for HTTP/1 in clear text only.
    #[must_use]
    pub fn plain(address: SocketAddr) -> Self {
        Listener {
            address,
            speaks: Speaks::Http { h2c: false },
            proxy_protocol: false,
        }
    }

    /// Returns `true` if it equals [`Listener::plain`].
    #[must_use]
    pub fn is_plain(&self) -> bool {
        *self == Listener::plain(self.address)
    }
}
