//! Contract of the translation: each construct of nginx.conf is carried over exactly, listed with
//! its line, or closed. Each row is a configuration, its grade with the lines of its findings, and
//! the answers to requests.

mod guards;
mod limits;
mod redirects;

use super::{read, translated_text};
use crate::config::model::{
    Action, HeaderCondition, HeaderPattern, HostPattern, ListenerPattern, PathPattern, Priority,
    Route, RouteConditions,
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
    let guard = if route.limits.refs.access.is_empty() {
        ""
    } else {
        "guarded "
    };
    let action = match &route.action {
        Action::Upstream { number, .. } => format!("upstream {number}"),
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
    format!("{guard}{action}")
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
        let path = self.path;
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
        "auth_basic x; auth_basic_user_file f;",
        "auth_request /auth;",
        "auth_jwt x;",
        "secure_link $arg_a;",
        "access_by_lua_block { return }",
        "rewrite_by_lua_file f;",
        "modsecurity on;",
        "teapot_login on;",
        "include snippets/auth.conf;",
        "if ($bad) { return 403; }",
        "if ($http_x_forwarded_for = 192.0.2.1) { return 403; }",
        "if ($http_a ~ x*) { return 403; }",
        "if ($http_a != x) { return 403; } if ($http_a = y) { return 403; }",
        "if ($http_a = x) { return 403; } if ($http_b = x) { return 404; }",
        "if ($request_method !~ ^(GET|HEAD)$) { return 405; }",
        "valid_referers none; if ($invalid_referer) { return 403; }",
        "if ($ssl_client_verify != SUCCESS) { return 403; }",
        "if ($cookie_a = '') { return 302 /login; }",
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
fn an_internal_location_is_not_for_clients() {
    let text = "root w; location /in/ { internal; } location / { }";
    check(
        text,
        &Exact,
        &[("/in/x", "404"), ("/x", "files w index.html")],
    );
    // An upstream might lead there.
    let text = format!(
        "{OFF} location /in/ {{\n internal; root w; }} location / {{ proxy_pass http://a; }}"
    );
    check(
        &text,
        &Lossy(&[2]),
        &[("/in/x", "404"), ("/x", "upstream 0")],
    );
    // Without its path it would be reached by its name alone.
    let text = "root w; location / { internal; } location /a/ { return 200; }";
    check(text, &Exact, &[("/x", "404"), ("/a/", "200")]);
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
fn locations_are_tried_in_the_order_of_nginx() {
    let text = "root w; location /up/ { } location ~* \\.(sql|bak)$ { return 403; } location ^~ /st/ { } \
                location = /x.sql { return 200 x; } location / { return 200 a; }";
    let expected = [
        ("/up/a.sql", "403"),
        ("/up/a.SQL", "403"),
        ("/up/a", "files w index.html"),
        ("/st/a.sql", "files w index.html"),
        ("/x.sql", "200"),
        ("/a.sql", "403"),
        ("/a", "200"),
    ];
    check(text, &Exact, &expected);
}

#[test]
fn nested_locations_stay_in_theirs() {
    let text =
        "root w; location /up/ { location ~ \\.php$ { return 403; } } location / { return 200 a; }";
    let expected = [
        ("/up/a.php", "403"),
        ("/up/b/a.php", "403"),
        ("/up/a", "files w index.html"),
        ("/a.php", "200"),
    ];
    check(text, &Exact, &expected);
    let text = "root w; location /a/ { location /a/ { return 200 a; } return 201 b; }";
    check(text, &Exact, &[("/a/x", "200")]);
    let text = "root w; location / { location = /up/x { return 200 a; } location /up/y/ { return 200 a; } } \
                location /up { return 201 b; }";
    check(
        text,
        &Exact,
        &[
            ("/up/x", "201"),
            ("/up/y/z", "201"),
            ("/a", "files w index.html"),
        ],
    );
    let text =
        "root w; location /up/ {\n location ~ php { deny all; } } location / { return 200 a; }";
    let expected = [
        ("/up/a.php", "guarded files w index.html"),
        ("/up/a", "files w index.html"),
        ("/a.php", "200"),
    ];
    check(text, &Exact, &expected);
    let text =
        "root w; location ~ ^/r { location ~ x { return 403; } } location / { return 200 a; }";
    check(
        text,
        &Exact,
        &[("/rx", "403"), ("/r", "files w index.html"), ("/x", "200")],
    );
}

/// Each location answers with its own status; the expected ones are those of nginx 1.22.
#[test]
fn locations_are_chosen_as_nginx_chooses_them() {
    let text = "location = /a { return 200; } location / { return 201; }
        location /up/ { location ~ \\.php$ { return 202; } location /up/in/ { return 203; } return 204; }
        location ^~ /st/ { location ~ \\.html$ { return 205; } location /st/in/ { return 206; } return 207; }
        location /st/plain/ { return 208; }
        location /up { return 209; }
        location ~ \\.(php|gif)$ { return 210; }
        location ~ ^/re { location ~ x { return 211; } return 212; }";
    let expected = [
        ("/a", "200"),
        ("/b", "201"),
        ("/up/x", "204"),
        ("/up/x.php", "202"),
        ("/up/in/x.php", "202"),
        ("/up/in/x.gif", "210"),
        ("/up/in/x", "203"),
        ("/upx", "209"),
        ("/upx.gif", "210"),
        ("/st/x.php", "207"),
        ("/st/x.html", "205"),
        ("/st/in/x.html", "205"),
        ("/st/in/x.php", "206"),
        ("/st/plain/x.php", "210"),
        ("/st/plain/x", "208"),
        ("/x.php", "210"),
        ("/rex", "211"),
        ("/re", "212"),
    ];
    check(text, &Exact, &expected);
}

#[test]
fn expressions_of_another_dialect_forbid_no_less() {
    for regex in ["/\\.(?!well-known)", "/\\.(?!well-known\\/).*"] {
        check(
            &format!("root w; location ~* {regex} {{ return 403; }} location / {{ }}"),
            &Exact,
            &[
                ("/.git/config", "403"),
                ("/a/.env", "403"),
                ("/.well-known/x", "files w index.html"),
            ],
        );
    }
    check(
        "root w;\nlocation ~ \\.php(?<!index\\.php)$ { return 200 a; } location / { }",
        &Closed(&[2]),
        &[
            ("/a.php", "403"),
            ("/index.php", "403"),
            ("/a", "files w index.html"),
        ],
    );
    check(
        "root w;\nlocation ~ ^/(a)\\1 { return 200 a; } location / { }",
        &Closed(&[2]),
        &[("/aa", "403")],
    );
}

#[test]
fn a_prefix_may_end_within_a_segment() {
    let text = format!(
        "{OFF} location /api {{ proxy_pass http://a; }} location / {{ proxy_pass http://b; }}"
    );
    let expected = [
        ("/api", "upstream 0"),
        ("/api/x", "upstream 0"),
        ("/apiv2", "upstream 0"),
        ("/ap", "upstream 1"),
    ];
    check(&text, &Exact, &expected);
}

#[test]
fn a_folder_that_is_passed_on_has_its_slash() {
    let text = format!(
        "{OFF} location /admin/ {{ proxy_pass http://a; }} location / {{ proxy_pass http://b; }}"
    );
    let expected = [
        ("/admin", "301"),
        ("/admin/", "upstream 0"),
        ("/adminx", "upstream 1"),
    ];
    check(&text, &Exact, &expected);
    let toml = translated_text(&format!("http {{ server {{ {text} }} }}"))
        .unwrap()
        .toml;
    assert!(
        toml.contains("to = \"/admin/$is_args$args\", status = 301"),
        "{toml}"
    );
}

#[test]
fn no_source_is_served() {
    let php = "location ~ \\.php$ { fastcgi_pass unix:/run/php.sock; }";
    let text = format!(
        "root w;\nindex index.php index.html;\nlocation / {{ try_files $uri $uri/ /index.php?$args; }}\n{php}"
    );
    let expected = [
        ("/", "files w index.php,index.html"),
        ("/index.php", "501"),
        ("/a/b.php", "501"),
        ("/a", "files w index.php,index.html"),
    ];
    check(&text, &Lossy(&[4]), &expected);
}

#[test]
fn what_is_looked_up_anew_keeps_its_location() {
    let text = "root w; location / { try_files $uri $uri/ /index.html; } \
                location = /index.html { add_header Cache-Control no-store; }";
    check(text, &Exact, &[("/", "files w index.html")]);
    let text = "root w; location / { } location = /index.html { return 403; }";
    check(
        text,
        &Exact,
        &[("/", "files w index.html"), ("/index.html", "403")],
    );
}

#[test]
fn try_files_is_exact_or_listed() {
    for tried in [
        "$uri $uri/ =404",
        "$uri $uri/ /index.html",
        "$uri /index.html",
        "$uri /index.html =404",
        "$uri $uri/ =403",
        "$uri.html $uri =404",
        "$uri $uri/ /a/$uri",
        "$uri $uri/ /?q=$uri&$args",
        "/closed.html $uri",
    ] {
        let text = format!("root w; location / {{ try_files {tried}; }}");
        check(&text, &Exact, &[("/", "files w index.html")]);
    }
    for tried in ["$uri =x", "$uri $none", "x $uri", "$uri =999"] {
        let text = format!("root w; location / {{\ntry_files {tried}; }}");
        check(&text, &Lossy(&[2]), &[]);
    }
    // `try_files` is not inherited.
    let text = "root w; try_files $uri /x; location /a/ { }";
    check(text, &Exact, &[("/a/", "files w index.html")]);
    let named = format!(
        "root w; {OFF} location / {{ try_files $uri @app; }}\nlocation @app {{ proxy_pass http://a; }}"
    );
    check(&named, &Exact, &[("/", "files w index.html")]);
    let toml = translated_text(&format!("http {{ server {{ {named} }} }}"))
        .unwrap()
        .toml;
    for part in [
        "fallback = { route = \"app-1\" }",
        "name = \"app-1\"\ninternal = true",
    ] {
        assert!(toml.contains(part), "{toml}");
    }
    let guarded = named.replace("@app {", "@app {\n auth_basic x;");
    check(&guarded, &Closed(&[3]), &[]);
    let guarded = named.replace("@app {", "@app {\n if ($http_a = x) { return 403; }");
    check(&guarded, &Closed(&[2]), &[]);
    let text = "root w; location / { try_files $uri @none; }";
    check(text, &Lossy(&[1]), &[("/", "files w index.html")]);
}

#[test]
fn rewrites_stay_in_their_location() {
    let proxy =
        format!("{OFF} location /app/ {{ rewrite ^/app/(.*)$ /$1 break; proxy_pass http://a; }}");
    check(&proxy, &Exact, &[("/app/x", "upstream 0")]);
    check(
        "root w; location / { rewrite ^(.+)/+$ $1 permanent; } location ~ ^/(api|b) { return 200 a; }",
        &Exact,
        &[
            ("/api/", "200"),
            ("/c/", "301"),
            ("/c", "files w index.html"),
        ],
    );
    check(
        "root w; location /a/ { } location / { rewrite ^/old/(.*)$ /new/$1 last; }",
        &Exact,
        &[
            ("/old/x", "reroute"),
            ("/a/x", "files w index.html"),
            ("/x", "files w index.html"),
        ],
    );
    check(
        "root w; location /a/ { rewrite /(.*)$ /new/$1; }",
        &Exact,
        &[("/a/x", "reroute")],
    );
    check(
        "root w; rewrite ^/(x)$ /$1.html last; location = /x { return 200 a; }",
        &Exact,
        &[("/x", "reroute"), ("/y", "files w index.html")],
    );
    check(
        "root w; rewrite ^(.*)$ /index.php?q=$1 last; location ~ php { return 200; }",
        &Exact,
        &[("/x", "reroute"), ("/x.php", "reroute")],
    );
    check(
        "root w;\nrewrite ^/a /b; rewrite ^/b /c; location / { }",
        &Lossy(&[2]),
        &[("/a", "reroute")],
    );
    check(
        "root w; rewrite ^/old(.*)$ /new$1 permanent; location /old/ { } location = /old { return 200 a; }",
        &Exact,
        &[
            ("/old/x", "301"),
            ("/old", "301"),
            ("/y", "files w index.html"),
        ],
    );
}

#[test]
fn servers_that_only_a_listener_tells_apart_are_not_mixed() {
    let text = "server { listen 80; server_name a; location / { return 200 a; } location /b/ { return 201 a; } }
                server { listen 8080; server_name a; location / { return 202 b; } }";
    let expected = [
        ("a/", "200"),
        ("a/b/", "201"),
        ("8080@a/b/", "202"),
        ("8080@c/", "202"),
    ];
    check_http(text, &Exact, &expected);
    let text = "server { listen 80; listen 81; server_name a; return 200; }
                server { listen 81 default_server; server_name b; return 201; }
                server { listen 80; server_name a c; return 202; }
                server { listen 82; return 203; }";
    let expected = [
        ("a/", "200"),
        ("81@a/", "200"),
        ("b/", "200"),
        ("81@b/", "201"),
        ("c/", "202"),
        ("81@c/", "201"),
        ("82@a/", "203"),
    ];
    check_http(text, &Exact, &expected);
    // The system does not open a listener of one address beside that of all.
    let text = "server { listen 80; return 200; } server {\nlisten 127.0.0.1:80; return 201; }";
    check_http(text, &Lossy(&[2]), &[("a/", "200")]);
}

#[test]
fn a_redirect_of_one_scheme_leaves_the_other_alone() {
    let text = "server { listen 80; listen 443 ssl; ssl_certificate c; ssl_certificate_key k; server_name a;
                if ($scheme = http) { return 301 https://$host$request_uri; } root w; }
                server { listen 80; server_name b; return 200; }";
    check_http(text, &Exact, &[("a/", "301"), ("b/", "200")]);
    let toml = translated_text(&format!("http {{ {text} }}")).unwrap().toml;
    assert!(toml.contains("scheme = \"http\""), "{toml}");
}

#[test]
fn hosts_are_chosen_as_nginx_chooses_them() {
    let text = "server { listen 80; server_name www.a; return 200 a; } \
                server { listen 80; server_name .a; return 201 b; }";
    let expected = [
        ("www.a/", "200"),
        ("q.a/", "201"),
        ("a/", "201"),
        ("zz/", "200"),
    ];
    check_http(text, &Exact, &expected);
    // nginx asks a single server, even if another one has a location for the path.
    let text = "server { listen 80; root w; } \
                server { listen 80; server_name b; location /x/ { return 200 a; } }";
    check_http(
        text,
        &Exact,
        &[
            ("b/y", "404"),
            ("b/x/", "200"),
            ("c/y", "files w index.html"),
        ],
    );
    let text = "server { listen 80; server_name a; root w; }\n\
                server { listen 80; server_name a b; location /x/ { return 200 a; } }";
    check_http(
        text,
        &Exact,
        &[("a/x/", "files w index.html"), ("b/x/", "200")],
    );
    // `_` is no name: a server without another name gets requests only as the default server.
    let text = "server { listen 80; server_name a; root w; } server { listen 80; server_name _; return 444; }";
    check_http(
        text,
        &Exact,
        &[("a/", "files w index.html"), ("c/", "files w index.html")],
    );
    let text = "server { listen 80; server_name a; root w; }\n\
                server { listen 80 default_server; server_name _; return 403; }";
    check_http(text, &Exact, &[("a/", "files w index.html"), ("c/", "403")]);
}

#[test]
fn names_are_patterns_as_in_nginx() {
    let text = "server { listen 80; server_name a; root w; }
        server { listen 80; server_name grafana.* ~^x\\d; return 200; }
        server { listen 80; server_name *.b; return 201; }
        server { listen 80; server_name ~^x1$; return 202; }";
    let expected = [
        ("a/", "files w index.html"),
        ("grafana.a/", "200"),
        ("grafana.b/", "201"),
        ("x1/", "200"),
        ("c/", "files w index.html"),
    ];
    check_http(text, &Exact, &expected);
}

#[test]
fn names_that_geogate_cannot_have_lead_nowhere() {
    let name = "~^(?=x)x";
    let text = format!(
        "server {{ listen 80; server_name a; root w; }}\n\
         server {{ listen 80; server_name {name}; return 200 x; }}"
    );
    check_http(
        &text,
        &Lossy(&[2]),
        &[("a/", "files w index.html"), ("x/", "403")],
    );
    let alone = format!("server_name\n{name}; root w;");
    check(&alone, &Lossy(&[1]), &[("a/", "files w index.html")]);
}

#[test]
fn redirects_to_tls_do_not_go_round() {
    let tls = "listen 443 ssl; ssl_certificate c; ssl_certificate_key k;";
    for redirect in [
        "return 301 https://$host$request_uri;",
        "location / { return 301 https://$host$request_uri; }",
        "if ($host = a) { return 301 https://$host$request_uri; } return 404;",
        "rewrite ^(.*)$ https://a$1 permanent;",
    ] {
        let text = format!(
            "server {{ listen 80; server_name a; {redirect} }} server {{ {tls} server_name a; root w; }}"
        );
        check_http(&text, &Exact, &[("a/", "files w index.html")]);
        let toml = translated_text(&format!("http {{ {text} }}")).unwrap().toml;
        assert!(toml.contains("redirect_to_https = true"), "{toml}");
    }
    // A redirect may lead to another port or another host, or apply to some requests alone.
    let other_port = "server { listen 80; server_name a; return 301 https://a:8443$request_uri; } \
                      server { listen 8443 ssl; ssl_certificate c; ssl_certificate_key k; server_name a; root w; }";
    check_http(other_port, &Exact, &[("a/", "files w index.html")]);
    let toml = translated_text(&format!("http {{ {other_port} }}"))
        .unwrap()
        .toml;
    assert!(toml.contains("redirect_to_https = 8443"), "{toml}");
    let other_host = format!(
        "server {{ listen 80; server_name a www.a;\nreturn 301 https://a$request_uri; }}\n\
         server {{ {tls} server_name a; root w; }}"
    );
    check_http(
        &other_host,
        &Exact,
        &[("a/", "301"), ("443@a/", "files w index.html")],
    );
    let toml = translated_text(&format!("http {{ {other_host} }}"))
        .unwrap()
        .toml;
    assert!(!toml.contains("redirect_to_https"), "{toml}");
    let by_host = "root w;\nif ($host = www.a) { return 301 https://a$request_uri; }";
    check(by_host, &Lossy(&[2]), &[("a/", "files w index.html")]);
    let by_header = format!(
        "{OFF}\nif ($http_x_forwarded_proto != https) {{ return 301 https://$host$request_uri; }}\n\
         location / {{ proxy_set_header Host $http_host;\nproxy_set_header X-Forwarded-Proto $http_x_forwarded_proto;\n\
         proxy_pass http://a; }}"
    );
    check(&by_header, &Lossy(&[2, 4]), &[("a/", "upstream 0")]);
}

#[test]
fn what_is_not_known_of_clients_closes_rules() {
    for (header, closes) in [
        ("real_ip_header X-Real-IP;", true),
        ("", true),
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
        "access_log off;",
        "proxy_ignore_headers X-Accel-Redirect;",
    ] {
        check(&proxied.replace('@', exact), &Exact, &[("/", "upstream 0")]);
    }
    for listed in [
        "proxy_redirect ~^http://a/(.*)$ /$1;",
        "proxy_redirect http://a:$server_port/ /;",
        "proxy_cookie_path / /a;",
        "proxy_intercept_errors on;",
        "proxy_method GET;",
        "proxy_pass_request_headers off;",
        "proxy_cache z;",
        "proxy_next_upstream error non_idempotent;",
        "mirror /m;",
        "sub_filter a b;",
        "charset utf-8;",
        "error_page 404 /404.html;",
        "error_page 502 = @b;",
        "gzip_static on;",
        "more_set_headers 'A: b';",
        "add_trailer A b;",
        "if ($host = a) { add_header X b; }",
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
        "return 302 $hostname;",
    ] {
        let text = format!("location /a/ {{\n{other} }}");
        check(&text, &Lossy(&[2]), &[("/a/x", "501")]);
    }
}

#[test]
fn headers_of_responses_keep_their_statuses_and_their_number() {
    let text = format!(
        "{OFF} location / {{ proxy_pass http://a; expires 1d; add_header Set-Cookie a; \
         add_header Set-Cookie b; add_header X-A c always; }}"
    );
    check(&text, &Exact, &[("/", "upstream 0")]);
    let toml = translated_text(&format!("http {{ server {{ {text} }} }}"))
        .unwrap()
        .toml;
    let written = "response_headers = { add = { X-A = \"c\" }, \
                   on_success = { add = { Set-Cookie = [\"a\", \"b\"] } } }";
    assert!(
        toml.contains(written) && toml.contains("expires = \"1d\""),
        "{toml}"
    );
    check(
        &format!("{OFF} location / {{ proxy_pass http://a;\nexpires $e; }}"),
        &Lossy(&[2]),
        &[],
    );
}

#[test]
fn unix_sockets_are_peers() {
    let check = |text: &str, expected: &[&str]| {
        let translation = translated_text(&format!("http {{ {text} }}")).unwrap();
        assert_eq!(graded(&translation).0, Exact, "{:?}", translation.findings);
        for expected in expected {
            assert!(translation.toml.contains(expected), "{}", translation.toml);
        }
        read(&translation.toml);
    };
    let server = |location: &str| format!("server {{ listen 80; {OFF} location {location} }}");
    check(
        &server("/ { proxy_pass http://unix:/run/a.sock; }"),
        &["peers = [\"unix:/run/a.sock\"]"],
    );
    check(
        &server("/a/ { proxy_pass http://unix:/run/a.sock:/b/; }"),
        &["\"unix:/run/a.sock\"", "rewrite = \"/b/\""],
    );
    check(
        &format!(
            "upstream u {{ server unix:/run/a.sock weight=2; server unix:/run/b.sock backup; }} {}",
            server("/ { proxy_pass http://u; }")
        ),
        &[
            "address = \"unix:/run/a.sock\", weight = 2",
            "address = \"unix:/run/b.sock\", backup = true",
        ],
    );
}

#[test]
fn scripts_run_behind_fastcgi() {
    #[track_caller]
    fn check(location: &str, grade: &Grade, expected: &[&str]) {
        let text = format!(
            "http {{ upstream php {{ server unix:/run/a.sock; server 127.0.0.1:9000; }} \
             server {{ listen 80; root /srv/app; {location} }} }}"
        );
        let translation = translated_text(&text).unwrap();
        let found = graded(&translation);
        let is_same = std::mem::discriminant(&found.0) == std::mem::discriminant(grade);
        assert!(is_same, "{found:?}\n{}", translation.toml);
        for expected in expected {
            assert!(
                translation.toml.contains(expected),
                "{expected}: {}",
                translation.toml
            );
        }
        read(&translation.toml);
    }
    let file = "fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;";
    check(
        &format!("location ~ \\.php$ {{ fastcgi_pass unix:/run/php.sock; {file} }}"),
        &Exact,
        &[
            "peers = [\"unix:/run/php.sock\"]\nprotocol = \"fastcgi\"",
            "fastcgi = { root = \"/srv/app\", follow_links = true }",
        ],
    );
    check(
        "location ~ ^(.+\\.php)(/|$) { include snippets/fastcgi-php.conf; fastcgi_pass php; \
         fastcgi_read_timeout 5m; fastcgi_buffers 8 16k; }",
        &Exact,
        &[
            "name = \"php\"",
            "read_timeout = \"5m\"",
            "path_info = true",
        ],
    );
    check(
        &format!(
            "location ~ \\.php {{ fastcgi_split_path_info ^(.+?\\.php)(/.*)$; fastcgi_index app.php; \
             fastcgi_param APP_ENV prod; fastcgi_param HTTPS on; fastcgi_param HTTP_PROXY \"\"; \
             fastcgi_param QUERY_STRING $query_string; fastcgi_param WHO $remote_addr; {file} \
             fastcgi_pass php.example:9000; }}"
        ),
        &Exact,
        &[
            "peers = [\"php.example:9000\"]",
            "index = \"app.php\"",
            // The files are not on this host.
            "check_file = false",
            "params = { APP_ENV = \"prod\", HTTPS = \"on\", WHO = \"$remote_addr\" }",
        ],
    );
    check(
        "location / { fastcgi_param SCRIPT_FILENAME $document_root/index.php; fastcgi_pass php; }",
        &Exact,
        &["root = \"/srv/app\", script = \"/index.php\""],
    );
    check(
        "location ~ \\.php$ { try_files $uri =404; fastcgi_pass 10.0.0.1:9000; \
         fastcgi_param SCRIPT_FILENAME /other$fastcgi_script_name; }",
        &Exact,
        &["fastcgi = { root = \"/other\", follow_links = true }"],
    );
    check(
        &format!("location / {{ fastcgi_pass php; {file} }}"),
        &Lossy(&[]),
        &["protocol = \"fastcgi\""],
    );
    check(
        &format!("location ~ \\.php5$ {{ fastcgi_pass php; {file} }}"),
        &Lossy(&[]),
        &["protocol = \"fastcgi\""],
    );
    for lost in [
        "fastcgi_pass unix:/run/php.sock;",
        "fastcgi_pass a; include fastcgi_params;",
        "fastcgi_pass $arg_a:9000; include fastcgi_params;",
        "fastcgi_pass php; fastcgi_param SCRIPT_FILENAME $arg_file;",
        "fastcgi_pass php; fastcgi_param SCRIPT_FILENAME $document_root/x/$arg_file;",
        "fastcgi_pass php; alias /a/; include fastcgi_params;",
    ] {
        let location = format!("location ~ \\.php$ {{ {lost} }}");
        check(&location, &Lossy(&[]), &["status = 501"]);
    }
    for listed in [
        "fastcgi_param A $nothing;",
        "fastcgi_hide_header X-Powered-By;",
        "fastcgi_cache z;",
        "fastcgi_intercept_errors on;",
    ] {
        let location =
            format!("location ~ \\.php$ {{ {listed} {file} fastcgi_pass unix:/run/php.sock; }}");
        check(&location, &Lossy(&[]), &["protocol = \"fastcgi\""]);
    }
}

#[test]
fn upstreams_are_told_the_host_that_nginx_tells_them() {
    let check = |text: &str, expected: &str| {
        let text = format!("http {{ server {{ listen 80; location / {{ {text} }} }} }}");
        let toml = translated_text(&text).unwrap().toml;
        assert!(toml.contains(expected), "{toml}");
    };
    check("proxy_pass http://a:8080;", "Host = \"a:8080\"");
    check("proxy_pass https://b.example;", "Host = \"b.example\"");
    check("proxy_pass http://b.example:80;", "Host = \"b.example\"");
    check(
        "proxy_pass http://unix:/run/a.sock;",
        "Host = \"localhost\"",
    );
    check(
        "proxy_set_header Host c; proxy_pass http://b;",
        "Host = \"c\"",
    );
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
    for condition in ["$cc != cn", "$cc = cn", "$cc ~ cn"] {
        check_http(&text("", condition), &Closed(&[2]), &[("/", "403")]);
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
    // A part of the value would match, or another variable's value.
    for (value, condition) in [("nono", "$deny ~ no"), ("$uri", "$deny")] {
        check_http(&text(value, condition), &Closed(&[2]), &[("/", "403")]);
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
