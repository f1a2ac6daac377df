//! Scanner of chunked bodies, which finds their end (RFC 9112, 7.1).
//!
//! Servers read chunks in many ways. If two servers in a row differ, a second request can be hidden
//! in the body of the first. So each body is scanned here before any other code reads it: framing
//! byte by byte, data in one step. A body that could be read in another way is an error, because
//! nothing behind it can be trusted.

use crate::proto::trailers::FORBIDDEN;

/// Maximum number of hexadecimal digits of a size; more do not fit 64 bits.
const SIZE_DIGITS: u8 = 16;

/// Maximum size of the extensions of one chunk, and of all chunks of a body, in bytes. Clients send
/// none in practice.
const EXTENSION_LIMIT: u16 = 256;
const EXTENSIONS_LIMIT: u16 = 4096;

/// Maximum number of trailer lines, and of their bytes.
const TRAILER_LINES: u8 = 32;
const TRAILER_BYTES: u16 = 8192;

/// Letters of a name that are kept; the longest name in [`FORBIDDEN`] fits.
const NAME_ROOM: usize = 20;

/// Error of bytes that are not a valid chunked body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the chunks of the body are malformed")]
pub struct Malformed;

/// Result of decoding a piece of a body in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decoded {
    /// Bytes of the piece that belong to the body: all, unless the body ends among them.
    pub consumed: usize,
    /// Bytes of content, which now stand at the start of the piece.
    pub content: usize,
}

/// State of reading a chunked body.
#[derive(Debug, Clone)]
pub struct Scanner {
    state: State,
    /// Bytes of all extensions so far.
    extensions: u16,
    trailer_lines: u8,
    trailer_bytes: u16,
    /// First letters of the name of the current trailer, in lower case.
    letters: [u8; NAME_ROOM],
    /// Number of letters of that name, which may be more than `letters` can hold.
    letter_count: u16,
    /// Trailer lines that were read, each with its end.
    trailers: Vec<u8>,
    /// Start of the trailer line that is being read.
    line_start: usize,
    /// `true` if a forbidden trailer is left out, and not an error.
    drops_forbidden: bool,
    /// `true` in the value of a trailer that is left out.
    is_dropped: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size {
        digits: u8,
        size: u64,
    },
    Extension {
        at: Extension,
        length: u16,
        size: u64,
    },
    SizeLf {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    LineStart,
    Name,
    Value,
    ValueLf,
    LastLf,
    End,
}

/// Position within the extensions of a chunk (RFC 9112, 7.1.1), each of which is `;name`,
/// `;name=token` or `;name="text"`. Spaces are allowed only around `;` and `=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extension {
    /// In the spaces before a `;`.
    Before,
    /// Behind a `;`, where a name begins.
    Start,
    Name,
    /// In the spaces behind a name.
    AfterName,
    /// Behind a `=`, where a value begins.
    ValueStart,
    Token,
    Quoted,
    /// Behind a `\` in a quoted string.
    Escaped,
    /// Behind the end of a quoted string.
    QuotedEnd,
}

impl Extension {
    /// Returns the position behind `byte`; `None` if the byte is not allowed here.
    fn next(self, byte: u8) -> Option<Self> {
        use Extension::{
            AfterName, Before, Escaped, Name, Quoted, QuotedEnd, Start, Token, ValueStart,
        };
        let is_space = matches!(byte, b' ' | b'\t');
        Some(match (self, byte) {
            (Before, _) if is_space => Before,
            (Before | Name | AfterName | Token | QuotedEnd, b';') => Start,
            (Start, _) if is_space => Start,
            (Start | Name, _) if is_token(byte) => Name,
            (Name | AfterName, _) if is_space => AfterName,
            (Name | AfterName, b'=') => ValueStart,
            (ValueStart, _) if is_space => ValueStart,
            (ValueStart, b'"') => Quoted,
            (ValueStart | Token, _) if is_token(byte) => Token,
            (Quoted, b'"') => QuotedEnd,
            (Quoted, b'\\') => Escaped,
            (Quoted | Escaped, b'\t' | b' '..=b'~') => Quoted,
            (Token | QuotedEnd, _) if is_space => Before,
            _ => return None,
        })
    }

    /// Returns `true` if the line may end here.
    fn can_end(self) -> bool {
        matches!(self, Self::Name | Self::Token | Self::QuotedEnd)
    }
}

