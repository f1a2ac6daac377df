//! What the admin listener tells.

use crate::harness::{Client, DOORS, Gateway, Origin, Port};

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
    for door in DOORS {
        // One of two requests meets the dead peer first.
        client.get("/large/10", door);
        client.get("/large/10", door);
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
            "geogate_requests_total{kind=\"own\",status=\"505\"} 1",
            "geogate_response_body_bytes_total{kind=\"upstream\"} 40",
            "geogate_request_duration_seconds_count{kind=\"query\"} 3",
            "geogate_request_duration_seconds_bucket{le=\"+Inf\",kind=\"upstream\"} 4",
            "geogate_requests_under_way 0",
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
            "geogate_requests_total{kind=\"own\",status=\"404\"} 1",
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
    assert!(client.is_closed());
}

#[test]
fn clients_do_not_reach_it_through_the_gateway() {
    let (origin, port) = (Origin::start(), Port::reserve());
    let gateway = start(&port, &[origin.address], "");
    let response = gateway.client().get("/metrics", "");
    assert_eq!(response.header("x-origin"), Some("yes"));
}
