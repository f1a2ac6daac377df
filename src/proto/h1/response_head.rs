//! Strict parser of response heads.
//!
//! An intermediary frames a message itself (RFC 9110, 8.6; RFC 9112, 6): if a client read the same
//! lines differently than this gateway, it would take part of one response for the next. So a head
//! is parsed as strictly as a request's. A head whose message has no certain end is an error of the
//! upstream, and its connection is closed.

use std::fmt;

use http::StatusCode;
use httparse::Header;

use super::head::{HeaderSlots, has_bare_line_ends};
use super::rewrite::MAX_LINES;
use crate::proto::headers::is_look_alike;

/// Maximum number of interim responses (1xx) to one request.
const MAX_INTERIM: u32 = 16;

/// Maximum number of bytes of a name or a value in an error.
const SHOWN: usize = 100;

/// Limits of the heads that answer one request, interim ones included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Maximum size of all of them together, in bytes.
    pub max_size: usize,
    /// Maximum number of lines of each.
    pub max_lines: usize,
}

/// Counters of the heads that were received so far in response to one request.
#[derive(Debug, Default, Clone, Copy)]
pub struct Received {
    interim: u32,
    size: usize,
}

/// Result of parsing the start of a response.
#[derive(Debug)]
pub enum Parse<'h, 'b> {
    /// The head is not complete.
    Incomplete,
    /// A valid head.
    Complete(ResponseHead<'h, 'b>),
    /// A head that cannot be passed on.
    Invalid(BadHead),
}

/// Complete, valid head.
#[derive(Debug)]
pub struct ResponseHead<'h, 'b> {
    /// Status code.
    pub status: StatusCode,
    /// Reason phrase, as sent.
    pub reason: &'b str,
    /// Length of the head with its empty line, in bytes.
    pub length: usize,
    /// End of the body, as if the request was not `HEAD`.
    pub framing: Framing,
    /// Value of `Content-Length`; `None` if there is none, or none may be passed on.
    pub content_length: Option<u64>,
    /// `true` if the connection can carry another request after the body.
    pub keep: bool,
    /// `true` if the head and the status contradict each other about a body, so that bytes may follow
    /// that belong to no response.
    pub is_doubtful: bool,
    /// Header lines, as sent.
    pub lines: &'h [Header<'b>],
}

/// End of a response's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// No body.
    None,
    /// After this many bytes.
    Length(u64),
    /// After the last chunk.
    Chunked,
    /// At the end of the connection.
    Close,
}

/// Reason why a response's head is not passed on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadHead {
    /// Too many interim responses.
    #[error("more than {MAX_INTERIM} interim responses (1xx) to one request")]
    Interim,
    /// Heads that exceed the upstream's size limit.
    #[error("response heads of more than the upstream's max_header_size, {0} bytes")]
    Size(usize),
    /// A head that exceeds the upstream's limit of lines.
    #[error("a response head of more than the upstream's max_headers, {0} lines")]
    Lines(usize),
    /// Bytes that are not an HTTP/1 head.
    #[error("no HTTP/1 response head: {0}")]
    Syntax(String),
    /// A line that does not end in CR LF.
    #[error("a line of the response head that does not end in CR LF")]
    LineEnd,
    /// A transfer coding that cannot be decoded, or one that was applied twice.
    #[error("Transfer-Encoding {0:?}: only \"chunked\", once, is understood")]
    TransferEncoding(String),
    /// A transfer coding in a version that has none (RFC 9112, 6.1).
    #[error("Transfer-Encoding in an HTTP/1.0 response")]
    TransferEncodingInHttp10,
    /// Both framings (RFC 9112, 6.3).
    #[error("Content-Length beside Transfer-Encoding")]
    TwoFramings,
    /// Lengths that differ, or are invalid.
    #[error("Content-Length {0:?} is not one number")]
    ContentLength(String),
    /// A name with the letters of a framing header and other characters between them.
    #[error("{0:?} could be taken for another header")]
    LookAlike(String),
    /// A framing header with white space before its colon.
    #[error("white space between {0:?} and its colon")]
    SpacedName(String),
    /// A change of protocols in a version that has none.
    #[error("101 Switching Protocols in a response that is not HTTP/1.1")]
    Upgrade,
}

impl Received {
    /// Counts a head of `size` bytes.
    ///
    /// # Errors
    /// If there are too many heads, or they are too long together.
    pub fn count(&mut self, head: &ResponseHead, limits: Limits) -> Result<(), BadHead> {
        self.size += head.length;
        self.interim += u32::from(head.status.is_informational());
        if self.size > limits.max_size {
            Err(BadHead::Size(limits.max_size))
        } else if self.interim > MAX_INTERIM {
            Err(BadHead::Interim)
        } else {
            Ok(())
        }
    }
}

