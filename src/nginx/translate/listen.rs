//! `listen` directives of a server.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::super::Output;
use super::super::tree::Directive;

/// One `listen` of a server.
#[derive(Debug, Clone)]
pub(super) struct Listen<'s> {
    pub(super) directive: Option<&'s Directive>,
    /// Address and port as geogate writes them.
    pub(super) address: String,
    pub(super) speaks: Speaks,
    pub(super) proxy_protocol: bool,
    pub(super) is_default: bool,
}

/// Protocol of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaks {
    Http,
    /// HTTP/1, and HTTP/2 without TLS.
    H2c,
    Tls,
}

impl Listen<'_> {
    pub(super) fn is_tls(&self) -> bool {
        self.speaks == Speaks::Tls
    }
}

/// Returns nginx's listener for a server that has no `listen`.
pub(super) fn unsaid<'s>(tls: bool) -> Listen<'s> {
    Listen {
        directive: None,
        address: "0.0.0.0:80".to_owned(),
        speaks: if tls { Speaks::Tls } else { Speaks::Http },
        proxy_protocol: false,
        is_default: false,
    }
}

/// Reads one `listen`. `ssl` is true if the server uses TLS on all its listeners.
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
                output.notes.minor(
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
            // Socket options: backlog=, reuseport, deferred, so_keepalive= and others.
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

/// Returns the address of the listener for all addresses of the same family and port.
pub(super) fn of_all_addresses(address: &str) -> String {
    match address.parse::<SocketAddr>() {
        Ok(SocketAddr::V4(v4)) => format!("0.0.0.0:{}", v4.port()),
        Ok(SocketAddr::V6(v6)) => format!("[::]:{}", v6.port()),
        Err(_) => address.to_owned(),
    }
}
