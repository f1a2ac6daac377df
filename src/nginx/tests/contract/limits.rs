//! Tests of limits that are left out, and of large files.

use super::super::{read, translated_text};
use super::{OFF, answer};

#[test]
fn a_limit_that_is_not_carried_over_is_said_first() {
    for (zone, limit, why) in [
        (
            "limit_req_zone $uri zone=z:1m rate=1r/s;",
            "limit_req zone=z;",
            "by no $uri",
        ),
        (
            "limit_req_zone $remote_addr zone=z:1m;",
            "limit_req zone=z;",
            "no rate",
        ),
        (
            "limit_req_zone $remote_addr zone=z:1m rate=1r/h;",
            "limit_req zone=z;",
            "no rate",
        ),
        ("", "limit_req zone=z;", "no such zone"),
        ("", "limit_req;", "no such zone"),
        ("", "limit_conn z 1;", "no such zone"),
        (
            "limit_conn_zone $uri zone=z:1m;",
            "limit_conn z 1;",
            "by client",
        ),
    ] {
        let text = format!(
            "http {{ {zone} server {{ listen 80; {OFF} location / {{ proxy_pass http://a; charset x;\n\
             {limit} }} }} }}"
        );
        let translation = translated_text(&text).unwrap();
        assert_eq!(
            translation.unlimited, 1,
            "{text}\n{:#?}",
            translation.findings
        );
        let first = &translation.findings[0];
        assert!(first.starts_with("nginx.conf:2: not limited: "), "{first}");
        assert!(first.contains(why), "{first}");
        let (head, _) = translation.toml.split_once("\n[").unwrap();
        assert!(
            head.contains("# Not limited.") && head.contains(why),
            "{head}"
        );
    }
}

#[test]
fn a_limit_that_geogate_refuses_is_said_first() {
    let text = "http { limit_req_zone $remote_addr zone=z:1m rate=0r/s;\n\
                server { listen 80; root w; limit_req zone=z; } }";
    let translation = translated_text(text).unwrap();
    assert!(translation.unlimited > 0, "{:#?}", translation.findings);
    assert!(
        translation.toml.contains("\n# Not limited."),
        "{}",
        translation.toml
    );
}

/// Large blocks and registered tables are found by name, not one by one.
#[test]
fn hundreds_of_servers_keep_their_own() {
    let server = |number: usize| {
        format!(
            "server {{ listen 80; server_name s{number}.test; add_header X-A a{number} always;\n\
             location / {{ proxy_pass http://u{number}; }}\n\
             location /a/ {{ root w{number}; deny 10.{}.{}.1; limit_req zone=z burst={number}; }}\n\
             location /b/ {{ proxy_pass http://10.1.1.1:{}; }} }}\n\
             upstream u{number} {{ server 10.0.0.1:{}; }}\n",
            number / 250,
            number % 250,
            number + 1,
            number + 1
        )
    };
    let servers: String = (0..500).map(server).collect();
    let text = format!("http {{ limit_req_zone $remote_addr zone=z:1m rate=1r/s;\n{servers} }}");
    let translation = translated_text(&text).unwrap();
    let config = read(&translation.toml);
    assert_eq!(config.upstreams.len(), 1000);
    let last = answer(&config.routes, "s499.test", "/a/x");
    assert_eq!(last, "guarded files w499 index.html");
    assert_eq!(answer(&config.routes, "s7.test", "/b/x"), "upstream 15");
}
