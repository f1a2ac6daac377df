//! The versions of HTTP that requests are served in, as the metrics tell them.

use std::net::SocketAddr;

use crate::harness::{
    Gateway, Http2, Origin, Peer, Port, Secure, Speaks, request, wait_for_metrics,
};

/// A gateway for both versions of HTTP, with this peer, and the address of its metrics.
fn gateway(peer: SocketAddr, upstream: &str) -> (Gateway, Port) {
    let admin = Port::reserve();
    let gateway = Gateway::start(&format!(
        "[server]\nlisten = [{{ address = '{{address}}', h2c = true }}]\n\
         [admin]\nlisten = ['{}']\n[[upstream]]\npeers = ['{peer}']\n{upstream}\n",
        admin.address
    ));
    (gateway, admin)
}

/// Waits until so many requests were served in these versions of client and upstream.
#[track_caller]
fn check_served(admin: &Port, counts: &[(&str, &str, usize)]) {
    let lines: Vec<_> = counts
        .iter()
        .map(|(client, upstream, count)| {
            format!(
                "geogate_engine_requests_total{{client=\"{client}\",upstream=\"{upstream}\"}} \
                 {count}\n"
            )
        })
        .collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    wait_for_metrics(admin.address, &lines);
}

#[test]
fn requests_are_counted_by_the_versions_of_both_sides() {
    let origin = Origin::start();
    let (gateway, admin) = gateway(origin.address, "");
    let mut client = gateway.client();
    assert_eq!(client.get("/a", "").status, 200);
    assert_eq!(client.request("POST", "/b", "", b"body").status, 200);
    let options = "Connection: keep-alive, X-Nothing\r\n";
    assert_eq!(client.get("/c", options).status, 200);
    let query = "/api/ip_query?ip=1.0.0.1";
    assert_eq!(client.get(query, options).status, 200);
    let http1 = [("http1", "http1", 3), ("http1", "none", 1)];
    check_served(&admin, &http1);
    // A query in plain form needs no engine.
    assert_eq!(client.get(query, "").status, 200);
    let mut http2 = Http2::connect(gateway.address);
    for uri in ["http://test/d".to_owned(), format!("http://test{query}")] {
        let page = request("GET", &uri, &[]);
        assert_eq!(http2.request(page, b"").unwrap().status, 200);
    }
    check_served(&admin, &[("http2", "http1", 1), ("http2", "none", 1)]);
    check_served(&admin, &http1);
}

#[test]
fn an_upstream_of_http_2_is_spoken_to_in_http_2() {
    let origin = Secure::start(&Speaks {
        http2: true,
        ..Speaks::default()
    });
    let (gateway, admin) = gateway(origin.address, "protocol = 'http2'");
    let mut client = gateway.client();
    assert_eq!(client.get("/a", "").status, 200);
    assert_eq!(client.request("POST", "/b", "", b"body").status, 200);
    let page = request("GET", "http://test/c", &[]);
    let page = Http2::connect(gateway.address).request(page, b"").unwrap();
    assert_eq!(page.status, 200);
    check_served(&admin, &[("http1", "http2", 2), ("http2", "http2", 1)]);
}

#[test]
fn a_websocket_is_a_request_of_http_1() {
    let peer = Peer::listen();
    let (gateway, admin) = gateway(peer.address, "");
    let mut client = gateway.client();
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    client.send(format!("GET /ws HTTP/1.1\r\nHost: test\r\n{upgrade}\r\n"));
    let mut upstream = peer.accept();
    upstream.head();
    upstream.send(format!(
        "HTTP/1.1 101 Switching Protocols\r\n{upgrade}\r\nhello"
    ));
    assert_eq!(client.response_without_body().status, 101);
    upstream.close();
    assert_eq!(client.rest(), b"hello");
    check_served(&admin, &[("http1", "http1", 1)]);
}
