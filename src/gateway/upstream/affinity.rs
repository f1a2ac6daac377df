//! What a request says of the peer that it belongs to.

use std::io::Write;
use std::net::IpAddr;

use super::members::Members;
use super::sticky::PeerId;
use crate::config::model::{Balance, HashKey};
use crate::gateway::client_ip::HeaderLines;
use crate::gateway::variables::cookie;

/// The longest text of an IPv6 address.
const LONGEST_ADDRESS: usize = 45;

/// What a request says of the peer that it belongs to. Nothing, in most upstreams, and then it takes
/// no memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Affinity {
    /// What is hashed.
    pub key: Vec<u8>,
    /// Whom its cookie names.
    pub peer: Option<PeerId>,
}

impl Affinity {
    /// What the request of a client says to an upstream.
    pub(super) fn of(
        members: &Members,
        headers: &impl HeaderLines,
        client: Option<IpAddr>,
    ) -> Self {
        let cookies = members.cookies.as_ref();
        Affinity {
            key: match &members.upstream.balance {
                Balance::Hash(key) => hash_key(key, headers, client),
                _ => Vec::new(),
            },
            peer: cookies.and_then(|cookies| cookies.read(headers)),
        }
    }
}

/// What is hashed. Without the header or cookie it is the client's address: if it were nothing, all
/// such requests would go to one peer.
fn hash_key(key: &HashKey, headers: &impl HeaderLines, client: Option<IpAddr>) -> Vec<u8> {
    let value = match key {
        HashKey::ClientIp => None,
        HashKey::Header(name) => headers.first(name.as_str()),
        HashKey::Cookie(name) => cookie(headers, name),
    };
    if let Some(value) = value.filter(|value| !value.is_empty()) {
        return value.to_vec();
    }
    let mut text = Vec::with_capacity(LONGEST_ADDRESS);
    if let Some(client) = client {
        // A vector takes everything.
        let _ = write!(text, "{client}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue, header};

    #[track_caller]
    fn check(key: &HashKey, lines: &[(HeaderName, &'static str)], expected: &str) {
        let lines = lines
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
        let headers: HeaderMap = lines.collect();
        let client = "2001:db8::1".parse().ok();
        let found = hash_key(key, &headers, client);
        assert_eq!(std::str::from_utf8(&found), Ok(expected));
    }

    #[test]
    fn the_key_is_what_the_configuration_names() {
        let name = HeaderName::from_static("x-user");
        let (by_header, by_cookie) = (
            HashKey::Header(name.clone()),
            HashKey::Cookie("user".to_owned()),
        );
        let lines = [(name, "ann"), (header::COOKIE, "a=1; user=bob")];
        check(&HashKey::ClientIp, &lines, "2001:db8::1");
        check(&by_header, &lines, "ann");
        check(&by_cookie, &lines, "bob");
        check(&by_header, &lines[1..], "2001:db8::1");
        check(&by_cookie, &lines[..1], "2001:db8::1");
    }
}
