//! Special properties of the listener that accepted a connection.
//!
//! pingora does not report the listener of a connection, but the local address of the connection
//! identifies it. Plain listeners are not stored here; if there are no others, the local address is
//! never requested from the system.

pub mod tls;

use std::net::SocketAddr;

use crate::config::model::{Listener, Speaks};

/// Listeners that are not plain.
#[derive(Debug, Clone)]
pub struct Listeners(Vec<Listener>);

impl Listeners {
    /// Selects the listeners that are not plain.
    #[must_use]
    pub fn new(all: &[Listener]) -> Self {
        Listeners(all.iter().filter(|l| !l.is_plain()).copied().collect())
    }

    /// Returns the listener that accepted a connection with this local address; `None` if it is
    /// plain.
    pub fn find(&self, local: impl FnOnce() -> Option<SocketAddr>) -> Option<Listener> {
        if self.0.is_empty() {
            return None;
        }
        let local = local()?;
        // Two listeners never match: the system rejects a second listener on one address, and a
        // specific address beside the unspecified one.
        let found = self
            .0
            .iter()
            .find(|listener| is_at(listener.address, local));
        found.copied()
    }

    /// Returns the port that requests with this local address are redirected to, if their listener
    /// redirects to TLS.
    pub fn redirect(&self, local: impl FnOnce() -> Option<SocketAddr>) -> Option<u16> {
        let redirects = |l: &Listener| matches!(l.speaks, Speaks::Redirect { .. });
        if !self.0.iter().any(redirects) {
            return None;
        }
        match self.find(local)?.speaks {
            Speaks::Redirect { port } => Some(port),
            _ => None,
        }
    }
}

/// Returns `true` if the listener of this address accepted a connection with this local address.
pub fn is_at(listener: SocketAddr, local: SocketAddr) -> bool {
    let same = listener.ip() == local.ip();
    let any = listener.ip().is_unspecified() && listener.is_ipv4() == local.is_ipv4();
    listener.port() == local.port() && (same || any)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(address: &str, speaks: Speaks) -> Listener {
        Listener {
            speaks,
            ..Listener::plain(address.parse().unwrap())
        }
    }

    #[track_caller]
    fn check(listeners: &Listeners, local: &str, expected: Option<&str>) {
        let found = listeners.find(|| local.parse().ok());
        let expected = expected.map(|address| address.parse().unwrap());
        assert_eq!(found.map(|l| l.address), expected, "{local}");
    }

    #[test]
    fn a_listener_is_found_by_the_local_address() {
        let listeners = Listeners::new(&[
            listener("0.0.0.0:443", Speaks::Tls),
            listener("[::]:443", Speaks::Tls),
            listener("10.0.0.1:8443", Speaks::Tls),
            listener("0.0.0.0:80", Speaks::Http { h2c: false }),
        ]);
        check(&listeners, "192.0.2.1:443", Some("0.0.0.0:443"));
        check(&listeners, "[2001:db8::1]:443", Some("[::]:443"));
        check(&listeners, "10.0.0.1:8443", Some("10.0.0.1:8443"));
        check(&listeners, "10.0.0.2:8443", None);
        check(&listeners, "192.0.2.1:80", None);
    }

    #[test]
    fn plain_listeners_ask_for_no_address() {
        let address = "0.0.0.0:80".parse().unwrap();
        let listeners = Listeners::new(&[Listener::plain(address)]);
        assert_eq!(listeners.find(|| panic!("asked")), None);
        let tls = Listeners::new(&[listener("0.0.0.0:443", Speaks::Tls)]);
        assert_eq!(tls.redirect(|| panic!("asked")), None);
    }

    #[test]
    fn a_redirect_has_its_port() {
        let redirect = listener("0.0.0.0:80", Speaks::Redirect { port: 8443 });
        let listeners = Listeners::new(&[redirect, listener("0.0.0.0:443", Speaks::Tls)]);
        let port = |local: &str| listeners.redirect(|| local.parse().ok());
        assert_eq!(port("127.0.0.1:80"), Some(8443));
        assert_eq!(port("127.0.0.1:443"), None);
    }
}
