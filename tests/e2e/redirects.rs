//! Redirects of upstreams that name themselves, rewritten for clients that know them by another name.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};

use crate::harness::{Bridge, Chain, ENGINES, Engine};

/// An upstream that sends everyone to where the query says, in the header that the path names. It is
/// asked for `/v2/HEADER?VALUE` and has its own address for `SELF`.
fn redirecting() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut out = stream.unwrap();
            let mut input = BufReader::new(out.try_clone().unwrap());
            std::thread::spawn(move || {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    if input.read_until(b'\n', &mut head).unwrap() == 0 {
                        return;
                    }
                }
                let head = String::from_utf8(head).unwrap();
                let target = head.split(' ').nth(1).unwrap();
                let (header, value) = target["/v2/".len()..].split_once('?').unwrap();
                let value = value.replace("SELF", &format!("http://{address}"));
                // Which host was asked for tells that the connection is to the upstream itself.
                let answer = format!(
                    "HTTP/1.1 302 Found\r\n{header}: {value}\r\nX-Server: {address}\r\n\
                     Content-Length: 0\r\nConnection: close\r\n\r\n"
                );
                out.write_all(answer.as_bytes()).unwrap();
            });
        }
    });
    address
}

/// A gateway before an upstream that calls itself `upstream` and is reached over the bridge.
fn gateway(engine: Engine, upstream: SocketAddr, bridge: &Bridge) -> Chain {
    let peer = bridge.address;
    engine.start(&format!(
        "[[upstream]]\nname = 'a'\npeers = ['{peer}']\n\
         [[route]]\nprefix = '/api'\nupstream = 'a'\nrewrite = '/v2'\n\
         rewrite_location = [\n\
         {{ from = 'http://{upstream}/v2/', to = '/api/' }},\n\
         {{ from = 'http://{upstream}/', to = '/' }},\n\
         {{ from = 'http://', to = '$scheme://$host:81/' }}]\n\
         response_headers = {{ set = {{ X-Route = 'api' }} }}\n\
         [[route]]\nprefix = '/same'\nupstream = 'a'\nrewrite = '/v2'\n\
         [[route]]\nprefix = '/own'\nredirect = {{ to = 'http://{upstream}/' }}\n"
    ))
}

#[test]
fn a_redirect_to_the_upstream_leads_to_the_gateway() {
    let upstream = redirecting();
    for engine in ENGINES {
        let bridge = engine.bridge(upstream);
        let gateway = gateway(engine, upstream, &bridge);
        for (sent, expected) in [
            ("Location?SELF/v2/x", "/api/x"),
            ("Location?SELF/login", "/login"),
            ("Location?SELF//evil.test/", "/.//evil.test/"),
            ("Location?http://other.test", "http://test:81/other.test"),
            ("Location?https://other.test/", "https://other.test/"),
            ("Location?/v2/x", "/v2/x"),
            ("Refresh?5;url=SELF/v2/", "5;url=/api/"),
            ("X-Link?SELF/v2/", "SELF/v2/"),
        ] {
            let name = sent.split_once('?').unwrap().0.to_ascii_lowercase();
            let expected = expected.replace("SELF", &format!("http://{upstream}"));
            let target = format!("/api/{sent}");
            for (method, body) in [("GET", &b""[..]), ("POST", b"body")] {
                let response = gateway.client().request(method, &target, "", body);
                assert_eq!(response.status, 302, "{sent}");
                assert_eq!(response.header(&name), Some(&expected[..]), "{sent}");
                assert_eq!(response.header("x-route"), Some("api"));
                let server = response.header("x-server");
                assert_eq!(server, Some(&upstream.to_string()[..]));
            }
        }
    }
}

#[test]
fn without_a_rule_a_redirect_stays_as_it_is() {
    let upstream = redirecting();
    for engine in ENGINES {
        let bridge = engine.bridge(upstream);
        let gateway = gateway(engine, upstream, &bridge);
        let expected = format!("http://{upstream}/v2/x");
        let passed = gateway.client().get("/same/Location?SELF/v2/x", "");
        assert_eq!(passed.header("location"), Some(&expected[..]));
        // The gateway's own redirects mean what they say.
        let own = gateway.client().get("/own", "");
        let expected = format!("http://{upstream}/");
        assert_eq!(own.header("location"), Some(&expected[..]));
    }
}

