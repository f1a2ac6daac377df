//! Protocol settings of a location for its upstream: times, tries, TLS, HTTP/2. FastCGI. The
//! directives begin with `proxy_`, `grpc_` or `fastcgi_`.

use super::target::{Target, is_unix, time};
use crate::nginx::Output;
use crate::nginx::document::{Item, Table};
use crate::nginx::scope::Scope;
use crate::nginx::tree::Directive;

/// Adds these settings to an upstream.
pub(super) fn translate(
    scope: &Scope,
    target: &Target,
    from: &Directive,
    table: &mut Table,
    output: &mut Output,
) {
    let family = target.family();
    let one = |name: &str| scope.one(&format!("{family}_{name}"));
    for (name, key) in [
        ("connect_timeout", "connect_timeout"),
        ("read_timeout", "read_timeout"),
        ("send_timeout", "write_timeout"),
    ] {
        if let Some(directive) = one(name) {
            output.notes.carried(directive);
            time(directive, key, table, output);
        }
    }
    if let Some(tries) = one("next_upstream_tries") {
        output.notes.carried(tries);
        match tries.arg(0).parse::<u64>() {
            Ok(count) if count > 0 => table.set("tries", count.min(16), Some(tries)),
            _ => output.notes.differs(
                tries,
                "There is no trying without end: `tries` is 3, and 16 at most.",
            ),
        }
    }
    if let Some(next) = one("next_upstream") {
        next_upstream(next, table, output);
    }
    if target.http2 {
        table.set("protocol", "http2", Some(from));
    }
    if target.fastcgi {
        table.set("protocol", "fastcgi", Some(from));
        if let Some(keep) = one("keep_conn") {
            let why = "Connections are closed after each request, unless the upstream has `keepalive`. Each \
                       that is open holds a process of php-fpm.";
            output.notes.minor(keep, why);
        }
    }
    if target.tls {
        tls(scope, family, target, from, table, output);
    }
    // nginx knows it in answers of HTTP and FastCGI.
    if ignores_redirects(scope, family).is_none() && !target.http2 {
        table.set("x_accel_redirect", true, None);
    }
}

/// Returns the directive that ignores `X-Accel-Redirect` of upstreams.
pub(super) fn ignores_redirects<'s>(scope: &Scope<'s>, family: &str) -> Option<&'s Directive> {
    let ignored = scope.one(&format!("{family}_ignore_headers"))?;
    let mut names = ignored.args.iter();
    let is_ignored = names.any(|name| name.eq_ignore_ascii_case("x-accel-redirect"));
    is_ignored.then_some(ignored)
}

fn next_upstream(next: &Directive, table: &mut Table, output: &mut Output) {
    output.notes.carried(next);
    if next.args.iter().any(|reason| reason == "off") {
        table.set("tries", 1, Some(next));
        return;
    }
    let statuses = next
        .args
        .iter()
        .filter_map(|reason| reason.strip_prefix("http_"));
    for status in statuses.filter_map(|status| status.parse::<u64>().ok()) {
        table.push("retry_on", Item::new(status, Some(next)));
    }
    if next.args.iter().any(|reason| reason == "non_idempotent") {
        let why = "non_idempotent: what a peer may have seen is tried again only if its method may be repeated.";
        output.notes.differs(next, why);
    }
}

fn tls(
    scope: &Scope,
    family: &str,
    target: &Target,
    from: &Directive,
    table: &mut Table,
    output: &mut Output,
) {
    let one = |name: &str| scope.one(&format!("{family}_ssl_{name}"));
    table.set("tls", true, Some(from));
    if let Some(on) = one("server_name") {
        output
            .notes
            .needless(on, "Always: peers are told the name that is asked for.");
    }
    let mut has_name = !is_address(&target.host) && !is_unix(&target.host);
    if let Some(name) = one("name") {
        output.notes.carried(name);
        if name.arg(0).contains('$') {
            output
                .notes
                .lost(name, "`sni` is a name, without variables.");
        } else {
            table.set("sni", name.arg(0), Some(name));
            has_name = true;
        }
    } else if has_name && target.port.is_none() && target.host.contains('.') {
        // Certificates of peers in an `upstream` block are checked for the name in the location.
        table.set("sni", target.host.as_str(), Some(from));
    }
    let verify = one("verify");
    let verifies = verify.is_some_and(|verify| verify.arg(0) == "on");
    if let Some(verify) = verify {
        output.notes.carried(verify);
    }
    if !verifies && !has_name {
        table.set("verify", false, verify.or(Some(from)));
        let why = "The peer has no name that its certificate could be checked for, so it is not \
                   checked, as in nginx. Set `sni` and take `verify = false` out.";
        output.notes.differs(verify.unwrap_or(from), why);
    } else if !verifies {
        let why = "The peer's certificate is checked, which nginx was not told to do. If it is \
                   not from a known authority, name its `ca_file`.";
        output.notes.differs(verify.unwrap_or(from), why);
    }
    for (name, key) in [
        ("trusted_certificate", "ca_file"),
        ("certificate", "client_cert"),
        ("certificate_key", "client_key"),
    ] {
        if let Some(file) = one(name) {
            output.notes.carried(file);
            table.set(key, file.arg(0), Some(file));
        }
    }
}

fn is_address(host: &str) -> bool {
    let inner = host.trim_start_matches('[').trim_end_matches(']');
    inner.parse::<std::net::IpAddr>().is_ok()
}
