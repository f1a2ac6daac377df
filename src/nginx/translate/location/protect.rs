//! Protection of a location: conditions, addresses, methods, and directives that close it.

use super::super::access;
use super::super::auth::{self, Asked};
use super::super::guard;
use super::super::header_guard::{HeaderGuard, Turning};
use super::super::headers;
use super::super::order::RoutePath;
use super::super::rewrite;
use super::super::variables::At;
use super::{Conditions, Routes};
use crate::nginx::Output;
use crate::nginx::document::{Item, Table};
use crate::nginx::scope::Scope;
use crate::nginx::tree::Directive;

impl<'s> Routes<'_, 's> {
    /// Reads the conditions that reject clients, as names of `[[access]]` and as guards on headers.
    /// Notes the outcome of all other conditions.
    pub(super) fn conditions<'d>(
        &self,
        scope: &Scope<'d>,
        is_done: &dyn Fn(&Directive) -> bool,
        output: &mut Output,
    ) -> Conditions<'d> {
        let mut found = Conditions::default();
        let mut others = Vec::new();
        for condition in scope.here("if").filter(|condition| !is_done(condition)) {
            if self.unknown_clients.is_none()
                && let Some(name) = access::condition(self.http, condition, self.variables, output)
            {
                found.access.push(name);
            } else {
                others.push(condition);
            }
        }
        if let Some(guards) = self.header_guards(scope, &others, output) {
            found.guards = guards;
            return found;
        }
        for condition in others {
            let why = match self.conditional(scope, condition) {
                Ok(conditional) => {
                    output.notes.carried(condition);
                    super::super::silence(condition, output);
                    found.steps.push(conditional);
                    continue;
                }
                Err(why) => why,
            };
            if guard::is_protecting(condition) {
                let what = if scope.is("server") {
                    "whole server"
                } else {
                    "location"
                };
                let why = format!(
                    "The {what} answers 403, because this condition forbids and cannot be carried over: \
                     {why} Routes have `host`, `methods`, `headers`, `variables`, `countries` and \
                     `regions` to choose by."
                );
                output.notes.closed(condition, why);
                found.closed_by = found.closed_by.or(Some(condition));
            } else {
                let why = format!(
                    "{why} Routes have `host`, `methods`, `headers`, `variables`, `countries` and \
                     `regions` to choose by."
                );
                output.notes.lost(condition, why);
            }
            super::super::silence(condition, output);
        }
        found
    }

    /// Returns the conditions as guards on headers, if all of them are, and routes can have them
    /// exactly.
    fn header_guards<'d>(
        &self,
        scope: &Scope<'d>,
        conditions: &[&'d Directive],
        output: &mut Output,
    ) -> Option<Vec<HeaderGuard<'d>>> {
        let guards = conditions
            .iter()
            .map(|condition| HeaderGuard::read(self.http, condition));
        let guards: Vec<_> = guards.collect::<Option<_>>()?;
        let (guards, maps): (Vec<_>, Vec<_>) = guards.into_iter().unzip();
        // nginx executes what stands before a condition first.
        let decides = |d: &&Directive| matches!(d.name.as_str(), "rewrite" | "return" | "break");
        let decided = scope.directives().iter().filter(decides);
        let decided = decided.map(|d| d.id).min();
        let last = guards.iter().map(|guard| guard.condition.id).max();
        let comes_first = decided.is_none_or(|decided| Some(decided) > last);
        if guards.is_empty() || !comes_first || !HeaderGuard::go_together(&guards) {
            return None;
        }
        for map in maps.into_iter().flatten() {
            output.notes.carried(map);
            super::super::silence(map, output);
        }
        Some(guards)
    }

    /// Returns the routes that reject requests by their headers.
    pub(super) fn turnings<'d>(
        &self,
        scope: &Scope<'d>,
        conditions: &mut Conditions<'d>,
        output: &mut Output,
    ) -> Vec<Turning<'d>> {
        let guards: Vec<HeaderGuard> = std::mem::take(&mut conditions.guards);
        if guards.is_empty() {
            return Vec::new();
        }
        let turned = |guard: HeaderGuard<'d>| {
            output.notes.carried(guard.condition);
            super::super::silence(guard.condition, output);
            let mut answer = Table::new("route", Some(guard.condition));
            rewrite::answer(
                guard.answer,
                None,
                At::by(scope, guard.answer),
                self.variables,
                &mut answer,
                output,
            );
            headers::to_client(scope, self.hsts, self.variables, &mut answer, output);
            self.error_pages(scope, &mut answer, output);
            Turning { guard, answer }
        };
        guards.into_iter().map(turned).collect()
    }

    /// Notes the directives that close a whole server. Returns `true` if there are any.
    pub(super) fn close_by_site(scope: &Scope<'s>, output: &mut Output) -> bool {
        let mut is_closed = false;
        for closing in guard::closings(scope) {
            // If the directive is off in some locations, each location is closed by itself.
            if has_exception(scope, &closing.by.name) {
                continue;
            }
            let why = format!("The whole server answers 403: {}.", closing.why);
            output.notes.closed(closing.by, why);
            is_closed = true;
        }
        is_closed
    }

    /// Sets the protection of a route, and closes the route if geogate does not have that
    /// protection. Returns `true` if the route is closed.
    pub(super) fn protect<'d>(
        &self,
        scope: &Scope<'d>,
        from: &'d Directive,
        conditions: Conditions<'d>,
        route: &mut Table,
        output: &mut Output,
    ) -> bool {
        let mut closed_by = conditions.closed_by;
        for closing in guard::closings(scope) {
            let why = format!(
                "The location answers 403: {}. Change `respond` to what it is to do.",
                closing.why
            );
            output.notes.closed(closing.by, why);
            closed_by = closed_by.or(Some(closing.by));
        }
        let sets = if self.one_access {
            Vec::new()
        } else {
            access::of_block(scope, output)
        };
        if let (Some(unknown), false) = (self.unknown_clients, sets.is_empty()) {
            let why = "Locations that allow and deny addresses answer 403: it is not known here which \
                       address a client has.";
            output.notes.closed(unknown, why);
            closed_by = closed_by.or(Some(from));
        }
        if let Some(internal) = scope.here("internal").last() {
            output.notes.carried(internal);
            route.set("internal", true, Some(internal));
        }
        let asks = ask_for_password(scope, &conditions, route, output);
        closed_by = closed_by.or(asks);
        if let Some(by) = closed_by {
            *route = Table::new("route", Some(from));
            rewrite::closed(403, by, route);
            return true;
        }
        for name in sets.into_iter().chain(conditions.access) {
            route.push("access", Item::new(name, Some(from)));
        }
        false
    }

    /// Splits a route by `limit_except`: the listed methods keep their action, the others answer
    /// 403.
    pub(super) fn limited(
        &mut self,
        only: &Directive,
        paths: &[RoutePath],
        route: &Table,
        output: &mut Output,
    ) {
        output.notes.carried(only);
        let closes = matches!(only.inside(), [deny] if deny.name == "deny" && deny.arg(0) == "all");
        super::super::silence(only, output);
        let mut rest = Table::new("route", Some(only));
        rewrite::closed(403, only, &mut rest);
        if let Some(sets) = route.get("access") {
            rest.set("access", sets.clone(), Some(only));
        }
        if !closes {
            let why = "Other methods are answered with 403 for everybody.";
            output.notes.closed(only, why);
        }
        let mut limited = route.clone();
        for method in &only.args {
            limited.push("methods", Item::new(method.as_str(), Some(only)));
        }
        for path in paths {
            self.pending.push((path.clone(), limited.clone()));
            self.pending.push((path.clone(), rest.clone()));
        }
    }
}

