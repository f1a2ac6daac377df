//! Head of a request that outlives the buffer that it was read into.
//!
//! A request is read again after it was sent: for a retry, and for the log. So its head is copied
//! once, with the positions of its parts, and never parsed again. Another head can be stored in the
//! same memory.

use std::ops::Range;

use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Version, header, request};
use httparse::Header;
use smallvec::SmallVec;

use super::body::Body;
use super::head::{Demand, Framing, Head};
use super::rewrite::{LineSet, MAX_LINES};
use crate::proto::headers::{Headers, position};
use crate::proto::target::{Absolute, Target, target};

/// Number of lines that need no allocation.
const INLINE_LINES: usize = 32;

/// Header lines of a stored head.
pub type Lines<'b> = SmallVec<[Header<'b>; INLINE_LINES]>;

/// Head that owns its bytes.
#[derive(Clone, Debug)]
pub struct StoredHead {
    bytes: Vec<u8>,
    /// Names of all lines, one behind the other.
    names: String,
    method: Method,
    target: Range<usize>,
    lines: Vec<Span>,
    /// Lines that readers do not see.
    hidden: LineSet,
    version: Version,
    framing: Framing,
    /// Length of the head as it was sent, in bytes.
    length: usize,
    keeps_connection: bool,
    is_upgrade: bool,
    /// Authority of the target, in HTTP/2.
    authority: Option<Range<usize>>,
}

/// Positions of a line's parts.
#[derive(Clone, Copy, Debug)]
struct Span {
    name: u32,
    name_length: u32,
    value: u32,
    value_length: u32,
}

impl Default for StoredHead {
    fn default() -> Self {
        StoredHead {
            bytes: Vec::new(),
            names: String::new(),
            method: Method::GET,
            target: 0..0,
            lines: Vec::new(),
            hidden: LineSet::default(),
            version: Version::HTTP_11,
            framing: Framing::None,
            length: 0,
            keeps_connection: false,
            is_upgrade: false,
            authority: None,
        }
    }
}

impl StoredHead {
    /// Copies a head, which was parsed from the start of `bytes`. Of an absolute target only path
    /// and query are kept; its authority becomes `Host` (RFC 9112, 3.2.2). Returns `false` if the
    /// method is invalid, or there is no room for that line.
    pub fn store(&mut self, head: &Head, bytes: &[u8]) -> bool {
        let Ok(method) = Method::from_bytes(head.method.as_bytes()) else {
            return false;
        };
        let at = |part: &[u8]| part.as_ptr().addr() - bytes.as_ptr().addr();
        self.bytes.clear();
        self.bytes.extend_from_slice(&bytes[..head.length]);
        self.method = method;
        self.lines.clear();
        self.names.clear();
        for (name, value) in head.fields() {
            // An empty value may point outside of the buffer.
            let start = if value.is_empty() { 0 } else { at(value) };
            self.store_line(name, start..start + value.len());
        }
        self.hidden = LineSet::default();
        self.version = if head.is_1_1 {
            Version::HTTP_11
        } else {
            Version::HTTP_10
        };
        self.framing = head.framing;
        self.length = head.length;
        self.is_upgrade = head.demand == Demand::Upgrade;
        self.authority = None;
        let option = self.first("connection").unwrap_or_default();
        let asks = option.eq_ignore_ascii_case(b"keep-alive");
        self.keeps_connection = !head.close && (head.is_1_1 || asks);
        let start = at(head.target.as_bytes());
        self.target = start..start + head.target.len();
        let target = target(head.method, head.target.as_bytes());
        match target {
            Some(Target::Absolute(absolute)) => self.store_absolute(head.method, &absolute),
            _ => true,
        }
    }

