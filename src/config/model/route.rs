//! Routes: conditions on requests, and actions.

use std::sync::Arc;

use http::Method;
use regex::bytes::Regex;

use super::fastcgi::FastCgi;
use super::files::Files;
use super::limit::RouteLimits;
use super::region::Region;
use super::template::Template;
use super::variable::RequestVariable;

/// A route: its conditions and its action.
#[derive(Debug, Clone)]
pub struct Route {
    /// Unique name in logs and metrics.
    pub name: String,
    /// Hosts, of which one must match; empty for any host.
    pub hosts: Vec<HostPattern>,
    /// Pattern of the normalized path.
    pub path: PathPattern,
    /// Allowed methods; empty for any method. `GET` includes `HEAD`.
    pub methods: Vec<Method>,
    /// Header conditions, all of which must match.
    pub headers: Vec<HeaderCondition>,
    /// Countries, of which one must match; empty for any country, also an unknown one.
    pub countries: Vec<Region>,
    /// Regions, of which one must match; empty for any region, also an unknown one.
    pub regions: Vec<Region>,
    /// Action for matching requests.
    pub action: Action,
    /// Access rules, rate limits and request limits.
    pub limits: RouteLimits,
    /// True if responses are compressed; `None` for the global setting.
    pub compress: Option<bool>,
    /// Header changes in requests to upstreams.
    pub request_headers: HeaderChanges,
    /// Header changes in all responses of the route.
    pub response_headers: HeaderChanges,
}

/// Pattern of hosts: lower case, without a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPattern {
    /// This host.
    Exact(String),
    /// All hosts with this suffix, which begins with a dot.
    Wildcard(String),
}

/// Pattern of paths: decoded and normalized.
#[derive(Debug, Clone)]
pub enum PathPattern {
    /// Every path, also that of a request without one (`OPTIONS *`).
    Any,
    /// Paths that contain a match of this pattern.
    Regex(Regex),
    /// This path and all paths below it.
    Prefix(String),
    /// This path only.
    Exact(String),
}

/// A required header.
#[derive(Debug, Clone)]
pub struct HeaderCondition {
    /// Name in lower case.
    pub name: String,
    /// Pattern that one of the header's values must match.
    pub value: HeaderPattern,
}

/// Pattern of a header value.
#[derive(Debug, Clone)]
pub enum HeaderPattern {
    /// This value.
    Exact(String),
    /// Values that contain a match of this pattern.
    Regex(Regex),
}

/// Action of a route.
#[derive(Debug, Clone)]
pub enum Action {
    /// Forwards the request to an upstream.
    Upstream {
        /// Index in `Config::upstreams`.
        number: usize,
        /// New path; `None` keeps the path.
        rewrite: Option<Template<RequestVariable>>,
        /// Changes of where the upstream redirects to; the first that fits is made.
        rewrite_location: Vec<LocationRewrite>,
        /// Scripts of an upstream that speaks FastCGI; `None` for every other upstream.
        fastcgi: Option<Arc<FastCgi>>,
    },
    /// Serves a static file.
    Files {
        /// Settings of the folder.
        files: Arc<Files>,
        /// New path; `None` keeps the path.
        rewrite: Option<Template<RequestVariable>>,
    },
    /// Redirects the client.
    Redirect {
        /// Status: 301, 302, 303, 307 or 308.
        status: u16,
        /// Target URL or path.
        to: Template<RequestVariable>,
    },
    /// Sends a fixed response.
    Respond {
        /// Status from 200 to 599.
        status: u16,
        /// Body; empty for a status that has none.
        body: Template<RequestVariable>,
        /// Media type of the body.
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

/// Changes in the headers of a message.
#[derive(Debug, Clone, Default)]
pub struct HeaderChanges {
    /// Names of headers to delete, before `set` is applied.
    pub remove: Vec<String>,
    /// Headers to set in place of all lines of the name; an empty value deletes them.
    pub set: Vec<(String, Template<RequestVariable>)>,
}
