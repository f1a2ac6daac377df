//! Specificity of a route as a comparable value: the greatest wins.

use std::cmp::Reverse;

use crate::config::model::{HostPattern, PathPattern, Route};

/// Rank of a route for one of its hosts. Fields are compared in order of declaration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Precedence {
    host: HostRank,
    path: PathRank,
    /// Number of other conditions: methods, each header, countries, regions.
    conditions: usize,
    /// Position in the configuration: among equal routes the first one wins.
    place: Reverse<usize>,
}

/// Rank of a host. A longer wildcard suffix is more specific.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum HostRank {
    Any,
    Wildcard(usize),
    Exact,
}

/// Rank of a path. A regular expression does not tell how much it matches, so any prefix ranks
/// above any regular expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum PathRank {
    Any,
    Regex,
    Prefix(usize),
    Exact,
}

impl Precedence {
    /// Creates the rank of the route at `place` of the configuration, for its host pattern `host`.
    pub fn new(route: &Route, host: Option<&HostPattern>, place: usize) -> Self {
        let lists = [
            !route.methods.is_empty(),
            !route.countries.is_empty(),
            !route.regions.is_empty(),
        ];
        Precedence {
            host: match host {
                None => HostRank::Any,
                Some(HostPattern::Wildcard(ending)) => HostRank::Wildcard(ending.len()),
                Some(HostPattern::Exact(_)) => HostRank::Exact,
            },
            path: match &route.path {
                PathPattern::Any => PathRank::Any,
                PathPattern::Regex(_) => PathRank::Regex,
                PathPattern::Prefix(prefix) => PathRank::Prefix(prefix.len()),
                PathPattern::Exact(_) => PathRank::Exact,
            },
            conditions: route.headers.len() + lists.into_iter().filter(|there| *there).count(),
            place: Reverse(place),
        }
    }
}
