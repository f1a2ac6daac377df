//! Headers of requests to upstreams and of responses to clients.

use super::tls;
use super::upstream_protocol;
use super::variables::{Variables, no_variable};
use crate::config::model::Expires;
use crate::nginx::Output;
use crate::nginx::document::Table;
use crate::nginx::document::{Entry, Item, Value};
use crate::nginx::scope::Scope;
use crate::nginx::tree::Directive;

/// Headers that geogate writes itself, and the values in nginx that mean the same.
const ALWAYS: [(&str, &[&str]); 9] = [
    ("host", &["$http_host"]),
    ("x-real-ip", &["$remote_addr"]),
    (
        "x-forwarded-for",
        &["$proxy_add_x_forwarded_for", "$remote_addr"],
    ),
    ("x-forwarded-proto", &["$scheme"]),
    ("x-forwarded-host", &["$host", "$http_host"]),
    (
        "connection",
        &[
            "",
            "upgrade",
            "Upgrade",
            "$connection_upgrade",
            "keep-alive",
            "$http_connection",
        ],
    ),
    ("upgrade", &["$http_upgrade"]),
    ("te", &["trailers"]),
    ("content-length", &["$content_length"]),
];

/// Other headers that no rule may change, because upstreams trust them.
const MANAGED: [&str; 5] = [
    "x-forwarded-port",
    "x-forwarded-server",
    "forwarded",
    "x-forwarded",
    "true-client-ip",
];

/// Headers of upstreams that nginx passes to no client, even where it ignores them.
const ACCEL: [&str; 5] = [
    "X-Accel-Redirect",
    "X-Accel-Expires",
    "X-Accel-Limit-Rate",
    "X-Accel-Buffering",
    "X-Accel-Charset",
];

/// Sets a route's headers to its upstream: `request_headers`.
pub(super) fn to_upstream(
    scope: &Scope,
    family: &str,
    variables: &Variables,
    route: &mut Table,
    output: &mut Output,
) {
    let mut rules = Rules::default();
    for header in scope.all(family) {
        let (name, value) = (header.arg(0), header.arg(1));
        let lower = name.to_ascii_lowercase();
        let managed = ALWAYS.iter().find(|(known, _)| *known == lower);
        let is_managed = managed.is_some() || MANAGED.contains(&lower.as_str());
        if lower == "host" && value == "$proxy_host" {
            // It is the default, which is set with the upstream.
            output.notes.carried(header);
        } else if lower == "x-forwarded-proto"
            && (value == "$http_x_forwarded_proto" || is_forwarded_proto(value, scope, output))
        {
            let why = "What a client says of its protocol is passed on from `client_ip.trusted_proxies` \
                       alone; from others it is how they connect to geogate.";
            output.notes.differs(header, why);
        } else if lower == "x-forwarded-host" && value == "$host" {
            let why = "As the client sent it, with its port and its capitals.";
            output.notes.minor(header, why);
        } else if managed.is_some_and(|(_, values)| values.contains(&value))
            || lower == "connection" && variables.is_of_upgrade(value)
        {
            output.notes.needless(header, "Always.");
        } else if is_managed && lower != "host" {
            output.notes.lost(
                header,
                "geogate writes this header itself, from what it knows of the client.",
            );
        } else if value.is_empty() {
            output.notes.carried(header);
            rules.remove.push(Item::new(name, Some(header)));
        } else {
            rules.set(name, value, header, scope, variables, output);
        }
    }
    rules.write("request_headers", route);
}

/// Returns `true` for a variable of a `map` that is the client's `X-Forwarded-Proto`, or the scheme of its
/// connection if there is none or an unknown one. Then the map is handled as well.
fn is_forwarded_proto(value: &str, scope: &Scope, output: &mut Output) -> bool {
    let is_it = |map: &&Directive| map.arg(0) == "$http_x_forwarded_proto" && map.arg(1) == value;
    let mut levels = scope.chain();
    let Some(map) = levels.find_map(|level| level.here("map").find(is_it)) else {
        return false;
    };
    let is_kept = |entry: &Directive| match (entry.name.as_str(), entry.arg(0)) {
        ("default", "$http_x_forwarded_proto" | "$scheme") | ("", "$scheme") => true,
        (name, to) => name == to && matches!(name, "http" | "https"),
    };
    let is_same = map.inside().iter().all(is_kept);
    if is_same {
        output.notes.carried(map);
        super::silence(map, output);
    }
    is_same
}

/// Sets a route's headers to clients: `response_headers`. `hsts` is the header that is in `[tls]`.
pub(super) fn to_client(
    scope: &Scope,
    hsts: Option<&Directive>,
    variables: &Variables,
    route: &mut Table,
    output: &mut Output,
) {
    let mut rules = Rules::default();
    for (family, pass) in [
        ("proxy_hide_header", Some("proxy_pass")),
        ("grpc_hide_header", Some("grpc_pass")),
        ("fastcgi_hide_header", Some("fastcgi_pass")),
        ("more_clear_headers", None),
    ] {
        // Only what an upstream answers is hidden.
        if pass.is_some_and(|pass| scope.here(pass).next().is_none()) {
            continue;
        }
        for hidden in scope.all(family) {
            output.notes.carried(hidden);
            for name in &hidden.args {
                rules.remove.push(Item::new(name.as_str(), Some(hidden)));
            }
        }
    }
    let is_ignored = |family: &&str| upstream_protocol::ignores_redirects(scope, family).is_some();
    if ["proxy", "fastcgi"].iter().any(is_ignored) && route.get("upstream").is_some() {
        for name in ACCEL {
            rules.remove.push(Item::new(name, None));
        }
    }
    for header in scope.all("add_header") {
        let is_of_tls = hsts.is_some_and(|hsts| hsts.arg(1) == header.arg(1));
        if is_of_tls && tls::is_hsts(header) {
            output.notes.carried(header);
        } else {
            rules.add(header, scope, variables, output);
        }
    }
    if let Some(expires) = scope.one("expires") {
        self::expires(expires, route, output);
    }
    rules.write("response_headers", route);
}

