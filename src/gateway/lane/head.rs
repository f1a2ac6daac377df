//! The one strict reading of a request's head.
//!
//! httparse does the parsing, as it does in pingora, so the two cannot differ on where a name or a
//! value ends. What it lets pass and another server could read in another way is refused here:
//! lines that end in a bare LF, two framings, two hosts. A refusal ends the connection, because
//! where the next request would begin is then anybody's guess.

use std::mem::MaybeUninit;

use httparse::Header;

use crate::gateway::client_ip::HeaderLines;

/// Longest head in bytes.
pub const HEAD_LIMIT: usize = 32 << 10;

/// Most header lines of a head.
pub const LINE_LIMIT: usize = 100;

/// Room for the header lines of a head; it needs no initial value.
pub type Slots<'b> = [MaybeUninit<Header<'b>>; LINE_LIMIT];

/// An empty room.
pub const fn slots<'b>() -> Slots<'b> {
    [const { MaybeUninit::uninit() }; LINE_LIMIT]
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
    /// To become something else after this request.
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
pub fn read<'h, 'b>(bytes: &'b [u8], slots: &'h mut Slots<'b>) -> Reading<'h, 'b> {
    let mut request = httparse::Request::new(&mut []);
    let length = match request.parse_with_uninit_headers(bytes, slots) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_LIMIT => return partial(bytes),
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Reading::Refused(431);
        }
        Err(httparse::Error::Version) => return Reading::Refused(505),
        Err(_) => return Reading::Refused(400),
    };
    if length > HEAD_LIMIT {
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
        Some(head) => Reading::Complete(head),
        None => Reading::Refused(400),
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
    fn checked(mut self, bytes: &[u8]) -> Option<Self> {
        if has_bare_line_ends(bytes) || bytes.starts_with(b"\r") {
            return None;
        }
        let (mut hosts, mut length, mut encodings) = (0, None, 0);
        for line in self.lines {
            let is = |name: &str| line.name.eq_ignore_ascii_case(name);
            match line.name.len() {
                4 if is("host") => hosts += 1,
                14 if is("content-length") => {
                    if length.is_some() {
                        return None;
                    }
                    length = Some(number(line.value)?);
                }
                17 if is("transfer-encoding") => {
                    if !line.value.eq_ignore_ascii_case(b"chunked") {
                        return None;
                    }
                    encodings += 1;
                }
                10 if is("connection") => self.read_connection(line.value),
                6 if is("expect") => self.demand = self.demand.max(Demand::Special),
                7 if is("upgrade") => self.demand = Demand::Upgrade,
                _ => {}
            }
        }
        self.framing = match (length, encodings) {
            (None, 0) => Framing::None,
            (Some(length), 0) => Framing::Length(length),
            (None, 1) if self.is_1_1 => Framing::Chunked,
            _ => return None,
        };
        let one_host = hosts == 1 || (hosts == 0 && !self.is_1_1);
        one_host.then_some(self)
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

    /// The status that refuses a request which is well formed and still not served: a tunnel, or
    /// a target that names another host than `Host` does (RFC 9112, 3.2.2).
    pub fn refusal(&self) -> Option<u16> {
        if self.method == "CONNECT" {
            return Some(405);
        }
        if self.target.starts_with('/') || self.target == "*" {
            return None;
        }
        let authority = self.target.split_once("://").map(|(_, rest)| rest)?;
        let authority = authority.split(['/', '?']).next().unwrap_or_default();
        let same = authority
            .as_bytes()
            .eq_ignore_ascii_case(self.value("host"));
        (!same).then_some(400)
    }

    /// The path and the query of an origin-form target; `None` for any other form.
    pub fn path_and_query(&self) -> Option<(&'b str, &'b str)> {
        let plain =
            self.target.starts_with('/') && self.target.bytes().all(|b| b.is_ascii_graphic());
        if !plain || self.target.contains('#') {
            return None;
        }
        Some(self.target.split_once('?').unwrap_or((self.target, "")))
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

    /// A short word for a reading: `partial`, a status, or the framing.
    fn word(bytes: &str) -> String {
        let mut slots = slots();
        match read(bytes.as_bytes(), &mut slots) {
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
            &format!("Host: a\r\nX: {}\r\n", "x".repeat(HEAD_LIMIT)),
            "431",
        );
        assert_eq!(word(&format!("GET /{}", "x".repeat(HEAD_LIMIT))), "431");
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
            ("Upgrade: websocket\r\n", Demand::Upgrade, false),
            ("Connection: \r\n", Demand::Special, false),
        ] {
            let bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n");
            let mut slots = slots();
            let Reading::Complete(head) = read(bytes.as_bytes(), &mut slots) else {
                panic!("{line:?}")
            };
            assert_eq!((head.demand, head.close), (demand, close), "{line:?}");
        }
    }

    #[test]
    fn only_the_origin_form_has_a_path() {
        for (target, expected) in [
            ("/a?b=c?d", Some(("/a", "b=c?d"))),
            ("/", Some(("/", ""))),
            ("http://h/a", None),
            ("*", None),
            ("/a#b", None),
        ] {
            let bytes = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
            let mut slots = slots();
            let Reading::Complete(head) = read(bytes.as_bytes(), &mut slots) else {
                panic!("{target:?}")
            };
            assert_eq!(head.path_and_query(), expected);
        }
    }
}
