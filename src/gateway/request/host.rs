//! Normalisation of host names, so that no route is bypassed with another spelling of a name.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use crate::proto::authority::has_labels;

/// Normalises the host of an authority (RFC 3986, 3.2.2): in lower case, without the port and
/// without the trailing dot of an absolute name. Returns `None` if it is not a valid host.
#[must_use]
pub fn normalize(authority: &[u8]) -> Option<Cow<'_, str>> {
    let text = std::str::from_utf8(authority).ok()?;
    let host = if let Some(rest) = text.strip_prefix('[') {
        let (inner, port) = rest.split_once(']')?;
        let address: Ipv6Addr = inner.parse().ok()?;
        if !is_port(port) {
            return None;
        }
        // An IPv6 address has several spellings, too; this is the one of RFC 5952.
        let (written, canonical) = (&text[..inner.len() + 2], format!("[{address}]"));
        return Some(if written == canonical {
            Cow::Borrowed(written)
        } else {
            Cow::Owned(canonical)
        });
    } else {
        let end = text.find(':').unwrap_or(text.len());
        let (name, port) = text.split_at(end);
        let is_name = name.bytes().all(is_of_name) && has_labels(name.as_bytes());
        let name = name.strip_suffix('.').unwrap_or(name);
        (is_name && is_port(port)).then_some(name)?
    };
    if host.is_empty() {
        None
    } else if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Some(Cow::Owned(host.to_ascii_lowercase()))
    } else {
        Some(Cow::Borrowed(host))
    }
}

/// Returns `true` for letters, digits, `-` and `.`, and also for `_`, which some host names
/// contain.
fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
}

/// Returns `true` for an empty text, or a colon and at most five digits.
fn is_port(text: &str) -> bool {
    let digits = text.strip_prefix(':').unwrap_or(text);
    digits.len() <= 5
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && (digits.len() < text.len() || text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(authority: &str, expected: Option<&str>) {
        let host = normalize(authority.as_bytes());
        assert_eq!(host.as_deref(), expected, "{authority:?}");
    }

    #[test]
    fn every_spelling_becomes_one() {
        for spelling in [
            "example.com",
            "EXAMPLE.com",
            "example.com:80",
            "example.com:",
            "Example.Com.",
            "example.com.:8080",
        ] {
            check(spelling, Some("example.com"));
        }
        check("[::1]", Some("[::1]"));
        check("[2001:DB8::1]:443", Some("[2001:db8::1]"));
        check("[2001:DB8:0::1]", Some("[2001:db8::1]"));
        check("[2001:db8:0:0:0:0:0:0001]:80", Some("[2001:db8::1]"));
        check("127.0.0.1:9000", Some("127.0.0.1"));
        check("my_host", Some("my_host"));
    }

    #[test]
    fn what_is_no_host_is_none() {
        for text in [
            "", ".", ":80", "a:b", "a:80:90", "a:123456", "a b", "a/b", "u@a", "[::1", "[::1]x",
            "[]x", "[::1]80", "[x]", "a,b", "é", "a\t", "::1", "a..b", ".a", "a..", "..",
        ] {
            check(text, None);
        }
    }
}
