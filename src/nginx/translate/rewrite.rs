//! `return` and `rewrite`: redirects, fixed answers, other paths.

use super::super::Output;
use super::super::document::{Entry, Table, Value};
use super::super::scope::Scope;
use super::super::tree::Directive;
use super::variables::Variables;

const REDIRECTS: [u64; 5] = [301, 302, 303, 307, 308];

/// The directives by which a server sends clients from http to https, if it does so with all.
pub(super) fn redirects_to_https(block: &Directive) -> Option<Vec<&Directive>> {
    let names: Vec<&str> = block
        .named("server_name")
        .flat_map(|names| &names.args)
        .map(String::as_str)
        .collect();
    let leads_there = |directive: &Directive| leads_to_https(directive, &names);
    let mut found = Vec::new();
    for condition in block.named("if") {
        let text = condition.args.join(" ");
        let of_scheme = text.contains("$scheme") || text.contains("$https");
        let of_host = text.contains("$host = ") || text.contains("$host ~ ");
        let [inner] = condition.inside() else {
            continue;
        };
        if (of_scheme || of_host) && leads_there(inner) {
            found.extend([condition, inner]);
        }
    }
    let by_condition = !found.is_empty();
    let leads = |name: &str| {
        block
            .inside()
            .iter()
            .find(|d| d.name == name && leads_there(d))
    };
    if let Some(directive) = leads("return").or_else(|| leads("rewrite")) {
        found.push(directive);
        return Some(found);
    }
    if by_condition {
        // certbot's file answers 404 to what its conditions leave.
        found.extend(
            block
                .named("return")
                .filter(|answer| answer.arg(0) == "404"),
        );
        return Some(found);
    }
    let all = block
        .named("location")
        .find(|location| location.args == ["/"])?;
    match all.inside() {
        [inner] if leads_there(inner) => Some(vec![all, inner]),
        _ => None,
    }
}

/// Whether it sends a client to the same thing on the same host, over https.
fn leads_to_https(directive: &Directive, names: &[&str]) -> bool {
    let target = match directive.name.as_str() {
        "return" => directive.args.last(),
        "rewrite" => directive.args.get(1),
        _ => None,
    };
    let Some(rest) = target.and_then(|target| target.strip_prefix("https://")) else {
        return false;
    };
    let ends = [
        "$request_uri",
        "$uri$is_args$args",
        "$request_uri?",
        "$1",
        "/$1",
    ];
    let Some(host) = ends.iter().find_map(|end| rest.strip_suffix(end)) else {
        return false;
    };
    matches!(host, "$host" | "$http_host" | "$server_name") || names.contains(&host)
}

/// Makes a route one that answers as `return` says. `false` if that cannot be carried over.
pub(super) fn answer(
    directive: &Directive,
    scope: &Scope,
    variables: &Variables,
    route: &mut Table,
    output: &mut Output,
) -> bool {
    output.notes.carried(directive);
    let status = directive.arg(0).parse::<u64>().ok();
    let text = match status {
        Some(_) => directive.args.get(1),
        None => directive.args.first(),
    };
    let status = status.unwrap_or(302);
    let text = match text.map(|text| variables.template(text, scope)).transpose() {
        Ok(text) => text,
        Err(missing) => {
            output
                .notes
                .lost(directive, format!("There is no {missing} in geogate."));
            return false;
        }
    };
    match text {
        Some(to) if REDIRECTS.contains(&status) => redirect(&to, status, directive, route),
        _ if status == 444 => {
            output.notes.differs(
                directive,
                "Answered with 403; connections are not cut without an answer.",
            );
            closed(403, directive, route);
        }
        text => {
            let mut entries = vec![Entry::new("status", status, Some(directive))];
            if let Some(body) = text.filter(|text| !text.is_empty()) {
                entries.push(Entry::new("body", body, Some(directive)));
                if let Some(kind) = content_type(scope) {
                    output.notes.carried(kind);
                    entries.push(Entry::new("type", kind.arg(0), Some(kind)));
                }
            }
            route.set("respond", Value::Inline(entries), Some(directive));
        }
    }
    true
}

/// The media type of an answer, as a header or as the default says it.
fn content_type<'s>(scope: &Scope<'s>) -> Option<&'s Directive> {
    scope.one("default_type")
}

fn redirect(to: &str, status: u64, from: &Directive, route: &mut Table) {
    let entries = vec![
        Entry::new("to", to, Some(from)),
        Entry::new("status", status, Some(from)),
    ];
    route.set("redirect", Value::Inline(entries), Some(from));
}

/// Makes a route one that answers with a status and nothing else.
pub(super) fn closed(status: u64, from: &Directive, route: &mut Table) {
    let entries = vec![Entry::new("status", status, Some(from))];
    route.set("respond", Value::Inline(entries), Some(from));
}

