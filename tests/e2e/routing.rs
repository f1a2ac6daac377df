//! Which request goes where, and what becomes of it on the way.

use std::sync::Arc;

use crate::harness::{
    Authority, Chain, Client, ENGINES, Engine, EngineClient, Gateway, Http2, LOCAL_ENGINES, Origin,
    Port,
};

/// A gateway whose upstreams are called `a`, `b` and so on.
fn gateway(engine: Engine, origins: &[&Origin], routes: &str) -> Chain {
    let upstream = |(name, origin): (char, &&Origin)| {
        format!(
            "[[upstream]]\nname = '{name}'\npeers = ['{}']\n",
            origin.address
        )
    };
    let upstreams = ('a'..).zip(origins).map(upstream);
    let upstreams = upstreams.collect::<Vec<_>>().concat();
    engine.start(&format!("{upstreams}{routes}"))
}

#[test]
fn requests_go_by_host_path_and_method() {
    for engine in ENGINES {
        let (a, b) = (Origin::start(), Origin::start());
        let gateway = gateway(
            engine,
            &[&a, &b],
            "[[route]]\nhost = 'a.test'\nupstream = 'a'\n\
             [[route]]\nhost = '*.b.test'\nprefix = '/b'\nmethods = 'GET'\nupstream = 'b'\n",
        );
        let mut client = gateway.client();
        for (host, target, status) in [
            ("A.test:9000", "/x?y", 200),
            ("x.b.test", "/b/c", 200),
            ("x.b.test", "/bc", 404),
            ("b.test", "/b", 404),
        ] {
            let response = client.request_to(host, "GET", target, "", b"");
            assert_eq!(response.status, status, "{host}{target}");
        }
        let refused = client.request_to("x.b.test", "DELETE", "/b", "", b"");
        assert_eq!(
            (refused.status, refused.header("allow")),
            (405, Some("GET, HEAD"))
        );
        assert_eq!(a.last().target(), "GET /x?y");
        assert_eq!(b.last().target(), "GET /b/c");
        assert_eq!((a.requests().len(), b.requests().len()), (1, 1));
    }
}

#[test]
fn paths_have_their_place_among_prefixes_and_patterns() {
    for engine in ENGINES {
        let (a, b) = (Origin::start(), Origin::start());
        let gateway = gateway(
            engine,
            &[&a, &b],
            "[[route]]\nstarts_with = '/api'\npriority = 'below_regex'\nupstream = 'a'\nrewrite = '/v'\n\
             [[route]]\nstarts_with = '/api'\nregex = ['old', '[.]php$']\nrespond = { status = 410 }\n\
             [[route]]\nregex = '[.]php$'\nupstream = 'b'\n\
             [[route]]\npriority = 'first'\nregex = '/[.]git'\nrespond = { status = 403 }\n\
             [[route]]\npath = '/.git/x'\nupstream = 'a'\n",
        );
        let mut client = gateway.client();
        for (target, status) in [
            ("/api/x", 200),
            ("/apix", 200),
            ("/api/x.php", 200),
            ("/api/old.php", 410),
            ("/old.php", 200),
            ("/.git/x", 403),
            ("/other", 404),
        ] {
            let response = client.request("GET", target, "", b"");
            assert_eq!(response.status, status, "{target}");
        }
        let targets = |origin: &Origin| -> Vec<String> {
            origin
                .requests()
                .iter()
                .map(|one| one.target().to_owned())
                .collect()
        };
        assert_eq!(targets(&a), ["GET /v/x", "GET /vx"]);
        assert_eq!(targets(&b), ["GET /api/x.php", "GET /old.php"]);
    }
}

#[test]
fn hosts_may_be_patterns_with_groups() {
    for engine in LOCAL_ENGINES {
        let gateway = engine.start(
            "[[route]]\nhost = '~^(?<shop>[a-z]+)[.]([a-z]+)[.]test$'\n\
             respond = { body = '$host_shop of $host_2' }\n\
             [[route]]\nhost = 'grafana.*'\nrespond = { body = 'grafana' }\n",
        );
        let mut client = gateway.client();
        for (host, expected) in [
            ("shoes.city.test", "shoes of city"),
            ("grafana.example:81", "grafana"),
            ("Grafana.city.test", "grafana"),
        ] {
            let response = client.request_to(host, "GET", "/", "", b"");
            assert_eq!(
                (response.status, response.text()),
                (200, expected),
                "{host}"
            );
        }
        assert_eq!(
            client.request_to("shoes.test", "GET", "/", "", b"").status,
            404
        );
    }
}

