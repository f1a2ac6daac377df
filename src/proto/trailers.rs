//! Trailer sections, in the forms of HTTP/1 and HTTP/2.
//!
//! Between the two sides of a request they are lines, each with its end, as HTTP/1 has them.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::h1::rewrite::write_line;
use super::headers::letters;

/// Fields that a trailer must not have: framing, routing, authentication and content (RFC 9110,
/// 6.5.1). A server acts on them before it reads the body, and another one may act on the trailer.
/// Only the letters of the names are listed, because some servers ignore the characters between
/// them.
pub const FORBIDDEN: [&[u8]; 22] = [
    b"age",
    b"authorization",
    b"cachecontrol",
    b"connection",
    b"contentencoding",
    b"contentlength",
    b"contentrange",
    b"contenttype",
    b"cookie",
    b"expect",
    b"forwarded",
    b"host",
    b"keepalive",
    b"maxforwards",
    b"proxyauthorization",
    b"proxyconnection",
    b"range",
    b"setcookie",
    b"te",
    b"trailer",
    b"transferencoding",
    b"upgrade",
];

/// Returns `true` if a name has the letters of a field that a trailer must not have.
fn is_forbidden(name: &HeaderName) -> bool {
    let mut known = FORBIDDEN.iter();
    known.any(|known| letters(name.as_str()).eq(known.iter().copied()))
}

/// Returns the fields of lines. Invalid lines, and fields that no trailer may have, are left out.
#[must_use]
pub fn to_map(lines: &[u8]) -> HeaderMap {
    let lines = lines.split(|&byte| byte == b'\n');
    let fields = lines.filter_map(|line| {
        let colon = memchr::memchr(b':', line)?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
        Some((name, value))
    });
    let mut map = HeaderMap::new();
    for (name, value) in fields.filter(|(name, _)| !is_forbidden(name)) {
        map.append(name, value);
    }
    map
}

/// Returns the lines of fields, without those that no trailer may have.
#[must_use]
pub fn to_lines(fields: &HeaderMap) -> Vec<u8> {
    let mut lines = Vec::new();
    for (name, value) in fields {
        if !is_forbidden(name) {
            write_line(&mut lines, name.as_str().as_bytes(), value.as_bytes());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_fields_say_the_same() {
        let lines = b"grpc-status: 0\r\nx-a: 1\r\nx-a: 2\r\n";
        let map = to_map(lines);
        assert_eq!(map.get("grpc-status").unwrap(), "0");
        assert_eq!(map.get_all("x-a").iter().count(), 2);
        assert_eq!(to_lines(&map), lines);
        assert!(to_map(b"").is_empty() && to_lines(&HeaderMap::new()).is_empty());
    }

    #[test]
    fn a_trailer_frames_nothing() {
        let map = to_map(b"Content-Length: 5\r\nX-A:1\r\nSet_Cookie: a=b\r\nbad line\r\n");
        assert_eq!(to_lines(&map), b"x-a: 1\r\n");
        let mut map = HeaderMap::new();
        map.insert("content-length", HeaderValue::from_static("5"));
        assert!(to_lines(&map).is_empty());
    }
}