/// What a `rewrite` comes to.
pub(super) enum Rewritten {
    /// Requests whose path matches are sent elsewhere: a route of its own.
    Redirect { regex: String, action: Table },
    /// All requests are sent elsewhere.
    All(Table),
    /// The prefix of the location is replaced.
    Prefix(String),
    /// Requests whose path matches have another one: a route of its own.
    Path { regex: String, path: String },
    /// It cannot be carried over, and that is said.
    Lost,
}

/// `prefix` is what the location matches, if it is one of a prefix.
pub(super) fn rewritten(
    rewrite: &Directive,
    prefix: Option<&str>,
    scope: &Scope,
    variables: &Variables,
    output: &mut Output,
) -> Rewritten {
    output.notes.carried(rewrite);
    let (regex, to, flag) = (rewrite.arg(0), rewrite.arg(1), rewrite.arg(2));
    let is_absolute = ["http://", "https://", "$scheme"]
        .iter()
        .any(|start| to.starts_with(start));
    let plain = to.strip_suffix('?').unwrap_or(to);
    let to = match variables.template(plain, scope) {
        Ok(to) => to,
        Err(missing) => {
            output
                .notes
                .lost(rewrite, format!("There is no {missing} in geogate."));
            return Rewritten::Lost;
        }
    };
    if is_absolute || matches!(flag, "redirect" | "permanent") {
        let mut action = Table::new("route", Some(rewrite));
        let status = if flag == "permanent" { 301 } else { 302 };
        if let Some(to) = of_all(regex, &to) {
            redirect(&to, status, rewrite, &mut action);
            return Rewritten::All(action);
        }
        redirect(&to, status, rewrite, &mut action);
        if !plain.contains("$request_uri")
            && !plain.contains("args")
            && plain.len() == rewrite.arg(1).len()
        {
            output.notes.differs(
                rewrite,
                "nginx adds the query behind the new address; write `?$args` there if you need it.",
            );
        }
        return Rewritten::Redirect {
            regex: regex.to_owned(),
            action,
        };
    }
    if flag == "break" || (flag.is_empty() && prefix.is_some()) {
        let shorter = prefix.and_then(|prefix| new_prefix(regex, &to, prefix));
        return match shorter {
            Some(prefix) => Rewritten::Prefix(prefix),
            None => Rewritten::Path {
                regex: regex.to_owned(),
                path: to,
            },
        };
    }
    let why = "A request has one route; its new path is not looked up again. Give the route that it \
               is to end in this pattern, with `rewrite`.";
    output.notes.lost(rewrite, why);
    Rewritten::Lost
}

/// Where all requests go, if the expression matches every path. Of its group nothing is left then.
fn of_all(regex: &str, to: &str) -> Option<String> {
    let to = match regex {
        "^" | ".*" | "^.*" | "^.*$" | "^/" | "/" => to.to_owned(),
        "^(.*)$" | "^(.*)" | "(.*)" => to.replace("$1", "$request_uri"),
        "^/(.*)$" | "^/(.*)" | "/(.*)" => to.replace("/$1", "$request_uri"),
        _ => return None,
    };
    (!to.contains("$1")).then_some(to)
}

/// What takes the place of the location's prefix, if the expression does no more than that:
/// `^/api/(.*)$` with `/$1` is `/` for `/api/`.
fn new_prefix(regex: &str, to: &str, prefix: &str) -> Option<String> {
    let regex = regex.strip_prefix('^').unwrap_or(regex);
    let regex = regex.strip_suffix('$').unwrap_or(regex);
    let (literal, slash) = match regex.strip_suffix("(.*)") {
        Some(literal) => (literal.strip_suffix("/?").unwrap_or(literal), ""),
        None => (regex.strip_suffix("(/.*)")?, "/"),
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/-_".contains(c);
    let new = to.strip_suffix("$1")?;
    let tail = prefix.strip_prefix(literal)?;
    if !literal.chars().all(is_plain) || !tail.starts_with(slash) {
        return None;
    }
    // `/?` takes the slash that is left of the prefix.
    let tail = if regex.contains("/?(") {
        tail.trim_start_matches('/')
    } else {
        tail
    };
    Some(format!("{new}{tail}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(regex: &str, to: &str, prefix: &str, expected: Option<&str>) {
        assert_eq!(new_prefix(regex, to, prefix).as_deref(), expected);
    }

    #[test]
    fn an_expression_that_replaces_a_prefix_is_known() {
        check("^/api/(.*)$", "/$1", "/api/", Some("/"));
        check("^/api/(.*)", "/v2/$1", "/api/", Some("/v2/"));
        check("^/api(/.*)$", "$1", "/api/", Some("/"));
        check("^/api/?(.*)$", "/$1", "/api/", Some("/"));
        check("^/api(.*)$", "/v1$1", "/api/", Some("/v1/"));
        check("^/api/(.*)$", "/$1", "/other/", None);
        check("^/api/([0-9]+)$", "/$1", "/api/", None);
        check("^/a.i/(.*)$", "/$1", "/a.i/", None);
        check("^/api/(.*)$", "/fixed", "/api/", None);
    }
}
