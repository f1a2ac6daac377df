//! Routes: conditions on requests, and actions.

use std::net::SocketAddr;
use std::sync::Arc;

use http::Method;
use regex::bytes::Regex;

use super::error_page::ErrorPages;
use super::expires::Expires;
use super::fastcgi::FastCgi;
use super::files::Files;
use super::limit::RouteLimits;
use super::log::LogRef;
use super::own_variable::OwnVariable;
use super::region::Region;
use super::rewrite::{CookieRewrites, ValueRewrite};
use super::template::Template;
use super::variable::{RequestVariable, Variable};

/// A route: its conditions and its action.
#[derive(Debug, Clone)]
pub struct Route {
    /// Unique name in logs and metrics.
    pub name: String,
    /// Conditions, all of which must match.
    pub conditions: RouteConditions,
    /// Action for matching requests.
    pub action: Action,
    /// Access rules, rate limits and request limits.
    pub limits: RouteLimits,
    /// True if responses are compressed; `None` for the global setting.
    pub compress: Option<bool>,
    /// Answers in place of errors.
    pub errors: ErrorPages,
    /// Changes of the cookies that an upstream sets.
    pub cookies: CookieRewrites,
    /// Header changes in requests to upstreams.
    pub request_headers: HeaderChanges<RequestVariable>,
    /// Header changes in the responses of the route.
    pub response_headers: ResponseChanges,
    /// Access logs of the route's requests; `None` for those of all other requests.
    pub access_logs: Option<Vec<LogRef>>,
}

/// Conditions of a route on a request.
#[derive(Debug, Clone)]
pub struct RouteConditions {
    /// Hosts, of which one must match; empty for any host.
    pub hosts: Vec<HostPattern>,
    /// Listeners, of which one must have accepted the connection; empty for any listener.
    pub listeners: Vec<ListenerPattern>,
    /// True for connections with TLS, false for those in clear text; `None` for both.
    pub tls: Option<bool>,
    /// Pattern of the normalized path.
    pub path: PathPattern,
    /// True if clients get 404, and only internal redirects use the route. Without a pattern of the path
    /// only those that name it do.
    pub internal: bool,
    /// Change of the place that the pattern gives the route among others.
    pub priority: Priority,
    /// Allowed methods; empty for any method. `GET` includes `HEAD`.
    pub methods: Vec<Method>,
    /// Header conditions, all of which must match.
    pub headers: Vec<HeaderCondition>,
    /// Conditions on variables, all of which must match.
    pub variables: Vec<VariableCondition>,
    /// Countries, of which one must match; empty for any country, also an unknown one.
    pub countries: Vec<Region>,
    /// Regions, of which one must match; empty for any region, also an unknown one.
    pub regions: Vec<Region>,
}

impl RouteConditions {
    /// Returns `true` for a route that is reached by its name alone.
    #[must_use]
    pub fn is_by_name(&self) -> bool {
        self.internal && matches!(self.path, PathPattern::Any)
    }

    /// Returns the number of conditions besides those on host and path.
    #[must_use]
    pub fn count(&self) -> usize {
        let others = [
            !self.listeners.is_empty(),
            self.tls.is_some(),
            !self.methods.is_empty(),
            !self.countries.is_empty(),
            !self.regions.is_empty(),
        ];
        self.headers.len()
            + self.variables.len()
            + others.into_iter().filter(|is_there| *is_there).count()
    }
}

/// Pattern of hosts: lower case, without a port.
#[derive(Debug, Clone)]
pub enum HostPattern {
    /// This host.
    Exact(String),
    /// All hosts with this suffix, which begins with a dot.
    Suffix(String),
    /// All hosts with this prefix, which ends with a dot.
    Prefix(String),
    /// Hosts that contain a match of this pattern.
    Regex(Regex),
}

/// Pattern of listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerPattern {
    /// The listener of this address and port.
    Address(SocketAddr),
    /// All listeners of this port.
    Port(u16),
}

