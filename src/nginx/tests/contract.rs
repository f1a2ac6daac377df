//! Contract of the translation: each construct of nginx.conf is carried over exactly, listed with
//! its line, or closed. Each row is a configuration, its grade with the lines of its findings, and
//! the answers to requests.

mod auth;
mod errors;
mod files;
mod guards;
mod limits;
mod locations;
mod redirects;
mod servers;
mod upstreams;
mod variables;

use super::{read, translated_text};
use crate::config::model::{
    Action, Found, HeaderCondition, HeaderPattern, HostPattern, ListenerPattern, Mapped,
    OwnVariable, Part, PathPattern, Priority, RequestVariable, Route, RouteConditions, Satisfy,
    UpstreamChoice, Variable,
};
use crate::nginx::Translation;

/// Grade of a translation.
#[derive(Debug, PartialEq, Eq)]
enum Grade {
    /// Exit status 0.
    Exact,
    /// Exit status 3, with findings in these lines.
    Lossy(&'static [u32]),
    /// Exit status 3; the first findings are about what is closed, in these lines.
    Closed(&'static [u32]),
}

use Grade::{Closed, Exact, Lossy};

/// Checks the translation of `http { TEXT }`. A request is `/path` or `host/path`.
#[track_caller]
fn check_http(text: &str, grade: &Grade, requests: &[(&str, &str)]) {
    let translation = translated_text(&format!("http {{ {text} }}")).unwrap();
    let found = graded(&translation);
    let lines = |grade: &Grade| match grade {
        Exact => Vec::new(),
        Lossy(lines) | Closed(lines) => lines.to_vec(),
    };
    let is_same = std::mem::discriminant(grade) == std::mem::discriminant(&found.0);
    let has_lines = lines(grade).iter().all(|line| found.1.contains(line));
    assert!(
        is_same && has_lines,
        "{grade:?} is expected of\n{text}\n{found:#?}\n{}",
        translation.toml
    );
    let config = read(&translation.toml);
    for (request, expected) in requests {
        let (host, path) = request.split_at(request.find('/').unwrap());
        let answer = answer(&config.routes, host, path);
        assert_eq!(
            answer, *expected,
            "{request} of\n{text}\n{}",
            translation.toml
        );
    }
}

/// Checks the translation of a server that listens on port 80.
#[track_caller]
fn check(text: &str, grade: &Grade, requests: &[(&str, &str)]) {
    check_http(&format!("server {{ listen 80; {text} }}"), grade, requests);
}

/// Returns the grade, the lines of the findings that decide it, and all findings.
fn graded(translation: &Translation) -> (Grade, Vec<u32>, Vec<String>) {
    let line = |finding: &&String| -> u32 { finding.split(':').nth(1).unwrap().parse().unwrap() };
    let all = translation.findings.clone();
    let closed: Vec<u32> = all
        .iter()
        .filter(|finding| finding.contains(": closed: "))
        .map(|finding| line(&finding))
        .collect();
    assert_eq!(closed.len(), translation.closed);
    let unlimited = all
        .iter()
        .filter(|finding| finding.contains(": not limited: "));
    assert_eq!(unlimited.count(), translation.unlimited);
    assert_eq!(
        translation.unlimited > 0,
        translation.toml.contains("\n# Not limited."),
        "{}",
        translation.toml
    );
    let is_first = all
        .iter()
        .take(closed.len())
        .all(|one| one.contains(": closed: "));
    assert!(is_first, "{all:?}");
    if translation.closed > 0 {
        assert!(
            translation.toml.contains("\n# Closed."),
            "{}",
            translation.toml
        );
        return (Closed(&[]), closed, all);
    }
    let lines = all.iter().map(|finding| line(&finding)).collect();
    let grade = if all.is_empty() { Exact } else { Lossy(&[]) };
    (grade, lines, all)
}

/// Finds the answer to a request by a search of all routes, based on nothing but the documented
/// order.
///
/// Behind the path a request may have one header: `/a|name: value`; before the host, the port of the
/// listener: `81@a.example/`.
fn answer(routes: &[Route], host: &str, path: &str) -> String {
    if routes.is_empty() {
        return "upstream 0".to_owned();
    }
    let (port, host) = host.split_once('@').unwrap_or(("80", host));
    let (path, header) = path.split_once('|').unwrap_or((path, ""));
    let request = Request {
        port,
        host,
        path,
        header,
    };
    let by_path = routes.iter().enumerate();
    let by_path = by_path.filter(|(_, route)| !route.conditions.is_by_name());
    let ranked = by_path.filter_map(|(number, route)| {
        let rank = request.rank(&route.conditions)?;
        Some((rank, usize::MAX - number, &routes[number]))
    });
    let ranked: Vec<_> = ranked.collect();
    let best = ranked.iter().max_by_key(|(rank, place, _)| (*rank, *place));
    let Some(&(rank, _, mut route)) = best else {
        return "404".to_owned();
    };
    if route.conditions.priority == Priority::BelowRegex {
        let is_regex = |route: &Route| matches!(route.conditions.path, PathPattern::Regex(_));
        let mut others = ranked.iter().filter(|(other, ..)| other[0] == rank[0]);
        route = others
            .find(|(.., route)| is_regex(route))
            .map_or(route, |(.., route)| route);
    }
    if route.conditions.internal {
        return "404".to_owned();
    }
    let password = match (route.limits.auth.is_empty(), route.limits.satisfy) {
        (true, _) => "",
        (false, Satisfy::All) => "password ",
        (false, Satisfy::Any) => "or password ",
    };
    let guard = if route.limits.refs.access.is_empty() {
        ""
    } else {
        "guarded "
    };
    let action = match &route.action {
        Action::Upstream {
            choice: UpstreamChoice::One(number),
            ..
        } => format!("upstream {number}"),
        Action::Upstream {
            choice: UpstreamChoice::By { variable, values },
            ..
        } => {
            let name = request.own_value(variable);
            let chosen = values.iter().find(|(value, _)| *value == name);
            format!("upstream {}", chosen.unwrap().1)
        }
        Action::Files { files, .. } => {
            let name = files
                .root
                .file_name()
                .unwrap()
                .to_string_lossy()
                .into_owned();
            format!("files {name} {}", files.index.join(","))
        }
        Action::Reroute { .. } => "reroute".to_owned(),
        Action::Redirect { status, .. } | Action::Respond { status, .. } => format!("{status}"),
    };
    format!("{guard}{password}{action}")
}

/// Request of a client.
struct Request<'r> {
    port: &'r str,
    host: &'r str,
    path: &'r str,
    header: &'r str,
}

impl Request<'_> {
    /// Specificity of a route that takes the request: of host, priority, path and conditions.
    fn rank(&self, route: &RouteConditions) -> Option<[usize; 4]> {
        let hosts = route.hosts.iter().filter_map(|pattern| match pattern {
            HostPattern::Exact(name) => (name == self.host).then_some(1000),
            HostPattern::Suffix(end) => self.host.ends_with(&**end).then_some(500 + end.len()),
            HostPattern::Prefix(begin) => {
                self.host.starts_with(&**begin).then_some(100 + begin.len())
            }
            HostPattern::Regex(regex) => regex.is_match(self.host.as_bytes()).then_some(1),
        });
        let of_host = if route.hosts.is_empty() {
            0
        } else {
            hosts.max()?
        };
        let path = self.path.split('?').next().unwrap_or_default();
        let matches = |regexes: &[regex::bytes::Regex]| {
            regexes.iter().all(|regex| regex.is_match(path.as_bytes()))
        };
        let (of_path, in_order) = match &route.path {
            PathPattern::Any => (0, false),
            PathPattern::Regex(regexes) => (matches(regexes).then_some(1)?, true),
            PathPattern::Prefix(prefix) => {
                let rest = path.strip_prefix(prefix.text.as_str())?;
                let is_whole = !prefix.whole_segments
                    || prefix.text.ends_with('/')
                    || rest.is_empty()
                    || rest.starts_with('/');
                let has_regex = !prefix.regexes.is_empty();
                let is_met = is_whole && matches(&prefix.regexes);
                let rank = 2 + 2 * prefix.text.len() + usize::from(has_regex);
                (is_met.then_some(rank)?, has_regex)
            }
            PathPattern::Exact(exact) => ((path == exact).then_some(1000)?, false),
        };
        let takes_get = route.methods.is_empty() || route.methods.contains(&http::Method::GET);
        let is_here = |pattern: &ListenerPattern| match pattern {
            ListenerPattern::Address(address) => address.port().to_string() == self.port,
            ListenerPattern::Port(port) => port.to_string() == self.port,
        };
        let takes = takes_get
            && route.headers.iter().all(|condition| self.has(condition))
            && route.variables.iter().all(|condition| {
                let value = self.value(&condition.variable);
                match &condition.value {
                    HeaderPattern::Exact(text) => *text == value,
                    HeaderPattern::Regex(regex) => regex.is_match(value.as_bytes()),
                }
            })
            && route.tls.is_none_or(|tls| tls == (self.port == "443"))
            && (route.listeners.is_empty() || route.listeners.iter().any(is_here));
        let is_first = route.priority == Priority::First;
        let conditions = if in_order || is_first {
            0
        } else {
            route.count()
        };
        let of_path = if is_first { 0 } else { of_path };
        takes.then_some([of_host, usize::from(is_first), of_path, conditions])
    }