#[test]
fn listeners_and_schemes_have_routes_of_their_own() {
    let (second, third) = (Port::reserve(), Port::reserve());
    let authority = Authority::new();
    let gateway = Gateway::start_in(
        &format!(
            "[server]\nlisten = [{{ address = '{{address}}', h2c = true }}, \
             {{ address = '{second}', h2c = true }}, {{ address = '{third}', tls = true }}]\n\
             [tls]\ncertificates = [{{ cert = '{{folder}}/tls.pem', key = '{{folder}}/tls.key' }}]\n\
             [[route]]\nlistener = '{second}'\nrespond = {{ body = 'second' }}\n\
             [[route]]\nscheme = 'https'\nrespond = {{ body = 'https' }}\n\
             [[route]]\nlistener = {}\npath = '/port'\nrespond = {{ body = 'port' }}\n\
             [[route]]\nrespond = {{ body = 'rest' }}\n",
            third.address.port(),
            second = second.address,
            third = third.address,
        ),
        |folder| authority.sign(&["localhost"]).write(folder, "tls"),
    );
    for (address, expected) in [(gateway.address, "rest"), (second.address, "second")] {
        let http1 = EngineClient::http1(Client::connect(address), Arc::default());
        let http2 = EngineClient::http2(Http2::connect(address), Arc::default());
        for mut client in [http1, http2] {
            for path in ["/", "/port"] {
                assert_eq!(client.get(path, "").text(), expected, "{path}");
            }
        }
    }
    let config = authority.client(&[]);
    let mut client = Client::connect_tls(third.address, &config, "localhost");
    for (path, expected) in [("/", "https"), ("/port", "port")] {
        assert_eq!(client.get(path, "").text(), expected, "{path}");
    }
}

#[test]
fn clients_go_by_their_place() {
    for engine in ENGINES {
        let (a, b) = (Origin::start(), Origin::start());
        let gateway = gateway(
            engine,
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
            let header = format!("X-Forwarded-For: {address}\r\n");
            assert_eq!(client.get("/", &header).status, 200);
            assert_eq!((a.requests().len(), b.requests().len()), seen, "{address}");
        }
    }
}

