//! Limits on requests and connections of clients: `limit_req` and `limit_conn`.

use super::access;
use super::one_for_all;
use crate::nginx::Output;
use crate::nginx::document::{Item, Table};
use crate::nginx::notes::Fate;
use crate::nginx::scope::Scope;
use crate::nginx::tree::Directive;

/// Sets the limits for all requests: `[limits]`.
pub(super) fn translate(http: &Scope, output: &mut Output) {
    access::for_all(http, output);
    for zone in http
        .here("limit_req_zone")
        .chain(http.here("limit_conn_zone"))
    {
        output.notes.carried(zone);
    }
    for limit in http.here("limit_req") {
        if let Some(name) = rate(http, http, limit, output) {
            let item = Item::new(name, Some(limit));
            output.document.table("limits").push("rate_limit", item);
        }
    }
    let of_clients =
        |limit: &&Directive| zone_key(http, "limit_conn_zone", limit.arg(0)).is_some_and(is_client);
    let all = http.everywhere("limit_conn");
    if let Some(first) = all.iter().find(|limit| of_clients(limit)) {
        match first.arg(1).parse::<u64>() {
            Ok(number) if number > 0 => {
                let limits = output.document.table("limits");
                limits.set("max_requests_per_client", number, Some(first));
            }
            _ => output.notes.unlimited(first, "This is no number."),
        }
        for limit in all.iter().filter(|limit| of_clients(limit)) {
            output.notes.carried(limit);
            let is_outer = http.here("limit_conn").any(|one| one.id == limit.id);
            if limit.arg(1) != first.arg(1) || limit.place != first.place || !is_outer {
                let why = format!(
                    "A client has one limit for all of it, as in line {}.",
                    first.place.line
                );
                output.notes.differs(limit, why);
            }
        }
    }
    for (name, limit) in [
        ("limit_req_status", "limit_req"),
        ("limit_conn_status", "limit_conn"),
    ] {
        let limits = http.everywhere(limit);
        let status = one_for_all(http, name, "the status", Fate::Lost, output);
        let is_same = status.is_some_and(|status| status.arg(0) == "429");
        match (status, limits.first()) {
            (Some(status), _) if is_same => {
                output.notes.needless(status, "Always, with Retry-After.");
            }
            (status, Some(first)) => {
                let why = "What is too much is answered with 429 and Retry-After, not with 503.";
                output.notes.differs(status.unwrap_or(first), why);
            }
            (Some(status), None) => output.notes.needless(status, "Nothing is limited."),
            (None, None) => {}
        }
    }
}

/// Sets the limits of a route, in addition to those for all requests.
pub(super) fn of_block(http: &Scope, scope: &Scope, route: &mut Table, output: &mut Output) {
    let limits = scope.all("limit_req");
    let ids = |limits: &[&Directive]| limits.iter().map(|limit| limit.id).collect::<Vec<_>>();
    if ids(&limits) != ids(&http.all("limit_req")) {
        for limit in limits {
            if let Some(name) = rate(http, scope, limit, output) {
                route.push("rate_limit", Item::new(name, Some(limit)));
            }
        }
    }
    for limit in scope.all("limit_conn") {
        let Some(key) = zone_key(http, "limit_conn_zone", limit.arg(0)) else {
            output.notes.unlimited(limit, "There is no such zone.");
            continue;
        };
        if is_client(key) {
            continue;
        }
        match limit.arg(1).parse::<u64>() {
            Ok(number) if key == "$server_name" && number > 0 => {
                output.notes.differs(
                    limit,
                    "Each route has its own number of requests at a time.",
                );
                route.set("max_requests", number, Some(limit));
            }
            _ => output.notes.unlimited(
                limit,
                "Requests at a time are counted by client (`limits`) or by route.",
            ),
        }
    }
}

fn is_client(key: &str) -> bool {
    matches!(key, "$binary_remote_addr" | "$remote_addr")
}

fn zone<'s>(http: &Scope<'s>, kind: &str, name: &str) -> Option<&'s Directive> {
    http.here(kind).find(|zone| {
        let named = zone.args.iter().find_map(|arg| arg.strip_prefix("zone="));
        named.and_then(|named| named.split(':').next()) == Some(name)
    })
}

fn zone_key<'s>(http: &Scope<'s>, kind: &str, name: &str) -> Option<&'s str> {
    Some(zone(http, kind, name)?.arg(0))
}

/// Registers the `[[rate_limit]]` of a `limit_req`. Returns its name.
fn rate(http: &Scope, scope: &Scope, limit: &Directive, output: &mut Output) -> Option<String> {
    output.notes.carried(limit);
    let setting = |name: &str| limit.args.iter().find_map(|arg| arg.strip_prefix(name));
    let name = setting("zone=").unwrap_or_default();
    let Some(zone) = zone(http, "limit_req_zone", name) else {
        output.notes.unlimited(limit, "There is no such zone.");
        return None;
    };
    let Some(key) = key(zone.arg(0), zone, output) else {
        let why = format!(
            "Rates are counted by client, by country, by route or by a header, and by no {}.",
            zone.arg(0)
        );
        output.notes.unlimited(limit, why);
        return None;
    };
    let rate = zone.args.iter().find_map(|arg| arg.strip_prefix("rate="));
    let Some(rate) = rate.and_then(in_time) else {
        let why = format!("The zone in line {} has no rate.", zone.place.line);
        output.notes.unlimited(limit, why);
        return None;
    };
    // nginx's burst does not count the first request, geogate's does.
    let burst = setting("burst=")
        .and_then(|burst| burst.parse::<u64>().ok())
        .unwrap_or(0);
    let is_delayed = burst > 0 && !limit.args.iter().any(|arg| arg == "nodelay");
    if is_delayed {
        let why = "Requests of a burst are served at once; nginx lets them wait.";
        output.notes.minor(limit, why);
    }
    let mut table = Table::new("rate_limit", Some(zone));
    if key != "client_ip" {
        table.set("key", key, Some(zone));
    }
    table.set("rate", rate, Some(zone));
    table.set("burst", burst.saturating_add(1), Some(limit));
    if let Some(dry) = scope.one("limit_req_dry_run") {
        output.notes.carried(dry);
        if dry.arg(0) == "on" {
            table.set("dry_run", true, Some(dry));
        }
    }
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "-_.".contains(c) {
            c
        } else {
            '-'
        }
    };
    let name: String = name.chars().map(plain).collect();
    Some(output.document.register("rate_limit", &table, |number| {
        super::upstream::numbered(&name, number)
    }))
}

/// Converts a rate such as `10r/s` to `10/s`.
fn in_time(rate: &str) -> Option<String> {
    let of = |unit: &str, short: &str| Some(format!("{}/{short}", rate.strip_suffix(unit)?));
    of("r/s", "s").or_else(|| of("r/m", "m"))
}

fn key(key: &str, zone: &Directive, output: &mut Output) -> Option<String> {
    if is_client(key) {
        return Some("client_ip".to_owned());
    }
    if matches!(key, "$server_name" | "$host") {
        let why = "Each route has its own count.";
        output.notes.differs(zone, why);
        return Some("route".to_owned());
    }
    if key == "$geoip_country_code" {
        return Some("country".to_owned());
    }
    let header = key.strip_prefix("$http_")?;
    let is_name = header
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is_name {
        let why = "Requests without the header are counted by address; nginx does not count them.";
        output.notes.differs(zone, why);
    }
    is_name.then(|| format!("header:{}", header.replace('_', "-")))
}
