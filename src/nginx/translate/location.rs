//! Translation of locations into routes.
//!
//! The routes of a server are collected first and then written for its hosts and listeners. Their
//! paths have the order in which nginx tries locations ([`super::order`]). nginx uses a single server;
//! geogate tries the routes of the most specific host and then others, so every server ends with a
//! route for all paths.
//!
//! A location is closed if its protection cannot be carried over ([`super::guard`]). It answers 501
//! if its action cannot be carried over.

mod action;
mod conditional;
mod protect;
mod server;
mod steps;
mod written;

use std::collections::HashSet;

use self::conditional::Conditional;
use self::server::say_unreachable;
use self::steps::{Outcome, Step};
use super::access;
use super::client;
use super::error_page;
use super::files;
use super::header_guard::{HeaderGuard, Turning, guarded};
use super::headers;
use super::listen::Listen;
use super::log::Logs;
use super::order::{Around, Placed, Plan, RoutePath};
use super::pattern::{Pattern, pattern};
use super::rate;
use super::rewrite;
use super::site::{Site, Sites};
use super::tls;
use super::variables::Variables;
use crate::nginx::Output;
use crate::nginx::document::{Item, Table, Value};
use crate::nginx::scope::Scope;
use crate::nginx::tree::Directive;

/// Settings of the whole file.
pub(super) struct Shared<'r> {
    pub(super) variables: &'r Variables,
    pub(super) logs: &'r Logs,
    /// Directive that leaves the addresses of clients unknown, if there is one.
    pub(super) unknown_clients: Option<&'r Directive>,
}

pub(super) fn translate<'s>(
    http: &'s Scope<'s>,
    sites: &Sites<'s>,
    shared: &Shared,
    output: &mut Output,
) {
    let secure = sites
        .all
        .iter()
        .filter(|site| site.listens.iter().any(Listen::is_tls));
    let secure: Vec<&Site> = secure.collect();
    let mut routes = Routes {
        http,
        variables: shared.variables,
        logs: shared.logs,
        unknown_clients: shared.unknown_clients,
        hsts: tls::hsts_for_all(http, &secure),
        body_size: client::body_size_for_all(http),
        error_page: error_page::Single::find(http),
        one_access: access::is_for_all(http),
        patterned: sites.with_patterns(),
        named: 0,
        names: files::Names::new(),
        pending: Vec::new(),
        known: HashSet::new(),
    };
    if let Some(page) = &routes.error_page {
        page.write(output);
    }
    for site in &sites.all {
        routes.site(site, output);
    }
    if let Some(block) = sites.nameless {
        let why = "Some names of servers cannot be carried over, so requests for hosts that no route \
                   names are answered with 403.";
        output.notes.lost(block, why);
        let mut route = Table::new("route", Some(block));
        rewrite::closed(403, block, &mut route);
        output.document.add(route);
    }
    let own = &shared.variables.own;
    output
        .document
        .leave_out_unused("upstream", "route", |name| own.is_chosen(name));
    leave_the_obvious_out(output);
    for block in http.here("upstream") {
        if !output.notes.is_spoken_for(block) {
            output.notes.needless(block, "Nothing leads to it.");
            super::silence(block, output);
        }
    }
}

/// Leaves out a single route that only names an upstream: without routes, all requests go to the
/// one upstream.
fn leave_the_obvious_out(output: &mut Output) {
    let mut routes = output.document.named("route");
    let (Some(first), None) = (routes.next(), routes.next()) else {
        return;
    };
    let upstream = first.get("upstream").map(Value::to_text);
    let is_chosen = upstream.is_some_and(|upstream| upstream.starts_with("\"$"));
    let is_obvious = first.keys().eq(["upstream"]) && !is_chosen;
    let mut keys = first.keys();
    let is_for_all = !keys.any(|key| matches!(key, "path" | "prefix" | "starts_with" | "regex"));
    drop((routes, keys));
    if is_for_all {
        // Such a route answers what its upstream names, without an end.
        let document = &mut output.document;
        document.leave_out_key("upstream", "x_accel_redirect");
    }
    if is_obvious {
        output.document.leave_out("route");
    }
}

