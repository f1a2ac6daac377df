//! Conditions of one route on a request.

use std::net::SocketAddr;

use http::Method;

use crate::config::model::{
    HeaderCondition, HeaderPattern, ListenerPattern, PathPattern, PathPrefix, Priority, Region,
    RequestVariable, RouteConditions, VariableCondition,
};
use crate::gateway::listener::is_at;
use crate::geo::Place;
use crate::proto::headers::Headers;

/// Attributes of a request that routes match, besides its path, which has several readings.
pub struct MatchInput<'r, H> {
    /// Normalised host; `None` if the request has none.
    pub host: Option<&'r str>,
    /// Local address of the connection; `None` if it is unknown, or no route has a condition on it.
    pub local: Option<SocketAddr>,
    /// `true` if the connection has TLS.
    pub tls: bool,
    /// `true` for a request that another route has sent on: `priority = "first"` is for others.
    pub is_rerouted: bool,
    pub method: &'r Method,
    pub headers: &'r H,
    /// Geographic place of the client.
    pub place: Option<Place<'r>>,
    /// Appends the value of a variable.
    pub variable: &'r dyn Fn(&RequestVariable, &mut Vec<u8>),
}

/// Conditions of a route besides its host.
pub struct Conditions(RouteConditions);

impl Conditions {
    pub fn new(route: &RouteConditions) -> Self {
        Conditions(route.clone())
    }

    /// Pattern of the path.
    pub fn path(&self) -> &PathPattern {
        &self.0.path
    }

    /// Returns `true` if regular expressions that match go before the route.
    pub fn is_below_regex(&self) -> bool {
        self.0.priority == Priority::BelowRegex
    }

    /// Returns `true` for a regular expression without a prefix.
    pub fn is_regex(&self) -> bool {
        matches!(self.0.path, PathPattern::Regex(_))
    }

    /// Methods that the route takes; empty if it takes all.
    pub fn methods(&self) -> &[Method] {
        &self.0.methods
    }

    /// Returns `true` if the route takes a method. A route for `GET` also takes `HEAD` (RFC 9110,
    /// 9.3.2).
    pub fn takes(&self, method: &Method) -> bool {
        let methods = &self.0.methods;
        methods.is_empty()
            || methods.contains(method)
            || *method == Method::HEAD && methods.contains(&Method::GET)
    }

    /// Returns `true` if all conditions besides the method and the host match.
    pub fn meets<H: Headers>(&self, asked: &MatchInput<H>, path: Option<&[u8]>) -> bool {
        let route = &self.0;
        let is_in = |regions: &[Region]| {
            regions.is_empty()
                || asked
                    .place
                    .is_some_and(|place| regions.iter().any(|region| region.contains(&place)))
        };
        has_path(&route.path, path)
            && !(asked.is_rerouted && route.priority == Priority::First)
            && route.tls.is_none_or(|tls| tls == asked.tls)
            && has_listener(&route.listeners, asked.local)
            && route
                .headers
                .iter()
                .all(|header| has_header(header, asked.headers))
            && route
                .variables
                .iter()
                .all(|condition| has_value(condition, asked.variable))
            && is_in(&route.countries)
            && is_in(&route.regions)
    }
}

fn has_listener(listeners: &[ListenerPattern], local: Option<SocketAddr>) -> bool {
    let is_it = |pattern: &ListenerPattern, local: SocketAddr| match pattern {
        ListenerPattern::Address(address) => is_at(*address, local),
        ListenerPattern::Port(port) => *port == local.port(),
    };
    listeners.is_empty()
        || local.is_some_and(|local| listeners.iter().any(|pattern| is_it(pattern, local)))
}

fn has_path(pattern: &PathPattern, path: Option<&[u8]>) -> bool {
    let Some(path) = path else {
        // `OPTIONS *` refers to the whole server, so only a route for all paths matches.
        return match pattern {
            PathPattern::Any => true,
            PathPattern::Prefix(prefix) => prefix.text == "/" && prefix.regexes.is_empty(),
            PathPattern::Exact(_) | PathPattern::Regex(_) => false,
        };
    };
    match pattern {
        PathPattern::Any => true,
        PathPattern::Exact(exact) => path == exact.as_bytes(),
        PathPattern::Prefix(prefix) => has_prefix(prefix, path),
        PathPattern::Regex(regexes) => regexes.iter().all(|regex| regex.is_match(path)),
    }
}

fn has_prefix(prefix: &PathPrefix, path: &[u8]) -> bool {
    let Some(rest) = path.strip_prefix(prefix.text.as_bytes()) else {
        return false;
    };
    // With whole segments, `/api` does not match `/apix`.
    let is_segment = || prefix.text.ends_with('/') || matches!(rest, [] | [b'/', ..]);
    (!prefix.whole_segments || is_segment())
        && prefix.regexes.iter().all(|regex| regex.is_match(path))
}

fn has_header(condition: &HeaderCondition, headers: &impl Headers) -> bool {
    let mut lines = headers.lines(&condition.name);
    match &condition.value {
        HeaderPattern::Exact(text) => lines.any(|line| line == text.as_bytes()),
        HeaderPattern::Regex(regex) => lines.any(|line| regex.is_match(line)),
    }
}

fn has_value(
    condition: &VariableCondition,
    append: &dyn Fn(&RequestVariable, &mut Vec<u8>),
) -> bool {
    let mut value = Vec::new();
    append(&condition.variable, &mut value);
    match &condition.value {
        HeaderPattern::Exact(text) => value == text.as_bytes(),
        HeaderPattern::Regex(regex) => regex.is_match(&value),
    }
}
