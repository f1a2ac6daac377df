//! `[[upstream]]`.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::{one_of, path};
use crate::config::Overrides;
use crate::config::document::{Item, Problems, Section};
use crate::config::model::{
    Balance, HashKey, HealthCheck, HealthProbe, Peer, PeerAddress, Protocol, ProxyVersion,
    SocketAddress, Sticky, Upstream, UpstreamTls,
};

pub(super) fn upstreams(
    root: &Section,
    overrides: &Overrides,
    problems: &Problems,
) -> Vec<Upstream> {
    let sections = root.sections("upstream");
    let mut upstreams: Vec<Upstream> = Vec::new();
    let mut names = HashSet::new();
    for section in &sections {
        let upstream = upstream(section);
        if !names.insert(upstream.name.clone()) {
            section.note("name", format!("there is another {:?}", upstream.name));
        }
        upstreams.push(upstream);
    }
    if overrides.upstream.is_empty() {
        return upstreams;
    }
    let peer = |name: &String| {
        let address =
            host_and_port(name).map_err(|reason| problems.note_flag("--upstream", reason));
        address.ok().map(plain_peer)
    };
    let peers = overrides.upstream.iter().filter_map(peer).collect();
    let first = upstreams.drain(..).next();
    let settings = first.unwrap_or_else(|| upstream_settings(&root.absent("upstream")));
    vec![Upstream { peers, ..settings }]
}

fn upstream(section: &Section) -> Upstream {
    let mut upstream = upstream_settings(section);
    let peers = section.required("peers", |item| Ok(item.items()));
    for item in peers.unwrap_or_default() {
        let Some(peer) = peer(&item) else { continue };
        let name = upstream.tls.as_ref().map(|tls| (tls, &peer.address));
        if let Some((tls, PeerAddress::Socket(_) | PeerAddress::Service(_))) = name
            && tls.verify
            && tls.sni.is_none()
        {
            let reason = format!(
                "{} has no name that its certificate could be checked for: set sni",
                peer.address
            );
            item.note(reason);
        }
        upstream.peers.push(peer);
    }
    let items = section.item("peers");
    if items.is_some_and(|item| item.is_empty_array()) {
        section.note("peers", "at least one peer is needed");
    }
    let peers = &upstream.peers;
    let twice = peers.iter().enumerate().find(|(index, peer)| {
        let before = &peers[..*index];
        before.iter().any(|other| other.address == peer.address)
    });
    if let Some((index, peer)) = twice {
        let reason = format!("{} is listed twice; use weight instead", peer.address);
        section.note("peers", format!("[{index}]: {reason}"));
    }
    if !peers.is_empty() && peers.iter().all(|peer| peer.is_draining) {
        section.note("peers", "no peer is left that takes new clients");
    }
    section.refuse_unknown();
    upstream
}

