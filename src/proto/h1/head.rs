//! Strict parser of request heads.
//!
//! httparse does the parsing, as it does in pingora, so the two cannot differ on where a name or a
//! value ends. Heads that httparse accepts and another server could read differently are rejected
//! here: lines that end in a bare LF, two framings, two hosts, targets in unusual forms. A
//! rejection ends the connection, because the start of the next request is then unknown.

use std::mem::MaybeUninit;

use httparse::Header;

use super::rewrite::MAX_LINES;
use crate::proto::authority::{is_authority, is_same_authority};
use crate::proto::headers::Headers;
use crate::proto::headers::{is_expectation, is_look_alike};
use crate::proto::target::{Absolute, Target, target};
use crate::proto::websocket::asks_for_websocket;

/// Maximum length of a target or a name that pingora can parse, in bytes.
const LONGEST: usize = 65_534;

/// Slots for the header lines of a head; they need no initial value.
pub type HeaderSlots<'b> = [MaybeUninit<Header<'b>>; MAX_LINES];

/// Returns empty slots.
#[must_use]
pub const fn slots<'b>() -> HeaderSlots<'b> {
    [const { MaybeUninit::uninit() }; MAX_LINES]
}

/// Limits of a head.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Maximum size in bytes.
    pub size: usize,
    /// Maximum number of header lines.
    pub lines: usize,
}

impl Limits {
    /// Returns limits of `size` bytes and `lines` lines, of which there can be no more than
    /// [`MAX_LINES`].
    #[must_use]
    pub fn new(size: usize, lines: usize) -> Self {
        Limits {
            size,
            lines: lines.min(MAX_LINES),
        }
    }

    /// Returns limits of `size` bytes and as many lines as there can be.
    #[must_use]
    pub fn any(size: usize) -> Self {
        Limits::new(size, MAX_LINES)
    }
}

/// Result of parsing the start of a request.
#[derive(Debug)]
pub enum Parse<'h, 'b> {
    /// The head is not complete.
    Incomplete,
    /// A valid head.
    Complete(Head<'h, 'b>),
    /// An invalid head, with the status of its rejection.
    Invalid(u16),
}

/// Complete, valid head.
#[derive(Debug)]
pub struct Head<'h, 'b> {
    /// Method, as sent.
    pub method: &'b str,
    /// Target, as sent.
    pub target: &'b str,
    /// `true` for HTTP/1.1, `false` for HTTP/1.0.
    pub is_1_1: bool,
    /// Length with the empty line, in bytes.
    pub length: usize,
    /// Framing of the body.
    pub framing: Framing,
    /// `true` if `Connection` has the option `close`.
    pub close: bool,
    /// Demand on the connection beyond the request itself.
    pub demand: Demand,
    lines: &'h [Header<'b>],
}

/// Demand of a head on its connection, beyond the request itself. A greater one includes the
/// smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Demand {
    /// None, or only to keep or close the connection.
    Nothing,
    /// A demand that a plain IP query does not have: a `100 Continue`, another option of
    /// `Connection`, or an upgrade to another protocol than WebSocket, which is ignored.
    Special,
    /// An upgrade to WebSocket.
    Upgrade,
}

/// Framing of a body, which decides its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// No body.
    None,
    /// After this many bytes.
    Length(u64),
    /// After the last chunk.
    Chunked,
}

/// Parses the head at the start of `bytes`.
pub fn read<'h, 'b>(
    bytes: &'b [u8],
    limits: Limits,
    slots: &'h mut HeaderSlots<'b>,
) -> Parse<'h, 'b> {
    let mut request = httparse::Request::new(&mut []);
    let length = match request.parse_with_uninit_headers(bytes, &mut slots[..limits.lines]) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if bytes.len() < limits.size => return partial(bytes),
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Parse::Invalid(431);
        }
        Err(httparse::Error::Version) => return other_version(bytes, limits),
        Err(_) => return Parse::Invalid(400),
    };
    if length > limits.size {
        return Parse::Invalid(431);
    }
    let (Some(method), Some(target), Some(version)) =
        (request.method, request.path, request.version)
    else {
        return Parse::Invalid(400);
    };
    let head = Head {
        method,
        target,
        is_1_1: version == 1,
        length,
        framing: Framing::None,
        close: false,
        demand: Demand::Nothing,
        lines: request.headers,
    };
    match head.checked(&bytes[..length]) {
        Ok(head) => Parse::Complete(head),
        Err(status) => Parse::Invalid(status),
    }
}

