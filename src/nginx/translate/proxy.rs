//! `proxy_pass` and `grpc_pass`: where a location's requests go, and under which path.

use super::super::Output;
use super::super::document::Table;
use super::super::scope::Scope;
use super::super::tree::Directive;
use super::pattern::Pattern;
use super::upstream::{self, Target};
use super::variables::{self, Variables};

/// Where a directive leads.
struct Destination {
    target: Target,
    /// What replaces what the location matches.
    path: Option<String>,
    /// Whether that is the whole path, because it has variables.
    is_whole: bool,
}

fn destination(pass: &Directive, scope: &Scope) -> Result<Destination, &'static str> {
    let http2 = pass.name == "grpc_pass";
    let written = pass.arg(0);
    // What the client has asked for is what it is in any case.
    let same = ["$request_uri", "$uri$is_args$args", "$uri"];
    let written = same
        .iter()
        .find_map(|end| written.strip_suffix(end))
        .unwrap_or(written);
    let (scheme, rest) = written.split_once("://").unwrap_or(("", written));
    let (host, path) = match rest.find(['/', '?']) {
        Some(at) => (&rest[..at], Some(&rest[at..])),
        None => (rest, None),
    };
    let why = "Where requests go has no variables, but for those that `set` gives one value. Write a \
               route for each.";
    let scheme = Variables::constant(scheme, scope).ok_or(why)?;
    let host = Variables::constant(host, scope).ok_or(why)?;
    let (host, path) = match (scheme.as_str(), host.split_once("://")) {
        // The whole of it is the value of a variable.
        ("", Some(_)) if path.is_none() => return destination_of(&host, None, http2),
        _ => (host, path),
    };
    destination_of(&format!("{scheme}://{host}"), path, http2)
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
    if rest.starts_with("unix:") {
        return Err("Peers are reached over TCP; there are no UNIX sockets.");
    }
    let (host, own_path) = match rest.find(['/', '?']) {
        Some(at) => (&rest[..at], Some(&rest[at..])),
        None => (rest, None),
    };
    let (host, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => {
            let port = port.parse().map_err(|_| "The port is no number.")?;
            (name, Some(port))
        }
        _ => (host, None),
    };
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
        },
        is_whole: path.is_some_and(variables::has_variables),
        path: path.map(str::to_owned),
    })
}

/// Sets what leads a route's requests to their upstream. `false` if that cannot be done.
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
            let path = path.strip_suffix("$is_args$args").unwrap_or(path);
            match variables.template(path, scope) {
                Ok(path) => Some(path),
                Err(missing) => {
                    output
                        .notes
                        .lost(pass, format!("There is no {missing} in geogate."));
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
    say_host(scope, &found.target, pass, output);
    true
}

/// nginx replaces what the location matches by the path of `proxy_pass`.
fn replacement(
    path: &str,
    pass: &Directive,
    pattern: &Pattern,
    output: &mut Output,
) -> Option<String> {
    match pattern {
        Pattern::Prefix(own) | Pattern::Exact(own) if own == path => None,
        Pattern::Prefix(_) | Pattern::Exact(_) => Some(path.replace('$', "$$")),
        Pattern::Regex(_) => {
            let why = "A path behind the host means nothing with a regular expression; `rewrite` may \
                       have its groups.";
            output.notes.lost(pass, why);
            None
        }
    }
}

/// Without a word on it nginx tells upstreams its own name for them.
fn say_host(scope: &Scope, target: &Target, pass: &Directive, output: &mut Output) {
    let family = if target.http2 {
        "grpc_set_header"
    } else {
        "proxy_set_header"
    };
    let says_host = scope
        .all(family)
        .iter()
        .any(|header| header.arg(0).eq_ignore_ascii_case("host"));
    if !says_host {
        let why = format!(
            "The upstream reads the Host that the client sent; nginx writes {} unless told \
             `proxy_set_header Host $host`.",
            target.host
        );
        output.notes.differs(pass, why);
    }
}
