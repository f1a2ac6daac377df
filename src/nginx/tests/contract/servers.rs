//! Servers: their listeners and names.

use super::Grade::{Exact, Lossy};
use super::{OFF, check, check_http};
use crate::nginx::tests::translated_text;

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
    // A `.name` of which an earlier server has a half is ignored as a whole; two names are two.
    let text = "server { listen 80; server_name a; return 200; } \
                server { listen 80; server_name .a c; return 201; }";
    check_http(
        text,
        &Exact,
        &[("a/", "200"), ("q.a/", "200"), ("c/", "201")],
    );
    let text = "server { listen 80; server_name a; return 200; } \
                server { listen 80; server_name a *.a; return 201; }";
    check_http(text, &Exact, &[("a/", "200"), ("q.a/", "201")]);
    // A name with a variable is one that no client asks for.
    let text = "server { listen 80; server_name a; return 200; } \
                server { listen 80; server_name $host; return 201; }";
    check_http(text, &Exact, &[("a/", "200"), ("b/", "200")]);
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
    let expected = [("a/", "files w index.html"), ("www.a/", "301")];
    check(by_host, &Exact, &expected);
    let by_header = format!(
        "{OFF}\nif ($http_x_forwarded_proto != https) {{ return 301 https://$host$request_uri; }}\n\
         location / {{ proxy_set_header Host $http_host;\nproxy_set_header X-Forwarded-Proto $http_x_forwarded_proto;\n\
         proxy_pass http://a; }}"
    );
    let expected = [("a/", "301"), ("a/|x-forwarded-proto: https", "upstream 0")];
    check(&by_header, &Lossy(&[4]), &expected);
}