/// Checks an incomplete head. If it is invalid already, waiting for the rest is useless.
fn partial<'h, 'b>(bytes: &[u8]) -> Parse<'h, 'b> {
    if has_bare_line_ends(bytes) {
        Parse::Invalid(400)
    } else {
        Parse::Incomplete
    }
}

/// Rejects a request line whose version is neither 1.0 nor 1.1: with 505 if it has the form of a
/// version, otherwise with 400 (RFC 9112, 2.3). Waits for the end of the line, because the parser
/// fails before that.
fn other_version<'h, 'b>(bytes: &[u8], limits: Limits) -> Parse<'h, 'b> {
    let Some(end) = memchr::memchr(b'\n', bytes) else {
        return if bytes.len() < limits.size {
            Parse::Incomplete
        } else {
            Parse::Invalid(431)
        };
    };
    let line = &bytes[..end];
    let mut words = line.split(|&byte| byte == b' ');
    let (_, _, version, more) = (words.next(), words.next(), words.next(), words.next());
    let is_version = matches!(
        version,
        Some([
            b'H',
            b'T',
            b'T',
            b'P',
            b'/',
            b'0'..=b'9',
            b'.',
            b'0'..=b'9',
            b'\r'
        ])
    );
    Parse::Invalid(if is_version && more.is_none() {
        505
    } else {
        400
    })
}

