//! Strict rules for requests, the same in every version of HTTP.
//!
//! The lane enforces them for HTTP/1 while it parses requests. HTTP/2 requests are checked by
//! [`refusal`], after the h2 crate has parsed them. A request that two readers could read in two
//! ways is rejected, even where a standard leaves the choice: an attack needs two readings, and no
//! client does.

use http::{HeaderMap, Version, header};
use pingora::http::RequestHeader;

use crate::config::model::Client;
use crate::proto::authority::is_authority;
use crate::proto::headers::{Headers, is_expectation, is_look_alike};
use crate::proto::target::{Target, target};
use crate::proto::websocket::asks_for_websocket;

/// Returns the status of the rejection of an invalid HTTP/2 request; `None` if the request is
/// valid.
pub fn refusal(request: &RequestHeader, client: &Client) -> Option<u16> {
    let headers = &request.headers;
    // Size as HTTP/2 counts it (RFC 9113, 6.5.2).
    let size =
        |name: &http::HeaderName, value: &http::HeaderValue| name.as_str().len() + value.len() + 32;
    let sizes = headers.iter().map(|(name, value)| size(name, value));
    let size = sizes.sum::<usize>() + request.raw_path().len();
    if headers.len() > client.max_headers || size > client.max_header_size {
        return Some(431);
    }
    if request.method == http::Method::CONNECT {
        return Some(405);
    }
    let form = target(request.method.as_str(), request.raw_path());
    if !matches!(form, Some(Target::Origin | Target::Asterisk))
        || !has_known_scheme(request)
        || !has_one_authority(request)
        || !is_framed_once(headers)
        || headers.keys().any(|name| is_look_alike(name.as_str()))
        || headers.values().any(has_space_around)
        || CONNECTION_SPECIFIC
            .iter()
            .any(|name| headers.contains_key(*name))
    {
        return Some(400);
    }
    let mut expectations = headers.lines("expect");
    expectations
        .any(|value| !is_expectation(value))
        .then_some(417)
}

/// Fields of a connection, which HTTP/2 forbids (RFC 9113, 8.2.2).
pub const CONNECTION_SPECIFIC: [&str; 5] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
];

/// Returns `true` if `:scheme` is `http` or `https`. It may differ from the connection, because a
/// proxy in front may terminate TLS. Only this check reads it: upstreams receive the scheme of the
/// connection.
fn has_known_scheme(request: &RequestHeader) -> bool {
    let scheme = request.uri.scheme_str();
    let is_known = |scheme: &str| {
        ["http", "https"]
            .iter()
            .any(|known| scheme.eq_ignore_ascii_case(known))
    };
    scheme.is_none_or(is_known)
}

/// Returns `true` if a value begins or ends with a space or a tab, which HTTP/1 would not read as
/// part of the value (RFC 9113, 8.2.1).
fn has_space_around(value: &http::HeaderValue) -> bool {
    let value = value.as_bytes();
    value.trim_ascii().len() < value.len()
}

/// Returns `true` if `:authority` and `Host` name one valid authority.
fn has_one_authority(request: &RequestHeader) -> bool {
    let authority = request.uri.authority();
    let authority = authority.map(|authority| authority.as_str().as_bytes());
    let mut hosts = request.headers.lines("host");
    let (host, more) = (hosts.next(), hosts.next());
    let agree = host.is_none() || authority.is_none() || host == authority;
    more.is_none() && agree && authority.or(host).is_some_and(is_authority)
}

fn is_framed_once(headers: &HeaderMap) -> bool {
    let mut lengths = headers.lines("content-length");
    let (length, more) = (lengths.next(), lengths.next());
    more.is_none()
        && length.is_none_or(|length| !length.is_empty() && length.iter().all(u8::is_ascii_digit))
}

/// Normalizes a valid request, so that all later readers agree on it: removes an upgrade to
/// anything but a `WebSocket`, and leading zeros of a length. Returns `true` if a `WebSocket` is
/// requested.
pub fn settle(request: &mut RequestHeader) -> bool {
    settle_length(request);
    let upgrades = request.headers.contains_key(header::UPGRADE);
    let is_1_1 = request.version == Version::HTTP_11;
    let is_websocket =
        upgrades && asks_for_websocket(request.method.as_str(), is_1_1, &request.headers);
    if upgrades && !is_websocket {
        request.remove_header(&header::UPGRADE);
    }
    is_websocket
}