    /// Copies the head of an HTTP/2 request; `is_ended` if there is no body. The authority becomes
    /// `Host`, and cookie lines, which HTTP/2 may split, become one line (RFC 9113, 8.2.3). Lines
    /// beyond [`MAX_LINES`] are left out, and the caller is to have rejected such a head.
    pub fn store_http2(&mut self, head: &request::Parts, is_ended: bool) {
        *self = StoredHead {
            bytes: std::mem::take(&mut self.bytes),
            names: std::mem::take(&mut self.names),
            lines: std::mem::take(&mut self.lines),
            method: head.method.clone(),
            version: Version::HTTP_2,
            ..StoredHead::default()
        };
        self.bytes.clear();
        self.names.clear();
        self.lines.clear();
        let path = head.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        self.target = self.store_bytes(path.as_bytes());
        if let Some(authority) = head.uri.authority() {
            let stored = self.store_bytes(authority.as_str().as_bytes());
            if !head.headers.contains_key(header::HOST) {
                self.store_line("host", stored.clone());
            }
            self.authority = Some(stored);
        }
        for (name, value) in &head.headers {
            if name != header::COOKIE && self.lines.len() < MAX_LINES {
                let value = self.store_bytes(value.as_bytes());
                self.store_line(name.as_str(), value);
            }
        }
        let cookies = head.headers.get_all(header::COOKIE).iter();
        let cookies: Vec<_> = cookies.map(HeaderValue::as_bytes).collect();
        if !cookies.is_empty() && self.lines.len() < MAX_LINES {
            let joined = self.store_bytes(&cookies.join(&b"; "[..]));
            self.store_line("cookie", joined);
        }
        self.framing = match self.first("content-length") {
            // The h2 crate has checked the length, and that the body has it.
            Some(length) => Framing::Length(
                std::str::from_utf8(length)
                    .ok()
                    .and_then(|length| length.parse().ok())
                    .unwrap_or_default(),
            ),
            None if is_ended => Framing::None,
            None => Framing::Chunked,
        };
        self.length = self.bytes.len();
    }

    fn store_bytes(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }

    /// Stores the parts of an absolute target. Returns `false` if there are [`MAX_LINES`] lines and
    /// none of them is `Host`.
    fn store_absolute(&mut self, method: &str, target: &Absolute) -> bool {
        let start: &[u8] = match target.path {
            b"" if method == "OPTIONS" => b"*",
            [b'/', ..] => b"",
            _ => b"/",
        };
        let at = self.bytes.len();
        self.bytes.extend_from_slice(start);
        self.bytes.extend_from_slice(target.path);
        self.target = at..self.bytes.len();
        let start = self.bytes.len();
        self.bytes.extend_from_slice(target.authority);
        let value = start..self.bytes.len();
        let host = (0..self.lines.len()).find(|&line| self.is(&self.lines[line], "host"));
        match host {
            Some(line) => {
                self.lines[line].value = position(value.start);
                self.lines[line].value_length = position(value.len());
            }
            None if self.lines.len() < MAX_LINES => self.store_line("Host", value),
            None => return false,
        }
        true
    }

    fn store_line(&mut self, name: &str, value: Range<usize>) {
        let start = self.names.len();
        self.names.push_str(name);
        self.lines.push(Span {
            name: position(start),
            name_length: position(name.len()),
            value: position(value.start),
            value_length: position(value.len()),
        });
    }

    /// Length of the head as it was sent, in bytes.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// Returns `true` if the client allows the server to keep the connection.
    #[must_use]
    pub fn keeps_connection(&self) -> bool {
        self.keeps_connection
    }

    /// Returns the body that the head announces.
    #[must_use]
    pub fn body(&self) -> Body {
        Body::framed(self.framing)
    }

    /// Hides all lines whose names satisfy `matches`, as if the client had not sent them.
    pub fn hide_if(&mut self, matches: impl Fn(&str) -> bool) {
        for (number, line) in self.lines.iter().enumerate() {
            if matches(self.name(line)) {
                self.hidden.insert(number);
            }
        }
    }

    /// Returns the head of a request for something else in place of this one: with the method `GET`,
    /// unless it is `HEAD`, and without a body.
    #[must_use]
    pub fn without_body(&self) -> Self {
        let mut head = self.clone();
        if head.method != Method::HEAD {
            head.method = Method::GET;
        }
        head.framing = Framing::None;
        head.is_upgrade = false;
        head.hide_if(|name| {
            let of_body = ["content-length", "expect", "transfer-encoding", "upgrade"];
            of_body
                .iter()
                .any(|of_body| name.eq_ignore_ascii_case(of_body))
        });
        head
    }

    /// Returns the head of the same request for its whole answer, whatever the client has of it.
    #[must_use]
    pub fn without_conditions(&self) -> Self {
        let mut head = self.clone();
        head.hide_if(|name| {
            let conditions = [
                "if-match",
                "if-modified-since",
                "if-none-match",
                "if-range",
                "if-unmodified-since",
                "range",
            ];
            conditions
                .iter()
                .any(|known| name.eq_ignore_ascii_case(known))
        });
        head
    }

