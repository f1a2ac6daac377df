//! Conditions of one route on a request.

use http::Method;

use crate::config::model::{HeaderCondition, HeaderPattern, PathPattern, Route};
use crate::geo::Place;
use crate::proto::headers::Headers;

/// Attributes of a request that routes match, besides its path, which has several readings.
pub struct MatchInput<'r, H> {
    /// Normalised host; `None` if the request has none.
    pub host: Option<&'r str>,
    pub method: &'r Method,
    pub headers: &'r H,
    /// Geographic place of the client.
    pub place: Option<Place<'r>>,
}

/// Conditions of a route besides its host.
pub struct Conditions(Route);

impl Conditions {
    pub fn new(route: &Route) -> Self {
        Conditions(route.clone())
    }

    /// Pattern of the path.
    pub fn path(&self) -> &PathPattern {
        &self.0.path
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
        let is_in = |territories: &[crate::config::model::Region]| {
            territories.is_empty()
                || asked
                    .place
                    .is_some_and(|place| territories.iter().any(|region| region.contains(&place)))
        };
        has_path(&route.path, path)
            && route
                .headers
                .iter()
                .all(|header| has_header(header, asked.headers))
            && is_in(&route.countries)
            && is_in(&route.regions)
    }
}

fn has_path(pattern: &PathPattern, path: Option<&[u8]>) -> bool {
    let Some(path) = path else {
        // `OPTIONS *` refers to the whole server, so only a route for all paths matches.
        return match pattern {
            PathPattern::Any => true,
            PathPattern::Prefix(prefix) => prefix == "/",
            PathPattern::Exact(_) | PathPattern::Regex(_) => false,
        };
    };
    match pattern {
        PathPattern::Any => true,
        PathPattern::Exact(exact) => path == exact.as_bytes(),
        PathPattern::Prefix(prefix) => {
            let rest = path.strip_prefix(prefix.as_bytes());
            // A prefix matches whole segments: `/api` does not match `/apix`.
            rest.is_some_and(|rest| prefix.ends_with('/') || matches!(rest, [] | [b'/', ..]))
        }
        PathPattern::Regex(regex) => regex.is_match(path),
    }
}

fn has_header(condition: &HeaderCondition, headers: &impl Headers) -> bool {
    let mut lines = headers.lines(&condition.name);
    match &condition.value {
        HeaderPattern::Exact(text) => lines.any(|line| line == text.as_bytes()),
        HeaderPattern::Regex(regex) => lines.any(|line| regex.is_match(line)),
    }
}