/// Removes leading zeros of the length: `0010` is ten for this gateway, and may be eight for
/// others.
fn settle_length(request: &mut RequestHeader) {
    let length = request.headers.get(header::CONTENT_LENGTH);
    let Some([b'0', rest @ ..]) = length.map(http::HeaderValue::as_bytes) else {
        return;
    };
    let zeros = rest.iter().take_while(|&&byte| byte == b'0').count();
    let digits = if zeros == rest.len() {
        // If all digits are zeros, one stays.
        &b"0"[..]
    } else {
        &rest[zeros..]
    };
    if let Ok(length) = http::HeaderValue::from_bytes(digits) {
        // It replaces a line, so the map has room.
        let _ = request.insert_header(header::CONTENT_LENGTH, length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Overrides, parse};

    proptest::proptest! {
        /// A request with a target that pingora cannot parse would get no response.
        #[test]
        fn what_is_a_target_can_be_read_by_pingora(text in "(http://a)?/[!-~]{0,4}(\\?[!-~]{0,4})?") {
            let is_target = target("GET", text.as_bytes()).is_some();
            let read = RequestHeader::build("GET", text.as_bytes(), None);
            proptest::prop_assert!(!is_target || read.is_ok());
        }
    }

    #[test]
    fn a_length_is_passed_on_in_its_one_form() {
        for (length, expected) in [
            ("5", "5"),
            ("0", "0"),
            ("0000005", "5"),
            ("000", "0"),
            ("010", "10"),
        ] {
            let mut request = request("POST", "/", &[("Content-Length", length)]);
            settle(&mut request);
            let found: Vec<_> = request.headers.get_all("content-length").iter().collect();
            assert_eq!(found, [expected], "{length}");
        }
    }

    fn request(method: &str, target: &str, lines: &[(&str, &str)]) -> RequestHeader {
        let mut request = RequestHeader::build(method, target.as_bytes(), None).unwrap();
        for (name, value) in lines {
            request.append_header((*name).to_owned(), *value).unwrap();
        }
        request
    }

    /// Header lines in one text, such as `a: b, c: d`.
    fn lines(text: &str) -> Vec<(&str, &str)> {
        let lines = text.split("; ").filter(|line| !line.is_empty());
        lines.map(|line| line.split_once(": ").unwrap()).collect()
    }

    #[test]
    fn only_a_websocket_is_an_upgrade() {
        for (method, text, expected) in [
            ("GET", "upgrade: websocket; connection: upgrade", true),
            (
                "GET",
                "upgrade: WebSocket; connection: keep-alive, Upgrade",
                true,
            ),
            (
                "GET",
                "upgrade: websocket; connection: upgrade; content-length: 0",
                true,
            ),
            ("GET", "upgrade: websocket", false),
            ("GET", "upgrade: websocket; connection: close", false),
            ("POST", "upgrade: websocket; connection: upgrade", false),
            (
                "GET",
                "upgrade: websocket; connection: upgrade; content-length: 1",
                false,
            ),
            (
                "GET",
                "upgrade: websocket; connection: upgrade; transfer-encoding: chunked",
                false,
            ),
            (
                "GET",
                "upgrade: h2c; connection: upgrade, http2-settings",
                false,
            ),
            ("GET", "upgrade: websocket, h2c; connection: upgrade", false),
            (
                "GET",
                "upgrade: websocket; upgrade: h2c; connection: upgrade",
                false,
            ),
            ("GET", "connection: upgrade", false),
        ] {
            let mut request = request(method, "/", &lines(text));
            request.set_version(Version::HTTP_11);
            assert_eq!(
                asks_for_websocket(method, true, &request.headers),
                expected,
                "{method} {text}"
            );
            assert!(
                !asks_for_websocket(method, false, &request.headers),
                "{text}"
            );
            assert_eq!(settle(&mut request), expected, "{text}");
            assert_eq!(request.headers.contains_key("upgrade"), expected, "{text}");
        }
    }

    /// Checks the rejection of an HTTP/2 request with the authority `a`, and header lines in one
    /// text.
    #[track_caller]
    fn check(method: &str, path: &str, text: &str, expected: Option<u16>) {
        let uri = if path.starts_with('/') {
            format!("https://a{path}")
        } else {
            path.to_owned()
        };
        let builder = http::Request::builder()
            .method(method)
            .version(Version::HTTP_2);
        let request = lines(text)
            .into_iter()
            .fold(builder.uri(uri), |request, (name, value)| {
                request.header(name, value)
            });
        let request = RequestHeader::from(request.body(()).unwrap().into_parts().0);
        let configuration = "[client]\nmax_headers = 8\nmax_header_size = '1k'\n";
        let config = parse(configuration, "test", &Overrides::default()).unwrap();
        assert_eq!(
            refusal(&request, &config.client),
            expected,
            "{method} {path} {text}"
        );
    }

    #[test]
    fn http_2_is_held_to_the_same_rules() {
        check("GET", "/", "", None);
        check(
            "GET",
            "/",
            "host: a; content-length: 5; expect: 100-continue; te: trailers",
            None,
        );
        check("CONNECT", "/", "", Some(405));
        for text in [
            "host: b",
            "host: a; host: a",
            "host: a; host: b",
            "connection: close",
            "transfer-encoding: chunked",
            "upgrade: websocket",
            "keep-alive: 5",
            "content-length: 5; content-length: 5",
            "content-length: +5",
            "content-length: 5,5",
            "content_length: 5",
            "transfer_encoding: chunked",
            "transfer.encoding: chunked",
            "transfer---encoding: chunked",
            "ho_st: a",
            "x:  y",
            "x: y ",
            "x: \ty",
        ] {
            check("GET", "/", text, Some(400));
        }
        check("GET", "/a%00", "", Some(400));
        check("GET", "*", "host: a", Some(400));
        check("OPTIONS", "*", "host: a", None);
        check("GET", "/", "expect: 200-ok", Some(417));
        check("GET", "/", &["x: y"; 8].join("; "), None);
        check("GET", "/", &["x: y"; 9].join("; "), Some(431));
        check("GET", "/", &format!("x: {}", "y".repeat(900)), None);
        check("GET", "/", &format!("x: {}", "y".repeat(1000)), Some(431));
        check("GET", &format!("/{}", "y".repeat(1024)), "", Some(431));
    }

    #[test]
    fn http_2_needs_an_authority_that_is_one() {
        for (uri, expected) in [
            ("https://a/", None),
            ("https://a:443/", None),
            ("http://a/", None),
            ("HTTPS://a/", None),
            ("ftp://a/", Some(400)),
            ("https://a..b/", Some(400)),
            ("https://.a/", Some(400)),
            ("https://a./", None),
            ("https://u@a/", Some(400)),
            ("/", Some(400)),
        ] {
            let request = http::Request::builder().version(Version::HTTP_2).uri(uri);
            let request = RequestHeader::from(request.body(()).unwrap().into_parts().0);
            let config = parse("", "test", &Overrides::default()).unwrap();
            assert_eq!(refusal(&request, &config.client), expected, "{uri}");
        }
    }
}
