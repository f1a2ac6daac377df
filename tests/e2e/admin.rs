//! What the admin listener tells.

use crate::harness::{Client, Gateway, Origin, Port};

/// A gateway whose admin listener is at the port.
fn start(port: &Port, peers: &[std::net::SocketAddr], more: &str) -> Gateway {
    let admin = format!("{more}\n[admin]\nlisten = ['{}']\n", port.address);
    if peers.is_empty() {
        Gateway::start(&admin)
    } else {
        Gateway::with_peers(peers, "name = 'api'\nfail_timeout = '1h'", &admin)
    }
}

fn scrape(port: &Port) -> String {
    let response = Client::connect(port.address).get("/metrics", "");
    assert_eq!(response.status, 200);
    response.text().to_owned()
}

#[track_caller]
fn check(metrics: &str, lines: &[&str]) {
    for line in lines {
        assert!(
            metrics.lines().any(|found| found == *line),
            "{line} in\n{metrics}"
        );
    }
}

#[test]
fn requests_are_counted_whichever_way_they_go() {
    let (origin, dead, port) = (Origin::start(), Port::reserve(), Port::reserve());
    let gateway = start(&port, &[origin.address, dead.address], "");
    let mut client = gateway.client();
    client.get("/api/ip_query?ip=1.1.1.1", "");
    client.get("//api/ip_query?ip=1.1.1.1", "");
    client.get("/api/ip_query?ip=x", "");
    // One of them meets the dead peer first.
    for _ in 0..4 {
        client.get("/large/10", "");
    }
    client.send("GET / HTTP/9.9\r\n\r\n");
    assert_eq!(client.response().status, 505);
    assert!(client.is_closed());

    let metrics = scrape(&port);
    let (alive, dead) = (origin.address, dead.address);
    check(
        &metrics,
        &[
            "geogate_requests_total{kind=\"query\",status=\"200\"} 2",
            "geogate_requests_total{kind=\"query\",status=\"400\"} 1",
            "geogate_requests_total{kind=\"upstream\",status=\"200\"} 4",
            "geogate_requests_total{kind=\"local\",status=\"505\"} 1",
            "geogate_response_body_bytes_total{kind=\"upstream\"} 40",
            "geogate_request_duration_seconds_count{kind=\"query\"} 3",
            "geogate_request_duration_seconds_bucket{le=\"+Inf\",kind=\"upstream\"} 4",
            "geogate_requests_in_flight 0",
            "geogate_access_log_dropped_lines_total 0",
            "geogate_draining 0",
            "geogate_database_info{format=\"dat\",source=\"TEST\",date=\"2026-01-02\"} 1",
            &format!("geogate_upstream_peer_well{{upstream=\"api\",peer=\"{alive}\"}} 1"),
            &format!("geogate_upstream_peer_well{{upstream=\"api\",peer=\"{dead}\"}} 0"),
            &format!("geogate_upstream_tries_total{{upstream=\"api\",peer=\"{alive}\"}} 4"),
            &format!("geogate_upstream_failures_total{{upstream=\"api\",peer=\"{dead}\"}} 1"),
        ],
    );
}

#[test]
fn counting_does_not_need_a_log() {
    let port = Port::reserve();
    let gateway = start(&port, &[], "[access_log]\ntarget = 'off'\n");
    // A connection's request is counted before its next one is read.
    let mut client = gateway.client();
    client.get("/", "");
    client.get("/api/ip_query?ip=1.1.1.1", "");
    check(
        &scrape(&port),
        &[
            "geogate_requests_total{kind=\"query\",status=\"200\"} 1",
            "geogate_requests_total{kind=\"local\",status=\"404\"} 1",
        ],
    );
}

/// A peer that closes a kept connection has not failed, even if the request cannot be repeated.
#[test]
fn a_kept_connection_that_is_dead_is_no_failure_of_its_peer() {
    let (origin, port) = (Origin::start(), Port::reserve());
    let gateway = start(&port, &[origin.address], "");
    let mut client = gateway.client();
    assert_eq!(client.request("POST", "/once", "", b"a").status, 200);
    assert_eq!(client.request("POST", "/once", "", b"a").status, 502);
    let failures = format!(
        "geogate_upstream_failures_total{{upstream=\"api\",peer=\"{}\"}} 0",
        origin.address
    );
    check(&scrape(&port), &[&failures]);
}

