//! Listeners: geogate's belong to no server, so what several servers say of one is put together.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::super::Output;
use super::super::document::{Entry, Item, Value};
use super::super::tree::Directive;
use super::site::{Listen, Site, Speaks};

/// Where nginx listens if a server does not say.
pub(super) fn unsaid<'s>(tls: bool) -> Listen<'s> {
    Listen {
        directive: None,
        address: "0.0.0.0:80".to_owned(),
        speaks: if tls { Speaks::Tls } else { Speaks::Http },
        proxy_protocol: false,
        is_default: false,
    }
}

/// One `listen`; `ssl` is whether the server speaks TLS on all its listeners.
pub(super) fn listen<'s>(
    directive: &'s Directive,
    ssl: bool,
    output: &mut Output,
) -> Option<Listen<'s>> {
    output.notes.carried(directive);
    let Some(address) = address(directive.arg(0)) else {
        let why = if directive.arg(0).starts_with("unix:") {
            "Listeners are addresses with ports; there are none on UNIX sockets."
        } else {
            "Listeners are addresses with ports; a name is none."
        };
        output.notes.lost(directive, why);
        return None;
    };
    let mut listen = Listen {
        directive: Some(directive),
        address: address.to_string(),
        speaks: if ssl { Speaks::Tls } else { Speaks::Http },
        proxy_protocol: false,
        is_default: false,
    };
    for parameter in directive.args.iter().skip(1) {
        match parameter.as_str() {
            "ssl" => listen.speaks = Speaks::Tls,
            "http2" if !listen.is_tls() => listen.speaks = Speaks::H2c,
            "proxy_protocol" => listen.proxy_protocol = true,
            "default_server" | "default" => listen.is_default = true,
            "quic" | "http3" => {
                output.notes.lost(
                    directive,
                    "There is no HTTP/3; clients use HTTP/2 on the same port over TCP.",
                );
                return None;
            }
            "ipv6only=off" => {
                output.notes.differs(
                    directive,
                    "An IPv6 listener takes IPv6 only; list 0.0.0.0 as well for IPv4.",
                );
            }
            // Sockets: backlog=, reuseport, deferred, so_keepalive= and the like.
            _ => {}
        }
    }
    Some(listen)
}

fn address(text: &str) -> Option<SocketAddr> {
    let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    if let Ok(port) = text.parse::<u16>() {
        return Some((any, port))
            .filter(|(_, port)| *port > 0)
            .map(SocketAddr::from);
    }
    let text = text.replacen("localhost", "127.0.0.1", 1);
    let text = match text.strip_prefix('*') {
        Some("") => return Some(SocketAddr::from((any, 80))),
        Some(rest) => format!("0.0.0.0{rest}"),
        None => text,
    };
    let ip = text.trim_start_matches('[').trim_end_matches(']');
    let without_port = || {
        ip.parse::<IpAddr>()
            .ok()
            .map(|ip| SocketAddr::from((ip, 80)))
    };
    text.parse().ok().or_else(without_port)
}

/// Puts all listeners into `server.listen`.
pub(super) fn translate(sites: &[Site], output: &mut Output) {
    let mut addresses: Vec<&str> = Vec::new();
    for listen in sites.iter().flat_map(|site| &site.listens) {
        if !addresses.contains(&listen.address.as_str()) {
            addresses.push(&listen.address);
        }
    }
    for address in addresses {
        let on_it = |site: &&Site| site.listens.iter().any(|listen| listen.address == address);
        let here: Vec<&Site> = sites.iter().filter(on_it).collect();
        let listens = here.iter().flat_map(|site| &site.listens);
        let listens: Vec<&Listen> = listens.filter(|listen| listen.address == address).collect();
        let item = item(address, &here, &listens, output);
        output.document.table("server").push("listen", item);
    }
    say_where_they_differ(sites, output);
}

fn item(address: &str, sites: &[&Site], listens: &[&Listen], output: &mut Output) -> Item {
    let from = listens.iter().find_map(|listen| listen.directive);
    let any = |is: fn(&Listen) -> bool| listens.iter().any(|listen| is(listen));
    let mut entries = vec![Entry::new("address", address, from)];
    let tls = listens.iter().any(|listen| listen.is_tls());
    let redirects = !tls && sites.iter().all(|site| site.redirects_to_https);
    if tls {
        entries.push(Entry::new("tls", true, from));
    } else if redirects {
        entries.push(Entry::new("redirect_to_https", true, from));
    } else if any(|listen| listen.speaks == Speaks::H2c) {
        entries.push(Entry::new("h2c", true, from));
    }
    if any(|listen| listen.proxy_protocol) {
        entries.push(Entry::new("proxy_protocol", true, from));
    }
    for site in sites.iter().filter(|site| site.redirects_to_https && !tls) {
        say_redirect(site, redirects, output);
    }
    match entries.as_slice() {
        [_] => Item::new(address, from),
        _ => Item::new(Value::Inline(entries), from),
    }
}

fn say_redirect(site: &Site, carried: bool, output: &mut Output) {
    for directive in super::rewrite::redirects_to_https(site.block).unwrap_or_default() {
        if carried {
            output.notes.carried(directive);
        } else {
            let why = "Routes do not tell listeners apart, and not all servers of this listener send \
                       clients to https. If they may, give the listener `redirect_to_https = true`.";
            output.notes.lost(directive, why);
        }
    }
}

/// A host is served alike on every listener.
fn say_where_they_differ(sites: &[Site], output: &mut Output) {
    let serving = || sites.iter().filter(|site| !site.only_redirects);
    let addresses = |site: &Site| {
        let plain = site
            .listens
            .iter()
            .filter(|listen| !site.redirects_to_https || listen.is_tls());
        let mut addresses: Vec<&str> = plain.map(|listen| listen.address.as_str()).collect();
        addresses.sort_unstable();
        addresses.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let Some(first) = serving().next() else {
        return;
    };
    let expected = addresses(first);
    for site in serving().skip(1) {
        if addresses(site) != expected {
            let why = "Every host is served on every listener; this server listens elsewhere than \
                       the first one.";
            output.notes.differs(site.block, why);
        }
    }
}
