//! Routes by host, in order of precedence.
//!
//! A host is found with a hash lookup, so a thousand hosts cost the same as one. The routes of one
//! host are few and are tried one after the other.

use std::collections::BTreeSet;
use std::ops::Range;

use hashbrown::HashMap;
use http::Method;

use super::condition::{Conditions, MatchInput};
use super::precedence::Precedence;
use crate::config::model::{HostPattern, PathPattern, Route};
use crate::proto::headers::Headers;

/// Routes of a configuration, by index.
pub struct Table {
    conditions: Vec<Conditions>,
    exact: HashMap<String, Bucket>,
    /// Routes by the suffix of the host, which begins with a dot.
    wildcard: HashMap<String, Bucket>,
    any: Bucket,
}

/// Indexes of routes, the most specific first.
type Bucket = Vec<usize>;

/// Result of matching a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableMatch {
    /// Index of the route.
    Route(usize),
    /// No route takes this method, but routes for other methods match.
    OtherMethods,
    /// No route matches.
    Nothing,
}

impl Table {
    pub fn new(routes: &[Route]) -> Self {
        let mut exact: HashMap<String, Vec<(Precedence, usize)>> = HashMap::new();
        let mut wildcard: HashMap<String, Vec<(Precedence, usize)>> = HashMap::new();
        let mut any = Vec::new();
        for (number, route) in routes.iter().enumerate() {
            for host in &route.hosts {
                let ranked = (Precedence::new(route, Some(host), number), number);
                match host {
                    HostPattern::Exact(name) => exact.entry(name.clone()).or_default().push(ranked),
                    HostPattern::Wildcard(end) => {
                        wildcard.entry(end.clone()).or_default().push(ranked);
                    }
                }
            }
            if route.hosts.is_empty() {
                any.push((Precedence::new(route, None, number), number));
            }
        }
        Table {
            conditions: routes.iter().map(Conditions::new).collect(),
            exact: buckets(exact),
            wildcard: buckets(wildcard),
            any: bucket(any),
        }
    }

    /// Finds the most specific route for a request with this normalised path.
    pub fn find<H: Headers>(&self, asked: &MatchInput<H>, path: Option<&[u8]>) -> TableMatch {
        let mut found = TableMatch::Nothing;
        for number in self.candidates(asked.host) {
            let conditions = &self.conditions[number];
            if conditions.meets(asked, path) {
                if conditions.takes(asked.method) {
                    return TableMatch::Route(number);
                }
                found = TableMatch::OtherMethods;
            }
        }
        found
    }

    /// Methods of the routes that match, in the form of `Allow`.
    pub fn methods<H: Headers>(&self, asked: &MatchInput<H>, path: Option<&[u8]>) -> String {
        let routes = self
            .candidates(asked.host)
            .map(|number| &self.conditions[number]);
        let routes = routes.filter(|conditions| conditions.meets(asked, path));
        let mut methods: BTreeSet<&str> = routes
            .flat_map(|conditions| conditions.methods().iter().map(Method::as_str))
            .collect();
        if methods.contains("GET") {
            methods.insert("HEAD");
        }
        methods.into_iter().collect::<Vec<_>>().join(", ")
    }

    /// Ranges of the groups of a route's pattern in a path; empty if it has none.
    pub fn captures(&self, number: usize, path: Option<&[u8]>) -> Vec<Option<Range<usize>>> {
        match (self.conditions[number].path(), path) {
            (PathPattern::Regex(regex), Some(path)) => super::captures(regex, path),
            _ => Vec::new(),
        }
    }

    /// Routes of a host, the most specific first.
    fn candidates(&self, host: Option<&str>) -> impl Iterator<Item = usize> {
        let exact = host.and_then(|host| self.exact.get(host));
        let endings = host.filter(|_| !self.wildcard.is_empty()).into_iter();
        // From left to right, so the longest suffix comes first. At least one character must
        // precede the dot.
        let endings = endings.flat_map(|host| {
            let dots = memchr::memchr_iter(b'.', host.as_bytes()).filter(|at| *at > 0);
            dots.map(move |at| &host[at..])
        });
        let wildcard = endings.filter_map(|ending| self.wildcard.get(ending));
        let buckets = exact.into_iter().chain(wildcard).chain([&self.any]);
        buckets.flatten().copied()
    }
}

fn buckets(map: HashMap<String, Vec<(Precedence, usize)>>) -> HashMap<String, Bucket> {
    map.into_iter()
        .map(|(host, routes)| (host, bucket(routes)))
        .collect()
}

fn bucket(mut routes: Vec<(Precedence, usize)>) -> Bucket {
    routes.sort_unstable_by(|a, b| b.cmp(a));
    routes.into_iter().map(|(_, number)| number).collect()
}
