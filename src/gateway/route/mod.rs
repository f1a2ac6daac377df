//! Routing: matching of a request to a route.
//!
//! If several routes match, the most specific one wins. The specificity of a route is a comparable
//! value ([`precedence`]), not a sequence of conditions. It is known before any request, so a
//! [`table`] has the routes of each host in that order, and the first match wins. A path is matched
//! in a normal form that all its equivalent spellings share ([`path_readings`]).

pub mod condition;
mod internal_redirect;
pub mod path_readings;
mod precedence;
mod table;
pub mod target;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashMap;
use regex::bytes::Regex;

use self::condition::MatchInput;
pub use self::internal_redirect::{InternalRedirect, Replaced, Replacement, Source};
use self::path_readings::PathReadings;
use self::table::{Table, TableMatch};
use super::access::RouteLimits;
use super::request::header_rules::{HeaderRules, ResponseRules};
use super::request::own_value::append_own;
use super::request::variables::View;
use super::upstream::Pool;
use crate::config::model::{
    self, CookieRewrites, ErrorPages, FastCgi, Files, HostPattern, LogRef, OwnVariable,
    PathPattern, RequestVariable, Template, UpstreamChoice, ValueRewrite, Variable,
};
use crate::proto::headers::Headers;

/// All routes of a configuration.
pub struct Routes {
    table: Table,
    /// `true` if a route has a condition on the listener.
    has_listeners: bool,
    /// All routes in the order of the configuration; the table refers to them by index.
    all: Vec<Route>,
    /// Indexes of the routes by their names.
    names: HashMap<String, usize>,
}

/// Route: its action and the settings of its requests.
pub struct Route {
    pub name: String,
    /// `true` if clients get 404, and only internal redirects lead here.
    pub internal: bool,
    /// `true` if only redirects to its name lead here.
    pub is_by_name: bool,
    /// Patterns of hosts with groups.
    pub host_patterns: Vec<Regex>,
    pub action: Action,
    pub limits: RouteLimits,
    pub compress: Option<bool>,
    pub errors: ErrorPages,
    /// Changes of the cookies that an upstream sets; `None` if there are none.
    pub cookies: Option<Box<CookieRewrites>>,
    pub request_headers: HeaderRules,
    pub response_headers: ResponseRules,
    /// Positions of the access logs of the route's requests; `None` for the default ones.
    pub logs: Option<Box<[usize]>>,
}

/// Action of a route.
pub enum Action {
    /// Proxies the request to a peer of a pool.
    Upstream {
        pool: PoolChoice,
        rewrite: Option<Rewrite>,
        rewrite_location: Vec<ValueRewrite>,
        fastcgi: Option<Arc<FastCgi>>,
    },
    /// Serves a file.
    Files {
        files: Arc<Files>,
        rewrite: Option<Rewrite>,
    },
    /// Chooses a route anew, by another path, perhaps with a query.
    Reroute(Template<RequestVariable>),
    /// Redirects the client.
    Redirect {
        status: u16,
        to: Template<RequestVariable>,
    },
    /// Responds with a fixed status and body.
    Respond {
        status: u16,
        body: Body,
        media_type: String,
    },
}

/// Choice of an upstream's pool.
pub enum PoolChoice {
    /// This pool.
    One(Arc<Pool>),
    /// The pool that a variable names; not empty.
    By {
        variable: Arc<OwnVariable<Variable>>,
        pools: Vec<(String, Arc<Pool>)>,
    },
}

impl PoolChoice {
    fn new(choice: &UpstreamChoice, pools: &[Arc<Pool>]) -> Self {
        match choice {
            UpstreamChoice::One(number) => PoolChoice::One(Arc::clone(&pools[*number])),
            UpstreamChoice::By { variable, values } => {
                let values = values.iter();
                let pools =
                    values.map(|(name, number)| (name.clone(), Arc::clone(&pools[*number])));
                PoolChoice::By {
                    variable: Arc::clone(variable),
                    pools: pools.collect(),
                }
            }
        }
    }

    /// Returns the pool for a request. The configuration has one for each value of the variable.
    pub fn pool<H: Headers>(&self, view: &View<H>) -> &Arc<Pool> {
        match self {
            PoolChoice::One(pool) => pool,
            PoolChoice::By { variable, pools } => {
                let mut name = Vec::new();
                append_own(variable, view, &mut name);
                let known = pools.iter().find(|(known, _)| known.as_bytes() == name);
                &known.unwrap_or(&pools[0]).1
            }
        }
    }
}

/// Body of a local reply.
pub enum Body {
    /// Constant body.
    Fixed(Bytes),
    /// Template that is expanded for every request.
    Template(Template<RequestVariable>),
}