    /// Value of a variable of the request.
    fn value(&self, variable: &RequestVariable) -> String {
        let (path, query) = self.path.split_once('?').unwrap_or((self.path, ""));
        let header = |name: &str| {
            let value = self.header.strip_prefix(name);
            value.and_then(|rest| rest.strip_prefix(": ")).unwrap_or("")
        };
        let pair = |text: &str, end: char, name: &str| {
            let mut pairs = text
                .split(end)
                .filter_map(|pair| pair.trim().split_once('='));
            let found = pairs.find(|(key, _)| *key == name);
            found.map_or("", |(_, value)| value).to_owned()
        };
        match variable {
            RequestVariable::Host => self.host.to_owned(),
            RequestVariable::Uri => path.to_owned(),
            RequestVariable::Args => query.to_owned(),
            RequestVariable::RequestUri => self.path.to_owned(),
            RequestVariable::RequestMethod => "GET".to_owned(),
            RequestVariable::RemoteAddr => "127.0.0.1".to_owned(),
            RequestVariable::Scheme if self.port == "443" => "https".to_owned(),
            RequestVariable::Scheme => "http".to_owned(),
            RequestVariable::Http(name) => header(name).to_owned(),
            RequestVariable::Arg(name) => pair(query, '&', name),
            RequestVariable::Cookie(name) => pair(header("cookie"), ';', name),
            RequestVariable::Own(own) => self.own_value(own),
            _ => String::new(),
        }
    }

