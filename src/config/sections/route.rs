//! `[[route]]`.

mod action;
mod error_pages;
mod fastcgi;
mod headers;
mod matching;
mod rewrites;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use self::error_pages::error_pages;
pub(super) use self::headers::is_framing_name;
use self::headers::{conditions, request_changes, response_changes, variable_conditions};
pub(super) use self::matching::pattern;
use self::matching::{captures, host, listener, method, path_pattern, priority, scheme};
use super::limit::{Named, route_limits};
use crate::config::Overrides;
use crate::config::document::{Item, Problems, Section};
use crate::config::model::{
    Action, Captures, ErrorSource, ExtraLog, Fallback, Listener, LogRef, OwnVariables, PathPattern,
    Priority, Protocol, Region, Route, RouteConditions, Template, Upstream, Variables,
};
use crate::geo::Codes;

/// Parts of the configuration that routes refer to.
#[derive(Clone, Copy)]
pub(super) struct Known<'u> {
    pub upstreams: &'u [Upstream],
    /// Listeners of `server.listen`, and `true` if a route's must be among them.
    pub listeners: (&'u [Listener], bool),
    /// Access rules and rate limits.
    pub limits: &'u Named,
    /// The operator's own variables.
    pub own: &'u Arc<OwnVariables>,
    pub logs: &'u [ExtraLog],
}

/// Reads all routes.
pub(super) fn routes(
    root: &Section,
    known: Known,
    overrides: &Overrides,
    problems: &Problems,
) -> Vec<Route> {
    let sections = root.sections("route");
    let upstreams = known.upstreams;
    let mut reader = Reader {
        known,
        overridden: !overrides.upstream.is_empty(),
        numbers: numbers(upstreams),
        named: vec![false; upstreams.len()],
        codes: None,
    };
    let mut routes: Vec<Route> = Vec::new();
    let mut names = HashSet::new();
    for (index, section) in sections.iter().enumerate() {
        let route = reader.route(section, index);
        if !names.insert(route.name.clone()) {
            section.note("name", format!("there is another {:?}", route.name));
        }
        routes.push(route);
    }
    refuse_unknown_names(&sections, &routes);
    refuse_settings_without_route(&sections, root, upstreams);
    // An invalid condition is read as absent, so these checks are valid only without other problems.
    if problems.is_empty() {
        refuse_unreached(&sections, &routes);
        if !reader.overridden {
            refuse_unused(root, &reader, routes.is_empty());
        }
    }
    routes
}

/// Checks that upstreams whose settings mean nothing without routes have some: a FastCGI server runs
/// the script of a route, and a redirect of the upstream leads to one.
fn refuse_settings_without_route(sections: &[Section], root: &Section, upstreams: &[Upstream]) {
    if !sections.is_empty() {
        return;
    }
    for (section, upstream) in root.sections("upstream").iter().zip(upstreams) {
        if upstream.protocol == Protocol::FastCgi {
            let reason = "\"fastcgi\" needs a [[route]] with fastcgi = { root = ... }";
            section.note("protocol", reason);
        }
        if upstream.x_accel_redirect {
            let reason = "needs a [[route]] that answers what the upstream names";
            section.note("x_accel_redirect", reason);
        }
    }
}

/// Checks that no route is unreachable because of an earlier one: one with the same conditions, or,
/// of routes that are tried in the order of the file, one with the same path and no other condition.
fn refuse_unreached(sections: &[Section], routes: &[Route]) {
    let mut taken: HashMap<String, &str> = HashMap::new();
    for (section, route) in sections.iter().zip(routes) {
        let own = &route.conditions;
        if own.is_by_name() {
            continue;
        }
        let all = format!("{own:?}");
        let in_order = own.priority == Priority::First || matches!(own.path, PathPattern::Regex(_));
        let path = in_order.then(|| {
            format!(
                "{:?}",
                (&own.hosts, &own.listeners, &own.path, own.priority)
            )
        });
        let is_plain = own.count() == 0;
        let before = path.as_ref().and_then(|path| taken.get(path));
        let other = *before.unwrap_or(taken.get(&all).unwrap_or(&&*route.name));
        if other != route.name {
            let reason = format!("takes the same requests as {other:?}, so none comes here");
            section.note("", reason);
        }
        if let Some(path) = path.filter(|_| is_plain) {
            taken.entry(path).or_insert(&route.name);
        }
        taken.entry(all).or_insert(&route.name);
    }
}

/// Checks that routes lead to the names of other routes.
fn refuse_unknown_names(sections: &[Section], routes: &[Route]) {
    let names: HashSet<&str> = routes.iter().map(|route| &*route.name).collect();
    for (section, route) in sections.iter().zip(routes) {
        let pages = section.sections("error_pages");
        for (section, page) in pages.iter().zip(&route.errors.pages) {
            if let ErrorSource::Route { name, .. } = &page.source
                && !names.contains(&**name)
            {
                section.note("route", format!("there is no route {name:?}"));
            }
        }
        if let Action::Files { files, .. } = &route.action
            && let Fallback::Route(name) = &files.fallback
            && !names.contains(&**name)
        {
            let reason = format!("there is no route {name:?}");
            section
                .section("files")
                .section("fallback")
                .note("route", reason);
        }
    }
}