/// Rewrite of a path.
pub struct Rewrite {
    pub to: Template<RequestVariable>,
    pub part: RewrittenPart,
}

/// Part of the normalised path that is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RewrittenPart {
    /// Whole path.
    Path,
    /// Prefix of this length in bytes. One slash separates its replacement from the rest.
    Segments(usize),
    /// Prefix of this length in bytes. The rest follows its replacement as it is.
    Beginning(usize),
}

/// Route of a request, with the results of matching it.
pub struct RouteMatch {
    /// Index of the route.
    number: usize,
    /// Path that was matched; `None` if it is identical to what the client sent.
    path: Option<Box<[u8]>>,
    /// Ranges in the path of the groups of the route's pattern; empty if the pattern has no groups.
    captures: Vec<Option<Range<usize>>>,
    /// Request target for the upstream if it differs from the client's.
    pub target: Option<Vec<u8>>,
    /// Internal redirect that led here; `None` for the client's own request.
    pub redirect: Option<Box<InternalRedirect>>,
}

impl RouteMatch {
    /// Returns `true` if both are of one route.
    pub fn is_same_route(&self, other: &RouteMatch) -> bool {
        self.number == other.number
    }

    /// Response that the answer of the route replaces.
    pub fn into_replaced(self) -> Option<Replaced> {
        self.redirect?.replaced
    }

    /// Path that the captures refer to.
    pub fn path(&self) -> Option<&[u8]> {
        self.path.as_deref()
    }

    /// Ranges of the pattern's groups in [`RouteMatch::path`].
    pub fn captures(&self) -> &[Option<Range<usize>>] {
        &self.captures
    }
}

/// Result of routing a request.
pub enum Decision {
    Route(RouteMatch),
    /// No route takes this method, but routes for these other methods match.
    OtherMethods(String),
    /// No route matches.
    Nothing,
    /// The path has several readings that match different routes, or it has no valid reading.
    Ambiguous,
}

impl Routes {
    /// Creates the routes of a configuration with the pools of its upstreams, limits for each
    /// route and the positions of access logs. Returns `None` if there are no routes.
    pub fn new(
        routes: &[model::Route],
        pools: &[Arc<Pool>],
        limits: impl Fn(&model::Route) -> RouteLimits,
        logs: impl Fn(&[LogRef]) -> Box<[usize]>,
    ) -> Option<Self> {
        if routes.is_empty() {
            return None;
        }
        Some(Routes {
            table: Table::new(routes.iter().map(|route| &route.conditions)),
            has_listeners: routes
                .iter()
                .any(|route| !route.conditions.listeners.is_empty()),
            names: (0..)
                .zip(routes)
                .map(|(number, route)| (route.name.clone(), number))
                .collect(),
            all: routes
                .iter()
                .map(|route| Route::new(route, pools, limits(route), &logs))
                .collect(),
        })
    }

    /// Route of this name.
    pub fn by_name(&self, name: &str) -> Option<&Route> {
        Some(&self.all[*self.names.get(name)?])
    }

    /// Returns `true` for the name of a route that is reached by its name alone.
    pub fn is_by_name(&self, name: &str) -> bool {
        self.by_name(name).is_some_and(|route| route.is_by_name)
    }

    /// Returns `true` if a request is routed by the local address of its connection, too.
    pub fn has_listeners(&self) -> bool {
        self.has_listeners
    }

    /// All routes, in the order of the configuration.
    pub fn all(&self) -> &[Route] {
        &self.all
    }

    /// Returns the route of a request.
    pub fn get(&self, routed: &RouteMatch) -> &Route {
        &self.all[routed.number]
    }

    /// Routes a request. `path` is its path as sent, `None` for `*`.
    pub fn decide<H: Headers>(&self, asked: &MatchInput<H>, path: Option<&[u8]>) -> Decision {
        let Some(path) = path else {
            return self.decision(self.table.find(asked, None), asked, None);
        };
        let Some(spelling) = PathReadings::read(path) else {
            return Decision::Ambiguous;
        };
        let find = |path: &[u8]| self.table.find(asked, Some(path));
        let found = find(&spelling.normal);
        if spelling.others.iter().any(|other| find(other) != found) {
            return Decision::Ambiguous;
        }
        let sent = match spelling.literal {
            Some(literal) if find(&literal.path) == found => literal.sent,
            _ => spelling.sent,
        };
        let mut decision = self.decision(found, asked, Some(&spelling.normal));
        if let Decision::Route(taken) = &mut decision {
            if *spelling.normal != *path || !taken.captures.is_empty() {
                taken.path = Some(spelling.normal.into());
            }
            taken.target = (*sent != *path).then(|| sent.into_owned());
        }
        decision
    }