impl Default for Scanner {
    fn default() -> Self {
        Scanner::new()
    }
}

impl Scanner {
    /// Creates a scanner at the start of a request's body.
    #[must_use]
    pub fn new() -> Self {
        Scanner {
            state: State::SIZE,
            extensions: 0,
            trailer_lines: 0,
            trailer_bytes: 0,
            letters: [0; NAME_ROOM],
            letter_count: 0,
            trailers: Vec::new(),
            line_start: 0,
            drops_forbidden: false,
            is_dropped: false,
        }
    }

    /// Creates a scanner at the start of a response's body. Servers do send trailers that no
    /// recipient may merge into the head (RFC 9110, 6.5.1); these are left out instead of an error.
    #[must_use]
    pub fn of_response() -> Self {
        Scanner {
            drops_forbidden: true,
            ..Scanner::new()
        }
    }

    /// Returns `true` if the body is complete.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.state == State::End
    }

    /// Reads the next bytes. Returns the number of bytes that belong to the body: all, unless the
    /// body ends among them.
    ///
    /// # Errors
    /// If the body is malformed. The scanner must not be used after that.
    pub fn scan(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let mut at = 0;
        while at < bytes.len() && self.state != State::End {
            if let State::Data { left } = self.state {
                at += self.take_data(left, bytes.len() - at);
            } else {
                self.state = self.next(bytes[at])?;
                at += 1;
            }
        }
        Ok(at)
    }

    /// Passes over as much of a chunk with `left` bytes as is `available`. Returns that length in
    /// bytes.
    fn take_data(&mut self, left: u64, available: usize) -> usize {
        let here = usize::try_from(left).map_or(available, |left| left.min(available));
        self.state = match left - here as u64 {
            0 => State::DataCr,
            left => State::Data { left },
        };
        here
    }

    /// Reads the next bytes, and moves their content to the start of `bytes`.
    ///
    /// # Errors
    /// If the body is malformed. The scanner must not be used after that.
    pub fn decode(&mut self, bytes: &mut [u8]) -> Result<Decoded, Malformed> {
        let (mut at, mut content) = (0, 0);
        while at < bytes.len() && self.state != State::End {
            if let State::Data { left } = self.state {
                let here = self.take_data(left, bytes.len() - at);
                bytes.copy_within(at..at + here, content);
                content += here;
                at += here;
            } else {
                self.state = self.next(bytes[at])?;
                at += 1;
            }
        }
        Ok(Decoded {
            consumed: at,
            content,
        })
    }

    /// Trailer lines of the body, each with its end; empty until the body is complete.
    #[must_use]
    pub fn trailers(&self) -> &[u8] {
        if self.is_complete() {
            &self.trailers
        } else {
            &[]
        }
    }

    fn next(&mut self, byte: u8) -> Result<State, Malformed> {
        Ok(match (self.state, byte) {
            (State::Size { digits, size }, _) if byte.is_ascii_hexdigit() => {
                if digits == SIZE_DIGITS {
                    return Err(Malformed);
                }
                State::Size {
                    digits: digits + 1,
                    size: size << 4 | u64::from(hex(byte)),
                }
            }
            (State::Size { digits: 1.., size }, b'\r') => State::SizeLf { size },
            (State::Extension { at, size, .. }, b'\r') if at.can_end() => State::SizeLf { size },
            (State::Size { digits: 1.., size }, _) => {
                self.extension_byte(Extension::Before, 0, size, byte)?
            }
            (State::Extension { at, length, size }, _) => {
                self.extension_byte(at, length, size, byte)?
            }
            (State::SizeLf { size: 0 } | State::ValueLf, b'\n') => State::LineStart,
            (State::SizeLf { size }, b'\n') => State::Data { left: size },
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::SIZE,
            (State::LineStart, b'\r') => State::LastLf,
            (State::LastLf, b'\n') => State::End,
            (State::LineStart, _) if is_token(byte) => {
                self.trailer_lines += 1;
                if self.trailer_lines > TRAILER_LINES {
                    return Err(Malformed);
                }
                self.letter_count = 0;
                self.line_start = self.trailers.len();
                self.name_byte(byte)?
            }
            (State::Name, b':') => {
                self.is_dropped = self.is_forbidden();
                if self.is_dropped && !self.drops_forbidden {
                    return Err(Malformed);
                }
                self.trailers.push(b':');
                State::Value
            }
            (State::Name, _) if is_token(byte) => self.name_byte(byte)?,
            (State::Value, b'\r') => {
                if self.is_dropped {
                    self.trailers.truncate(self.line_start);
                } else {
                    self.trailers.extend_from_slice(b"\r\n");
                }
                State::ValueLf
            }
            (State::Value, b'\t' | b' '..=b'~' | 0x80..) => {
                self.trailer_byte(byte)?;
                State::Value
            }
            _ => return Err(Malformed),
        })
    }

    /// Reads a byte of a chunk's extensions, of which `length` bytes were read before.
    fn extension_byte(
        &mut self,
        at: Extension,
        length: u16,
        size: u64,
        byte: u8,
    ) -> Result<State, Malformed> {
        let at = at.next(byte).ok_or(Malformed)?;
        self.extensions += 1;
        if length == EXTENSION_LIMIT || self.extensions > EXTENSIONS_LIMIT {
            return Err(Malformed);
        }
        Ok(State::Extension {
            at,
            length: length + 1,
            size,
        })
    }

    fn name_byte(&mut self, byte: u8) -> Result<State, Malformed> {
        self.trailer_byte(byte)?;
        if byte.is_ascii_alphanumeric() {
            if let Some(place) = self.letters.get_mut(usize::from(self.letter_count)) {
                *place = byte.to_ascii_lowercase();
            }
            self.letter_count += 1;
        }
        Ok(State::Name)
    }

    /// Returns `true` if the name has the letters of a forbidden trailer.
    fn is_forbidden(&self) -> bool {
        let letters = self.letters.get(..usize::from(self.letter_count));
        letters.is_some_and(|letters| FORBIDDEN.contains(&letters))
    }

    fn trailer_byte(&mut self, byte: u8) -> Result<(), Malformed> {
        self.trailer_bytes += 1;
        if self.trailer_bytes > TRAILER_BYTES {
            return Err(Malformed);
        }
        self.trailers.push(byte);
        Ok(())
    }
}

