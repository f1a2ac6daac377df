//! Order in which nginx tries the locations of a server, as ranks of routes.
//!
//! nginx looks for an exact location, then for the longest prefix, and within it for nested
//! locations; then, unless the prefix has `^~`, for the first regular expression that matches. If
//! there is none, it takes the prefix. geogate's routes rank exact paths, prefixes of whole
//! segments, regular expressions in the order of the file, and routes without a path. If a server
//! needs no more than that, its locations keep their kinds. Otherwise all its prefixes become
//! regular expressions, which are written in nginx's order. A location that fits into no order is
//! [`Placed::Apart`], and the location around it is closed.

use std::collections::HashMap;

use regex::bytes::Regex;

use super::pattern::{Pattern, compiled, escaped, is_preferred, pattern, translated, within};
use crate::nginx::tree::Directive;

/// Rank of a route among those of its server; the smallest is tried first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    group: Group,
    /// The longest prefix goes first.
    length: std::cmp::Reverse<usize>,
    /// Position among the routes of one prefix: those nested in it come before its own.
    part: u8,
    /// Length of a nested prefix, or depth of nesting; the largest goes first.
    inner: std::cmp::Reverse<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    /// Rewrites of a server, which apply before its locations.
    Server,
    Exact,
    Preferred,
    Nested,
    Regex,
    Prefix,
    Rest,
}

impl Rank {
    fn new(group: Group, length: usize, part: u8, inner: usize) -> Self {
        Rank {
            group,
            length: std::cmp::Reverse(length),
            part,
            inner: std::cmp::Reverse(inner),
        }
    }

    /// Returns the rank before all locations.
    pub(super) fn of_server() -> Self {
        Rank::new(Group::Server, 0, 0, 0)
    }

    /// Returns the rank after all locations.
    pub(super) fn of_rest() -> Self {
        Rank::new(Group::Rest, 0, 2, 0)
    }

    /// Returns the rank of an exact path.
    fn of_exact() -> Self {
        Rank::new(Group::Exact, 0, 0, 0)
    }
}

/// Kind of pattern that a location is written as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Written {
    /// The pattern of the location itself.
    Plain(Pattern),
    /// A prefix as a regular expression.
    AsRegex(String),
}

/// Position of a location among the routes of its server.
#[derive(Debug)]
pub(super) enum Placed {
    At {
        rank: Rank,
        written: Written,
        /// True if the route takes the requests that nginx would give the location, and no others.
        is_exact: bool,
    },
    /// No route can have this position. The location around it is closed.
    Apart,
    /// Longer prefixes beside the locations around it take all its requests.
    Unreached,
}

/// The locations around a nested location.
#[derive(Debug, Clone, Copy)]
pub(super) struct Around<'a> {
    /// Prefix of the innermost location around that has a prefix.
    parent: Option<&'a str>,
    /// The outermost location around.
    top: Option<&'a Directive>,
    is_in_regex: bool,
    /// Number of locations around.
    depth: usize,
}

impl<'a> Around<'a> {
    pub(super) const NOTHING: Around<'static> = Around {
        parent: None,
        top: None,
        is_in_regex: false,
        depth: 0,
    };

    /// Returns the locations around those that are nested in `location`.
    pub(super) fn within(&self, location: &'a Directive, own: &'a Pattern) -> Around<'a> {
        Around {
            parent: match own {
                Pattern::Prefix(prefix) => Some(prefix),
                _ => self.parent,
            },
            top: self.top.or(Some(location)),
            is_in_regex: self.is_in_regex || !matches!(own, Pattern::Prefix(_)),
            depth: self.depth + 1,
        }
    }
}

/// Plan of writing the locations of a server.
#[derive(Debug)]
pub(super) struct Plan<'s> {
    server: &'s Directive,
    /// True if prefixes are written as regular expressions.
    in_order: bool,
    /// True if exact paths are, too.
    with_exact: bool,
    has_regexes: bool,
    /// Expressions of locations, by the number of the directive; `None` if one cannot be compiled.
    compiled: HashMap<usize, Option<Regex>>,
}

