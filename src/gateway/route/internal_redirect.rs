//! Internal redirects, as values.

use http::StatusCode;

use crate::proto::headers::LineBuffer;

/// Internal redirect of a request to another path or route.
#[derive(Debug)]
pub struct InternalRedirect {
    /// Target in place of the client's: path and query.
    pub target: Vec<u8>,
    /// Number of internal redirects of the request so far.
    pub count: u8,
    /// Response that is replaced; `None` if there was none.
    pub replaced: Option<Replaced>,
}

/// Response in whose place another one is sent.
#[derive(Debug)]
pub struct Replaced {
    /// Status of the answer; `None` for the status that it has by itself.
    pub status: Option<StatusCode>,
    /// Header lines of the response that the client gets with the answer.
    pub lines: LineBuffer,
    /// `true` for an error. The answer to one has no error page again.
    pub is_error: bool,
}

impl Replaced {
    /// Media type that an upstream gives the answer in place of its own.
    pub fn media_type(&self) -> Option<&[u8]> {
        let media_type = self.lines.first("content-type");
        media_type.filter(|_| !self.is_error)
    }

    /// Adds the cookies of a response that was replaced before.
    pub fn keep_cookies_of(&mut self, before: &Replaced) {
        for cookie in before.lines.values("set-cookie") {
            self.lines.push("Set-Cookie", cookie);
        }
    }
}

/// Answer that takes the place of a response.
#[derive(Debug)]
pub struct Replacement {
    /// Place where the answer comes from.
    pub source: Source,
    /// Response that it replaces.
    pub replaced: Replaced,
    /// Maximum number of bytes of the request's body that are read before an answer without it; a
    /// longer rest stays unread.
    pub read_body: u64,
}

/// Place where an answer comes from.
#[derive(Debug)]
pub enum Source {
    /// Request of this target, path and query, with the method `GET` and without a body.
    Target(Vec<u8>),
    /// The request itself, by the route of this name.
    Route(String),
    /// Redirect of the client to this location.
    Location {
        /// Status of the redirect.
        status: u16,
        /// Value of `Location`.
        location: Vec<u8>,
    },
    /// None: the upstream names a place that does not exist.
    Nowhere,
}
