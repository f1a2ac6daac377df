//! Trusted hops to the real client address.
//!
//! A forwarding header is a claim. It is believed exactly as far as trusted hosts made it: from the
//! right end of the list to the left, up to the first address that is not a trusted proxy's. What
//! stands further left was written by the client and is never looked at.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderValue};

use crate::config::model::{ClientIp, ForwardedHeader};

/// The other end of the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddr(IpAddr);

impl PeerAddr {
    /// From the socket's address; an IPv4-mapped one becomes the IPv4 address that it is.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        PeerAddr(address.ip().to_canonical())
    }

    /// The address.
    #[must_use]
    pub fn ip(self) -> IpAddr {
        self.0
    }
}

/// The client, as far as trusted hosts vouch for it. Only this module makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddr(IpAddr);

impl ClientAddr {
    /// The address.
    #[must_use]
    pub fn ip(self) -> IpAddr {
        self.0
    }
}

impl fmt::Display for ClientAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who sent a request, through whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The client.
    pub client: ClientAddr,
    /// The other end of the socket.
    pub peer: PeerAddr,
    /// Whether the peer is a trusted proxy, whose forwarding headers count.
    pub peer_is_trusted: bool,
    /// The verified hops that the header names, left to right: the client first, if it is not the
    /// peer itself.
    pub hops: Vec<IpAddr>,
}

/// The header lines of a request, from whichever parser.
pub trait HeaderLines {
    /// The values of all lines with a name, which is in lower case, in their order.
    fn lines<'s>(&'s self, name: &'s str) -> impl DoubleEndedIterator<Item = &'s [u8]>;
}

impl HeaderLines for HeaderMap {
    fn lines<'s>(&'s self, name: &'s str) -> impl DoubleEndedIterator<Item = &'s [u8]> {
        self.get_all(name).into_iter().map(HeaderValue::as_bytes)
    }
}

/// Finds the client behind `peer`.
#[must_use]
pub fn resolve(peer: PeerAddr, headers: &impl HeaderLines, config: &ClientIp) -> Origin {
    let trusted = &config.trusted_proxies;
    let mut origin = Origin {
        client: ClientAddr(peer.ip()),
        peer,
        peer_is_trusted: trusted.contains(peer.ip()),
        hops: Vec::new(),
    };
    if !origin.peer_is_trusted {
        return origin;
    }
    let claims: Vec<Option<IpAddr>> = match config.header {
        ForwardedHeader::XForwardedFor => x_forwarded_for(headers).collect(),
        ForwardedHeader::Forwarded => forwarded(headers),
    };
    for claim in claims {
        let Some(hop) = claim else { break };
        origin.hops.push(hop);
        if !trusted.contains(hop) {
            break;
        }
    }
    if let Some(&leftmost) = origin.hops.last() {
        origin.client = ClientAddr(leftmost);
    }
    origin.hops.reverse();
    origin
}

/// The addresses of all `X-Forwarded-For` lines, right to left; `None` for what is none.
fn x_forwarded_for(headers: &impl HeaderLines) -> impl Iterator<Item = Option<IpAddr>> {
    let lines = headers.lines("x-forwarded-for").rev();
    lines.flat_map(|line| line.rsplit(|&byte| byte == b',').map(hop))
}

/// The `for` addresses of all `Forwarded` lines (RFC 7239), right to left; `None` for an element
/// without an address.
fn forwarded(headers: &impl HeaderLines) -> Vec<Option<IpAddr>> {
    let elements = headers
        .lines("forwarded")
        .flat_map(|line| split_unquoted(line, b','));
    let mut hops: Vec<_> = elements.map(forwarded_for).collect();
    hops.reverse();
    hops
}

