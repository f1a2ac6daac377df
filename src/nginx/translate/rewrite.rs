//! `return` and `rewrite`: redirects, fixed answers, other paths.

use super::pattern::translated;
use super::variables::{At, Variables, no_variable};
use crate::nginx::Output;
use crate::nginx::document::{Entry, Table, Value};
use crate::nginx::scope::Scope;
use crate::nginx::tree::Directive;

const REDIRECTS: [u64; 5] = [301, 302, 303, 307, 308];

/// Redirect of all requests without TLS to the same URL over TLS.
pub(super) struct ToHttps<'s> {
    /// Port that clients are redirected to.
    pub(super) port: u16,
    /// Directives of the redirect.
    pub(super) directives: Vec<&'s Directive>,
}

/// Returns a server's redirect to TLS; `None` if it has none, or only for some requests.
pub(super) fn to_https(block: &Directive) -> Option<ToHttps<'_>> {
    let leads = |directive: &Directive| port_over_https(directive, block);
    let has_tls = block
        .named("listen")
        .any(|listen| listen.args.iter().any(|arg| arg == "ssl"));
    let conditions: Vec<&Directive> = block.named("if").collect();
    let steps: Vec<&Directive> = block
        .inside()
        .iter()
        .filter(|d| matches!(d.name.as_str(), "return" | "rewrite" | "break"))
        .collect();
    if let ([], Some(first)) = (&conditions[..], steps.first())
        && !has_tls
        && let Some(port) = leads(first)
    {
        return Some(ToHttps {
            port,
            directives: steps,
        });
    }
    if let [condition] = &conditions[..]
        && is_of_scheme(condition)
        && let [inner] = condition.inside()
        && let Some(port) = leads(inner)
        && comes_first(condition, block)
    {
        return Some(ToHttps {
            port,
            directives: vec![*condition, inner],
        });
    }
    if !has_tls && !conditions.is_empty() {
        return by_hosts(block, &conditions, &steps);
    }
    let locations: Vec<&Directive> = block.named("location").collect();
    let (roots, others): (Vec<&Directive>, Vec<&Directive>) = locations
        .into_iter()
        .partition(|location| location.args == ["/"]);
    let [root] = &roots[..] else { return None };
    let [inner] = root.inside() else { return None };
    let is_plain = steps.is_empty() && conditions.is_empty() && !has_tls;
    let port = leads(inner).filter(|_| is_plain && others.iter().all(|one| is_challenge(one)))?;
    Some(ToHttps {
        port,
        directives: vec![*root, inner],
    })
}

/// Returns the condition of a redirect for requests without TLS, and what it answers; `None` if the
/// redirect has another form.
pub(super) fn of_scheme<'s>(steps: &[&'s Directive]) -> Option<(&'s Directive, &'s Directive)> {
    match steps {
        [condition, answer] if condition.name == "if" && is_of_scheme(condition) => {
            Some((*condition, *answer))
        }
        _ => None,
    }
}

/// Reads the redirect that certbot writes: a condition for each name, and 404 for the others.
fn by_hosts<'s>(
    block: &Directive,
    conditions: &[&'s Directive],
    steps: &[&'s Directive],
) -> Option<ToHttps<'s>> {
    let mut left = names(block);
    let mut directives = Vec::new();
    for condition in conditions {
        let text = condition.args.join(" ");
        let name = text.strip_prefix("($host =")?.strip_suffix(')')?.trim();
        let [inner] = condition.inside() else {
            return None;
        };
        port_over_https(inner, block).filter(|port| *port == 443)?;
        left.retain(|other| *other != name);
        directives.extend([*condition, inner]);
    }
    let is_rest = matches!(steps, [] | [_]) && steps.iter().all(|step| step.arg(0) == "404");
    directives.extend(steps);
    (is_rest && left.is_empty()).then_some(ToHttps {
        port: 443,
        directives,
    })
}

/// Returns `true` if no `return`, `rewrite` or `break` stands before a condition.
fn comes_first(condition: &Directive, block: &Directive) -> bool {
    let decides = |d: &&Directive| matches!(d.name.as_str(), "return" | "rewrite" | "break");
    block
        .inside()
        .iter()
        .filter(decides)
        .all(|step| step.id > condition.id)
}

/// Returns `true` if a condition is true for requests without TLS and no others.
fn is_of_scheme(condition: &Directive) -> bool {
    let text: String = condition.args.concat();
    let text = text.replace(['"', '\''], "");
    matches!(
        text.as_str(),
        "($scheme=http)" | "($scheme!=https)" | "($https=)" | "($https!=on)" | "($server_port=80)"
    )
}

