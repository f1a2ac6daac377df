//! Guards on headers, such as `if ($http_user_agent ~* bot)`: conditions that reject requests by
//! one of their headers.
//!
//! A route with a condition on a header precedes a route of the same path without one. So each
//! route of the block gets another route beside it that rejects the requests with the header, or
//! those without it, and every request is answered as by nginx. A condition that is in doubt is no
//! guard, and closes its block.

use super::pattern::{compiled, escaped, translated};
use crate::config::model::{UntrustedHeaders, is_managed_name};
use crate::nginx::document::{Entry, Table, Value};
use crate::nginx::scope::Scope;
use crate::nginx::tree::Directive;

/// Headers that a route's condition does not see as they were sent: they are joined, or belong to
/// the connection.
const OTHER: [&str; 9] = [
    "host",
    "cookie",
    "connection",
    "content-length",
    "expect",
    "te",
    "transfer-encoding",
    "upgrade",
    "trailer",
];

/// Condition that rejects requests by a header.
#[derive(Debug, Clone)]
pub(super) struct HeaderGuard<'d> {
    pub(super) condition: &'d Directive,
    /// The `return` of the condition.
    pub(super) answer: &'d Directive,
    header: String,
    /// Value as in the `headers` of a route.
    value: String,
    /// True if requests with the value are rejected; false if those without it are.
    denies: bool,
}

/// Value of a header, and whether requests that have it are rejected.
struct Test {
    value: String,
    denies: bool,
}

/// Guard with the route that answers the rejected requests.
pub(super) struct Turning<'d> {
    pub(super) guard: HeaderGuard<'d>,
    pub(super) answer: Table,
}

impl<'d> HeaderGuard<'d> {
    /// Reads an `if` as a guard. Returns the guard, and the `map` that it uses; `None` if the
    /// condition is something else, or cannot be carried over exactly.
    pub(super) fn read<'h>(
        http: &Scope<'h>,
        condition: &'d Directive,
    ) -> Option<(Self, Option<&'h Directive>)> {
        let [answer] = condition.inside() else {
            return None;
        };
        let status = answer.arg(0).parse::<u64>().ok()?;
        let turns_away = answer.name == "return" && answer.args.len() == 1;
        if !turns_away || !(400..600).contains(&status) {
            return None;
        }
        let text = condition.args.join(" ");
        let text = text.strip_prefix('(')?.strip_suffix(')')?.trim();
        let (variable, comparison) = text.split_once(' ').unwrap_or((text, ""));
        let variable = variable.strip_prefix('$')?;
        let (header, test, map) = match variable.strip_prefix("http_") {
            Some(header) => (header, Test::of_value(comparison.trim())?, None),
            None if comparison.is_empty() => {
                let map = http
                    .here("map")
                    .find(|map| map.arg(1).strip_prefix('$') == Some(variable))?;
                let header = map.arg(0).strip_prefix("$http_")?;
                (header, Test::of_map(map)?, Some(map))
            }
            None => return None,
        };
        let header = header.to_ascii_lowercase().replace('_', "-");
        let is_name = header
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let untrusted = UntrustedHeaders::new([], []).ok()?;
        let is_plain = !OTHER.contains(&header.as_str())
            && !is_managed_name(&header)
            && !untrusted.contains(&header);
        if !is_name || header.is_empty() || !is_plain {
            return None;
        }
        let guard = HeaderGuard {
            condition,
            answer,
            header,
            value: test.value,
            denies: test.denies,
        };
        Some((guard, map))
    }

    /// Returns `true` if routes can have all of these guards. A route has one condition for each
    /// header, and a request that several guards reject gets one answer.
    pub(super) fn go_together(guards: &[HeaderGuard]) -> bool {
        let is_same = |guard: &HeaderGuard| guard.answer.args == guards[0].answer.args;
        let required: Vec<_> = guards.iter().filter(|guard| !guard.denies).collect();
        guards.iter().all(is_same)
            && required.iter().all(|one| {
                let same = guards.iter().filter(|other| other.header == one.header);
                same.count() == 1
            })
    }

    fn entry(&self) -> Entry {
        Entry::new(&self.header, self.value.as_str(), Some(self.condition))
    }
}

