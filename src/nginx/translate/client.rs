//! Connections and requests of clients: one `[client]` for all servers.

use super::{one_for_all, set_time};
use crate::nginx::Output;
use crate::nginx::document::Item;
use crate::nginx::notes::Fate;
use crate::nginx::scope::Scope;
use crate::nginx::tree::Directive;
use crate::nginx::units;

/// Directives with a time, and their keys in `[client]`.
const TIMES: [(&str, &str); 4] = [
    ("keepalive_timeout", "keepalive_timeout"),
    ("client_header_timeout", "header_timeout"),
    ("client_body_timeout", "read_timeout"),
    ("send_timeout", "write_timeout"),
];

pub(super) fn translate(http: &Scope, output: &mut Output) {
    for (name, key) in TIMES {
        if let Some(directive) =
            one_for_all(http, name, &format!("client.{key}"), Fate::Minor, output)
        {
            set_time(directive, "client", key, output);
        }
    }
    let requests = one_for_all(
        http,
        "keepalive_requests",
        "client.keepalive_requests",
        Fate::Minor,
        output,
    );
    if let Some(directive) = requests {
        set_number(directive, "keepalive_requests", output);
    }
    let head = "large_client_header_buffers";
    if let Some(directive) = one_for_all(http, head, "client.max_header_size", Fate::Lost, output) {
        let count = directive.arg(0).parse::<u64>().ok();
        let size = count.zip(units::bytes(directive.arg(1)));
        match size.and_then(|(count, size)| count.checked_mul(size)) {
            Some(size) => {
                let client = output.document.table("client");
                client.set("max_header_size", units::size(size), Some(directive));
            }
            None => output
                .notes
                .lost(directive, "This is no number with a size."),
        }
    }
    let passes = ["proxy_pass", "grpc_pass", "fastcgi_pass"];
    let passes = passes.iter().any(|name| !http.everywhere(name).is_empty());
    if let Some(directive) = body_size_for_all(http) {
        set_body_size(directive, output);
    } else if passes {
        // nginx's default, because no directive sets one size for all.
        let client = output.document.table("client");
        client.set("max_body_size", "1m", None);
    }
    if passes {
        for method in METHODS {
            let client = output.document.table("client");
            client.push("methods", Item::new(method, None));
        }
    }
}

/// Methods of requests that are passed on. nginx passes on nearly any method; these are geogate's
/// defaults, those that IANA lists but for CONNECT, PRI and TRACE, and some that caches and `UPnP`
/// use.
const METHODS: [&str; 41] = [
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "OPTIONS",
    "ACL",
    "BASELINE-CONTROL",
    "BIND",
    "CHECKIN",
    "CHECKOUT",
    "COPY",
    "LABEL",
    "LINK",
    "LOCK",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MKREDIRECTREF",
    "MKWORKSPACE",
    "MOVE",
    "ORDERPATCH",
    "PROPFIND",
    "PROPPATCH",
    "QUERY",
    "REBIND",
    "REPORT",
    "SEARCH",
    "UNBIND",
    "UNCHECKOUT",
    "UNLINK",
    "UNLOCK",
    "UPDATE",
    "UPDATEREDIRECTREF",
    "VERSION-CONTROL",
    "BAN",
    "PURGE",
    "SUBSCRIBE",
    "UNSUBSCRIBE",
];

fn set_number(directive: &Directive, key: &str, output: &mut Output) {
    match directive.arg(0).parse::<u64>() {
        Ok(number) if number > 0 => {
            output
                .document
                .table("client")
                .set(key, number, Some(directive));
        }
        _ => output
            .notes
            .lost(directive, format!("`client.{key}` is at least 1.")),
    }
}

/// Returns the limit on bodies for all requests: that of `http`, or the one that is in effect in
/// every block that passes requests on. Routes with a different limit have their own.
pub(super) fn body_size_for_all<'s>(http: &Scope<'s>) -> Option<&'s Directive> {
    if let Some(size) = http.here("client_max_body_size").last() {
        return Some(size);
    }
    let mut sizes = Vec::new();
    for block in http.here("server") {
        passed_on(block, None, &mut sizes);
    }
    let first = (*sizes.first()?)?;
    let same = |other: Option<&Directive>| other.is_some_and(|other| other.args == first.args);
    sizes.iter().all(|other| same(*other)).then_some(first)
}

/// Collects the limit on bodies in effect in each block that passes requests on.
fn passed_on<'s>(
    block: &'s Directive,
    around: Option<&'s Directive>,
    sizes: &mut Vec<Option<&'s Directive>>,
) {
    let size = block.named("client_max_body_size").last().or(around);
    let passes =
        |directive: &&Directive| matches!(directive.name.as_str(), "proxy_pass" | "grpc_pass");
    if block.inside().iter().any(|directive| passes(&directive)) {
        sizes.push(size);
    }
    for location in block.named("location") {
        passed_on(location, size, sizes);
    }
}

fn set_body_size(directive: &Directive, output: &mut Output) {
    match body_size(directive) {
        Some(size) => {
            output.notes.carried(directive);
            if size == UNLIMITED {
                output.notes.minor(directive, WHY_UNLIMITED);
            }
            let client = output.document.table("client");
            client.set("max_body_size", size, Some(directive));
        }
        None => output.notes.lost(directive, "This is no size."),
    }
}

const UNLIMITED: &str = "1024g";
pub(super) const WHY_UNLIMITED: &str =
    "0 is no limit in nginx and no body at all in geogate, so it is a terabyte here.";

/// Returns a limit on bodies as geogate writes it.
pub(super) fn body_size(directive: &Directive) -> Option<String> {
    match units::bytes(directive.arg(0))? {
        0 => Some(UNLIMITED.to_owned()),
        size => Some(units::size(size)),
    }
}
