//! View of a request's head and its connection, as an engine has read them.
//!
//! Decisions take this view and no session, so that all engines share the same decisions and a test
//! needs no socket.

use http::{Method, Version};
use pingora::protocols::SocketDigest;
use pingora::protocols::tls::SslDigest;

use crate::proto::h1::stored_head::StoredHead;
use crate::proto::scheme::Scheme;

/// Head of a request, with what decisions need of its connection.
pub struct RequestView<'r, H> {
    /// Method.
    pub method: &'r Method,
    /// Target as sent: in origin form, absolute form or `*`.
    pub target: &'r [u8],
    /// Version of HTTP.
    pub version: Version,
    /// Authority of the target, in HTTP/2.
    pub authority: Option<&'r str>,
    /// Header lines.
    pub headers: &'r H,
    /// TLS of the connection; `None` in clear text.
    pub tls: Option<&'r SslDigest>,
    /// Port of the redirect to HTTPS, on a listener that only redirects.
    pub redirect_port: Option<u16>,
    /// Addresses of the connection, as far as they are asked for.
    pub socket: Option<&'r SocketDigest>,
    /// Numbers of the connection and of the request on it.
    pub serial: Serial,
}

/// Numbers of a connection and of a request on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Serial {
    /// Number of the connection among all that were accepted, from 1 on.
    pub connection: u64,
    /// Number of the request on its connection, from 1 on.
    pub request: u32,
}

// Derived implementations would require `H: Clone` and `H: Copy`.
impl<H> Clone for RequestView<'_, H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H> Copy for RequestView<'_, H> {}

impl<H> RequestView<'_, H> {
    /// Scheme of the connection.
    pub fn scheme(&self) -> Scheme {
        if self.tls.is_some() {
            Scheme::Https
        } else {
            Scheme::Http
        }
    }

    /// Version, as it is written in a request line.
    pub fn protocol(&self) -> &'static str {
        match self.version {
            Version::HTTP_09 => "HTTP/0.9",
            Version::HTTP_10 => "HTTP/1.0",
            Version::HTTP_11 => "HTTP/1.1",
            Version::HTTP_2 => "HTTP/2.0",
            _ => "HTTP/3.0",
        }
    }

    /// Returns `true` for HTTP/2.
    pub fn is_http2(&self) -> bool {
        self.version == Version::HTTP_2
    }
}

impl<'r> RequestView<'r, StoredHead> {
    /// View of a stored head, without the addresses of its connection.
    pub fn of_stored(
        head: &'r StoredHead,
        tls: Option<&'r SslDigest>,
        redirect_port: Option<u16>,
    ) -> Self {
        RequestView {
            method: head.method(),
            target: head.target(),
            version: head.version(),
            authority: head.authority(),
            headers: head,
            tls,
            redirect_port,
            socket: None,
            serial: Serial::default(),
        }
    }
}

#[cfg(test)]
impl<'r> RequestView<'r, http::HeaderMap> {
    /// View of a head that pingora has read, on a connection in clear text.
    pub fn of(request: &'r pingora::http::RequestHeader) -> Self {
        RequestView {
            method: &request.method,
            target: request.raw_path(),
            version: request.version,
            authority: request.uri.authority().map(http::uri::Authority::as_str),
            headers: &request.headers,
            tls: None,
            redirect_port: None,
            socket: None,
            serial: Serial::default(),
        }
    }
}
