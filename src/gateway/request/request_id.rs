//! Request id: identifies one request in the log, at the upstream and in a client's report.
//!
//! A client that chooses ids could give two requests the same id, or inject text into logs. So a
//! client's id is removed, in every spelling of the header, and replaced by an unpredictable one.
//! Only a trusted proxy may set an id, and only with characters that have no special meaning
//! anywhere.

use http::HeaderName;

use super::geo_headers::remove_other_spellings;
use super::random;
use crate::proto::headers::{EditHeaders, Headers, Name};

/// Maximum length of an id that is passed on, in bytes.
const LONGEST: usize = 128;

/// Length of a new id, in bytes.
pub const FRESH_LENGTH: usize = 32;

/// Id of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestId<'r> {
    /// Id from a trusted proxy.
    Given(&'r [u8]),
    /// New id: 128 random bits as lower-case hexadecimal digits, as nginx's `$request_id`.
    Fresh([u8; FRESH_LENGTH]),
}

impl<'r> RequestId<'r> {
    /// Returns the id of a request with these headers; `name` is the header with the id.
    #[must_use]
    pub fn of(headers: &'r impl Headers, name: &'r HeaderName, peer_is_trusted: bool) -> Self {
        if peer_is_trusted {
            let mut lines = headers.lines(name.as_str());
            // A repeated header is ignored.
            if let (Some(given), None) = (lines.next(), lines.next())
                && is_valid(given)
            {
                return RequestId::Given(given);
            }
        }
        RequestId::fresh()
    }

    /// Creates a new id.
    #[must_use]
    pub fn fresh() -> Self {
        RequestId::Fresh(random::hex(random::id()))
    }

    /// Returns the characters of the id.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            RequestId::Given(given) => given,
            RequestId::Fresh(digits) => digits,
        }
    }

    /// Returns the id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).expect("an id is visible ASCII")
    }
}

/// Sends `id` to the upstream, and removes all variants of the header.
pub fn replace(request: &mut impl EditHeaders, name: &HeaderName, id: &[u8]) {
    remove_other_spellings(request, name);
    request.set(Name::Parsed(name), id);
}

/// Returns `true` if an id has only letters, digits and a few separators: nothing that quotes, ends
/// or expands anything in a log, a shell, a page or a query.
fn is_valid(id: &[u8]) -> bool {
    let is_safe = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:+/=@~".contains(byte);
    (1..=LONGEST).contains(&id.len()) && id.iter().all(is_safe)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;
    use pingora::http::RequestHeader;

    const NAME: HeaderName = HeaderName::from_static("x-request-id");

    /// Returns the id that is accepted from these lines of a peer.
    fn given(peer_is_trusted: bool, lines: &[&[u8]]) -> Option<Vec<u8>> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(NAME, HeaderValue::from_bytes(line).unwrap());
        }
        match RequestId::of(&headers, &NAME, peer_is_trusted) {
            RequestId::Given(id) => Some(id.to_vec()),
            RequestId::Fresh(_) => None,
        }
    }

    #[track_caller]
    fn check_taken(id: &[u8], expected: bool) {
        let taken = given(true, &[id]);
        assert_eq!(taken.is_some(), expected, "{}", id.escape_ascii());
        assert!(taken.is_none_or(|taken| taken == id));
        assert_eq!(given(false, &[id]), None);
    }

    #[test]
    fn a_trusted_proxy_hands_on_what_is_safe_to_write_anywhere() {
        check_taken(b"4bf92f3577b34da6a3ce929d0e0e4736", true);
        check_taken(b"f5ae2621-ffff-4e7d-9000-bb8f04ef278a", true);
        check_taken(b"Root=1-67891233-abcdef012345678912345678", true);
        check_taken(b"a/b+c==@d.e:f~_", true);
        check_taken(&[b'x'; 128], true);
        check_taken(&[b'x'; 129], false);
        for unsafe_id in [
            "",
            "a b",
            "a,b",
            "a;b",
            "a\"b",
            "a'b",
            "<a>",
            "a\\b",
            "${jndi:x}",
            "a|b",
            "a%0ab",
            "a\tb",
            "\u{e9}",
        ] {
            check_taken(unsafe_id.as_bytes(), false);
        }
    }

    #[test]
    fn two_ids_are_none() {
        assert_eq!(given(true, &[b"a", b"a"]), None);
    }

    #[test]
    fn a_fresh_id_is_new_and_of_digits() {
        let (one, other) = (RequestId::fresh(), RequestId::fresh());
        assert_ne!(one, other);
        assert!(one.as_bytes().iter().all(u8::is_ascii_hexdigit));
    }

    #[test]
    fn no_spelling_of_the_name_reaches_the_upstream() {
        let mut request = RequestHeader::build("GET", b"/", None).unwrap();
        for name in [
            "X-Request-ID",
            "x-request-id",
            "X_Request_ID",
            "x-request_id",
        ] {
            request.append_header(name, "spoofed").unwrap();
        }
        request
            .append_header("X-Request-Identity", "other")
            .unwrap();
        replace(&mut request, &NAME, b"ours");
        let found: Vec<_> = request.headers.iter().map(|(_, value)| value).collect();
        assert_eq!(found.len(), 2);
        assert_eq!(request.headers[NAME], "ours");
        assert_eq!(request.headers["x-request-identity"], "other");
    }
}
