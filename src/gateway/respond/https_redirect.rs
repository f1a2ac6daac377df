//! Redirects from clear text to TLS, for listeners that only redirect.

use crate::proto::authority::is_authority;

/// Path prefix of the responses to ACME challenges (RFC 8555, 8.3). Authorities request them in
/// clear text, so they are not redirected.
const CHALLENGES: &str = "/.well-known/acme-challenge/";

/// Returns `true` if a target is the response to a challenge: a token without a path below it.
pub fn is_challenge(target: &[u8]) -> bool {
    let token = target.strip_prefix(CHALLENGES.as_bytes());
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    token.is_some_and(|token| !token.is_empty() && token.iter().all(is_part))
}

/// Returns the same URL over TLS: the requested host, at `port`. Returns `None` if the host is
/// invalid, so that there is no target for a redirect.
pub fn location(host: &[u8], target: &[u8], port: u16) -> Option<Vec<u8>> {
    let host = host_name(host)?;
    let mut location = format!("https://{host}").into_bytes();
    if port != 443 {
        location.extend_from_slice(format!(":{port}").as_bytes());
    }
    match target.first() {
        Some(b'/') => location.extend_from_slice(target),
        // `OPTIONS *`.
        _ => location.push(b'/'),
    }
    Some(location)
}

/// Returns the host without its port.
fn host_name(host: &[u8]) -> Option<&str> {
    if !is_authority(host) {
        return None;
    }
    let text = std::str::from_utf8(host).ok()?;
    let end = match text.find(']') {
        Some(bracket) => bracket + 1,
        None => text.find(':').unwrap_or(text.len()),
    };
    Some(&text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(host: &str, target: &str, expected: Option<&str>) {
        let found = location(host.as_bytes(), target.as_bytes(), 443);
        let found = found.map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!(found.as_deref(), expected, "{host:?}");
    }

    #[test]
    fn the_host_is_kept_and_its_port_is_not() {
        check("example.com", "/a?b=c", Some("https://example.com/a?b=c"));
        check("example.com:80", "/", Some("https://example.com/"));
        check("192.0.2.1:8080", "/", Some("https://192.0.2.1/"));
        check("[2001:db8::1]:80", "/", Some("https://[2001:db8::1]/"));
        check("[2001:db8::1]", "/", Some("https://[2001:db8::1]/"));
        check("example.com", "*", Some("https://example.com/"));
        let location = location(b"example.com:80", b"/", 8443);
        assert_eq!(location.unwrap(), b"https://example.com:8443/");
    }

    #[test]
    fn what_is_no_host_leads_nowhere() {
        for host in [
            "",
            ":80",
            "a b",
            "a/b",
            "a@b",
            "a\r\nX: b",
            "a:b",
            "a:80:80",
            "a:123456",
            "[::1",
            "[::1]x",
            "[1.2.3.4]",
            "\u{e9}",
            "a?b",
            "a#b",
            "a\\b",
        ] {
            check(host, "/", None);
        }
    }

    #[test]
    fn a_challenge_is_a_token_and_no_more() {
        for (target, expected) in [
            ("/.well-known/acme-challenge/abc-D_1", true),
            ("/.well-known/acme-challenge/", false),
            ("/.well-known/acme-challenge/../x", false),
            ("/.well-known/acme-challenge/a/b", false),
            ("/.well-known/acme-challenge/a?b", false),
            ("/.well-known/acme-challenge/%2e", false),
            ("/x/.well-known/acme-challenge/a", false),
        ] {
            assert_eq!(is_challenge(target.as_bytes()), expected, "{target}");
        }
    }
}
