//! Client address behind trusted proxies.
//!
//! A forwarding header is a claim. It is trusted only as far as trusted hosts wrote it: from the
//! right end of the list to the left, up to the first address that is not a trusted proxy's.
//! Entries further left were written by the client and are never used.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::config::model::{ClientIp, ForwardedHeader};
use crate::proto::headers::Headers;
use crate::proto::text::write_address;

/// Remote address of the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddr(IpAddr);

impl PeerAddr {
    /// Takes the address of the socket; an IPv4-mapped address becomes plain IPv4.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        PeerAddr(address.ip().to_canonical())
    }

    /// Returns the address.
    #[must_use]
    pub fn ip(self) -> IpAddr {
        self.0
    }
}

/// Address of the client, as far as trusted hosts confirm it. Only this module creates it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddr(IpAddr);

impl ClientAddr {
    /// Returns the address.
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

/// Origin of a request: the client and the proxies in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Address of the client.
    pub client: ClientAddr,
    /// Remote address of the socket.
    pub peer: PeerAddr,
    /// True if the peer is a trusted proxy, whose forwarding headers are used.
    pub peer_is_trusted: bool,
    /// Verified hops of the header, left to right: the client first, unless the peer itself is the
    /// client.
    pub hops: Vec<IpAddr>,
}

/// Finds the client behind `peer`.
#[must_use]
pub fn resolve(peer: PeerAddr, headers: &impl Headers, config: &ClientIp) -> Origin {
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
    let claims: Vec<Option<IpAddr>> = match &config.header {
        ForwardedHeader::XForwardedFor => list(headers, "x-forwarded-for").collect(),
        ForwardedHeader::Forwarded => forwarded(headers),
        ForwardedHeader::Other(name) => list(headers, name).collect(),
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

/// Writes the verified hops and the peer in the form of nginx's `$proxy_add_x_forwarded_for`,
/// without the addresses that the client itself added.
pub fn write_forwarded_for(list: &mut Vec<u8>, origin: &Origin) {
    for hop in &origin.hops {
        write_address(*hop, list);
        list.extend_from_slice(b", ");
    }
    write_address(origin.peer.ip(), list);
}

/// Returns the addresses of all lines of a header such as `X-Forwarded-For`, right to left; `None`
/// for an invalid entry.
fn list<'h, H: Headers>(headers: &'h H, name: &'h str) -> impl Iterator<Item = Option<IpAddr>> {
    let lines = headers.lines(name).rev();
    lines.flat_map(|line| line.rsplit(|&byte| byte == b',').map(hop))
}

/// Returns the `for` addresses of all `Forwarded` lines (RFC 7239), right to left; `None` for an
/// element without an address.
fn forwarded(headers: &impl Headers) -> Vec<Option<IpAddr>> {
    let mut hops: Vec<_> = headers.lines("forwarded").flat_map(elements).collect();
    hops.reverse();
    hops
}

/// Returns the `for` addresses of a line's elements, left to right.
///
/// The end of a malformed element cannot be determined: a quote that a client opens may be closed
/// by text that a proxy appends to the line. So a malformed element invalidates the rest of its
/// line.
fn elements(line: &[u8]) -> Vec<Option<IpAddr>> {
    let (mut rest, mut hops) = (line, Vec::new());
    loop {
        let read = element(&mut rest);
        let is_malformed = read.is_err();
        hops.push(read.unwrap_or_default());
        match rest {
            [_comma, more @ ..] if !is_malformed => rest = more,
            _ => return hops,
        }
    }
}

/// Element that violates the grammar of RFC 7239.
struct MalformedElement;

/// Parses one element of the line, up to its comma or the end. Returns its address; `None` if it
/// has no valid `for` parameter.
fn element(rest: &mut &[u8]) -> Result<Option<IpAddr>, MalformedElement> {
    let (mut found, mut names) = (None, Vec::new());
    loop {
        *rest = rest.trim_ascii_start();
        if !matches!(rest, [] | [b',' | b';', ..]) {
            let name = token(rest).ok_or(MalformedElement)?.to_ascii_lowercase();
            *rest = rest.strip_prefix(b"=").ok_or(MalformedElement)?;
            let value = match rest {
                [b'"', ..] => quoted_string(rest),
                _ => token(rest).map(<[u8]>::to_vec),
            };
            let value = value.ok_or(MalformedElement)?;
            if name == b"for" {
                found = node(&value);
            }
            // RFC 7239 allows a parameter only once in an element.
            if names.contains(&name) {
                return Err(MalformedElement);
            }
            names.push(name);
            *rest = rest.trim_ascii_start();
        }
        match rest {
            [] | [b',', ..] => return Ok(found),
            [b';', more @ ..] => *rest = more,
            _ => return Err(MalformedElement),
        }
    }
}

/// Parses a token (RFC 9110, 5.6.2).
fn token<'t>(rest: &mut &'t [u8]) -> Option<&'t [u8]> {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let end = rest.iter().position(|byte| !is_token(byte));
    let (token, more) = rest.split_at(end.unwrap_or(rest.len()));
    *rest = more;
    (!token.is_empty()).then_some(token)
}