/// Parses the head at the start of `bytes`.
pub fn read<'h, 'b>(
    bytes: &'b [u8],
    limits: Limits,
    slots: &'h mut HeaderSlots<'b>,
) -> Parse<'h, 'b> {
    let max_lines = limits.max_lines.min(MAX_LINES);
    let mut response = httparse::Response::new(&mut []);
    // A proxy must remove white space between a name and its colon (RFC 9112, 5.1).
    let mut config = httparse::ParserConfig::default();
    config.allow_spaces_after_header_name_in_responses(true);
    let parsed =
        config.parse_response_with_uninit_headers(&mut response, bytes, &mut slots[..max_lines]);
    let length = match parsed {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if has_bare_line_ends(bytes) => {
            return Parse::Invalid(BadHead::LineEnd);
        }
        Ok(httparse::Status::Partial) if bytes.len() < limits.max_size => {
            return Parse::Incomplete;
        }
        Ok(httparse::Status::Partial) => return Parse::Invalid(BadHead::Size(limits.max_size)),
        Err(httparse::Error::TooManyHeaders) => return Parse::Invalid(BadHead::Lines(max_lines)),
        Err(error) => return Parse::Invalid(BadHead::Syntax(error.to_string())),
    };
    if has_bare_line_ends(&bytes[..length]) || bytes.starts_with(b"\r") {
        return Parse::Invalid(BadHead::LineEnd);
    }
    let status = response
        .code
        .and_then(|code| StatusCode::from_u16(code).ok());
    let Some(status) = status else {
        return Parse::Invalid(BadHead::Syntax("no status code".to_owned()));
    };
    let head = ResponseHead {
        status,
        reason: response.reason.unwrap_or_default(),
        length,
        framing: Framing::Close,
        content_length: None,
        keep: false,
        is_doubtful: false,
        lines: response.headers,
    };
    match head.checked(response.version == Some(1), Some(&bytes[..length])) {
        Ok(head) => Parse::Complete(head),
        Err(bad) => Parse::Invalid(bad),
    }
}

/// Checks the head of an HTTP/2 response, whose lines were decoded from frames of `length` bytes.
/// `is_ended` if there is no body. Of any other body, trailers may be the end, as of a chunked one.
///
/// # Errors
/// If the head cannot be passed on.
pub fn of_http2<'h, 'b>(
    status: StatusCode,
    lines: &'h [Header<'b>],
    length: usize,
    is_ended: bool,
    limits: Limits,
) -> Result<ResponseHead<'h, 'b>, BadHead> {
    let max_lines = limits.max_lines.min(MAX_LINES);
    if lines.len() > max_lines {
        return Err(BadHead::Lines(max_lines));
    }
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(BadHead::Upgrade);
    }
    let head = ResponseHead {
        status,
        reason: status.canonical_reason().unwrap_or_default(),
        length,
        framing: Framing::Close,
        content_length: None,
        keep: true,
        is_doubtful: false,
        lines,
    };
    let mut head = head.checked(true, None)?;
    if head.framing == Framing::Close {
        head.framing = Framing::Chunked;
    }
    if is_ended && head.framing != Framing::None {
        head.framing = Framing::Length(0);
    }
    Ok(head)
}

/// Values of the lines that decide about the end of the message and the connection.
#[derive(Default)]
struct Found {
    length: Option<u64>,
    codings: u32,
    close: bool,
    keep_alive: bool,
}

impl ResponseHead<'_, '_> {
    /// Checks all rules, and derives framing and persistence.
    /// `bytes` are those of the head; `None` if it came over HTTP/2.
    fn checked(mut self, is_1_1: bool, bytes: Option<&[u8]>) -> Result<Self, BadHead> {
        if self.status == StatusCode::SWITCHING_PROTOCOLS && !is_1_1 {
            return Err(BadHead::Upgrade);
        }
        let found = self.find(bytes)?;
        if found.codings > 0 && found.length.is_some() {
            return Err(BadHead::TwoFramings);
        }
        let status = self.status.as_u16();
        let has_body = !self.status.is_informational() && !matches!(status, 204 | 304);
        if found.codings > 0 && has_body && !is_1_1 {
            return Err(BadHead::TransferEncodingInHttp10);
        }
        // A 304 may name the coding that its body would have had. A 204 must not, and an upstream
        // that does so may also send the last chunk.
        self.is_doubtful = found.codings > 0 && status == 204;
        self.framing = match found.length {
            _ if !has_body => Framing::None,
            Some(length) => Framing::Length(length),
            None if found.codings > 0 => Framing::Chunked,
            None => Framing::Close,
        };
        let may_have_length = !self.status.is_informational() && status != 204;
        self.content_length = found.length.filter(|_| may_have_length);
        let persists = if is_1_1 {
            !found.close
        } else {
            found.keep_alive && !found.close
        };
        self.keep = persists && self.framing != Framing::Close && !self.is_doubtful;
        Ok(self)
    }

