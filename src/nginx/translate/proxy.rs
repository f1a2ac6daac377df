//! `proxy_pass` and `grpc_pass`: the upstream of a location's requests, and their path there.

use super::cookies;
use super::headers;
use super::own;
use super::pattern::Pattern;
use super::redirect;
use super::target::{self, Target};
use super::upstream;
use super::variables::{self, Variables, no_variable};
use crate::nginx::Output;
use crate::nginx::document::{Entry, Origin, Table, Value};
use crate::nginx::scope::Scope;
use crate::nginx::tree::Directive;

/// Destination of a `proxy_pass` or `grpc_pass`.
struct Destination {
    target: Target,
    /// Path that replaces the part matched by the location.
    path: Option<String>,
    /// True if that is the whole path, because it has variables.
    is_whole: bool,
}

fn destination(pass: &Directive, scope: &Scope) -> Result<Destination, &'static str> {
    let http2 = pass.name == "grpc_pass";
    let written = pass.arg(0);
    // The path and the query of the client are passed on in any case.
    let same = ["$request_uri", "$uri$is_args$args"];
    let end = same.iter().find(|end| written.ends_with(*end));
    if end.is_some() && scope.here("rewrite").next().is_some() {
        return Err("A path that is rewritten is passed on as it then is.");
    }
    let written = end.map_or(written, |end| &written[..written.len() - end.len()]);
    // With a variable anywhere, the path of `proxy_pass` is the whole path of the request.
    let has_variables = variables::has_variables(written);
    let (scheme, rest) = written.split_once("://").unwrap_or(("", written));
    let (host, path) = split_path(rest);
    let why = "Where requests go has no variables, but for those that `set` gives one value. Write a \
               route for each.";
    let scheme = Variables::constant(scheme, scope).ok_or(why)?;
    let host = Variables::constant(host, scope).ok_or(why)?;
    let mut found = match (scheme.as_str(), host.split_once("://")) {
        // One variable has the whole URL as its value.
        ("", Some(_)) if path.is_none() => destination_of(&host, None, http2)?,
        _ => destination_of(&format!("{scheme}://{host}"), path, http2)?,
    };
    found.is_whole |= has_variables && found.path.is_some();
    Ok(found)
}

/// Splits the rest of a URL behind its scheme into the server and the path with its query. The path
/// of a UNIX socket ends with a colon if a path of the URL follows.
fn split_path(rest: &str) -> (&str, Option<&str>) {
    if let Some(socket) = rest.strip_prefix("unix:") {
        return match socket.split_once(':') {
            Some((socket, path)) => (
                &rest[.."unix:".len() + socket.len()],
                Some(path).filter(|path| !path.is_empty()),
            ),
            None => (rest, None),
        };
    }
    match rest.find(['/', '?']) {
        Some(at) => (&rest[..at], Some(&rest[at..])),
        None => (rest, None),
    }
}

fn destination_of(
    text: &str,
    path: Option<&str>,
    http2: bool,
) -> Result<Destination, &'static str> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let tls = match scheme {
        "http" | "grpc" | "h2c" => false,
        "https" | "grpcs" => true,
        "" if http2 => false,
        _ => return Err("An upstream is reached by http:// or https://."),
    };
    let (host, own_path) = split_path(rest);
    let (host, port) = target::split_port(host)?;
    if host.is_empty() {
        return Err("There is no host.");
    }
    let path = path.or(own_path);
    Ok(Destination {
        target: Target {
            host: host.to_owned(),
            port,
            tls,
            http2,
            fastcgi: false,
        },
        is_whole: path.is_some_and(variables::has_variables),
        path: path.map(str::to_owned),
    })
}

/// Upstream that a variable names.
struct Chosen {
    /// Variable of geogate with the name.
    upstream: String,
    /// Template of the host that nginx sends by default.
    host: String,
}

/// Returns the variable that names the upstream, if the host of the URL is a variable with listed
/// values. Registers an upstream for each of them.
fn chosen(
    http: &Scope,
    scope: &Scope,
    pass: &Directive,
    variables: &Variables,
    output: &mut Output,
) -> Option<Chosen> {
    let written = pass.arg(0);
    let same = ["$request_uri", "$uri$is_args$args"];
    let end = same.iter().find(|end| written.ends_with(*end));
    if end.is_some() && scope.here("rewrite").next().is_some() {
        return None;
    }
    let written = end.map_or(written, |end| &written[..written.len() - end.len()]);
    let (scheme, rest) = written.split_once("://").unwrap_or(("", written));
    if rest.contains(['/', '?']) || Variables::constant(rest, scope).is_some() {
        return None;
    }
    let template = variables.template(rest, scope).ok()?;
    let (variable, suffix) = match template.split_once(':') {
        Some((variable, _)) => (variable, &template[variable.len()..]),
        None => (template.as_str(), ""),
    };
    let name = variables::only_variable(variable).filter(|_| !suffix.contains('$'))?;
    let (mut upstreams, mut hosts) = (Vec::new(), Vec::new());
    for value in variables.own.values(name)? {
        let url = match scheme {
            "" => value.clone(),
            scheme => format!("{scheme}://{value}{suffix}"),
        };
        let found = destination_of(&url, None, pass.name == "grpc_pass").ok()?;
        if value.is_empty() || found.path.is_some() {
            return None;
        }
        let upstream = upstream::name(http, scope, &found.target, pass, output)?;
        variables.own.choose(&upstream);
        upstreams.push(Entry::new(&value, upstream, Some(pass)));
        hosts.push(Entry::new(&value, host_of(found.target), Some(pass)));
    }
    let choice = |first: &str, entries: Vec<Entry>| {
        let is_same =
            |entry: &Entry| matches!(&entry.value, Value::Text(text) if *text == entry.key);
        if entries.iter().all(is_same) {
            return name.to_owned();
        }
        let default = match entries.first().map(|entry| &entry.value) {
            Some(Value::Text(text)) => text.clone(),
            _ => String::new(),
        };
        let from = variables::reference(name, false);
        let table = own::table(&from, "values", entries, &default, Origin::from(pass));
        variables.own.register(first, table)
    };
    Some(Chosen {
        upstream: format!("${}", choice(&format!("{name}_upstream"), upstreams)),
        host: format!("${}", choice(&format!("{name}_host"), hosts)),
    })
}

