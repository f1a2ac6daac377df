//! `proxy_cookie_path`, `proxy_cookie_domain` and `proxy_cookie_flags` become `rewrite_cookies`.

use super::pattern::{compiled, translated};
use super::variables::{Variables, no_variable};
use crate::nginx::Output;
use crate::nginx::document::{Entry, Item, Table, Value};
use crate::nginx::scope::Scope;
use crate::nginx::tree::Directive;

/// Sets the rules that rewrite the cookies of a location's upstream.
pub(super) fn translate(
    scope: &Scope,
    variables: &Variables,
    route: &mut Table,
    output: &mut Output,
) {
    let mut rules = Vec::new();
    for (name, key) in [
        ("proxy_cookie_path", "path"),
        ("proxy_cookie_domain", "domain"),
    ] {
        let pairs = in_effect(scope, name, output).into_iter();
        let pairs = pairs.filter_map(|pair| rewrite(pair, scope, variables, output));
        list(key, pairs.collect(), &mut rules);
    }
    let flags = in_effect(scope, "proxy_cookie_flags", output).into_iter();
    let flags = flags.filter_map(|one| flags_of(one, output));
    list("flags", flags.collect(), &mut rules);
    if !rules.is_empty() {
        route.set("rewrite_cookies", Value::Inline(rules), None);
    }
}

fn list(key: &str, items: Vec<Item>, rules: &mut Vec<Entry>) {
    if !items.is_empty() {
        rules.push(Entry::new(key, Value::List(items), None));
    }
}

/// Returns the directives of a name that are in effect; none if one of them is `off`.
fn in_effect<'s>(scope: &Scope<'s>, name: &str, output: &mut Output) -> Vec<&'s Directive> {
    let all = scope.all(name);
    for one in &all {
        output.notes.carried(one);
    }
    if all.iter().any(|one| one.arg(0) == "off") {
        return Vec::new();
    }
    all
}

fn rewrite(
    pair: &Directive,
    scope: &Scope,
    variables: &Variables,
    output: &mut Output,
) -> Option<Item> {
    if pair.args.len() != 2 {
        output.notes.lost(pair, "Two texts are expected, or `off`.");
        return None;
    }
    let from = match regex(pair.arg(0)) {
        Some(Ok(regex)) => Ok(regex),
        Some(Err(why)) => Err(why.to_owned()),
        None => template(pair.arg(0), scope, variables),
    };
    let to = with_numbers(pair.arg(0), pair.arg(1));
    let ends = from.and_then(|from| Ok((from, template(&to, scope, variables)?)));
    match ends {
        Ok((from, to)) => {
            let ends = vec![
                Entry::new("from", from, Some(pair)),
                Entry::new("to", to, Some(pair)),
            ];
            Some(Item::new(Value::Inline(ends), Some(pair)))
        }
        Err(why) => {
            output.notes.lost(pair, why);
            None
        }
    }
}

fn template(text: &str, scope: &Scope, variables: &Variables) -> Result<String, String> {
    let template = variables.template(text, scope);
    template.map_err(|missing| no_variable(&missing))
}

/// Returns the regular expression of a value as geogate writes it: `~REGEX`, or `~*REGEX` of nginx
/// without regard to case. `None` for another text.
pub(super) fn regex(text: &str) -> Option<Result<String, &'static str>> {
    let regex = text.strip_prefix('~')?;
    let regex = match regex.strip_prefix('*') {
        Some(regex) => format!("(?i){regex}"),
        None => regex.to_owned(),
    };
    let found = translated(&regex);
    Some(if found.is_exact {
        Ok(format!("~{}", found.regex))
    } else {
        Err("geogate does not have this kind of regular expression.")
    })
}

/// Returns the replacement for a regular expression with the numbers of its groups in place of their
/// names.
pub(super) fn with_numbers(from: &str, to: &str) -> String {
    let regex = regex(from).and_then(Result::ok);
    let regex = regex.and_then(|regex| compiled(&regex[1..]));
    let mut to = to.to_owned();
    for (number, name) in regex
        .iter()
        .flat_map(|regex| regex.capture_names().enumerate())
    {
        let Some(name) = name.filter(|_| number < 10) else {
            continue;
        };
        to = to.replace(&format!("${{{name}}}"), &format!("${number}"));
        let mut rest = to.as_str();
        let mut text = String::new();
        while let Some(at) = rest.find(&format!("${name}")) {
            let after = &rest[at + 1 + name.len()..];
            let is_longer = after.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
            text.push_str(&rest[..at]);
            text.push('$');
            text.push_str(if is_longer { name } else { DIGITS[number] });
            rest = after;
        }
        to = text + rest;
    }
    to
}

const DIGITS: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

fn flags_of(directive: &Directive, output: &mut Output) -> Option<Item> {
    let mut entries = Vec::new();
    let name = directive.arg(0);
    match regex(name) {
        Some(Ok(regex)) => entries.push(Entry::new("name", regex, Some(directive))),
        None if !name.contains('$') => entries.push(Entry::new("name", name, Some(directive))),
        None => {
            let why = "The name of a cookie has no variables.";
            output.notes.lost(directive, why);
            return None;
        }
        Some(Err(why)) => {
            output.notes.lost(directive, why);
            return None;
        }
    }
    for flag in &directive.args[1..] {
        let entry = match flag.to_ascii_lowercase().as_str() {
            "secure" => Entry::new("secure", true, Some(directive)),
            "nosecure" => Entry::new("secure", false, Some(directive)),
            "httponly" => Entry::new("http_only", true, Some(directive)),
            "nohttponly" => Entry::new("http_only", false, Some(directive)),
            "nosamesite" => Entry::new("same_site", "off", Some(directive)),
            "samesite=strict" => Entry::new("same_site", "strict", Some(directive)),
            "samesite=lax" => Entry::new("same_site", "lax", Some(directive)),
            "samesite=none" => Entry::new("same_site", "none", Some(directive)),
            _ => {
                output.notes.lost(directive, format!("{flag} is no flag."));
                return None;
            }
        };
        // The last of several flags of one kind counts.
        entries.retain(|other: &Entry| other.key != entry.key);
        entries.push(entry);
    }
    Some(Item::new(Value::Inline(entries), Some(directive)))
}