/// Adds the `Host` that a route's upstream gets, before its other headers.
pub(super) fn set_host(host: &str, from: &Directive, route: &mut Table) {
    set_host_template(&host.replace('$', "$$"), from, route);
}

/// Same as [`set_host`], for a template.
pub(super) fn set_host_template(host: &str, from: &Directive, route: &mut Table) {
    let mut rules = match route.get("request_headers") {
        Some(Value::Inline(entries)) => entries.clone(),
        _ => Vec::new(),
    };
    let entry = Entry::new("Host", host, Some(from));
    match rules.iter_mut().find(|rule| rule.key == "set") {
        Some(Entry {
            value: Value::Inline(set),
            ..
        }) => set.insert(0, entry),
        _ => rules.insert(0, Entry::new("set", Value::Inline(vec![entry]), None)),
    }
    route.set("request_headers", Value::Inline(rules), None);
}

/// Changes to headers.
#[derive(Default)]
struct Rules {
    set: Vec<Entry>,
    remove: Vec<Item>,
    /// Lines that are added to every response.
    always: Vec<Entry>,
    /// Lines that are added to successful responses.
    on_success: Vec<Entry>,
}

impl Rules {
    /// Adds the line of an `add_header`.
    fn add(
        &mut self,
        header: &Directive,
        scope: &Scope,
        variables: &Variables,
        output: &mut Output,
    ) {
        output.notes.carried(header);
        if header.arg(0).eq_ignore_ascii_case("content-length") {
            let why = "The length is that of the body.";
            return output.notes.needless(header, why);
        }
        let value = match variables.template(header.arg(1), scope) {
            Ok(value) => value,
            Err(missing) => {
                let why = no_variable(&missing);
                return output.notes.lost(header, why);
            }
        };
        let lines = match header.arg(2) {
            "always" => &mut self.always,
            _ => &mut self.on_success,
        };
        let name = header.arg(0);
        let item = Item::new(value.as_str(), Some(header));
        let mut known = lines.iter_mut();
        match known.find(|old| old.key.eq_ignore_ascii_case(name)) {
            None => lines.push(Entry::new(name, value, Some(header))),
            Some(Entry {
                value: Value::List(list),
                ..
            }) => list.push(item),
            Some(old) => {
                let first = std::mem::replace(&mut old.value, Value::List(Vec::new()));
                old.value = Value::List(vec![Item::new(first, None), item]);
            }
        }
    }

    fn set(
        &mut self,
        name: &str,
        value: &str,
        from: &Directive,
        scope: &Scope,
        variables: &Variables,
        output: &mut Output,
    ) {
        output.notes.carried(from);
        match variables.template(value, scope) {
            Ok(value) => {
                let entry = Entry::new(name, value, Some(from));
                match self
                    .set
                    .iter_mut()
                    .find(|old| old.key.eq_ignore_ascii_case(name))
                {
                    Some(old) => {
                        output
                            .notes
                            .differs(from, "A header is set once; the last one counts.");
                        *old = entry;
                    }
                    None => self.set.push(entry),
                }
            }
            Err(missing) => {
                output.notes.lost(from, no_variable(&missing));
            }
        }
    }

    fn write(self, key: &str, route: &mut Table) {
        let mut entries = Vec::new();
        let mut table = |name: &str, content: Vec<Entry>| {
            if !content.is_empty() {
                entries.push(Entry::new(name, Value::Inline(content), None));
            }
        };
        table("set", self.set);
        table("add", self.always);
        if !self.on_success.is_empty() {
            let added = Entry::new("add", Value::Inline(self.on_success), None);
            table("on_success", vec![added]);
        }
        if !self.remove.is_empty() {
            entries.push(Entry::new("remove", Value::List(self.remove), None));
        }
        if !entries.is_empty() {
            route.set(key, Value::Inline(entries), None);
        }
    }
}

fn expires(expires: &Directive, route: &mut Table, output: &mut Output) {
    let text = expires.args.join(" ");
    if text == "off" {
        return output.notes.carried(expires);
    }
    match Expires::parse(&text) {
        Ok(time) => {
            output.notes.carried(expires);
            if matches!(time, Expires::Daily(_)) {
                output
                    .notes
                    .minor(expires, "A time of the day is that of UTC.");
            }
            route.set("expires", text, Some(expires));
        }
        Err(_) => output.notes.lost(
            expires,
            "Only times, `epoch`, `max` and `off` are carried over, no variables.",
        ),
    }
}
