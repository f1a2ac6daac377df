//! Upstreams. In nginx the protocol settings of an upstream belong to the location, so an upstream
//! with different settings in two locations becomes two.

use super::target::{Target, is_unix, time};
use super::upstream_protocol;
use crate::config::model::SocketAddress;
use crate::nginx::Output;
use crate::nginx::document::{Entry, Item, Table, Value};
use crate::nginx::scope::Scope;
use crate::nginx::tree::Directive;
use crate::nginx::units;

/// Registers the upstream of a target, with the protocol settings of the location's scope. Returns
/// its name; `None` if no peer can be carried over.
pub(super) fn name(
    http: &Scope,
    scope: &Scope,
    target: &Target,
    from: &Directive,
    output: &mut Output,
) -> Option<String> {
    let block = http.directives().find("upstream", &target.host);
    let block = block.filter(|_| target.port.is_none_or(|port| port == 80));
    let mut table = Table::new("upstream", Some(block.unwrap_or(from)));
    let base = if let Some(block) = block {
        output.notes.carried(block);
        group(block, &mut table, output);
        target.host.clone()
    } else {
        let address = literal(target);
        if let Some(why) = not_a_socket(&address) {
            output.notes.lost(from, why);
            return None;
        }
        table.push("peers", Item::new(address.as_str(), Some(from)));
        address
    };
    if !matches!(table.get("peers"), Some(Value::List(peers)) if !peers.is_empty()) {
        output.notes.lost(
            from,
            format!(
                "The upstream {} has no peer that is carried over.",
                target.host
            ),
        );
        return None;
    }
    upstream_protocol::translate(scope, target, from, &mut table, output);
    Some(
        output
            .document
            .register("upstream", &table, |number| numbered(&base, number)),
    )
}

/// Returns the name of the first, second or further table with the same base name.
pub(super) fn numbered(base: &str, number: usize) -> String {
    match number {
        1 => base.to_owned(),
        _ => format!("{base}-{number}"),
    }
}

fn literal(target: &Target) -> String {
    if is_unix(&target.host) {
        return target.host.clone();
    }
    let port = target.port.unwrap_or(if target.tls { 443 } else { 80 });
    format!("{}:{port}", target.host)
}

/// Translates an `upstream` block.
fn group(block: &Directive, table: &mut Table, output: &mut Output) {
    let mut servers = Vec::new();
    for directive in block.inside() {
        output.notes.carried(directive);
        match directive.name.as_str() {
            "server" => servers.push(directive),
            "least_conn" => table.set("balance", "least_connections", Some(directive)),
            "random" if directive.arg(0) == "two" => {
                table.set("balance", "power_of_two", Some(directive));
            }
            "random" => table.set("balance", "random", Some(directive)),
            "ip_hash" => {
                table.set("balance", "hash", Some(directive));
                let why = "The whole address is hashed, consistently; nginx takes the first three bytes of IPv4.";
                output.notes.minor(directive, why);
            }
            "hash" => hash(directive, table, output),
            "sticky" => sticky(directive, table, output),
            "keepalive" => {
                let why = "geogate keeps up to 4096 idle connections for all workers together; \
                           `keepalive` sets another number.";
                output.notes.needless(directive, why);
            }
            "keepalive_timeout" => time(directive, "idle_timeout", table, output),
            "keepalive_requests" | "keepalive_time" => {
                output.notes.needless(
                    directive,
                    "Connections to peers are kept as long as both like.",
                );
            }
            "zone" => output
                .notes
                .needless(directive, "Workers are threads and share what they know."),
            "resolver" | "resolver_timeout" => {
                output.notes.needless(
                    directive,
                    "Names are resolved again and again, by the system's resolvers or `resolver`.",
                );
            }
            _ => output
                .notes
                .lost(directive, "geogate has nothing like it for upstreams."),
        }
    }
    for server in &servers {
        peer(server, table, output);
    }
    // Without time to stay away, a peer that fails is not ejected.
    let is_kept =
        |server: &&&Directive| server.args.iter().any(|arg| is_zero(arg, "fail_timeout="));
    if let Some(kept) = servers.iter().find(is_kept) {
        table.set("max_fails", 0, Some(kept));
        if !servers.iter().all(|server| is_kept(&server)) {
            let why = "All peers of an upstream are kept when they fail, as this one.";
            output.notes.minor(kept, why);
        }
        return;
    }
    for (parameter, key) in [
        ("max_fails", "max_fails"),
        ("fail_timeout", "fail_timeout"),
        ("slow_start", "slow_start"),
    ] {
        for_all_peers(&servers, parameter, key, table, output);
    }
}

/// Returns `true` if a parameter of this name is a time of zero, such as `0` or `0s`.
fn is_zero(parameter: &str, name: &str) -> bool {
    let value = parameter.strip_prefix(name);
    value.is_some_and(|value| units::milliseconds(value) == Some(0))
}

fn hash(directive: &Directive, table: &mut Table, output: &mut Output) {
    let key = match directive.arg(0) {
        "$remote_addr" | "$binary_remote_addr" => Some("client_ip".to_owned()),
        key => {
            let cookie = key
                .strip_prefix("$cookie_")
                .map(|name| format!("cookie:{name}"));
            let header = key.strip_prefix("$http_");
            cookie.or_else(|| header.map(|name| format!("header:{}", name.replace('_', "-"))))
        }
    };
    let Some(key) = key else {
        let why =
            "Clients are told apart by address, a header or a cookie, so peers take turns here.";
        return output.notes.lost(directive, why);
    };
    table.set("balance", "hash", Some(directive));
    table.set("hash_key", key, Some(directive));
    if directive.arg(1) != "consistent" {
        let why = "Always consistent: few clients move when a peer comes or goes.";
        output.notes.minor(directive, why);
    }
}

