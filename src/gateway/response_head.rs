//! Heads of upstream responses, normalized for the client.
//!
//! An intermediary frames a message itself (RFC 9110, 8.6; RFC 9112, 6): if a client read the same
//! lines differently than this gateway, it would take part of one response for the next one. So
//! only the one framing by which the body is read is passed on, and a head with ambiguous framing
//! is an error of the upstream. Fields for the connection to the upstream are removed, too (RFC
//! 9110, 7.6.1).
//!
//! `lane::duplex` and pingora's proxy call [`Received::count`] and [`renew`] before any other code
//! reads a response. The HTTP/1 engine has a parser with the same rules,
//! [`proto::h1::response_head`](crate::proto::h1::response_head).

use http::{HeaderMap, HeaderName, StatusCode, Version, header};
use pingora::http::ResponseHeader;
use pingora::{Error, ErrorType};

use crate::config::model::is_spelling_of;
use crate::proto::h1::response_head::Limits;

/// Maximum number of interim responses (1xx) to one request.
const MAX_INTERIM: u32 = 16;

/// Reason why a response head is not passed on.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHead {
    /// Too many interim responses.
    #[error("more than {MAX_INTERIM} interim responses (1xx) to one request")]
    Interim,
    /// Heads that exceed the upstream's size limit.
    #[error("response head of {0} bytes: the upstream's max_header_size is {1}")]
    Size(usize, usize),
    /// A head that exceeds the upstream's limit of lines.
    #[error("response head of {0} lines: the upstream's max_headers is {1}")]
    Lines(usize, usize),
    /// A transfer coding that cannot be decoded, or one that was applied twice.
    #[error("Transfer-Encoding {0:?}: only \"chunked\", once, is understood")]
    TransferEncoding(String),
    /// A transfer coding in a version that has none (RFC 9112, 6.1).
    #[error("Transfer-Encoding in an HTTP/1.0 response")]
    TransferEncodingInHttp10,
    /// Lengths that differ, or are invalid.
    #[error("Content-Length {0:?} is not one number")]
    ContentLength(String),
    /// Both a length and a transfer coding: readers differ on which one counts (RFC 9112, 6.3).
    #[error("both Content-Length and Transfer-Encoding")]
    TwoFramings,
    /// A name that some readers take for that of a framing field.
    #[error("{0:?} looks like a field that frames the message, and is none")]
    LookAlike(String),
    /// A line without a valid field name.
    #[error("{0:?} is no name of a field")]
    Name(String),
    /// A value with a NUL, where a reader written in C would end it.
    #[error("a NUL in {0}")]
    Nul(String),
    /// A value that continues on the next line (RFC 9112, 5.2).
    #[error("a folded line")]
    FoldedLine,
    /// A line that does not end in CRLF.
    #[error("a line that ends in a bare CR or LF")]
    LineEnd,
    /// A change of protocols in a version that has none.
    #[error("101 Switching Protocols in a response that is not HTTP/1.1")]
    Upgrade,
}

impl From<BadHead> for Box<Error> {
    fn from(bad: BadHead) -> Self {
        Error::explain(ErrorType::InvalidHTTPHeader, bad.to_string()).into_up()
    }
}

/// Use of the upstream's connection after a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// It can carry another request.
    Reusable,
    /// It cannot carry another one: the head and the status contradict each other about a body, so
    /// bytes may follow that belong to no response.
    Doubtful,
}

/// Counters of the response heads that one try of a request has received so far.
#[derive(Debug, Default, Clone, Copy)]
pub struct Received {
    interim: u32,
    size: usize,
}

impl Received {
    /// Counts a head.
    ///
    /// # Errors
    /// If there are too many heads, they are too long together, or this one has too many lines.
    pub fn count(&mut self, response: &ResponseHeader, limits: Limits) -> Result<(), BadHead> {
        let headers = &response.headers;
        // As written in HTTP/1.1: with ": " and a line end.
        let lines = headers.iter().map(|(n, v)| n.as_str().len() + v.len() + 4);
        self.size += lines.sum::<usize>() + "HTTP/1.1 200 OK\r\n\r\n".len();
        self.interim += u32::from(response.status.is_informational());
        if headers.len() > limits.max_lines {
            return Err(BadHead::Lines(headers.len(), limits.max_lines));
        }
        if self.size > limits.max_size {
            return Err(BadHead::Size(self.size, limits.max_size));
        }
        if self.interim > MAX_INTERIM {
            return Err(BadHead::Interim);
        }
        Ok(())
    }
}

