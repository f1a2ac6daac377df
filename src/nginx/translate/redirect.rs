//! `proxy_redirect` becomes `rewrite_location`: if a redirect of the upstream begins with one text,
//! that is replaced by another. nginx does so by default if `proxy_pass` has no variables.

use super::cookies;
use super::pattern::{Pattern, pattern};
use super::variables::{self, Variables, no_variable};
use crate::nginx::Output;
use crate::nginx::document::{Entry, Item, Table, Value};
use crate::nginx::scope::Scope;
use crate::nginx::tree::Directive;

/// Text at the start of a redirect and its replacement, as templates of geogate.
struct Rule<'d> {
    by: &'d Directive,
    from: String,
    to: String,
}

/// Sets the rules that rewrite redirects of a location's upstream.
pub(super) fn translate(
    scope: &Scope,
    pass: &Directive,
    variables: &Variables,
    route: &mut Table,
    output: &mut Output,
) {
    // nginx rewrites redirects of `proxy_pass` alone.
    if pass.name != "proxy_pass" {
        return;
    }
    for rule in in_effect(scope, variables, output) {
        let ends = vec![
            Entry::new("from", rule.from, Some(rule.by)),
            Entry::new("to", rule.to, Some(rule.by)),
        ];
        let item = Item::new(Value::Inline(ends), Some(rule.by));
        route.push("rewrite_location", item);
    }
}

/// Returns the rules in effect in a block. A block without `proxy_redirect` has the rules of the
/// block around it, even if these come from the `proxy_pass` there.
fn in_effect<'s>(scope: &Scope<'s>, variables: &Variables, output: &mut Output) -> Vec<Rule<'s>> {
    let mut levels: Vec<Scope> = scope.chain().collect();
    levels.reverse();
    let (mut is_off, mut by_default) = (false, None);
    let mut said: Option<(Scope, Vec<&Directive>)> = None;
    for level in levels {
        let here: Vec<_> = level.here("proxy_redirect").collect();
        if here.is_empty() {
            let is_open = !is_off && said.is_none() && by_default.is_none();
            by_default = by_default.or_else(|| default(&level).filter(|_| is_open));
            continue;
        }
        is_off = here.iter().any(|one| one.arg(0) == "off");
        by_default = None;
        said = Some((level, here));
    }
    let Some((level, here)) = said else {
        return by_default.into_iter().collect();
    };
    let mut rules = Vec::new();
    for one in here {
        output.notes.carried(one);
        if is_off {
            continue;
        }
        if one.arg(0) == "default" {
            rules.extend(default(&level));
            continue;
        }
        match given(one, &level, variables) {
            Ok(rule) => rules.push(rule),
            Err(why) => output.notes.lost(one, why),
        }
    }
    rules
}

/// Returns nginx's default rule for a `proxy_pass`; none if the URL has variables.
fn default<'s>(level: &Scope<'s>) -> Option<Rule<'s>> {
    let pass = level.here("proxy_pass").last()?;
    let url = pass.arg(0);
    if variables::has_variables(url) {
        return None;
    }
    let (_, rest) = url.split_once("://")?;
    let (from, to) = if rest.contains(['/', '?']) {
        match pattern(level.block()?)? {
            Pattern::Exact(path) | Pattern::Prefix(path) => (url.to_owned(), path),
            Pattern::Regex(_) => return None,
        }
    } else {
        (format!("{url}/"), "/".to_owned())
    };
    Some(Rule {
        by: pass,
        from: from.replace('$', "$$"),
        to: to.replace('$', "$$"),
    })
}

/// Translates `proxy_redirect FROM TO`.
fn given<'s>(
    redirect: &'s Directive,
    level: &Scope,
    variables: &Variables,
) -> Result<Rule<'s>, String> {
    let (from, to) = (redirect.arg(0), redirect.arg(1));
    if redirect.args.len() != 2 {
        return Err("Two texts are expected, or `default` or `off`.".to_owned());
    }
    let template = |text: &str| {
        let template = variables.template(text, level);
        template.map_err(|missing| no_variable(&missing))
    };
    Ok(Rule {
        by: redirect,
        from: match cookies::regex(from) {
            Some(regex) => regex?,
            None => template(from)?,
        },
        to: template(&cookies::with_numbers(from, to))?,
    })
}
