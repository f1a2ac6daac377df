//! Errors: their pages, and which of an upstream's are replaced.

use super::Grade::{Exact, Lossy};
use super::{OFF, check};
use crate::nginx::tests::translated_text;

/// Checks that a server translates exactly, and parts of its translation.
#[track_caller]
fn check_pages(server: &str, expected: &[&str]) {
    let text = format!("http {{ server {{ listen 80; root w; {OFF} {server} }} }}");
    let toml = translated_text(&text).unwrap().toml;
    for expected in expected {
        assert!(toml.contains(expected), "{expected}: {toml}");
    }
    check(server, &Exact, &[]);
}

#[test]
fn a_page_is_a_path_a_location_or_a_redirect() {
    check_pages(
        &format!(
            "root w; {OFF} location / {{ proxy_pass http://a; proxy_intercept_errors on; \
             error_page 404 /404.html; error_page 500 502 =200 /x?u=$uri; error_page 403 = @b; \
             error_page 401 https://a/$request_uri; error_page 410 =301 /gone; error_page 404 /none; }} \
             location @b {{ return 200 b; }}"
        ),
        &[
            "intercept_errors = true",
            "{ on = [404], path = \"/404.html\" }",
            "{ on = [500, 502], path = \"/x?u=$uri\", status = 200 }",
            "{ on = [403], route = \"b-1\", status = \"answer\" }",
            "{ on = [401], redirect = \"https://a/$request_uri\" }",
            "{ on = [410], path = \"/gone\", status = 301 },\n",
            "name = \"b-1\"\ninternal = true",
        ],
    );
    let script =
        "fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name; fastcgi_pass unix:/a;";
    check_pages(
        &format!(
            "root /w; location ~ \\.php$ {{ {script} fastcgi_intercept_errors on; error_page 404 /404.php; }}"
        ),
        &[
            "intercept_errors = true",
            "{ on = [404], path = \"/404.php\" }",
        ],
    );
}

/// As all lists of nginx, pages of a location stand in place of those around it.
#[test]
fn pages_are_inherited_as_a_whole() {
    let text = "http { error_page 502 /502.html; server { listen 80; root w; error_page 404 /404.html; \
                location /a/ { error_page 403 /403.html; } location /b/ { } } \
                server { listen 81; root w; location / { } } }";
    let toml = translated_text(text).unwrap().toml;
    for (route, page) in [
        (
            "starts_with = \"/a/\"",
            "[{ on = [403], path = \"/403.html\" }]",
        ),
        (
            "starts_with = \"/b/\"",
            "[{ on = [404], path = \"/404.html\" }]",
        ),
        (
            "listener = \"0.0.0.0:81\"",
            "[{ on = [502], path = \"/502.html\" }]",
        ),
    ] {
        let mut routes = toml.split("[[route]]");
        let found = routes.find(|text| {
            text.contains(route) || text.contains(&route.replace("starts_with", "prefix"))
        });
        let found = found.unwrap_or_else(|| panic!("{route}: {toml}"));
        assert!(found.contains(page), "{route}: {found}");
    }
}

/// A guard on a header and a `return` have the page of their place.
#[test]
fn answers_and_guards_have_pages() {
    let toml = translated_text(
        "http { server { listen 80; root w; error_page 403 /403.html; \
         location /a/ { return 403; } \
         location /b/ { if ($http_x_key != k) { return 403; } } } }",
    );
    let toml = toml.unwrap().toml;
    let answers = toml
        .split("[[route]]")
        .filter(|route| route.contains("status = 403"));
    let answers: Vec<_> = answers.collect();
    assert!(answers.len() >= 2, "{toml}");
    for route in answers {
        assert!(route.contains("path = \"/403.html\""), "{route}");
    }
}

#[test]
fn a_page_that_is_not_carried_over_is_listed() {
    for listed in [
        "error_page 404 @none;",
        "error_page 404 /$none;",
        "error_page 404 =99 /a;",
        "error_page 204 /a;",
        "error_page 497 https://a/;",
        "error_page 404 /a; recursive_error_pages on;",
    ] {
        let text = format!("root w; location / {{\n{listed} }}");
        check(&text, &Lossy(&[2]), &[]);
    }
    let text = "root w; location / { recursive_error_pages off; error_page 404 /a; }";
    check(text, &Exact, &[]);
}

/// One server with one location and one page needs no routes.
#[test]
fn the_page_of_a_simple_site_is_a_file() {
    let text = "http { server { listen 80; location / { proxy_pass http://a; proxy_set_header Host $http_host; } \
                error_page 500 502 503 504 /50x.html; location = /50x.html { root html; } } }";
    let toml = translated_text(text).unwrap().toml;
    assert!(
        toml.contains("[error_page]\nfile = \"html/50x.html\""),
        "{toml}"
    );
    assert!(!toml.contains("error_pages"), "{toml}");
}

#[test]
fn upstreams_may_redirect_as_in_nginx() {
    let toml = |inside: &str| {
        let text = format!(
            "http {{ server {{ listen 80; location /a/ {{ proxy_pass http://a; {inside} }} \
             location /in/ {{ internal; root w; }} }} }}"
        );
        translated_text(&text).unwrap().toml
    };
    assert!(toml("").contains("x_accel_redirect = true"));
    assert!(toml("proxy_ignore_headers Expires;").contains("x_accel_redirect = true"));
    let ignored = toml("proxy_ignore_headers X-Accel-Redirect;");
    assert!(!ignored.contains("x_accel_redirect"));
    assert!(
        ignored.contains("remove = [\"X-Accel-Redirect\","),
        "{ignored}"
    );
}