impl State {
    const SIZE: State = State::Size { digits: 0, size: 0 };
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// Returns `true` if a byte is allowed in a field's name (RFC 9110, 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;
    use regex::Regex;

    use super::*;

    /// Result of reading all bytes of a text as a body.
    #[derive(Debug, PartialEq, Eq)]
    enum Outcome {
        Ends(usize),
        Partial,
        Malformed,
    }

    fn scanned(parts: &[&[u8]]) -> Outcome {
        let (mut scanner, mut length) = (Scanner::new(), 0);
        for part in parts {
            match scanner.scan(part) {
                Ok(taken) => length += taken,
                Err(Malformed) => return Outcome::Malformed,
            }
        }
        if scanner.is_complete() {
            Outcome::Ends(length)
        } else {
            Outcome::Partial
        }
    }

    /// Reads the whole text line by line: the oracle.
    fn naive(text: &[u8]) -> Outcome {
        let whole_line = |at: usize| {
            let rest = &text[at..];
            let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
            Some((&rest[..end], at + end + 2))
        };
        let (mut at, mut extensions) = (0, 0);
        loop {
            let Some((line, next)) = whole_line(at) else {
                return partial_line(&text[at..], |line| naive_size(line, extensions).is_some());
            };
            let Some((size, extension)) = naive_size(line, extensions) else {
                return Outcome::Malformed;
            };
            extensions += extension;
            at = next;
            if size == 0 {
                break;
            }
            let Some(data) = usize::try_from(size)
                .ok()
                .and_then(|size| text[at..].get(size..))
            else {
                return Outcome::Partial;
            };
            match data {
                [b'\r', b'\n', ..] => at = text.len() - data.len() + 2,
                [] | [b'\r'] => return Outcome::Partial,
                _ => return Outcome::Malformed,
            }
        }
        let (mut lines, mut bytes) = (0, 0);
        loop {
            let good =
                |line: &[u8]| naive_trailer(line).is_some_and(|length| bytes + length <= 8192);
            let Some((line, next)) = whole_line(at) else {
                // An empty line ends the body; other lines are counted.
                return partial_line(&text[at..], |line| {
                    line.is_empty() || lines < 32 && good(line)
                });
            };
            at = next;
            if line.is_empty() {
                return Outcome::Ends(at);
            }
            if lines == 32 || !good(line) {
                return Outcome::Malformed;
            }
            lines += 1;
            bytes += naive_trailer(line).unwrap_or_default();
        }
    }

