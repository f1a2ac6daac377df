//! `[tls]` and `[http2]`.

use super::{one_of, path};
use crate::config::document::{Item, Section};
use crate::config::model::{Certificate, ClientAuth, Hsts, Http2, Tls, TlsVersion};

/// Returns `None` without a certificate: TLS needs one.
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

/// Reads `"1y"` or `{ max_age = "1y", include_subdomains = true, preload = true }`.
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
            section.note(
                "client_auth",
                "needs client_ca, the authorities that sign client certificates",
            );
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

#[cfg(test)]
mod tests {
    use crate::config::{Overrides, parse};

    const PAIR: &str = "certificates = [{ cert = 'a.pem', key = 'a.key' }]";

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let read = parse(text, "file", &Overrides::default());
        let said = read
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        let lines: Vec<_> = said.lines().collect();
        assert_eq!(lines.len(), expected.len(), "{said}");
        for (line, expected) in lines.iter().zip(expected) {
            assert!(line.contains(expected), "{said}");
        }
    }

    #[test]
    fn a_listener_speaks_one_thing() {
        for two in [
            "tls = true, h2c = true",
            "tls = true, redirect_to_https = true",
        ] {
            let listen = format!("listen = [{{ address = '0.0.0.0:1', {two} }}]");
            let text = format!("[server]\n{listen}\n[tls]\n{PAIR}\n");
            check(
                &text,
                &["server.listen[0]: of tls, redirect_to_https and h2c it can have one"],
            );
        }
    }

    #[test]
    fn a_listener_has_what_it_needs() {
        let tls = "[server]\nlisten = [{ address = '0.0.0.0:1', tls = true }]\n";
        check(tls, &["server.listen: there is a listener with tls"]);
        check(&format!("{tls}[tls]\n{PAIR}\n"), &[]);
        let proxy = "[server]\nlisten = [{ address = '0.0.0.0:1', proxy_protocol = true }]\n";
        check(
            proxy,
            &["server.listen: proxy_protocol is for client_ip.trusted_proxies only"],
        );
        check(
            &format!("{proxy}[client_ip]\ntrusted_proxies = ['10.0.0.1']\n"),
            &[],
        );
    }

    #[test]
    fn what_is_wrong_with_tls_is_said_with_its_place() {
        let text = "[tls]\ncertificates = [{ cert = 'a.pem' }]\nmin_version = '1.1'\n\
                    client_auth = 'required'\nhsts = { max_age = '1y', subdomains = true }\n";
        check(
            text,
            &[
                "tls.certificates[0].key: is missing (line 2)",
                "tls.min_version: \"1.1\" is not \"1.2\" or \"1.3\" (line 3)",
                "tls.client_auth: needs client_ca",
                "tls.hsts.subdomains: unknown key; did you mean \"include_subdomains\"? Known here: ",
            ],
        );
    }
}
