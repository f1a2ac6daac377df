//! Access rules: `allow` and `deny`, and conditions on a client's country or network.

use super::auth;
use super::variables::Variables;
use crate::nginx::Output;
use crate::nginx::document::{Entry, Item, Table, Value};
use crate::nginx::scope::Scope;
use crate::nginx::tree::Directive;

/// Directives about addresses, which are inherited together.
const RULES: [&str; 2] = ["allow", "deny"];

/// Puts the rules of `http` into `[limits]`, unless a block within it has rules of its own.
pub(super) fn for_all(http: &Scope, output: &mut Output) {
    if is_for_all(http)
        && let Some((name, from)) = addresses(http, output)
    {
        output
            .document
            .table("limits")
            .push("access", Item::new(name, Some(from)));
    }
}

/// Returns `true` if all rules on addresses stand in `http`.
pub(super) fn is_for_all(http: &Scope) -> bool {
    let count = |name: &str| (http.here(name).count(), http.everywhere(name).len());
    // With `satisfy any` a client that the rules deny may still have a password.
    let is_combined = |satisfy: &&Directive| satisfy.arg(0) == "any";
    let is_here = |name: &str| {
        let (here, everywhere) = count(name);
        here == everywhere
    };
    RULES.iter().all(|name| is_here(name)) && !http.everywhere("satisfy").iter().any(is_combined)
}

/// Returns the names of the `[[access]]` for the routes of a block. Not for use if [`is_for_all`],
/// because `[limits]` then has the rules.
pub(super) fn of_block(scope: &Scope, output: &mut Output) -> Vec<String> {
    let found = addresses(scope, output);
    found.into_iter().map(|(name, _)| name).collect()
}

/// Registers the rules on addresses that are in effect in a scope. Returns the name of their
/// `[[access]]` and the first of the directives.
fn addresses<'s>(scope: &Scope<'s>, output: &mut Output) -> Option<(String, &'s Directive)> {
    let all = scope.all_of(&RULES);
    let first = *all.first()?;
    let mut rules: Vec<Rule> = Vec::new();
    // With `satisfy any` a client without a rule needs a password.
    let mut default = match auth::any(scope) {
        Some(_)
            if scope
                .one("auth_basic")
                .is_some_and(|basic| basic.arg(0) != "off") =>
        {
            "deny"
        }
        _ => "allow",
    };
    for directive in all {
        output.notes.carried(directive);
        let action = if directive.name == "allow" {
            "allow"
        } else {
            "deny"
        };
        match directive.arg(0) {
            "all" => {
                default = action;
                break;
            }
            "unix:" => output
                .notes
                .needless(directive, "There are no listeners on UNIX sockets."),
            address => push(&mut rules, action, address.to_owned(), directive),
        }
    }
    Some((register(rules, default, first, output), first))
}

/// Consecutive clients that are all allowed or all denied.
struct Rule<'s> {
    action: &'static str,
    clients: Vec<(String, &'s Directive)>,
}

fn push<'s>(rules: &mut Vec<Rule<'s>>, action: &'static str, client: String, from: &'s Directive) {
    match rules.last_mut() {
        Some(rule) if rule.action == action => rule.clients.push((client, from)),
        _ => rules.push(Rule {
            action,
            clients: vec![(client, from)],
        }),
    }
}

/// Returns the name of the `[[access]]` with these rules, and adds it if there is none.
fn register(rules: Vec<Rule>, default: &str, from: &Directive, output: &mut Output) -> String {
    let mut table = Table::new("access", Some(from));
    let rules = rules.into_iter().map(|rule| {
        let clients = rule.clients.into_iter();
        let clients = clients.map(|(client, from)| Item::new(client, Some(from)));
        let entry = Entry::new(rule.action, Value::List(clients.collect()), Some(from));
        Item::new(Value::Inline(vec![entry]), Some(from))
    });
    table.set("rules", Value::List(rules.collect()), Some(from));
    table.set("default", default, Some(from));
    output
        .document
        .register("access", &table, |number| format!("access-{number}"))
}

/// Translates an `if` that rejects clients by country or network. Returns the name of its
/// `[[access]]`; `None` if the condition is something else.
pub(super) fn condition<'s>(
    http: &Scope<'s>,
    condition: &'s Directive,
    variables: &Variables,
    output: &mut Output,
) -> Option<String> {
    let [answer] = condition.inside() else {
        return None;
    };
    let status = answer.arg(0);
    if answer.name != "return" || !(status.starts_with('4') && answer.args.len() == 1) {
        return None;
    }
    let text = condition.args.join(" ");
    let text = text.strip_prefix('(')?.strip_suffix(')')?.trim();
    let (variable, comparison) = text.split_once(' ').unwrap_or((text, ""));
    let variable = variable.strip_prefix('$')?;
    let test = Test::new(comparison)?;
    let (rules, default) = if variables.is_country(variable) {
        // For an unknown country nginx has the default of the variable, and geogate has no value.
        // Both must give the same result.
        if test.holds(variables.unknown(variable)) != test.holds("") {
            return None;
        }
        test.of_country(condition)?
    } else {
        let block = http.here("map").chain(http.here("geo")).find(|block| {
            block.args.last().and_then(|name| name.strip_prefix('$')) == Some(variable)
        })?;
        let found = of_table(block, &test, variables)?;
        output.notes.carried(block);
        for line in block.inside() {
            output.notes.carried(line);
        }
        found
    };
    output.notes.carried(condition);
    output.notes.carried(answer);
    if status != "403" {
        output
            .notes
            .differs(answer, "Who may not come is answered with 403.");
    }
    Some(register(rules, default, condition, output))
}