/// Checks that every upstream has a route: an unused one is a misspelled name or a missing route.
fn refuse_unused(root: &Section, reader: &Reader, no_routes: bool) {
    if no_routes && reader.known.upstreams.len() < 2 {
        return;
    }
    for (section, named) in root.sections("upstream").iter().zip(&reader.named) {
        if !named {
            let reason = if no_routes {
                "is one of several, and no [[route]] says what goes where"
            } else {
                "no route leads here"
            };
            section.note("", reason);
            if no_routes {
                return;
            }
        }
    }
}

struct Reader<'u> {
    known: Known<'u>,
    /// Positions of the upstreams, by name.
    numbers: HashMap<&'u str, usize>,
    /// True if the command line sets the upstream of all requests.
    overridden: bool,
    /// For each upstream, true if a route refers to it.
    named: Vec<bool>,
    /// Code tables, read when the first country or region is read.
    codes: Option<Codes>,
}

/// The places of upstreams; of those with one name, which is refused, the first.
fn numbers(upstreams: &[Upstream]) -> HashMap<&str, usize> {
    let mut numbers = HashMap::new();
    for (number, upstream) in upstreams.iter().enumerate() {
        numbers.entry(upstream.name.as_str()).or_insert(number);
    }
    numbers
}

impl Reader<'_> {
    fn route(&mut self, section: &Section, index: usize) -> Route {
        let name = |item: &Item| match item.string()? {
            "" => Err("a name is expected".to_owned()),
            name => Ok(name.to_owned()),
        };
        let conditions = self.conditions(section);
        let captures = captures(&conditions.path, &conditions.hosts).with_own(self.known.own);
        let route = Route {
            name: section.value("name", format!("route[{index}]"), name),
            conditions,
            action: self.action(section, &captures),
            limits: route_limits(section, self.known.limits),
            compress: section.value("compress", None, |item| item.boolean().map(Some)),
            errors: error_pages(section, &captures),
            cookies: rewrites::cookies(section, &captures),
            request_headers: request_changes(section, &captures),
            response_headers: response_changes(section, &captures),
            access_logs: access_logs(section, self.known.logs),
        };
        section.refuse_unknown();
        route
    }

    fn conditions(&mut self, section: &Section) -> RouteConditions {
        let (listeners, must_be_known) = self.known.listeners;
        let path = path_pattern(section);
        RouteConditions {
            hosts: list(section, "host", host),
            listeners: list(section, "listener", |item| {
                listener(item, must_be_known.then_some(listeners))
            }),
            tls: section.value("scheme", None, scheme),
            internal: section.value("internal", false, Item::boolean),
            priority: priority(section, &path),
            path,
            methods: list(section, "methods", method),
            headers: conditions(section),
            variables: variable_conditions(section, self.known.own),
            countries: list(section, "countries", |item| {
                let text = item.string()?;
                let country = Region::country(text, self.codes());
                country.ok_or_else(|| format!("{text:?} is no country's code"))
            }),
            regions: list(section, "regions", |item| match item.string()? {
                "" => Err("a region is expected".to_owned()),
                text => Ok(Region::subdivision(text, self.codes())),
            }),
        }
    }

    fn codes(&mut self) -> &Codes {
        self.codes.get_or_insert_with(Codes::built_in)
    }
}

/// Reads `access_log`: `false`, or the names of logs, of which `default` is `[access_log]`.
fn access_logs(section: &Section, known: &[ExtraLog]) -> Option<Vec<LogRef>> {
    let item = section.item("access_log")?;
    if !item.is_text() && !item.is_array() {
        let is_logged = item.read(Item::boolean)?;
        return (!is_logged).then(Vec::new);
    }
    let log = |item: &Item| {
        let name = item.string()?;
        if name == "default" {
            return Ok(LogRef::Default);
        }
        super::log::extra(name, known).map(LogRef::Extra)
    };
    let items = item.one_or_more();
    Some(items.iter().filter_map(|item| item.read(log)).collect())
}

fn template<V: Variables>(item: &Item, captures: &Captures) -> Result<Template<V>, String> {
    let text = item.string()?;
    if text
        .chars()
        .any(|c| c.is_control() && c != '\n' && c != '\t')
    {
        return Err("has a control character".to_owned());
    }
    item.template(captures)
}

/// Reads a key with one value or a list of values.
fn list<T>(
    section: &Section,
    key: &'static str,
    mut read: impl FnMut(&Item) -> Result<T, String>,
) -> Vec<T> {
    let Some(item) = section.item(key) else {
        return Vec::new();
    };
    if item.is_empty_array() {
        section.note(key, "at least one is needed; leave it out to take all");
    }
    let items = item.one_or_more();
    items
        .iter()
        .filter_map(|item| item.read(&mut read))
        .collect()
}

#[cfg(test)]
mod tests;
