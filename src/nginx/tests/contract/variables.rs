//! Variables: `map`, `geo`, `split_clients`, `set` and the conditions that use them.

use super::Grade::{Closed, Exact, Lossy};
use super::{OFF, check, check_http, translated_text};

const FILES: &str = "files w index.html";

#[test]
fn conditions_on_any_variable_are_carried_over() {
    for (guard, requests) in [
        (
            "if ($http_x_forwarded_for = 192.0.2.1) { return 403; }",
            [("/a/x|x-forwarded-for: 192.0.2.1", "403"), ("/a/x", FILES)],
        ),
        (
            "if ($http_a ~ x*) { return 403; }",
            [("/a/x", "403"), ("/a/x|a: y", "403")],
        ),
        (
            "if ($http_a != x) { return 403; } if ($http_a = y) { return 404; }",
            [("/a/x", "403"), ("/a/x|a: x", FILES)],
        ),
        (
            "if ($http_a = x) { return 403; } if ($http_b = x) { return 404; }",
            [("/a/x|a: x", "403"), ("/a/x|b: x", "404")],
        ),
        (
            "if ($request_method !~ ^(GET|HEAD)$) { return 405; }",
            [("/a/x", FILES), ("/a/y", FILES)],
        ),
        (
            "if ($ssl_client_verify != SUCCESS) { return 403; }",
            [("/a/x", "403"), ("/a/y", "403")],
        ),
        (
            "if ($cookie_a = '') { return 302 /login; }",
            [("/a/x", "302"), ("/a/x|cookie: b=1; a=2", FILES)],
        ),
        (
            "if ($arg_a) { return 410; }",
            [("/a/x?a=0", FILES), ("/a/x?a=00", "410")],
        ),
        (
            "if ($http_a = X) { return 403; }",
            [("/a/x|a: x", FILES), ("/a/x|a: X", "403")],
        ),
    ] {
        let of_location = format!("root w;\nlocation /a/ {{\n {guard} }}\nlocation /b/ {{ }}");
        check(&of_location, &Exact, &requests);
        check(&of_location, &Exact, &[("/b/x", FILES)]);
        let of_server = format!("root w;\n{guard}\nlocation /a/ {{ }} location = /c {{ }}");
        check(&of_server, &Exact, &requests);
    }
}

#[test]
fn a_map_decides_by_any_variable() {
    let http = "map $http_user_agent $bad { default 0; ~*(bot|crawl) 1; curl 2; }\n\
                map $bad$arg_key $deny { hostnames; default 0; 1 1; 2x 1; ~^1(.)$ $1; }\n\
                server { root w; if ($deny) { return 403; } location /x { if ($bad = 2) { return 404; } } }";
    check_http(
        http,
        &Exact,
        &[
            ("/", FILES),
            ("/|user-agent: A Bot", "403"),
            ("/|user-agent: CURL", FILES),
            ("/?key=x|user-agent: curl", "403"),
            ("/?key=0|user-agent: bot", FILES),
            ("/?key=7|user-agent: bot", "403"),
            ("/x|user-agent: curl", "404"),
        ],
    );
}

#[test]
fn values_of_set_are_those_at_the_place_of_their_use() {
    // Conditions joined by the letters of a variable.
    let text = "root w; set $test ''; if ($http_a = x) { set $test A; } if ($http_b) { set $test \"${test}B\"; }\n\
                if ($test = AB) { return 403; } if ($test = B) { return 404; } location / { }";
    check(
        text,
        &Exact,
        &[("/", FILES), ("/|a: x", FILES), ("/|b: 1", "404")],
    );
    let text = "root w; set $a 1; if ($a = 1) { return 404; } set $a 2; location / { }";
    check(text, &Exact, &[("/", "404")]);
    let text = "root w; set $skip 0; if ($arg_a ~ ^(x|y)$) { set $skip $1; }\n\
                location / { if ($skip = y) { return 403; } if ($skip = x) { return 404; } }";
    check(
        text,
        &Exact,
        &[("/?a=x", "404"), ("/?a=y", "403"), ("/?a=z", FILES)],
    );
    let text = format!(
        "{OFF} set $up http://a; if ($cookie_up = b) {{ set $up http://b:81; }} location / {{ proxy_pass $up; }}"
    );
    check(
        &text,
        &Exact,
        &[("/", "upstream 1"), ("/|cookie: up=b", "upstream 0")],
    );
}

#[test]
fn redirects_have_the_groups_of_their_condition() {
    let text = "root w; if ($host ~* ^www[.](?<name>.*)$) { return 301 https://$1/$name$request_uri; } location / { }";
    check(text, &Exact, &[("www.a/", "301"), ("a/", FILES)]);
    let toml = translated_text(&format!("http {{ server {{ {text} }} }}"))
        .unwrap()
        .toml;
    assert!(
        toml.contains("to = \"https://$group_1/$group_name$request_uri\""),
        "{toml}"
    );
    let text =
        "root w; if ($host = a) { rewrite ^/x/(.*)$ https://b/$1 permanent; } location / { }";
    check(
        text,
        &Exact,
        &[("a/x/1", "301"), ("b/x/1", FILES), ("a/y", FILES)],
    );
}

