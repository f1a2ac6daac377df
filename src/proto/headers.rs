//! Header lines, read and edited, for any representation of a head.
//!
//! A rule about headers (managed names, a route's changes, ids, compression) is written once, over
//! these traits: over the bytes that were read, and over header maps.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// Header lines of a message.
pub trait Headers {
    /// Values of all lines with a name, which is in lower case, in their order.
    fn lines<'s>(&'s self, name: &'s str) -> impl DoubleEndedIterator<Item = &'s [u8]>;

    /// Value of the first line with a name, which is in lower case.
    fn first(&self, name: &str) -> Option<&[u8]>;

    /// Returns `true` if there is a line with a name, which is in lower case.
    fn has(&self, name: &str) -> bool {
        self.first(name).is_some()
    }
}

impl Headers for HeaderMap {
    fn lines<'s>(&'s self, name: &'s str) -> impl DoubleEndedIterator<Item = &'s [u8]> {
        self.get_all(name).into_iter().map(HeaderValue::as_bytes)
    }

    fn first(&self, name: &str) -> Option<&[u8]> {
        self.get(name).map(HeaderValue::as_bytes)
    }
}

/// Name of a header line that is written, in the spelling in which it is sent.
#[derive(Clone, Copy, Debug)]
pub enum Name<'n> {
    /// Name of the gateway's own.
    Static(&'static str),
    /// Parsed name, in lower case.
    Parsed(&'n HeaderName),
    /// Name from the configuration.
    Spelled(&'n Bytes),
}

impl Name<'_> {
    /// Text of the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Name::Static(name) => name,
            Name::Parsed(name) => name.as_str(),
            Name::Spelled(name) => std::str::from_utf8(name).unwrap_or_default(),
        }
    }
}

/// Header lines that can be changed. Names are compared without regard to case.
pub trait EditHeaders: Headers {
    /// Replaces all lines of a name by one line. A value that [`is_value`] rejects is left out, and
    /// the lines are removed all the same.
    fn set(&mut self, name: Name<'_>, value: &[u8]);

    /// Adds a line after all others. A value that [`is_value`] rejects is left out.
    fn append(&mut self, name: Name<'_>, value: &[u8]);

    /// Adds a line after all others, whose value `write` appends to the bytes that it is given. A
    /// value that [`is_value`] rejects is left out.
    fn append_with(&mut self, name: Name<'_>, write: impl FnOnce(&mut Vec<u8>)) {
        let mut value = Vec::new();
        write(&mut value);
        self.append(name, &value);
    }

    /// Adds lines after all others.
    fn append_all(&mut self, lines: &LineBuffer) {
        for (name, value) in lines.iter() {
            self.append(
                Name::Spelled(&Bytes::copy_from_slice(name.as_bytes())),
                value,
            );
        }
    }

    /// Removes all lines of a name.
    fn remove(&mut self, name: &str);

    /// Removes all lines whose names satisfy `matches`.
    fn remove_if(&mut self, matches: impl Fn(&str) -> bool);
}

/// Header lines of a response that can be changed.
pub trait EditResponse: EditHeaders {
    /// Status code.
    fn status(&self) -> StatusCode;
}

/// Header lines as they are written, one behind the other.
#[derive(Clone, Debug, Default)]
pub struct LineBuffer {
    bytes: Vec<u8>,
    lines: Vec<Line>,
}

/// Positions of a line in a buffer, which is far below 4 GiB.
#[derive(Clone, Copy, Debug)]
struct Line {
    start: u32,
    name_end: u32,
    /// Position behind the line's end.
    end: u32,
}

/// Sign between a name and its value.
const COLON: &[u8] = b": ";

/// End of a line.
const LINE_END: &[u8] = b"\r\n";

impl LineBuffer {
    /// Removes all lines, and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.lines.clear();
    }

    /// Adds a line whose value `write` appends to the bytes that it is given. A value that
    /// [`is_value`] rejects is left out.
    pub fn push_with(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(name.as_bytes());
        let name_end = self.bytes.len();
        self.bytes.extend_from_slice(COLON);
        let value_start = self.bytes.len();
        write(&mut self.bytes);
        if !is_value(&self.bytes[value_start..]) {
            self.bytes.truncate(start);
            return;
        }
        self.bytes.extend_from_slice(LINE_END);
        self.lines.push(Line {
            start: position(start),
            name_end: position(name_end),
            end: position(self.bytes.len()),
        });
    }

    /// Adds a line. A value that [`is_value`] rejects is left out.
    pub fn push(&mut self, name: &str, value: &[u8]) {
        self.push_with(name, |bytes| bytes.extend_from_slice(value));
    }

    /// Adds all lines of another buffer.
    pub fn extend(&mut self, other: &LineBuffer) {
        let offset = position(self.bytes.len());
        self.bytes.extend_from_slice(&other.bytes);
        let moved = other.lines.iter().map(|line| Line {
            start: line.start + offset,
            name_end: line.name_end + offset,
            end: line.end + offset,
        });
        self.lines.extend(moved);
    }

    /// Removes all lines with a name, whatever its case.
    pub fn remove(&mut self, name: &str) {
        if self.first(name).is_some() {
            self.remove_if(|other| other.eq_ignore_ascii_case(name));
        }
    }

    /// Removes all lines whose names satisfy `matches`.
    pub fn remove_if(&mut self, matches: impl Fn(&str) -> bool) {
        if !self.iter().any(|(name, _)| matches(name)) {
            return;
        }
        let all = std::mem::take(self);
        for (name, value) in all.iter().filter(|(name, _)| !matches(name)) {
            self.push(name, value);
        }
    }

    /// Lines, each with its name and its value.
    #[must_use]
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&str, &[u8])> {
        self.lines.iter().map(|line| {
            let name = std::str::from_utf8(self.name(line));
            (name.unwrap_or_default(), self.value(line))
        })
    }

