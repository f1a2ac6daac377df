//! Steps of a location: its `rewrite` directives and conditions, each a route of its own.

use super::super::pattern::Pattern;
use super::super::rewrite::{self, Rewritten};
use super::Routes;
use super::conditional::{Conditional, set_condition};
use crate::nginx::Output;
use crate::nginx::document::{Entry, Table};
use crate::nginx::scope::Scope;
use crate::nginx::tree::Directive;

/// Result of the `rewrite` directives of a location.
#[derive(Default)]
pub(super) struct Steps<'d> {
    /// Routes for some of the location's requests.
    pub(super) routes: Vec<Step<'d>>,
    /// Replacement of the location's prefix.
    pub(super) prefix: Option<(String, &'d Directive)>,
    /// Action for all requests of the location, if the directives decide it.
    pub(super) decided: Option<Table>,
}

/// Route for the requests of a location whose path matches.
pub(super) struct Step<'d> {
    pub(super) by: &'d Directive,
    /// Expression that the path matches; `None` for every path.
    pub(super) regex: Option<String>,
    /// Condition on a variable.
    pub(super) when: Option<Entry>,
    pub(super) outcome: Outcome,
}

pub(super) enum Outcome {
    /// The requests are answered or redirected.
    Answer(Table),
    /// The requests stay in the location, with another path.
    Path(String),
    /// The requests stay in the location, with these headers of responses.
    Headers(Table),
}

impl Step<'_> {
    /// Returns the action of the step's route. It keeps the access rules of its location.
    pub(super) fn action(&self, of_location: &Table, location: &Directive) -> Table {
        let mut action = match &self.outcome {
            Outcome::Answer(action) => {
                let mut action = action.clone();
                copy_headers(of_location, &mut action, location);
                action
            }
            Outcome::Path(path) => {
                let mut action = of_location.clone();
                if of_location.get("respond").is_none() {
                    action.set("rewrite", path.as_str(), Some(self.by));
                }
                action
            }
            Outcome::Headers(own) => {
                let mut action = of_location.clone();
                for key in ["response_headers", "expires"] {
                    if let Some(value) = own.get(key) {
                        action.set(key, value.clone(), Some(self.by));
                    }
                }
                action
            }
        };
        set_condition(&mut action, self.when.as_ref());
        if let Some(internal) = of_location.get("internal") {
            action.set("internal", internal.clone(), Some(location));
        }
        if let Some(sets) = of_location.get("access") {
            action.set("access", sets.clone(), Some(location));
        }
        action
    }
}

/// Gives the answer of a `rewrite` the headers to clients that its block has.
pub(super) fn copy_headers(from: &Table, to: &mut Table, origin: &Directive) {
    if to.get("reroute").is_some() {
        return;
    }
    for key in ["response_headers", "expires"] {
        if let Some(value) = from.get(key) {
            to.set(key, value.clone(), Some(origin));
        }
    }
}

impl Routes<'_, '_> {
    /// Translates the `rewrite` directives and the conditions of a location.
    pub(super) fn steps<'d>(
        &self,
        scope: &Scope<'d>,
        own: &Pattern,
        conditionals: &[Conditional<'d>],
        output: &mut Output,
    ) -> Steps<'d> {
        let prefix = match own {
            Pattern::Prefix(prefix) => Some(prefix.as_str()),
            _ => None,
        };
        let mut steps = Steps::default();
        for by in scope.directives().iter() {
            match by.name.as_str() {
                "rewrite" => {}
                "if" => {
                    let mut known = conditionals.iter();
                    if let Some(known) = known.find(|known| known.condition.id == by.id) {
                        let step = self.conditional_step(scope, known, false, output);
                        steps.routes.extend(step);
                    }
                    continue;
                }
                // What comes behind it is not executed.
                "return" | "break" => break,
                _ => continue,
            }
            let found = rewrite::rewritten(by, prefix, false, scope, self.variables, output);
            let (regex, outcome) = match found {
                Rewritten::All(action) => {
                    steps.decided = Some(action).filter(|action| !action.is_empty());
                    break;
                }
                Rewritten::Prefix(new) => {
                    steps.prefix = Some((new, by));
                    break;
                }
                Rewritten::Redirect { regex, action } => (regex, Outcome::Answer(action)),
                Rewritten::Path { regex, path } => (regex, Outcome::Path(path)),
                Rewritten::Again { regex } => {
                    let mut action = Table::new("route", Some(by));
                    rewrite::closed(501, by, &mut action);
                    (regex, Outcome::Answer(action))
                }
            };
            steps.routes.push(Step {
                by,
                regex: Some(regex),
                when: None,
                outcome,
            });
        }
        steps
    }
}