fn upstream_settings(section: &Section) -> Upstream {
    let seconds = Duration::from_secs;
    let fail_timeout = section.value("fail_timeout", seconds(10), Item::duration);
    let max_fail_timeout = section.value("max_fail_timeout", seconds(300), Item::duration);
    let count = |item: &Item| Ok(item.integer(1, 1 << 30)? as usize);
    let protocol = section.value("protocol", Protocol::Http1, |item| {
        let known = [
            ("http1", Protocol::Http1),
            ("http2", Protocol::Http2),
            ("fastcgi", Protocol::FastCgi),
        ];
        one_of(item, &known)
    });
    let is_fastcgi = protocol == Protocol::FastCgi;
    if is_fastcgi && section.item("tls").is_some() {
        section.note("tls", "means nothing with protocol = \"fastcgi\"");
    }
    let (send_proxy_protocol, keepalive) = proxy_protocol(section, protocol);
    Upstream {
        name: section.value("name", "default".to_owned(), |i| {
            i.string().map(str::to_owned)
        }),
        peers: Vec::new(),
        balance: balance(section),
        sticky: sticky(section),
        protocol,
        tls: tls(section),
        send_proxy_protocol,
        connect_timeout: section.value("connect_timeout", seconds(5), Item::duration),
        read_timeout: section.value("read_timeout", seconds(60), Item::duration),
        write_timeout: section.value("write_timeout", seconds(60), Item::duration),
        max_header_size: section.value("max_header_size", 64 << 10, |item| match item.size()? {
            size @ 1024..=1_048_576 => Ok(size as usize),
            size => Err(format!("{size} is not within 1k and 1m")),
        }),
        max_headers: section.value("max_headers", 256, |item| {
            item.integer(8, 256).map(|lines| lines as usize)
        }),
        idle_timeout: section.value("idle_timeout", seconds(60), Item::duration),
        keepalive,
        tries: section.value("tries", 3, |i| Ok(i.integer(1, 16)? as usize)),
        retry_on: list(section, "retry_on", |item| {
            Ok(item.integer(400, 599)? as u16)
        })
        .unwrap_or_default(),
        x_accel_redirect: section.value("x_accel_redirect", false, Item::boolean),
        retry_budget: section.value("retry_budget", 0.2, Item::share),
        max_fails: section.value("max_fails", 1, |i| Ok(i.integer(0, 1000)? as u32)),
        fail_timeout,
        max_fail_timeout: max_fail_timeout.max(fail_timeout),
        slow_start: section.value("slow_start", None, |item| item.duration().map(Some)),
        max_requests: section.value("max_requests", None, |item| count(item).map(Some)),
        health_check: section
            .item("health_check")
            .map(|item| health_check(&item.section(), is_fastcgi)),
        resolver: list(section, "resolver", name_server).unwrap_or_default(),
        resolve_interval: section.value("resolve_interval", seconds(30), Item::duration),
    }
}

/// Reads `send_proxy_protocol`, and `keepalive`, which it forbids.
fn proxy_protocol(section: &Section, protocol: Protocol) -> (Option<ProxyVersion>, usize) {
    let versions = [
        ("off", None),
        ("v1", Some(ProxyVersion::V1)),
        ("v2", Some(ProxyVersion::V2)),
    ];
    let send_proxy_protocol = section.value("send_proxy_protocol", None, |item| {
        match one_of(item, &versions)? {
            Some(_) if protocol != Protocol::Http1 => {
                Err("is for upstreams with protocol = \"http1\"".to_owned())
            }
            version => Ok(version),
        }
    });
    let keepalive = match send_proxy_protocol {
        None => keepalive(protocol),
        Some(_) => 0,
    };
    let kept = section.value("keepalive", keepalive, |i| {
        Ok(i.integer(0, 1 << 20)? as usize)
    });
    if send_proxy_protocol.is_some() && kept > 0 {
        let reason = "a connection that names its client serves no other one";
        section.note("keepalive", reason);
    }
    (send_proxy_protocol, kept)
}

/// Default number of idle connections. A FastCGI server such as php-fpm gives each open connection one
/// of its processes, which then serves no other connection.
fn keepalive(protocol: Protocol) -> usize {
    match protocol {
        Protocol::Http1 | Protocol::Http2 => 4096,
        Protocol::FastCgi => 0,
    }
}

/// Returns the elements of an array, or `None` if the key is absent.
fn list<T>(
    section: &Section,
    key: &'static str,
    read: impl Fn(&Item) -> Result<T, String>,
) -> Option<Vec<T>> {
    let items = section.item(key)?.items();
    Some(items.iter().filter_map(|item| item.read(&read)).collect())
}

/// Reads `"host:port"`, `{ address = "host:port", weight = 2 }` or `{ srv = "_http._tcp.example" }`.
fn peer(item: &Item) -> Option<Peer> {
    if item.string().is_ok() {
        return item
            .read(|item| host_and_port(item.string()?))
            .map(plain_peer);
    }
    let section = item.section();
    let service = section.value("srv", None, |item| {
        dns_name(item.string()?).map(|name| Some(PeerAddress::Service(name)))
    });
    let address = match service {
        Some(service) => {
            if section.item("address").is_some() {
                section.note("", "has both address and srv; use a separate peer for each");
            }
            Some(service)
        }
        None if section.item("srv").is_some() => None,
        None => section.required("address", |item| host_and_port(item.string()?)),
    };
    let weight = section.value("weight", 1, |i| Ok(i.integer(1, 1000)? as u32));
    let is_backup = section.value("backup", false, Item::boolean);
    let is_draining = section.value("drain", false, Item::boolean);
    let max_requests = section.value("max_requests", None, |item| {
        Ok(Some(item.integer(1, 1 << 30)? as usize))
    });
    section.refuse_unknown();
    address.map(|address| Peer {
        weight,
        is_backup,
        is_draining,
        max_requests,
        ..plain_peer(address)
    })
}

