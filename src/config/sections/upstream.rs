//! `[[upstream]]`.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use crate::config::Overrides;
use crate::config::document::{Item, Problems, Section};
use crate::config::model::{Peer, Upstream};

pub(super) fn upstreams(
    root: &Section,
    overrides: &Overrides,
    problems: &Problems,
) -> Vec<Upstream> {
    let sections = root.sections("upstream");
    let mut upstreams: Vec<Upstream> = Vec::new();
    for section in &sections {
        let upstream = upstream(section);
        if upstreams.iter().any(|other| other.name == upstream.name) {
            section.note("name", format!("there is another {:?}", upstream.name));
        }
        upstreams.push(upstream);
    }
    if overrides.upstream.is_empty() {
        return upstreams;
    }
    let resolve = |name: &String| {
        let peer = resolve(name).map(|address| Peer { address, weight: 1 });
        peer.map_err(|reason| problems.note(0, "--upstream", reason))
            .ok()
    };
    let peers = overrides.upstream.iter().filter_map(resolve).collect();
    let first = upstreams.drain(..).next();
    let settings = first.unwrap_or_else(|| upstream_settings(&root.absent("upstream")));
    vec![Upstream { peers, ..settings }]
}

fn upstream(section: &Section) -> Upstream {
    let mut upstream = upstream_settings(section);
    let peers = section
        .required("peers", |item| Ok(item.items()))
        .unwrap_or_default();
    upstream.peers = peers.iter().filter_map(peer).collect();
    if section
        .item("peers")
        .is_some_and(|item| item.is_empty_array())
    {
        section.note("peers", "at least one peer is needed");
    }
    let twice = upstream.peers.iter().enumerate().find(|(index, peer)| {
        upstream.peers[..*index]
            .iter()
            .any(|other| other.address == peer.address)
    });
    if let Some((index, peer)) = twice {
        let reason = format!("{} stands twice; give it a weight instead", peer.address);
        section.note("peers", format!("[{index}]: {reason}"));
    }
    section.refuse_unknown();
    upstream
}

fn upstream_settings(section: &Section) -> Upstream {
    let seconds = Duration::from_secs;
    let name = |item: &Item| item.string().map(str::to_owned);
    Upstream {
        name: section.value("name", "default".to_owned(), name),
        peers: Vec::new(),
        connect_timeout: section.value("connect_timeout", seconds(5), Item::duration),
        read_timeout: section.value("read_timeout", seconds(60), Item::duration),
        write_timeout: section.value("write_timeout", seconds(60), Item::duration),
        idle_timeout: section.value("idle_timeout", seconds(60), Item::duration),
        keepalive: section.value("keepalive", 4096, |i| Ok(i.integer(1, 1 << 20)? as usize)),
        tries: section.value("tries", 3, |i| Ok(i.integer(1, 16)? as usize)),
        fail_timeout: section.value("fail_timeout", seconds(10), Item::duration),
    }
}

/// `"host:port"`, or `{ address = "host:port", weight = 2 }`.
fn peer(item: &Item) -> Option<Peer> {
    if item.string().is_ok() {
        let address = item.read(peer_address)?;
        return Some(Peer { address, weight: 1 });
    }
    let section = item.section();
    let address = section.required("address", peer_address);
    let weight = section.value("weight", 1, |i| Ok(i.integer(1, 1000)? as usize));
    section.refuse_unknown();
    address.map(|address| Peer { address, weight })
}

fn peer_address(item: &Item) -> Result<SocketAddr, String> {
    resolve(item.string()?)
}

/// The first address of `host:port`. A name is resolved once, at the start.
fn resolve(name: &str) -> Result<SocketAddr, String> {
    let not_found = |reason: &str| format!("{name:?} is not host:port: {reason}");
    let mut addresses = name
        .to_socket_addrs()
        .map_err(|error| not_found(&error.to_string()))?;
    addresses
        .next()
        .ok_or_else(|| not_found("the name has no address"))
}