    /// Reads a line that is cut off. It is partial if some end would make it valid.
    fn partial_line(text: &[u8], good: impl Fn(&[u8]) -> bool) -> Outcome {
        let ends: [&[u8]; 8] = [b"", b"0", b":", b"x:", b"1;a", b";a", b"\"", b"a\""];
        let line = text.strip_suffix(b"\r");
        let could_be = match line {
            Some(line) => good(line),
            None => text.is_empty() || ends.iter().any(|end| good(&[text, end].concat())),
        };
        if could_be {
            Outcome::Partial
        } else {
            Outcome::Malformed
        }
    }

    /// Returns the size in a line, and the length of its extensions.
    fn naive_size(line: &[u8], before: usize) -> Option<(u64, usize)> {
        static EXTENSIONS: LazyLock<Regex> = LazyLock::new(|| {
            let token = "[0-9A-Za-z!#$%&'*+.^_`|~-]+";
            let quoted = r#""(?:[\t !#-\[\]-~]|\\[\t -~])*""#;
            let space = r"[\t ]*";
            let value = format!("{space}={space}(?:{token}|{quoted})");
            Regex::new(&format!("^(?:{space};{space}{token}(?:{value})?)*$")).unwrap()
        });
        let line = std::str::from_utf8(line).ok()?;
        let digits = line.find([';', ' ', '\t']).unwrap_or(line.len());
        let (size, extensions) = line.split_at(digits);
        let good = (1..=16).contains(&size.len())
            && size.chars().all(|c| c.is_ascii_hexdigit())
            && extensions.len() <= 256
            && before + extensions.len() <= 4096
            && EXTENSIONS.is_match(extensions);
        let size = u64::from_str_radix(size, 16).ok()?;
        good.then_some((size, extensions.len()))
    }