/// Sets the passwords that a route asks for. Returns the directive that closes the route, if they cannot
/// be asked for.
fn ask_for_password<'d>(
    scope: &Scope<'d>,
    conditions: &Conditions,
    route: &mut Table,
    output: &mut Output,
) -> Option<&'d Directive> {
    // nginx answers and redirects before it asks for a password.
    if route.get("upstream").is_none() && route.get("files").is_none() {
        return None;
    }
    match auth::of_block(scope, output) {
        Asked::Nothing => None,
        Asked::Users(name) => {
            auth::set(&name, scope, route, output);
            let any = auth::any(scope).filter(|_| forbids_first(scope, conditions))?;
            let why = "The location answers 403: an `if` that forbids holds for clients with a password \
                       as well, which routes cannot say beside `satisfy any`.";
            output.notes.closed(any, why);
            Some(any)
        }
        Asked::Unknown(by, why) => {
            let why = format!("The location answers 403: {why}.");
            output.notes.closed(by, why);
            Some(by)
        }
    }
}

/// Returns `true` if a condition of a location, or of the blocks around it, forbids something.
fn forbids_first(scope: &Scope, conditions: &Conditions) -> bool {
    let mut levels = scope.chain();
    !conditions.access.is_empty() || levels.any(|level| level.here("if").any(guard::is_protecting))
}

/// Returns `true` if a directive is `off` somewhere within the block.
fn has_exception(scope: &Scope, name: &str) -> bool {
    let all = scope.everywhere(name);
    all.iter().any(|directive| directive.arg(0) == "off")
}

/// Notes that nginx's `return` answers before rules on addresses apply, while a route applies them
/// first.
pub(super) fn say_order(scope: &Scope, output: &mut Output) {
    let rules = scope.all_of(&["allow", "deny"]);
    let answers = scope.here("return").last();
    let answers = answers.filter(|answer| answer.arg(0) != "403");
    if let (Some(rule), Some(answer)) = (rules.first(), answers) {
        let why = format!(
            "nginx answers before it looks at addresses; here those that line {} denies get 403.",
            rule.place.line
        );
        output.notes.differs(answer, why);
    }
}
