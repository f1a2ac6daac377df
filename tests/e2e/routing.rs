//! Which request goes where, and what becomes of it on the way.

use crate::harness::{Client, DOORS, Gateway, Origin, Response};

/// A gateway whose upstreams are called `a`, `b` and so on.
fn gateway(origins: &[&Origin], routes: &str) -> Gateway {
    let upstream = |(name, origin): (char, &&Origin)| {
        format!(
            "[[upstream]]\nname = '{name}'\npeers = ['{}']\n",
            origin.address
        )
    };
    let upstreams = ('a'..).zip(origins).map(upstream);
    let upstreams = upstreams.collect::<Vec<_>>().concat();
    Gateway::start(&format!("{upstreams}{routes}"))
}

fn get(client: &mut Client, host: &str, target: &str, headers: &str) -> Response {
    client.send(format!(
        "GET {target} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n"
    ));
    client.response()
}

#[test]
fn requests_go_by_host_path_and_method() {
    for door in DOORS {
        let (a, b) = (Origin::start(), Origin::start());
        let gateway = gateway(
            &[&a, &b],
            "[[route]]\nhost = 'a.test'\nupstream = 'a'\n\
             [[route]]\nhost = '*.b.test'\nprefix = '/b'\nmethods = 'GET'\nupstream = 'b'\n",
        );
        let mut client = gateway.client();
        assert_eq!(get(&mut client, "A.test:9000", "/x?y", door).status, 200);
        assert_eq!(get(&mut client, "x.b.test", "/b/c", door).status, 200);
        assert_eq!(get(&mut client, "x.b.test", "/bc", door).status, 404);
        assert_eq!(get(&mut client, "b.test", "/b", door).status, 404);
        client.send(format!(
            "DELETE /b HTTP/1.1\r\nHost: x.b.test\r\n{door}\r\n"
        ));
        let refused = client.response();
        assert_eq!(
            (refused.status, refused.header("allow")),
            (405, Some("GET, HEAD"))
        );
        assert_eq!(a.last().line, "GET /x?y HTTP/1.1");
        assert_eq!(b.last().line, "GET /b/c HTTP/1.1");
        assert_eq!((a.requests().len(), b.requests().len()), (1, 1));
    }
}

#[test]
fn clients_go_by_their_place() {
    for door in DOORS {
        let (a, b) = (Origin::start(), Origin::start());
        let gateway = gateway(
            &[&a, &b],
            "[[route]]\nupstream = 'a'\n\
             [[route]]\nregions = '福建'\nupstream = 'b'\n\
             [client_ip]\ntrusted_proxies = ['127.0.0.1']\n",
        );
        let mut client = gateway.client();
        for (address, seen) in [
            ("1.0.0.1", (0, 1)),
            ("1.1.0.1", (1, 1)),
            ("9.9.9.9", (2, 1)),
        ] {
            let header = format!("X-Forwarded-For: {address}\r\n{door}");
            assert_eq!(client.get("/", &header).status, 200);
            assert_eq!((a.requests().len(), b.requests().len()), seen, "{address}");
        }
    }
}

/// An application that knows headers by the names of CGI cannot tell them apart.
#[test]
fn no_spelling_of_a_header_gets_past_its_route() {
    for door in DOORS {
        let origin = Origin::start();
        let gateway = gateway(
            &[&origin],
            "[[route]]\nupstream = 'a'\n\
             request_headers = { set = { X-User = 'us' }, remove = ['X-Old-Key'] }\n",
        );
        let lies = "X_User: a\r\nx-USER: b\r\nX_Old_Key: c\r\nX-Old_Key: d\r\nX_Other: e\r\n";
        let answer = gateway.client().get("/", &format!("{lies}{door}"));
        assert_eq!(answer.status, 200);
        let sent = origin.last();
        assert_eq!(sent.values("x-user"), ["us"]);
        for name in ["x_user", "x-old-key", "x_old_key", "x-old_key"] {
            assert!(sent.values(name).is_empty(), "{sent:?}");
        }
        assert_eq!(sent.values("x_other"), ["e"]);
    }
}

