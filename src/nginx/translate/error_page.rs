//! Error pages: `error_page` as `error_pages` of routes.
//!
//! A site that only says where it is and which file its errors have gets `[error_page]`, which needs no
//! routes.

use super::super::Output;
use super::super::scope::Scope;
use super::super::tree::Directive;
use super::files::Names;
use super::variables::{Variables, no_variable};
use crate::nginx::document::{Entry, Item, Table, Value};

/// Statuses that `[error_page]` is for.
const STATUSES: [&str; 4] = ["500", "502", "503", "504"];

/// Statuses of redirects.
const REDIRECTS: [u64; 5] = [301, 302, 303, 307, 308];

/// Error page of a site that has nothing but this page and one location.
pub(super) struct Single<'s> {
    page: &'s Directive,
    location: &'s Directive,
    file: String,
}

impl<'s> Single<'s> {
    /// Returns the page of a file with one server, one location, and one plain file for errors.
    pub(super) fn find(http: &'s Scope<'s>) -> Option<Self> {
        let servers: Vec<_> = http.here("server").collect();
        let ([server], [page]) = (&servers[..], &http.everywhere("error_page")[..]) else {
            return None;
        };
        let scope = http.inner(server);
        let (uri, statuses) = page.args.split_last()?;
        let is_plain = uri.starts_with('/')
            && !uri.contains('$')
            && statuses
                .iter()
                .all(|status| STATUSES.contains(&status.as_str()));
        let is_page = |location: &&Directive| matches!(&location.args[..], [modifier, path] if modifier == "=" && path == uri);
        let mut locations = scope.here("location").collect::<Vec<_>>();
        let at = locations.iter().position(is_page)?;
        let location = locations.swap_remove(at);
        let is_whole = matches!(&locations[..], [whole] if whole.args == ["/"]);
        let inside = location.inside();
        let is_file = inside
            .iter()
            .all(|inner| matches!(&*inner.name, "root" | "access_log" | "log_not_found"));
        let root = scope.inner(location).one("root");
        let root = root.map_or("html", |root| root.arg(0));
        let is_single = is_plain && is_whole && is_file && !root.contains('$');
        is_single.then(|| Single {
            page,
            location,
            file: format!("{}{uri}", root.trim_end_matches('/')),
        })
    }

    /// Writes the page.
    pub(super) fn write(&self, output: &mut Output) {
        output.notes.carried(self.page);
        output.notes.carried(self.location);
        super::silence(self.location, output);
        let why = "The page is not there under its own path.";
        output.notes.minor(self.location, why);
        let table = output.document.table("error_page");
        table.set("file", &*self.file, Some(self.page));
    }

    /// Returns `true` for the location of the page.
    pub(super) fn is_for(&self, location: &Directive) -> bool {
        self.location.id == location.id
    }
}

/// Sets the error pages of a route, and for a route to an upstream, that they are for its errors, too.
pub(super) fn of_route(
    scope: &Scope,
    names: &Names,
    variables: &Variables,
    route: &mut Table,
    output: &mut Output,
) {
    let mut known: Vec<u64> = Vec::new();
    for page in scope.all("error_page") {
        output.notes.carried(page);
        let on = statuses(page, &mut known, output);
        if on.is_empty() {
            continue;
        }
        match source(page, scope, names, variables) {
            Ok(source) => {
                let on = on.into_iter().map(|status| Item::new(status, Some(page)));
                let mut entries = vec![Entry::new("on", Value::List(on.collect()), Some(page))];
                entries.extend(source);
                let item = Item::new(Value::Inline(entries), Some(page));
                route.push("error_pages", item);
            }
            Err(why) => {
                let why = format!("{why} The error is answered as it is.");
                output.notes.lost(page, why);
            }
        }
    }
    if let Some(recursive) = scope.one("recursive_error_pages")
        && recursive.arg(0) == "on"
    {
        let why = "An error of an error page is answered as it is.";
        output.notes.differs(recursive, why);
    }
    intercept(scope, route, output);
}

fn intercept(scope: &Scope, route: &mut Table, output: &mut Output) {
    if route.get("upstream").is_none() {
        return;
    }
    let of_fastcgi = route.get("fastcgi").is_some();
    let family = match scope.here("grpc_pass").next() {
        _ if of_fastcgi => "fastcgi_intercept_errors",
        Some(_) => "grpc_intercept_errors",
        None => "proxy_intercept_errors",
    };
    if let Some(intercept) = scope.one(family) {
        output.notes.carried(intercept);
        if intercept.arg(0) == "on" && route.get("error_pages").is_some() {
            route.set("intercept_errors", true, Some(intercept));
        }
    }
}

/// Returns the statuses of a page that no page before is for.
fn statuses(page: &Directive, known: &mut Vec<u64>, output: &mut Output) -> Vec<u64> {
    let mut on = Vec::new();
    let Some((_, statuses @ [_, ..])) = page.args.split_last() else {
        output.notes.lost(page, "It names no status.");
        return on;
    };
    for status in statuses.iter().filter(|status| !status.starts_with('=')) {
        match status.parse::<u64>() {
            // Of HTTP on a port of TLS, certificates, and heads that are too large.
            Ok(494..=499) => {
                let why =
                    format!("{status} is a status of nginx alone, which geogate has no page for.");
                output.notes.differs(page, why);
            }
            Ok(number @ 300..600) if !known.contains(&number) => {
                known.push(number);
                on.push(number);
            }
            Ok(300..600) => {}
            _ => output.notes.lost(page, format!("{status} is no status.")),
        }
    }
    on
}

/// Returns the keys that say where a page comes from.
fn source(
    page: &Directive,
    scope: &Scope,
    names: &Names,
    variables: &Variables,
) -> Result<Vec<Entry>, String> {
    let uri = page.args.last().map_or("", String::as_str);
    let status = page.args.iter().find_map(|arg| arg.strip_prefix('='));
    let status = match status.map(|status| (status, status.parse::<u64>())) {
        None => None,
        Some(("", _)) => Some(Value::from("answer")),
        Some((_, Ok(status @ 200..600))) => Some(Value::from(status)),
        Some((text, _)) => return Err(format!("={text} is no status.")),
    };
    let from = Some(page);
    let template = |text: &str| {
        let read = variables.template(text, scope);
        read.map_err(|missing| no_variable(&missing))
    };
    let mut entries = Vec::new();
    if let Some(name) = uri.strip_prefix('@') {
        let name = names.get(name);
        let name = name.ok_or_else(|| format!("There is no location {uri}."))?;
        entries.push(Entry::new("route", name.as_str(), from));
    } else if uri.starts_with('/') {
        entries.push(Entry::new("path", template(uri)?, from));
    } else {
        entries.push(Entry::new("redirect", template(uri)?, from));
        let status = page.args.iter().find_map(|arg| arg.strip_prefix('='));
        let status = status.and_then(|status| status.parse::<u64>().ok());
        if let Some(status) = status.filter(|status| *status != 302 && REDIRECTS.contains(status)) {
            entries.push(Entry::new("status", status, from));
        }
        return Ok(entries);
    }
    entries.extend(status.map(|status| Entry::new("status", status, from)));
    Ok(entries)
}
