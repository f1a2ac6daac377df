//! Compression of uncompressed responses of upstreams and files.
//!
//! The decision depends only on the heads of request and response; the encoder compresses the body.
//! pingora's own encoders are not used: they buffer their input, so that an event of a stream would
//! wait for the next one, and their decision ignores q-values, `no-transform` and partial content.
//! The decision here is the same for all engines and for files.

mod accept;
mod encoder;

use http::{Method, StatusCode, Version};
use pingora::Result;

pub use encoder::Encoder;

use super::request::request_view::RequestView;
use crate::config::model::{Coding, Compression};
use crate::proto::headers::{EditResponse, Headers, Name};

/// Header fields that describe the exact bytes of a body, which compression would invalidate.
const OF_THE_BYTES: [&str; 5] = [
    "content-range",
    "content-md5",
    "content-digest",
    "repr-digest",
    "digest",
];

/// Starts the compression of a response if it is appropriate: the head is changed, and the body must
/// go through the returned encoder, after which its length is unknown. For `HEAD`, only the head is
/// changed, to the head of a response to `GET`.
///
/// # Errors
/// If the encoder cannot be created.
pub fn begin<H: Headers>(
    config: &Compression,
    request: &RequestView<H>,
    response: &mut impl EditResponse,
) -> Result<Option<Box<Encoder>>> {
    let streamed = !response.has("content-length");
    let Some(coding) = recode(config, request, response) else {
        return Ok(None);
    };
    if *request.method == Method::HEAD {
        return Ok(None);
    }
    Encoder::new(coding, config.level, streamed).map(|encoder| Some(Box::new(encoder)))
}

/// Changes the head of a response to that of a compressed one, if compression is appropriate.
pub fn recode<H: Headers>(
    config: &Compression,
    request: &RequestView<H>,
    response: &mut impl EditResponse,
) -> Option<Coding> {
    if !is_candidate(config, response) {
        return None;
    }
    add_vary(response);
    if request.version == Version::HTTP_10 {
        // The body would then end only with the connection.
        return None;
    }
    let accepted = request.headers.lines("accept-encoding");
    let coding = accept::best(accepted, &config.algorithms);
    if let Some(coding) = coding {
        set_coding(response, coding);
    }
    coding
}

/// Says that another client may get a response compressed, of which this one gets parts (RFC 9110, 15.3.7).
/// `response` is the head of the whole.
pub fn announce(config: &Compression, response: &mut impl EditResponse) {
    if is_candidate(config, response) {
        add_vary(response);
    }
}

/// Returns those of `known` codings that the client prefers to the plain form, the best first.
pub fn preferred<H: Headers>(request: &RequestView<H>, known: &[Coding]) -> Vec<Coding> {
    let (mut left, mut found) = (known.to_vec(), Vec::new());
    if request.version == Version::HTTP_10 {
        return found;
    }
    while let Some(best) = accept::best(request.headers.lines("accept-encoding"), &left) {
        left.retain(|coding| *coding != best);
        found.push(best);
    }
    found
}

/// Returns `true` if the response would be compressed for a client that accepts it.
fn is_candidate(config: &Compression, response: &impl EditResponse) -> bool {
    let value = |name: &str| response.first(name);
    let status = response.status();
    let has_whole_body = !status.is_informational()
        && !matches!(
            status,
            StatusCode::NO_CONTENT | StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED
        );
    let content_type = value("content-type").unwrap_or_default();
    has_whole_body
        && config.types.contain(content_type)
        && !starts_with(content_type, b"application/grpc")
        && value("content-encoding").is_none()
        && value("trailer").is_none()
        && is_long_enough(value("content-length"), config.min_size)
        && !OF_THE_BYTES.iter().any(|name| response.has(name))
        && !forbids_transformation(response)
}

fn starts_with(text: &[u8], start: &[u8]) -> bool {
    let part = text.get(..start.len());
    part.is_some_and(|part| part.eq_ignore_ascii_case(start))
}

/// Returns `true` if the body is long enough. A body of unknown length may be long; an empty body
/// is never compressed.
fn is_long_enough(length: Option<&[u8]>, min_size: u64) -> bool {
    let Some(length) = length else { return true };
    let length: Option<u64> = std::str::from_utf8(length)
        .ok()
        .and_then(|l| l.parse().ok());
    length.is_some_and(|length| length >= min_size.max(1))
}

/// Returns `true` for `Cache-Control: no-transform` (RFC 9111, 5.2.2.6).
fn forbids_transformation(response: &impl EditResponse) -> bool {
    let lines = response.lines("cache-control");
    let mut directives = lines.flat_map(|line| line.split(|&byte| byte == b','));
    directives.any(|directive| directive.trim_ascii().eq_ignore_ascii_case(b"no-transform"))
}

/// Adds `Vary: Accept-Encoding`, because other clients get another response (RFC 9110, 12.5.5).
pub fn add_vary(response: &mut impl EditResponse) {
    let says_so = response.lines("vary").any(|line| {
        let mut names = line.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
        names.any(|name| name == b"*" || name.eq_ignore_ascii_case(b"accept-encoding"))
    });
    if !says_so {
        response.append(Name::Static("Vary"), b"Accept-Encoding");
    }
}