impl<'s> Plan<'s> {
    /// Plans a server. `rewrites` is true if the server itself changes or redirects some paths.
    pub(super) fn new(server: &'s Directive, rewrites: bool) -> Self {
        let tops: Vec<&Directive> = server.named("location").collect();
        let kinds = || {
            tops.iter()
                .filter_map(|location| Some((location, pattern(location)?)))
        };
        let has_regexes = kinds().any(|(_, own)| matches!(own, Pattern::Regex(_)));
        let has_nested_regex = tops.iter().any(|location| has_nested_regex(location));
        let mut all = Vec::new();
        flatten(server, &mut all);
        let expression = |location: &&Directive| match pattern(location)? {
            Pattern::Regex(regex) => Some((location.id, compiled(&translated(&regex).regex))),
            _ => None,
        };
        let is_plain_prefix = |location: &&&Directive, own: &Pattern| match own {
            Pattern::Prefix(prefix) => prefix != "/" && !is_preferred(location),
            _ => false,
        };
        let after_regexes = kinds().any(|(location, own)| is_plain_prefix(&location, &own));
        let is_root_preferred = kinds().any(|(location, own)| {
            own == Pattern::Prefix("/".to_owned()) && is_preferred(location)
        });
        Plan {
            server,
            in_order: rewrites
                || has_nested_regex
                || has_regexes && (after_regexes || is_root_preferred)
                || all.iter().any(|location| needs_regex(location)),
            with_exact: rewrites,
            has_regexes,
            compiled: all.iter().filter_map(expression).collect(),
        }
    }

    /// Returns the position of a location's route.
    pub(super) fn place(&self, location: &Directive, own: &Pattern, around: &Around) -> Placed {
        if around.is_in_regex {
            return Placed::Apart;
        }
        let path = match own {
            Pattern::Exact(path) | Pattern::Prefix(path) => Some(path),
            Pattern::Regex(_) => None,
        };
        if path.is_some_and(|path| !is_reached(self.server, location, path)) {
            return Placed::Unreached;
        }
        match own {
            Pattern::Exact(path) => {
                let (rank, written) = self.place_exact(path);
                Placed::At {
                    rank,
                    written,
                    is_exact: true,
                }
            }
            Pattern::Prefix(prefix) => self.place_prefix(location, prefix, around),
            Pattern::Regex(regex) => self.place_regex(location, regex, around),
        }
    }

    /// Returns the rank and the pattern of a route for one path.
    pub(super) fn place_exact(&self, path: &str) -> (Rank, Written) {
        let own = if self.with_exact {
            Pattern::Regex(format!("^{}$", escaped(path)))
        } else {
            Pattern::Exact(path.to_owned())
        };
        (Rank::of_exact(), Written::Plain(own))
    }

    fn place_prefix(&self, location: &Directive, prefix: &str, around: &Around) -> Placed {
        let length = prefix.len();
        let outer = around.top.and_then(prefix_of);
        let is_outer_preferred = around.top.is_some_and(is_preferred);
        let is_preferred = is_preferred(location);
        let (rank, is_exact) = if let (Some(outer), true) = (outer.as_deref(), is_outer_preferred) {
            (Rank::new(Group::Preferred, outer.len(), 1, length), true)
        } else if around.top.is_some() && is_preferred {
            // nginx does not try the parent's expressions, but it tries the server's.
            let rank = Rank::new(Group::Nested, length, 0, 0);
            (rank, !self.has_regexes)
        } else if around.top.is_none() && is_preferred {
            (Rank::new(Group::Preferred, length, 2, 0), true)
        } else if self.is_under_preferred(location, prefix) {
            // Otherwise the shorter prefix with `^~` would take its requests.
            let rank = Rank::new(Group::Preferred, length, 2, 0);
            (rank, !self.has_regexes)
        } else if prefix == "/" {
            (Rank::new(Group::Rest, 0, 1, around.depth), true)
        } else {
            // A nested location may have the prefix of its parent.
            (Rank::new(Group::Prefix, length, 1, around.depth), true)
        };
        let is_rest = rank.group == Group::Rest;
        let written = if self.in_order && !is_rest {
            Written::AsRegex(prefix.to_owned())
        } else {
            Written::Plain(Pattern::Prefix(prefix.to_owned()))
        };
        Placed::At {
            rank,
            written,
            is_exact,
        }
    }