/// Normalizes a head for the client: HTTP/1.1, with one framing and without fields for the
/// connection to the upstream. `with_trailers` is `true` if trailers can reach the client.
///
/// # Errors
/// If the framing is ambiguous or invalid.
pub fn renew(response: &mut ResponseHeader, with_trailers: bool) -> Result<Connection, BadHead> {
    let is_upgrade = response.status == StatusCode::SWITCHING_PROTOCOLS;
    if is_upgrade && response.version != Version::HTTP_11 {
        return Err(BadHead::Upgrade);
    }
    let mut connection = Connection::Reusable;
    // Most responses have only one of these lines.
    let (mut codings, mut lengths, mut is_hop_by_hop) = (false, false, false);
    for name in response.headers.keys() {
        match name.as_str() {
            "transfer-encoding" => codings = true,
            "content-length" => lengths = true,
            "connection" | "keep-alive" | "proxy-connection" | "te" | "trailer" | "upgrade" => {
                is_hop_by_hop = true;
            }
            other if is_look_alike(other) => return Err(BadHead::LookAlike(other.to_owned())),
            _ => {}
        }
    }
    if codings {
        connection = renew_codings(response)?;
    }
    if lengths {
        renew_length(response)?;
    }
    if is_hop_by_hop {
        remove_hop_by_hop(response, is_upgrade, with_trailers);
    }
    response.set_version(Version::HTTP_11);
    Ok(connection)
}

/// Removes trailers that are valid only in a head (RFC 9110, 6.5.1): framing, and fields for the
/// connection.
pub fn clean_trailers(trailers: &mut HeaderMap) {
    for name in [
        "connection",
        "content-length",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ] {
        trailers.remove(name);
    }
}

/// Normalizes the transfer coding: `chunked` if the response can have a body, else none (RFC 9112,
/// 6.3).
fn renew_codings(response: &mut ResponseHeader) -> Result<Connection, BadHead> {
    let status = response.status;
    if status.is_informational() || matches!(status.as_u16(), 204 | 304) {
        response.remove_header(&header::TRANSFER_ENCODING);
        // A 304 may name the coding that its body would have had. A 204 must not, and an upstream
        // that does so may also send the last chunk.
        return Ok(match status {
            StatusCode::NO_CONTENT => Connection::Doubtful,
            _ => Connection::Reusable,
        });
    }
    if response.version == Version::HTTP_10 {
        return Err(BadHead::TransferEncodingInHttp10);
    }
    let joined = joined(&response.headers, &header::TRANSFER_ENCODING);
    if !joined.eq_ignore_ascii_case("chunked") {
        return Err(BadHead::TransferEncoding(joined));
    }
    if joined != "chunked" {
        // It replaces a line, so the map has room.
        let _ = response.insert_header(header::TRANSFER_ENCODING, "chunked");
    }
    Ok(Connection::Reusable)
}

/// Returns `true` if a name has the letters of a framing field, and is another one, such as
/// `content_length`.
fn is_look_alike(name: &str) -> bool {
    // Few names begin with one of these letters, or with no letter or digit.
    let may_be = !name.starts_with(|first: char| first.is_ascii_alphanumeric())
        || name.starts_with(['c', 't']);
    may_be
        && ["content-length", "transfer-encoding"]
            .iter()
            .any(|known| is_spelling_of(name, known))
}

/// Normalizes the length: one line with one number if the response can have a length, else none.
fn renew_length(response: &mut ResponseHeader) -> Result<(), BadHead> {
    let status = response.status;
    if status.is_informational() || status == StatusCode::NO_CONTENT {
        response.remove_header(&header::CONTENT_LENGTH);
        return Ok(());
    }
    let joined = joined(&response.headers, &header::CONTENT_LENGTH);
    let mut lengths = joined.split(',').map(length);
    let first = lengths.next().flatten();
    let Some(length) = first.filter(|_| lengths.all(|other| other == first)) else {
        return Err(BadHead::ContentLength(joined));
    };
    if joined != itoa::Buffer::new().format(length) {
        // It replaces a line, so the map has room.
        let _ = response.insert_header(header::CONTENT_LENGTH, length);
    }
    Ok(())
}