    fn own_value(&self, own: &OwnVariable<Variable>) -> String {
        let of = |variable: &Variable| match variable {
            Variable::Request(variable) => self.value(variable),
            Variable::Response(_) => String::new(),
        };
        let source: String = own
            .source
            .iter()
            .map(|part| match part {
                Part::Text(text) => text.clone(),
                Part::Variable(variable) => of(variable),
            })
            .collect();
        let (parts, groups) = match own.table.find(source.as_bytes()) {
            Found::Source => return source,
            Found::Value(at, groups) => (&own.values[at], groups),
            Found::Default => (&own.default, None),
        };
        let parts = parts.iter().map(|part| match part {
            Part::Text(text) => text.clone(),
            Part::Variable(Mapped::Variable(variable)) => of(variable),
            Part::Variable(Mapped::Group(group)) => {
                let group = groups.as_ref().and_then(|groups| groups.get(*group));
                let group = group.map(|group| group.as_bytes()).unwrap_or_default();
                String::from_utf8_lossy(group).into_owned()
            }
        });
        parts.collect()
    }

    fn has(&self, condition: &HeaderCondition) -> bool {
        let value = self.header.strip_prefix(condition.name.as_str());
        let value = value.and_then(|rest| rest.strip_prefix(": "));
        value.is_some_and(|value| match &condition.value {
            HeaderPattern::Exact(text) => text == value,
            HeaderPattern::Regex(regex) => regex.is_match(value.as_bytes()),
        })
    }
}

const OFF: &str = "proxy_set_header Host $http_host; proxy_redirect off;";

