//! Strict rules for requests, the same in every version of HTTP.
//!
//! The parser of HTTP/1 heads enforces them there. HTTP/2 requests are checked by
//! [`refusal`], after the h2 crate has parsed them. A request that two readers could read in two
//! ways is rejected, even where a standard leaves the choice: an attack needs two readings, and no
//! client does.

use http::uri::PathAndQuery;
use http::{HeaderMap, request};

use crate::config::model::Client;
use crate::proto::authority::is_authority;
use crate::proto::headers::{Headers, is_expectation, is_look_alike};
use crate::proto::hop_by_hop::CONNECTION_SPECIFIC;
use crate::proto::target::{Target, target};

/// Returns the status of the rejection of an invalid HTTP/2 request; `None` if the request is
/// valid.
pub fn refusal(request: &request::Parts, client: &Client) -> Option<u16> {
    let headers = &request.headers;
    // Size as HTTP/2 counts it (RFC 9113, 6.5.2).
    let size =
        |name: &http::HeaderName, value: &http::HeaderValue| name.as_str().len() + value.len() + 32;
    let sizes = headers.iter().map(|(name, value)| size(name, value));
    let path = request
        .uri
        .path_and_query()
        .map_or("", PathAndQuery::as_str);
    let size = sizes.sum::<usize>() + path.len();
    if headers.len() > client.max_headers || size > client.max_header_size {
        return Some(431);
    }
    if request.method == http::Method::CONNECT {
        return Some(405);
    }
    let form = target(request.method.as_str(), path.as_bytes());
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

/// Returns `true` if `:scheme` is `http` or `https`. It may differ from the connection, because a
/// proxy in front may terminate TLS. Only this check reads it: upstreams receive the scheme of the
/// connection.
fn has_known_scheme(request: &request::Parts) -> bool {
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
fn has_one_authority(request: &request::Parts) -> bool {
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

#[cfg(test)]
mod tests {
    use http::Version;

    use super::*;
    use crate::config::{Overrides, parse};

    proptest::proptest! {
        /// A request with a target that the h2 crate cannot send could not be proxied.
        #[test]
        fn what_is_a_target_can_be_sent_over_http2(text in "/[!-~]{0,4}(\\?[!-~]{0,4})?") {
            let is_target = target("GET", text.as_bytes()).is_some();
            let read = PathAndQuery::try_from(text.as_bytes());
            proptest::prop_assert!(!is_target || read.is_ok());
        }
    }

    /// Header lines in one text, such as `a: b, c: d`.
    fn lines(text: &str) -> Vec<(&str, &str)> {
        let lines = text.split("; ").filter(|line| !line.is_empty());
        lines.map(|line| line.split_once(": ").unwrap()).collect()
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
        let request = request.body(()).unwrap().into_parts().0;
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
            let request = request.body(()).unwrap().into_parts().0;
            let config = parse("", "test", &Overrides::default()).unwrap();
            assert_eq!(refusal(&request, &config.client), expected, "{uri}");
        }
    }
}
