//! Which route a request takes.
//!
//! Of the routes that match, the most specific one wins, and how specific a route is, is a value
//! that compares ([`precedence`]), not an order of questions. It is known before any request
//! comes, so a [`table`] has the routes of each host in that order, and the first that matches is
//! the one. A path is matched in the one spelling that all its spellings lead to ([`spelling`]).

mod admit;
mod condition;
mod precedence;
mod rewrite_location;
mod serve;
mod spelling;
mod table;
mod target;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use regex::bytes::Regex;

pub use rewrite_location::rewrite_location;
pub use serve::direct;

use self::condition::Asked;
use self::spelling::Spelling;
use self::table::{Found, Table};
use super::client_ip::HeaderLines;
use super::header_rules::HeaderRules;
use super::limit::RouteGate;
use super::upstream::Pool;
use crate::config::model::{self, Files, LocationRewrite, PathPattern, RequestVariable, Template};

/// All routes of a configuration.
pub struct Routes {
    table: Table,
    /// In the order of the configuration, as the table numbers them.
    routes: Vec<Route>,
}

/// What happens to the requests that a route takes.
pub struct Route {
    pub name: String,
    pub action: Action,
    pub gate: RouteGate,
    pub compress: Option<bool>,
    pub request_headers: HeaderRules,
    pub response_headers: HeaderRules,
}

/// What happens to a request.
pub enum Action {
    /// It goes to one of these peers.
    Upstream {
        pool: Arc<Pool>,
        rewrite: Option<Rewrite>,
        rewrite_location: Vec<LocationRewrite>,
    },
    /// A file answers it.
    Files {
        files: Arc<Files>,
        rewrite: Option<Rewrite>,
    },
    /// It is sent elsewhere.
    Redirect {
        status: u16,
        to: Template<RequestVariable>,
    },
    /// It is answered.
    Respond {
        status: u16,
        body: Body,
        media_type: String,
    },
}

/// A body of our own.
pub enum Body {
    /// The same for everyone.
    Fixed(Bytes),
    /// Another for every request.
    Template(Template<RequestVariable>),
}

/// What becomes of a path.
pub struct Rewrite {
    pub to: Template<RequestVariable>,
    /// How many bytes of the normalised path it replaces; all of them if that is not said.
    pub prefix: Option<usize>,
}

/// The route that a request takes, and what was learned on the way.
pub struct Routed {
    /// Number of the route.
    number: usize,
    /// The path that was matched; `None` if it is as the client wrote it.
    path: Option<Box<[u8]>>,
    /// Where the groups of the route's pattern are in the path; none if nothing asks for them.
    captures: Vec<Option<Range<usize>>>,
    /// What the upstream is asked for instead of what the client asked for.
    pub target: Option<Vec<u8>>,
}

impl Routed {
    /// The path that the captures are parts of.
    pub fn path(&self) -> Option<&[u8]> {
        self.path.as_deref()
    }

    /// Where the groups of the route's pattern are in [`Routed::path`].
    pub fn captures(&self) -> &[Option<Range<usize>>] {
        &self.captures
    }
}

/// Where a request goes.
enum Decision {
    Route(Routed),
    /// There is something for other methods: these.
    OtherMethods(String),
    /// There is nothing.
    Nothing,
    /// The path can be read in several ways that lead to several routes, or in none.
    Ambiguous,
}

impl Routes {
    /// The routes of a configuration, whose upstreams have these pools and which are entered through
    /// these gates. `None` if it has none.
    pub fn new(
        routes: &[model::Route],
        pools: &[Arc<Pool>],
        gate: impl Fn(&model::Route) -> RouteGate,
    ) -> Option<Self> {
        if routes.is_empty() {
            return None;
        }
        Some(Routes {
            table: Table::new(routes),
            routes: routes
                .iter()
                .map(|route| Route::new(route, pools, gate(route)))
                .collect(),
        })
    }

    /// All routes, in the order of the configuration.
    pub fn all(&self) -> &[Route] {
        &self.routes
    }

    /// The route that a request took.
    pub fn get(&self, routed: &Routed) -> &Route {
        &self.routes[routed.number]
    }

    /// Decides on a request: `path` is its path as sent, if it has one.
    fn decide<H: HeaderLines>(&self, asked: &Asked<H>, path: Option<&[u8]>) -> Decision {
        let Some(path) = path else {
            return self.decision(self.table.find(asked, None), asked, None);
        };
        let Some(spelling) = Spelling::read(path) else {
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

    fn decision<H: HeaderLines>(
        &self,
        found: Found,
        asked: &Asked<H>,
        path: Option<&[u8]>,
    ) -> Decision {
        match found {
            Found::Route(number) => Decision::Route(Routed {
                number,
                path: None,
                captures: self.table.captures(number, path),
                target: None,
            }),
            Found::OtherMethods => Decision::OtherMethods(self.table.methods(asked, path)),
            Found::Nothing => Decision::Nothing,
        }
    }
}

impl Route {
    fn new(route: &model::Route, pools: &[Arc<Pool>], gate: RouteGate) -> Self {
        let rewrite = |to: &Option<Template<RequestVariable>>| {
            to.as_ref().map(|to| Rewrite {
                to: to.clone(),
                prefix: match &route.path {
                    PathPattern::Prefix(prefix) => Some(prefix.len()),
                    PathPattern::Any => Some(0),
                    PathPattern::Exact(_) | PathPattern::Regex(_) => None,
                },
            })
        };
        let action = match &route.action {
            model::Action::Upstream {
                number,
                rewrite: to,
                rewrite_location,
            } => Action::Upstream {
                pool: Arc::clone(&pools[*number]),
                rewrite: rewrite(to),
                rewrite_location: rewrite_location.clone(),
            },
            model::Action::Files { files, rewrite: to } => Action::Files {
                files: Arc::clone(files),
                rewrite: rewrite(to),
            },
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
        };
        Route {
            name: route.name.clone(),
            action,
            gate,
            compress: route.compress,
            request_headers: HeaderRules::new(&route.request_headers),
            response_headers: HeaderRules::new(&route.response_headers),
        }
    }
}

/// The groups of a pattern in a path, if it has any besides the whole match.
fn captures(pattern: &Regex, path: &[u8]) -> Vec<Option<Range<usize>>> {
    if pattern.captures_len() < 2 {
        return Vec::new();
    }
    let captures = pattern.captures(path);
    let groups = captures.iter().flat_map(|captures| captures.iter());
    groups
        .map(|group| group.map(|group| group.range()))
        .collect()
}

#[cfg(test)]
mod tests;
