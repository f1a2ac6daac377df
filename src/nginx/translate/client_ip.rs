//! Trusted proxies: `[client_ip]`.
//!
//! The header must be the one that the file names: proxies that write `X-Real-IP` often pass on an
//! `X-Forwarded-For` that the client has sent. Where servers differ, no proxy is trusted, and blocks
//! with rules on addresses are closed.

use super::one_for_all;
use crate::nginx::Output;
use crate::nginx::document::Item;
use crate::nginx::notes::Fate;
use crate::nginx::scope::Scope;
use crate::nginx::tree::Directive;

/// Source of client addresses.
enum Header {
    /// A header, by its name.
    Read(String),
    /// The PROXY protocol header of a connection, which is a setting of the listener.
    ProxyProtocol,
    /// A header that geogate does not read.
    Unread,
}

/// Sets the trusted proxies. Returns the directive that leaves the addresses of clients unknown, if
/// there is one.
pub(super) fn translate<'s>(http: &Scope<'s>, output: &mut Output) -> Option<&'s Directive> {
    let networks = http.everywhere("set_real_ip_from");
    let first = *networks.first()?;
    let headers = http.everywhere("real_ip_header");
    let is_one = headers.iter().all(|other| other.args == headers[0].args);
    let (name, key) = ("real_ip_header", "client_ip.header");
    let header = one_for_all(http, name, key, Fate::Lost, output);
    let with_header: Vec<_> = networks.iter().copied().chain(header).collect();
    if !is_one {
        let why = "There is one `client_ip.header` for all, so nobody is trusted and every client \
                   has the address of its connection.";
        trust_nobody(http, &with_header, why, output);
        return header;
    }
    let known = of_header(header);
    if matches!(known, Header::Unread) {
        let why = "No header of this name has addresses, so nobody is trusted here and every client \
                   has the address of its connection.";
        trust_nobody(http, &with_header, why, output);
        return Some(header.unwrap_or(first));
    }
    if !is_agreed(http) {
        let why = "`client_ip.trusted_proxies` is for all servers, and these do not trust the same, so \
                   nobody is trusted and every client has the address of its connection.";
        trust_nobody(http, &networks, why, output);
        return Some(first);
    }
    for network in networks {
        trust(network, output);
    }
    match (&known, header) {
        (Header::Read(known), header) => {
            let table = output.document.table("client_ip");
            table.set("header", known.as_str(), header);
        }
        (_, Some(header)) => {
            let why = "A listener with `proxy_protocol` has the client's address from there.";
            output.notes.needless(header, why);
        }
        (_, None) => {}
    }
    say_recursion(http, matches!(known, Header::Read(_)), output);
    None
}

/// Returns the header that nginx reads; X-Real-IP is its default.
fn of_header(header: Option<&Directive>) -> Header {
    let name = header.map_or("x-real-ip".to_owned(), |header| {
        header.arg(0).to_ascii_lowercase()
    });
    match name.as_str() {
        "x-forwarded-for" => Header::Read("X-Forwarded-For".to_owned()),
        "forwarded" => Header::Read("Forwarded".to_owned()),
        "x-real-ip" => Header::Read("X-Real-IP".to_owned()),
        "proxy_protocol" => Header::ProxyProtocol,
        _ if is_header(&name) => {
            Header::Read(header.map_or(name, |header| header.arg(0).to_owned()))
        }
        _ => Header::Unread,
    }
}

/// Returns `true` for a header that can have addresses.
fn is_header(name: &str) -> bool {
    let is_name = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    is_name && !name.is_empty() && !matches!(name, "host" | "connection" | "upgrade")
}

/// Returns `true` if all servers and all their locations trust the same networks, because there is
/// one `[client_ip]` for all.
fn is_agreed(http: &Scope) -> bool {
    let of_server = |block: &Directive| -> Vec<String> {
        let scope = http.inner(block);
        let all = scope.all("set_real_ip_from");
        all.iter().map(|one| one.arg(0).to_owned()).collect()
    };
    let mut trusts = http.here("server").map(of_server);
    let first = trusts.next();
    let is_agreed = first.is_none_or(|first| trusts.all(|other| other == first));
    let is_in_location = http.here("server").any(|server| {
        let scope = http.inner(server);
        scope.everywhere("set_real_ip_from").len() != scope.here("set_real_ip_from").count()
    });
    is_agreed && !is_in_location
}

fn trust(network: &Directive, output: &mut Output) {
    if network.arg(0).starts_with("unix") {
        let why = "There are no listeners on UNIX sockets.";
        return output.notes.needless(network, why);
    }
    output.notes.carried(network);
    let item = Item::new(network.arg(0), Some(network));
    let table = output.document.table("client_ip");
    table.push("trusted_proxies", item);
}

fn trust_nobody(http: &Scope, directives: &[&Directive], why: &str, output: &mut Output) {
    for directive in directives {
        output.notes.lost(directive, why);
    }
    say_recursion(http, false, output);
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
