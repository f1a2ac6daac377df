//! Downstream TLS: one `[tls]`, with all certificates.

use std::collections::HashSet;

use super::listen::Listen;
use super::one_for_all;
use super::site::Site;
use crate::nginx::Output;
use crate::nginx::document::{Entry, Item, Value};
use crate::nginx::notes::Fate;
use crate::nginx::scope::Scope;
use crate::nginx::tree::Directive;

pub(super) fn translate<'s>(http: &'s Scope<'s>, sites: &[Site<'s>], output: &mut Output) {
    let secure: Vec<&Site<'s>> = sites
        .iter()
        .filter(|site| site.listens.iter().any(Listen::is_tls))
        .collect();
    certificates(http, &secure, output);
    if secure.is_empty() {
        return;
    }
    if let Some(versions) =
        one_for_all(http, "ssl_protocols", "tls.min_version", Fate::Lost, output)
    {
        let is_old =
            |version: &&String| matches!(version.as_str(), "SSLv2" | "SSLv3" | "TLSv1" | "TLSv1.1");
        let has = |version: &str| versions.args.iter().any(|v| v == version);
        if versions.args.iter().any(|version| is_old(&version)) {
            output
                .notes
                .minor(versions, "TLS 1.2 is the oldest that is spoken.");
        }
        let oldest = if has("TLSv1.3") && versions.args.len() == 1 {
            "1.3"
        } else {
            "1.2"
        };
        output
            .document
            .table("tls")
            .set("min_version", oldest, Some(versions));
    }
    if let Some(tickets) = one_for_all(
        http,
        "ssl_session_tickets",
        "tls.session_tickets",
        Fate::Minor,
        output,
    ) {
        let value = tickets.arg(0) != "off";
        output
            .document
            .table("tls")
            .set("session_tickets", value, Some(tickets));
    }
    if let Some(http2) = one_for_all(http, "http2", "tls.http2", Fate::Minor, output) {
        output
            .document
            .table("tls")
            .set("http2", http2.arg(0) != "off", Some(http2));
    }
    client_certificates(http, &secure, output);
    hsts(http, &secure, output);
}

/// Adds the certificates of all servers that use TLS, those of the default server first.
fn certificates(http: &Scope, secure: &[&Site], output: &mut Output) {
    let mut sites: Vec<&Site> = secure.to_vec();
    let is_default = |site: &&Site| {
        site.listens
            .iter()
            .any(|listen| listen.is_tls() && listen.is_default)
    };
    sites.sort_by_key(|site| !is_default(site));
    let mut pairs = Vec::new();
    let mut known: HashSet<(&str, &str)> = HashSet::new();
    for site in sites {
        let scope = http.inner(site.block);
        let keys = scope.all("ssl_certificate_key");
        for (index, chain) in scope.all("ssl_certificate").into_iter().enumerate() {
            output.notes.carried(chain);
            let Some(key) = keys.get(index) else {
                output.notes.lost(chain, "It has no ssl_certificate_key.");
                continue;
            };
            output.notes.carried(key);
            if [chain, key].iter().any(|file| !is_file(file.arg(0))) {
                let why = "A certificate and its key are files, without variables; those that change \
                           are read again by themselves.";
                output.notes.lost(chain, why);
                continue;
            }
            let pair = vec![
                Entry::new("cert", chain.arg(0), None),
                Entry::new("key", key.arg(0), None),
            ];
            if known.insert((chain.arg(0), key.arg(0))) {
                pairs.push(Item::new(Value::Inline(pair), Some(chain)));
            }
        }
    }
    if let Some(first) = pairs.first().cloned() {
        let tls = output.document.table("tls");
        tls.push("certificates", first);
        if let Some(Value::List(items)) = tls.get_mut("certificates") {
            *items = pairs;
        }
    }
    for name in ["ssl_certificate", "ssl_certificate_key"] {
        for directive in http.everywhere(name) {
            if !output.notes.is_spoken_for(directive) {
                output
                    .notes
                    .needless(directive, "Nothing listens with TLS here.");
            }
        }
    }
}

fn is_file(name: &str) -> bool {
    !name.is_empty()
        && !name.contains('$')
        && !name.starts_with("data:")
        && !name.starts_with("engine:")
}