    /// Method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Target: as sent, or the path and query of an absolute target.
    #[must_use]
    pub fn target(&self) -> &[u8] {
        &self.bytes[self.target.clone()]
    }

    /// Authority of the target, in HTTP/2.
    #[must_use]
    pub fn authority(&self) -> Option<&str> {
        let authority = &self.bytes[self.authority.clone()?];
        std::str::from_utf8(authority).ok()
    }

    /// Returns `true` if the client asks for a WebSocket.
    #[must_use]
    pub fn is_upgrade(&self) -> bool {
        self.is_upgrade
    }

    /// Version of HTTP.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Framing of the body.
    #[must_use]
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Adds all lines that are not hidden to `lines`.
    pub fn read_lines<'s>(&'s self, lines: &mut Lines<'s>) {
        lines.extend(self.visible().map(|line| Header {
            name: self.name(line),
            value: self.value(line),
        }));
    }

    fn visible(&self) -> impl DoubleEndedIterator<Item = &Span> {
        let lines = self.lines.iter().enumerate();
        lines
            .filter(|(number, _)| !self.hidden.contains(*number))
            .map(|(_, line)| line)
    }

    fn name(&self, line: &Span) -> &str {
        let start = line.name as usize;
        &self.names[start..start + line.name_length as usize]
    }

    fn value(&self, line: &Span) -> &[u8] {
        let start = line.value as usize;
        &self.bytes[start..start + line.value_length as usize]
    }

    fn is(&self, line: &Span, name: &str) -> bool {
        line.name_length as usize == name.len() && self.name(line).eq_ignore_ascii_case(name)
    }
}

impl Headers for StoredHead {
    fn lines<'s>(&'s self, name: &'s str) -> impl DoubleEndedIterator<Item = &'s [u8]> {
        let same = self.visible().filter(move |line| self.is(line, name));
        same.map(|line| self.value(line))
    }

    fn first(&self, name: &str) -> Option<&[u8]> {
        let line = self.visible().find(|line| self.is(line, name))?;
        Some(self.value(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::h1::head::{Limits, Parse, read, slots};

    fn all_lines(head: &StoredHead) -> Lines<'_> {
        let mut lines = Lines::new();
        head.read_lines(&mut lines);
        lines
    }

    fn stored(bytes: &[u8]) -> StoredHead {
        let mut slots = slots();
        let Parse::Complete(head) = read(bytes, Limits::any(bytes.len()), &mut slots) else {
            panic!("no head");
        };
        let mut stored = StoredHead::default();
        assert!(stored.store(&head, bytes));
        stored
    }

    #[test]
    fn a_stored_head_says_what_the_read_one_said() {
        let head = stored(b"PUT /a?b HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nx-a:\r\nx-A: 3\r\nContent-Length: 2\r\n\r\nhi");
        assert_eq!(head.method(), Method::PUT);
        assert_eq!(head.target(), b"/a?b");
        assert_eq!(head.version(), Version::HTTP_11);
        assert_eq!(head.framing(), Framing::Length(2));
        assert_eq!(head.first("host"), Some(&b"a"[..]));
        let lines: Vec<_> = head.lines("x-a").collect();
        assert_eq!(lines, [&b"1"[..], b"", b"3"]);
        assert_eq!(head.first("x-b"), None);
        let all: Vec<_> = all_lines(&head).iter().map(|line| line.name).collect();
        assert_eq!(all, ["Host", "X-A", "x-a", "x-A", "Content-Length"]);
    }

    #[test]
    fn hidden_lines_are_not_seen_by_anything() {
        let mut head = stored(b"GET / HTTP/1.0\r\nX-A: 1\r\nProxy: p\r\nX-B: 2\r\n\r\n");
        head.hide_if(|name| name.eq_ignore_ascii_case("proxy"));
        assert_eq!(head.first("proxy"), None);
        assert_eq!(head.lines("proxy").count(), 0);
        assert_eq!(all_lines(&head).len(), 2);
        assert_eq!(head.version(), Version::HTTP_10);
    }

    #[test]
    fn another_answer_needs_neither_body_nor_conditions() {
        let head = stored(
            b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\nRange: bytes=0-\r\n\r\n",
        );
        let other = head.without_body();
        assert_eq!(
            (other.method(), other.framing()),
            (&Method::GET, Framing::None)
        );
        let names = |head: &StoredHead| {
            let lines = all_lines(head);
            lines
                .iter()
                .map(|line| line.name.to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&other), ["Host", "Range"]);
        let whole = head.without_conditions();
        assert_eq!(
            (whole.method(), whole.framing()),
            (&Method::POST, Framing::Length(2))
        );
        assert_eq!(names(&whole), ["Host", "Expect", "Content-Length"]);
        let head = stored(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(head.without_body().method(), Method::HEAD);
    }

    #[test]
    fn an_absolute_target_becomes_one_in_origin_form() {
        for (line, lines, target, host) in [
            ("GET http://a:80/b?c", "Host: A\r\n", "/b?c", "a:80"),
            ("GET http://a", "Host: a\r\n", "/", "a"),
            ("GET http://a?b", "Host: a\r\n", "/?b", "a"),
            ("OPTIONS http://a", "Host: a\r\n", "*", "a"),
        ] {
            let head = stored(format!("{line} HTTP/1.1\r\n{lines}\r\n").as_bytes());
            assert_eq!(head.target(), target.as_bytes(), "{line}");
            assert_eq!(head.first("host"), Some(host.as_bytes()), "{line}");
            assert_eq!(head.lines("host").count(), 1, "{line}");
        }
        let head = stored(b"GET http://a:8080/ HTTP/1.0\r\n\r\n");
        assert_eq!(head.first("host"), Some(&b"a:8080"[..]));
        assert_eq!(all_lines(&head).len(), 1);
    }

    #[test]
    fn a_connection_is_kept_as_its_version_has_it() {
        for (head, expected) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", true),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
                false,
            ),
            ("GET / HTTP/1.0\r\n\r\n", false),
            ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true),
        ] {
            assert_eq!(
                stored(head.as_bytes()).keeps_connection(),
                expected,
                "{head}"
            );
        }
    }