/// The query API is not a route's to take.
#[test]
fn queries_are_answered_before_routes() {
    for door in DOORS {
        let gateway = gateway(&[], "[[route]]\nrespond = { status = 403 }\n");
        let mut client = gateway.client();
        assert_eq!(client.get("/api/ip_query?ip=1.0.0.1", door).status, 200);
        assert_eq!(
            client
                .get("/x/%2e%2e/api//ip_query?ip=1.0.0.1", door)
                .status,
            200
        );
        assert_eq!(client.get("/api", door).status, 403);
    }
}

#[test]
fn no_spelling_reaches_the_upstream_past_its_route() {
    for door in DOORS {
        let origin = Origin::start();
        let gateway = gateway(
            &[&origin],
            "[[route]]\nupstream = 'a'\n\
             [[route]]\nprefix = '/admin'\nrespond = { status = 403 }\n",
        );
        for (target, status) in [
            ("/admin", 403),
            ("/%61dmin", 403),
            ("//admin", 403),
            ("/x/../admin", 403),
            ("/x/%2e%2e/admin/y", 403),
            ("/admin%2Fx", 400),
            ("/x/..%2fadmin", 400),
            ("/x/..%5cadmin", 400),
            ("/x/..\\admin", 400),
            ("/admin%00", 400),
            ("/x/..;/admin", 400),
        ] {
            // Some end the connection.
            assert_eq!(
                gateway.client().get(target, door).status,
                status,
                "{target}"
            );
        }
        assert_eq!(origin.requests().len(), 0);
        let mut client = gateway.client();
        for (target, sent) in [
            ("/admin/../x/%61?/admin/..", "/x/%61?/admin/.."),
            ("/@scope%2Fname", "/@scope%2Fname"),
            ("/fetch/http://host//x", "/fetch/http://host//x"),
        ] {
            assert_eq!(client.get(target, door).status, 200, "{target}");
            assert_eq!(origin.last().line, format!("GET {sent} HTTP/1.1"));
        }
    }
}

/// Without routes there is nothing to get past, and everything is passed on as it came.
#[test]
fn without_routes_a_path_is_sent_as_it_came() {
    for door in DOORS {
        let origin = Origin::start();
        let gateway = gateway(&[&origin], "");
        let mut client = gateway.client();
        assert_eq!(client.get("/a/../b//%2F?c", door).status, 200);
        assert_eq!(origin.last().line, "GET /a/../b//%2F?c HTTP/1.1");
    }
}

#[test]
fn paths_are_rewritten() {
    for door in DOORS {
        let origin = Origin::start();
        let gateway = gateway(
            &[&origin],
            "[[route]]\nprefix = '/api'\nupstream = 'a'\nrewrite = '/'\n\
             [[route]]\nprefix = '/old/'\nupstream = 'a'\nrewrite = '/new'\n\
             [[route]]\npath = '/one'\nupstream = 'a'\nrewrite = '/two?from=$uri&place=$country'\n\
             [[route]]\nregex = '^/user/([^/]+)/(?<rest>.*)$'\nupstream = 'a'\nrewrite = '/$rest?id=$1'\n\
             [[route]]\nregex = '^/up/(.*)$'\nupstream = 'a'\nrewrite = '/x/$arg_to/$1'\n",
        );
        let mut client = gateway.client();
        for (target, sent) in [
            ("/api", "/"),
            ("/api/x%20y?z=%20", "/x%20y?z=%20"),
            ("/api/a/../b%3Fc", "/b%3Fc"),
            ("/old/x", "/new/x"),
            ("/old/", "/new"),
            ("/one?two", "/two?from=/one&place="),
            ("/user/a%26b%0d%0a/c%2520", "/c%2520?id=a%26b%0D%0A"),
            ("/up/y?to=z", "/x/z/y?to=z"),
        ] {
            assert_eq!(client.get(target, door).status, 200, "{target}");
            assert_eq!(origin.last().line, format!("GET {sent} HTTP/1.1"));
        }
        let sent = origin.requests().len();
        for target in ["/up/x?to=..", "/up/x?to=%2e%2e", "/up/x?to=a/../.."] {
            assert_eq!(client.get(target, door).status, 400, "{target}");
        }
        assert_eq!(origin.requests().len(), sent);
    }
}

