//! Output of routes: in nginx's order, each with its hosts and its path.

use super::super::order::{Rank, Written};
use super::super::pattern::{Pattern, escaped};
use super::super::site::{Site, Sites};
use super::Routes;
use crate::nginx::Output;
use crate::nginx::document::{Item, Table, Value};

impl<'s> Routes<'_, 's> {
    /// Writes the routes of a server in their order, with its hosts. The default server takes all
    /// hosts; if another server has a wildcard, the default server's own names are written as well.
    pub(super) fn write(&mut self, site: &Site<'s>, sites: &Sites<'s>, output: &mut Output) {
        let mut pending = std::mem::take(&mut self.pending);
        pending.sort_by_key(|(rank, ..)| *rank);
        let is_contested = || {
            let others = sites
                .all
                .iter()
                .filter(|other| other.block.id != site.block.id);
            let mut hosts = others.flat_map(|other| &other.hosts);
            hosts.any(|host| host.starts_with("*."))
        };
        if !site.is_default || !site.hosts.is_empty() && is_contested() {
            self.write_for(&site.hosts, &pending, output);
        }
        if site.is_default {
            self.write_for(&[], &pending, output);
        }
    }

    fn write_for(
        &mut self,
        hosts: &[String],
        pending: &[(Rank, Option<Written>, Table)],
        output: &mut Output,
    ) {
        for (_, written, action) in pending {
            let mut route = Table::new("route", None);
            match hosts {
                [] => {}
                [host] => route.set("host", host.as_str(), None),
                hosts => {
                    for host in hosts {
                        route.push("host", Item::new(host.as_str(), None));
                    }
                }
            }
            let mut action = action.clone();
            set_pattern(written.as_ref(), &mut route, &mut action);
            let conditions = ["methods", "headers"].map(|key| action.get(key).map(Value::to_text));
            let conditions = conditions.into_iter().flatten().collect::<String>();
            // Of routes that take the same requests, the first counts.
            if self.known.insert(route.written() + &conditions) {
                output.document.add(route.followed_by(&action));
            }
        }
    }
}

/// Sets the path of a route. For a prefix that is written as an expression, it adapts `rewrite`.
fn set_pattern(written: Option<&Written>, route: &mut Table, action: &mut Table) {
    let in_place_of = action.get("rewrite").and_then(|to| match to {
        Value::Text(to) => Some(to.clone()),
        _ => None,
    });
    let as_regex = |prefix: &str, route: &mut Table, action: &mut Table| match in_place_of.clone() {
        Some(to) => {
            route.set("regex", format!("^{}(.*)$", escaped(prefix)), None);
            action.set("rewrite", format!("{to}$1"), None);
        }
        None => route.set("regex", format!("^{}", escaped(prefix)), None),
    };
    match written {
        None => {}
        // geogate puts a slash before the rest of the path, so a replacement without one needs an
        // expression.
        Some(Written::Plain(Pattern::Prefix(path)))
            if path == "/" && in_place_of.as_ref().is_some_and(|to| !to.ends_with('/')) =>
        {
            as_regex(path, route, action);
        }
        Some(Written::Plain(Pattern::Prefix(path))) if path == "/" => {}
        Some(Written::Plain(Pattern::Prefix(path))) => route.set("prefix", path.as_str(), None),
        Some(Written::Plain(Pattern::Exact(path))) => route.set("path", path.as_str(), None),
        Some(Written::Plain(Pattern::Regex(regex))) => route.set("regex", regex.as_str(), None),
        Some(Written::AsRegex(prefix)) => as_regex(prefix, route, action),
    }
}
