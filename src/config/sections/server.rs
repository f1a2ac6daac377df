//! `[server]`, `[admin]`, `[client]` and `[client_ip]`.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

use super::path;
use super::route::is_framing_name;
use crate::config::Overrides;
use crate::config::document::{Item, Problems, Section};
use crate::config::model::{
    Admin, Client, ClientIp, Config, ForwardedHeader, HeaderNameSet, Limit, Listener, Methods,
    MinRate, Server, Speaks, TrustedProxies, UntrustedHeaders,
};

pub(super) fn server(section: &Section, overrides: &Overrides) -> Server {
    let mut listen = match section.item("listen").map(|item| item.items()) {
        None => vec![Listener::plain(SocketAddr::from(([0, 0, 0, 0], 9000)))],
        Some(items) => items.iter().filter_map(listener).collect(),
    };
    if section
        .item("listen")
        .is_some_and(|item| item.is_empty_array())
    {
        section.note("listen", "at least one address is needed");
    }
    if !overrides.listen.is_empty() {
        listen = overrides
            .listen
            .iter()
            .copied()
            .map(Listener::plain)
            .collect();
    }
    let workers = section.value("workers", Limit::Auto, |item| {
        if item.is("auto") {
            return Ok(Limit::Auto);
        }
        let number = item.integer(1, 1024).map(Limit::Fixed);
        number.map_err(|reason| format!("{reason}; or \"auto\""))
    });
    let server = Server {
        listen,
        workers,
        work_stealing: section.value("work_stealing", false, Item::boolean),
        max_open_files: section.value("max_open_files", 65_535, |i| i.integer(64, 1 << 30)),
        grace_period: section.value("grace_period", Duration::from_secs(30), Item::duration),
        pid_file: section.value("pid_file", "/run/geogate/geogate.pid".into(), path),
        upgrade_socket: section.value("upgrade_socket", "/run/geogate/upgrade.sock".into(), path),
    };
    section.refuse_unknown();
    server
}

pub(super) fn admin(section: &Section) -> Admin {
    let items = section.item("listen").map(|item| item.items());
    let admin = Admin {
        listen: addresses(&items.unwrap_or_default()),
        hosts: admin_hosts(section),
        token_file: section.value("token_file", None, |item| path(item).map(Some)),
    };
    section.refuse_unknown();
    admin
}

fn admin_hosts(section: &Section) -> Vec<String> {
    let host = |item: &Item| {
        let text = item.string()?;
        let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let is_name = text.split('.').all(|label| !label.is_empty());
        if is_name && text.bytes().all(is_of_name) {
            Ok(text.to_ascii_lowercase())
        } else {
            Err(format!(
                "{text:?} is not the name of a host, without a port"
            ))
        }
    };
    let items = section.item("hosts").map(|item| item.items());
    let items = items.unwrap_or_default();
    items.iter().filter_map(|item| item.read(host)).collect()
}

fn addresses(items: &[Item]) -> Vec<SocketAddr> {
    let read = |item: &Item| item.read(address);
    items.iter().filter_map(read).collect()
}

fn address(item: &Item) -> Result<SocketAddr, String> {
    let text = item.string()?;
    let address = text.parse();
    address.map_err(|_| format!("{text:?} is not an address with a port, as \"0.0.0.0:9000\""))
}

/// Reads `"address:port"`, or a table such as `{ address = "address:port", tls = true }`.
fn listener(item: &Item) -> Option<Listener> {
    if item.string().is_ok() {
        return item.read(address).map(Listener::plain);
    }
    let section = item.section();
    let address = section.required("address", address);
    let tls = section.value("tls", false, Item::boolean);
    let h2c = section.value("h2c", false, Item::boolean);
    let redirect = section.value("redirect_to_https", None, |item| match item.boolean() {
        Ok(redirect) => Ok(redirect.then_some(443)),
        Err(_) => Ok(Some(item.integer(1, u64::from(u16::MAX))? as u16)),
    });
    let proxy_protocol = section.value("proxy_protocol", false, Item::boolean);
    section.refuse_unknown();
    let speaks = match (tls, redirect, h2c) {
        (false, None, h2c) => Speaks::Http { h2c },
        (true, None, false) => Speaks::Tls,
        (false, Some(port), false) => Speaks::Redirect { port },
        _ => {
            section.note("", "of tls, redirect_to_https and h2c it can have one");
            return None;
        }
    };
    Some(Listener {
        address: address?,
        speaks,
        proxy_protocol,
    })
}