fn client_certificates(http: &Scope, secure: &[&Site], output: &mut Output) {
    // The strictest setting applies to all hosts: clients send a certificate before they name a
    // host.
    let all = http.everywhere("ssl_verify_client");
    let strictness = |verify: &Directive| {
        ["off", "optional", "on"]
            .iter()
            .position(|known| *known == verify.arg(0))
    };
    let Some(verify) = all.iter().copied().max_by_key(|verify| strictness(verify)) else {
        for directive in http.everywhere("ssl_client_certificate") {
            output
                .notes
                .needless(directive, "Nobody is asked for a certificate.");
        }
        return;
    };
    for other in &all {
        output.notes.carried(other);
        if strictness(other).is_none() {
            let why = "A certificate is `required` or `optional`, and good in either case. What \
                       conditions ask of `$ssl_client_verify` is closed.";
            output.notes.lost(other, why);
        }
    }
    let kind = match verify.arg(0) {
        "on" => "required",
        "optional" => "optional",
        _ => "off",
    };
    if let Some(ca) = one_for_all(
        http,
        "ssl_client_certificate",
        "tls.client_ca",
        Fate::Lost,
        output,
    ) {
        output
            .document
            .table("tls")
            .set("client_ca", ca.arg(0), Some(ca));
    }
    output
        .document
        .table("tls")
        .set("client_auth", kind, Some(verify));
    let is_everywhere = secure.iter().all(|site| {
        let scope = http.inner(site.block);
        scope
            .one("ssl_verify_client")
            .is_some_and(|other| other.args == verify.args)
    });
    if !is_everywhere {
        let why = "It holds for every host: clients show their certificate before they name one.";
        output.notes.differs(verify, why);
    }
}

/// Returns the HSTS header, if all servers that use TLS have the same; otherwise routes have their
/// own.
pub(super) fn hsts_for_all<'s>(http: &'s Scope<'s>, secure: &[&Site<'s>]) -> Option<&'s Directive> {
    let of = |site: &Site<'s>| {
        let all = Scope::all(&http.inner(site.block), "add_header");
        all.into_iter().find(|header| is_hsts(header))
    };
    let first = of(secure.first()?)?;
    let same = |site: &&Site<'s>| of(site).is_some_and(|other| other.arg(1) == first.arg(1));
    secure.iter().all(same).then_some(first)
}

pub(super) fn is_hsts(header: &Directive) -> bool {
    header
        .arg(0)
        .eq_ignore_ascii_case("strict-transport-security")
}

fn hsts<'s>(http: &'s Scope<'s>, secure: &[&Site<'s>], output: &mut Output) {
    let Some(header) = hsts_for_all(http, secure) else {
        return;
    };
    let mut age = None;
    let mut entries = Vec::new();
    for part in header.arg(1).split(';').map(str::trim) {
        match part.to_ascii_lowercase().as_str() {
            "includesubdomains" => {
                entries.push(Entry::new("include_subdomains", true, Some(header)));
            }
            "preload" => entries.push(Entry::new("preload", true, Some(header))),
            part => {
                let seconds = part
                    .strip_prefix("max-age=")
                    .map(|age| age.trim_matches('"'));
                age = age.or_else(|| seconds?.parse::<u64>().ok());
            }
        }
    }
    let time = age
        .and_then(|age| age.checked_mul(1000))
        .map(super::units::duration);
    let Some(time) = time.filter(|_| age > Some(0)) else {
        return output
            .notes
            .lost(header, "`tls.hsts` is a time, and not nothing.");
    };
    output.notes.carried(header);
    if header.arg(2) != "always" || secure.iter().any(|site| leaves_out(site.block)) {
        let why = "It is sent with everything that goes out over TLS; nginx leaves it out of errors \
                   without `always`, and where a location has headers of its own.";
        output.notes.differs(header, why);
    }
    let value = if entries.is_empty() {
        Value::from(time)
    } else {
        entries.insert(0, Entry::new("max_age", time, Some(header)));
        Value::Inline(entries)
    };
    output
        .document
        .table("tls")
        .set("hsts", value, Some(header));
}

/// Returns `true` if a location within the block has headers of its own without this one.
fn leaves_out(block: &Directive) -> bool {
    block.named("location").any(|location| {
        let mut own = location.named("add_header").peekable();
        own.peek().is_some() && !own.any(is_hsts) || leaves_out(location)
    })
}