fn forwarded_for(element: &[u8]) -> Option<IpAddr> {
    let mut found = None;
    for pair in split_unquoted(element, b';') {
        let equals = pair.iter().position(|&byte| byte == b'=')?;
        let (name, value) = (pair[..equals].trim_ascii(), pair[equals + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"for") {
            if found.is_some() {
                return None;
            }
            found = Some(hop(&unquote(value)?)?);
        }
    }
    found
}

/// The parts between separators that do not stand in a quoted string.
fn split_unquoted(text: &[u8], separator: u8) -> Vec<&[u8]> {
    let (mut parts, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (index, &byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if byte == separator && !quoted => {
                parts.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// A token as it is, or the content of a quoted string.
fn unquote(value: &[u8]) -> Option<Vec<u8>> {
    let Some(inner) = value.strip_prefix(b"\"") else {
        return Some(value.to_vec());
    };
    let inner = inner.strip_suffix(b"\"")?;
    let (mut text, mut escaped) = (Vec::with_capacity(inner.len()), false);
    for &byte in inner {
        if byte == b'\\' && !escaped {
            escaped = true;
        } else {
            text.push(byte);
            escaped = false;
        }
    }
    Some(text).filter(|_| !escaped)
}

/// One hop: `v4`, `v4:port`, `v6`, `[v6]` or `[v6]:port`, with a zone or without. Anything else,
/// and the unspecified address, is no hop.
fn hop(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text.trim_ascii()).ok()?;
    let (address, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            let address = IpAddr::V6(without_zone(address).parse().ok()?);
            (address, port)
        }
        None if text.bytes().filter(|&byte| byte == b':').count() == 1 => {
            let colon = text.find(':')?;
            (IpAddr::V4(text[..colon].parse().ok()?), &text[colon..])
        }
        None => (without_zone(text).parse().ok()?, ""),
    };
    let address = address.to_canonical();
    (is_port(port) && !address.is_unspecified()).then_some(address)
}

fn without_zone(address: &str) -> &str {
    match address.split_once('%') {
        // Only IPv6 has zones.
        Some((address, zone)) if address.contains(':') && !zone.is_empty() => address,
        _ => address,
    }
}

/// Nothing, or `:` and a port number.
fn is_port(text: &str) -> bool {
    let Some(digits) = text.strip_prefix(':') else {
        return text.is_empty();
    };
    digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::TrustedProxies;

    const PEER: &str = "10.0.0.1:4000";

    fn origin(peer: &str, header: ForwardedHeader, lines: &[&str]) -> Origin {
        let config = ClientIp {
            trusted_proxies: TrustedProxies::new(vec![
                "10.0.0.0/8".parse().unwrap(),
                "fd00::/8".parse().unwrap(),
            ]),
            header,
        };
        let name = match header {
            ForwardedHeader::XForwardedFor => "x-forwarded-for",
            ForwardedHeader::Forwarded => "forwarded",
        };
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(
                name,
                http::HeaderValue::from_bytes(line.as_bytes()).unwrap(),
            );
        }
        resolve(PeerAddr::new(peer.parse().unwrap()), &headers, &config)
    }

    #[track_caller]
    fn check(lines: &[&str], expected: &str) {
        let origin = origin(PEER, ForwardedHeader::XForwardedFor, lines);
        assert_eq!(origin.client.to_string(), expected, "{lines:?}");
    }

    #[test]
    fn the_first_untrusted_hop_from_the_right_is_the_client() {
        check(&[], "10.0.0.1");
        check(&["1.2.3.4"], "1.2.3.4");
        check(&["6.6.6.6, 1.2.3.4"], "1.2.3.4");
        check(&["6.6.6.6, 1.2.3.4, 10.0.0.9"], "1.2.3.4");
        check(&["6.6.6.6", "1.2.3.4 , 10.0.0.9", "10.0.0.8"], "1.2.3.4");
        check(&["2001:db8::1, fd00::5"], "2001:db8::1");
    }

    #[test]
    fn all_trusted_means_the_leftmost() {
        check(&["10.0.0.7, 10.0.0.8"], "10.0.0.7");
    }

    #[test]
    fn garbage_stops_the_walk_at_the_last_trusted_hop() {
        for garbage in [
            "unknown",
            "_hidden",
            "",
            " ",
            "0.0.0.0",
            "::",
            "010.1.1.1",
            "0x1.1.1.1",
            "1.2.3",
            "1.2.3.4:99999",
            "1.2.3.4:",
            "1.2.3.4:+80",
            "[1.2.3.4]",
            "[::1",
            "::1]",
            "1.2.3.4%eth0",
            "1.2.3.4 5",
            "fe80::1%",
            "\u{ff11}.2.3.4",
            "localhost",
        ] {
            check(&[&format!("6.6.6.6, {garbage}, 10.0.0.9")], "10.0.0.9");
            check(&[&format!("6.6.6.6, {garbage}")], "10.0.0.1");
        }
    }

    #[test]
    fn hops_are_read_in_all_their_forms() {
        for (text, expected) in [
            ("1.2.3.4:80", "1.2.3.4"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("fe80::1%eth0", "fe80::1"),
            ("[fe80::1%25eth0]:80", "fe80::1"),
            ("::ffff:1.2.3.4", "1.2.3.4"),
            ("[::ffff:1.2.3.4]:80", "1.2.3.4"),
        ] {
            check(&[text], expected);
        }
        // Mapped, a trusted proxy is trusted.
        check(&["1.2.3.4, ::ffff:10.0.0.2"], "1.2.3.4");
    }

    #[test]
    fn an_untrusted_peer_is_the_client_whatever_it_says() {
        for peer in ["9.9.9.9:1", "[::ffff:9.9.9.9]:1"] {
            let origin = origin(peer, ForwardedHeader::XForwardedFor, &["1.2.3.4, 10.0.0.2"]);
            assert_eq!(origin.client.to_string(), "9.9.9.9");
            assert!(!origin.peer_is_trusted && origin.hops.is_empty());
        }
    }

    #[test]
    fn hops_are_only_the_verified_ones() {
        let lines = ["6.6.6.6, 1.2.3.4, 10.0.0.9"];
        let origin = origin(PEER, ForwardedHeader::XForwardedFor, &lines);
        let expected: Vec<IpAddr> = ["1.2.3.4", "10.0.0.9"].map(|ip| ip.parse().unwrap()).into();
        assert_eq!(origin.hops, expected);
    }

    #[track_caller]
    fn check_forwarded(lines: &[&str], expected: &str) {
        let origin = origin(PEER, ForwardedHeader::Forwarded, lines);
        assert_eq!(origin.client.to_string(), expected, "{lines:?}");
    }

    #[test]
    fn forwarded_is_read_with_its_quoted_strings() {
        check_forwarded(&["for=1.2.3.4"], "1.2.3.4");
        check_forwarded(&["For=\"[2001:db8::1]:80\";proto=https"], "2001:db8::1");
        check_forwarded(
            &["for=6.6.6.6, proto=http; for=1.2.3.4;by=10.0.0.3"],
            "1.2.3.4",
        );
        check_forwarded(&["for=6.6.6.6", "for=1.2.3.4, for=10.0.0.2"], "1.2.3.4");
        check_forwarded(&["for=1.2.3.4;host=\"a,for=6.6.6.6\\\",\""], "1.2.3.4");
        check_forwarded(&["for=\"\\1.2.3.4\""], "1.2.3.4");
    }

    #[test]
    fn forwarded_garbage_stops_the_walk() {
        for garbage in [
            "for=unknown",
            "for=_x",
            "proto=http",
            "for=\"1.2.3.4",
            "for",
            "",
            "for=1.2.3.4;for=1.2.3.5",
            "for=1.2.3.4;x",
            "for=1.2.3.4;host=\"",
        ] {
            let line = format!("for=6.6.6.6, {garbage}");
            let client = origin(PEER, ForwardedHeader::Forwarded, &[&line])
                .client
                .to_string();
            assert!(client != "6.6.6.6", "{line}: {client}");
        }
    }

    #[test]
    fn the_two_headers_are_never_mixed() {
        let mut headers = HeaderMap::new();
        headers.insert("forwarded", http::HeaderValue::from_static("for=6.6.6.6"));
        let config = ClientIp {
            trusted_proxies: TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap()]),
            header: ForwardedHeader::XForwardedFor,
        };
        let origin = resolve(PeerAddr::new(PEER.parse().unwrap()), &headers, &config);
        assert_eq!(origin.client.to_string(), "10.0.0.1");
    }

    proptest::proptest! {
        #[test]
        fn an_untrusted_peer_cannot_change_its_address(line in "[ -~]{0,80}") {
            let client = origin("9.9.9.9:1", ForwardedHeader::XForwardedFor, &[&line]).client;
            proptest::prop_assert_eq!(client.to_string(), "9.9.9.9");
        }

        /// Whatever a client writes to the left of what a trusted proxy appended, it is not read.
        #[test]
        fn what_a_client_wrote_is_never_reached(line in "[ -~]{0,80}") {
            let line = format!("{line}, 1.2.3.4");
            let client = origin(PEER, ForwardedHeader::XForwardedFor, &[&line]).client;
            proptest::prop_assert_eq!(client.to_string(), "1.2.3.4");
        }
    }
}