/// Parses a quoted string (RFC 9110, 5.6.4) and returns its content.
fn quoted_string(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let (mut content, mut escaped) = (Vec::new(), false);
    for (index, &byte) in rest.iter().enumerate().skip(1) {
        match byte {
            b'\\' if !escaped => escaped = true,
            b'"' if !escaped => {
                *rest = &rest[index + 1..];
                return Some(content);
            }
            _ => {
                content.push(byte);
                escaped = false;
            }
        }
    }
    None
}

/// Parses an address of `Forwarded`: as a hop, but its port may also be an obfuscated name (RFC
/// 7239, 6.3).
fn node(text: &[u8]) -> Option<IpAddr> {
    let colon = text.iter().rposition(|&byte| byte == b':');
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    match colon.map(|colon| text.split_at(colon)) {
        Some((address, [b':', b'_', word @ ..]))
            if !word.is_empty()
                && word.iter().all(is_word)
                // IPv6 addresses with a port must be in brackets.
                && (address.ends_with(b"]") || !address.contains(&b':')) =>
        {
            hop(address)
        }
        _ => hop(text),
    }
}

/// Parses one hop: `v4`, `v4:port`, `v6`, `[v6]` or `[v6]:port`, optionally with a zone. Returns
/// `None` for all other text and for the unspecified address.
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
        // Only IPv6 addresses have zones.
        Some((address, zone)) if address.contains(':') && !zone.is_empty() => address,
        _ => address,
    }
}