    fn place_regex(&self, location: &Directive, regex: &str, around: &Around) -> Placed {
        let found = translated(regex);
        let Some(parent) = around.parent else {
            return Placed::At {
                rank: Rank::new(Group::Regex, 0, 0, 0),
                written: Written::Plain(Pattern::Regex(found.regex)),
                is_exact: found.is_exact,
            };
        };
        let Some(inner) = within(parent, &found.regex) else {
            return Placed::Apart;
        };
        let outer = around.top.and_then(prefix_of).unwrap_or_default();
        let (rank, is_exact) = if around.top.is_some_and(is_preferred) {
            (
                Rank::new(Group::Preferred, outer.len(), 0, parent.len()),
                true,
            )
        } else if !self.has_regexes && !self.has_longer_within(parent, location) {
            // Right before the parent, after all longer prefixes.
            let rank = match parent {
                "/" => Rank::new(Group::Rest, 0, 0, 0),
                _ => Rank::new(Group::Prefix, parent.len(), 0, 0),
            };
            (rank, true)
        } else {
            // Longer prefixes beside the parent would have to be tried first.
            let rank = Rank::new(Group::Nested, parent.len(), 1, 0);
            (rank, !self.has_longer_beside(parent, location))
        };
        Placed::At {
            rank,
            written: Written::Plain(Pattern::Regex(inner)),
            is_exact: is_exact && found.is_exact,
        }
    }

    /// Returns `true` if a shorter prefix of the server has `^~`.
    fn is_under_preferred(&self, location: &Directive, prefix: &str) -> bool {
        self.server.named("location").any(|other| {
            other.id != location.id
                && is_preferred(other)
                && prefix_of(other).is_some_and(|other| prefix.starts_with(&other))
        })
    }

    /// Returns `true` if there is a longer prefix that is not nested in the same parent.
    fn has_longer_beside(&self, parent: &str, location: &Directive) -> bool {
        let beside = |other: &&Directive| !self.is_with(parent, location, other);
        self.longer(parent).iter().any(beside)
    }

    /// Returns `true` if there is a longer prefix that is nested in the same parent.
    fn has_longer_within(&self, parent: &str, location: &Directive) -> bool {
        let within = |other: &&Directive| self.is_with(parent, location, other);
        self.longer(parent).iter().any(within)
    }

    /// Returns the longer prefixes that begin with this one and are tried after regular
    /// expressions.
    fn longer(&self, parent: &str) -> Vec<&'s Directive> {
        let is_longer = |location: &&Directive| {
            let prefix = prefix_of(location);
            prefix.is_some_and(|own| own.len() > parent.len() && own.starts_with(parent))
        };
        let all = self.all().into_iter().filter(is_longer);
        all.filter(|location| !is_preferred(location)).collect()
    }

    /// Returns `true` if both locations are nested in the location of this prefix.
    fn is_with(&self, parent: &str, location: &Directive, other: &Directive) -> bool {
        let holds = |block: &Directive, id: usize| {
            let mut inner = Vec::new();
            flatten(block, &mut inner);
            inner.iter().any(|one| one.id == id)
        };
        self.all().iter().any(|block| {
            prefix_of(block).as_deref() == Some(parent)
                && holds(block, other.id)
                && holds(block, location.id)
        })
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

fn has_nested_regex(location: &Directive) -> bool {
    location
        .named("location")
        .any(|inner| matches!(pattern(inner), Some(Pattern::Regex(_))) || has_nested_regex(inner))
}

fn prefix_of(location: &Directive) -> Option<String> {
    match pattern(location) {
        Some(Pattern::Prefix(prefix)) => Some(prefix),
        _ => None,
    }
}

/// Returns `true` if a location cannot be a prefix of geogate, which ends with a segment: it may
/// end within one, rewrite some of its paths, or have a replacement without a slash at the end.
fn needs_regex(location: &Directive) -> bool {
    let Some(prefix) = prefix_of(location) else {
        return false;
    };
    if prefix == "/" {
        return false;
    }
    let has_rewrites = location.named("rewrite").next().is_some();
    !prefix.ends_with('/') || has_rewrites || replaces_with_part(location)
}

/// Returns `true` if `proxy_pass` replaces the prefix by a path that ends within a segment.
pub(super) fn replaces_with_part(location: &Directive) -> bool {
    location.named("proxy_pass").any(|pass| {
        let rest = pass.arg(0).split_once("://").map_or("", |(_, rest)| rest);
        rest.find('/').is_some_and(|_| !rest.ends_with('/'))
    })
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
        let plan = Plan::new(&tree.directives[0], false);
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
