//! Tests of passwords.

use super::Grade::{Closed, Exact};
use super::check;
use crate::nginx::tests::translated_text;

/// A password file that exists.
const USERS: &str = "auth_basic x; auth_basic_user_file tests/nginx/users;";

#[test]
fn passwords_are_inherited_and_turned_off() {
    let text = format!(
        "root w; {USERS} location /a/ {{ proxy_pass http://a; }} \
         location /b/ {{ auth_basic off; proxy_pass http://a; }} \
         location = /c {{ return 200; }} location /d/ {{ root v; }}"
    );
    let expected = [
        ("/a/x", "password upstream 0"),
        ("/b/x", "upstream 0"),
        // nginx answers before it asks.
        ("/c", "200"),
        ("/d/x", "password files v index.html"),
        ("/e", "password files w index.html"),
    ];
    check(&text, &Exact, &expected);
}

#[test]
fn named_and_nested_locations_ask_as_well() {
    let text = format!(
        "root w; location /a/ {{ {USERS} try_files $uri @b; location ~ x$ {{ root v; }} }} \
         location @b {{ {USERS} proxy_pass http://a; }} location / {{ }}"
    );
    let expected = [
        ("/a/y", "password files w index.html"),
        ("/a/x", "password files v index.html"),
        ("/y", "files w index.html"),
    ];
    check(&text, &Exact, &expected);
    let translation = translated_text(&format!("http {{ server {{ listen 80; {text} }} }}"));
    let toml = translation.unwrap().toml;
    let named = toml
        .split("[[route]]")
        .find(|route| route.contains("\"b-1\"") && route.contains("internal"));
    assert!(named.unwrap().contains("auth = [\"users-1\"]"), "{toml}");
}

#[test]
fn addresses_and_passwords_are_alternatives_or_both() {
    let rules = "allow 10.0.0.0/8; deny all;";
    let both = format!("location / {{ {rules} {USERS} proxy_pass http://a; }}");
    check(&both, &Exact, &[("/", "guarded password upstream 0")]);
    let any = format!("{rules} satisfy any; location / {{ {USERS} proxy_pass http://a; }}");
    check(&any, &Exact, &[("/", "guarded or password upstream 0")]);
    // Without a password to ask for, the rules alone hold.
    let alone = format!("satisfy any; location / {{ {rules} proxy_pass http://a; }}");
    check(&alone, &Exact, &[("/", "guarded upstream 0")]);
}

#[test]
fn a_client_without_a_rule_needs_a_password() {
    let default = |rules: &str| {
        let text = format!(
            "http {{ server {{ listen 80; {rules} satisfy any; \
             location / {{ {USERS} proxy_pass http://a; }} }} }}"
        );
        let toml = translated_text(&text).unwrap().toml;
        let rules = toml.split("[[access]]").nth(1).unwrap().to_owned();
        let default = rules.lines().find(|line| line.starts_with("default"));
        default.unwrap().to_owned()
    };
    assert_eq!(default("allow 10.0.0.0/8;"), "default = \"deny\"");
    assert_eq!(default("deny 10.0.0.0/8;"), "default = \"deny\"");
    assert_eq!(
        default("deny 10.0.0.0/8; allow all;"),
        "default = \"allow\""
    );
}

#[test]
fn passwords_that_cannot_be_asked_for_close() {
    for directives in [
        "auth_basic x;\nauth_basic_user_file /etc;",
        "auth_basic x;\nauth_basic_user_file /etc/$host;",
        "\nauth_basic $realm; auth_basic_user_file tests/nginx/users;",
        "\nauth_basic x;",
    ] {
        let text = format!(
            "location /a/ {{ {directives} proxy_pass http://a; }} location / {{ root w; }}"
        );
        let expected = [("/a/x", "403"), ("/x", "files w index.html")];
        check(&text, &Closed(&[2]), &expected);
    }
    let text = format!(
        "location /a/ {{ {USERS} allow 10.0.0.0/8; deny all;\nsatisfy any; \
         if ($http_x) {{ return 403; }} proxy_pass http://a; }}"
    );
    check(&text, &Closed(&[2]), &[("/a/x", "403")]);
}