    fn stored_http2(uri: &str, lines: &[(&str, &str)], is_ended: bool) -> StoredHead {
        let mut request = http::Request::post(uri);
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        let mut stored = stored(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\nX-A: 1\r\n\r\n");
        stored.hide_if(|_| true);
        stored.store_http2(&request.body(()).unwrap().into_parts().0, is_ended);
        stored
    }

    #[test]
    fn a_head_of_http2_reads_like_one_of_http1() {
        let lines = [("cookie", "a=1"), ("x-a", "2"), ("cookie", "b=2")];
        let head = stored_http2("http://a:80/b?c", &lines, false);
        assert_eq!(
            (head.target(), head.authority()),
            (&b"/b?c"[..], Some("a:80"))
        );
        assert_eq!(head.first("host"), Some(&b"a:80"[..]));
        let cookies: Vec<_> = head.lines("cookie").collect();
        assert_eq!(cookies, [b"a=1; b=2"]);
        assert_eq!(head.first("x-a"), Some(&b"2"[..]));
        assert_eq!(head.framing(), Framing::Chunked);
        assert_eq!(
            (head.version(), head.is_upgrade()),
            (Version::HTTP_2, false)
        );
        let head = stored_http2("http://a/", &[("host", "a")], true);
        assert_eq!(head.lines("host").count(), 1);
        assert_eq!(head.framing(), Framing::None);
        let head = stored_http2("http://a/", &[("content-length", "05")], false);
        assert_eq!(head.framing(), Framing::Length(5));
    }

    #[test]
    fn a_head_is_stored_over_another_one() {
        let mut head = stored(b"GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\n\r\n");
        head.hide_if(|_| true);
        let bytes = b"HEAD /b HTTP/1.1\r\nHost: b\r\n\r\n";
        let mut slots = slots();
        let Parse::Complete(read) = read(bytes, Limits::any(bytes.len()), &mut slots) else {
            panic!("no head");
        };
        assert!(head.store(&read, bytes));
        assert_eq!(head.first("host"), Some(&b"b"[..]));
        assert_eq!(head.first("x-a"), None);
        assert_eq!(head.target(), b"/b");
    }
}
