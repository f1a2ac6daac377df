//! What a client sees when there is no answer, and what an operator sees when nothing can start.

use geogate::config::{self, Overrides};
use geogate::server::Server;

use crate::harness::{DOORS, Gateway, Origin, Port, small_database};

#[test]
fn without_an_upstream_everything_else_is_not_found() {
    let gateway = Gateway::start("");
    let mut client = gateway.client();
    for _ in 0..2 {
        let response = client.request("POST", "/elsewhere", "", b"some body");
        assert_eq!(response.status, 404);
        assert_eq!(
            response.header("content-type"),
            Some("text/html; charset=utf-8")
        );
        assert!(response.text().contains("404 Not Found"));
    }
    client.send("HEAD /elsewhere HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(client.response_without_body().status, 404);
    assert_eq!(client.get("/elsewhere", "").status, 404);
}

#[test]
fn peers_that_are_all_down_are_a_bad_gateway() {
    let port = Port::reserve();
    let gateway = Gateway::with_peers(&[port.address], "", "");
    let response = gateway.client().get("/", "");
    assert_eq!(response.status, 502);
    assert_eq!(gateway.client().get("/", DOORS[1]).status, 502);
    assert!(
        response.text().contains("currently unavailable"),
        "{}",
        response.text()
    );
    // The API needs no upstream.
    assert_eq!(
        gateway.client().get("/api/ip_query?ip=1.0.0.1", "").status,
        200
    );
}

// Keys: upstream.read_timeout
#[test]
fn a_peer_that_never_answers_is_a_gateway_timeout() {
    let origin = Origin::start();
    let gateway = Gateway::with_peers(&[origin.address], "read_timeout = '50ms'", "");
    for door in DOORS {
        assert_eq!(gateway.client().get("/stall", door).status, 504);
    }
}

#[test]
fn the_page_can_be_the_users_own() {
    let port = Port::reserve();
    let page = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(page.path(), "<p>Back soon.</p>").unwrap();
    let more = format!("[error_page]\nfile = {:?}\n", page.path());
    let gateway = Gateway::with_peers(&[port.address], "", &more);
    let response = gateway.client().get("/", "");
    assert_eq!(
        (response.status, response.text()),
        (502, "<p>Back soon.</p>")
    );
}

#[test]
fn a_declared_body_over_the_limit_is_refused_before_it_is_sent() {
    let origin = Origin::start();
    let gateway = Gateway::with_peers(&[origin.address], "", "[client]\nmax_body_size = 1000\n");
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1001\r\n\r\n");
    assert_eq!(client.response().status, 413);
    assert!(origin.requests().is_empty());
    assert_eq!(
        gateway
            .client()
            .request("POST", "/", "", &[b'x'; 1000])
            .status,
        200
    );
}

#[test]
fn a_chunked_body_over_the_limit_is_cut_off() {
    let origin = Origin::start();
    let gateway = Gateway::with_peers(&[origin.address], "", "[client]\nmax_body_size = 1000\n");
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunk = format!("1f4\r\n{}\r\n", "x".repeat(500));
    client.send(chunk.repeat(3) + "0\r\n\r\n");
    assert_eq!(client.response().status, 413);
}

#[track_caller]
fn check_refused(configuration: &str, expected: &str) {
    let port = Port::reserve();
    let overrides = Overrides {
        listen: vec![port.address],
        ..Overrides::default()
    };
    let folder = tempfile::tempdir().unwrap();
    let database = if configuration.contains("[[database]]") {
        String::new()
    } else {
        small_database(folder.path())
    };
    let text = format!("{configuration}\n{database}");
    let config = config::parse(&text, "test.toml", &overrides);
    let error = match config {
        Err(error) => error.to_string(),
        Ok(config) => match Server::prepare(config, false) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("started with {configuration:?}"),
        },
    };
    assert!(error.contains(expected), "{error}");
}

#[test]
fn a_configuration_that_cannot_work_does_not_start() {
    check_refused(
        "[server]\nlisten = ['nowhere']\n",
        "test.toml: server.listen[0]: ",
    );
    check_refused("[sever]\n", "sever: unknown key");
    check_refused(
        "[[database]]\nfile = '/nonexistent'\n",
        "database /nonexistent: ",
    );
    check_refused(
        "[geo]\ncodes = '/nonexistent'\n",
        "code tables: /nonexistent: ",
    );
    check_refused(
        "[error_page]\nfile = '/nonexistent'\n",
        "error page /nonexistent: ",
    );
    check_refused(
        "[access_log]\ntarget = '/nonexistent/log'\n",
        "access log: ",
    );
    check_refused(
        "[[upstream]]\nname = 'a'\n",
        "upstream[0].peers: is missing (line 1)",
    );
    check_refused(
        "[[upstream]]\npeers = []\n",
        "upstream[0].peers: at least one peer is needed",
    );
}

#[test]
fn a_file_that_is_no_database_does_not_start() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "hello").unwrap();
    let configuration = format!("[[database]]\nfile = {:?}\n", file.path());
    check_refused(&configuration, "not a database that geogate knows");
}

#[test]
fn a_port_in_use_is_said_at_once() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let overrides = Overrides {
        listen: vec![listener.local_addr().unwrap()],
        ..Overrides::default()
    };
    let folder = tempfile::tempdir().unwrap();
    let text = small_database(folder.path());
    let config = config::parse(&text, "test", &overrides).unwrap();
    let error = Server::prepare(config, false)
        .err()
        .expect("the port is taken");
    assert!(
        error.to_string().starts_with("cannot listen on 127.0.0.1:"),
        "{error}"
    );
}
