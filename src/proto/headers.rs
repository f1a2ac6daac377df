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

/// Returns `true` for bytes that a header's value may have (RFC 9110, 5.5): no control characters
/// but the tab, so that no value can end its line.
#[must_use]
pub fn is_value(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .all(|&byte| byte == b'\t' || byte >= b' ' && byte != 0x7f)
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
        b'c' => &["content-length", "connection"],
        b't' => &["transfer-encoding", "te", "trailer"],
        b'h' => &["host"],
        b'u' => &["upgrade"],
        b'e' => &["expect"],
        _ => &[],
    };
    let is_another =
        |known: &&str| is_spelling_of(name, known) && !name.eq_ignore_ascii_case(known);
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
