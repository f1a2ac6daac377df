//! Tests of whole files. The output of `geogate check --nginx tests/nginx/NAME.conf` must be
//! exactly `tests/nginx/NAME.toml`.

mod contract;

use std::path::Path;

use proptest::prelude::*;

use crate::config::{self, Config, Overrides};
use crate::nginx::include::Files;
use crate::nginx::*;

fn translated_text(text: &str) -> Result<Translation, String> {
    let files = Files::of(Path::new("/nonexistent/nginx.conf"));
    let tree = parser::parse(text.as_bytes(), "nginx.conf", files);
    let tree = tree.map_err(|error| error.to_string())?;
    translated(&tree, "nginx.conf").map_err(|error| error.to_string())
}

fn read(toml: &str) -> Config {
    config::parse(toml, "geogate.toml", &Overrides::default()).unwrap()
}

#[track_caller]
fn check_file(name: &str) {
    let translation = translate(Path::new(&format!("tests/nginx/{name}.conf"))).unwrap();
    let expected = std::fs::read_to_string(format!("tests/nginx/{name}.toml")).unwrap();
    assert_eq!(translation.toml, expected);
    let _ = read(&translation.toml);
}

#[test]
fn a_public_site() {
    check_file("site");
}

#[test]
fn a_guarded_service() {
    check_file("guarded");
}

#[test]
fn places_of_clients() {
    check_file("geo");
}

#[test]
fn what_geogate_has_nothing_like() {
    check_file("odd");
}

/// Returns the first code block of a language in a Markdown text.
fn block<'t>(text: &'t str, language: &str) -> &'t str {
    let (_, after) = text.split_once(&format!("```{language}\n")).unwrap();
    after.split_once("```").unwrap().0
}

#[test]
fn the_documented_file_means_what_the_documentation_says() {
    let page = include_str!("../../conf/README.md");
    let translation = translated_text(block(page, "nginx")).unwrap();
    let shown = |toml: &str| {
        let mut config = read(toml);
        for upstream in &mut config.upstreams {
            upstream.name = "the one".to_owned();
        }
        format!("{config:#?}")
    };
    assert_eq!(shown(&translation.toml), shown(block(page, "toml")));
    assert!(translation.is_exact(), "{}", translation.toml);
}

#[test]
fn what_geogate_refuses_is_said_and_not_printed() {
    let text = "server { listen 99999; listen 80; location / { proxy_pass http://a b; } }
                worker_processes 100000;";
    let translation = translated_text(text).unwrap();
    assert!(
        translation
            .toml
            .contains("geogate does not take workers = 100000: 100000 is not within")
    );
    assert!(
        !translation.toml.contains("\nworkers"),
        "{}",
        translation.toml
    );
}

#[test]
fn no_directive_is_passed_over_in_silence() {
    let text = "no_such_directive 1; http { server { location / { no_such_other on; } } }";
    let toml = translated_text(text).unwrap().toml;
    for name in [
        "nginx.conf:1: no_such_directive 1",
        "nginx.conf:1: no_such_other on",
    ] {
        assert!(toml.contains(name), "{toml}");
    }
}

const NAMES: &str = "
    worker_processes error_log http server upstream location if listen server_name proxy_pass
    grpc_pass return rewrite root alias try_files set map geo geoip2 $var default allow deny
    limit_req limit_req_zone limit_conn limit_conn_zone access_log log_format error_page
    ssl_certificate ssl_certificate_key ssl_verify_client ssl_client_certificate ssl_protocols
    add_header proxy_set_header proxy_hide_header expires gzip gzip_types client_max_body_size
    keepalive_timeout large_client_header_buffers set_real_ip_from real_ip_header limit_except
    auth_basic hash sticky events proxy_next_upstream proxy_next_upstream_tries proxy_ssl_name
    index weird
";

const WORDS: &str = r#"
    / /a/ = ~ ~* ^~ /b @x (a $host $var $1 http://h https://h:1/x http://$var
    https://$host$request_uri 80 443 ssl default_server [::]:80 unix:/x 10.0.0.1:80 10.0.0.0/8
    all off on 301 404 444 zone=z:1m zone=z rate=1r/s burst=2 $remote_addr weight=0 weight=2
    backup 1m 0 10s -1 é "" *.x.org .x _ permanent break ^/a/(.*)$ /$1 max-age=1 country
    iso_code CN ($var 99999999999999999999 "a\nb" X-Name Host = CN) 'b'
"#;

/// Generates directives of known words, in places where they may have no meaning.
fn directive() -> impl Strategy<Value = String> {
    let words = |text: &'static str| text.split_whitespace().collect::<Vec<_>>();
    let name = prop::sample::select(words(NAMES));
    let word = prop::sample::select(words(WORDS));
    (name, prop::collection::vec(word, 0..4))
        .prop_map(|(name, words)| format!("{name} {}", words.join(" ")))
}

fn file() -> impl Strategy<Value = String> {
    let leaf = directive().prop_map(|text| format!("{text};\n"));
    let tree = leaf.prop_recursive(4, 40, 6, |inner| {
        (directive(), prop::collection::vec(inner, 0..6))
            .prop_map(|(text, inner)| format!("{text} {{\n{}}}\n", inner.concat()))
    });
    prop::collection::vec(tree, 0..6).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn whatever_a_file_says_the_result_is_valid(text in file()) {
        let servers = format!("http {{ {text} }}\nserver {{ {text} location / {{ {text} }} }}\n{text}");
        for text in [&text, &servers] {
            let translation = translated_text(text);
            let toml = translation.map(|translation| translation.toml);
            let toml = toml.map_err(TestCaseError::fail)?;
            let result = config::parse(&toml, "geogate.toml", &Overrides::default());
            prop_assert!(result.is_ok(), "{result:?}\n{toml}");
        }
    }
}
