//! What a client sees when there is no answer, and what an operator sees when nothing can start.

use geogate::config::{self, Overrides};
use geogate::server::Server;

use crate::harness::{ENGINES, LOCAL_ENGINES, Origin, Port, small_database};

#[test]
fn without_an_upstream_everything_else_is_not_found() {
    for engine in LOCAL_ENGINES {
        let gateway = engine.start("");
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
        assert_eq!(client.request("HEAD", "/elsewhere", "", b"").status, 404);
        assert_eq!(client.get("/elsewhere", "").status, 404);
    }
}

#[test]
fn peers_that_are_all_down_are_a_bad_gateway() {
    let port = Port::reserve();
    for engine in ENGINES {
        let gateway = engine.with_peers(&[port.address], "", "").unreached();
        let response = gateway.client().get("/", "");
        assert_eq!(response.status, 502);
        let text = response.text();
        assert!(text.contains("currently unavailable"), "{text}");
        // The API needs no upstream.
        let query = gateway.client().get("/api/ip_query?ip=1.0.0.1", "");
        assert_eq!(query.status, 200);
    }
}

// Keys: upstream.read_timeout
#[test]
fn a_peer_that_never_answers_is_a_gateway_timeout() {
    for engine in ENGINES {
        let origin = Origin::start();
        let gateway = engine.with_peers(&[origin.address], "read_timeout = '50ms'", "");
        assert_eq!(gateway.client().get("/stall", "").status, 504);
    }
}

#[test]
fn the_page_can_be_the_users_own() {
    let port = Port::reserve();
    let page = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(page.path(), "<p>Back soon.</p>").unwrap();
    let more = format!("[error_page]\nfile = {:?}\n", page.path());
    for engine in ENGINES {
        let gateway = engine.with_peers(&[port.address], "", &more).unreached();
        let response = gateway.client().get("/", "");
        assert_eq!(
            (response.status, response.text()),
            (502, "<p>Back soon.</p>")
        );
    }
}

#[test]
fn a_declared_body_over_the_limit_is_refused_before_it_is_sent() {
    for engine in ENGINES {
        let origin = Origin::start();
        let limit = "[client]\nmax_body_size = 1000\n";
        let gateway = engine.with_peers(&[origin.address], "", limit);
        let mut client = gateway.client();
        client.begin("POST", "/", "Content-Length: 1001\r\n");
        assert_eq!(client.response().status, 413);
        assert!(origin.requests().is_empty());
        let mut client = gateway.client();
        let whole = client.request("POST", "/", "", &[b'x'; 1000]);
        assert_eq!(whole.status, 200);
    }
}

#[test]
fn a_body_without_a_length_is_cut_off_over_the_limit() {
    for engine in ENGINES {
        let origin = Origin::start();
        let limit = "[client]\nmax_body_size = 1000\n";
        let gateway = engine.with_peers(&[origin.address], "", limit);
        let mut client = gateway.client();
        client.begin("POST", "/", "");
        for _ in 0..3 {
            client.send([b'x'; 500]);
        }
        client.send_last("");
        assert_eq!(client.response().status, 413);
    }
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
