//! Listeners: geogate's belong to no server, so what several servers say of one is put together.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::super::Output;
use super::super::document::{Entry, Item, Value};
use super::super::tree::Directive;
use super::rewrite;
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
                output.notes.lost(
                    directive,
                    "An IPv6 listener takes IPv6 only; list 0.0.0.0 as well for IPv4.",
                );
            }
            // Sockets: backlog=, reuseport, deferred, so_keepalive= and the like.
            _ => {}
        }
    }
    if listen.proxy_protocol {
        let why = "Only proxies in `client_ip.trusted_proxies` may connect, and the address that they \
                   name is the client's.";
        output.notes.differs(directive, why);
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
}

fn item(address: &str, sites: &[&Site], listens: &[&Listen], output: &mut Output) -> Item {
    let from = listens.iter().find_map(|listen| listen.directive);
    let any = |is: fn(&Listen) -> bool| listens.iter().any(|listen| is(listen));
    let mut entries = vec![Entry::new("address", address, from)];
    let tls = listens.iter().any(|listen| listen.is_tls());
    let port = sites.first().and_then(|site| site.to_https);
    if tls {
        entries.push(Entry::new("tls", true, from));
        if !listens.iter().all(|listen| listen.is_tls())
            && let Some(from) = from
        {
            let why = "A listener speaks TLS or not; some servers of this one do not.";
            output.notes.lost(from, why);
        }
    } else if let Some(port) = port {
        match port {
            443 => entries.push(Entry::new("redirect_to_https", true, from)),
            port => entries.push(Entry::new("redirect_to_https", u64::from(port), from)),
        }
        for site in sites {
            let carried = rewrite::to_https(site.block).map(|redirect| redirect.directives);
            for directive in carried.unwrap_or_default() {
                output.notes.minor(
                    directive,
                    "`redirect_to_https` of the listener, with 308, which keeps the method of a POST.",
                );
            }
        }
    } else if any(|listen| listen.speaks == Speaks::H2c) {
        entries.push(Entry::new("h2c", true, from));
    }
    if any(|listen| listen.proxy_protocol) {
        entries.push(Entry::new("proxy_protocol", true, from));
    }
    match entries.as_slice() {
        [_] => Item::new(address, from),
        _ => Item::new(Value::Inline(entries), from),
    }
}