/// Test that a condition makes on a value.
enum Test {
    /// True if the value is neither empty nor `0`.
    True,
    /// True if the value is one of these, or with `negated` if it is none of them.
    In {
        values: Vec<String>,
        negated: bool,
        comparison: Comparison,
    },
}

/// Comparison of a value in a condition.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    /// `=` and `!=`, which are case-sensitive.
    Equal,
    /// `~` and `!~`, which are case-sensitive and may match a part.
    Regex,
    /// `~*` and `!~*`, which may match a part.
    RegexIgnoringCase,
}

impl Test {
    fn new(comparison: &str) -> Option<Test> {
        let Some((operator, value)) = comparison.trim().split_once(' ') else {
            return comparison.is_empty().then_some(Test::True);
        };
        let value = value.trim();
        let comparison = match operator {
            "=" | "!=" => Comparison::Equal,
            "~" | "!~" => Comparison::Regex,
            "~*" | "!~*" => Comparison::RegexIgnoringCase,
            _ => return None,
        };
        let values = match comparison {
            Comparison::Equal => vec![value.to_owned()],
            Comparison::Regex | Comparison::RegexIgnoringCase => alternatives(value)?,
        };
        Some(Test::In {
            values,
            negated: operator.starts_with('!'),
            comparison,
        })
    }

    fn holds(&self, value: &str) -> bool {
        match self {
            Test::True => !matches!(value, "" | "0"),
            Test::In {
                values, negated, ..
            } => values.iter().any(|one| one == value) != *negated,
        }
    }

    /// Returns the rules that deny the countries for which the test is true, and the default
    /// action.
    fn of_country<'s>(&self, from: &'s Directive) -> Option<(Vec<Rule<'s>>, &'static str)> {
        let Test::In {
            values,
            negated,
            comparison,
        } = self
        else {
            return None;
        };
        // Codes are upper case: a test that minds the case is never true for others.
        let minds_case = *comparison != Comparison::RegexIgnoringCase;
        if minds_case
            && values
                .iter()
                .any(|value| value.bytes().any(|b| b.is_ascii_lowercase()))
        {
            return None;
        }
        let (action, default) = if *negated {
            ("allow", "deny")
        } else {
            ("deny", "allow")
        };
        let mut rules = Vec::new();
        for value in values {
            push(&mut rules, action, country(value)?, from);
        }
        Some((rules, default))
    }
}

/// Returns the countries of `^(CN|US)$`. The `^`, the `$` and the brackets are optional.
fn alternatives(regex: &str) -> Option<Vec<String>> {
    let regex = regex.strip_prefix('^').unwrap_or(regex);
    let regex = regex.strip_suffix('$').unwrap_or(regex);
    let inner = regex
        .strip_prefix('(')
        .and_then(|rest| rest.strip_suffix(')'));
    let values: Vec<String> = inner
        .unwrap_or(regex)
        .split('|')
        .map(str::to_owned)
        .collect();
    let is_code =
        |value: &String| value.len() == 2 && value.bytes().all(|b| b.is_ascii_alphabetic());
    values.iter().all(is_code).then_some(values)
}

fn country(code: &str) -> Option<String> {
    if code.is_empty() {
        return Some("country:unknown".to_owned());
    }
    let is_code = code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_alphabetic());
    is_code.then(|| format!("country:{}", code.to_ascii_uppercase()))
}

/// Translates a `map` of countries or a `geo` of networks: clients are denied if the test is true
/// for their value.
fn of_table<'s>(
    block: &'s Directive,
    test: &Test,
    variables: &Variables,
) -> Option<(Vec<Rule<'s>>, &'static str)> {
    // A regular expression may match a part of a value, and a value may have a variable.
    if matches!(test, Test::In { comparison, .. } if *comparison != Comparison::Equal)
        || block.inside().iter().any(|line| line.arg(0).contains('$'))
    {
        return None;
    }
    let is_map = block.name == "map";
    if is_map {
        let source = block.arg(0).strip_prefix('$')?;
        if !variables.is_country(source) {
            return None;
        }
        let unknown = variables.unknown(source);
        let is_named = |line: &Directive| line.name == unknown || line.name.is_empty();
        if !unknown.is_empty() && block.inside().iter().any(is_named) {
            return None;
        }
    } else if block.args.len() == 2 && block.arg(0) != "$remote_addr" {
        return None;
    }
    let action = |value: &str| if test.holds(value) { "deny" } else { "allow" };
    let mut default = "";
    let mut lines: Vec<(u8, String, &Directive)> = Vec::new();
    for line in block.inside() {
        match line.name.as_str() {
            "default" => default = line.arg(0),
            "hostnames" | "volatile" | "ranges" | "delete" | "proxy" | "proxy_recursive" => {
                return None;
            }
            key if is_map => lines.push((0, country(key)?, line)),
            key => {
                let network: ipnet::IpNet = key
                    .parse()
                    .or_else(|_| key.parse().map(|ip: std::net::IpAddr| ip.into()))
                    .ok()?;
                lines.push((network.prefix_len(), key.to_owned(), line));
            }
        }
    }
    // In nginx the smallest network counts, in geogate the first rule that matches.
    lines.sort_by_key(|(length, ..)| std::cmp::Reverse(*length));
    let default = action(default);
    let mut rules = Vec::new();
    for (_, client, line) in lines {
        push(&mut rules, action(line.arg(0)), client, line);
    }
    // Rules at the end that agree with the default are redundant.
    while rules.last().is_some_and(|rule| rule.action == default) {
        rules.pop();
    }
    Some((rules, default))
}
