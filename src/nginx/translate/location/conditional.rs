//! Conditions (`if`) that answer, redirect or rewrite some requests of a block: each becomes a route
//! with `variables`, in the order of the file.

use super::super::condition::Test;
use super::super::headers;
use super::super::rewrite::{self, Rewritten};
use super::super::variables::{Aliases, At};
use super::{Outcome, Routes, Step};
use crate::nginx::Output;
use crate::nginx::document::{Entry, Table};
use crate::nginx::scope::Scope;
use crate::nginx::tree::Directive;

/// Condition that can be carried over.
pub(super) struct Conditional<'d> {
    pub(super) condition: &'d Directive,
    test: Test,
    kind: Kind<'d>,
}

/// Effect of a condition.
#[derive(Clone, Copy)]
enum Kind<'d> {
    /// It sets variables, which have their values where they are used.
    Sets,
    /// It answers with this `return`.
    Answer(&'d Directive),
    /// It changes the path by this `rewrite`.
    Rewrite(&'d Directive),
    /// It only adds headers to the responses of the location.
    Headers,
}

impl Kind<'_> {
    /// Reads the content of a condition; `None` if it has something else.
    fn of(condition: &Directive) -> Option<Kind<'_>> {
        let inside = condition.inside();
        let is_among = |names: &[&str]| {
            let mut inside = inside.iter();
            !condition.inside().is_empty() && inside.all(|d| names.contains(&d.name.as_str()))
        };
        let first = |name: &str| inside.iter().find(|directive| directive.name == name);
        if is_among(&["set"]) {
            return Some(Kind::Sets);
        }
        if let Some(answer) = first("return") {
            let known = [
                "return",
                "set",
                "add_header",
                "default_type",
                "expires",
                "access_log",
            ];
            return is_among(&known).then_some(Kind::Answer(answer));
        }
        if let Some(rewrite) = first("rewrite") {
            let is_one = inside.iter().filter(|d| d.name == "rewrite").count() == 1;
            return (is_one && is_among(&["rewrite"])).then_some(Kind::Rewrite(rewrite));
        }
        is_among(&["add_header", "expires"]).then_some(Kind::Headers)
    }
}

impl Routes<'_, '_> {
    /// Reads a condition. `Err` has the reason why it cannot be carried over.
    pub(super) fn conditional<'d>(
        &self,
        scope: &Scope<'d>,
        condition: &'d Directive,
    ) -> Result<Conditional<'d>, String> {
        let odd = "geogate has no conditions with this content.";
        let kind = Kind::of(condition).ok_or(odd)?;
        if matches!(kind, Kind::Headers) && !Self::may_add_headers(scope, condition) {
            return Err("Several conditions that add headers may hold at once.".to_owned());
        }
        let mut earlier = scope
            .directives()
            .iter()
            .take_while(|d| d.id < condition.id);
        // With a flag, or to another host, a `rewrite` is the last directive that is executed.
        let goes_on =
            |d: &Directive| d.name == "rewrite" && d.args.len() < 3 && !d.arg(1).contains("://");
        let at = At::by(scope, condition);
        if earlier.any(|d| goes_on(d) || d.inside().iter().any(goes_on))
            && self.variables.depends_on_target(condition, at)
        {
            return Err("The path may have been rewritten before this condition.".to_owned());
        }
        let test = self.variables.test(condition, at)?;
        Ok(Conditional {
            condition,
            test,
            kind,
        })
    }

    /// Returns `true` if no other condition of the block that adds headers can hold as well: each
    /// compares the same variable with another text.
    fn may_add_headers(scope: &Scope, condition: &Directive) -> bool {
        let adds = |other: &&Directive| matches!(Kind::of(other), Some(Kind::Headers));
        scope.here("if").filter(adds).all(|other| {
            let is_equal = |d: &Directive| d.args.len() == 3 && d.arg(1) == "=";
            other.id == condition.id
                || is_equal(other)
                    && is_equal(condition)
                    && other.arg(0) == condition.arg(0)
                    && other.arg(2) != condition.arg(2)
        })
    }

    /// Translates a condition into a route for the requests that it holds for; `None` if it has no
    /// route. What cannot be carried over answers 501.
    pub(super) fn conditional_step<'d>(
        &self,
        scope: &Scope<'d>,
        conditional: &Conditional<'d>,
        is_server: bool,
        output: &mut Output,
    ) -> Option<Step<'d>> {
        let condition = conditional.condition;
        let inner = scope.inner(condition);
        let aliases = self.aliases(conditional);
        let (regex, outcome) = match conditional.kind {
            Kind::Sets => return None,
            Kind::Answer(answer) => {
                let mut action = Table::new("route", Some(condition));
                let at = At::by(&inner, answer).with_aliases(&aliases);
                if !rewrite::answer(answer, None, at, self.variables, &mut action, output) {
                    rewrite::closed(501, answer, &mut action);
                }
                headers::to_client(&inner, self.hsts, self.variables, &mut action, output);
                (None, Outcome::Answer(action))
            }
            Kind::Headers => {
                let mut own = Table::new("route", Some(condition));
                headers::to_client(&inner, self.hsts, self.variables, &mut own, output);
                (None, Outcome::Headers(own))
            }
            Kind::Rewrite(by) => {
                let found = rewrite::rewritten(by, None, is_server, &inner, self.variables, output);
                match found {
                    Rewritten::All(action) => (None, Outcome::Answer(action)),
                    Rewritten::Redirect { regex, action } => (Some(regex), Outcome::Answer(action)),
                    Rewritten::Path { regex, path } if !is_server => {
                        (Some(regex), Outcome::Path(path))
                    }
                    _ => {
                        let why = "The path cannot be rewritten like this, so the requests that the \
                                   condition is for are answered with 501.";
                        output.notes.lost(by, why);
                        let mut action = Table::new("route", Some(by));
                        rewrite::closed(501, by, &mut action);
                        (None, Outcome::Answer(action))
                    }
                }
            }
        };
        output.notes.carried(condition);
        super::super::silence(condition, output);
        Some(Step {
            by: condition,
            regex,
            when: Some(self.variables.route_condition(&conditional.test)),
            outcome,
        })
    }

    /// Makes variables of the groups of a condition's expression that its answer uses.
    fn aliases(&self, conditional: &Conditional) -> Aliases {
        let texts = conditional.condition.inside().iter();
        let texts: Vec<&String> = texts.flat_map(|directive| &directive.args).collect();
        let is_used = |group: &String| {
            let mut texts = texts.iter();
            texts.any(|text| {
                text.contains(&format!("${group}")) || text.contains(&format!("${{{group}}}"))
            })
        };
        if matches!(conditional.kind, Kind::Rewrite(_)) {
            // There the groups are those of the expression of `rewrite`.
            return Aliases::new();
        }
        let groups = conditional.test.groups().into_iter().filter(is_used);
        groups
            .map(|group| {
                let table = conditional.test.table(&format!("${group}"), "");
                let name = self
                    .variables
                    .own
                    .register(&format!("group_{group}"), table);
                (group, name)
            })
            .collect()
    }
}

/// Adds the condition of a step to its route.
pub(super) fn set_condition(route: &mut Table, when: Option<&Entry>) {
    use crate::nginx::document::Value;
    if let Some(when) = when {
        route.set("variables", Value::Inline(vec![when.clone()]), None);
    }
}