#[test]
fn clients_are_sent_elsewhere() {
    for door in DOORS {
        let gateway = gateway(
            &[],
            "[[route]]\nredirect = { to = 'https://$host$request_uri', status = 308 }\n\
             [[route]]\nregex = '^/old/(.*)$'\nredirect = { to = '/new/$1?x=$arg_x' }\n\
             [[route]]\nregex = '^/go(/.*)$'\nredirect = { to = '$1' }\n\
             [[route]]\nprefix = '/raw'\nredirect = { to = '$request_uri' }\n",
        );
        let mut client = gateway.client();
        for (target, status, location) in [
            ("/a%20b?c=%20", 308, "https://test/a%20b?c=%20"),
            ("/old/a%20b/%E4%B8%AD", 302, "/new/a%20b/%E4%B8%AD?x="),
            (
                "/old/a%0d%0aX-Evil:%201?x=%0a",
                302,
                "/new/a%0D%0AX-Evil:%201?x=%0a",
            ),
            ("/go//evil.example/", 302, "/evil.example/"),
            ("/go/%5cevil.example/", 302, "/%5Cevil.example/"),
            ("/raw", 302, "/raw"),
        ] {
            let response = client.get(target, door);
            assert_eq!(
                (response.status, response.header("location")),
                (status, Some(location)),
                "{target}"
            );
            assert_eq!(response.header("x-evil"), None);
        }
        // Who sends two slashes is not sent to a host of its choice.
        let response = client.get("//raw/../raw/", door);
        assert_eq!(response.header("location"), Some("/raw/../raw/"));
    }
}

#[test]
fn answers_are_given_without_an_upstream() {
    for door in DOORS {
        let gateway = gateway(
            &[],
            "[[route]]\npath = '/robots.txt'\nrespond = { body = \"User-agent: *\\nDisallow: /\\n\" }\n\
             [[route]]\npath = '/hello'\nrespond = { status = 418, type = 'application/json', \
             body = '{\"you\": \"$remote_addr\", \"path\": \"$uri\"}' }\n\
             [[route]]\npath = '/none'\nrespond = { status = 204 }\n",
        );
        let mut client = gateway.client();
        let robots = client.get("/robots.txt", door);
        assert_eq!(robots.text(), "User-agent: *\nDisallow: /\n");
        assert_eq!(
            robots.header("content-type"),
            Some("text/plain; charset=utf-8")
        );
        let hello = client.get("/hello", door);
        assert_eq!(hello.status, 418);
        assert_eq!(
            hello.text(),
            "{\"you\": \"127.0.0.1\", \"path\": \"/hello\"}"
        );
        assert_eq!(hello.header("content-type"), Some("application/json"));
        assert_eq!(client.get("/none", door).status, 204);
        client.send(format!(
            "HEAD /robots.txt HTTP/1.1\r\nHost: h\r\n{door}\r\n"
        ));
        assert_eq!(
            client.response_without_body().header("content-length"),
            Some("26")
        );
        assert_eq!(client.get("/none", door).status, 204);
    }
}