struct Routes<'r, 's> {
    http: &'s Scope<'s>,
    variables: &'r Variables,
    logs: &'r Logs,
    unknown_clients: Option<&'r Directive>,
    hsts: Option<&'s Directive>,
    /// Limit on bodies that applies to routes without their own.
    body_size: Option<&'s Directive>,
    /// Error page of a file that needs no routes for it.
    error_page: Option<error_page::Single<'s>>,
    /// True if the rules on addresses are the same for all, in `[limits]`.
    one_access: bool,
    /// Numbers of the servers with patterns of hosts, which may match the names of other servers.
    patterned: Vec<usize>,
    /// Number of named routes so far.
    named: usize,
    /// Names of the routes of named locations of the current server.
    names: files::Names,
    /// Routes of the current server.
    pending: Vec<(RoutePath, Table)>,
    /// Hosts, paths and conditions of the routes so far. Of routes with the same ones, the first
    /// counts.
    known: HashSet<String>,
}

/// Settings that all routes of a server share.
struct Common<'r, 's> {
    site: &'r Site<'s>,
    scope: &'r Scope<'s>,
    plan: &'r Plan<'s>,
    /// Access rules from the server's conditions.
    access: Vec<String>,
}

/// Result of the conditions of a block: access rules, guards, and a condition that closes the
/// block.
#[derive(Default)]
struct Conditions<'s> {
    access: Vec<String>,
    guards: Vec<HeaderGuard<'s>>,
    /// Conditions that become routes of their own, in the order of the file.
    steps: Vec<Conditional<'s>>,
    closed_by: Option<&'s Directive>,
}

