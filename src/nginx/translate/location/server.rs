//! Directives of a server that nginx executes before it looks for a location, and the route for paths
//! without one.

use super::super::headers;
use super::super::order::RoutePath;
use super::super::pattern::{Pattern, pattern};
use super::super::rewrite::{self, Rewritten};
use super::super::variables::At;
use super::conditional::{Conditional, set_condition};
use super::steps::{Outcome, copy_headers};
use super::{Common, Conditions, Routes};
use crate::nginx::Output;
use crate::nginx::document::Table;
use crate::nginx::scope::Scope;
use crate::nginx::tree::Directive;

impl<'s> Routes<'_, 's> {
    /// Translates the `rewrite` and `return` directives of a server, which nginx executes before it looks
    /// for a location. Returns `true` if they answer all requests.
    pub(super) fn server_steps(
        &mut self,
        common: &Common<'_, 's>,
        conditionals: &[Conditional<'s>],
        is_done: &dyn Fn(&Directive) -> bool,
        output: &mut Output,
    ) -> bool {
        let scope = common.scope;
        let is_followed = |step: &Directive| {
            let mut rewrites = scope.here("rewrite");
            rewrites.any(|rewrite| !is_done(rewrite) && rewrite.id > step.id)
        };
        for step in scope.directives().iter().filter(|one| !is_done(one)) {
            let answers_all = match step.name.as_str() {
                "rewrite" => self.server_rewrite(step, common, output),
                "if" => {
                    let mut known = conditionals.iter();
                    if let Some(known) = known.find(|known| known.condition.id == step.id) {
                        self.server_conditional(known, common, output);
                    }
                    false
                }
                "return" => {
                    self.server_return(step, common, output);
                    true
                }
                "break" if is_followed(step) => {
                    let why = "What comes after it is carried over all the same.";
                    output.notes.lost(step, why);
                    false
                }
                _ => false,
            };
            if answers_all {
                say_unreachable(scope, step, output);
                return true;
            }
        }
        false
    }

    /// Redirects requests without TLS to the same URL over TLS, on listeners that do more than that.
    pub(super) fn redirect_scheme(
        &mut self,
        answer: &'s Directive,
        common: &Common<'_, 's>,
        output: &mut Output,
    ) {
        let mut route = Table::new("route", Some(answer));
        route.set("scheme", "http", Some(answer));
        if answer.name == "return" {
            rewrite::answer(
                answer,
                None,
                At::by(common.scope, answer),
                self.variables,
                &mut route,
                output,
            );
        } else {
            output.notes.carried(answer);
            let status = if answer.arg(2) == "permanent" {
                301
            } else {
                302
            };
            rewrite::redirect("https://$host$request_uri", status, answer, &mut route);
        }
        self.common_keys(common.scope, common, &mut route, output);
        self.pending.push((RoutePath::of_server(None), route));
    }

    /// Translates a server's `rewrite`, which nginx applies before it looks for a location. Returns
    /// `true` if it answers all requests.
    pub(super) fn server_rewrite(
        &mut self,
        step: &'s Directive,
        common: &Common<'_, 's>,
        output: &mut Output,
    ) -> bool {
        let found = rewrite::rewritten(step, None, true, common.scope, self.variables, output);
        let (regex, mut action) = match found {
            Rewritten::All(action) => (None, action),
            Rewritten::Redirect { regex, action } => (Some(regex), action),
            Rewritten::Again { regex } | Rewritten::Path { regex, .. } => {
                let mut action = Table::new("route", Some(step));
                rewrite::closed(501, step, &mut action);
                (Some(regex), action)
            }
            Rewritten::Prefix(_) => return false,
        };
        Self::site_keys(common, &mut action);
        let mut of_server = Table::new("route", Some(step));
        headers::to_client(
            common.scope,
            self.hsts,
            self.variables,
            &mut of_server,
            output,
        );
        copy_headers(&of_server, &mut action, step);
        // The new path is looked up in the server's locations.
        let is_all = regex.is_none() && action.get("reroute").is_none();
        self.pending.push((RoutePath::of_server(regex), action));
        is_all
    }

    pub(super) fn server_conditional(
        &mut self,
        conditional: &Conditional<'s>,
        common: &Common<'_, 's>,
        output: &mut Output,
    ) {
        let Some(step) = self.conditional_step(common.scope, conditional, true, output) else {
            return;
        };
        let mut action = match step.outcome {
            Outcome::Answer(action) | Outcome::Headers(action) => action,
            Outcome::Path(_) => return,
        };
        set_condition(&mut action, step.when.as_ref());
        self.common_keys(common.scope, common, &mut action, output);
        self.pending
            .push((RoutePath::of_server(step.regex), action));
    }

    pub(super) fn server_return(
        &mut self,
        step: &'s Directive,
        common: &Common<'_, 's>,
        output: &mut Output,
    ) {
        let mut route = Table::new("route", Some(step));
        let at = At::by(common.scope, step);
        if !rewrite::answer(step, None, at, self.variables, &mut route, output) {
            rewrite::closed(501, step, &mut route);
        }
        self.common_keys(common.scope, common, &mut route, output);
        self.pending.push((RoutePath::REST, route));
    }

    /// Adds the route for paths without a location.
    pub(super) fn rest(&mut self, common: &Common<'_, 's>, output: &mut Output) {
        let is_all = |own: Option<Pattern>| own == Some(Pattern::Prefix("/".to_owned()));
        let mut locations = common.scope.here("location");
        if locations.any(|location| is_all(pattern(location))) {
            return;
        }
        let block = common.site.block;
        let mut route = Table::new("route", Some(block));
        if common.scope.one("root").is_some() {
            let whole = Pattern::Prefix("/".to_owned());
            self.serve(common.scope, block, &whole, &mut route, output);
            self.protect(
                common.scope,
                block,
                Conditions::default(),
                &mut route,
                output,
            );
            self.common_keys(common.scope, common, &mut route, output);
        } else {
            rewrite::closed(404, block, &mut route);
            self.error_pages(common.scope, &mut route, output);
        }
        self.pending.push((RoutePath::REST, route));
    }
}

/// Notes the locations of a server that answers everything by itself.
pub(super) fn say_unreachable(scope: &Scope, answer: &Directive, output: &mut Output) {
    for location in scope.here("location") {
        let why = format!(
            "The server answers everything in line {}.",
            answer.place.line
        );
        output.notes.needless(location, why);
        super::super::silence(location, output);
    }
}