/// Splits a route into several, in their order: those that reject, the route for the other
/// requests, and, if these must have a header, a route for requests without it.
pub(super) fn guarded(turnings: &[Turning], route: &Table) -> Vec<Table> {
    let required: Vec<Entry> = turnings
        .iter()
        .filter(|turning| !turning.guard.denies)
        .map(|turning| turning.guard.entry())
        .collect();
    let turned = |turning: &Turning, headers: Vec<Entry>| {
        let mut table = turning.answer.clone();
        if let Some(methods) = route.get("methods") {
            table.set("methods", methods.clone(), None);
        }
        with_headers(table, headers)
    };
    let mut routes = Vec::new();
    for turning in turnings.iter().filter(|turning| turning.guard.denies) {
        // One condition more than the route itself, so that it precedes the route.
        let mut headers = required.clone();
        headers.push(turning.guard.entry());
        routes.push(turned(turning, headers));
    }
    routes.push(with_headers(route.clone(), required));
    let without = turnings.iter().find(|turning| !turning.guard.denies);
    routes.extend(without.map(|turning| turned(turning, Vec::new())));
    routes
}

fn with_headers(mut table: Table, headers: Vec<Entry>) -> Table {
    if !headers.is_empty() {
        table.set("headers", Value::Inline(headers), None);
    }
    table
}

impl Test {
    /// Reads a comparison such as `~* bot` or `= x`. An empty one tests if there is a value.
    fn of_value(comparison: &str) -> Option<Test> {
        if comparison.is_empty() {
            // A value that is neither empty nor `0`.
            return Some(Test {
                value: "~^(?:[^0]|0.)".to_owned(),
                denies: true,
            });
        }
        // A comparison with an empty text consists of the operator alone.
        let (operator, value) = comparison.split_once(' ').unwrap_or((comparison, ""));
        let value = value.trim();
        let (operator, is_negated) = match operator.strip_prefix('!') {
            Some(operator) => (operator, true),
            None => (operator, false),
        };
        let any = || Some("~.".to_owned());
        let (value, is_negated) = match (operator, value) {
            ("=", "") => (any(), !is_negated),
            ("=", value) => (
                Some(value.to_owned()).filter(|v| !v.starts_with('~') && !v.contains('$')),
                is_negated,
            ),
            ("~", value) => (expression(value, false), is_negated),
            ("~*", value) => (expression(value, true), is_negated),
            _ => (None, false),
        };
        Some(Test {
            value: value?,
            denies: !is_negated,
        })
    }

    /// Reads a `map` whose lines all have the same meaning, opposite to that of its default.
    fn of_map(map: &Directive) -> Option<Test> {
        let holds = |value: &str| !matches!(value, "" | "0");
        let mut default = false;
        let mut of_lines = None;
        let mut alternatives = Vec::new();
        for line in map.inside() {
            if line.args.len() != 1 || line.arg(0).contains('$') {
                return None;
            }
            let is_held = holds(line.arg(0));
            match line.name.as_str() {
                "default" => default = is_held,
                "" | "hostnames" | "volatile" | "include" => return None,
                name => {
                    let own = match (name.strip_prefix("~*"), name.strip_prefix('~')) {
                        (Some(text), _) => expression(text, true)?,
                        (None, Some(text)) => expression(text, false)?,
                        _ if name.contains('\\') => return None,
                        // nginx ignores the case of texts in a `map`.
                        _ => format!("~(?i)^{}$", escaped(name)),
                    };
                    alternatives.push(format!("(?:{})", &own[1..]));
                    if *of_lines.get_or_insert(is_held) != is_held {
                        return None;
                    }
                }
            }
        }
        let denies = of_lines.filter(|of_lines| *of_lines != default)?;
        let regex = alternatives.join("|");
        is_usable(&regex).then(|| Test {
            value: format!("~{regex}"),
            denies,
        })
    }
}

/// Returns an expression as the value of a condition, if it means the same.
fn expression(text: &str, ignores_case: bool) -> Option<String> {
    let found = translated(text);
    let case = if ignores_case { "(?i)" } else { "" };
    let regex = format!("{case}{}", found.regex);
    (found.is_exact && is_usable(&regex)).then(|| format!("~{regex}"))
}

/// Returns `true` if geogate can compile an expression, and it does not match a missing header.
fn is_usable(regex: &str) -> bool {
    compiled(regex).is_some_and(|regex| !regex.is_match(b""))
}