impl<'b> Head<'_, 'b> {
    /// Checks all rules. Returns the head, or the status of its rejection.
    fn checked(mut self, bytes: &[u8]) -> Result<Self, u16> {
        if has_bare_line_ends(bytes) || bytes.starts_with(b"\r") {
            return Err(400);
        }
        if self.target.len() > LONGEST {
            return Err(414);
        }
        let (mut host, mut length, mut encodings, mut upgrade) = (None, None, 0, false);
        for line in self.lines {
            let is = |name: &str| line.name.eq_ignore_ascii_case(name);
            match line.name.len() {
                4 if is("host") => {
                    if host.is_some() || !is_authority(line.value) {
                        return Err(400);
                    }
                    host = Some(line.value);
                }
                14 if is("content-length") => {
                    if length.is_some() {
                        return Err(400);
                    }
                    length = Some(number(line.value).ok_or(400_u16)?);
                }
                17 if is("transfer-encoding") => {
                    if !line.value.eq_ignore_ascii_case(b"chunked") {
                        return Err(400);
                    }
                    encodings += 1;
                }
                10 if is("connection") => self.read_connection(line.value),
                6 if is("expect") && !is_expectation(line.value) => return Err(417),
                6 if is("expect") => self.demand = self.demand.max(Demand::Special),
                7 if is("upgrade") => upgrade = true,
                LONGEST.. => return Err(431),
                _ if is_look_alike(line.name) => return Err(400),
                _ => {}
            }
        }
        self.framing = match (length, encodings) {
            (None, 0) => Framing::None,
            (Some(length), 0) => Framing::Length(length),
            (None, 1) if self.is_1_1 => Framing::Chunked,
            _ => return Err(400),
        };
        if host.is_none() && self.is_1_1 {
            return Err(400);
        }
        self.check_target(host)?;
        if upgrade {
            self.demand = if asks_for_websocket(self.method, self.is_1_1, &self) {
                Demand::Upgrade
            } else {
                self.demand.max(Demand::Special)
            };
        }
        Ok(self)
    }

    /// Checks that the target has a supported form, and names no other host than `Host` does. (RFC
    /// 9112, 3.2.2, would let the target win.)
    fn check_target(&self, host: Option<&[u8]>) -> Result<(), u16> {
        if self.method == "CONNECT" {
            return Err(405);
        }
        match target(self.method, self.target.as_bytes()) {
            Some(Target::Origin | Target::Asterisk) => Ok(()),
            Some(Target::Absolute(Absolute {
                is_https,
                authority,
                ..
            })) => {
                let agrees = |host| is_same_authority(host, authority, is_https);
                host.is_none_or(agrees).then_some(()).ok_or(400)
            }
            None => Err(400),
        }
    }

    /// Writes a head with an absolute target in origin form, the form for servers that are not
    /// proxies: the authority of the target becomes `Host` (RFC 9112, 3.2.2). For `OPTIONS`, a
    /// target without path and query becomes `*` (3.2.4). Returns `None` if the target is not
    /// absolute.
    #[must_use]
    pub fn to_origin_form(&self) -> Option<Vec<u8>> {
        let target = target(self.method, self.target.as_bytes());
        let Some(Target::Absolute(Absolute {
            authority, path, ..
        })) = target
        else {
            return None;
        };
        let start: &[u8] = match path {
            b"" if self.method == "OPTIONS" => b"*",
            [b'/', ..] => b"",
            _ => b"/",
        };
        let version: &[u8] = if self.is_1_1 {
            b" HTTP/1.1"
        } else {
            b" HTTP/1.0"
        };
        let line = [self.method.as_bytes(), b" ", start, path, version].concat();
        let mut head = Vec::with_capacity(self.length + 16);
        for part in [&line[..], b"\r\nHost: ", authority, b"\r\n"] {
            head.extend_from_slice(part);
        }
        for line in self.lines {
            if !line.name.eq_ignore_ascii_case("host") {
                for part in [line.name.as_bytes(), b": ", line.value, b"\r\n"] {
                    head.extend_from_slice(part);
                }
            }
        }
        head.extend_from_slice(b"\r\n");
        Some(head)
    }

    fn read_connection(&mut self, value: &[u8]) {
        for option in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if !option.eq_ignore_ascii_case(b"keep-alive") {
                self.demand = self.demand.max(Demand::Special);
            }
        }
    }

    /// Returns the path and the query of a target in origin form; `None` for any other form.
    #[must_use]
    pub fn path_and_query(&self) -> Option<(&'b str, &'b str)> {
        let is_origin = self.target.starts_with('/');
        is_origin.then(|| self.target.split_once('?').unwrap_or((self.target, "")))
    }

    /// Iterates over all lines, as sent.
    pub fn fields(&self) -> impl Iterator<Item = (&'b str, &'b [u8])> {
        self.lines.iter().map(|line| (line.name, line.value))
    }

    /// Returns the value of the first line with a name; empty if there is none.
    #[must_use]
    pub fn value(&self, name: &str) -> &'b [u8] {
        let mut same = self
            .lines
            .iter()
            .filter(|line| line.name.eq_ignore_ascii_case(name));
        same.next().map_or(b"", |line| line.value)
    }
}

impl Headers for Head<'_, '_> {
    fn lines<'s>(&'s self, name: &'s str) -> impl DoubleEndedIterator<Item = &'s [u8]> {
        let same = self
            .lines
            .iter()
            .filter(move |line| line.name.eq_ignore_ascii_case(name));
        same.map(|line| line.value)
    }

    fn first(&self, name: &str) -> Option<&[u8]> {
        let mut lines = self.lines.iter();
        let line = lines.find(|line| line.name.eq_ignore_ascii_case(name))?;
        Some(line.value)
    }
}

/// Returns `true` if there is an LF without CR in front of it, or a CR without LF behind it.
pub(super) fn has_bare_line_ends(bytes: &[u8]) -> bool {
    let Some((&first, rest)) = bytes.split_first() else {
        return false;
    };
    // Without an early exit the compiler vectorises this loop. The last byte may be a CR whose LF is
    // still to come.
    let is_bare = |byte, next| (byte == b'\r') != (next == b'\n');
    let pairs = bytes.iter().zip(rest);
    first == b'\n' || pairs.fold(false, |found, (&byte, &next)| found | is_bare(byte, next))
}

