//! Authorities: the host of a request, with or without a port (RFC 9110, 4.2).

use std::net::Ipv6Addr;

/// Returns `true` for the name or address of a host, with or without a port. Stricter than RFC
/// 3986, which also allows characters that no DNS name has.
#[must_use]
pub fn is_authority(text: &[u8]) -> bool {
    let (is_host, port) = if let Some(rest) = text.strip_prefix(b"[") {
        let Some(end) = rest.iter().position(|&byte| byte == b']') else {
            return false;
        };
        let address = std::str::from_utf8(&rest[..end]).ok();
        let address = address.and_then(|address| address.parse::<Ipv6Addr>().ok());
        (address.is_some(), &rest[end + 1..])
    } else {
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
        let end = text.iter().position(|byte| !is_name(byte));
        let (host, port) = text.split_at(end.unwrap_or(text.len()));
        (has_labels(host), port)
    };
    is_host && (port.is_empty() || is_port(port))
}

/// Returns `true` if no label of a name is empty. A single dot at the end is allowed: it marks a
/// name that is complete up to the root of DNS.
#[must_use]
pub fn has_labels(name: &[u8]) -> bool {
    let name = name.strip_suffix(b".").unwrap_or(name);
    name.split(|&byte| byte == b'.')
        .all(|label| !label.is_empty())
}

/// Returns `true` if two authorities name the same host and port. Case is ignored, and the default
/// port of the scheme equals no port (RFC 9110, 4.2.3).
#[must_use]
pub fn is_same_authority(one: &[u8], other: &[u8], is_https: bool) -> bool {
    let default: &[u8] = if is_https { b":443" } else { b":80" };
    let bare =
        |text: &[u8]| -> usize { text.strip_suffix(default).map_or(text.len(), <[u8]>::len) };
    one[..bare(one)].eq_ignore_ascii_case(&other[..bare(other)])
}

fn is_port(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b":").unwrap_or_default();
    let is_number = (1..=5).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    let value = |number: u32, digit: &u8| number * 10 + u32::from(digit - b'0');
    is_number && digits.iter().fold(0, value) <= 65_535
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_and_perhaps_a_port() {
        for text in [
            "a",
            "a.b-c_d.",
            "a:80",
            "a:0",
            "a:65535",
            "1.2.3.4",
            "1.2.3.4:80",
            "[::1]",
            "[2001:db8::1]:443",
            "xn--fiqs8s",
        ] {
            assert!(is_authority(text.as_bytes()), "{text}");
        }
        for text in [
            "",
            "a:65536",
            "a:4294967376",
            "a:99999999999999999999999999",
            ":80",
            "a:",
            "a:x",
            "a:+80",
            "a:65536",
            "a:000080",
            "a:80:80",
            "a b",
            "a\t",
            "a@b",
            "u:p@b",
            "a/b",
            "a?b",
            "a#b",
            "a\\b",
            "a,b",
            "a%2eb",
            "a\"b",
            "::1",
            "[::1",
            "[::1]x",
            "[a]",
            "[fe80::1%eth0]",
            "[]",
            "\u{4e2d}",
            ".",
            "..",
            ".a",
            "a..",
            "a..b",
            "a..:80",
            ".:80",
        ] {
            assert!(!is_authority(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn authorities_agree_without_regard_to_case_and_default_port() {
        for (one, other, is_https, expected) in [
            ("a", "a", false, true),
            ("a", "A:80", false, true),
            ("a:80", "A:80", false, true),
            ("a:443", "a", true, true),
            ("[::1]:80", "[::1]", false, true),
            ("a:443", "a", false, false),
            ("a:80", "a", true, false),
            ("a:8080", "a", false, false),
            ("a", "b", false, false),
            ("a.", "a", false, false),
        ] {
            let same = |a: &str, b: &str| is_same_authority(a.as_bytes(), b.as_bytes(), is_https);
            assert_eq!(same(one, other), expected, "{one} {other}");
            assert_eq!(same(other, one), expected, "{other} {one}");
        }
    }
}
