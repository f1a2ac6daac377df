//! Edits of a message's header lines, for any representation of a head.
//!
//! A rule about headers (managed names, a route's changes, ids, compression) is written once, over
//! these traits. The HTTP/1 engine implements them on the bytes that were read, pingora's engine on
//! pingora's header maps, so the two cannot differ.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use pingora::http::{RequestHeader, ResponseHeader};

use super::client_ip::HeaderLines;

/// Name of a header line that is written, in the spelling in which it is sent.
#[derive(Clone, Copy, Debug)]
pub enum Name<'n> {
    /// A name of the gateway's own.
    Static(&'static str),
    /// A parsed name, in lower case.
    Parsed(&'n HeaderName),
    /// A name of the configuration.
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
pub trait EditHeaders: HeaderLines {
    /// Replaces all lines of a name by one. A value that no header can have is left out, and the
    /// lines are removed all the same.
    fn set(&mut self, name: Name<'_>, value: &[u8]);

    /// Adds a line after all others. A value that no header can have is left out.
    fn append(&mut self, name: Name<'_>, value: &[u8]);

    /// Removes all lines of a name.
    fn remove(&mut self, name: &str);

    /// Removes all lines whose names satisfy `is_one`.
    fn remove_if(&mut self, is_one: impl Fn(&str) -> bool);

    /// Returns `true` if there is a line of this name, which is in lower case.
    fn has(&self, name: &str) -> bool {
        self.first(name).is_some()
    }
}

/// Header lines of a response.
pub trait EditResponse: EditHeaders {
    /// Status code.
    fn status(&self) -> StatusCode;
}

/// Implements the traits for a head of pingora's.
macro_rules! edit_pingora {
    ($head:ty) => {
        impl HeaderLines for $head {
            fn lines<'s>(&'s self, name: &'s str) -> impl DoubleEndedIterator<Item = &'s [u8]> {
                self.headers.lines(name)
            }

            fn first(&self, name: &str) -> Option<&[u8]> {
                self.headers.first(name)
            }
        }

        impl EditHeaders for $head {
            fn set(&mut self, name: Name<'_>, value: &[u8]) {
                let Ok(value) = HeaderValue::from_bytes(value) else {
                    return self.remove(name.as_str());
                };
                let set = match name {
                    Name::Static(name) => self.insert_header(name, value),
                    Name::Parsed(name) => self.insert_header(name, value),
                    Name::Spelled(name) => self.insert_header(name.clone(), value),
                };
                set.expect("a valid name, and fewer lines than a map can have");
            }

            fn append(&mut self, name: Name<'_>, value: &[u8]) {
                let Ok(value) = HeaderValue::from_bytes(value) else {
                    return;
                };
                let appended = match name {
                    Name::Static(name) => self.append_header(name, value),
                    Name::Parsed(name) => self.append_header(name, value),
                    Name::Spelled(name) => self.append_header(name.clone(), value),
                };
                appended.expect("a valid name, and fewer lines than a map can have");
            }

            fn remove(&mut self, name: &str) {
                self.remove_header(name);
            }

            fn remove_if(&mut self, is_one: impl Fn(&str) -> bool) {
                let names = self.headers.keys();
                let found: Vec<_> = names
                    .filter(|name| is_one(name.as_str()))
                    .cloned()
                    .collect();
                for name in found {
                    self.remove_header(&name);
                }
            }
        }
    };
}

edit_pingora!(RequestHeader);
edit_pingora!(ResponseHeader);

impl EditResponse for ResponseHeader {
    fn status(&self) -> StatusCode {
        self.status
    }
}
