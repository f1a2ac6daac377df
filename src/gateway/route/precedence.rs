//! How specific a route is, as a value: the greater wins.

use std::cmp::Reverse;

use crate::config::model::{HostPattern, PathPattern, Route};

/// The rank of a route for one of its hosts. The fields are compared in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Precedence {
    host: HostRank,
    path: PathRank,
    /// How many kinds of conditions there are besides: methods, each header, countries, regions.
    conditions: usize,
    /// Between equals the first in the file wins.
    place: Reverse<usize>,
}

/// The longer a wildcard's ending, the more specific it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum HostRank {
    Any,
    Wildcard(usize),
    Exact,
}

/// A pattern says nothing of how much it takes, so any prefix goes above any pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum PathRank {
    Any,
    Regex,
    Prefix(usize),
    Exact,
}

impl Precedence {
    /// The rank of the route at `place` of the configuration, where it is matched by `host`.
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
