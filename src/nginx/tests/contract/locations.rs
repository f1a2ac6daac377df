//! Locations, in the order in which nginx tries them.

use super::Grade::{Closed, Exact};
use super::{OFF, check};
use crate::nginx::tests::translated_text;

#[test]
fn an_internal_location_is_not_for_clients() {
    let text = "root w; location /in/ { internal; } location / { }";
    check(
        text,
        &Exact,
        &[("/in/x", "404"), ("/x", "files w index.html")],
    );
    // An upstream may lead there.
    let text = format!(
        "{OFF} location /in/ {{\n internal; root w; }} location / {{ proxy_pass http://a; }}"
    );
    check(&text, &Exact, &[("/in/x", "404"), ("/x", "upstream 0")]);
    // With an expression it keeps its place among the expressions.
    let text =
        "root w; location ~ ^/in/(.*) { internal; } location / { rewrite ^(.+)/$ $1 permanent; }";
    check(text, &Exact, &[("/in/x/", "404"), ("/x/", "301")]);
    // Without its path it would be reached by its name alone.
    let text = "root w; location / { internal; } location /a/ { return 200; }";
    check(text, &Exact, &[("/x", "404"), ("/a/", "200")]);
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