/// What is answered here does not end the connection, whatever the request's body.
#[test]
fn a_body_is_read_before_the_answer() {
    let gateway = gateway(
        &[],
        "[[route]]\nrespond = {}\n[[route]]\nprefix = '/get'\nmethods = 'GET'\nrespond = {}\n\
         [[route]]\npath = '/go'\nredirect = { to = '/' }\n[client]\nmax_body_size = 1000000\n",
    );
    let mut client = gateway.client();
    for (target, status) in [
        ("/", 200),
        ("/go", 302),
        ("/get", 200),
        ("/x%2f..%2fgo", 400),
    ] {
        let response = client.request("POST", target, "", &vec![b'x'; 500_000]);
        assert_eq!(response.status, status, "{target}");
        client.send(format!(
            "POST {target} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        ));
        client.send("5\r\nhello\r\n0\r\n\r\n");
        assert_eq!(client.response().status, status, "{target}");
    }
}

#[test]
fn headers_are_changed_both_ways() {
    for door in DOORS {
        let origin = Origin::start();
        let gateway = gateway(
            &[&origin],
            "[client_ip]\ntrusted_proxies = ['127.0.0.1']\n\
             [[route]]\nname = 'shop'\nupstream = 'a'\nregex = '^/(.*)$'\n\
             request_headers.set = { Host = 'inner', X-Country = '$country/$region', X-Path = '$1', \
             X-Empty = '$arg_none', X-Route = '$route' }\n\
             request_headers.remove = ['Accept', 'X-Secret']\n\
             response_headers.set = { X-Frame-Options = 'DENY', X-Origin = '$scheme $remote_addr' }\n\
",
        );
        let mut client = gateway.client();
        let headers = format!(
            "X-Forwarded-For: 1.0.0.1\r\nAccept: a\r\nX-Secret: b\r\nx-secret: c\r\nX-Empty: d\r\n{door}"
        );
        let response = client.get("/a%0d%0ab/%E4%B8%AD", &headers);
        assert_eq!(response.header("x-frame-options"), Some("DENY"));
        assert_eq!(response.header("x-origin"), Some("http 1.0.0.1"));
        let request = origin.last();
        for (name, expected) in [
            ("Host", &["inner"][..]),
            ("X-Forwarded-Host", &["test"]),
            ("X-Country", &["CN/%E7%A6%8F%E5%BB%BA"]),
            ("X-Path", &["a%0D%0Ab/%E4%B8%AD"]),
            ("X-Route", &["shop"]),
            ("X-Empty", &[]),
            ("Accept", &[]),
            ("X-Secret", &[]),
            ("X-Geo-Country", &["CN"]),
        ] {
            assert_eq!(request.values(name), expected, "{name}");
        }
    }
}

#[test]
fn a_routes_response_headers_are_on_its_own_answers_and_errors_too() {
    for door in DOORS {
        let origin = Origin::start();
        let gateway = gateway(
            &[&origin],
            "[[route]]\nupstream = 'a'\nresponse_headers = { set = { X-A = '1' }, remove = ['X-Origin'] }\n\
             [[route]]\npath = '/r'\nredirect = { to = '/' }\nresponse_headers.set = { X-A = '2' }\n",
        );
        let mut client = gateway.client();
        assert_eq!(client.get("/r", door).header("x-a"), Some("2"));
        let passed = client.get("/", door);
        assert_eq!(
            (passed.header("x-a"), passed.header("x-origin")),
            (Some("1"), None)
        );
        let failed = client.get("/close", door);
        assert_eq!((failed.status, failed.header("x-a")), (502, Some("1")));
    }
}

#[test]
fn a_thousand_hosts_have_a_route_each() {
    let route = |n| format!("[[route]]\nhost = 'h{n}.test'\nrespond = {{ body = '{n}' }}\n");
    let routes = (0..1000).map(route).collect::<Vec<_>>().concat();
    let gateway = gateway(&[], &routes);
    let mut client = gateway.client();
    for n in [0, 1, 500, 999] {
        assert_eq!(
            get(&mut client, &format!("h{n}.test"), "/", "").text(),
            n.to_string()
        );
    }
    assert_eq!(get(&mut client, "h1000.test", "/", "").status, 404);
}