/// Sets the upstream of a route, with its path. Returns `false` if that cannot be done.
pub(super) fn translate(
    http: &Scope,
    scope: &Scope,
    pass: &Directive,
    pattern: &Pattern,
    variables: &Variables,
    route: &mut Table,
    output: &mut Output,
) -> bool {
    output.notes.carried(pass);
    if let Some(chosen) = chosen(http, scope, pass, variables, output) {
        route.set("upstream", chosen.upstream, Some(pass));
        return true;
    }
    let found = match destination(pass, scope) {
        Ok(found) => found,
        Err(why) => {
            output.notes.lost(pass, why);
            return false;
        }
    };
    let path = found.path.as_deref();
    let is_free = matches!(pattern, Pattern::Prefix(_));
    let rewrite = match path {
        Some(_) if found.is_whole && is_free => {
            let why = "A prefix keeps what comes behind it; a path with variables needs a regular expression.";
            output.notes.lost(pass, why);
            return false;
        }
        Some(path) if found.is_whole => {
            let own = path.strip_suffix("$is_args$args");
            if own.is_none() {
                let why = "The query of the client is passed on; nginx drops it where the path has \
                           variables and no `$is_args$args`.";
                output.notes.differs(pass, why);
            }
            let path = own.unwrap_or(path);
            match variables.template(path, scope) {
                Ok(path) => Some(path),
                Err(missing) => {
                    output.notes.lost(pass, no_variable(&missing));
                    return false;
                }
            }
        }
        Some(path) => replacement(path, pass, pattern, output),
        None => None,
    };
    let Some(name) = upstream::name(http, scope, &found.target, pass, output) else {
        return false;
    };
    route.set("upstream", name, Some(pass));
    if let Some(rewrite) = rewrite {
        route.set("rewrite", rewrite, Some(pass));
    }
    redirect::translate(scope, pass, variables, route, output);
    if pass.name == "proxy_pass" {
        cookies::translate(scope, variables, route, output);
    }
    true
}

/// Returns the `rewrite` of a route: nginx replaces the part matched by the location with the path
/// of `proxy_pass`.
fn replacement(
    path: &str,
    pass: &Directive,
    pattern: &Pattern,
    output: &mut Output,
) -> Option<String> {
    if let Pattern::Prefix(own) = pattern
        && !own.ends_with('/')
        && path == "/"
    {
        let why =
            format!("nginx asks for `//x` where a client asks for `{own}/x`; here it is `/x`.");
        output.notes.differs(pass, why);
    }
    match pattern {
        // Set even if the path stays the same, because nginx then normalizes it: `//` becomes `/`.
        Pattern::Prefix(_) | Pattern::Exact(_) => Some(path.replace('$', "$$")),
        Pattern::Regex(_) => {
            let why = "A path behind the host means nothing with a regular expression; `rewrite` may \
                       have its groups.";
            output.notes.lost(pass, why);
            None
        }
    }
}

/// Sets the Host that nginx sends by default, its own name for the upstream, unless the file sets
/// one.
pub(super) fn say_host(
    http: &Scope,
    scope: &Scope,
    pass: &Directive,
    variables: &Variables,
    route: &mut Table,
    output: &mut Output,
) {
    if !is_host_said(scope, pass)
        && let Some(chosen) = chosen(http, scope, pass, variables, output)
    {
        return headers::set_host_template(&chosen.host, pass, route);
    }
    let Some(text) = own_name(scope, pass) else {
        return;
    };
    // geogate cannot send a host with other characters than these.
    let is_host = text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-.[]:_".contains(&b));
    if !is_host {
        output
            .notes
            .differs(pass, "The upstream reads the Host that the client sent.");
        return;
    }
    headers::set_host(&text, pass, route);
}

/// Returns the value of `$proxy_host`, if the upstream gets it as its Host.
fn own_name(scope: &Scope, pass: &Directive) -> Option<String> {
    let target = destination(pass, scope).ok()?.target;
    (!is_host_said(scope, pass)).then(|| host_of(target))
}

/// Returns `true` if the file sets the Host that the upstream gets.
fn is_host_said(scope: &Scope, pass: &Directive) -> bool {
    let family = if pass.name == "grpc_pass" {
        "grpc_set_header"
    } else {
        "proxy_set_header"
    };
    scope
        .all(family)
        .iter()
        .any(|header| header.arg(0).eq_ignore_ascii_case("host") && header.arg(1) != "$proxy_host")
}

/// Returns the value of `$proxy_host` for a target.
fn host_of(target: Target) -> String {
    let usual = if target.tls { 443 } else { 80 };
    match target.port.filter(|port| *port != usual) {
        Some(port) => format!("{}:{port}", target.host),
        None if target::is_unix(&target.host) => "localhost".to_owned(),
        None => target.host,
    }
}