fn set_coding(response: &mut impl EditResponse, coding: Coding) {
    response.set(Name::Static("Content-Encoding"), coding.token().as_bytes());
    response.remove("content-length");
    // A range would refer to the bytes of the plain body.
    response.remove("accept-ranges");
    // The content is equivalent, but not identical byte by byte, so the tag becomes weak (RFC 9110,
    // 8.8.1).
    let tag = response.first("etag");
    if let Some(tag) = tag.filter(|tag| tag.starts_with(b"\"")) {
        let weak = [b"W/", tag].concat();
        response.set(Name::Static("ETag"), &weak);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;
    use pingora::http::{RequestHeader, ResponseHeader};

    use crate::config::model::{MediaType, MediaTypes};

    fn config() -> Compression {
        Compression {
            enabled: true,
            algorithms: vec![Coding::Zstd, Coding::Brotli, Coding::Gzip],
            level: 4,
            types: MediaTypes::new(vec![MediaType::Starting("text/".to_owned())]),
            min_size: 100,
        }
    }

    fn request(method: &str, accept: &str) -> RequestHeader {
        let mut request = RequestHeader::build(method, b"/", None).unwrap();
        request.set_version(Version::HTTP_11);
        request.insert_header("Accept-Encoding", accept).unwrap();
        request
    }

    fn begun(request: &RequestHeader, response: &mut ResponseHeader) -> Option<Box<Encoder>> {
        begin(&config(), &RequestView::of(request), response).unwrap()
    }

    fn response(status: u16, lines: &[(&'static str, &str)]) -> ResponseHeader {
        let mut response = ResponseHeader::build(status, None).unwrap();
        for (name, value) in lines {
            response.append_header(*name, *value).unwrap();
        }
        response
    }

    /// Header lines of the response for a client that accepts gzip.
    fn lines(method: &str, mut response: ResponseHeader) -> Vec<String> {
        let encoder = begun(&request(method, "gzip"), &mut response);
        let line = |(name, value): (&HeaderName, &http::HeaderValue)| {
            format!("{name}: {}", value.to_str().unwrap())
        };
        let mut lines: Vec<_> = response.headers.iter().map(line).collect();
        lines.sort();
        assert!(encoder.is_none() || lines.contains(&"content-encoding: gzip".to_owned()));
        lines
    }

    #[track_caller]
    fn check_left_alone(status: u16, more: &[(&'static str, &str)], vary: bool) {
        let mut all = vec![("Content-Type", "text/plain")];
        all.extend_from_slice(more);
        let mut response = response(status, &all);
        let encoder = begun(&request("GET", "gzip"), &mut response);
        assert!(encoder.is_none(), "{all:?}");
        assert_eq!(response.headers.contains_key("vary"), vary, "{all:?}");
    }

    #[test]
    fn the_head_says_what_the_body_has_become() {
        let plain = [
            ("Content-Type", "text/plain"),
            ("Content-Length", "100"),
            ("Accept-Ranges", "bytes"),
            ("ETag", "\"x\""),
            ("Vary", "Origin"),
        ];
        let coded = [
            "content-encoding: gzip",
            "content-type: text/plain",
            "etag: W/\"x\"",
            "vary: Accept-Encoding",
            "vary: Origin",
        ];
        assert_eq!(lines("HEAD", response(200, &plain)), coded);
        assert_eq!(lines("GET", response(200, &plain)), coded);
        assert_eq!(lines("GET", response(404, &plain)), coded);
    }

    #[test]
    fn a_weak_tag_and_what_varies_already_stay() {
        let plain = [
            ("Content-Type", "text/plain"),
            ("ETag", "W/\"x\""),
            ("Vary", "Origin, accept-encoding"),
        ];
        let lines = lines("GET", response(200, &plain));
        assert!(lines.contains(&"etag: W/\"x\"".to_owned()), "{lines:?}");
        assert!(!lines.contains(&"vary: Accept-Encoding".to_owned()));
    }

    #[test]
    fn what_must_not_be_changed_is_not() {
        for status in [103, 204, 206, 304] {
            check_left_alone(status, &[], false);
        }
        check_left_alone(200, &[("Content-Encoding", "br")], false);
        check_left_alone(200, &[("Content-Encoding", "identity")], false);
        check_left_alone(200, &[("Content-Length", "99")], false);
        check_left_alone(200, &[("Cache-Control", "public, No-Transform")], false);
        check_left_alone(200, &[("Content-Digest", "sha-256=:x:")], false);
        check_left_alone(200, &[("Content-Range", "bytes 0-1/2")], false);
        check_left_alone(200, &[("Trailer", "X-Sum")], false);
    }

    #[test]
    fn nothing_is_said_of_types_that_are_not_compressed() {
        for content_type in ["image/png", "application/grpc+proto", ""] {
            let mut response = response(200, &[("Content-Type", content_type)]);
            let encoder = begun(&request("GET", "gzip"), &mut response);
            assert!(encoder.is_none() && !response.headers.contains_key("vary"));
        }
    }

    #[test]
    fn a_client_that_takes_no_coding_gets_none_and_a_cache_is_told() {
        for (accept, version) in [
            ("identity", Version::HTTP_11),
            ("gzip;q=0", Version::HTTP_11),
            ("gzip", Version::HTTP_10),
        ] {
            let mut response = response(200, &[("Content-Type", "text/css")]);
            let mut request = request("GET", accept);
            request.set_version(version);
            assert!(begun(&request, &mut response).is_none());
            assert_eq!(response.headers["vary"], "Accept-Encoding");
            assert!(!response.headers.contains_key("content-encoding"));
        }
    }
}
