//! The engine that serves a request, as the metrics tell it.

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

/// Waits until the engines have served so many requests: that of HTTP/1, that of HTTP/2, pingora's.
#[track_caller]
fn check_served(admin: &Port, counts: [usize; 3]) {
    let engines = ["http1", "http2", "pingora"].iter().zip(counts);
    let lines: Vec<_> = engines
        .map(|(engine, count)| {
            format!("geogate_engine_requests_total{{engine=\"{engine}\"}} {count}\n")
        })
        .collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    wait_for_metrics(admin.address, &lines);
}

#[test]
fn the_versions_of_both_sides_choose_the_engine() {
    let origin = Origin::start();
    let (gateway, admin) = gateway(origin.address, "");
    let mut client = gateway.client();
    assert_eq!(client.get("/a", "").status, 200);
    assert_eq!(client.request("POST", "/b", "", b"body").status, 200);
    let options = "Connection: keep-alive, X-Nothing\r\n";
    assert_eq!(client.get("/c", options).status, 200);
    let query = "/api/ip_query?ip=1.0.0.1";
    assert_eq!(client.get(query, options).status, 200);
    check_served(&admin, [4, 0, 0]);
    // A query in plain form needs no engine.
    assert_eq!(client.get(query, "").status, 200);
    let page = request("GET", "http://test/d", &[]);
    let page = Http2::connect(gateway.address).request(page, b"").unwrap();
    assert_eq!(page.status, 200);
    check_served(&admin, [4, 1, 0]);
}

#[test]
fn an_upstream_of_http_2_has_the_engine_of_http_2() {
    let origin = Secure::start(&Speaks {
        http2: true,
        ..Speaks::default()
    });
    let (gateway, admin) = gateway(origin.address, "protocol = 'http2'");
    let mut client = gateway.client();
    assert_eq!(client.get("/a", "").status, 200);
    assert_eq!(client.request("POST", "/b", "", b"body").status, 200);
    check_served(&admin, [0, 2, 0]);
}

#[test]
fn a_websocket_has_the_engine_of_pingora() {
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
    check_served(&admin, [0, 0, 1]);
}