fn plain_peer(address: PeerAddress) -> Peer {
    Peer {
        address,
        weight: 1,
        is_backup: false,
        is_draining: false,
        max_requests: None,
    }
}

fn balance(section: &Section) -> Balance {
    #[derive(Clone, Copy, PartialEq)]
    enum Kind {
        RoundRobin,
        LeastConnections,
        PowerOfTwo,
        Random,
        Hash,
    }
    let kind = section.value("balance", Kind::RoundRobin, |item| {
        let known = [
            ("round_robin", Kind::RoundRobin),
            ("least_connections", Kind::LeastConnections),
            ("power_of_two", Kind::PowerOfTwo),
            ("random", Kind::Random),
            ("hash", Kind::Hash),
        ];
        one_of(item, &known)
    });
    let key = section.value("hash_key", HashKey::ClientIp, |item| {
        let text = item.string()?;
        match text.split_once(':') {
            None if text == "client_ip" => Ok(HashKey::ClientIp),
            Some(("header", name)) => {
                let name = name
                    .parse()
                    .map_err(|_| format!("{name:?} is not a valid header name"));
                name.map(HashKey::Header)
            }
            Some(("cookie", name)) => token(name).map(HashKey::Cookie),
            _ => Err(format!(
                "{text:?} is not \"client_ip\", \"header:NAME\" or \"cookie:NAME\""
            )),
        }
    });
    if kind != Kind::Hash && section.item("hash_key").is_some() {
        section.note("hash_key", "means nothing without balance = \"hash\"");
    }
    match kind {
        Kind::RoundRobin => Balance::RoundRobin,
        Kind::LeastConnections => Balance::LeastConnections,
        Kind::PowerOfTwo => Balance::PowerOfTwo,
        Kind::Random => Balance::Random,
        Kind::Hash => Balance::Hash(key),
    }
}

fn sticky(section: &Section) -> Option<Sticky> {
    let cookie = section.value("sticky_cookie", None, |item| {
        token(item.string()?).map(Some)
    });
    let key = section.value("sticky_key", None, |item| match item.string()? {
        short if short.len() < 16 => Err("at least 16 characters are needed".to_owned()),
        key => Ok(Some(key.to_owned())),
    });
    if cookie.is_none() && section.item("sticky_key").is_some() {
        section.note("sticky_key", "means nothing without sticky_cookie");
    }
    cookie.map(|cookie| Sticky { cookie, key })
}

/// Checks the name of a cookie (RFC 6265, 4.1.1: a token of RFC 9110).
fn token(text: &str) -> Result<String, String> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if !text.is_empty() && text.chars().all(is_token) {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is not a valid cookie name"))
    }
}

fn tls(section: &Section) -> Option<UpstreamTls> {
    let enabled = section.value("tls", false, Item::boolean);
    let sni = section.value("sni", None, |item| dns_name(item.string()?).map(Some));
    let verify = section.value("verify", true, Item::boolean);
    let file = |key| section.value(key, None, |item| path(item).map(Some));
    let (ca_file, cert, key) = (file("ca_file"), file("client_cert"), file("client_key"));
    if !enabled {
        for key in ["sni", "verify", "ca_file", "client_cert", "client_key"] {
            if section.item(key).is_some() {
                section.note(key, "means nothing without tls = true");
            }
        }
        return None;
    }
    Some(UpstreamTls {
        sni,
        verify,
        ca_file,
        client: client_certificate(section, cert, key),
    })
}

fn client_certificate(
    section: &Section,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
) -> Option<(PathBuf, PathBuf)> {
    match (cert, key) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (None, None) => None,
        (Some(_), None) => {
            section.note("client_cert", "needs client_key, too");
            None
        }
        (None, Some(_)) => {
            section.note("client_key", "needs client_cert, too");
            None
        }
    }
}

