//! Listeners. In geogate they belong to no server, so the settings of several servers for one
//! address are merged.

use super::listen::{Listen, Speaks};
use super::rewrite;
use super::site::Site;
use crate::nginx::Output;
use crate::nginx::document::{Entry, Item, Value};

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