#[test]
fn what_forbids_is_closed() {
    for guard in [
        "auth_digest x;",
        "auth_request /auth;",
        "auth_jwt x;",
        "secure_link $arg_a;",
        "access_by_lua_block { return }",
        "rewrite_by_lua_file f;",
        "modsecurity on;",
        "teapot_login on;",
        "include snippets/auth.conf;",
        "if ($bad) { return 403; }",
        "if ($http_cf_connecting_ip = 192.0.2.1) { return 403; }",
        "if ($http_a ~ (?<!x)y) { return 403; }",
        "if ($request_body = x) { return 403; }",
        "if ($http_a = x) { return 403; proxy_pass http://a; }",
        "if (-f $request_filename) { return 403; }",
        "valid_referers none; if ($invalid_referer) { return 403; }",
        "if ($http_a = $host) { return 403; }",
    ] {
        let of_location = format!("root w;\nlocation /a/ {{\n {guard} }}\nlocation /b/ {{ }}");
        check(
            &of_location,
            &Closed(&[3]),
            &[("/a/x", "403"), ("/b/x", "files w index.html")],
        );
        let of_server = format!("root w;\n{guard}\nlocation /a/ {{ }} location = /c {{ }}");
        check(
            &of_server,
            &Closed(&[2]),
            &[("/a/x", "403"), ("/c", "403"), ("/d", "403")],
        );
    }
}

#[test]
fn passwords_may_be_off_in_a_location() {
    let text = "root w;\nauth_basic x;\nlocation /open/ { auth_basic off; }\nlocation / { }";
    let expected = [("/open/x", "files w index.html"), ("/x", "403")];
    check(text, &Closed(&[2]), &expected);
}

#[test]
fn an_answer_of_a_location_is_exact() {
    let text = "root w; location /a/ { return 403; } location = /b { return 404; } \
                location ~ \\.sql$ { deny all; }";
    let expected = [
        ("/a/x", "403"),
        ("/b", "404"),
        ("/c.sql", "guarded files w index.html"),
        ("/a/c.sql", "guarded files w index.html"),
        ("/d", "files w index.html"),
    ];
    check(text, &Exact, &expected);
    check(
        "location / {\n return 444; }",
        &Lossy(&[2]),
        &[("/", "403")],
    );
    check(
        "location / { deny 192.0.2.1;\n return 200 a; }",
        &Lossy(&[2]),
        &[("/", "guarded 200")],
    );
}

#[test]
fn rules_of_addresses_are_of_the_innermost_block() {
    let text =
        "deny 192.0.2.0/24; root w; location /a/ { allow 10.0.0.0/8; deny all; } location / { }";
    let toml = translated_text(&format!("http {{ server {{ {text} }} }}"))
        .unwrap()
        .toml;
    for rules in [
        "rules = [{ allow = [\"10.0.0.0/8\"] }]\ndefault = \"deny\"",
        "rules = [{ deny = [\"192.0.2.0/24\"] }]\ndefault = \"allow\"",
    ] {
        assert!(toml.contains(rules), "{toml}");
    }
    check(text, &Exact, &[("/a/x", "guarded files w index.html")]);
    // A location's `allow` replaces the rules of the blocks around it, those of `http` included.
    check_http(
        "deny all; server { listen 80; root w; location /a/ { allow all; } location / { } }",
        &Exact,
        &[
            ("/a/x", "guarded files w index.html"),
            ("/x", "guarded files w index.html"),
        ],
    );
}

#[test]
fn the_server_guards_paths_of_no_location() {
    check(
        "root w; deny 192.0.2.1; location /a/ { root v; }",
        &Exact,
        &[("/x", "guarded files w index.html")],
    );
}

#[test]
fn what_is_not_known_of_clients_closes_rules() {
    for (header, closes) in [
        ("real_ip_header Host;", true),
        (
            "real_ip_header X-Forwarded-For; real_ip_recursive on;",
            false,
        ),
    ] {
        let text = format!(
            "set_real_ip_from 10.0.0.0/8; {header} server {{ listen 80; root w; \
             location /a/ {{ allow 10.0.0.0/8; deny all; }} location / {{ }} }}"
        );
        let (grade, answer) = if closes {
            (Closed(&[1]), "403")
        } else {
            (Exact, "guarded files w index.html")
        };
        check_http(
            &text,
            &grade,
            &[("/a/x", answer), ("/x", "files w index.html")],
        );
    }
    check_http(
        "set_real_ip_from 10.0.0.0/8;\nreal_ip_header X-Forwarded-For; server { root w; }",
        &Lossy(&[1]),
        &[],
    );
}