    fn find(&self, bytes: Option<&[u8]>) -> Result<Found, BadHead> {
        let mut found = Found::default();
        let no_body = self.status.is_informational() || matches!(self.status.as_u16(), 204 | 304);
        for line in self.lines {
            let is = |name: &str| line.name.eq_ignore_ascii_case(name);
            match line.name.len() {
                14 | 17
                    if bytes.is_some_and(|bytes| is_apart(line.name, bytes))
                        && (is("content-length") || is("transfer-encoding")) =>
                {
                    return Err(BadHead::SpacedName(shown(line.name.as_bytes())));
                }
                14 if is("content-length") => {
                    let length = one_length(line.value)?;
                    if found.length.is_some_and(|other| other != length) {
                        return Err(BadHead::ContentLength(shown(line.value)));
                    }
                    found.length = Some(length);
                }
                17 if is("transfer-encoding") => {
                    found.codings += 1;
                    let is_chunked = line.value.eq_ignore_ascii_case(b"chunked");
                    if !no_body && (found.codings > 1 || !is_chunked) {
                        return Err(BadHead::TransferEncoding(shown(line.value)));
                    }
                }
                10 if is("connection") => {
                    let options = line.value.split(|&byte| byte == b',');
                    for option in options.map(<[u8]>::trim_ascii) {
                        found.close |= option.eq_ignore_ascii_case(b"close");
                        found.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                    }
                }
                _ if is_look_alike(line.name) => {
                    return Err(BadHead::LookAlike(shown(line.name.as_bytes())));
                }
                _ => {}
            }
        }
        Ok(found)
    }
}

/// Returns `true` if a name, which is part of `bytes`, has white space before its colon.
fn is_apart(name: &str, bytes: &[u8]) -> bool {
    let end = name.as_ptr().addr() - bytes.as_ptr().addr() + name.len();
    bytes.get(end) != Some(&b':')
}

/// Returns the number in a line, which may repeat it (RFC 9110, 8.6).
fn one_length(value: &[u8]) -> Result<u64, BadHead> {
    let bad = || BadHead::ContentLength(shown(value));
    let mut lengths = value
        .split(|&byte| byte == b',')
        .map(|part| number(part.trim_ascii()));
    let first = lengths.next().flatten().ok_or_else(bad)?;
    if lengths.all(|other| other == Some(first)) {
        Ok(first)
    } else {
        Err(bad())
    }
}

/// Parses a number of digits, and nothing else.
fn number(text: &[u8]) -> Option<u64> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(text).ok().filter(|_| is_number)?;
    text.parse().ok()
}

/// Shortens bytes of an upstream for an error message.
fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]).into_owned()
}

