//! Affinity of a request: the hash key and the sticky cookie that bind it to a peer.

use std::io::Write;
use std::net::IpAddr;

use super::endpoints::Endpoints;
use super::sticky::PeerId;
use crate::config::model::{Balance, HashKey};
use crate::gateway::request::variables::cookie;
use crate::proto::headers::Headers;

/// Maximum length of an IPv6 address as text, in bytes.
const LONGEST_ADDRESS: usize = 45;

/// Affinity of one request to a peer. Most upstreams use neither a hash nor a cookie; the value is
/// then empty and allocates nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Affinity {
    /// Key of the hash balancer; empty with other balancers.
    pub key: Vec<u8>,
    /// Peer that the sticky cookie names.
    pub peer: Option<PeerId>,
}

impl Affinity {
    /// Reads the affinity of a request to the upstream of `endpoints`.
    pub(super) fn of(
        endpoints: &Endpoints,
        headers: &impl Headers,
        client: Option<IpAddr>,
    ) -> Self {
        let cookies = endpoints.cookies.as_ref();
        Affinity {
            key: match &endpoints.upstream.balance {
                Balance::Hash(key) => hash_key(key, headers, client),
                _ => Vec::new(),
            },
            peer: cookies.and_then(|cookies| cookies.read(headers)),
        }
    }
}

/// Returns the key to hash. If the header or cookie is missing, it is the client's address: with an
/// empty key all such requests would go to one peer.
fn hash_key(key: &HashKey, headers: &impl Headers, client: Option<IpAddr>) -> Vec<u8> {
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
        // Writing to a vector cannot fail.
        let _ = write!(text, "{client}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;
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