    /// Returns the number of bytes of a valid trailer line that count; `None` if it is invalid.
    fn naive_trailer(line: &[u8]) -> Option<usize> {
        let colon = line.iter().position(|&byte| byte == b':')?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        let name = std::str::from_utf8(name).ok()?;
        let known = name.to_lowercase();
        let known = known.replace(|c: char| !c.is_ascii_alphanumeric(), "");
        let tokens = "!#$%&'*+-.^_`|~";
        let good = !name.is_empty()
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || tokens.contains(c))
            && !FORBIDDEN.contains(&known.as_bytes())
            && value
                .iter()
                .all(|&byte| byte == b'\t' || byte >= b' ' && byte != 0x7f);
        good.then_some(name.len() + value.len())
    }

    #[track_caller]
    fn check(text: &str, expected: &Outcome) {
        assert_eq!(scanned(&[text.as_bytes()]), *expected, "{text:?}");
        assert_eq!(naive(text.as_bytes()), *expected, "naive: {text:?}");
    }

    #[test]
    fn a_body_ends_with_its_last_chunk_and_the_empty_line() {
        for (text, rest) in [
            ("0\r\n\r\n", ""),
            ("0\r\n\r\n", "GET / HTTP/1.1\r\n"),
            ("3\r\nabc\r\n0\r\n\r\n", "x"),
            ("03\r\nabc\r\n00\r\n\r\n", ""),
            ("a\r\n0123456789\r\nA\r\n0\r\n\r\n45678\r\n0\r\n\r\n", "0"),
            ("0000000000000001\r\nx\r\n0\r\n\r\n", ""),
            ("1;a=b\r\nx\r\n0;c\r\n\r\n", ""),
            ("1;a=\"b;\\\"=c\" ; d = e\t;\tf\r\nx\r\n0\r\n\r\n", ""),
            ("1 ;a\r\nx\r\n0\t; b=\"\"\r\n\r\n", ""),
            ("0\r\nX: y\r\nChecksum:\r\n\r\n", "\r\n"),
        ] {
            check(&format!("{text}{rest}"), &Outcome::Ends(text.len()));
        }
    }

    #[test]
    fn a_body_cut_anywhere_is_partial() {
        let text = "3 ; a = \"b\\\"\" ;c=d\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\nX-A: b\r\n\r\n";
        for length in 0..text.len() {
            check(&text[..length], &Outcome::Partial);
        }
    }

    #[test]
    fn what_another_server_could_read_otherwise_is_malformed() {
        let (extension, line) = ("e".repeat(256), format!("X: {}\r\n", "x".repeat(300)));
        let many = format!("1;{}\r\nx\r\n", "e".repeat(255)).repeat(17);
        for text in [
            "\r\n",
            "\n",
            ";\r\n",
            "g\r\n",
            "0x1\r\nx\r\n",
            "+1\r\nx\r\n",
            "-1\r\nx\r\n",
            " 1\r\nx\r\n",
            "1 \r\nx\r\n",
            "1;\r\nx\r\n",
            "1; \r\nx\r\n",
            "1;;\r\nx\r\n",
            "1;a;\r\nx\r\n",
            "1;=a\r\nx\r\n",
            "1;a=\r\nx\r\n",
            "1;a \r\nx\r\n",
            "1;a b\r\nx\r\n",
            "1;a=b c\r\nx\r\n",
            "1;a=b=c\r\nx\r\n",
            "1;a=\"b\r\nx\r\n",
            "1;a=\"b\\\"\r\nx\r\n",
            "1;a=\"b\"c\r\nx\r\n",
            "1;a=b\"\r\nx\r\n",
            "1;a=\"b\" \r\nx\r\n",
            "1;\"a\"=b\r\nx\r\n",
            "1;bad[=x\r\nx\r\n",
            "1;a=[\r\nx\r\n",
            "1 a\r\nx\r\n",
            "1\t\r\nx\r\n",
            "1\nx\r\n",
            "1\rx",
            "1\r\r\n",
            "1\r\nx\n",
            "1\r\nx\rx",
            "1\r\nxy\r\n",
            "1;a\nb\r\nx\r\n",
            "1;a\rb\r\nx\r\n",
            "1;\0\r\nx\r\n",
            "1;\u{e9}\r\nx\r\n",
            "00000000000000001\r\nx\r\n",
            "10000000000000000\r\n",
            "1,1\r\n",
            "0\n\r\n",
            "0\r\n\n",
            "0\r\n\rx",
            "0\r\nX\r\n",
            "0\r\n X: y\r\n",
            "0\r\nX : y\r\n",
            "0\r\n: y\r\n",
            "0\r\nX: y\n",
            "0\r\nX: y\rz",
            "0\r\nX: \0\r\n",
            "0\r\nX: a\r\n b\r\n",
            "0\r\nX\u{e9}: a\r\n",
            "0\r\nContent-Length: 5\r\n",
            "0\r\ncontent_length: 5\r\n",
            "0\r\nTransfer---Encoding: chunked\r\n",
            "0\r\nHo.st: a\r\n",
            "0\r\nTransfer-Encoding: chunked\r\n",
            "0\r\nHOST: a\r\n",
            "0\r\nProxy-Authorization: a\r\n",
            "0\r\nGET / HTTP/1.1\r\n",
            &format!("1;{extension}\r\nx\r\n"),
            &many,
            &format!("0\r\n{}", "X: y\r\n".repeat(33)),
            &format!("0\r\n{}", line.repeat(28)),
        ] {
            check(text, &Outcome::Malformed);
        }
    }

    #[test]
    fn limits_are_inclusive() {
        let all = format!("1;{}\r\nx\r\n", "e".repeat(255)).repeat(16) + "0\r\n\r\n";
        check(&all, &Outcome::Ends(all.len()));
        let lines = format!("0\r\n{}\r\n", "X: y\r\n".repeat(32));
        check(&lines, &Outcome::Ends(lines.len()));
        // The largest size does not wrap.
        check("ffffffffffffffff\r\nx", &Outcome::Partial);
    }

    /// Pieces of bodies, most of which fit together.
    fn piece() -> impl Strategy<Value = Vec<u8>> {
        let chunk = proptest::collection::vec(any::<u8>(), 1..40).prop_map(|data| {
            let mut chunk = format!("{:x}\r\n", data.len()).into_bytes();
            chunk.extend(data);
            chunk.extend(b"\r\n");
            chunk
        });
        prop_oneof![
            8 => chunk,
            2 => Just(b"0\r\n".to_vec()),
            2 => Just(b"\r\n".to_vec()),
            1 => Just(b"2;a=b\r\nxy\r\n".to_vec()),
            1 => Just(b"X-Sum: 1\r\n".to_vec()),
            1 => Just(b"Content-Length: 1\r\n".to_vec()),
            1 => "[0-9a-f;:\r\n xX_-]{0,6}".prop_map(String::into_bytes),
            1 => "[1-2][ ;=a\"\\\\\t\\[]{0,8}\r\nx".prop_map(String::into_bytes),
        ]
    }

    proptest! {
        #[test]
        fn any_split_reads_as_the_whole(
            pieces in proptest::collection::vec(piece(), 0..8),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let text = pieces.concat();
            let expected = naive(&text);
            prop_assert_eq!(&scanned(&[&text]), &expected);
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let parts: Vec<_> = cuts.windows(2).map(|ends| &text[ends[0]..ends[1]]).collect();
            prop_assert_eq!(&scanned(&parts), &expected);
            let bytes: Vec<_> = text.chunks(1).collect();
            prop_assert_eq!(&scanned(&bytes), &expected);
        }

        /// The parser that reads the body after the scanner sees the same sizes.
        #[test]
        fn the_next_reader_agrees_on_sizes(line in "[0-9a-fA-F]{1,17}[ \t]?(;[ -~]{0,20})?\r\n") {
            if scanned(&[line.as_bytes()]) != Outcome::Malformed {
                let expected = naive_size(line.trim_end_matches("\r\n").as_bytes(), 0);
                let (size, _) = expected.expect("a size");
                let read = httparse::parse_chunk_size(line.as_bytes());
                prop_assert_eq!(read, Ok(httparse::Status::Complete((line.len(), size))));
            }
        }
    }

    /// Decodes a body in pieces of `size` bytes. Returns its content, its trailers, and its length.
    fn decoded(body: &[u8], size: usize) -> Result<(Vec<u8>, Vec<u8>, usize), Malformed> {
        let (mut scanner, mut content, mut consumed) = (Scanner::new(), Vec::new(), 0);
        for piece in body.chunks(size) {
            let mut piece = piece.to_vec();
            let decoded = scanner.decode(&mut piece)?;
            content.extend_from_slice(&piece[..decoded.content]);
            consumed += decoded.consumed;
        }
        Ok((content, scanner.trailers().to_vec(), consumed))
    }

    #[test]
    fn a_body_is_decoded_in_place_whatever_its_pieces() {
        let body = b"4;a=\"b\"\r\nWiki\r\n005\r\npedia\r\n0\r\nX-Sum: 1 2\r\nx-b:\r\n\r\nGET /";
        for size in 1..=body.len() {
            let (content, trailers, consumed) = decoded(body, size).unwrap();
            assert_eq!(content, b"Wikipedia", "{size}");
            assert_eq!(trailers, b"X-Sum: 1 2\r\nx-b:\r\n", "{size}");
            assert_eq!(consumed, body.len() - b"GET /".len(), "{size}");
        }
        assert_eq!(
            decoded(b"5\r\nWikip", 3).unwrap(),
            (b"Wikip".to_vec(), vec![], 8)
        );
        assert!(decoded(b"5\r\nWikipX", 3).is_err());
    }

    #[test]
    fn forbidden_trailers_of_a_response_are_left_out() {
        let body = b"0\r\nX-A: 1\r\nSet-Cookie: a=b\r\nX-B: 2\r\nContent_Length: 5\r\n\r\n";
        let mut scanner = Scanner::of_response();
        assert_eq!(scanner.scan(body), Ok(body.len()));
        assert_eq!(scanner.trailers(), b"X-A: 1\r\nX-B: 2\r\n");
        assert_eq!(Scanner::new().scan(body), Err(Malformed));
    }

    proptest::proptest! {
        #[test]
        fn decoding_and_scanning_agree(body in "([0-9a-f]{1,2}|\r\n|;a=b|x|0\r\n|a: b\r\n){0,12}", size in 1usize..9) {
            let (mut scanner, mut decoder) = (Scanner::new(), Scanner::new());
            for piece in body.as_bytes().chunks(size) {
                let scanned = scanner.scan(piece);
                let decoded = decoder.decode(&mut piece.to_vec());
                proptest::prop_assert_eq!(scanned, decoded.map(|decoded| decoded.consumed));
                if scanned.is_err() {
                    break;
                }
            }
            proptest::prop_assert_eq!(scanner.is_complete(), decoder.is_complete());
        }
    }
}