impl fmt::Display for Framing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Framing::None => f.write_str("none"),
            Framing::Length(length) => write!(f, "length {length}"),
            Framing::Chunked => f.write_str("chunked"),
            Framing::Close => f.write_str("close"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::h1::head::slots;

    const LIMITS: Limits = Limits {
        max_size: 1024,
        max_lines: 8,
    };

    /// Framing and persistence of a head in a few words, or the error.
    fn word(text: &str) -> String {
        let mut slots = slots();
        match read(text.as_bytes(), LIMITS, &mut slots) {
            Parse::Incomplete => "incomplete".to_owned(),
            Parse::Invalid(bad) => bad.to_string(),
            Parse::Complete(head) => {
                assert_eq!(head.length, text.len());
                let keep = if head.keep { "keep" } else { "close" };
                format!("{} {keep}", head.framing)
            }
        }
    }

    #[track_caller]
    fn check(status: &str, lines: &str, expected: &str) {
        let text = format!("HTTP/1.1 {status}\r\n{lines}\r\n");
        assert_eq!(word(&text), expected, "{text:?}");
    }

    #[track_caller]
    fn check_invalid(text: &str, expected: &str) {
        let found = word(text);
        assert!(found.contains(expected), "{text:?}: {found}");
    }

    #[test]
    fn a_body_has_one_end() {
        check("200 OK", "", "close close");
        check("200 OK", "Content-Length: 5\r\n", "length 5 keep");
        check("200 OK", "content-length: 005\r\n", "length 5 keep");
        check("200 OK", "Content-Length: 2, 2\r\n", "length 2 keep");
        check(
            "200 OK",
            "Content-Length: 2\r\nContent-Length: 2\r\n",
            "length 2 keep",
        );
        check("200 OK", "Transfer-Encoding: Chunked\r\n", "chunked keep");
        check(
            "200 OK",
            "Content-Length: 5\r\nConnection: x, Close\r\n",
            "length 5 close",
        );
        check("200", "Content-Length: 0\r\n", "length 0 keep");
    }

    #[test]
    fn a_status_without_a_body_has_none() {
        check("204 No Content", "Content-Length: 5\r\n", "none keep");
        check(
            "204 No Content",
            "Transfer-Encoding: chunked\r\n",
            "none close",
        );
        check("304 Not Modified", "Content-Length: 5\r\n", "none keep");
        check(
            "304 Not Modified",
            "Transfer-Encoding: gzip\r\n",
            "none keep",
        );
        check("100 Continue", "", "none keep");
        check("103 Early Hints", "Link: </a>\r\n", "none keep");
    }

    #[test]
    fn http_1_0_closes_unless_it_says_otherwise() {
        let head = |lines: &str| word(&format!("HTTP/1.0 200 OK\r\n{lines}\r\n"));
        assert_eq!(head("Content-Length: 5\r\n"), "length 5 close");
        assert_eq!(
            head("Content-Length: 5\r\nConnection: keep-alive\r\n"),
            "length 5 keep"
        );
        assert!(head("Transfer-Encoding: chunked\r\n").contains("HTTP/1.0"));
        check_invalid("HTTP/1.0 101 Switching Protocols\r\n\r\n", "101");
    }

    #[test]
    fn an_open_end_is_an_error() {
        for lines in [
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            "Content-Length: 5, 6\r\n",
            "Content-Length: +5\r\n",
            "Content-Length: -5\r\n",
            "Content-Length: 0x5\r\n",
            "Content-Length:\r\n",
            "Content-Length: 99999999999999999999\r\n",
        ] {
            check_invalid(
                &format!("HTTP/1.1 200 OK\r\n{lines}\r\n"),
                "is not one number",
            );
        }
        for lines in [
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked, chunked\r\n",
            "Transfer-Encoding:\r\n",
        ] {
            check_invalid(
                &format!("HTTP/1.1 200 OK\r\n{lines}\r\n"),
                "only \"chunked\"",
            );
        }
        let both = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n";
        check_invalid(both, "beside Transfer-Encoding");
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_an_error() {
        for name in ["Content-Length ", "Transfer-Encoding\t"] {
            let text = format!("HTTP/1.1 200 OK\r\n{name}: 5\r\n\r\n");
            check_invalid(&text, "white space");
        }
        check("200 OK", "A : b\r\nContent-Length: 5\r\n", "length 5 keep");
        for name in [
            "Content_Length",
            "Transfer---Encoding",
            "Connec-tion",
            "T.E",
        ] {
            check_invalid(
                &format!("HTTP/1.1 200 OK\r\n{name}: 5\r\n\r\n"),
                "taken for",
            );
        }
        for text in [
            "HTTP/1.1 200 OK\nA: b\n\n",
            "HTTP/1.1 200 OK\r\nA: b\n\r\n",
            "\r\nHTTP/1.1 200 OK\r\n\r\n",
        ] {
            check_invalid(text, "CR LF");
        }
        for text in [
            "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
            "HTTP/1.1 200 OK\r\n: b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 099 OK\r\n\r\n",
            "HTTP/2.0 200 OK\r\n\r\n",
            "ICY 200 OK\r\n\r\n",
        ] {
            check_invalid(text, "");
            assert_ne!(word(text), "incomplete", "{text:?}");
            assert!(!word(text).ends_with("keep"), "{text:?}");
        }
    }

    #[test]
    fn heads_have_limits() {
        assert_eq!(word("HTTP/1.1 200 OK\r\nA: b\r\n"), "incomplete");
        let long = format!("HTTP/1.1 200 OK\r\nA: {}", "b".repeat(1024));
        check_invalid(&long, "max_header_size");
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(9));
        check_invalid(&many, "max_headers");
        let (mut received, mut slots) = (Received::default(), slots());
        let Parse::Complete(head) = read(b"HTTP/1.1 103 X\r\n\r\n", LIMITS, &mut slots) else {
            panic!("no head");
        };
        let counted = (0..MAX_INTERIM).all(|_| received.count(&head, LIMITS).is_ok());
        assert!(counted && received.count(&head, LIMITS) == Err(BadHead::Interim));
    }
}
