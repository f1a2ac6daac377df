//! Specificity of a route as a comparable value: the greatest wins.

use std::cmp::Reverse;

use crate::config::model::{PathPattern, Priority, RouteConditions};

/// Rank of a route among those of a host. Fields are compared in order of declaration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Precedence {
    path: PathRank,
    /// Number of other conditions: listeners, scheme, methods, each header, countries, regions.
    conditions: usize,
    /// Position in the configuration: among equal routes the first one wins.
    place: Reverse<usize>,
}

/// Rank of a path. A regular expression does not tell how much it matches, so any prefix ranks
/// above any regular expression, unless the route says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum PathRank {
    Any,
    Regex,
    Prefix {
        length: usize,
        has_regex: bool,
        whole_segments: bool,
    },
    Exact,
    First,
}

impl Precedence {
    /// Creates the rank of the route with these conditions at `place` of the configuration.
    pub fn new(route: &RouteConditions, place: usize) -> Self {
        let path = match &route.path {
            _ if route.priority == Priority::First => PathRank::First,
            PathPattern::Any => PathRank::Any,
            PathPattern::Regex(_) => PathRank::Regex,
            PathPattern::Prefix(prefix) => PathRank::Prefix {
                length: prefix.text.len(),
                has_regex: !prefix.regexes.is_empty(),
                whole_segments: prefix.whole_segments,
            },
            PathPattern::Exact(_) => PathRank::Exact,
        };
        // Of these the position alone decides: the number of conditions does not compare different
        // patterns.
        let in_order = match path {
            PathRank::Regex | PathRank::First => true,
            PathRank::Prefix { has_regex, .. } => has_regex,
            PathRank::Any | PathRank::Exact => false,
        };
        Precedence {
            path,
            conditions: if in_order { 0 } else { route.count() },
            place: Reverse(place),
        }
    }
}
