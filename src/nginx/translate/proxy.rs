//! `proxy_pass` and `grpc_pass`: where a location's requests go, and under which path.

use super::super::Output;
use super::super::document::Table;
use super::super::scope::Scope;
use super::super::tree::Directive;
use super::location::Pattern;
use super::upstream::{self, Target};
use super::variables::{self, Variables};

/// Where a directive leads: the target, and the path that replaces what the location matches.
fn destination(pass: &Directive, scope: &Scope) -> Result<(Target, Option<String>), &'static str> {
    let http2 = pass.name == "grpc_pass";
    let written = pass.arg(0);
    // What the client has asked for is what it is in any case.
    let written = written.strip_suffix("$request_uri").unwrap_or(written);
    let text = if variables::has_variables(written) {
        let why = "Where requests go has no variables, but for those that `set` gives one value. Write \
                   a route for each.";
        Variables::constant(written, scope).ok_or(why)?
    } else {
        written.to_owned()
    };
    let known = [
        ("http://", false),
        ("https://", true),
        ("grpc://", false),
        ("grpcs://", true),
        ("h2c://", false),
    ];
    let found = known.iter().find_map(|(scheme, tls)| Some((text.strip_prefix(scheme)?, *tls)));
    let (rest, tls) = match found {
        Some(found) => found,
        None if http2 && !text.contains("://") => (text.as_str(), false),
        None => return Err("An upstream is reached by http:// or https://."),
    };
    if rest.starts_with("unix:") {
        return Err("Peers are reached over TCP; there are no UNIX sockets.");
    }
    let (host, path) = match rest.find(['/', '?']) {
        Some(at) => (&rest[..at], Some(rest[at..].to_owned())),
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
    let target = Target {
        host: host.to_owned(),
        port,
        tls,
        http2,
    };
    Ok((target, path))
}

/// Sets what leads a route's requests to their upstream. `false` if that cannot be done.
pub(super) fn translate(
    http: &Scope,
    scope: &Scope,
    pass: &Directive,
    pattern: &Pattern,
    route: &mut Table,
    output: &mut Output,
) -> bool {
    output.notes.carried(pass);
    let (target, path) = match destination(pass, scope) {
        Ok(found) => found,
        Err(why) => {
            output.notes.lost(pass, why);
            return false;
        }
    };
    let Some(name) = upstream::name(http, scope, &target, pass, output) else {
        return false;
    };
    route.set("upstream", name, Some(pass));
    if let Some(path) = path {
        replace(&path, pass, pattern, route, output);
    }
    say_host(scope, &target, pass, output);
    true
}

/// nginx replaces what the location matches by the path of `proxy_pass`.
fn replace(path: &str, pass: &Directive, pattern: &Pattern, route: &mut Table, output: &mut Output) {
    match pattern {
        Pattern::Prefix(prefix) if prefix == path => {}
        Pattern::Exact(own) if own == path => {}
        Pattern::Prefix(_) | Pattern::Exact(_) => {
            route.set("rewrite", path.replace('$', "$$"), Some(pass));
        }
        Pattern::Regex(_) => {
            output.notes.lost(pass, "A path behind the host means nothing with a regular expression; \
                                     `rewrite` may have its groups.");
        }
    }
}

/// Without a word on it nginx tells upstreams its own name for them.
fn say_host(scope: &Scope, target: &Target, pass: &Directive, output: &mut Output) {
    let family = if target.http2 { "grpc_set_header" } else { "proxy_set_header" };
    let says_host = scope.all(family).iter().any(|header| header.arg(0).eq_ignore_ascii_case("host"));
    if !says_host {
        let why = format!(
            "The upstream reads the Host that the client sent; nginx writes {} unless told \
             `proxy_set_header Host $host`.",
            target.host
        );
        output.notes.differs(pass, why);
    }
}
