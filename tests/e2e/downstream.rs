//! The connection, which answers plain queries, and the engine behind it must agree on where a request
//! ends and on what the answer is, whatever bytes come.

use std::time::Duration;

use crate::harness::{Client, Gateway, Origin, QUERY_FORMS};

const QUERY: &str = "GET /api/ip_query?ip=1.0.0.1 HTTP/1.1\r\nHost: test\r\n\r\n";
const PROXIED: &str = "GET /page HTTP/1.1\r\nHost: test\r\n\r\n";
const FUZHOU: &str = r#"["中国","CN","福建","350000","福州","350100","某大学","电信"]"#;

/// The response's bytes without its date.
fn raw_response(gateway: &Gateway, request: &str) -> String {
    let mut client = gateway.client();
    client.send(request);
    client.send("GET /end HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    let bytes = String::from_utf8(client.rest()).unwrap();
    let lines: Vec<_> = bytes
        .split("\r\n")
        .filter(|line| !line.starts_with("Date: "))
        .collect();
    lines.join("\r\n")
}

#[test]
fn a_query_gets_the_same_bytes_in_both_forms() {
    let gateway = Gateway::start("");
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n");
    let post = |body: &str| {
        let length = body.len();
        format!(
            "POST /api/ip_query HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n{body}"
        )
    };
    for request in [
        get("/api/ip_query?ip=1.0.0.1"),
        get("/api/ip_query?ip=1.0.0.1&format=object"),
        get("/api/ip_query?format=xml&ip=1.0.0.1"),
        get("/api/ip_query?ip=%31.0.0.1"),
        get("/api/ip_query?ip=::ffff:1.0.0.1"),
        get("/api/ip_query?ip=200.0.0.1"),
        get("/api/ip_query?ip=x%22%0d%0ay"),
        get("/api/ip_query?ip="),
        get("/api/ip_query?"),
        get("/api/ip_query"),
        get("//api/./ip%5Fquery/?ip=1.0.0.1"),
        QUERY.replace("GET", "HEAD"),
        QUERY.replace("GET", "OPTIONS"),
        QUERY.replace("GET", "DELETE"),
        QUERY.replace("GET", "get"),
        QUERY.replace("\r\n\r\n", "\r\nContent-Length: 0\r\n\r\n"),
        post(r#"{"ip":"1.0.0.1"}"#),
        post(r#"{"ip":1}"#),
        post("{}"),
        post("[]"),
        post(""),
        post("{\"ip\":\"\u{4e2d}\"}"),
    ] {
        let plain = raw_response(&gateway, &request);
        let [_, form] = QUERY_FORMS;
        let other = request.replacen("Host: test\r\n", &format!("Host: test\r\n{form}"), 1);
        assert_eq!(plain, raw_response(&gateway, &other), "{request:?}");
    }
}

/// Lets the gateway's one worker come round, so that it reads what was sent before as it is.
fn let_it_read(gateway: &Gateway) {
    assert_eq!(
        gateway.client().get("/api/ip_query?ip=1.0.0.1", "").status,
        200
    );
}

#[test]
fn a_query_may_be_split_anywhere() {
    let gateway = Gateway::start("");
    let body = r#"{"ip":"1.0.0.1"}"#;
    let post = format!(
        "POST /api/ip_query HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    for request in [QUERY, &post] {
        let mut client = gateway.client();
        for at in 0..request.len() {
            client.send(&request[..at]);
            let_it_read(&gateway);
            client.send(&request[at..]);
            assert_eq!(client.response().text(), FUZHOU, "split at {at}");
        }
    }
}

#[test]
fn a_pipeline_of_queries_and_pages_may_be_split_anywhere() {
    let origin = Origin::start();
    let gateway = Gateway::with_peers(&[origin.address], "", "");
    let body = "POST /body HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nbody";
    let pipeline = [QUERY, PROXIED, QUERY, body, QUERY, QUERY, PROXIED, QUERY].concat();
    for at in (0..pipeline.len()).step_by(3) {
        let mut client = gateway.client();
        client.send(&pipeline[..at]);
        let_it_read(&gateway);
        client.send(&pipeline[at..]);
        for expected in [FUZHOU, "", FUZHOU, "body", FUZHOU, FUZHOU, "", FUZHOU] {
            let response = client.response();
            assert_eq!(
                (response.status, response.text()),
                (200, expected),
                "split at {at}"
            );
        }
    }
}

#[test]
fn a_chunked_request_does_not_swallow_the_one_behind_it() {
    let origin = Origin::start();
    let gateway = Gateway::with_peers(&[origin.address], "", "");
    let chunked = "POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n\
                   3\r\nabc\r\n0\r\n\r\n";
    let mut client = gateway.client();
    client.send([chunked, QUERY, PROXIED, QUERY].concat());
    for expected in ["abc", FUZHOU, "", FUZHOU] {
        assert_eq!(client.response().text(), expected);
    }
}

/// Sends bytes with a query behind them: if the gateway and somebody else could disagree on where
/// the first request ends, the query must not be answered, nor anything reach the origin.
#[track_caller]
fn check_refused(bytes: &str, status: u16) {
    let origin = Origin::start();
    let gateway = Gateway::with_peers(&[origin.address], "", "");
    let mut client = gateway.client();
    client.send([bytes, QUERY].concat());
    let response = client.response();
    assert_eq!(response.status, status, "{bytes:?}");
    assert_eq!(response.header("connection"), Some("close"), "{bytes:?}");
    assert_eq!(client.rest(), b"", "{bytes:?}");
    assert!(
        origin.requests().is_empty(),
        "{bytes:?}: {:?}",
        origin.requests()
    );
    let log = gateway.stop();
    assert!(log[0].contains(&format!(" {status} ")), "{log:?}");
}

#[test]
fn what_can_be_read_in_two_ways_is_refused_and_ends_the_connection() {
    for path in ["/page", "/api/ip_query"] {
        for lines in [
            "Host: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Host: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            "Host: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n",
            "Host: a\r\nContent-Length: 5\r\nContent-Length: 0\r\n",
            "Host: a\r\nContent-Length: 5, 5\r\n",
            "Host: a\r\nContent-Length: +5\r\n",
            "Host: a\r\nContent-Length: 5 \u{b}\r\n",
            "Host: a\r\nContent-Length : 5\r\n",
            "Host: a\r\nTransfer-Encoding: gzip, chunked\r\n",
            "Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
            "Host: a\r\nTransfer-Encoding: \"chunked\"\r\n",
            "Host: a\nContent-Length: 5\r\n",
            "Host: a\r\nX: b\rContent-Length: 5\r\n",
            "Host: a\r\nX: b\r\n Content-Length: 5\r\n",
            "Host: a\r\nX: \0\r\n",
            "Host: a\r\nHost: b\r\n",
            "X: no host\r\n",
        ] {
            check_refused(&format!("POST {path} HTTP/1.1\r\n{lines}\r\n"), 400);
        }
        check_refused(
            &format!("POST {path} HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
            400,
        );
        check_refused(&format!("GET {path} HTTP/2.0\r\nHost: a\r\n\r\n"), 505);
        check_refused(&format!("GET {path}\r\n\r\n"), 400);
    }
}

#[test]
fn tunnels_and_other_hosts_are_refused() {
    check_refused("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 405);
    check_refused("GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", 400);
    check_refused("GET http://a@b/ HTTP/1.1\r\nHost: b\r\n\r\n", 400);
}

#[test]
fn heads_that_are_too_large_are_refused() {
    let many = "X: 1\r\n".repeat(100);
    check_refused(&format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"), 431);
    let long = "x".repeat(40_000);
    check_refused(
        &format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"),
        431,
    );
    check_refused(&format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"), 431);
}

#[test]
fn a_head_of_just_the_limit_passes() {
    let origin = Origin::start();
    let gateway = Gateway::with_peers(&[origin.address], "", "");
    let many = "X: 1\r\n".repeat(98);
    let long = format!("X-Long: {}\r\n", "x".repeat(30_000));
    let mut client = gateway.client();
    for headers in [many, long] {
        assert_eq!(client.get("/page", &headers).status, 200);
        assert_eq!(
            client.get("/api/ip_query?ip=1.0.0.1", &headers).text(),
            FUZHOU
        );
    }
}

#[test]
fn http_1_0_is_answered_and_closed() {
    let origin = Origin::start();
    let gateway = Gateway::with_peers(&[origin.address], "", "");
    for (target, body) in [("/api/ip_query?ip=1.0.0.1", FUZHOU), ("/large/3", "xxx")] {
        let mut client = gateway.client();
        client.send(format!("GET {target} HTTP/1.0\r\n\r\n"));
        let response = client.response();
        assert_eq!((response.status, response.text()), (200, body));
        assert!(client.is_closed());
    }
}

#[test]
fn methods_are_case_sensitive() {
    let origin = Origin::start();
    let gateway = Gateway::with_peers(&[origin.address], "", "");
    let mut client = gateway.client();
    assert_eq!(
        client
            .request("get", "/api/ip_query?ip=1.0.0.1", "", b"")
            .status,
        405
    );
    assert_eq!(client.request("get", "/page", "", b"").status, 501);
    assert!(origin.requests().is_empty());
}

#[test]
fn a_client_that_asks_to_close_is_closed() {
    let gateway = Gateway::start("");
    let mut client = gateway.client();
    let closing = QUERY.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    client.send(closing + QUERY);
    let response = client.response();
    assert_eq!(
        (response.text(), response.header("connection")),
        (FUZHOU, Some("close"))
    );
    assert_eq!(client.rest(), b"");
}

#[test]
fn a_connection_carries_so_many_requests_of_any_kind() {
    let origin = Origin::start();
    let more = "[client]\nkeepalive_requests = 3\n";
    let gateway = Gateway::with_peers(&[origin.address], "", more);
    for requests in [
        [QUERY, QUERY, QUERY],
        [PROXIED, QUERY, PROXIED],
        [PROXIED, PROXIED, QUERY],
    ] {
        let mut client = gateway.client();
        for (index, request) in requests.into_iter().enumerate() {
            client.send(request);
            let connection = if index < 2 { "keep-alive" } else { "close" };
            let response = client.response();
            assert_eq!(
                response.header("connection"),
                Some(connection),
                "{requests:?} {index}"
            );
        }
        assert!(client.is_closed());
    }
}

#[test]
fn an_idle_connection_is_closed() {
    let origin = Origin::start();
    let more = "[client]\nkeepalive_timeout = '1s'\n";
    let gateway = Gateway::with_peers(&[origin.address], "", more);
    for request in [QUERY, PROXIED] {
        let mut client = gateway.client();
        client.send(request);
        assert_eq!(client.response().status, 200);
        assert!(client.is_closed());
    }
}

/// Bytes that come one by one do not buy more time.
#[test]
fn a_head_that_never_ends_is_cut_off() {
    let gateway = Gateway::start("[client]\nheader_timeout = '300ms'\n");
    for after in ["", QUERY] {
        let mut client = gateway.client();
        client.send(after);
        if !after.is_empty() {
            client.response();
        }
        drip(&mut client);
        assert_eq!(client.response().status, 408);
        assert!(client.is_closed());
    }
}

/// Sends the start of a head a byte at a time, until something is heard: with the default time for a
/// head, a minute, that would be after more bytes.
fn drip(client: &mut Client) {
    for byte in PROXIED.as_bytes().iter().chain(&[b'x'; 1_500]) {
        client.send([*byte]);
        if client.hears_within(Duration::from_millis(20)) {
            return;
        }
    }
    panic!("the head is read on and on");
}

#[test]
fn a_client_that_does_not_read_loses_nothing_but_time() {
    let gateway = Gateway::start("[client]\nkeepalive_requests = 1000000\n");
    let mut client = gateway.client();
    // More answers than two sockets' buffers hold; the client writes from another thread, so that
    // both sides can be full.
    let count = 60_000;
    let mut writer = client.try_clone();
    let sending = std::thread::spawn(move || {
        for _ in 0..count / 100 {
            writer.send(QUERY.repeat(100));
        }
    });
    let_it_read(&gateway);
    for _ in 0..count {
        assert_eq!(client.response().text(), FUZHOU);
    }
    sending.join().unwrap();
}
