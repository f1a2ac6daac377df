//! Files, and paths that are looked up anew.

use super::Grade::{Closed, Exact, Lossy};
use super::{OFF, check};
use crate::nginx::tests::translated_text;

#[test]
fn an_alias_of_a_folder_redirects_to_its_slash() {
    let text = "location /a { alias /srv/a/; } location /b { alias /srv/b; } location /c/ { alias /srv/c/; }";
    let expected = [
        ("/a", "301"),
        ("/a/x", "files a index.html"),
        // A folder or a file within it.
        ("/b", "files srv index.html"),
        ("/c/x", "files c index.html"),
    ];
    check(text, &Exact, &expected);
    let toml = translated_text(&format!("http {{ server {{ {text} }} }}"))
        .unwrap()
        .toml;
    assert!(
        toml.contains("starts_with = \"/b\"\nrewrite = \"/b\"\nfiles = { root = \"/srv\""),
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