fn health_check(section: &Section, is_fastcgi: bool) -> HealthCheck {
    let is_tcp = section.value("type", is_fastcgi, |item| {
        one_of(item, &[("http", false), ("tcp", true)])
    });
    if is_fastcgi && !is_tcp {
        section.note("type", "is \"tcp\" with protocol = \"fastcgi\"");
    }
    let path = section.value("path", "/".to_owned(), |item| {
        let text = item.string()?;
        let uri: Option<http::uri::PathAndQuery> = text.parse().ok();
        let uri = uri.filter(|_| text.starts_with('/'));
        uri.map(|uri| uri.to_string())
            .ok_or_else(|| format!("{text:?} is not a path such as \"/health\""))
    });
    let host = section.value("host", None, |item| {
        let text = item.string()?;
        let host: Option<http::uri::Authority> = text.parse().ok();
        host.map(|host| Some(host.to_string()))
            .ok_or_else(|| format!("{text:?} is not a valid host"))
    });
    let statuses = list(section, "statuses", status_range).filter(|list| !list.is_empty());
    if is_tcp {
        for key in ["path", "host", "statuses"] {
            if section.item(key).is_some() {
                section.note(key, "means nothing with type = \"tcp\"");
            }
        }
    }
    let check = HealthCheck {
        probe: if is_tcp {
            HealthProbe::Tcp
        } else {
            HealthProbe::Http {
                path,
                host,
                statuses: statuses.unwrap_or_else(|| vec![200..=399]),
            }
        },
        interval: section.value("interval", Duration::from_secs(5), Item::duration),
        timeout: section.value("timeout", Duration::from_secs(2), Item::duration),
        rise: section.value("rise", 2, |i| Ok(i.integer(1, 1000)? as u32)),
        fall: section.value("fall", 3, |i| Ok(i.integer(1, 1000)? as u32)),
    };
    section.refuse_unknown();
    check
}

/// Reads `200` or `"200-399"`.
fn status_range(item: &Item) -> Result<RangeInclusive<u16>, String> {
    let Ok(text) = item.string() else {
        let status = item.integer(100, 599)? as u16;
        return Ok(status..=status);
    };
    let range = text.split_once('-').unwrap_or((text, text));
    match (range.0.parse(), range.1.parse()) {
        (Ok(first), Ok(last)) if 100 <= first && first <= last && last <= 599 => Ok(first..=last),
        _ => Err(format!(
            "{text:?} is not a status or a range such as \"200-399\""
        )),
    }
}

/// Reads `"address"` or `"address:port"`; the default port is 53.
fn name_server(item: &Item) -> Result<SocketAddr, String> {
    let text = item.string()?;
    let address = || text.parse().ok().map(|ip| SocketAddr::new(ip, 53));
    let server = text.parse().ok().or_else(address);
    server.ok_or_else(|| format!("{text:?} is not the address of a DNS server"))
}

/// Parses `address:port`, `name:port` or `unix:/path`. A name is resolved at run time.
fn host_and_port(text: &str) -> Result<PeerAddress, String> {
    if let Some(socket) = SocketAddress::unix(text) {
        return socket.map(PeerAddress::Socket);
    }
    let wrong = |reason: &str| format!("{text:?} is not host:port or unix:/path: {reason}");
    if let Ok(address) = text.parse::<SocketAddr>() {
        return if address.port() == 0 {
            Err(wrong("no port is 0"))
        } else {
            Ok(PeerAddress::Socket(address.into()))
        };
    }
    let (host, port) = text
        .rsplit_once(':')
        .ok_or_else(|| wrong("it has no port"))?;
    let port = port.parse().ok().filter(|port| *port != 0);
    let port = port.ok_or_else(|| wrong("the port is no number from 1 to 65535"))?;
    let host = dns_name(host).map_err(|reason| wrong(&reason))?;
    Ok(PeerAddress::Name(host, port))
}

/// Checks a host name of DNS (RFC 1123, 2.1, and `_`) and returns it in lower case.
fn dns_name(text: &str) -> Result<String, String> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        let known = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        !label.is_empty() && label.len() < 64 && label.chars().all(known) && !label.starts_with('-')
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_number = last.chars().all(|c| c.is_ascii_digit());
    if name.len() < 254 && name.split('.').all(label) && !is_number {
        Ok(name.to_ascii_lowercase())
    } else {
        Err(format!("{text:?} is no name of a host"))
    }
}
