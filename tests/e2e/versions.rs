//! Each version of HTTP to the client with each version to the upstream: a client must not be able to
//! tell them apart, but for what a version itself has.

use std::io::Read;

use flate2::read::GzDecoder;

use crate::harness::{Chain, ENGINES, LOCAL_ENGINES, Origin};

/// Calls `check` with a gateway of each engine and its origin.
fn with_each(upstream: &str, more: &str, check: impl Fn(&Chain, &Origin)) {
    for engine in ENGINES {
        let origin = Origin::start();
        let upstream = format!("name = 'behind'\n{upstream}");
        check(
            &engine.with_peers(&[origin.address], &upstream, more),
            &origin,
        );
    }
}

#[test]
fn messages_of_every_length_pass_both_ways() {
    with_each("", "", |gateway, _| {
        let mut client = gateway.client();
        for length in [0, 1, 16 << 10, 65_535, 65_536, 1_000_003] {
            let body: Vec<_> = (0..length).map(|at: u32| at as u8).collect();
            let response = client.request("POST", "/echo", "", &body);
            assert_eq!(response.status, 200, "{length}");
            assert!(response.body == body, "{length}");
            assert_eq!(response.header("x-origin"), Some("yes"));
            let response = client.get(&format!("/large/{length}"), "");
            assert_eq!(response.body.len(), length as usize);
        }
        let response = client.request("HEAD", "/large/1000", "", b"");
        assert_eq!((response.status, response.body.len()), (200, 0));
        assert_eq!(response.header("content-length"), Some("1000"));
    });
}

#[test]
fn chunks_and_trailers_reach_every_client() {
    with_each("", "", |gateway, _| {
        let mut client = gateway.client();
        for _ in 0..3 {
            assert_eq!(client.get("/chunked", "").text(), "one two three");
            let response = client.get("/trailers", "");
            assert_eq!(response.text(), "body");
            // Names of HTTP/2 are in lower case.
            let trailers = response.trailers.join(", ");
            assert!(trailers.eq_ignore_ascii_case("X-Sum: 1"), "{trailers}");
        }
    });
}

#[test]
fn compression_is_the_same_for_every_client() {
    let more =
        "[compression]\nenabled = true\nalgorithms = ['gzip']\ntypes = ['*']\nmin_size = 0\n";
    with_each("", more, |gateway, _| {
        let mut client = gateway.client();
        let response = client.get("/large/100000", "Accept-Encoding: gzip\r\n");
        assert_eq!(response.header("content-encoding"), Some("gzip"));
        assert_eq!(response.header("content-length"), None);
        let mut body = Vec::new();
        let read = GzDecoder::new(&response.body[..]).read_to_end(&mut body);
        assert_eq!(read.unwrap(), 100_000, "{}", response.body.len());
        assert_eq!(client.get("/chunked", "").text(), "one two three");
    });
}

#[test]
fn a_client_is_told_of_every_upstream_s_failure() {
    with_each("", "", |gateway, _| {
        let response = gateway.client().request("POST", "/close", "", b"x");
        assert_eq!(response.status, 502);
    });
    let in_time = "[[route]]\nprefix = '/'\nupstream = 'behind'\ntimeout = '1s'\n";
    with_each("", in_time, |gateway, _| {
        assert_eq!(gateway.client().get("/stall", "").status, 504);
    });
}

#[test]
fn a_response_that_is_cut_is_not_whole_for_any_client() {
    for engine in ENGINES {
        let origin = Origin::start();
        let gateway = engine.with_peers(&[origin.address], "", "");
        let mut client = gateway.client();
        client.ask("GET", "/half", "", b"");
        let head = client.head();
        assert_eq!(head.header("content-length"), Some("10"));
        // Of HTTP/2 a reset may come before content that was sent.
        assert!(b"half".starts_with(&client.wait_for_break()));
        let log = gateway.stop();
        let is_cut = |line: &String| line.contains(" 200 ") && line.contains(" upstream_");
        assert!(log.iter().all(is_cut), "{log:?}");
    }
}