/// Returns `true` if a location is for ACME challenges, which `redirect_to_https` does not
/// redirect.
pub(super) fn is_challenge(location: &Directive) -> bool {
    let path = location.args.last().map_or("", String::as_str);
    let path = path.trim_start_matches("^~").trim_end_matches('/');
    path == "/.well-known/acme-challenge" || path == "/.well-known"
}

fn names(block: &Directive) -> Vec<&str> {
    let names = block.named("server_name").flat_map(|names| &names.args);
    let names = names.map(String::as_str);
    names.filter(|name| !matches!(*name, "_" | "")).collect()
}

/// Returns the port, if a directive redirects clients to the same URL on the same host over TLS.
fn port_over_https(directive: &Directive, block: &Directive) -> Option<u16> {
    let target = match directive.name.as_str() {
        "return" if directive.arg(0).starts_with('3') || directive.args.len() == 1 => {
            directive.args.last()
        }
        "rewrite" => directive.args.get(1),
        _ => None,
    };
    let rest = target?.strip_prefix("https://")?;
    let ends: &[&str] = match (directive.name.as_str(), directive.arg(0)) {
        ("return", _) => &["$request_uri", "$uri$is_args$args"],
        (_, "^(.*)$" | "^(.*)" | "(.*)") => &["$1"],
        (_, "^/(.*)$" | "^/(.*)") => &["/$1"],
        (_, "^" | ".*" | "^.*" | "^.*$" | "^/") => &["$request_uri?"],
        _ => return None,
    };
    let host = ends.iter().find_map(|end| rest.strip_suffix(end))?;
    let (host, port) = match host.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (host, 443),
    };
    let names = names(block);
    let is_only = names.len() == 1 && (host == names[0] || host == "$server_name");
    let is_plain = |name: &&str| !name.contains(['*', '~']) && !name.starts_with('.');
    let is_same = matches!(host, "$host" | "$http_host") || is_only && names.iter().all(is_plain);
    is_same.then_some(port)
}

/// Makes a route answer as `return` does. `path` is the path of its requests, if there is only one.
/// Returns `false` if the answer cannot be carried over.
pub(super) fn answer(
    directive: &Directive,
    path: Option<&str>,
    at: At,
    variables: &Variables,
    route: &mut Table,
    output: &mut Output,
) -> bool {
    let scope = at.scope;
    output.notes.carried(directive);
    let status = directive.arg(0).parse::<u64>().ok();
    let text = match status {
        Some(_) => directive.args.get(1),
        None => directive.args.first(),
    };
    let status = status.unwrap_or(302);
    let text = match text.map(|text| variables.resolve(text, at)).transpose() {
        Ok(text) => text,
        Err(missing) => {
            output.notes.lost(directive, no_variable(&missing));
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
                let kind = scope.one("default_type");
                let text = kind.map_or("text/plain", |kind| kind.arg(0));
                let lists = scope.all("types");
                let has_types = lists.iter().any(|list| !list.inside().is_empty());
                let of_path = path.and_then(|path| of_extension(path, &lists));
                if path.is_none() && has_types {
                    let why = "The answer has one media type; nginx takes it from the extension of the \
                               path, if there is one.";
                    output.notes.minor(directive, why);
                }
                entries.push(Entry::new("type", of_path.unwrap_or(text), kind));
            }
            route.set("respond", Value::Inline(entries), Some(directive));
        }
    }
    true
}

/// Returns the media type of a path by its extension.
fn of_extension<'d>(path: &str, lists: &[&'d Directive]) -> Option<&'d str> {
    let (_, name) = path.rsplit_once('/')?;
    let (_, extension) = name.rsplit_once('.')?;
    let is_it = |line: &&Directive| {
        let mut extensions = line.args.iter();
        extensions.any(|known| known.eq_ignore_ascii_case(extension))
    };
    let mut lines = lists.iter().flat_map(|list| list.inside());
    lines.find(is_it).map(|line| line.name.as_str())
}

pub(super) fn redirect(to: &str, status: u64, from: &Directive, route: &mut Table) {
    let entries = vec![
        Entry::new("to", to, Some(from)),
        Entry::new("status", status, Some(from)),
    ];
    route.set("redirect", Value::Inline(entries), Some(from));
}

/// Makes a route answer with a status and nothing else.
pub(super) fn closed(status: u64, from: &Directive, route: &mut Table) {
    let entries = vec![Entry::new("status", status, Some(from))];
    route.set("respond", Value::Inline(entries), Some(from));
}

/// Result of a `rewrite`.
pub(super) enum Rewritten {
    /// Requests whose path matches are redirected, or sent to another route, by a route of their own.
    Redirect { regex: String, action: Table },
    /// All requests are redirected.
    All(Table),
    /// The prefix of the location is replaced.
    Prefix(String),
    /// Requests whose path matches get another path and stay in the location.
    Path { regex: String, path: String },
    /// The outcome for matching requests cannot be carried over.
    Again { regex: String },
}