fn length(text: &str) -> Option<u64> {
    let text = text.trim_matches([' ', '\t']);
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

/// Joins all lines of a field into the equivalent single one (RFC 9110, 5.3).
fn joined(headers: &HeaderMap, name: &HeaderName) -> String {
    let lines = headers.get_all(name).iter();
    let lines: Vec<_> = lines
        .map(|line| String::from_utf8_lossy(line.as_bytes()))
        .collect();
    lines.join(", ")
}

/// Removes fields for the connection to the upstream. Framing fields stay, even if `Connection`
/// names them: they are normalized already.
fn remove_hop_by_hop(response: &mut ResponseHeader, is_upgrade: bool, with_trailers: bool) {
    let options = joined(&response.headers, &header::CONNECTION);
    let upgrade = is_upgrade
        .then(|| response.headers.get(header::UPGRADE).cloned())
        .flatten();
    for option in options.split(',').map(str::trim) {
        let is_framing = ["content-length", "transfer-encoding"]
            .iter()
            .any(|framing| option.eq_ignore_ascii_case(framing));
        if let (Ok(name), false) = (HeaderName::from_bytes(option.as_bytes()), is_framing) {
            response.remove_header(&name);
        }
    }
    for name in [
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "upgrade",
    ] {
        response.remove_header(name);
    }
    if !with_trailers {
        response.remove_header(&header::TRAILER);
    }
    if let Some(upgrade) = upgrade {
        // Both lines existed before, so the map has room.
        let _ = response.insert_header(header::CONNECTION, "Upgrade");
        let _ = response.insert_header(header::UPGRADE, upgrade);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(version: Version, status: u16, text: &str) -> ResponseHeader {
        let mut response = ResponseHeader::build(status, None).unwrap();
        response.set_version(version);
        for line in text.split("; ").filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').unwrap();
            let value = value.trim_start().to_owned();
            response.append_header(name.to_owned(), value).unwrap();
        }
        response
    }

    /// Checks the lines that are left of a response, as one text.
    #[track_caller]
    fn check(status: u16, text: &str, expected: &str) {
        let mut response = response(Version::HTTP_11, status, text);
        assert_eq!(
            renew(&mut response, false),
            Ok(Connection::Reusable),
            "{text}"
        );
        assert_eq!(response.version, Version::HTTP_11);
        assert_eq!(lines(&response), expected, "{text}");
    }

    fn lines(response: &ResponseHeader) -> String {
        let lines = response.headers.iter();
        let lines = lines.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
        let mut lines: Vec<_> = lines.collect();
        lines.sort();
        lines.join("; ")
    }

    #[track_caller]
    fn check_refused(version: Version, status: u16, text: &str, expected: &BadHead) {
        let mut response = response(version, status, text);
        assert_eq!(
            renew(&mut response, false).as_ref(),
            Err(expected),
            "{text}"
        );
    }

    #[test]
    fn one_framing_is_left() {
        for (text, expected) in [
            ("", ""),
            ("content-length: 2", "content-length: 2"),
            ("content-length: 2, 2", "content-length: 2"),
            ("content-length: 2; content-length: 2", "content-length: 2"),
            ("content-length: 002", "content-length: 2"),
            ("content-length: 2,\t2 ", "content-length: 2"),
            ("transfer-encoding: chunked", "transfer-encoding: chunked"),
            ("transfer-encoding: Chunked", "transfer-encoding: chunked"),
        ] {
            check(200, text, expected);
            check(404, text, expected);
        }
    }

    #[test]
    fn an_end_that_is_left_open_is_refused() {
        for text in [
            "chunked, chunked",
            "gzip, chunked",
            "chunked, gzip",
            "identity",
            "xchunked",
            "chunked;a=b",
            "chunked,",
            ",chunked",
            "",
        ] {
            let bad = BadHead::TransferEncoding(text.to_owned());
            let line = format!("transfer-encoding: {text}");
            check_refused(Version::HTTP_11, 200, &line, &bad);
        }
        check_refused(
            Version::HTTP_11,
            200,
            "transfer-encoding: chunked; transfer-encoding: chunked",
            &BadHead::TransferEncoding("chunked, chunked".to_owned()),
        );
        for text in ["2, 3", "+2", "-2", "0x2", "", "2,", "18446744073709551618"] {
            let bad = BadHead::ContentLength(text.to_owned());
            let line = format!("content-length: {text}");
            check_refused(Version::HTTP_11, 200, &line, &bad);
        }
        check_refused(
            Version::HTTP_10,
            200,
            "transfer-encoding: chunked",
            &BadHead::TransferEncodingInHttp10,
        );
    }

    #[test]
    fn names_that_others_take_for_framing_are_refused() {
        for name in [
            "content_length",
            "content--length",
            "content.length",
            "contentlength",
            "-content-length",
            "_content-length",
            "transfer_encoding",
            "transfer-encoding.",
        ] {
            let bad = BadHead::LookAlike(name.to_owned());
            for version in [Version::HTTP_11, Version::HTTP_10, Version::HTTP_2] {
                check_refused(version, 200, &format!("a: b; {name}: 2"), &bad);
            }
        }
        let others = "content-language: de; content-location: a; x-content-length: 2";
        check(200, others, others);
    }

    #[test]
    fn what_has_no_body_has_no_framing() {
        for status in [100, 103] {
            check(
                status,
                "transfer-encoding: chunked; content-length: 0; a: b",
                "a: b",
            );
        }
        check(204, "content-length: 0", "");
        // The length of the body that is not sent.
        check(
            304,
            "content-length: 5; transfer-encoding: gzip",
            "content-length: 5",
        );
        let mut response = response(Version::HTTP_11, 204, "transfer-encoding: chunked; a: b");
        assert_eq!(renew(&mut response, false), Ok(Connection::Doubtful));
        assert_eq!(lines(&response), "a: b");
    }

    #[test]
    fn only_http_1_1_changes_protocols() {
        for version in [Version::HTTP_10, Version::HTTP_2] {
            check_refused(version, 101, "upgrade: websocket", &BadHead::Upgrade);
        }
    }

    #[test]
    fn fields_for_the_connection_end_here() {
        check(
            200,
            "connection: close, X-A, content-length; x-a: 1; x-b: 2; keep-alive: timeout=5; \
             proxy-connection: keep-alive; te: gzip; upgrade: h2c; trailer: x; content-length: 2",
            "content-length: 2; x-b: 2",
        );
        check(
            101,
            "connection: x-a, upgrade; x-a: 1; upgrade: websocket; keep-alive: timeout=5",
            "connection: Upgrade; upgrade: websocket",
        );
        check(200, "connection: \"x\", , ; x: 1", "x: 1");
        let mut of_http_2 = response(Version::HTTP_2, 200, "trailer: x");
        renew(&mut of_http_2, true).unwrap();
        assert_eq!(lines(&of_http_2), "trailer: x");
        assert_eq!(of_http_2.version, Version::HTTP_11);
    }

    #[test]
    fn heads_are_bounded_in_number_size_and_lines() {
        let limits = Limits {
            max_size: 4096,
            max_lines: 8,
        };
        let hint = response(Version::HTTP_11, 103, "link: x");
        let last = response(Version::HTTP_11, 200, "a: b");
        let mut received = Received::default();
        for _ in 0..MAX_INTERIM {
            assert_eq!(received.count(&hint, limits), Ok(()));
        }
        assert_eq!(received.count(&last, limits), Ok(()));
        assert_eq!(received.count(&hint, limits), Err(BadHead::Interim));

        let half = response(
            Version::HTTP_11,
            103,
            &format!("link: {}", "x".repeat(2000)),
        );
        let mut received = Received::default();
        assert_eq!(received.count(&half, limits), Ok(()));
        assert_eq!(received.count(&half, limits), Ok(()));
        assert!(matches!(
            received.count(&half, limits),
            Err(BadHead::Size(_, 4096))
        ));

        let lines = response(Version::HTTP_2, 200, &["a: b"; 9].join("; "));
        let counted = Received::default().count(&lines, limits);
        assert_eq!(counted, Err(BadHead::Lines(9, 8)));
    }
}
