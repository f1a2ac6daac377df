//! The one strict reading of a request's head.
//!
//! httparse does the parsing, as it does in pingora, so the two cannot differ on where a name or a
//! value ends. What it lets pass and another server could read in another way is refused here:
//! lines that end in a bare LF, two framings, two hosts, targets in odd forms. A refusal ends the
//! connection, because where the next request would begin is then anybody's guess.

use std::mem::MaybeUninit;

use httparse::Header;

use crate::config::model::Client;
use crate::gateway::client_ip::HeaderLines;
use crate::gateway::strict::{self, Target};

/// How many header lines can be read at all; it is what pingora reads, too.
const MOST_LINES: usize = 256;

/// How many bytes a target or a name may have at most, so that pingora can read it.
const LONGEST: usize = 65_534;

/// Room for the header lines of a head; it needs no initial value.
pub type Slots<'b> = [MaybeUninit<Header<'b>>; MOST_LINES];

/// An empty room.
pub const fn slots<'b>() -> Slots<'b> {
    [const { MaybeUninit::uninit() }; MOST_LINES]
}

/// How large a head may be.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most bytes.
    pub size: usize,
    /// Most header lines.
    pub lines: usize,
}

impl Limits {
    /// As the configuration has them.
    pub fn of(client: &Client) -> Self {
        Limits {
            size: client.max_header_size,
            lines: client.max_headers.min(MOST_LINES),
        }
    }
}

/// What bytes at the start of a request are.
#[derive(Debug)]
pub enum Reading<'h, 'b> {
    /// The head is not complete.
    Partial,
    /// A head by all rules.
    Complete(Head<'h, 'b>),
    /// No head that we take, with the status that tells it.
    Refused(u16),
}

/// A complete head.
#[derive(Debug)]
pub struct Head<'h, 'b> {
    /// As sent.
    pub method: &'b str,
    /// As sent.
    pub target: &'b str,
    /// Whether it is HTTP/1.1; otherwise it is HTTP/1.0.
    pub is_1_1: bool,
    /// Length with the empty line, in bytes.
    pub length: usize,
    /// Where the body ends.
    pub framing: Framing,
    /// Whether `Connection` says close.
    pub close: bool,
    /// What is asked of the connection beyond the request.
    pub demand: Demand,
    lines: &'h [Header<'b>],
}

/// What a head asks of the connection beyond its request. The greater includes the smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Demand {
    /// Nothing, or to be kept or closed.
    Nothing,
    /// What only the proxy can do: a `100 Continue`, other options of `Connection`.
    Special,
    /// To become a WebSocket.
    Upgrade,
}

/// Where a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// After so many bytes.
    Length(u64),
    /// After its last chunk.
    Chunked,
}

/// Reads the head at the start of `bytes`.
pub fn read<'h, 'b>(bytes: &'b [u8], limits: Limits, slots: &'h mut Slots<'b>) -> Reading<'h, 'b> {
    let mut request = httparse::Request::new(&mut []);
    let length = match request.parse_with_uninit_headers(bytes, &mut slots[..limits.lines]) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if bytes.len() < limits.size => return partial(bytes),
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Reading::Refused(431);
        }
        Err(httparse::Error::Version) => return Reading::Refused(505),
        Err(_) => return Reading::Refused(400),
    };
    if length > limits.size {
        return Reading::Refused(431);
    }
    let (Some(method), Some(target), Some(version)) =
        (request.method, request.path, request.version)
    else {
        return Reading::Refused(400);
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
        Ok(head) => Reading::Complete(head),
        Err(status) => Reading::Refused(status),
    }
}

/// A head that is not complete may be wrong already; then there is nothing to wait for.
fn partial<'h, 'b>(bytes: &[u8]) -> Reading<'h, 'b> {
    if has_bare_line_ends(bytes) {
        Reading::Refused(400)
    } else {
        Reading::Partial
    }
}

