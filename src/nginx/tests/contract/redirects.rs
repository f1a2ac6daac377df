//! Tests of `proxy_redirect`.

use super::super::{read, translated_text};
use crate::config::model::{Action, Part, RequestVariable, Route, Template, ValuePattern};

/// Checks the rules by which a server's routes rewrite redirects. The translation must be exact.
#[track_caller]
fn check_redirects(text: &str, expected: &[(&str, &str)]) {
    let host = "proxy_set_header Host $http_host;";
    let text = format!("http {{ server {{ listen 80; {host} {text} }} }}");
    let translation = translated_text(&text).unwrap();
    let findings = &translation.findings;
    assert!(translation.is_exact(), "{findings:#?} of {text}");
    let config = read(&translation.toml);
    let rules: Vec<_> = config.routes.iter().flat_map(rewrites).collect();
    let found: Vec<_> = rules
        .iter()
        .map(|(a, b)| (a.as_str(), b.as_str()))
        .collect();
    assert_eq!(found, expected, "{text}\n{}", translation.toml);
}

#[test]
fn redirects_have_the_headers_of_their_block() {
    let text = "http { server { listen 80; add_header X-A b always; rewrite ^/old$ /new permanent;
                location / { rewrite ^(.+)/$ $1 permanent; proxy_pass http://a; }
                location /b/ { add_header X-C d always; proxy_pass http://b; } } }";
    let translation = translated_text(text).unwrap();
    let lines: Vec<&str> = translation.toml.lines().collect();
    let of_redirects = lines
        .iter()
        .enumerate()
        .filter(|(_, line)| line.starts_with("redirect = "));
    let headers: Vec<&str> = of_redirects.map(|(at, _)| lines[at + 1]).collect();
    let of_server = "response_headers = { add = { X-A = \"b\" } }";
    let of_location = "response_headers = { add = { X-C = \"d\" } }";
    assert_eq!(
        headers,
        [of_server, of_server, of_location],
        "{}",
        translation.toml
    );
}

#[test]
fn redirects_of_upstreams_are_rewritten_as_nginx_does_unasked() {
    let check = check_redirects;
    check(
        "location / { proxy_pass http://a:8080; }",
        &[("http://a:8080/", "/")],
    );
    check(
        "location /one/ { proxy_pass http://a/two/; proxy_redirect default; }",
        &[("http://a/two/", "/one/")],
    );
    check(
        "location = /one { proxy_pass http://a/two; }",
        &[("http://a/two", "/one")],
    );
    check(
        "location ~ ^/x { proxy_pass http://a; }",
        &[("http://a/", "/")],
    );
    check("location / { proxy_pass http://a$request_uri; }", &[]);
}

#[test]
fn redirects_of_upstreams_are_rewritten_as_they_are_to_be() {
    let check = check_redirects;
    check(
        "location / { proxy_pass http://a; proxy_redirect http://b/$is_args / ; \
         proxy_redirect http:// $scheme://; }",
        &[("http://b/$is_args", "/"), ("http://", "$scheme://")],
    );
    check(
        "location / { proxy_pass http://a; proxy_redirect ~*^http://b/(.*)$ /c/$1; }",
        &[("~(?i)^http://b/(.*)$", "/c/$1")],
    );
    for off in [
        "location / { proxy_pass http://a; proxy_redirect off; }",
        "proxy_redirect off; location / { proxy_pass http://a; }",
        "proxy_redirect http://c/ /c/; location / { proxy_pass http://a; proxy_redirect off; }",
        "location / { proxy_pass http://a; proxy_redirect http://c/ /; proxy_redirect off; }",
    ] {
        check(off, &[]);
    }
    // A block without `proxy_redirect` inherits from the block around it.
    check(
        "proxy_redirect http://c/ /c/; location / { proxy_pass http://a; }",
        &[("http://c/", "/c/")],
    );
    check(
        "proxy_redirect off; location / { proxy_pass http://a; proxy_redirect default; }",
        &[("http://a/", "/")],
    );
    // It also inherits a default that nginx derives from the `proxy_pass` there.
    let nested = "location /a/ { proxy_pass http://a; location /a/b/ { proxy_pass http://b; } }";
    check(nested, &[("http://a/", "/"), ("http://a/", "/")]);
}

/// Returns a route's rules for redirects, with variables as in the configuration.
fn rewrites(route: &Route) -> Vec<(String, String)> {
    let written = |template: &Template<RequestVariable>| {
        let part = |part: &Part<RequestVariable>| match part {
            Part::Text(text) => text.clone(),
            Part::Variable(RequestVariable::Scheme) => "$scheme".to_owned(),
            Part::Variable(RequestVariable::IsArgs) => "$is_args".to_owned(),
            Part::Variable(RequestVariable::Capture(number)) => format!("${number}"),
            Part::Variable(other) => panic!("{other:?}"),
        };
        template.parts().iter().map(part).collect::<String>()
    };
    match &route.action {
        Action::Upstream {
            rewrite_location, ..
        } => {
            let rules = rewrite_location.iter();
            rules
                .map(|rule| match &rule.from {
                    ValuePattern::Text(from) => (written(from), written(&rule.to)),
                    ValuePattern::Regex(regex) => (format!("~{regex}"), written(&rule.to)),
                })
                .collect()
        }
        _ => Vec::new(),
    }
}
