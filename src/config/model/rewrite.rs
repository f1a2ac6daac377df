//! Changes of values in an upstream's responses: of URLs that it redirects to, and of cookies.

use regex::bytes::Regex;

use super::template::Template;
use super::variable::RequestVariable;

/// Change of a value.
#[derive(Debug, Clone)]
pub struct ValueRewrite {
    /// Values that are changed.
    pub from: ValuePattern,
    /// Replacement. The groups of a regex in `from` are its variables.
    pub to: Template<RequestVariable>,
}

/// Pattern of values.
#[derive(Debug, Clone)]
pub enum ValuePattern {
    /// Beginning of the value, or all of it, which is replaced; with no text, of none.
    Text(Template<RequestVariable>),
    /// Match within the value, which is replaced as a whole.
    Regex(Regex),
}

/// Changes of the cookies that an upstream sets. Of each list the first that fits is made.
#[derive(Debug, Clone, Default)]
pub struct CookieRewrites {
    /// Changes of the attribute `Path`, by its beginning.
    pub path: Vec<ValueRewrite>,
    /// Changes of the attribute `Domain`, by the whole of it, in any case and without a leading dot.
    pub domain: Vec<ValueRewrite>,
    /// Flags of cookies.
    pub flags: Vec<CookieFlags>,
}

impl CookieRewrites {
    /// Returns `true` if nothing is changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.path.is_empty() && self.domain.is_empty() && self.flags.is_empty()
    }
}

/// Flags of the cookies of a name; `None` leaves a flag as it is.
#[derive(Debug, Clone)]
pub struct CookieFlags {
    /// Names of cookies.
    pub name: CookieName,
    /// `Secure`.
    pub secure: Option<bool>,
    /// `HttpOnly`.
    pub http_only: Option<bool>,
    /// `SameSite`; `Some(None)` removes it.
    pub same_site: Option<Option<&'static str>>,
}

/// Pattern of the names of cookies.
#[derive(Debug, Clone)]
pub enum CookieName {
    /// Every name.
    Any,
    /// This name, in any case.
    Exact(String),
    /// Names that contain a match of this pattern.
    Regex(Regex),
}