    /// Values of all lines with a name, whatever its case.
    #[must_use]
    pub fn values<'s>(&'s self, name: &'s str) -> impl DoubleEndedIterator<Item = &'s [u8]> {
        let lines = self.lines.iter();
        let same = lines.filter(|line| self.name(line).eq_ignore_ascii_case(name.as_bytes()));
        same.map(|line| self.value(line))
    }

    /// Value of the first line with a name, whatever its case.
    #[must_use]
    pub fn first(&self, name: &str) -> Option<&[u8]> {
        let mut lines = self.lines.iter();
        let found = lines.find(|line| self.name(line).eq_ignore_ascii_case(name.as_bytes()));
        found.map(|line| self.value(line))
    }

    /// Bytes of all lines, each with its end.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn name(&self, line: &Line) -> &[u8] {
        &self.bytes[line.start as usize..line.name_end as usize]
    }

    fn value(&self, line: &Line) -> &[u8] {
        let start = line.name_end as usize + COLON.len();
        &self.bytes[start..line.end as usize - LINE_END.len()]
    }
}

/// Converts a position in a head. The configured size limit keeps positions far below 4 GiB.
pub(super) fn position(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Returns `true` for bytes that a header's value may have (RFC 9110, 5.5): no control characters
/// but the tab, so that no value can end its line.
#[must_use]
pub fn is_value(bytes: &[u8]) -> bool {
    let is_control = |byte: u8| (byte < b' ' && byte != b'\t') || byte == 0x7f;
    // Without an early exit the compiler vectorises this loop.
    !bytes
        .iter()
        .fold(false, |any, &byte| any | is_control(byte))
}

/// Returns `true` for the only expectation that HTTP defines, `100-continue` (RFC 9110, 10.1.1).
#[must_use]
pub fn is_expectation(value: &[u8]) -> bool {
    value.eq_ignore_ascii_case(b"100-continue")
}

/// Returns `true` if a header's name, in any case, has the letters of a header for framing, routing
/// or the connection, and is not that name: `Content_Length`, `Transfer--Encoding`, `Host.`. Some
/// servers ignore the characters between the letters, and so would read another message than the
/// gateway does.
pub fn is_look_alike(name: &str) -> bool {
    let Some(first) = name.bytes().find(u8::is_ascii_alphanumeric) else {
        return false;
    };
    // Most names end here, or at their second letter.
    let known: &[&str] = match first | 0x20 {
        b'c' => &["connection", "content-length"],
        b't' => &["transfer-encoding", "te", "trailer"],
        b'h' => &["host"],
        b'u' => &["upgrade"],
        b'e' => &["expect"],
        _ => &[],
    };
    let is_another = |known: &&str| {
        name.len() + 1 >= known.len()
            && is_spelling_of(name, known)
            && !name.eq_ignore_ascii_case(known)
    };
    known.iter().any(is_another)
}

/// Returns `true` if two names have the same letters and digits, ignoring case.
#[must_use]
pub fn is_spelling_of(name: &str, other: &str) -> bool {
    letters(name).eq(letters(other))
}

/// Letters and digits of a name, in lower case.
pub(super) fn letters(name: &str) -> impl Iterator<Item = u8> {
    let letters = name.bytes().filter(u8::is_ascii_alphanumeric);
    letters.map(|letter| letter.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_the_letters_of_framing_are_look_alikes() {
        for name in [
            "content_length",
            "Content.Length",
            "ContentLength",
            "content-length-",
            "Transfer---Encoding",
            "transfer_-encoding",
            "TRANSFER~ENCODING",
            "Ho_st",
            "host.",
            "_host",
            "T-E",
            "Connec-tion",
            "Up_Grade",
            "ex|pect",
            "tr-ailer",
        ] {
            assert!(is_look_alike(name), "{name}");
        }
        for name in [
            "Content-Length",
            "transfer-encoding",
            "HOST",
            "te",
            "connection",
            "content-type",
            "content-lengths",
            "x-host",
            "hosts",
            "tea",
            "user-agent",
            "cookie",
            "_",
            "-.-",
            "",
        ] {
            assert!(!is_look_alike(name), "{name}");
        }
    }

    #[test]
    fn lines_are_found_and_removed_and_written() {
        let mut lines = LineBuffer::default();
        lines.push("X-A", b"1");
        lines.push("X-B", b"a\r\nX-C: d");
        let mut more = lines.clone();
        more.push_with("x-a", |bytes| bytes.extend_from_slice(b""));
        lines.push("Y", b"2");
        lines.extend(&more);
        assert_eq!(lines.as_bytes(), b"X-A: 1\r\nY: 2\r\nX-A: 1\r\nx-a: \r\n");
        assert_eq!(
            lines.values("X-a").collect::<Vec<_>>(),
            [&b"1"[..], b"1", b""]
        );
        let names: Vec<_> = lines.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["X-A", "Y", "X-A", "x-a"]);
        lines.remove_if(|name| name == "X-A");
        assert_eq!(lines.as_bytes(), b"Y: 2\r\nx-a: \r\n");
        lines.remove("X-a");
        assert_eq!(lines.first("y"), Some(&b"2"[..]));
        lines.clear();
        assert_eq!((lines.iter().count(), lines.as_bytes()), (0, &b""[..]));
    }

    #[test]
    fn a_value_cannot_end_its_line() {
        for value in ["", "a", "a\tb", "caf\u{e9}", "\"%~"] {
            assert!(is_value(value.as_bytes()), "{value:?}");
            assert!(HeaderValue::from_bytes(value.as_bytes()).is_ok());
        }
        for value in ["\r", "\n", "a\r\nb: c", "\0", "\x1b", "\x7f"] {
            assert!(!is_value(value.as_bytes()), "{value:?}");
            assert!(HeaderValue::from_bytes(value.as_bytes()).is_err());
        }
    }
}