/// An application that knows headers by the names of CGI cannot tell them apart.
#[test]
fn no_spelling_of_a_header_gets_past_its_route() {
    for engine in ENGINES {
        let origin = Origin::start();
        let gateway = gateway(
            engine,
            &[&origin],
            "[[route]]\nupstream = 'a'\n\
             request_headers = { set = { X-User = 'us' }, remove = ['X-Old-Key'] }\n",
        );
        let lies = "X_User: a\r\nx-USER: b\r\nX_Old_Key: c\r\nX-Old_Key: d\r\nX_Other: e\r\n";
        let answer = gateway.client().get("/", lies);
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
    for engine in LOCAL_ENGINES {
        let gateway = gateway(engine, &[], "[[route]]\nrespond = { status = 403 }\n");
        let mut client = gateway.client();
        for form in engine.query_forms() {
            for target in [
                "/api/ip_query?ip=1.0.0.1",
                "/x/%2e%2e/api//ip_query?ip=1.0.0.1",
            ] {
                assert_eq!(client.get(target, form).status, 200, "{target}");
            }
        }
        assert_eq!(client.get("/api", "").status, 403);
    }
}

#[test]
fn no_spelling_reaches_the_upstream_past_its_route() {
    for engine in ENGINES {
        let origin = Origin::start();
        let gateway = gateway(
            engine,
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
            assert_eq!(gateway.client().get(target, "").status, status, "{target}");
        }
        assert_eq!(origin.requests().len(), 0);
        let mut client = gateway.client();
        for (target, sent) in [
            ("/admin/../x/%61?/admin/..", "/x/%61?/admin/.."),
            ("/@scope%2Fname", "/@scope%2Fname"),
            ("/fetch/http://host//x", "/fetch/http://host//x"),
        ] {
            assert_eq!(client.get(target, "").status, 200, "{target}");
            assert_eq!(origin.last().target(), format!("GET {sent}"));
        }
    }
}

/// Without routes there is nothing to get past, and everything is passed on as it came.
#[test]
fn without_routes_a_path_is_sent_as_it_came() {
    for engine in ENGINES {
        let origin = Origin::start();
        let gateway = gateway(engine, &[&origin], "");
        let mut client = gateway.client();
        assert_eq!(client.get("/a/../b//%2F?c", "").status, 200);
        assert_eq!(origin.last().target(), "GET /a/../b//%2F?c");
    }
}

#[test]
fn paths_are_rewritten() {
    for engine in ENGINES {
        let origin = Origin::start();
        let gateway = gateway(
            engine,
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
            assert_eq!(client.get(target, "").status, 200, "{target}");
            assert_eq!(origin.last().target(), format!("GET {sent}"));
        }
        let sent = origin.requests().len();
        for target in ["/up/x?to=..", "/up/x?to=%2e%2e", "/up/x?to=a/../.."] {
            assert_eq!(client.get(target, "").status, 400, "{target}");
        }
        assert_eq!(origin.requests().len(), sent);
    }
}

#[test]
fn clients_are_sent_elsewhere() {
    for engine in LOCAL_ENGINES {
        let gateway = gateway(
            engine,
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
            let response = client.get(target, "");
            assert_eq!(
                (response.status, response.header("location")),
                (status, Some(location)),
                "{target}"
            );
            assert_eq!(response.header("x-evil"), None);
        }
        // Who sends two slashes is not sent to a host of its choice.
        let response = client.get("//raw/../raw/", "");
        assert_eq!(response.header("location"), Some("/raw/../raw/"));
    }
}

#[test]
fn answers_are_given_without_an_upstream() {
    for engine in LOCAL_ENGINES {
        let gateway = gateway(
            engine,
            &[],
            "[[route]]\npath = '/robots.txt'\nrespond = { body = \"User-agent: *\\nDisallow: /\\n\" }\n\
             [[route]]\npath = '/hello'\nrespond = { status = 418, type = 'application/json', \
             body = '{\"you\": \"$remote_addr\", \"path\": \"$uri\"}' }\n\
             [[route]]\npath = '/none'\nrespond = { status = 204 }\n",
        );
        let mut client = gateway.client();
        let robots = client.get("/robots.txt", "");
        assert_eq!(robots.text(), "User-agent: *\nDisallow: /\n");
        assert_eq!(
            robots.header("content-type"),
            Some("text/plain; charset=utf-8")
        );
        let hello = client.get("/hello", "");
        assert_eq!(hello.status, 418);
        assert_eq!(
            hello.text(),
            "{\"you\": \"127.0.0.1\", \"path\": \"/hello\"}"
        );
        assert_eq!(hello.header("content-type"), Some("application/json"));
        assert_eq!(client.get("/none", "").status, 204);
        let head = client.request("HEAD", "/robots.txt", "", b"");
        assert_eq!(head.header("content-length"), Some("26"));
        assert_eq!(client.get("/none", "").status, 204);
    }
}

/// What is answered here does not end the connection, whatever the request's body.
#[test]
fn a_body_is_read_before_the_answer() {
    for engine in LOCAL_ENGINES {
        let gateway = gateway(
            engine,
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
            client.begin("POST", target, "");
            client.send_last("hello");
            assert_eq!(client.response().status, status, "{target}");
        }
    }
}

#[test]
fn headers_are_changed_both_ways() {
    for engine in ENGINES {
        let origin = Origin::start();
        let gateway = gateway(
            engine,
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
        let headers = "X-Forwarded-For: 1.0.0.1\r\nAccept: a\r\nX-Secret: b\r\nx-secret: c\r\n\
                       X-Empty: d\r\n";
        let response = client.get("/a%0d%0ab/%E4%B8%AD", headers);
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
    for engine in ENGINES {
        let origin = Origin::start();
        let gateway = gateway(
            engine,
            &[&origin],
            "[[route]]\nupstream = 'a'\nresponse_headers = { set = { X-A = '1' }, remove = ['X-Origin'] }\n\
             [[route]]\npath = '/r'\nredirect = { to = '/' }\nresponse_headers.set = { X-A = '2' }\n",
        );
        let mut client = gateway.client();
        assert_eq!(client.get("/r", "").header("x-a"), Some("2"));
        let passed = client.get("/", "");
        assert_eq!(
            (passed.header("x-a"), passed.header("x-origin")),
            (Some("1"), None)
        );
        let failed = client.get("/close", "");
        assert_eq!((failed.status, failed.header("x-a")), (502, Some("1")));
    }
}

#[test]
fn a_thousand_hosts_have_a_route_each() {
    let route = |n| format!("[[route]]\nhost = 'h{n}.test'\nrespond = {{ body = '{n}' }}\n");
    let routes = (0..1000).map(route).collect::<Vec<_>>().concat();
    for engine in LOCAL_ENGINES {
        let gateway = gateway(engine, &[], &routes);
        let mut client = gateway.client();
        for n in [0, 1, 500, 999] {
            let response = client.request_to(&format!("h{n}.test"), "GET", "/", "", b"");
            assert_eq!(response.text(), n.to_string());
        }
        let unknown = client.request_to("h1000.test", "GET", "/", "", b"");
        assert_eq!(unknown.status, 404);
    }
}
