//! Address of a stream socket: an IP address and port, or the path of a UNIX socket.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;

/// Longest path of a UNIX socket, in bytes: `sockaddr_un` of Linux has 108 with the final zero.
const LONGEST_PATH: usize = 107;

/// Address of a stream socket. Its text is `address:port` or `unix:/path`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SocketAddress {
    /// An IP address and port.
    Inet(SocketAddr),
    /// The absolute path of a UNIX socket, in one piece of text that log lines can have as it is.
    Unix(Arc<str>),
}

impl SocketAddress {
    /// Reads `unix:/path`; `None` if the text does not begin with `unix:`.
    ///
    /// # Errors
    /// If the path is not absolute, is too long for the system, or has white space, a comma, a quote,
    /// a backslash or a control character: log lines could not be read then.
    #[must_use]
    pub fn unix(text: &str) -> Option<Result<Self, String>> {
        let path = text.strip_prefix("unix:")?;
        let wrong = |reason: &str| Some(Err(format!("{text:?}: {reason}")));
        let is_odd = |c: char| c.is_whitespace() || c.is_control() || "\"'\\,".contains(c);
        if !path.starts_with('/') || path.ends_with('/') {
            return wrong("the path of a UNIX socket is absolute, as in \"unix:/run/app.sock\"");
        }
        if path.len() > LONGEST_PATH {
            return wrong("the path of a UNIX socket has at most 107 bytes");
        }
        if path.contains(is_odd) {
            return wrong("the path has white space, a comma, a quote or a backslash");
        }
        Some(Ok(SocketAddress::Unix(path.into())))
    }

    /// IP address and port; `None` for a UNIX socket.
    #[must_use]
    pub fn inet(&self) -> Option<SocketAddr> {
        match self {
            SocketAddress::Inet(address) => Some(*address),
            SocketAddress::Unix(_) => None,
        }
    }
}

impl From<SocketAddr> for SocketAddress {
    fn from(address: SocketAddr) -> Self {
        SocketAddress::Inet(address)
    }
}

impl FromStr for SocketAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let inet = || text.parse().map(SocketAddress::Inet);
        SocketAddress::unix(text)
            .unwrap_or_else(|| inet().map_err(|_| format!("{text:?} is not address:port")))
    }
}

impl fmt::Display for SocketAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SocketAddress::Inet(address) => address.fmt(f),
            SocketAddress::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unix_socket_is_an_absolute_path() {
        let read = |text: &str| SocketAddress::unix(text).map(|read| read.map(|a| a.to_string()));
        assert_eq!(read("127.0.0.1:80"), None);
        assert_eq!(
            read("unix:/run/a.sock"),
            Some(Ok("unix:/run/a.sock".to_owned()))
        );
        let long = format!("unix:/{}", "a".repeat(107));
        for wrong in [
            "unix:",
            "unix:a.sock",
            "unix:/run/",
            "unix:/a b",
            "unix:/a,b",
            &long,
        ] {
            assert!(matches!(read(wrong), Some(Err(_))), "{wrong}");
        }
        let longest = format!("unix:/{}", "a".repeat(106));
        assert!(matches!(read(&longest), Some(Ok(_))));
    }
}