#[test]
fn health_is_told_and_nothing_else() {
    let port = Port::reserve();
    let _gateway = start(&port, &[], "");
    let mut client = Client::connect(port.address);
    assert_eq!(client.get("/healthz", "").text(), "ok\n");
    assert_eq!(client.get("/readyz", "").text(), "ok\n");
    client.send("HEAD /metrics HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(client.response_without_body().status, 200);
    assert_eq!(client.get("/api/ip_query?ip=1.1.1.1", "").status, 404);
    let refused = client.request("POST", "/metrics", "", b"x");
    assert_eq!(
        (refused.status, refused.header("allow")),
        (405, Some("GET, HEAD"))
    );
    // A body is read to its end, and the connection goes on.
    assert_eq!(client.get("/healthz", "").status, 200);
}

/// The statuses of all answers to these bytes, until the connection ends.
fn answers(port: &Port, bytes: &str) -> Vec<String> {
    let mut client = Client::connect(port.address);
    client.send(bytes);
    let text = String::from_utf8(client.rest()).unwrap();
    let heads = text.split("HTTP/1.1 ").skip(1);
    heads.map(|head| head[..3].to_owned()).collect()
}

#[test]
fn the_admin_listener_reads_as_strictly_as_any() {
    let port = Port::reserve();
    let _gateway = start(&port, &[], "");
    let next = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let chunked = "Host: a\r\nTransfer-Encoding: chunked\r\n";
    for (bytes, expected) in [
        (
            "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
            &["200", "200"][..],
        ),
        (
            "GET http://localhost/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
            &["200", "200"],
        ),
        ("GET /healthz HTTP/1.0\r\n\r\n", &["200"]),
        (
            "POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
            &["405", "200"],
        ),
        (
            &format!("POST /healthz HTTP/1.1\r\n{chunked}\r\n3\r\nabc\r\n0\r\n\r\n"),
            &["405", "200"],
        ),
        ("GET /healthz HTTP/1.1\r\n\r\n", &["400"]),
        (
            "GET /healthz HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            &["400"],
        ),
        ("GET /healthz HTTP/1.1\nHost: a\n\n", &["400"]),
        (
            &format!("POST /healthz HTTP/1.1\r\n{chunked}Content-Length: 5\r\n\r\n0\r\n\r\n"),
            &["400"],
        ),
        (
            &format!("POST /healthz HTTP/1.1\r\n{chunked}\r\n0\n\n"),
            &["400"],
        ),
        (
            "POST /healthz HTTP/1.1\r\nHost: a\r\nContent_Length: 5\r\n\r\n",
            &["400"],
        ),
        ("GET /healthz HTTP/9.9\r\nHost: a\r\n\r\n", &["505"]),
        (
            "POST /reload HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n",
            &["200"],
        ),
    ] {
        let expected: Vec<_> = expected.iter().map(ToString::to_string).collect();
        assert_eq!(
            answers(&port, &format!("{bytes}{next}")),
            expected,
            "{bytes:?}"
        );
    }
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(40_000));
    assert_eq!(answers(&port, &long), ["431"]);
    let large = "POST /reload HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n";
    assert_eq!(
        answers(&port, &format!("{large}{}", "x".repeat(100_000))),
        ["413"]
    );
}

#[test]
fn admin_connections_have_the_time_of_clients() {
    let port = Port::reserve();
    let times = "[client]\nheader_timeout = '200ms'\nkeepalive_timeout = '1s'\n";
    let _gateway = start(&port, &[], times);
    // Nothing, a head that does not end, and nothing more after an answer.
    assert!(Client::connect(port.address).is_closed());
    assert_eq!(
        answers(&port, "GET /healthz HTTP/1.1\r\nHost: a\r\n"),
        ["408"]
    );
    assert_eq!(
        answers(&port, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"),
        ["200"]
    );
}

#[test]
fn the_admin_listener_answers_for_its_own_hosts() {
    let port = Port::reserve();
    let gateway = start(&port, &[], "");
    gateway.reconfigure(|text| text.replace("[admin]\n", "[admin]\nhosts = ['ops.example']\n"));
    for (host, before, after) in [
        ("127.0.0.1", 200, 200),
        ("localhost:9001", 200, 200),
        ("geogate", 200, 200),
        ("[::1]", 200, 200),
        ("evil.example", 421, 421),
        ("ops.example", 421, 200),
    ] {
        let ask = |expected| {
            let mut client = Client::connect(port.address);
            for path in ["/metrics", "/healthz"] {
                client.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
                assert_eq!(client.response().status, expected, "{host}");
            }
        };
        ask(before);
        let reload = Client::connect(port.address).request("POST", "/reload", "", b"");
        assert_eq!(reload.status, 200, "{}", reload.text());
        ask(after);
        gateway.reconfigure(|text| text.replace("hosts = ['ops.example']", "hosts = []"));
        Client::connect(port.address).request("POST", "/reload", "", b"");
        gateway.reconfigure(|text| text.replace("hosts = []", "hosts = ['ops.example']"));
    }
}

#[test]
fn the_admin_listener_can_ask_for_a_token() {
    let port = Port::reserve();
    let admin = format!(
        "[admin]\nlisten = ['{}']\ntoken_file = '{{folder}}/token'\n",
        port.address
    );
    let gateway = Gateway::start_in(&admin, |folder| {
        std::fs::write(folder.join("token"), "a-token-of-the-test\n").unwrap();
    });
    let mut client = Client::connect(port.address);
    for (headers, status) in [
        ("", 401),
        ("Authorization: Bearer a-token-of-the-tesT\r\n", 401),
        ("Authorization: Basic a-token-of-the-test\r\n", 401),
        ("Authorization: Bearer a-token-of-the-test\r\n", 200),
    ] {
        let answer = client.get("/metrics", headers);
        assert_eq!(answer.status, status, "{headers}");
        let challenge = answer.header("www-authenticate");
        assert_eq!(challenge, (status == 401).then_some("Bearer"));
        assert_eq!(
            client.request("POST", "/reload", headers, b"").status,
            status
        );
        // A load balancer's probe has no token, and learns nothing.
        assert_eq!(client.get("/healthz", headers).status, 200);
    }
    // Another token is read with the configuration.
    std::fs::write(gateway.file("token"), "another-token-of-it\n").unwrap();
    let old = "Authorization: Bearer a-token-of-the-test\r\n";
    assert_eq!(client.request("POST", "/reload", old, b"").status, 200);
    assert_eq!(client.get("/metrics", old).status, 401);
    let new = "Authorization: Bearer another-token-of-it\r\n";
    assert_eq!(client.get("/metrics", new).status, 200);
}

#[test]
fn clients_do_not_reach_it_through_the_gateway() {
    let (origin, port) = (Origin::start(), Port::reserve());
    let gateway = start(&port, &[origin.address], "");
    let response = gateway.client().get("/metrics", "");
    assert_eq!(response.header("x-origin"), Some("yes"));
}