impl<'b> Head<'_, 'b> {
    /// The head, if it keeps to all rules; otherwise the status that refuses it.
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
                    if host.is_some() || !strict::is_authority(line.value) {
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
                // Some servers make no difference between `_` and `-`.
                14 | 17 if is("content_length") || is("transfer_encoding") => return Err(400),
                10 if is("connection") => self.read_connection(line.value),
                6 if is("expect") => {
                    if !strict::is_expectation(line.value) {
                        return Err(417);
                    }
                    self.demand = self.demand.max(Demand::Special);
                }
                7 if is("upgrade") => upgrade = true,
                LONGEST.. => return Err(431),
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
            self.demand = if strict::asks_for_websocket(self.method, self.is_1_1, &self) {
                Demand::Upgrade
            } else {
                self.demand.max(Demand::Special)
            };
        }
        Ok(self)
    }

    /// A target must be in a form that is served, and name no other host than `Host` does. (RFC
    /// 9112, 3.2.2, would have it win.)
    fn check_target(&self, host: Option<&[u8]>) -> Result<(), u16> {
        if self.method == "CONNECT" {
            return Err(405);
        }
        match strict::target(self.method, self.target.as_bytes()) {
            Some(Target::Origin | Target::Asterisk) => Ok(()),
            Some(Target::Absolute(authority)) if host.is_none_or(|host| host == authority) => {
                Ok(())
            }
            _ => Err(400),
        }
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

    /// The path and the query of an origin-form target; `None` for any other form.
    pub fn path_and_query(&self) -> Option<(&'b str, &'b str)> {
        let is_origin = self.target.starts_with('/');
        is_origin.then(|| self.target.split_once('?').unwrap_or((self.target, "")))
    }

    /// The first line with a name; empty if there is none.
    pub fn value(&self, name: &str) -> &'b [u8] {
        let mut same = self
            .lines
            .iter()
            .filter(|line| line.name.eq_ignore_ascii_case(name));
        same.next().map_or(b"", |line| line.value)
    }
}

impl HeaderLines for Head<'_, '_> {
    fn lines<'s>(&'s self, name: &'s str) -> impl DoubleEndedIterator<Item = &'s [u8]> {
        let same = self
            .lines
            .iter()
            .filter(move |line| line.name.eq_ignore_ascii_case(name));
        same.map(|line| line.value)
    }
}

/// Whether a line ends in LF without CR, or a CR stands without LF behind it.
fn has_bare_line_ends(bytes: &[u8]) -> bool {
    let bare_lf = memchr::memchr_iter(b'\n', bytes).any(|at| at == 0 || bytes[at - 1] != b'\r');
    // The last byte may be a CR whose LF is still to come.
    let bare_cr = |at: usize| bytes.get(at + 1).is_some_and(|&next| next != b'\n');
    bare_lf || memchr::memchr_iter(b'\r', bytes).any(bare_cr)
}

/// Digits and nothing else, and few enough of them.
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

    /// A short word for a reading: `partial`, a status, or the framing.
    fn word(bytes: &str) -> String {
        let mut slots = slots();
        match read(bytes.as_bytes(), LIMITS, &mut slots) {
            Reading::Partial => "partial".to_owned(),
            Reading::Refused(status) => status.to_string(),
            Reading::Complete(head) => format!("{:?}", head.framing),
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
        for host in ["", " ", "a b", "u@a", "a:x", "a/b", "a,b", "\u{e9}"] {
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
        assert_eq!(word("GET / HTTP/2.0\r\nHost: a\r\n\r\n"), "505");
        // Wrong already, though not complete.
        assert_eq!(word("GET / HTTP/1.1\nHost"), "400");
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
    fn what_pingora_cannot_read_is_refused() {
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
            assert!(matches!(reading, Reading::Refused(status) if status == expected));
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
            let Reading::Complete(head) = read(bytes.as_bytes(), LIMITS, &mut slots) else {
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
            ("GET http://A/ HTTP/1.1", "400"),
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
            let Reading::Complete(head) = read(bytes.as_bytes(), LIMITS, &mut slots) else {
                panic!("{target:?}")
            };
            assert_eq!(head.path_and_query(), expected);
        }
    }
}
