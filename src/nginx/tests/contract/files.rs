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

/// Settings of the files of the first route of a location with these directives, as they are written.
fn files_of(directives: &str) -> String {
    let text = format!(
        "http {{ default_type application/octet-stream; server {{ listen 80; \
         location / {{ root w; {directives} }} }} }}"
    );
    let toml = translated_text(&text).unwrap().toml;
    let line = toml.lines().find(|line| line.starts_with("files = "));
    let start = "files = { root = \"w\", index = [\"index.html\"], ";
    let line = line.unwrap().strip_prefix(start).unwrap();
    let line = line
        .strip_suffix("follow_links = true, hidden = true }")
        .unwrap();
    line.trim_end_matches([',', ' ']).to_owned()
}

#[test]
fn listings_codings_and_ranges_are_those_of_the_location() {
    for (directives, grade, expected) in [
        ("autoindex on;", Exact, "listing = \"html\""),
        ("autoindex off;", Exact, ""),
        (
            "autoindex on; autoindex_exact_size off; autoindex_localtime on;",
            Exact,
            "listing = \"html\"",
        ),
        (
            "autoindex on; autoindex_format json;",
            Exact,
            "listing = \"json\"",
        ),
        ("autoindex on;\nautoindex_format xml;", Lossy(&[2]), ""),
        ("gzip_static on;", Exact, "precompressed = [\"gzip\"]"),
        (
            "gzip_static on; brotli_static on;",
            Exact,
            "precompressed = [\"brotli\", \"gzip\"]",
        ),
        ("gzip_static off;", Exact, ""),
        (
            "\ngzip_static always;",
            Lossy(&[2]),
            "precompressed = [\"gzip\"]",
        ),
        ("max_ranges 0;", Exact, "max_ranges = 0"),
        ("max_ranges 5;", Exact, "max_ranges = 5"),
    ] {
        assert_eq!(files_of(directives), expected, "{directives}");
        let text = format!("location / {{ root w; {directives} }}");
        check(&text, &grade, &[("/", "files w index.html")]);
    }
}

#[test]
fn the_types_of_a_location_are_all() {
    let types =
        "types = { js = \"application/javascript\", txt = \"text/plain\" }, known_types = false";
    let directives = "types { application/javascript js; text/plain txt; }";
    assert_eq!(files_of(directives), types);
    assert_eq!(files_of("types { }"), "known_types = false");
    let text = files_of("types { } default_type text/html;");
    assert_eq!(text, "known_types = false, default_type = \"text/html\"");
}