#[test]
fn what_clients_or_upstreams_see_is_exact_or_listed() {
    let proxied = format!("{OFF} location / {{ proxy_pass http://a; @ }}");
    for exact in [
        "",
        "proxy_read_timeout 3s;",
        "proxy_http_version 1.1; proxy_buffering off;",
        "proxy_hide_header X-A; add_header X-A b always;",
        "proxy_redirect ~^http://a/(.*)$ /$1;",
        "proxy_cookie_path / /a; proxy_cookie_domain off; proxy_cookie_flags a secure;",
        "access_log off;",
        "if ($host = a) { add_header X b; }",
        "proxy_redirect http://a:$server_port/ /;",
        "proxy_ignore_headers X-Accel-Redirect;",
        "proxy_intercept_errors on;",
        "error_page 404 /404.html;",
        "error_page 404 =200 /404.html; proxy_intercept_errors on;",
        "error_page 401 403 =303 https://a/;",
    ] {
        check(&proxied.replace('@', exact), &Exact, &[("/", "upstream 0")]);
    }
    for listed in [
        "proxy_redirect ~^http://a/(?=x) /;",
        "proxy_cookie_path ~(?=x) /a;",
        "proxy_cookie_domain a $nothing;",
        "proxy_cookie_flags $arg_a secure;",
        "proxy_method GET;",
        "proxy_pass_request_headers off;",
        "proxy_cache z;",
        "proxy_next_upstream error non_idempotent;",
        "mirror /m;",
        "sub_filter a b;",
        "charset utf-8;",
        "error_page 502 = @b;",
        "more_set_headers 'A: b';",
        "add_trailer A b;",
        "limit_req zone=none;",
    ] {
        let text = proxied.replace('@', &format!("\n{listed}"));
        check(&text, &Lossy(&[2]), &[("/", "upstream 0")]);
    }
    for other in [
        "fastcgi_pass a;",
        "uwsgi_pass a;",
        "scgi_pass a;",
        "memcached_pass a;",
        "stub_status;",
        "dav_methods PUT;",
        "empty_gif;",
        "content_by_lua_block { }",
        "js_content a;",
        "proxy_pass http://unix:x;",
        "proxy_pass http://$arg_a;",
        "return 302 $limit_rate;",
    ] {
        let text = format!("location /a/ {{\n{other} }}");
        check(&text, &Lossy(&[2]), &[("/a/x", "501")]);
    }
}

#[test]
fn methods_for_some_leave_the_others_out() {
    let text =
        format!("{OFF} location /a/ {{ limit_except GET {{ deny all; }} proxy_pass http://a; }}");
    check(&text, &Exact, &[("/a/x", "upstream 0")]);
    let text = format!(
        "{OFF} location /a/ {{\nlimit_except GET {{ allow 10.0.0.1; deny all; }} proxy_pass http://a; }}"
    );
    check(&text, &Closed(&[2]), &[("/a/x", "upstream 0")]);
    let text = format!(
        "{OFF} location /a {{\nlimit_except GET {{ deny all; }} proxy_pass http://a; }} location ~ x {{ return 403; }}"
    );
    check(&text, &Exact, &[("/a/b", "upstream 0"), ("/a/x", "403")]);
    let text =
        format!("{OFF} location ~ x {{ limit_except POST {{ deny all; }} proxy_pass http://a; }}");
    check(&text, &Exact, &[("/x", "403")]);
}

#[test]
fn what_cannot_be_included_is_listed() {
    check(
        "include /nonexistent/x.conf;",
        &Closed(&[1]),
        &[("/", "403")],
    );
    check(
        "location / { include fastcgi_params;\nfastcgi_pass a; }",
        &Lossy(&[2]),
        &[("/", "501")],
    );
    check_http(
        "include /nonexistent/*.conf; server { return 200 a; }",
        &Lossy(&[1]),
        &[("/", "200")],
    );
    check_http(
        "include /*.none; server { return 200 a; }",
        &Exact,
        &[("/", "200")],
    );
}

#[test]
fn what_geogate_refuses_closes_what_it_guards() {
    check(
        "root w; location /a/ { allow\n300.1.1.1; deny all; } location / { }",
        &Closed(&[1]),
        &[("/a/x", "403"), ("/x", "files w index.html")],
    );
    check_http(
        "deny 300.1.1.1; server { root w; }",
        &Closed(&[1]),
        &[("/", "403")],
    );
    check(
        "location /a/ { return 999; } location / { return 200 a; }",
        &Lossy(&[1]),
        &[("/a/", "501")],
    );
}

