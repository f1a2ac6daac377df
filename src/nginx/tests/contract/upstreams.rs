//! Upstreams, with the headers both ways.

use super::Grade::{Exact, Lossy};
use super::{Grade, OFF, check, graded};
use crate::nginx::tests::{read, translated_text};

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

/// Parameter that names the script of a path.
const FILE: &str = "fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;";

/// Checks the grade of a location, and parts of its translation.
#[track_caller]
fn check_script(location: &str, grade: &Grade, expected: &[&str]) {
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

#[test]
fn scripts_run_behind_fastcgi() {
    check_script(
        &format!("location ~ \\.php$ {{ fastcgi_pass unix:/run/php.sock; {FILE} }}"),
        &Exact,
        &[
            "peers = [\"unix:/run/php.sock\"]\nprotocol = \"fastcgi\"",
            "fastcgi = { root = \"/srv/app\", follow_links = true }",
        ],
    );
    check_script(
        "location ~ ^(.+\\.php)(/|$) { include snippets/fastcgi-php.conf; fastcgi_pass php; \
         fastcgi_read_timeout 5m; fastcgi_buffers 8 16k; }",
        &Exact,
        &[
            "name = \"php\"",
            "read_timeout = \"5m\"",
            "path_info = true",
        ],
    );
    check_script(
        &format!(
            "location ~ \\.php {{ fastcgi_split_path_info ^(.+?\\.php)(/.*)$; fastcgi_index app.php; \
             fastcgi_param APP_ENV prod; fastcgi_param HTTPS on; fastcgi_param HTTP_PROXY \"\"; \
             fastcgi_param QUERY_STRING $query_string; fastcgi_param WHO $remote_addr; {FILE} \
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
    check_script(
        "location / { fastcgi_param SCRIPT_FILENAME $document_root/index.php; fastcgi_pass php; }",
        &Exact,
        &["root = \"/srv/app\", script = \"/index.php\""],
    );
    check_script(
        "location ~ \\.php$ { try_files $uri =404; fastcgi_pass 10.0.0.1:9000; \
         fastcgi_param SCRIPT_FILENAME /other$fastcgi_script_name; }",
        &Exact,
        &["fastcgi = { root = \"/other\", follow_links = true }"],
    );
}

#[test]
fn what_is_not_carried_over_of_scripts_is_listed() {
    check_script(
        &format!("location / {{ fastcgi_pass php; {FILE} }}"),
        &Lossy(&[]),
        &["protocol = \"fastcgi\""],
    );
    check_script(
        &format!("location ~ \\.php5$ {{ fastcgi_pass php; {FILE} }}"),
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
        check_script(&location, &Lossy(&[]), &["status = 501"]);
    }
    for listed in ["fastcgi_param A $nothing;", "fastcgi_cache z;"] {
        let location =
            format!("location ~ \\.php$ {{ {listed} {FILE} fastcgi_pass unix:/run/php.sock; }}");
        check_script(&location, &Lossy(&[]), &["protocol = \"fastcgi\""]);
    }
}

#[test]
fn headers_are_hidden_where_an_upstream_answers() {
    let removed = |location: &str| {
        let text = format!(
            "http {{ server {{ listen 80; proxy_hide_header X-P; fastcgi_hide_header X-F; \
             location / {{ {location} }} }} }}"
        );
        let toml = translated_text(&text).unwrap().toml;
        let line = toml.lines().find(|line| line.contains("remove = "));
        line.map_or("", |line| line.split("remove = ").nth(1).unwrap())
            .to_owned()
    };
    assert_eq!(removed("proxy_pass http://a;"), "[\"X-P\"] }");
    assert_eq!(
        removed(&format!("fastcgi_pass a:9000; {FILE}")),
        "[\"X-F\"] }"
    );
    assert_eq!(removed("root w;"), "");
}

#[test]
fn cookies_are_rewritten_as_nginx_does() {
    let rules = |directives: &str| {
        let text = format!(
            "http {{ server {{ listen 80; location / {{ proxy_pass http://a; {directives} }} }} }}"
        );
        let translation = translated_text(&text).unwrap();
        assert!(translation.is_exact(), "{:?}", translation.findings);
        let _ = read(&translation.toml);
        let mut lines = translation.toml.lines();
        let line = lines.find_map(|line| line.strip_prefix("rewrite_cookies = "));
        line.unwrap_or_default().to_owned()
    };
    for (directives, expected) in [
        (
            "proxy_cookie_path /two/ /;",
            "{ path = [{ from = \"/two/\", to = \"/\" }] }",
        ),
        (
            "proxy_cookie_path ~*^/(x) /$1$uri;",
            "{ path = [{ from = \"~(?i)^/(x)\", to = \"/$1$uri\" }] }",
        ),
        (
            "proxy_cookie_path ~^/(?<a>.)(?<ab>.) /${a}$ab$a-$args;",
            "{ path = [{ from = \"~^/(?<a>.)(?<ab>.)\", to = \"/$1$2$1-$args\" }] }",
        ),
        (
            "proxy_cookie_domain localhost $host;",
            "{ domain = [{ from = \"localhost\", to = \"$host\" }] }",
        ),
        ("proxy_cookie_path / /a; proxy_cookie_path off;", ""),
        (
            "proxy_cookie_flags one secure samesite=strict; proxy_cookie_flags ~^s nosecure httponly nosamesite;",
            "{ flags = [{ name = \"one\", secure = true, same_site = \"strict\" }, \
             { name = \"~^s\", secure = false, http_only = true, same_site = \"off\" }] }",
        ),
    ] {
        assert_eq!(rules(directives), expected, "{directives}");
    }
}

#[test]
fn scripts_get_the_name_of_the_server_and_lose_hidden_headers() {
    let location = format!(
        "server_name a.example b.example; fastcgi_param SERVER_NAME $server_name; \
         location ~ \\.php$ {{ fastcgi_hide_header X-Powered-By; {FILE} fastcgi_pass unix:/run/php.sock; }}"
    );
    check_script(
        &location,
        &Exact,
        &["response_headers = { remove = [\"X-Powered-By\"] }"],
    );
}

#[test]
fn the_forwarded_protocol_may_come_from_a_map() {
    let check = |entries: &str, is_complete: bool| {
        let text = format!(
            "http {{ map $http_x_forwarded_proto $proto {{ {entries} }} server {{ listen 80; location / {{ \
             proxy_set_header X-Forwarded-Proto $proto; proxy_pass http://a; }} }} }}"
        );
        let translation = translated_text(&text).unwrap();
        assert_eq!(
            translation.is_complete(),
            is_complete,
            "{}",
            translation.toml
        );
    };
    check("default $scheme; https https;", true);
    check("default $http_x_forwarded_proto; '' $scheme;", true);
    check("default ftp;", false);
}

#[test]
fn peers_without_a_time_to_stay_away_are_kept() {
    let check = |servers: &str, expected: &str| {
        let text = format!(
            "http {{ upstream u {{ {servers} }} server {{ listen 80; location / {{ proxy_pass http://u; }} }} }}"
        );
        let translation = translated_text(&text).unwrap();
        assert!(translation.toml.contains(expected), "{}", translation.toml);
        assert!(translation.is_complete(), "{}", translation.toml);
    };
    check("server a:1 fail_timeout=0;", "max_fails = 0");
    check("server a:1 fail_timeout=0s max_fails=3;", "max_fails = 0");
    check("server a:1 max_fails=3 fail_timeout=5s;", "max_fails = 3");
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
