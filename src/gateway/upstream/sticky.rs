//! Sticky cookie, which binds a client to its peer.
//!
//! The value is a keyed hash of the peer's address. So it reveals nothing about the network behind
//! the gateway, and clients cannot forge one.

use http::HeaderValue;
use sha2::{Digest, Sha256};

use crate::config::model::{SocketAddress, Sticky};
use crate::gateway::request::random;
use crate::gateway::request::variables::cookie;
use crate::proto::headers::Headers;

/// Identifier of a peer in the cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerId([u8; 8]);

/// Sticky cookie of one peer.
#[derive(Clone, Debug)]
pub struct PeerCookie {
    /// Identifier of the peer.
    pub id: PeerId,
    plain: HeaderValue,
    secure: HeaderValue,
}

impl PeerCookie {
    /// Returns the value of `Set-Cookie`.
    pub fn header(&self, is_https: bool) -> &HeaderValue {
        if is_https { &self.secure } else { &self.plain }
    }
}

/// Creates and reads the cookies of an upstream.
pub struct Cookies {
    name: String,
    key: [u8; 32],
}

impl Cookies {
    /// Creates the cookies of a configuration. Without a configured key, a random key is used; it
    /// is taken over from the previous `like`, so cookies stay valid across reloads but not across
    /// restarts.
    pub fn new(sticky: &Sticky, like: Option<&Cookies>) -> Self {
        let key = match (&sticky.key, like) {
            (Some(key), _) => Sha256::digest(key).into(),
            (None, Some(like)) => like.key,
            (None, None) => random::key(),
        };
        Cookies {
            name: sticky.cookie.clone(),
            key,
        }
    }

    /// Creates the cookie for a peer of an upstream.
    ///
    /// # Panics
    /// Never: a token and hexadecimal digits are a header's value.
    pub fn of(&self, upstream: &str, peer: &SocketAddress) -> PeerCookie {
        let hash = Sha256::new()
            .chain_update(self.key)
            .chain_update(upstream)
            .chain_update([0])
            .chain_update(peer.to_string())
            .finalize();
        let mut id = [0; 8];
        // Only part of the hash is sent, which rules out a length-extension attack.
        id.copy_from_slice(&hash[..8]);
        let (name, value) = (&self.name, u64::from_be_bytes(id));
        let header = |more: &str| {
            let text = format!("{name}={value:016x}; Path=/; HttpOnly; SameSite=Lax{more}");
            HeaderValue::from_str(&text).expect("a token and hexadecimal digits")
        };
        PeerCookie {
            id: PeerId(id),
            plain: header(""),
            secure: header("; Secure"),
        }
    }

    /// Reads the peer that a request's cookie names.
    pub fn read(&self, headers: &impl Headers) -> Option<PeerId> {
        let value = cookie(headers, &self.name)?;
        let text = std::str::from_utf8(value).ok();
        let text = text.filter(|text| text.len() == 16)?;
        let number = u64::from_str_radix(text, 16).ok()?;
        Some(PeerId(number.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use http::header;

    use super::*;
    use http::HeaderMap;

    fn cookies(key: Option<&str>) -> Cookies {
        let sticky = Sticky {
            cookie: "peer".to_owned(),
            key: key.map(str::to_owned),
        };
        Cookies::new(&sticky, None)
    }

    fn headers(lines: &[&str]) -> HeaderMap {
        let lines = lines
            .iter()
            .map(|line| HeaderValue::from_str(line).unwrap());
        lines.map(|line| (header::COOKIE, line)).collect()
    }

    #[track_caller]
    fn check(lines: &[&str], expected: Option<&str>) {
        let headers = headers(lines);
        let found = cookie(&headers, "peer");
        assert_eq!(found, expected.map(str::as_bytes));
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        check(&["peer=x"], Some("x"));
        check(&["a=1; peer=x; b=2"], Some("x"));
        check(&["a=1", "b=2;peer="], Some(""));
        check(&["xpeer=1; peer2=2; a=peer=3"], None);
        check(&[], None);
    }

    #[test]
    fn a_cookie_leads_back_to_its_peer_and_says_nothing_of_it() {
        let (cookies, peer) = (
            cookies(None),
            SocketAddress::from_str("10.0.0.1:8080").unwrap(),
        );
        let made = cookies.of("api", &peer);
        let text = made.header(true).to_str().unwrap();
        let (pair, attributes) = text.split_once("; ").unwrap();
        assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax; Secure");
        assert!(!made.header(false).to_str().unwrap().contains("Secure"));
        assert_eq!(cookies.read(&headers(&[pair])), Some(made.id));
        assert_ne!(cookies.of("other", &peer).id, made.id);
        assert_eq!(cookies.read(&headers(&["peer=10.0.0.1:8080"])), None);
    }

    #[test]
    fn the_key_makes_the_value() {
        let peer = SocketAddress::from_str("10.0.0.1:8080").unwrap();
        let id = |key| cookies(key).of("api", &peer).id;
        assert_ne!(id(None), id(None));
        assert_eq!(id(Some("one key for all")), id(Some("one key for all")));
        assert_ne!(id(Some("one key for all")), id(Some("another")));
    }
}