#[test]
fn conditions_keep_their_place_among_rewrites() {
    let text = "root w; location /a/ { rewrite ^/a/old /a/new redirect; if ($arg_x) { return 404; } \
                rewrite ^/a/x /a/y redirect; return 410; }";
    check(
        text,
        &Exact,
        &[
            ("/a/old?x=1", "302"),
            ("/a/x?x=1", "404"),
            ("/a/x", "302"),
            ("/a/z", "410"),
        ],
    );
}

#[test]
fn headers_may_depend_on_conditions() {
    let text = "root w; location / { if ($request_method = OPTIONS) { add_header Access-Control-Allow-Origin *; return 204; } \
                if ($request_method = GET) { add_header X-A b; } }";
    check(text, &Exact, &[("/", FILES)]);
    let toml = translated_text(&format!("http {{ server {{ {text} }} }}"))
        .unwrap()
        .toml;
    assert!(
        toml.contains("variables = { request_method = \"OPTIONS\" }"),
        "{toml}"
    );
    assert!(toml.contains("add = { X-A = \"b\" }"), "{toml}");
    // Both may hold, and nginx takes the last one.
    let text = "root w; location / { if ($arg_a) { add_header X-A a; }\nif ($arg_b) { add_header X-B b; } }";
    check(text, &Lossy(&[2]), &[("/", FILES)]);
}

#[test]
fn an_upstream_is_chosen_by_a_map() {
    let http = format!(
        "upstream one {{ server 127.0.0.1:1; }} upstream two {{ server 127.0.0.1:2; }}\n\
         map $cookie_pool $pool {{ default one; beta two; dev 127.0.0.1:3; }}\n\
         server {{ {OFF} location / {{ proxy_pass http://$pool; }} }}"
    );
    check_http(
        &http,
        &Exact,
        &[
            ("/", "upstream 2"),
            ("/|cookie: pool=beta", "upstream 0"),
            ("/|cookie: pool=dev", "upstream 1"),
        ],
    );
    // Requests must not go to whatever a client names.
    let open = format!("server {{ {OFF} location / {{\nproxy_pass http://$arg_to; }} }}");
    check_http(&open, &Lossy(&[2]), &[("/", "501")]);
    let open = format!(
        "map $arg_to $to {{ default $host; }} server {{ {OFF} location / {{\nproxy_pass http://$to; }} }}"
    );
    check_http(&open, &Lossy(&[2]), &[("/", "501")]);
}

#[test]
fn named_groups_of_paths_and_hosts_are_variables() {
    let text = "server_name ~^(?<sub>[a-z]+)[.]a[.]test$; location ~ ^/u/(?<user>[a-z]+) { return 302 /$sub/$user; }";
    check(text, &Exact, &[("x.a.test/u/joe", "302")]);
    let toml = translated_text(&format!("http {{ server {{ {text} }} }}"))
        .unwrap()
        .toml;
    assert!(toml.contains("to = \"/$sub/$user\""), "{toml}");
}

#[test]
fn what_is_not_exact_stays_closed() {
    for (http, line) in [
        (
            "map $http_cf_connecting_ip $bad { default 0; 192.0.2.1 1; }\nserver { root w;\nif ($bad) { return 403; } }",
            3,
        ),
        (
            "map $http_a $bad { default 0; ~(?<!x)y 1; }\nserver { root w;\nif ($bad) { return 403; } }",
            3,
        ),
        (
            "map $nothing $bad { default 0; x 1; }\nserver { root w;\nif ($bad) { return 403; } }",
            3,
        ),
        (
            "server { root w; set $a $nothing;\nif ($a) { return 403; } }",
            2,
        ),
    ] {
        check_http(
            http,
            &Closed(if line == 3 { &[3] } else { &[2] }),
            &[("/", "403")],
        );
    }
}

#[test]
fn logs_are_those_of_their_block() {
    let http = "log_format a '$status $loggable'; map $status $loggable { ~^2 0; default 1; }\n\
                access_log /l/main.log a if=$loggable; access_log /l/other.log;\n\
                server { root w; location /quiet/ { access_log off; } location /own/ { access_log /l/own.log a; } }";
    check_http(http, &Exact, &[("/", FILES)]);
    let toml = translated_text(&format!("http {{ {http} }}")).unwrap().toml;
    for line in [
        "target = \"/l/main.log\"",
        "if = \"$loggable\"",
        "also = [\"other\"]",
        "access_log = false",
        "access_log = \"own\"",
        "name = \"own\"",
    ] {
        assert!(toml.contains(line), "{line} of\n{toml}");
    }
}
