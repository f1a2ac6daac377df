//! Order in which nginx tries the locations of a server, as conditions of routes.
//!
//! nginx looks for an exact location, then for the longest prefix, and within it for nested
//! locations; then for the first regular expression that matches, unless the prefix has `^~`, from
//! the innermost block outwards. If there is none, it takes the prefix.
//!
//! Routes have the same order: exact paths, the longest prefix with a regular expression, the prefix
//! alone, regular expressions in the order of the file; `priority = "below_regex"` puts a prefix
//! behind these. An expression that is nested in a prefix applies to the longer prefixes within it,
//! too, so it has a route for each of them.

use std::collections::HashMap;

use regex::bytes::Regex;

use super::pattern::{Pattern, compiled, is_preferred, pattern, translated};
use crate::nginx::tree::Directive;

/// Path of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RoutePath {
    pub(super) base: Base,
    /// Expressions that must match, too.
    pub(super) regexes: Vec<String>,
    pub(super) priority: Option<&'static str>,
}

/// Path or prefix of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Base {
    Any,
    Exact(String),
    /// Beginning of the path, which may end within a segment.
    Prefix(String),
}

impl RoutePath {
    /// All paths, after those of all other routes of the server.
    pub(super) const REST: RoutePath = RoutePath {
        base: Base::Any,
        regexes: Vec::new(),
        priority: None,
    };

    /// One path.
    pub(super) fn exact(path: &str) -> Self {
        RoutePath {
            base: Base::Exact(path.to_owned()),
            ..RoutePath::REST
        }
    }

    /// Paths that match an expression of the server itself, before all locations.
    pub(super) fn of_server(regex: Option<String>) -> Self {
        RoutePath {
            regexes: regex.into_iter().collect(),
            priority: Some("first"),
            ..RoutePath::REST
        }
    }

    /// Those of a location's paths that match an expression, too.
    pub(super) fn and(&self, regex: &str) -> Self {
        let mut path = self.clone();
        if path == RoutePath::REST {
            // Expressions of other locations still come before those of this one.
            path.base = Base::Prefix("/".to_owned());
            path.priority = Some("below_regex");
        }
        path.regexes.push(regex.to_owned());
        path
    }
}

/// Position of a location among the routes of its server.
#[derive(Debug)]
pub(super) enum Placed {
    /// Paths of the location's routes. Together they take the requests that nginx would give the
    /// location, and no others, if `is_exact`; otherwise they take more.
    At {
        paths: Vec<RoutePath>,
        is_exact: bool,
    },
    /// Longer prefixes beside the locations around it take all its requests.
    Unreached,
}

/// The locations around a nested location, from the outermost to the innermost.
#[derive(Debug, Clone, Default)]
pub(super) struct Around<'a>(Vec<&'a Directive>);

impl<'a> Around<'a> {
    /// Returns the locations around those that are nested in `location`.
    pub(super) fn within(&self, location: &'a Directive) -> Around<'a> {
        let mut around = self.0.clone();
        around.push(location);
        Around(around)
    }
}

/// Plan of writing the locations of a server.
#[derive(Debug)]
pub(super) struct Plan<'s> {
    server: &'s Directive,
    has_regexes: bool,
    /// Expressions of locations, by the number of the directive; `None` if one cannot be compiled.
    compiled: HashMap<usize, Option<Regex>>,
}

impl<'s> Plan<'s> {
    /// Plans a server.
    pub(super) fn new(server: &'s Directive) -> Self {
        let is_regex = |location| matches!(pattern(location), Some(Pattern::Regex(_)));
        let mut all = Vec::new();
        flatten(server, &mut all);
        let expression = |location: &&Directive| match pattern(location)? {
            Pattern::Regex(regex) => Some((location.id, compiled(&translated(&regex).regex))),
            _ => None,
        };
        Plan {
            server,
            has_regexes: server.named("location").any(is_regex),
            compiled: all.iter().filter_map(expression).collect(),
        }
    }

    /// Returns the position of a location's routes.
    pub(super) fn place(&self, location: &Directive, own: &Pattern, around: &Around) -> Placed {
        let path = match own {
            Pattern::Exact(path) | Pattern::Prefix(path) => Some(path),
            Pattern::Regex(_) => None,
        };
        if path.is_some_and(|path| !is_reached(self.server, location, path)) {
            return Placed::Unreached;
        }
        match own {
            Pattern::Exact(path) => Placed::At {
                paths: vec![RoutePath::exact(path)],
                is_exact: true,
            },
            Pattern::Prefix(prefix) => {
                let outermost = around.0.first().copied().unwrap_or(location);
                Placed::At {
                    paths: vec![self.prefix(prefix, outermost)],
                    is_exact: true,
                }
            }
            Pattern::Regex(regex) => self.place_regex(regex, around),
        }
    }

    /// Returns the path of a prefix within the outermost location.
    fn prefix(&self, prefix: &str, outermost: &Directive) -> RoutePath {
        let is_below = self.has_regexes && !is_preferred(outermost);
        let is_rest = prefix == "/" && (is_below || !self.has_regexes);
        RoutePath {
            base: if is_rest {
                Base::Any
            } else {
                Base::Prefix(prefix.to_owned())
            },
            regexes: Vec::new(),
            priority: (is_below && !is_rest).then_some("below_regex"),
        }
    }

