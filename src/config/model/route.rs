//! Which requests go where.

use std::sync::Arc;

use http::Method;
use regex::bytes::Regex;

use super::files::Files;
use super::limit::RouteLimits;
use super::template::Template;
use super::territory::Territory;
use super::variable::RequestVariable;

/// A route: what it takes, and what happens to that.
#[derive(Debug, Clone)]
pub struct Route {
    /// Name in logs and metrics; no other route has it.
    pub name: String,
    /// One of these; any host if there is none.
    pub hosts: Vec<HostPattern>,
    /// The path, normalised.
    pub path: PathPattern,
    /// One of these; any method if there is none. `GET` takes `HEAD` as well.
    pub methods: Vec<Method>,
    /// All of these.
    pub headers: Vec<HeaderCondition>,
    /// One of these; any country, and none, if there is none.
    pub countries: Vec<Territory>,
    /// One of these; any region, and none, if there is none.
    pub regions: Vec<Territory>,
    /// What happens.
    pub action: Action,
    /// Who may come, how often, and what a request may take.
    pub limits: RouteLimits,
    /// Whether responses are compressed; as for all if it does not say.
    pub compress: Option<bool>,
    /// What is changed in requests to upstreams.
    pub request_headers: HeaderChanges,
    /// What is changed in every response.
    pub response_headers: HeaderChanges,
}

/// A host: lower case, without a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPattern {
    /// This one.
    Exact(String),
    /// Every one that ends so; it begins with a dot.
    Wildcard(String),
}

/// A path: decoded, normalised.
#[derive(Debug, Clone)]
pub enum PathPattern {
    /// Every path, and a request that has none (`OPTIONS *`).
    Any,
    /// Every path in which this is found.
    Regex(Regex),
    /// This path and what lies under it.
    Prefix(String),
    /// This path.
    Exact(String),
}

/// A header line that must be there.
#[derive(Debug, Clone)]
pub struct HeaderCondition {
    /// In lower case.
    pub name: String,
    /// What one of its lines must be.
    pub value: HeaderPattern,
}

/// What a header line must be.
#[derive(Debug, Clone)]
pub enum HeaderPattern {
    /// This.
    Exact(String),
    /// Something in which this is found.
    Regex(Regex),
}

/// What happens to a request.
#[derive(Debug, Clone)]
pub enum Action {
    /// It goes to an upstream.
    Upstream {
        /// Its place among the configuration's upstreams.
        number: usize,
        /// What becomes of its path; otherwise it stays.
        rewrite: Option<Template<RequestVariable>>,
        /// Changes of where the upstream redirects to; the first that fits is made.
        rewrite_location: Vec<LocationRewrite>,
    },
    /// A file answers it.
    Files {
        /// Where they are.
        files: Arc<Files>,
        /// What becomes of its path; otherwise it stays.
        rewrite: Option<Template<RequestVariable>>,
    },
    /// It is sent elsewhere.
    Redirect {
        /// 301, 302, 303, 307 or 308.
        status: u16,
        /// Where to.
        to: Template<RequestVariable>,
    },
    /// It is answered.
    Respond {
        /// 200 to 599.
        status: u16,
        /// Empty for a status without one.
        body: Template<RequestVariable>,
        /// Its media type.
        media_type: String,
    },
}

/// Change of a URL to which an upstream redirects, in `Location` or `Refresh`.
#[derive(Debug, Clone)]
pub struct LocationRewrite {
    /// Beginning of the URLs that are changed; with no text, of none.
    pub from: Template<RequestVariable>,
    /// Replacement of that beginning.
    pub to: Template<RequestVariable>,
}

/// What is changed in the headers of a message.
#[derive(Debug, Clone, Default)]
pub struct HeaderChanges {
    /// Deleted, first.
    pub remove: Vec<String>,
    /// In place of all lines of the name; an empty value deletes them.
    pub set: Vec<(String, Template<RequestVariable>)>,
}
