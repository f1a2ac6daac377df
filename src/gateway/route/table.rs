//! Routes by host, in order of precedence.
//!
//! A host is found with a hash lookup, so a thousand hosts cost the same as one. The routes of one
//! host are few and are tried one after the other.

use std::collections::BTreeSet;
use std::ops::Range;

use hashbrown::HashMap;
use http::Method;
use regex::bytes::Regex;

use super::condition::{Conditions, MatchInput};
use super::precedence::Precedence;
use crate::config::model::{HostPattern, RouteConditions};
use crate::proto::headers::Headers;

/// Routes of a configuration, by index.
pub struct Table {
    conditions: Vec<Conditions>,
    exact: HashMap<String, Bucket>,
    /// Routes by the suffix of the host, which begins with a dot.
    suffixes: HashMap<String, Bucket>,
    /// Routes by the prefix of the host, which ends with a dot.
    prefixes: HashMap<String, Bucket>,
    /// Routes by patterns of the host, in the order of the configuration.
    patterns: Vec<(Regex, Bucket)>,
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
    pub fn new<'m>(routes: impl IntoIterator<Item = &'m RouteConditions>) -> Self {
        let routes: Vec<_> = routes.into_iter().collect();
        let mut table = Table {
            conditions: routes.iter().map(|route| Conditions::new(route)).collect(),
            exact: HashMap::new(),
            suffixes: HashMap::new(),
            prefixes: HashMap::new(),
            patterns: Vec::new(),
            any: Vec::new(),
        };
        let mut order: Vec<usize> = (0..routes.len()).collect();
        order.sort_by_key(|number| std::cmp::Reverse(Precedence::new(routes[*number], *number)));
        // Patterns keep the order of the configuration, each bucket that of precedence.
        for host in routes.iter().flat_map(|route| &route.hosts) {
            if let HostPattern::Regex(regex) = host {
                table.bucket_of(regex);
            }
        }
        for number in order {
            for host in &routes[number].hosts {
                let bucket = match host {
                    HostPattern::Exact(name) => table.exact.entry(name.clone()).or_default(),
                    HostPattern::Suffix(end) => table.suffixes.entry(end.clone()).or_default(),
                    HostPattern::Prefix(begin) => table.prefixes.entry(begin.clone()).or_default(),
                    HostPattern::Regex(regex) => table.bucket_of(regex),
                };
                bucket.push(number);
            }
            if routes[number].hosts.is_empty() {
                table.any.push(number);
            }
        }
        table
    }

    fn bucket_of(&mut self, regex: &Regex) -> &mut Bucket {
        let is_same = |(known, _): &(Regex, Bucket)| known.as_str() == regex.as_str();
        let at = self.patterns.iter().position(is_same);
        let at = at.unwrap_or_else(|| {
            self.patterns.push((regex.clone(), Vec::new()));
            self.patterns.len() - 1
        });
        &mut self.patterns[at].1
    }

    /// Finds the most specific route for a request with this normalised path.
    pub fn find<H: Headers>(&self, asked: &MatchInput<H>, path: Option<&[u8]>) -> TableMatch {
        let mut found = TableMatch::Nothing;
        for bucket in self.buckets(asked.host) {
            let mut matching = bucket
                .iter()
                .copied()
                .filter(|number| self.conditions[*number].meets(asked, path));
            while let Some(number) = matching.next() {
                let conditions = &self.conditions[number];
                if !conditions.takes(asked.method) {
                    found = TableMatch::OtherMethods;
                    continue;
                }
                if !conditions.is_below_regex() {
                    return TableMatch::Route(number);
                }
                let regex = matching.find(|number| {
                    let other = &self.conditions[*number];
                    other.is_regex() && other.takes(asked.method)
                });
                return TableMatch::Route(regex.unwrap_or(number));
            }
        }
        found
    }

    /// Methods of the routes that match, in the form of `Allow`.
    pub fn methods<H: Headers>(&self, asked: &MatchInput<H>, path: Option<&[u8]>) -> String {
        let routes = self.buckets(asked.host).flatten();
        let routes = routes.map(|number| &self.conditions[*number]);
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
        match (self.conditions[number].path().regex(), path) {
            (Some(regex), Some(path)) => super::captures(regex, path),
            _ => Vec::new(),
        }
    }

    /// Routes of a host, the most specific first: those of the host itself, of its longest suffix,
    /// of its longest prefix, of the first pattern, and those for all hosts.
    fn buckets(&self, host: Option<&str>) -> impl Iterator<Item = &Bucket> {
        let exact = host.and_then(|host| self.exact.get(host));
        let suffixes = host.filter(|_| !self.suffixes.is_empty()).into_iter();
        // From left to right, so the longest suffix comes first.
        let suffixes = suffixes.flat_map(move |host| dots(host).map(move |at| &host[at..]));
        let prefixes = host.filter(|_| !self.prefixes.is_empty()).into_iter();
        let prefixes = prefixes.flat_map(move |host| dots(host).rev().map(move |at| &host[..=at]));
        let patterns = host.into_iter().flat_map(|host| {
            let matching = |(regex, _): &&(Regex, Bucket)| regex.is_match(host.as_bytes());
            self.patterns
                .iter()
                .filter(matching)
                .map(|(_, bucket)| bucket)
        });
        exact
            .into_iter()
            .chain(suffixes.filter_map(|suffix| self.suffixes.get(suffix)))
            .chain(prefixes.filter_map(|prefix| self.prefixes.get(prefix)))
            .chain(patterns)
            .chain([&self.any])
    }
}

/// Positions of the dots in a host. At least one character must precede a dot, and one must follow.
fn dots(host: &str) -> impl DoubleEndedIterator<Item = usize> {
    let last = host.len().saturating_sub(1);
    memchr::memchr_iter(b'.', host.as_bytes()).filter(move |at| *at > 0 && *at < last)
}