/// Parses a number of 1 to 18 digits, and nothing else.
fn number(value: &[u8]) -> Option<u64> {
    let digits = !value.is_empty() && value.len() <= 18 && value.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(value).ok().filter(|_| digits)?;
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        size: 32 << 10,
        lines: 100,
    };

    /// Returns a word for the result of parsing: `partial`, a status, or the framing.
    fn word(bytes: &str) -> String {
        let mut slots = slots();
        match read(bytes.as_bytes(), LIMITS, &mut slots) {
            Parse::Incomplete => "partial".to_owned(),
            Parse::Invalid(status) => status.to_string(),
            Parse::Complete(head) => format!("{:?}", head.framing),
        }
    }

    #[track_caller]
    fn check(lines: &str, expected: &str) {
        assert_eq!(
            word(&format!("GET / HTTP/1.1\r\n{lines}\r\n")),
            expected,
            "{lines:?}"
        );
    }

    #[test]
    fn a_body_has_one_framing() {
        check("Host: a\r\n", "None");
        check("Host: a\r\nContent-Length: 0\r\n", "Length(0)");
        check("Host: a\r\ncontent-length: 17\r\n", "Length(17)");
        check("Host: a\r\nTransfer-Encoding: Chunked\r\n", "Chunked");
        for lines in [
            "Content-Length: 1\r\nContent-Length: 1\r\n",
            "Content-Length: 1\r\nContent-Length: 2\r\n",
            "Content-Length: 1, 1\r\n",
            "Content-Length: +1\r\n",
            "Content-Length: -1\r\n",
            "Content-Length: 0x1\r\n",
            "Content-Length:\r\n",
            "Content-Length: 1 2\r\n",
            "Content-Length: 9999999999999999999\r\n",
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: chunked, identity\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding: \u{b}chunked\r\n",
            "Transfer-Encoding : chunked\r\n",
            "Transfer_Encoding: chunked\r\n",
            "content_length: 0\r\n",
            "Transfer---Encoding: chunked\r\n",
            "Transfer.Encoding: chunked\r\n",
            "transfer_-encoding: chunked\r\n",
            "ContentLength: 1\r\n",
            "Ho_st: b\r\n",
            "Connection.: close\r\n",
        ] {
            check(&format!("Host: a\r\n{lines}"), "400");
        }
        let old = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(word(old), "400");
    }

    #[test]
    fn a_request_has_one_host() {
        check("", "400");
        check("Host: a\r\nHost: a\r\n", "400");
        check("Host: a:80\r\n", "None");
        check("Host: a.\r\n", "None");
        for host in [
            "", " ", "a b", "u@a", "a:x", "a/b", "a,b", "\u{e9}", "a..b", ".a", "a..",
        ] {
            check(&format!("Host: {host}\r\n"), "400");
        }
        assert_eq!(word("GET / HTTP/1.0\r\n\r\n"), "None");
        assert_eq!(word("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"), "400");
    }

    #[test]
    fn lines_end_in_crlf_and_nothing_else() {
        for bytes in [
            "GET / HTTP/1.1\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\n",
            "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n X: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /\r\nHost: a\r\n\r\n",
            "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        ] {
            assert_eq!(word(bytes), "400", "{bytes:?}");
        }
        // Invalid already, though not complete.
        assert_eq!(word("GET / HTTP/1.1\nHost"), "400");
    }

    #[test]
    fn a_version_that_is_one_is_not_served_and_others_are_malformed() {
        for (version, expected) in [
            ("HTTP/0.9", "505"),
            ("HTTP/1.2", "505"),
            ("HTTP/2.0", "505"),
            ("HTTP/9.9", "505"),
            ("http/1.1", "400"),
            ("HTTP/01.01", "400"),
            ("HTTP/1.1x", "400"),
            ("HTTP/1.10", "400"),
            ("HTTP/2.0x", "400"),
            ("HTTP/2.00", "400"),
            ("HTTP/1,1", "400"),
            ("HTTP/1", "400"),
            ("HTTP/2", "400"),
            ("HTTP/", "400"),
            ("HTTPS/1.1", "400"),
            ("HTTP /1.1", "400"),
            (" HTTP/2.0", "400"),
            (" HTTP/1.1", "400"),
            ("HTTP/2.0 ", "400"),
            ("HTTP/1.1 ", "400"),
            ("th HTTP/1.1", "400"),
            ("th HTTP/2.0", "400"),
            ("x", "400"),
        ] {
            let line = format!("GET / {version}\r\n");
            assert_eq!(
                word(&format!("{line}Host: a\r\n\r\n")),
                expected,
                "{line:?}"
            );
            // An incomplete line is either partial or already the same error.
            for length in 0..line.len() {
                let cut = word(&line[..length]);
                assert!(cut == "partial" || cut == expected, "{:?}", &line[..length]);
            }
        }
        assert_eq!(word("GET / HTTP/2.0\nHost: a\n\n"), "400");
        assert_eq!(
            word(&format!("GET / HTTP/2{}", "x".repeat(LIMITS.size))),
            "431"
        );
    }

    /// Checks the origin form of a head.
    #[track_caller]
    fn check_origin_form(head: &str, expected: Option<&str>) {
        let mut slots = slots();
        let Parse::Complete(head) = read(head.as_bytes(), LIMITS, &mut slots) else {
            panic!("{head:?}")
        };
        let written = head.to_origin_form();
        assert_eq!(
            written.as_deref().map(String::from_utf8_lossy).as_deref(),
            expected
        );
    }

    #[test]
    fn an_absolute_target_becomes_a_path_and_its_authority_the_host() {
        check_origin_form("GET /a HTTP/1.1\r\nHost: a\r\n\r\n", None);
        check_origin_form("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", None);
        for (line, host, expected) in [
            (
                "GET http://A:80/b?c HTTP/1.1",
                "a",
                "GET /b?c HTTP/1.1\r\nHost: A:80",
            ),
            (
                "GET https://a HTTP/1.1",
                "a:443",
                "GET / HTTP/1.1\r\nHost: a",
            ),
            (
                "GET http://a?b HTTP/1.0",
                "a",
                "GET /?b HTTP/1.0\r\nHost: a",
            ),
            (
                "OPTIONS http://a HTTP/1.1",
                "a",
                "OPTIONS * HTTP/1.1\r\nHost: a",
            ),
            (
                "OPTIONS http://a/ HTTP/1.1",
                "a",
                "OPTIONS / HTTP/1.1\r\nHost: a",
            ),
            (
                "OPTIONS http://a?b HTTP/1.1",
                "a",
                "OPTIONS /?b HTTP/1.1\r\nHost: a",
            ),
        ] {
            check_origin_form(
                &format!("{line}\r\nX: 1\r\nhOST:{host}\r\nY:2 \r\n\r\n"),
                Some(&format!("{expected}\r\nX: 1\r\nY: 2\r\n\r\n")),
            );
        }
        check_origin_form(
            "GET http://a/ HTTP/1.0\r\n\r\n",
            Some("GET / HTTP/1.0\r\nHost: a\r\n\r\n"),
        );
    }

    #[test]
    fn a_head_cut_anywhere_is_partial() {
        let whole = "POST /x?y HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n";
        for length in 0..whole.len() {
            assert_eq!(word(&whole[..length]), "partial", "{length}");
        }
        assert_eq!(word(&format!("{whole}abc")), "Length(3)");
    }

    #[test]
    fn heads_are_limited() {
        check(&format!("Host: a\r\n{}", "X: 1\r\n".repeat(99)), "None");
        check(&format!("Host: a\r\n{}", "X: 1\r\n".repeat(100)), "431");
        check(
            &format!("Host: a\r\nX: {}\r\n", "x".repeat(LIMITS.size)),
            "431",
        );
        assert_eq!(word(&format!("GET /{}", "x".repeat(LIMITS.size))), "431");
    }

    #[test]
    fn what_no_parser_can_read_is_refused() {
        let limits = Limits {
            size: 256 << 10,
            ..LIMITS
        };
        let long = "a".repeat(66_000);
        for (bytes, expected) in [
            (format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"), 414),
            (
                format!("GET / HTTP/1.1\r\nHost: a\r\n{long}: b\r\n\r\n"),
                431,
            ),
        ] {
            let mut slots = slots();
            let reading = read(bytes.as_bytes(), limits, &mut slots);
            assert!(matches!(reading, Parse::Invalid(status) if status == expected));
        }
    }

    #[test]
    fn what_only_the_proxy_can_do_is_special() {
        for (line, demand, close) in [
            ("", Demand::Nothing, false),
            ("Connection: keep-alive\r\n", Demand::Nothing, false),
            ("Connection: Close\r\n", Demand::Nothing, true),
            (
                "Connection: close, X-Geo-Country\r\n",
                Demand::Special,
                true,
            ),
            ("Expect: 100-continue\r\n", Demand::Special, false),
            ("Upgrade: websocket\r\n", Demand::Special, false),
            (
                "Upgrade: h2c\r\nConnection: Upgrade\r\n",
                Demand::Special,
                false,
            ),
            (
                "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n",
                Demand::Upgrade,
                false,
            ),
            ("Connection: \r\n", Demand::Special, false),
        ] {
            let bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n");
            let mut slots = slots();
            let Parse::Complete(head) = read(bytes.as_bytes(), LIMITS, &mut slots) else {
                panic!("{line:?}")
            };
            assert_eq!((head.demand, head.close), (demand, close), "{line:?}");
        }
    }

    #[test]
    fn targets_have_forms() {
        for (line, expected) in [
            ("GET /a HTTP/1.1", "None"),
            ("GET http://a/b HTTP/1.1", "None"),
            ("OPTIONS * HTTP/1.1", "None"),
            ("GET http://a/b HTTP/1.0", "None"),
            ("GET http://b/ HTTP/1.1", "400"),
            ("GET http://A:80/ HTTP/1.1", "None"),
            ("GET https://A:443/ HTTP/1.1", "None"),
            ("GET https://a:80/ HTTP/1.1", "400"),
            ("GET http://a..b/ HTTP/1.1", "400"),
            ("GET ftp://a/ HTTP/1.1", "400"),
            ("GET * HTTP/1.1", "400"),
            ("GET a:80 HTTP/1.1", "400"),
            ("GET /a#b HTTP/1.1", "400"),
            ("GET /a\u{e9} HTTP/1.1", "400"),
            ("GET /a\u{7f} HTTP/1.1", "400"),
            ("CONNECT a:80 HTTP/1.1", "405"),
            ("CONNECT / HTTP/1.1", "405"),
        ] {
            assert_eq!(
                word(&format!("{line}\r\nHost: a\r\n\r\n")),
                expected,
                "{line}"
            );
        }
        assert_eq!(word("GET http://a/ HTTP/1.0\r\n\r\n"), "None");
    }

    #[test]
    fn only_a_continue_can_be_expected() {
        check("Host: a\r\nExpect: 100-Continue\r\n", "None");
        check("Host: a\r\nExpect: 200-ok\r\n", "417");
        check("Host: a\r\nExpect:\r\n", "417");
    }

    #[test]
    fn only_the_origin_form_has_a_path() {
        for (target, expected) in [
            ("/a?b=c?d", Some(("/a", "b=c?d"))),
            ("/", Some(("/", ""))),
            ("http://a/a", None),
        ] {
            let bytes = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
            let mut slots = slots();
            let Parse::Complete(head) = read(bytes.as_bytes(), LIMITS, &mut slots) else {
                panic!("{target:?}")
            };
            assert_eq!(head.path_and_query(), expected);
        }
    }
}