#[test]
fn a_redirect_may_be_matched_by_a_regex() {
    let upstream = redirecting();
    for engine in ENGINES {
        let bridge = engine.bridge(upstream);
        let gateway = engine.start(&format!(
            "[[upstream]]\nname = 'a'\npeers = ['{}']\n\
             [[route]]\nprefix = '/api'\nupstream = 'a'\nrewrite = '/v2'\n\
             rewrite_location = [{{ from = '~^http://[^/]+:(\\d+)/v2(/.*)$', to = 'https://$host$2?port=$1' }}]\n",
            bridge.address
        ));
        for (sent, expected) in [
            ("http://in:81/v2/a%2Fb", "https://test/a%2Fb?port=81"),
            ("http://in/v2/a", "http://in/v2/a"),
        ] {
            let response = gateway.client().get(&format!("/api/Location?{sent}"), "");
            assert_eq!(response.header("location"), Some(expected));
        }
    }
}

#[test]
fn cookies_of_the_upstream_are_those_of_the_gateway() {
    let upstream = redirecting();
    for engine in ENGINES {
        let bridge = engine.bridge(upstream);
        let gateway = engine.start(&format!(
            "[[upstream]]\nname = 'a'\npeers = ['{}']\nsticky_cookie = 'peer'\n\
             [[route]]\nprefix = '/api'\nupstream = 'a'\nrewrite = '/v2'\n\
             [route.rewrite_cookies]\n\
             path = [{{ from = '/v2/', to = '/api/' }}, {{ from = '~^/x/([a-z]+)', to = '/y/$1' }}]\n\
             domain = [{{ from = 'in.test', to = '$host' }}]\n\
             flags = [\n\
             {{ name = 'plain', secure = false, http_only = false, same_site = 'off' }},\n\
             {{ name = '~^s', secure = true, same_site = 'lax' }},\n\
             {{ http_only = true }}]\n\
             [[route]]\nprefix = '/same'\nupstream = 'a'\nrewrite = '/v2'\n",
            bridge.address
        ));
        for (sent, expected) in [
            ("a=1;Path=/v2/x", "a=1; Path=/api/x; HttpOnly"),
            ("a=1;path=/x/abc/d;HttpOnly", "a=1; path=/y/abc; HttpOnly"),
            (
                "a=1;HttpOnly;Domain=.IN.test",
                "a=1; HttpOnly; Domain=.test",
            ),
            (
                "a=1;HttpOnly;Domain=sub.in.test",
                "a=1;HttpOnly;Domain=sub.in.test",
            ),
            ("s=1;SameSite=None;Secure", "s=1; Secure; SameSite=Lax"),
            (
                "PLAIN=1;Secure;HttpOnly;SameSite=None;Path=/z",
                "PLAIN=1; Path=/z",
            ),
            // Nothing is changed, so the line stays as it is.
            ("plain=1;Path=/z", "plain=1;Path=/z"),
        ] {
            let response = gateway.client().get(&format!("/api/Set-Cookie?{sent}"), "");
            let lines = response.headers.iter();
            let lines = lines.filter(|(name, _)| name == "set-cookie");
            let lines: Vec<_> = lines.map(|(_, value)| value.as_str()).collect();
            assert_eq!(lines.len(), 2, "{lines:?}");
            assert_eq!(lines[0], expected, "{sent}");
            // The gateway's own cookie is not the upstream's.
            assert!(
                lines[1].starts_with("peer=") && lines[1].contains("Path=/"),
                "{lines:?}"
            );
            let same = gateway
                .client()
                .get(&format!("/same/Set-Cookie?{sent}"), "");
            assert_eq!(same.header("set-cookie"), Some(sent));
        }
    }
}