/// Returns `true` for an empty text, or `:` and a port number.
fn is_port(text: &str) -> bool {
    let Some(digits) = text.strip_prefix(':') else {
        return text.is_empty();
    };
    digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::{TrustedProxies, UntrustedHeaders};
    use http::HeaderMap;

    const PEER: &str = "10.0.0.1:4000";

    fn origin(peer: &str, header: &ForwardedHeader, lines: &[&str]) -> Origin {
        let config = ClientIp {
            trusted_proxies: TrustedProxies::new(vec![
                "10.0.0.0/8".parse().unwrap(),
                "fd00::/8".parse().unwrap(),
            ]),
            header: header.clone(),
            untrusted_headers: UntrustedHeaders::default(),
        };
        let name = match header {
            ForwardedHeader::XForwardedFor => "x-forwarded-for",
            ForwardedHeader::Forwarded => "forwarded",
            ForwardedHeader::Other(name) => name,
        };
        let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(
                &name,
                http::HeaderValue::from_bytes(line.as_bytes()).unwrap(),
            );
        }
        resolve(PeerAddr::new(peer.parse().unwrap()), &headers, &config)
    }

    #[track_caller]
    fn check(lines: &[&str], expected: &str) {
        let origin = origin(PEER, &ForwardedHeader::XForwardedFor, lines);
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
        // An IPv4-mapped address of a trusted proxy is trusted.
        check(&["1.2.3.4, ::ffff:10.0.0.2"], "1.2.3.4");
    }

    #[test]
    fn an_untrusted_peer_is_the_client_whatever_it_says() {
        for peer in ["9.9.9.9:1", "[::ffff:9.9.9.9]:1"] {
            let origin = origin(
                peer,
                &ForwardedHeader::XForwardedFor,
                &["1.2.3.4, 10.0.0.2"],
            );
            assert_eq!(origin.client.to_string(), "9.9.9.9");
            assert!(!origin.peer_is_trusted && origin.hops.is_empty());
        }
    }

    #[test]
    fn another_header_is_read_by_the_same_rules() {
        let header = || ForwardedHeader::Other("cf-connecting-ip".to_owned());
        for (lines, expected) in [
            (&["1.2.3.4"][..], "1.2.3.4"),
            (&["6.6.6.6, 1.2.3.4, 10.0.0.9"], "1.2.3.4"),
            (&["6.6.6.6, unknown"], "10.0.0.1"),
            (&[], "10.0.0.1"),
        ] {
            assert_eq!(origin(PEER, &header(), lines).client.to_string(), expected);
        }
        let forged = origin("9.9.9.9:1", &header(), &["1.2.3.4"]);
        assert_eq!(forged.client.to_string(), "9.9.9.9");
    }

    #[test]
    fn hops_are_only_the_verified_ones() {
        let lines = ["6.6.6.6, 1.2.3.4, 10.0.0.9"];
        let origin = origin(PEER, &ForwardedHeader::XForwardedFor, &lines);
        let expected: Vec<IpAddr> = ["1.2.3.4", "10.0.0.9"].map(|ip| ip.parse().unwrap()).into();
        assert_eq!(origin.hops, expected);
    }

    #[track_caller]
    fn check_forwarded(lines: &[&str], expected: &str) {
        let origin = origin(PEER, &ForwardedHeader::Forwarded, lines);
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
        check_forwarded(&["for=6.6.6.6 ,\tfor=1.2.3.4 ; by=_x ;;"], "1.2.3.4");
        check_forwarded(&["for=6.6.6.6, host=\"a\";for=\"1.2.3.4:80\""], "1.2.3.4");
    }

    #[test]
    fn a_port_may_be_a_word() {
        for (node, expected) in [
            ("1.2.3.4:_p", "1.2.3.4"),
            ("1.2.3.4:_p.-_9", "1.2.3.4"),
            ("[2001:db8::1]:_p", "2001:db8::1"),
            ("1.2.3.4:_", "10.0.0.1"),
            ("1.2.3.4:_p q", "10.0.0.1"),
            ("1.2.3.4:p", "10.0.0.1"),
            ("1.2.3.4:80:_p", "10.0.0.1"),
            ("2001:db8::1:_p", "10.0.0.1"),
            ("_a:_p", "10.0.0.1"),
            ("unknown:_p", "10.0.0.1"),
        ] {
            check_forwarded(&[&format!("for=\"{node}\"")], expected);
        }
        // Only `Forwarded` has obfuscated ports.
        check(&["1.2.3.4:_p"], "10.0.0.1");
    }

    /// A client cannot choose the address by opening a quote in a line that a proxy appends to.
    #[test]
    fn an_open_quote_ends_the_walk() {
        for start in [
            "for=9.9.9.9;x=\"",
            "for=9.9.9.9;x=\"\\",
            "for=9.9.9.9;x=\"a\"b;y=\"",
            "for=9.9.9.9, \"",
            "for=9.9.9.9;\"",
            "for=9.9.9.9;x=y\"",
            "for=9.9.9.9;x=\"\"\"",
        ] {
            for appended in [
                "for=1.2.3.4",
                "for=\"[2001:db8::1]:80\"",
                "for=1.2.3.4;host=\"a\"",
                "for=\"1.2.3.4:80\";by=\"_b\"",
                "host=\"\";for=1.2.3.4",
            ] {
                let line = format!("{start}, {appended}");
                check_forwarded(&[&line], "10.0.0.1");
                // A separate line is not affected.
                let origin = origin(PEER, &ForwardedHeader::Forwarded, &[&line, appended]);
                assert!(origin.client.to_string() != "9.9.9.9", "{line}");
                assert!(origin.client.to_string() != "10.0.0.1", "{line}");
            }
        }
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
            "for =1.2.3.4",
            "for= 1.2.3.4",
            "for=1.2.3.4:80",
            "for=[::1]",
            "for=\"1.2.3.4\"x",
            "for=1.2.3.4;host=a b",
            "for=1.2.3.4;host=a;Host=b",
            "for=1.2.3.4;host=",
            "for=1.2.3.4;=b",
            "for=1.2.3.4 by=1.2.3.5",
        ] {
            let line = format!("for=6.6.6.6, {garbage}");
            let client = origin(PEER, &ForwardedHeader::Forwarded, &[&line])
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
            untrusted_headers: UntrustedHeaders::default(),
        };
        let origin = resolve(PeerAddr::new(PEER.parse().unwrap()), &headers, &config);
        assert_eq!(origin.client.to_string(), "10.0.0.1");
    }

    proptest::proptest! {
        #[test]
        fn an_untrusted_peer_cannot_change_its_address(line in "[ -~]{0,80}") {
            let client = origin("9.9.9.9:1", &ForwardedHeader::XForwardedFor, &[&line]).client;
            proptest::prop_assert_eq!(client.to_string(), "9.9.9.9");
        }

        /// Text to the left of what a trusted proxy appended is never used.
        #[test]
        fn what_a_client_wrote_is_never_reached(line in "[ -~]{0,80}") {
            let line = format!("{line}, 1.2.3.4");
            let client = origin(PEER, &ForwardedHeader::XForwardedFor, &[&line]).client;
            proptest::prop_assert_eq!(client.to_string(), "1.2.3.4");
        }
    }
}