/// Checks that other sections have the settings that the listeners need.
pub(super) fn check_listeners(root: &Section, config: &Config) {
    let (section, listen) = (root.section("server"), &config.server.listen);
    let note = |reason: &str| section.note("listen", reason);
    let certificates = root.section("tls").item("certificates");
    let is_bare = certificates.is_none_or(|items| items.is_empty_array());
    if is_bare && listen.iter().any(|l| l.speaks == Speaks::Tls) {
        note("there is a listener with tls, and tls.certificates has no certificate");
    }
    let trusted = &config.client_ip.trusted_proxies;
    if trusted.is_empty() && listen.iter().any(|l| l.proxy_protocol) {
        note("proxy_protocol is for client_ip.trusted_proxies only, which is empty");
    }
}

/// Checks that every address has one listener, including the admin listeners. An unspecified address
/// covers its port on all addresses of its family, as in the operating system.
pub(super) fn refuse_listening_twice(root: &Section, overrides: &Overrides, problems: &Problems) {
    let mut taken: Vec<(String, SocketAddr)> = Vec::new();
    let mut take = |name: String, address: SocketAddr, note: &dyn Fn(String)| {
        let other = taken.iter().find(|(_, other)| collide(*other, address));
        if let Some((other, with)) = other {
            note(if *with == address {
                format!("{address} is listened on by {other} already")
            } else {
                format!("{address} and {with} of {other} cannot both be listened on")
            });
        }
        taken.push((name, address));
    };
    for &address in &overrides.listen {
        let note = |reason| problems.note_flag("--listen", reason);
        take("--listen".to_owned(), address, &note);
    }
    for key in ["server", "admin"] {
        if key == "server" && !overrides.listen.is_empty() {
            continue;
        }
        let items = root.section(key).item("listen").map(|item| item.items());
        for (index, item) in items.into_iter().flatten().enumerate() {
            // An invalid address is noted already.
            let text = item.string().ok().or_else(|| item.member("address"));
            if let Some(address) = text.and_then(|text| text.parse().ok()) {
                let note = |reason| item.note(reason);
                take(format!("{key}.listen[{index}]"), address, &note);
            }
        }
    }
}

/// Returns `true` if the system allows only one listener on the two addresses. Port 0 never
/// collides: the system chooses a free port each time.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let same_family = a.is_ipv4() == b.is_ipv4();
    let overlap = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && a.port() != 0 && same_family && overlap
}

pub(super) fn client(section: &Section) -> Client {
    let minute = Duration::from_secs(60);
    let grace = section.value("rate_grace", Duration::from_secs(15), Item::duration);
    let min_rate = |key| MinRate {
        bytes_per_second: section.value(key, 240, Item::size),
        grace,
    };
    let client = Client {
        keepalive_timeout: section.value("keepalive_timeout", Duration::from_secs(65), |item| {
            let duration = item.duration()?;
            if duration.subsec_nanos() != 0 {
                return Err("whole seconds are expected".to_owned());
            }
            Ok(duration)
        }),
        keepalive_requests: section.value("keepalive_requests", 1000, |item| {
            item.integer(1, u64::from(u32::MAX))
                .map(|requests| requests as u32)
        }),
        header_timeout: section.value("header_timeout", minute, Item::duration),
        max_header_size: section.value("max_header_size", 32 << 10, |item| match item.size()? {
            size @ 1024..=262_144 => Ok(size as usize),
            size => Err(format!("{size} is not within 1k and 256k")),
        }),
        max_headers: section.value("max_headers", 100, |item| {
            item.integer(8, 256).map(|lines| lines as usize)
        }),
        methods: section.value("methods", Methods::default(), methods),
        read_timeout: section.value("read_timeout", minute, Item::duration),
        write_timeout: section.value("write_timeout", minute, Item::duration),
        min_body_rate: min_rate("min_body_rate"),
        min_response_rate: min_rate("min_response_rate"),
        max_body_size: section.value("max_body_size", 10 << 20, Item::size),
    };
    section.refuse_unknown();
    client
}

fn methods(item: &Item) -> Result<Methods, String> {
    let names = item.items();
    if names.is_empty() && !item.is_empty_array() {
        // A value of another type is noted already.
        return Ok(Methods::default());
    }
    let name = |item: &Item| item.string().map(str::to_owned);
    Methods::new(names.iter().filter_map(|item| item.read(name)).collect())
}

