//! Header lines of pingora's heads, which local replies are made of, with the traits of all others.

use http::{HeaderValue, StatusCode};
use pingora::http::ResponseHeader;

use crate::proto::headers::{EditHeaders, EditResponse, Headers, Name};

/// Implements the traits for a pingora head.
macro_rules! edit_pingora {
    ($head:ty) => {
        impl Headers for $head {
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

#[cfg(test)]
edit_pingora!(pingora::http::RequestHeader);
edit_pingora!(ResponseHeader);

impl EditResponse for ResponseHeader {
    fn status(&self) -> StatusCode {
        self.status
    }
}