fn sticky(directive: &Directive, table: &mut Table, output: &mut Output) {
    if directive.arg(0) == "cookie" {
        table.set("sticky_cookie", directive.arg(1), Some(directive));
        if directive.args.len() > 2 {
            let why = "The cookie is a session's, HttpOnly and SameSite=Lax; its attributes cannot be set.";
            output.notes.differs(directive, why);
        }
    } else {
        let why = "Only `sticky cookie`: geogate sets the cookie itself (`sticky_cookie`).";
        output.notes.lost(directive, why);
    }
}

/// Sets a value that nginx has for each peer and geogate for all peers of an upstream.
fn for_all_peers(
    servers: &[&Directive],
    parameter: &str,
    key: &str,
    table: &mut Table,
    output: &mut Output,
) {
    let of = |server: &Directive| {
        let value = server.args.iter().filter_map(|arg| arg.split_once('='));
        let mut named = value
            .filter(|(name, _)| *name == parameter)
            .map(|(_, value)| value.to_owned());
        named.next()
    };
    let values: Vec<_> = servers.iter().map(|server| (*server, of(server))).collect();
    let Some((first, Some(value))) = values.iter().find(|(_, value)| value.is_some()) else {
        return;
    };
    for (server, other) in &values {
        if other.as_ref() != Some(value) {
            let why = format!(
                "All peers of an upstream have one `{key}`, as in line {}.",
                first.place.line
            );
            output.notes.minor(server, why);
        }
    }
    let read: Option<Value> = if parameter == "max_fails" {
        value.parse::<u64>().ok().map(Value::from)
    } else {
        let time = units::milliseconds(value).filter(|time| *time > 0);
        time.map(|time| units::duration(time).into())
    };
    match read {
        Some(read) => table.set(key, read, Some(first)),
        None => output
            .notes
            .minor(first, format!("{parameter}={value} is not carried over.")),
    }
}

/// Translates one `server` of an `upstream` block.
fn peer(server: &Directive, table: &mut Table, output: &mut Output) {
    let address = server.arg(0);
    if let Some(why) = not_a_socket(address) {
        return output.notes.lost(server, why);
    }
    let mut entries = Vec::new();
    let mut service = None;
    for parameter in server.args.iter().skip(1) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match name {
            "weight" => {
                if let Ok(weight) = value.parse::<u64>() {
                    entries.push(Entry::new("weight", weight, Some(server)));
                }
            }
            "backup" => entries.push(Entry::new("backup", true, Some(server))),
            "down" => {
                return output
                    .notes
                    .minor(server, "It is down; add it to the peers when it is up.");
            }
            "drain" => entries.push(Entry::new("drain", true, Some(server))),
            "max_conns" => {
                if let Ok(most) = value.parse::<u64>()
                    && most > 0
                {
                    entries.push(Entry::new("max_requests", most, Some(server)));
                }
            }
            "service" => service = Some(value),
            // The first three apply to all peers; names are resolved again in any case.
            "max_fails" | "fail_timeout" | "slow_start" | "resolve" => {}
            _ => output
                .notes
                .lost(server, format!("{name}: peers have nothing like it.")),
        }
    }
    let first = first_entry(service, address, server);
    let is_there = matches!(table.get("peers"), Some(Value::List(peers))
        if peers.iter().any(|peer| address_of(&peer.value) == Some(&first.value)));
    if is_there {
        return output
            .notes
            .minor(server, "It stands twice; give it a weight instead.");
    }
    let item = if entries.is_empty() && service.is_none() {
        Item::new(first.value, Some(server))
    } else {
        entries.insert(0, first);
        Item::new(Value::Inline(entries), Some(server))
    };
    table.push("peers", item);
}

/// Returns the name of a peer's service, or its address.
fn first_entry(service: Option<&str>, address: &str, server: &Directive) -> Entry {
    match service {
        Some(service) if service.contains('.') || service.starts_with('_') => {
            Entry::new("srv", format!("{service}.{address}"), Some(server))
        }
        Some(service) => {
            let name = format!("_{service}._tcp.{address}");
            Entry::new("srv", name, Some(server))
        }
        None => Entry::new("address", with_port(address), Some(server)),
    }
}

fn address_of(peer: &Value) -> Option<&Value> {
    match peer {
        Value::Inline(entries) => entries.first().map(|entry| &entry.value),
        address => Some(address),
    }
}

/// Returns why a path cannot be that of a peer's UNIX socket; `None` if it can, and for all other
/// addresses.
fn not_a_socket(address: &str) -> Option<String> {
    SocketAddress::unix(address)?.err()
}

/// Returns an address with its port, which is 80 by default.
fn with_port(address: &str) -> String {
    if is_unix(address) {
        return address.to_owned();
    }
    let has_port = match address.rsplit_once(']') {
        Some((_, rest)) => rest.starts_with(':'),
        None => address.contains(':'),
    };
    if has_port {
        address.to_owned()
    } else {
        format!("{address}:80")
    }
}
