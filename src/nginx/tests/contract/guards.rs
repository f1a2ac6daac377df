//! Tests of guards on headers.

use super::Grade::{Exact, Lossy};
use super::{OFF, check, check_http};

/// Checks an `if` with this condition, beside a `map`, in a server and in locations: the values of
/// User-Agent that are answered with 403, and those that are not.
#[track_caller]
fn check_guard(map: &str, condition: &str, denied: &[&str], allowed: &[&str]) {
    let guard = format!("if ({condition}) {{ return 403; }}");
    let of_server = format!(
        "{map} server {{ listen 80; root w; {guard} location ^~ /a/ {{ root v; }} \
         location = /b {{ return 200 b; }} location ~ x$ {{ return 201 x; }} }}"
    );
    let of_locations = format!(
        "{map} server {{ listen 80; root w; location ^~ /a/ {{ root v; {guard} }} \
         location = /b {{ {guard} return 200 b; }} location ~ x$ {{ return 201 x; }} }}"
    );
    let open = ["files v index.html", "200", "files w index.html", "201"];
    let check = |text: &str, agent: &str, answers: [&str; 4]| {
        let requests = ["/a/y", "/b", "/y", "/x"].map(|path| match agent {
            "" => path.to_owned(),
            agent => format!("{path}|user-agent: {agent}"),
        });
        let expected = requests.iter().map(String::as_str).zip(answers);
        check_http(text, &Exact, &expected.collect::<Vec<_>>());
    };
    for agent in denied {
        check(&of_server, agent, ["403"; 4]);
        check(&of_locations, agent, ["403", "403", open[2], open[3]]);
    }
    for agent in allowed {
        check(&of_server, agent, open);
        check(&of_locations, agent, open);
    }
}

#[test]
fn a_guard_on_a_header_holds_where_it_stands() {
    let agent = "$http_user_agent";
    let check = |condition: &str, denied: &[&str], allowed: &[&str]| {
        check_guard("", &format!("{agent} {condition}"), denied, allowed);
    };
    check("~* \"bot|crawl\"", &["MyBot", "crawler"], &["Firefox"]);
    check("~ ^curl", &["curl/8"], &["Curl", "x curl"]);
    check("= x", &["x"], &["X", "xx"]);
    check("!= x", &["", "X"], &["x"]);
    check("!~* ^good/", &["", "bad"], &["GOOD/1"]);
    check("= \"\"", &[""], &["x"]);
    check_guard("", agent, &["x", "00"], &["0"]);
    check_guard(
        &format!("map {agent} $bad {{ default 0; ~*bot 1; ~^x 1; Evil 1; }}"),
        "$bad",
        &["aBOT", "x", "EVIL"],
        &["evil2", "b"],
    );
    check_guard(
        &format!("map {agent} $bad {{ default 1; ~*firefox 0; }}"),
        "$bad",
        &["", "curl"],
        &["Firefox"],
    );
}

#[test]
fn guards_on_headers_go_together() {
    let text = format!(
        "{OFF} if ($http_a = x) {{ return 403; }} if ($http_b != y) {{ return 403; }} \
         location / {{ limit_except GET {{ deny all; }} proxy_pass http://a; }}"
    );
    let expected = [("/", "403"), ("/|b: y", "upstream 0"), ("/|a: x", "403")];
    check(&text, &Exact, &expected);
}

#[test]
fn a_guard_on_a_header_has_the_place_of_its_location() {
    for location in ["~ x$", "/x"] {
        let text = format!(
            "root w; location {location} {{ if ($http_a = x) {{ return 403; }} return 200; }} \
             location ~ ^/x {{ return 201; }} location / {{ }}"
        );
        let first = if location.starts_with('~') {
            "200"
        } else {
            "201"
        };
        let guarded = if location.starts_with('~') {
            "403"
        } else {
            "201"
        };
        let expected = [
            ("/x/x", first),
            ("/x/x|a: x", guarded),
            ("/y", "files w index.html"),
        ];
        check(&text, &Exact, &expected);
    }
}

#[test]
fn a_guard_on_a_header_that_routes_cannot_say_closes() {
    let text = "root w; location / { } location /x/ { rewrite ^ /y break;\nif ($http_a = x) { return 403; } }";
    // nginx does not come to the condition.
    let expected = [
        ("/x/x|a: x", "files w index.html"),
        ("/y", "files w index.html"),
    ];
    check(text, &Exact, &expected);
    let text = "root w;\nif ($http_a = x) { return 444; }";
    let expected = [("/|a: x", "403"), ("/", "files w index.html")];
    check(text, &Lossy(&[2]), &expected);
}