#[test]
fn limits_hold_for_every_client() {
    let more = "[client]\nmax_body_size = '1k'\n[[rate_limit]]\nname = 'one'\nrate = '1/h'\n[[route]]\nprefix = '/limited'\nupstream = 'behind'\n\
                rate_limit = 'one'\n[[route]]\nprefix = '/'\nupstream = 'behind'\n";
    with_each("", more, |gateway, _| {
        let response = gateway.client().request("POST", "/long", "", &[b'x'; 1025]);
        assert_eq!(response.status, 413);
        let mut client = gateway.client();
        assert_eq!(client.get("/limited", "").status, 200);
        let response = client.get("/limited", "");
        assert_eq!(response.status, 429);
        assert!(response.header("retry-after").is_some());
    });
}

#[test]
fn headers_are_changed_for_every_client_and_upstream() {
    let more = "[[route]]\nprefix = '/'\nupstream = 'behind'\n\
                request_headers.set = { 'X-Tag' = 'route $request_id' }\n\
                request_headers.remove = ['X-Gone']\n\
                response_headers.set = { 'X-Answer' = 'yes' }\n\
                response_headers.remove = ['X-Origin']\n";
    with_each("", more, |gateway, origin| {
        let lines = "X-Tag: forged\r\nX-Gone: 1\r\nX-Stays: 2\r\n";
        let response = gateway.client().get("/", lines);
        assert_eq!(response.header("x-answer"), Some("yes"));
        assert_eq!(response.header("x-origin"), None);
        let request = origin.last();
        let tags = request.values("x-tag");
        assert!(
            matches!(&tags[..], [tag] if tag.starts_with("route ")),
            "{tags:?}"
        );
        assert_eq!(request.values("x-gone"), [""; 0]);
        assert_eq!(request.values("x-stays"), ["2"]);
        assert_eq!(request.values("host"), ["test"]);
    });
}

#[test]
fn the_gateway_s_own_answers_are_the_same_for_every_client() {
    for engine in LOCAL_ENGINES {
        let gateway = engine.start(
            "[[route]]\npath = '/own'\nrespond = { status = 203, body = 'own' }\n\
             [[route]]\npath = '/to'\nredirect = { status = 302, to = 'http://b/' }\n",
        );
        let mut client = gateway.client();
        let response = client.request("POST", "/own", "", b"body");
        assert_eq!((response.status, response.text()), (203, "own"));
        let response = client.get("/to", "");
        assert_eq!(response.header("location"), Some("http://b/"));
        let response = client.get(
            "/api/ip_query?ip=1.0.0.1",
            "X-Nothing: 1\r\nExpect: 100-continue\r\n",
        );
        assert_eq!(response.status, 200);
        assert!(response.text().starts_with('['), "{}", response.text());
    }
}

#[test]
fn methods_of_webdav_pass_with_their_bodies_and_headers() {
    let methods = [
        "PROPFIND",
        "PROPPATCH",
        "MKCOL",
        "COPY",
        "MOVE",
        "LOCK",
        "UNLOCK",
        "REPORT",
        "SEARCH",
        "MKCALENDAR",
        "PURGE",
    ];
    let list = methods.map(|method| format!("'{method}'")).join(", ");
    with_each(
        "",
        &format!("[client]\nmethods = [{list}]\n"),
        |gateway, origin| {
            let mut client = gateway.client();
            let lines = "Depth: 1\r\nDestination: /b%20c\r\nOverwrite: F\r\nIf: (<urn:x>)\r\n";
            for method in methods {
                for body in [&b""[..], b"<propfind/>"] {
                    let response = client.request(method, "/echo", lines, body);
                    assert_eq!(response.status, 200, "{method}");
                    let asked = origin.last();
                    assert_eq!(asked.target(), format!("{method} /echo"));
                    assert_eq!(asked.body, body, "{method}");
                    assert_eq!(asked.values("destination"), ["/b%20c"]);
                    for (name, value) in [("depth", "1"), ("overwrite", "F"), ("if", "(<urn:x>)")] {
                        assert_eq!(asked.values(name), [value], "{method}");
                    }
                }
            }
        },
    );
}
