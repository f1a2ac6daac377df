//! Trusted proxies: `[client_ip]`.
//!
//! A header that geogate does not read must not be replaced by another one: proxies that write
//! `X-Real-IP` often pass on what a client has put into `X-Forwarded-For`. So without a header that
//! means the same, nobody is trusted, and what asks for addresses is closed.

use super::super::Output;
use super::super::document::Item;
use super::super::notes::Fate;
use super::super::scope::Scope;
use super::super::tree::Directive;
use super::one_for_all;

/// Sets which proxies are trusted. Returns what leaves the addresses of clients unknown, if anything.
pub(super) fn translate<'s>(http: &Scope<'s>, output: &mut Output) -> Option<&'s Directive> {
    let networks = http.everywhere("set_real_ip_from");
    let first = *networks.first()?;
    let headers = http.everywhere("real_ip_header");
    let is_one = headers.iter().all(|other| other.args == headers[0].args);
    let header = one_for_all(
        http,
        "real_ip_header",
        "client_ip.header",
        Fate::Lost,
        output,
    );
    let name = header.map_or("x-real-ip".to_owned(), |header| {
        header.arg(0).to_ascii_lowercase()
    });
    let known = match name.as_str() {
        _ if !is_one => {
            let why = "There is one `client_ip.header` for all, so nobody is trusted and every client \
                       has the address of its connection.";
            for directive in networks.iter().copied().chain(header) {
                output.notes.lost(directive, why);
            }
            say_recursion(http, false, output);
            return header;
        }
        "x-forwarded-for" => Some("X-Forwarded-For"),
        "forwarded" => Some("Forwarded"),
        "proxy_protocol" => None,
        _ => {
            let why = "geogate reads X-Forwarded-For or Forwarded, so nobody is trusted here and every \
                       client has the address of its connection. Let the proxy in front write one of \
                       them, and name it in `client_ip`.";
            let from = header.unwrap_or(first);
            for directive in networks.iter().copied().chain(header) {
                output.notes.lost(directive, why);
            }
            say_recursion(http, false, output);
            return Some(from);
        }
    };
    // Some servers trust whom others do not, and `[client_ip]` is for all.
    let of_server = |block: &Directive| {
        let scope = http.inner(block);
        let all: Vec<String> = scope
            .all("set_real_ip_from")
            .iter()
            .map(|one| one.arg(0).to_owned())
            .collect();
        all
    };
    let mut trusts = http.here("server").map(of_server);
    let agreed = trusts.next();
    let is_agreed = agreed
        .as_ref()
        .is_none_or(|first| trusts.all(|other| other == *first));
    let is_in_location = http.here("server").any(|server| {
        let scope = http.inner(server);
        scope.everywhere("set_real_ip_from").len() != scope.here("set_real_ip_from").count()
    });
    if !is_agreed || is_in_location {
        let why = "`client_ip.trusted_proxies` is for all servers, and these do not trust the same, so \
                   nobody is trusted and every client has the address of its connection.";
        for directive in networks {
            output.notes.lost(directive, why);
        }
        say_recursion(http, false, output);
        return Some(first);
    }
    for network in networks {
        if network.arg(0).starts_with("unix") {
            output
                .notes
                .needless(network, "There are no listeners on UNIX sockets.");
            continue;
        }
        output.notes.carried(network);
        let item = Item::new(network.arg(0), Some(network));
        output
            .document
            .table("client_ip")
            .push("trusted_proxies", item);
    }
    match (known, header) {
        (Some(known), _) => output
            .document
            .table("client_ip")
            .set("header", known, header),
        (None, Some(header)) => {
            let why = "A listener with `proxy_protocol` has the client's address from there.";
            output.notes.needless(header, why);
        }
        (None, None) => {}
    }
    say_recursion(http, known.is_some(), output);
    None
}

fn say_recursion(http: &Scope, is_read: bool, output: &mut Output) {
    let mut is_on = false;
    for recursive in http.everywhere("real_ip_recursive") {
        is_on |= recursive.arg(0) == "on";
        output.notes.needless(
            recursive,
            "Always: the header is read up to the first address that is not trusted.",
        );
    }
    if is_read
        && !is_on
        && let Some(first) = http.everywhere("set_real_ip_from").first()
    {
        let why = "Without real_ip_recursive nginx takes the last address of the header; here it is the \
                   last one that is not trusted.";
        output.notes.differs(first, why);
    }
}