impl<'s> Routes<'_, 's> {
    fn site(&mut self, site: &Site<'s>, output: &mut Output) {
        let scope = self.http.inner(site.block);
        if let Some(why) = site.closed {
            output.notes.closed(site.block, why);
            return self.closed_site(site, output);
        }
        let to_https = rewrite::to_https(site.block);
        let to_https = to_https.map(|redirect| redirect.directives);
        let by_scheme = to_https
            .as_ref()
            .and_then(|steps| rewrite::of_scheme(steps))
            .filter(|_| site.to_https.is_none());
        let to_https = to_https.filter(|_| site.to_https.is_some() || by_scheme.is_some());
        let to_https = to_https.unwrap_or_default();
        // Every form of this redirect but a `location /` answers before nginx looks for a location.
        let is_step = |step: &&Directive| matches!(&*step.name, "return" | "rewrite" | "if");
        let answers = site.only_redirects
            && to_https.iter().any(is_step)
            && !to_https.iter().any(|step| step.name == "location");
        let is_done = |directive: &Directive| to_https.iter().any(|step| step.id == directive.id);
        self.names = self.named_locations(&scope);
        let mut conditions = self.conditions(&scope, &is_done, output);
        let turnings = self.turnings(&scope, &mut conditions, output);
        let is_closed = Self::close_by_site(&scope, output);
        if is_closed || conditions.closed_by.is_some() {
            return self.closed_site(site, output);
        }
        let steps = std::mem::take(&mut conditions.steps);
        let plan = Plan::new(site.block);
        let common = Common {
            site,
            scope: &scope,
            plan: &plan,
            access: conditions.access,
        };
        if let Some((condition, answer)) = by_scheme {
            output.notes.carried(condition);
            self.redirect_scheme(answer, &common, output);
        }
        if answers {
            say_unreachable(&scope, site.block, output);
        }
        let answers_all = answers || self.server_steps(&common, &steps, &is_done, output);
        if !answers_all {
            self.locations(&scope, &common, &Around::default(), &is_done, output);
            if !site.only_redirects {
                self.rest(&common, output);
            }
        }
        self.guard(0, &turnings);
        for location in scope.here("location") {
            let name = location.arg(0).strip_prefix('@');
            if let Some(name) = name.and_then(|name| self.names.get(name).cloned()) {
                self.named(&name, location, &common, output);
            }
        }
        self.write(site, output);
    }

    /// Gives the named locations of a server that something leads to names of routes.
    fn named_locations(&mut self, scope: &Scope) -> files::Names {
        let mut leading = scope.everywhere("try_files");
        leading.extend(self.http.here("error_page"));
        leading.extend(scope.everywhere("error_page"));
        let mut names = files::Names::new();
        for location in scope.here("location") {
            let Some(name) = location.arg(0).strip_prefix('@') else {
                continue;
            };
            let is_it = |by: &&Directive| by.args.last() == Some(&location.args[0]);
            if leading.iter().any(is_it) && !names.contains_key(name) {
                self.named += 1;
                let number = self.named;
                names.insert(name.to_owned(), format!("{name}-{number}"));
            }
        }
        names
    }

    /// Adds the route of a named location, which is reached by its name alone.
    fn named(
        &mut self,
        name: &str,
        location: &'s Directive,
        common: &Common<'_, 's>,
        output: &mut Output,
    ) {
        output.notes.carried(location);
        let inner = common.scope.inner(location);
        let first = self.pending.len();
        let whole = Pattern::Prefix("/".to_owned());
        let paths = [RoutePath::named(name)];
        self.location(&inner, location, &whole, &paths, common, output);
        if self.pending.len() > first + 1 {
            let why = "A route that is reached by its name has no conditions, so this location answers \
                       403.";
            output.notes.closed(location, why);
            self.pending.truncate(first);
            let mut route = Table::new("route", Some(location));
            rewrite::closed(403, location, &mut route);
            self.pending.push((RoutePath::named(name), route));
        }
    }

    /// Adds the routes that reject requests beside the pending routes from the index `first` on.
    fn guard(&mut self, first: usize, turnings: &[Turning]) {
        if turnings.is_empty() {
            return;
        }
        for (path, route) in self.pending.split_off(first) {
            let routes = guarded(turnings, &route).into_iter();
            self.pending
                .extend(routes.map(|route| (path.clone(), route)));
        }
    }

    /// Writes a server that answers 403 to everything.
    fn closed_site(&mut self, site: &Site<'s>, output: &mut Output) {
        super::silence(site.block, output);
        let mut route = Table::new("route", Some(site.block));
        rewrite::closed(403, site.block, &mut route);
        self.pending.push((RoutePath::REST, route));
        self.write(site, output);
    }

    /// Adds the routes of all locations of a block. Regular expressions come last, in their order.
    fn locations<'d>(
        &mut self,
        scope: &'d Scope<'d>,
        common: &Common<'_, 's>,
        around: &Around<'d>,
        is_done: &dyn Fn(&Directive) -> bool,
        output: &mut Output,
    ) {
        let is_regex = |location: &&Directive| matches!(pattern(location), Some(Pattern::Regex(_)));
        let (regexes, others): (Vec<_>, Vec<_>) = scope.here("location").partition(is_regex);
        for location in others.into_iter().chain(regexes) {
            output.notes.carried(location);
            // A named location is translated together with the location that leads to it.
            if is_done(location) || location.arg(0).starts_with('@') {
                continue;
            }
            if self
                .error_page
                .as_ref()
                .is_some_and(|page| page.is_for(location))
            {
                continue;
            }
            let Some(own) = pattern(location) else {
                let why = "geogate does not know this kind of location.";
                output.notes.lost(location, why);
                super::silence(location, output);
                continue;
            };
            let inner = scope.inner(location);
            match common.plan.place(location, &own, around) {
                Placed::At { paths, is_exact } => {
                    // What is nested comes before the location itself.
                    let around = around.within(location);
                    self.locations(&inner, common, &around, &|_| false, output);
                    if is_exact {
                        self.location(&inner, location, &own, &paths, common, output);
                    } else {
                        self.close(location, paths, output);
                    }
                }
                Placed::Unreached => {
                    let why = "Longer prefixes take all its requests, in nginx as well.";
                    output.notes.minor(location, why);
                    super::silence(location, output);
                }
            }
        }
    }

    /// Closes a location whose regular expression takes more requests than in nginx.
    fn close(&mut self, location: &Directive, paths: Vec<RoutePath>, output: &mut Output) {
        let why = "geogate does not have this kind of regular expression, so all that it may match \
                   answers 403.";
        output.notes.closed(location, why);
        super::silence(location, output);
        let mut route = Table::new("route", Some(location));
        rewrite::closed(403, location, &mut route);
        self.pending
            .extend(paths.into_iter().map(|path| (path, route.clone())));
    }

    fn location<'d>(
        &mut self,
        scope: &Scope<'d>,
        location: &'d Directive,
        own: &Pattern,
        paths: &[RoutePath],
        common: &Common<'_, 's>,
        output: &mut Output,
    ) {
        self.redirect_to_slash(scope, location, own, common, output);
        let mut conditions = self.conditions(scope, &|_| false, output);
        let turnings = self.turnings(scope, &mut conditions, output);
        let first = self.pending.len();
        let mut steps = self.steps(scope, own, &conditions.steps, output);
        let mut route = if let Some(decided) = steps.decided.take() {
            decided
        } else {
            let mut route = Table::new("route", Some(location));
            self.action(scope, location, own, &mut route, output);
            if let Some((new, step)) = steps.prefix.take()
                && (route.get("upstream").is_some() || route.get("files").is_some())
            {
                route.set("rewrite", new, Some(step));
            }
            route
        };
        if scope.here("return").next().is_some() {
            protect::say_order(scope, output);
        }
        if self.protect(scope, location, conditions, &mut route, output) {
            steps.routes.clear();
        }
        self.common_keys(scope, common, &mut route, output);
        let has_regexes = steps.routes.iter().any(|step| step.regex.is_some());
        for step in steps.routes {
            let action = step.action(&route, location);
            // Routes with an expression come before the others, and keep their order.
            let regex = step.regex.as_deref().or(has_regexes.then_some("^"));
            let paths = paths.iter().map(|path| match regex {
                Some(regex) => path.and(regex),
                None => path.clone(),
            });
            self.pending
                .extend(paths.map(|path| (path, action.clone())));
        }
        if let Some(only) = scope.here("limit_except").last() {
            self.limited(only, paths, &route, output);
        } else {
            let paths = paths.iter().cloned();
            self.pending.extend(paths.map(|path| (path, route.clone())));
        }
        self.guard(first, &turnings);
    }

    /// Sets the error pages of a route.
    fn error_pages(&self, scope: &Scope, route: &mut Table, output: &mut Output) {
        if self.error_page.is_none() && route.get("error_pages").is_none() {
            error_page::of_route(scope, &self.names, self.variables, route, output);
        }
    }

    /// Adds the access rules from the server's conditions to a route.
    fn site_keys(common: &Common<'_, 's>, route: &mut Table) {
        for name in &common.access {
            route.push("access", Item::new(name.as_str(), Some(common.site.block)));
        }
    }

    /// Sets the keys of a route that do not depend on its action.
    fn common_keys(
        &self,
        scope: &Scope,
        common: &Common<'_, 's>,
        route: &mut Table,
        output: &mut Output,
    ) {
        if route.get("response_headers").is_none() {
            headers::to_client(scope, self.hsts, self.variables, route, output);
        }
        if let Some(logs) = self.logs.of_block(scope) {
            route.set("access_log", logs, None);
        }
        if let Some(size) = scope.one("client_max_body_size") {
            let is_for_all = self.body_size.is_some_and(|all| all.args == size.args);
            match client::body_size(size) {
                Some(_) if is_for_all => output.notes.carried(size),
                Some(text) => {
                    output.notes.carried(size);
                    if size.arg(0) == "0" {
                        output.notes.minor(size, client::WHY_UNLIMITED);
                    }
                    route.set("max_body_size", text, Some(size));
                }
                None => output.notes.lost(size, "This is no size."),
            }
        }
        let gzip = scope.one("gzip");
        let is_on = |gzip: Option<&Directive>| gzip.is_some_and(|gzip| gzip.arg(0) == "on");
        if is_on(gzip) != is_on(self.http.here("gzip").last()) {
            route.set("compress", is_on(gzip), gzip);
        }
        if let Some(gzip) = gzip {
            output.notes.carried(gzip);
        }
        Self::site_keys(common, route);
        rate::of_block(self.http, scope, route, output);
        self.error_pages(scope, route, output);
    }
}
