//! What one route asks of a request.

use http::Method;

use crate::config::model::{HeaderCondition, HeaderPattern, PathPattern, Route};
use crate::gateway::client_ip::HeaderLines;
use crate::geo::Place;

/// What of a request matters to routes, besides its path, which is read in more than one way.
pub struct Asked<'r, H> {
    /// Normalised; `None` if there is none.
    pub host: Option<&'r str>,
    pub method: &'r Method,
    pub headers: &'r H,
    /// Where the client is.
    pub place: Option<Place<'r>>,
}

/// What a route asks of a request besides its host.
pub struct Conditions(Route);

impl Conditions {
    pub fn new(route: &Route) -> Self {
        Conditions(route.clone())
    }

    /// The pattern of the path.
    pub fn path(&self) -> &PathPattern {
        &self.0.path
    }

    /// The methods that it takes; none if it takes all.
    pub fn methods(&self) -> &[Method] {
        &self.0.methods
    }

    /// Whether it takes a method. What answers `GET` can answer `HEAD` (RFC 9110, 9.3.2).
    pub fn takes(&self, method: &Method) -> bool {
        let methods = &self.0.methods;
        methods.is_empty()
            || methods.contains(method)
            || *method == Method::HEAD && methods.contains(&Method::GET)
    }

    /// Whether all but the method and the host is as it asks.
    pub fn meets<H: HeaderLines>(&self, asked: &Asked<H>, path: Option<&[u8]>) -> bool {
        let route = &self.0;
        let is_in = |territories: &[crate::config::model::Territory]| {
            territories.is_empty()
                || asked.place.is_some_and(|place| {
                    territories
                        .iter()
                        .any(|territory| territory.contains(&place))
                })
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
        // `OPTIONS *` is about the whole server, as is what takes all paths.
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
            // A segment is whole: `/api` has nothing to do with `/apix`.
            rest.is_some_and(|rest| prefix.ends_with('/') || matches!(rest, [] | [b'/', ..]))
        }
        PathPattern::Regex(regex) => regex.is_match(path),
    }
}

fn has_header(condition: &HeaderCondition, headers: &impl HeaderLines) -> bool {
    let mut lines = headers.lines(&condition.name);
    match &condition.value {
        HeaderPattern::Exact(text) => lines.any(|line| line == text.as_bytes()),
        HeaderPattern::Regex(regex) => lines.any(|line| regex.is_match(line)),
    }
}
