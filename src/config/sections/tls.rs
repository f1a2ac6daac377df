//! `[tls]` and `[http2]`.

use super::{one_of, path};
use crate::config::document::{Item, Section};
use crate::config::model::{Certificate, ClientAuth, Hsts, Http2, Tls, TlsVersion};

/// `None` without a certificate: then there is nothing to speak TLS with.
pub(super) fn tls(section: &Section) -> Option<Tls> {
    let items = section.item("certificates").map(|item| item.items());
    let items = items.unwrap_or_default();
    let certificates: Vec<_> = items.iter().filter_map(certificate).collect();
    let versions = [("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)];
    let tls = Tls {
        certificates,
        min_version: section.value("min_version", TlsVersion::Tls12, |i| one_of(i, &versions)),
        http2: section.value("http2", true, Item::boolean),
        session_tickets: section.value("session_tickets", true, Item::boolean),
        hsts: section.item("hsts").and_then(|item| hsts(&item)),
        client_auth: client_auth(section),
        watch: section.value("watch", true, Item::boolean),
    };
    section.refuse_unknown();
    (!tls.certificates.is_empty()).then_some(tls)
}

fn certificate(item: &Item) -> Option<Certificate> {
    let section = item.section();
    let chain = section.required("cert", path);
    let key = section.required("key", path);
    section.refuse_unknown();
    Some(Certificate {
        chain: chain?,
        key: key?,
    })
}

/// `"1y"`, or `{ max_age = "1y", include_subdomains = true, preload = true }`.
fn hsts(item: &Item) -> Option<Hsts> {
    if item.string().is_ok() {
        return Some(Hsts {
            max_age: item.read(Item::duration)?,
            include_subdomains: false,
            preload: false,
        });
    }
    let section = item.section();
    let max_age = section.required("max_age", Item::duration);
    let include_subdomains = section.value("include_subdomains", false, Item::boolean);
    let preload = section.value("preload", false, Item::boolean);
    section.refuse_unknown();
    Some(Hsts {
        max_age: max_age?,
        include_subdomains,
        preload,
    })
}

fn client_auth(section: &Section) -> Option<ClientAuth> {
    let kinds = [
        ("off", None),
        ("optional", Some(false)),
        ("required", Some(true)),
    ];
    let required = section.value("client_auth", None, |item| one_of(item, &kinds));
    let ca_file = section.item("client_ca").map(|item| item.read(path));
    match (required, ca_file) {
        (Some(required), Some(ca_file)) => ca_file.map(|ca_file| ClientAuth { ca_file, required }),
        (Some(_), None) => {
            section.note("client_auth", "needs client_ca, the authorities of clients");
            None
        }
        (None, _) => None,
    }
}

pub(super) fn http2(section: &Section) -> Http2 {
    let streams = |item: &Item| Ok(item.integer(1, 10_000)? as u32);
    let http2 = Http2 {
        max_concurrent_streams: section.value("max_concurrent_streams", 128, streams),
    };
    section.refuse_unknown();
    http2
}