/// Translates a `rewrite`. `prefix` is the location's, if it has one; `is_server` is true if the
/// directive belongs to a server.
pub(super) fn rewritten(
    rewrite: &Directive,
    prefix: Option<&str>,
    is_server: bool,
    scope: &Scope,
    variables: &Variables,
    output: &mut Output,
) -> Rewritten {
    output.notes.carried(rewrite);
    let (regex, flag) = (rewrite.arg(0), rewrite.arg(2));
    let found = translated(regex);
    if !found.is_exact {
        let why = "geogate does not have this kind of regular expression. What it may match is \
                   answered with 501.";
        output.notes.lost(rewrite, why);
        return Rewritten::Again { regex: found.regex };
    }
    let regex = found.regex;
    let is_absolute = ["http://", "https://", "$scheme"]
        .iter()
        .any(|start| rewrite.arg(1).starts_with(start));
    let written = rewrite.arg(1);
    let plain = written.strip_suffix('?').unwrap_or(written);
    let to = match variables.resolve(plain, At::by(scope, rewrite)) {
        Ok(to) => to,
        Err(missing) => {
            let why =
                format!("There is no {missing} in geogate. What it matches is answered with 501.");
            output.notes.lost(rewrite, why);
            return Rewritten::Again { regex };
        }
    };
    if is_absolute || matches!(flag, "redirect" | "permanent") {
        return redirected(rewrite, regex, &to, output);
    }
    if flag == "break" && !is_server {
        if written.contains('?') {
            let why = "The query of the new path takes the place of the client's.";
            output.notes.differs(rewrite, why);
        }
        let shorter = prefix.and_then(|prefix| new_prefix(&regex, &to, prefix));
        return match shorter {
            Some(prefix) => Rewritten::Prefix(prefix),
            None => Rewritten::Path { regex, path: to },
        };
    }
    rerouted(rewrite, regex, &to, scope, output)
}

/// Translates a `rewrite` that redirects clients to `to`.
fn redirected(rewrite: &Directive, regex: String, to: &str, output: &mut Output) -> Rewritten {
    let (has_query, drops_query) = (to.contains('?'), rewrite.arg(1).ends_with('?'));
    if has_query && !drops_query {
        let why = "nginx adds the query behind the one of the new address; here it is dropped.";
        output.notes.differs(rewrite, why);
    }
    let query = if has_query || drops_query {
        ""
    } else {
        "$is_args$args"
    };
    let status = if rewrite.arg(2) == "permanent" {
        301
    } else {
        302
    };
    of_matching(regex, to, |to| {
        let mut action = Table::new("route", Some(rewrite));
        redirect(&format!("{to}{query}"), status, rewrite, &mut action);
        action
    })
}

/// Translates a `rewrite` whose new path has its location looked up.
fn rerouted(
    rewrite: &Directive,
    regex: String,
    to: &str,
    scope: &Scope,
    output: &mut Output,
) -> Rewritten {
    let follows = |other: &Directive| other.id > rewrite.id;
    if rewrite.arg(2) != "last" && scope.here("rewrite").any(follows) {
        let why = "The `rewrite` directives behind it are not tried on the new path; its location is \
                   looked up at once.";
        output.notes.differs(rewrite, why);
    }
    // nginx puts the client's query behind that of the new path, unless that ends in `?`.
    let query = match (to.contains('?'), rewrite.arg(1).ends_with('?')) {
        (true, false) => "&$args",
        (false, true) => "?",
        _ => "",
    };
    of_matching(regex, to, |to| {
        let mut action = Table::new("route", Some(rewrite));
        action.set("reroute", format!("{to}{query}"), Some(rewrite));
        action
    })
}

/// Returns the action of a `rewrite` for the requests that match, or for all if these are all.
fn of_matching(regex: String, to: &str, action: impl Fn(&str) -> Table) -> Rewritten {
    match of_all(&regex, to) {
        Some(to) => Rewritten::All(action(&to)),
        None => Rewritten::Redirect {
            action: action(to),
            regex,
        },
    }
}

/// Returns the target of all requests, if the expression matches every path. `None` also if the
/// target needs the group for something else than the path.
fn of_all(regex: &str, to: &str) -> Option<String> {
    let to = match regex {
        "^" | ".*" | "^.*" | "^.*$" | "^/" | "/" => to.to_owned(),
        "^(.*)$" | "^(.*)" | "(.*)" => to.replace("$1", "$uri"),
        "^/(.*)$" | "^/(.*)" | "/(.*)" => to.replace("/$1", "$uri"),
        _ => return None,
    };
    (!to.contains("$1")).then_some(to)
}

/// Returns the replacement of the location's prefix, if the expression does nothing else:
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
    // `/?` matches the slash that is left of the prefix.
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