#[test]
fn a_path_that_is_passed_on_is_written_anew() {
    let text = "location / { proxy_pass http://a/; } location /b/ { proxy_pass http://a/b/; }";
    let toml = translated_text(&format!("http {{ server {{ {OFF} {text} }} }}"))
        .unwrap()
        .toml;
    for part in ["rewrite = \"/\"", "rewrite = \"/b/\""] {
        assert!(toml.contains(part), "{toml}");
    }
}

#[test]
fn a_country_guards_where_it_is_the_same() {
    let text = |settings: &str, condition: &str| {
        format!(
            "geoip2 f.mmdb {{ $cc {settings} country iso_code; }} \
             server {{ listen 80; root w;\nif ({condition}) {{ return 403; }} location / {{ }} }}"
        )
    };
    let guarded = [("/", "guarded files w index.html")];
    check_http(&text("", "$cc != CN"), &Exact, &guarded);
    check_http(&text("default=ZZ", "$cc = CN"), &Lossy(&[1]), &guarded);
    check_http(&text("", "$cc !~* ^(cn|us)$"), &Exact, &guarded);
    // Codes are upper case, so `=` and `~` are never true for lower case.
    for (condition, answer) in [
        ("$cc != cn", "403"),
        ("$cc = cn", "files w index.html"),
        ("$cc ~ cn", "files w index.html"),
    ] {
        check_http(&text("", condition), &Exact, &[("/", answer)]);
    }
    // Otherwise clients of unknown country would be admitted, or another address would be looked
    // up.
    check_http(
        &text("default=RU", "$cc = RU"),
        &Closed(&[2]),
        &[("/", "403")],
    );
    check_http(
        &text("source=$http_a", "$cc = RU"),
        &Closed(&[2]),
        &[("/", "403")],
    );
}

#[test]
fn a_table_guards_where_its_values_are_compared_whole() {
    let text = |value: &str, condition: &str| {
        format!(
            "geo $deny {{ default 0; 10.0.0.0/8 {value}; }} \
             server {{ listen 80; root w;\nif ({condition}) {{ return 403; }} location / {{ }} }}"
        )
    };
    let guarded = [("/", "guarded files w index.html")];
    check_http(&text("1", "$deny"), &Exact, &guarded);
    check_http(&text("no", "$deny = no"), &Exact, &guarded);
    // A part of the value matches, or a value that looks like a variable.
    for (value, condition) in [("nono", "$deny ~ no"), ("$uri", "$deny = 1")] {
        let open = [("/", "files w index.html")];
        check_http(&text(value, condition), &Exact, &open);
    }
}

#[test]
fn what_nginx_does_unasked_is_written() {
    let text = "gzip on; server { listen 80; location / { proxy_set_header Host $http_host; \
                proxy_redirect off; proxy_pass http://a; } }";
    check_http(text, &Exact, &[("/", "upstream 0")]);
    let toml = translated_text(&format!("http {{ {text} }}")).unwrap().toml;
    for part in [
        "max_body_size = \"1m\"",
        "algorithms = [\"gzip\"]",
        "types = [\"text/html\"]",
        "min_size = \"20\"",
        "\"PROPFIND\"",
    ] {
        assert!(toml.contains(part), "{toml}");
    }
}

#[test]
fn certificates_of_clients_are_asked_of_all() {
    let site = |name: &str, more: &str| {
        format!(
            "server {{ listen 443 ssl; server_name {name}; ssl_certificate c; ssl_certificate_key k; \
             root w; {more} }}"
        )
    };
    let asking = "ssl_verify_client on; ssl_client_certificate a.pem;";
    let text = format!("{}\n{}", site("a", ""), site("b", asking));
    check_http(&text, &Lossy(&[2]), &[("b/", "files w index.html")]);
    let toml = translated_text(&format!("http {{ {text} }}")).unwrap().toml;
    assert!(toml.contains("client_auth = \"required\""), "{toml}");
    let other = asking.replace("a.pem", "b.pem");
    let text = format!("{}\n{}", site("a", asking), site("b", &other));
    check_http(
        &text,
        &Closed(&[2]),
        &[("a/", "files w index.html"), ("b/", "403")],
    );
    let text = site("a", "ssl_crl f;");
    check_http(&text, &Closed(&[1]), &[("a/", "403")]);
    let text = format!(
        "{} {}",
        site("a", ""),
        site("b", "").replace("ssl_certificate c", "ssl_reject_handshake on")
    );
    check_http(
        &text,
        &Closed(&[1]),
        &[("a/", "files w index.html"), ("b/", "403")],
    );
}