    /// Enters the route of this name with a path as sent. Returns `None` if there is none, or the path
    /// has no valid reading.
    pub fn enter(&self, name: &str, path: &[u8]) -> Option<RouteMatch> {
        let number = *self.names.get(name)?;
        let readings = PathReadings::read(path)?;
        Some(RouteMatch {
            number,
            captures: self.table.captures(number, Some(&readings.normal)),
            target: (*readings.sent != *path).then(|| readings.sent.to_vec()),
            redirect: None,
            path: (*readings.normal != *path || self.table.has_groups(number))
                .then(|| readings.normal.into()),
        })
    }

    fn decision<H: Headers>(
        &self,
        found: TableMatch,
        asked: &MatchInput<H>,
        path: Option<&[u8]>,
    ) -> Decision {
        match found {
            TableMatch::Route(number) => Decision::Route(RouteMatch {
                number,
                path: None,
                captures: self.table.captures(number, path),
                target: None,
                redirect: None,
            }),
            TableMatch::OtherMethods => Decision::OtherMethods(self.table.methods(asked, path)),
            TableMatch::Nothing => Decision::Nothing,
        }
    }
}

impl Action {
    fn new(route: &model::Route, pools: &[Arc<Pool>]) -> Self {
        let rewrite = |to: &Option<Template<RequestVariable>>| {
            to.as_ref().map(|to| Rewrite {
                to: to.clone(),
                part: RewrittenPart::of(&route.conditions.path),
            })
        };
        match &route.action {
            model::Action::Upstream {
                choice,
                rewrite: to,
                rewrite_location,
                fastcgi,
            } => Action::Upstream {
                pool: PoolChoice::new(choice, pools),
                rewrite: rewrite(to),
                rewrite_location: rewrite_location.clone(),
                fastcgi: fastcgi.clone(),
            },
            model::Action::Files { files, rewrite: to } => Action::Files {
                files: Arc::clone(files),
                rewrite: rewrite(to),
            },
            model::Action::Reroute { to } => Action::Reroute(to.clone()),
            model::Action::Redirect { status, to } => Action::Redirect {
                status: *status,
                to: to.clone(),
            },
            model::Action::Respond {
                status,
                body,
                media_type,
            } => Action::Respond {
                status: *status,
                body: match body.variables().next() {
                    Some(_) => Body::Template(body.clone()),
                    None => Body::Fixed(body.texts().collect::<String>().into()),
                },
                media_type: media_type.clone(),
            },
        }
    }
}

impl RewrittenPart {
    /// Part that a rewrite of a route with this pattern replaces.
    fn of(path: &PathPattern) -> Self {
        match path {
            PathPattern::Prefix(prefix) if !prefix.regexes.is_empty() => RewrittenPart::Path,
            PathPattern::Prefix(prefix) if prefix.whole_segments => {
                RewrittenPart::Segments(prefix.text.len())
            }
            PathPattern::Prefix(prefix) => RewrittenPart::Beginning(prefix.text.len()),
            PathPattern::Any => RewrittenPart::Segments(0),
            PathPattern::Exact(_) | PathPattern::Regex(_) => RewrittenPart::Path,
        }
    }
}

impl Route {
    fn new(
        route: &model::Route,
        pools: &[Arc<Pool>],
        limits: RouteLimits,
        logs: impl Fn(&[LogRef]) -> Box<[usize]>,
    ) -> Self {
        let hosts = route.conditions.hosts.iter();
        let host_patterns = hosts.filter_map(|host| match host {
            HostPattern::Regex(regex) => Some(regex.clone()),
            _ => None,
        });
        Route {
            name: route.name.clone(),
            internal: route.conditions.internal,
            is_by_name: route.conditions.is_by_name(),
            host_patterns: host_patterns.collect(),
            action: Action::new(route, pools),
            limits,
            compress: route.compress,
            errors: route.errors.clone(),
            cookies: (!route.cookies.is_empty()).then(|| Box::new(route.cookies.clone())),
            request_headers: HeaderRules::new(&route.request_headers),
            response_headers: ResponseRules::new(&route.response_headers),
            logs: route.access_logs.as_deref().map(logs),
        }
    }
}

/// Ranges of the groups of a pattern in a path; empty if the pattern has no groups besides the
/// whole match.
fn captures(pattern: &Regex, path: &[u8]) -> Vec<Option<Range<usize>>> {
    if pattern.captures_len() < 2 {
        return Vec::new();
    }
    groups(pattern, path).unwrap_or_default()
}

/// Ranges of the groups of a pattern in a text, the whole match first; `None` if it does not match.
pub fn groups(pattern: &Regex, text: &[u8]) -> Option<Vec<Option<Range<usize>>>> {
    let captures = pattern.captures(text)?;
    let groups = captures.iter();
    Some(groups.map(|group| Some(group?.range())).collect())
}

#[cfg(test)]
mod tests;