/// Pattern of paths: decoded and normalized.
#[derive(Debug, Clone)]
pub enum PathPattern {
    /// Every path, also that of a request without one (`OPTIONS *`).
    Any,
    /// Paths that contain a match of each of these patterns; at least one.
    Regex(Vec<Regex>),
    /// Paths with this beginning.
    Prefix(PathPrefix),
    /// This path only.
    Exact(String),
}

/// Beginning of paths.
#[derive(Debug, Clone)]
pub struct PathPrefix {
    /// Beginning of the path.
    pub text: String,
    /// True if the beginning ends with a segment: `/api` does not match `/apix` then.
    pub whole_segments: bool,
    /// Patterns that the path must contain a match of, too.
    pub regexes: Vec<Regex>,
}

/// Change of a route's place among the routes of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// The place follows from the conditions.
    Normal,
    /// Before all routes of the host without this priority.
    First,
    /// Of a prefix: behind the regular expressions that match, too.
    BelowRegex,
}

impl PathPattern {
    /// Returns the regular expression whose groups are variables: the last one.
    #[must_use]
    pub fn regex(&self) -> Option<&Regex> {
        match self {
            PathPattern::Regex(regexes) => regexes.last(),
            PathPattern::Prefix(prefix) => prefix.regexes.last(),
            PathPattern::Any | PathPattern::Exact(_) => None,
        }
    }
}

/// A required header.
#[derive(Debug, Clone)]
pub struct HeaderCondition {
    /// Name in lower case.
    pub name: String,
    /// Pattern that one of the header's values must match.
    pub value: HeaderPattern,
}

/// A required value of a variable.
#[derive(Debug, Clone)]
pub struct VariableCondition {
    /// The variable, whose value is known before the route is.
    pub variable: RequestVariable,
    /// Pattern of its value.
    pub value: HeaderPattern,
}

/// Pattern of the value of a header or a variable.
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
        /// Upstream, or the variable that names it.
        choice: UpstreamChoice,
        /// New path; `None` keeps the path.
        rewrite: Option<Template<RequestVariable>>,
        /// Changes of where the upstream redirects to; the first that fits is made.
        rewrite_location: Vec<ValueRewrite>,
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
    /// Chooses a route anew, by another path.
    Reroute {
        /// New path, perhaps with a query.
        to: Template<RequestVariable>,
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

/// Choice of an upstream, by its index in `Config::upstreams`.
#[derive(Debug, Clone)]
pub enum UpstreamChoice {
    /// This upstream.
    One(usize),
    /// The upstream that a variable names.
    By {
        /// The variable.
        variable: Arc<OwnVariable<Variable>>,
        /// Upstreams by all values that the variable can have; not empty.
        values: Vec<(String, usize)>,
    },
}

/// Changes in the headers of a message.
#[derive(Debug, Clone)]
pub struct HeaderChanges<V> {
    /// Names of headers to delete, before `set` is applied.
    pub remove: Vec<String>,
    /// Headers to set in place of all lines of the name; an empty value deletes them.
    pub set: Vec<(String, Template<V>)>,
    /// Lines to add behind the others; an empty value adds none.
    pub add: Vec<(String, Template<V>)>,
}

// A derived implementation would require `V: Default`.
impl<V> Default for HeaderChanges<V> {
    fn default() -> Self {
        HeaderChanges {
            remove: Vec::new(),
            set: Vec::new(),
            add: Vec::new(),
        }
    }
}

/// Changes in the headers of responses.
#[derive(Debug, Clone, Default)]
pub struct ResponseChanges {
    /// Changes of all responses.
    pub always: HeaderChanges<Variable>,
    /// Expiry of successful responses.
    pub expires: Option<Expires>,
    /// Changes of successful responses, after all others.
    pub on_success: HeaderChanges<Variable>,
}
