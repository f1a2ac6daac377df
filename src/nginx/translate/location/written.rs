//! Output of routes: in nginx's order, each with its hosts and its path.

use super::super::order::{Base, RoutePath};
use super::super::site::{Names, Site};
use super::Routes;
use crate::nginx::Output;
use crate::nginx::document::{Item, Table, Value};

impl<'s> Routes<'_, 's> {
    /// Writes the routes of a server, for each group of its listeners with their hosts. A default
    /// server takes all hosts; its own names are written as well, since another server may have a
    /// pattern that they match.
    pub(super) fn write(&mut self, site: &Site<'s>, output: &mut Output) {
        let pending = std::mem::take(&mut self.pending);
        for names in &site.names {
            let is_other = |block: &usize| *block != site.block.id;
            let is_contested = self.patterned.iter().any(is_other) && !names.hosts.is_empty();
            if !names.is_default || is_contested {
                self.write_for(names, &names.hosts, &pending, output);
            }
            if names.is_default {
                self.write_for(names, &[], &pending, output);
            }
        }
    }

    fn write_for(
        &mut self,
        names: &Names,
        hosts: &[String],
        pending: &[(RoutePath, Table)],
        output: &mut Output,
    ) {
        for (path, action) in pending {
            let mut route = Table::new("route", None);
            if !matches!(path.base, Base::Name(_)) {
                set_all(&mut route, "host", hosts);
                set_all(&mut route, "listener", &names.addresses);
            }
            set_path(path, &mut route, action);
            let keys = ["scheme", "methods", "headers", "variables"];
            let conditions = keys.map(|key| action.get(key).map(Value::to_text));
            let conditions = conditions.into_iter().flatten().collect::<String>();
            // Of routes that take the same requests, the first counts.
            if self.known.insert(route.written() + &conditions) {
                output.document.add(route.followed_by(action));
            }
        }
    }
}

/// Sets a key to one value or to a list.
fn set_all(route: &mut Table, key: &'static str, values: &[String]) {
    match values {
        [] => {}
        [value] => route.set(key, value.as_str(), None),
        values => {
            for value in values {
                route.push(key, Item::new(value.as_str(), None));
            }
        }
    }
}

/// Sets the path of a route. nginx compares and replaces the beginning of a path letter by letter;
/// if that always ends with a segment, it is the same as `prefix`.
fn set_path(path: &RoutePath, route: &mut Table, action: &Table) {
    let replacement = match action.get("rewrite") {
        Some(Value::Text(to)) if path.regexes.is_empty() => Some(to.as_str()),
        _ => None,
    };
    let ends_segment = replacement.is_none_or(|to| to.ends_with('/'));
    let mut priority = path.priority;
    let is_internal = action.get("internal").is_some();
    match &path.base {
        // Without a path an internal route is reached by its name alone.
        Base::Any if path.regexes.is_empty() && (!ends_segment || is_internal) => {
            route.set("starts_with", "/", None);
            priority = priority.or(Some("below_regex"));
        }
        Base::Any => {}
        Base::Name(name) => {
            route.set("name", name.as_str(), None);
            route.set("internal", true, None);
        }
        Base::Exact(path) => route.set("path", path.as_str(), None),
        Base::Prefix(prefix) if prefix.ends_with('/') && ends_segment => {
            route.set("prefix", prefix.as_str(), None);
        }
        Base::Prefix(prefix) => route.set("starts_with", prefix.as_str(), None),
    }
    set_all(route, "regex", &path.regexes);
    if let Some(priority) = priority {
        route.set("priority", priority, None);
    }
}