    fn place_regex(&self, regex: &str, around: &Around) -> Placed {
        let mut expressions = Vec::new();
        let mut parent = None;
        for outer in &around.0 {
            match pattern(outer) {
                Some(Pattern::Regex(regex)) => expressions.push(translated(&regex)),
                _ => parent = Some(*outer),
            }
        }
        expressions.push(translated(regex));
        let is_exact = expressions.iter().all(|found| found.is_exact);
        let path = |base| RoutePath {
            base,
            regexes: expressions
                .iter()
                .map(|found| found.regex.clone())
                .collect(),
            priority: None,
        };
        let Some(parent) = parent else {
            return Placed::At {
                paths: vec![path(Base::Any)],
                is_exact,
            };
        };
        let mut prefixes = vec![pattern(parent)];
        for inner in parent
            .named("location")
            .filter(|inner| !is_preferred(inner))
        {
            let mut within = vec![inner];
            flatten(inner, &mut within);
            prefixes.extend(within.into_iter().map(pattern));
        }
        let paths = prefixes.into_iter().filter_map(|found| match found? {
            Pattern::Prefix(prefix) => Some(path(Base::Prefix(prefix))),
            // nginx takes an exact location, and one without a path, before expressions.
            Pattern::Exact(_) | Pattern::Regex(_) => None,
        });
        Placed::At {
            paths: paths.collect(),
            is_exact,
        }
    }

    /// Returns the location that nginx would choose for a path. An expression that cannot be
    /// compiled counts as a match.
    pub(super) fn find(&self, path: &str) -> Option<&'s Directive> {
        self.find_in(self.server, path)
            .map(|(location, _)| location)
    }

    /// Returns the location of a block for a path, and `true` if it is final. A prefix is not
    /// final, because expressions are tried after it.
    fn find_in<'d>(&self, block: &'d Directive, path: &str) -> Option<(&'d Directive, bool)> {
        let locations = || {
            block
                .named("location")
                .filter_map(|one| Some((one, pattern(one)?)))
        };
        let exact =
            locations().find(|(_, own)| matches!(own, Pattern::Exact(exact) if exact == path));
        if let Some((location, _)) = exact {
            return Some((location, true));
        }
        let longest = locations()
            .filter_map(|(location, own)| match own {
                Pattern::Prefix(prefix) if path.starts_with(&prefix) => {
                    Some((location, prefix.len()))
                }
                _ => None,
            })
            .max_by_key(|(_, length)| *length)
            .map(|(location, _)| location);
        let nested = longest.and_then(|location| self.find_in(location, path));
        if let Some((location, true)) = nested {
            return Some((location, true));
        }
        if !longest.is_some_and(is_preferred) {
            let matches = |location: &Directive| {
                let compiled = self.compiled.get(&location.id);
                let matches = |regex: &Regex| regex.is_match(path.as_bytes());
                compiled.is_some_and(|regex| regex.as_ref().is_none_or(matches))
            };
            let found = locations().find(|(location, _)| matches(location));
            if let Some((location, _)) = found {
                let inner = self.find_in(location, path).map(|(location, _)| location);
                return Some((inner.unwrap_or(location), true));
            }
        }
        nested.or(longest.map(|location| (location, false)))
    }

    /// Returns all locations of the server, nested ones too.
    pub(super) fn all(&self) -> Vec<&'s Directive> {
        let mut all = Vec::new();
        flatten(self.server, &mut all);
        all
    }
}

/// Returns `true` if nginx can reach a location of a path or a prefix: at each level, it looks into
/// the longest prefix alone.
fn is_reached(block: &Directive, location: &Directive, path: &str) -> bool {
    let locations = || {
        block
            .named("location")
            .filter_map(|one| Some((one, pattern(one)?)))
    };
    let mut exact =
        locations().filter(|(_, own)| matches!(own, Pattern::Exact(own) if own == path));
    let is_exact = matches!(pattern(location), Some(Pattern::Exact(_)));
    if let (true, Some((found, _))) = (is_exact, exact.next()) {
        return found.id == location.id;
    }
    let longest = locations()
        .filter_map(|(one, own)| match own {
            Pattern::Prefix(prefix) if path.starts_with(&prefix) => Some((one, prefix.len())),
            _ => None,
        })
        .max_by_key(|(_, length)| *length);
    longest.is_some_and(|(one, _)| one.id == location.id || is_reached(one, location, path))
}

fn flatten<'d>(block: &'d Directive, all: &mut Vec<&'d Directive>) {
    for location in block.named("location") {
        all.push(location);
        flatten(location, all);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::nginx::include::Files;
    use crate::nginx::parser;

    const SERVER: &str = "server {
        location = /a { }
        location / { }
        location /up/ { location ~ \\.php$ { } location /up/in/ { } }
        location ^~ /st/ { location ~ \\.html$ { } }
        location /st/plain/ { }
        location ~ \\.(php|gif)$ { }
        location ~ ^/re { location ~ x { } }
    }";

    #[track_caller]
    fn check(path: &str, expected: &str) {
        let files = Files::of(Path::new("f"));
        let tree = parser::parse(SERVER.as_bytes(), "f", files).unwrap();
        let plan = Plan::new(&tree.directives[0]);
        let found = plan.find(path).map(|location| location.args.join(" "));
        assert_eq!(found.as_deref(), Some(expected), "{path}");
    }

    /// The expected locations are the answers of nginx 1.22 with a `return` in each of them.
    #[test]
    fn locations_are_found_as_nginx_finds_them() {
        check("/a", "= /a");
        check("/b", "/");
        check("/up/x", "/up/");
        check("/up/x.php", "~ \\.php$");
        check("/up/in/x.php", "~ \\.php$");
        check("/up/in/x.gif", "~ \\.(php|gif)$");
        check("/up/in/x", "/up/in/");
        check("/st/x.php", "^~ /st/");
        check("/st/x.html", "~ \\.html$");
        check("/st/plain/x.php", "~ \\.(php|gif)$");
        check("/st/plain/x", "/st/plain/");
        check("/x.php", "~ \\.(php|gif)$");
        check("/rex", "~ x");
        check("/re", "~ ^/re");
    }
}
