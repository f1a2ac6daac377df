//! `[server]`, `[admin]`, `[client]` and `[client_ip]`.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

use super::{one_of, path};
use crate::config::Overrides;
use crate::config::document::{Item, Section};
use crate::config::model::{
    Admin, Client, ClientIp, ForwardedHeader, Methods, MinRate, Server, TrustedProxies,
};

pub(super) fn server(section: &Section, overrides: &Overrides) -> Server {
    let mut listen = match section.item("listen").map(|item| item.items()) {
        None => vec![SocketAddr::from(([0, 0, 0, 0], 9000))],
        Some(items) => addresses(&items),
    };
    if section
        .item("listen")
        .is_some_and(|item| item.is_empty_array())
    {
        section.note("listen", "at least one address is needed");
    }
    if !overrides.listen.is_empty() {
        listen.clone_from(&overrides.listen);
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = section.value("workers", cores, |item| match item.string() {
        Ok("auto") => Ok(cores),
        Ok(text) => Err(format!(
            "{text:?} is neither \"auto\" nor a number of threads"
        )),
        Err(_) => item.integer(1, 1024).map(|workers| workers as usize),
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
    };
    section.refuse_unknown();
    admin
}

fn addresses(items: &[Item]) -> Vec<SocketAddr> {
    let read = |item: &Item| {
        let text = item.string()?;
        let address = text.parse();
        address.map_err(|_| format!("{text:?} is not an address with a port, as \"0.0.0.0:9000\""))
    };
    items.iter().filter_map(|item| item.read(read)).collect()
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
        // What it is instead of an array is noted already.
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
    let header = section.value("header", ForwardedHeader::XForwardedFor, |item| {
        one_of(
            item,
            &[
                ("X-Forwarded-For", ForwardedHeader::XForwardedFor),
                ("Forwarded", ForwardedHeader::Forwarded),
            ],
        )
    });
    section.refuse_unknown();
    ClientIp {
        trusted_proxies: TrustedProxies::new(networks),
        header,
    }
}