pub(super) fn client_ip(section: &Section) -> ClientIp {
    let network = |item: &Item| {
        let text = item.string()?;
        let address = || {
            text.parse()
                .ok()
                .map(|address: IpAddr| IpNet::from(address))
        };
        let network = text.parse::<IpNet>().ok().or_else(address);
        network.ok_or_else(|| format!("{text:?} is neither an address nor a network"))
    };
    let items = section
        .item("trusted_proxies")
        .map(|item| item.items())
        .unwrap_or_default();
    let networks = items.iter().filter_map(|item| item.read(network)).collect();
    let header = section.value("header", ForwardedHeader::XForwardedFor, forwarded_header);
    let own = match &header {
        ForwardedHeader::Other(name) => Some(name.as_str()),
        ForwardedHeader::XForwardedFor | ForwardedHeader::Forwarded => None,
    };
    let untrusted_headers = untrusted_headers(&section.section("untrusted_headers"), own);
    if let Some(name) = own.filter(|name| !untrusted_headers.contains(name)) {
        let reason = format!("{name} is client_ip.header, so only trusted proxies may send it");
        section.section("untrusted_headers").note("remove", reason);
    }
    section.refuse_unknown();
    ClientIp {
        trusted_proxies: TrustedProxies::new(networks),
        header,
        untrusted_headers,
    }
}

/// Reads the name of the header with the addresses of clients.
fn forwarded_header(item: &Item) -> Result<ForwardedHeader, String> {
    let text = item.string()?;
    let name = text.to_ascii_lowercase();
    match name.as_str() {
        "x-forwarded-for" => return Ok(ForwardedHeader::XForwardedFor),
        "forwarded" => return Ok(ForwardedHeader::Forwarded),
        _ => {}
    }
    let is_name = http::HeaderName::from_bytes(name.as_bytes()).is_ok();
    if !is_name || is_framing_name(&name) || name == "host" {
        return Err(format!(
            "{text:?} is no header with addresses such as \"X-Forwarded-For\" or \"X-Real-IP\""
        ));
    }
    Ok(ForwardedHeader::Other(name))
}

/// Reads `{ add = ["X-User"], remove = ["X-Forwarded-Port"] }`. `own` is one more name.
fn untrusted_headers(section: &Section, own: Option<&str>) -> UntrustedHeaders {
    let add = names(section, "add", |name| {
        if is_framing_name(name) || name.eq_ignore_ascii_case("host") {
            return Err("every request needs this header".to_owned());
        }
        HeaderNameSet::new([name]).map(|_| ())
    });
    let remove = names(section, "remove", UntrustedHeaders::check_removal);
    section.refuse_unknown();
    UntrustedHeaders::new(add.into_iter().chain(own), remove).unwrap_or_default()
}

/// Reads a list of names and returns those that pass `check`.
fn names<'d>(
    section: &Section<'d>,
    key: &'static str,
    check: impl Fn(&str) -> Result<(), String>,
) -> Vec<&'d str> {
    let items = section.item(key).map(|item| item.items());
    let items = items.unwrap_or_default();
    let name = |item: &Item<'d>| {
        let name = item.string()?;
        check(name)?;
        Ok(name)
    };
    items.iter().filter_map(|item| item.read(name)).collect()
}

#[cfg(test)]
mod tests {
    use crate::config::{Overrides, parse};

    #[track_caller]
    fn check(text: &str, overrides: &[&str], expected: &[&str]) {
        let overrides = Overrides {
            listen: overrides.iter().map(|text| text.parse().unwrap()).collect(),
            ..Overrides::default()
        };
        let error = parse(text, "file", &overrides).err();
        let error = error.map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(error.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn an_address_is_listened_on_once() {
        check(
            "[server]\nlisten = ['127.0.0.1:1',\n'127.0.0.1:2', { address = '127.0.0.1:1' }]\n\
             [admin]\nlisten = ['127.0.0.1:2']\n",
            &[],
            &[
                "file: server.listen[2]: 127.0.0.1:1 is listened on by server.listen[0] already (line 3)",
                "file: admin.listen[0]: 127.0.0.1:2 is listened on by server.listen[1] already (line 5)",
            ],
        );
        check(
            "[server]\nlisten = ['0.0.0.0:1']\n[admin]\nlisten = ['127.0.0.1:1', '[::1]:1']\n",
            &[],
            &[
                "file: admin.listen[0]: 127.0.0.1:1 and 0.0.0.0:1 of server.listen[0] cannot both be \
                 listened on (line 4)",
            ],
        );
        let both = "[server]\nlisten = ['0.0.0.0:1', '[::]:1', '127.0.0.1:0', '127.0.0.1:0']\n";
        check(both, &[], &[]);
    }

    #[test]
    fn the_command_line_replaces_the_files_listeners() {
        let text = "[server]\nlisten = ['127.0.0.1:1']\n[admin]\nlisten = ['127.0.0.1:2']\n";
        check(text, &["127.0.0.1:1"], &[]);
        check(
            text,
            &["127.0.0.1:2", "127.0.0.1:3", "127.0.0.1:3"],
            &[
                "--listen: 127.0.0.1:3 is listened on by --listen already",
                "file: admin.listen[0]: 127.0.0.1:2 is listened on by --listen already (line 4)",
            ],
        );
    }
}
