//! The configuration changes while the gateway serves.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::harness::{Chain, Client, ENGINES, Gateway, Origin, Peer, Port};

struct Configured {
    gateway: Gateway,
    admin: Port,
}

impl Configured {
    fn start(peers: &[std::net::SocketAddr], upstream: &str, more: &str) -> Configured {
        let admin = Port::reserve();
        let more = format!("{more}\n[admin]\nlisten = ['{}']\n", admin.address);
        Configured {
            gateway: Gateway::with_peers(peers, upstream, &more),
            admin,
        }
    }

    /// Replaces a part of the configuration and reloads it; status and text of the answer.
    fn replace(&self, before: &str, after: &str) -> (u16, String) {
        self.gateway.reconfigure(|text| {
            assert!(text.contains(before), "{before} in {text}");
            text.replace(before, after)
        });
        self.reload("")
    }

    fn reload(&self, lines: &str) -> (u16, String) {
        let response = Client::connect(self.admin.address).request("POST", "/reload", lines, b"");
        (response.status, response.text().to_owned())
    }

    fn metrics(&self) -> String {
        let response = Client::connect(self.admin.address).get("/metrics", "");
        response.text().to_owned()
    }
}

/// Replaces a part of the configuration of a gateway and reloads it.
#[track_caller]
fn replace(gateway: &Chain, before: &str, after: &str) {
    let replaced = gateway.reload(|text| {
        assert!(text.contains(before), "{before} in {text}");
        text.replace(before, after)
    });
    assert_eq!(replaced, reloaded());
}

fn reloaded() -> (u16, String) {
    (200, "reloaded\n".to_owned())
}

#[test]
fn requests_go_where_the_new_configuration_says() {
    for engine in ENGINES {
        let (a, b) = (Origin::start(), Origin::start());
        let gateway = engine.with_peers(&[a.address], "name = 'a'", "");
        let mut client = gateway.client();
        client.get("/", "");
        replace(&gateway, &a.address.to_string(), &b.address.to_string());
        for _ in 0..2 {
            client.get("/", "");
        }
        assert_eq!((a.requests().len(), b.requests().len()), (1, 2));
    }
}

#[test]
fn a_wrong_configuration_is_refused_with_all_that_is_wrong() {
    let origin = Origin::start();
    let it = Configured::start(&[origin.address], "tries = 2", "");
    let mut client = it.gateway.client();
    let (status, said) = it.replace("tries = 2", "tries = 0\nfail_timeout = 'x'");
    assert_eq!(status, 422);
    for key in ["upstream[0].tries: ", "upstream[0].fail_timeout: "] {
        assert!(said.contains(key), "{said}");
    }
    let (status, said) = it.replace(
        "tries = 0\nfail_timeout = 'x'",
        "[error_page]\nfile = '/none'",
    );
    assert_eq!(status, 422);
    assert!(said.starts_with("error page /none: "), "{said}");
    let (status, said) = it.replace("file = '/none'", "[[database]]\nfile = '/none.dat'");
    assert_eq!(status, 422);
    assert!(said.starts_with("database /none.dat: "), "{said}");
    assert_eq!(client.get("/", "").header("x-origin"), Some("yes"));
    assert_eq!(
        it.replace("[[database]]\nfile = '/none.dat'", ""),
        reloaded()
    );
}

#[test]
fn reloads_are_counted_and_dated() {
    let origin = Origin::start();
    let it = Configured::start(&[origin.address], "tries = 2", "");
    let value = |metric: &str| -> u64 {
        let metrics = it.metrics();
        let start = format!("geogate_config_{metric} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&start));
        let line = line.unwrap_or_else(|| panic!("{metric} in {metrics}"));
        line.parse().unwrap()
    };
    let values = || {
        [
            value("reloads_total{result=\"applied\"}"),
            value("reloads_total{result=\"rejected\"}"),
            value("last_reload_successful"),
        ]
    };
    let success = || value("last_reload_success_timestamp_seconds");
    let failure = || value("last_reload_failure_timestamp_seconds");
    assert_eq!(values(), [0, 0, 1]);
    let start = success();
    assert!(start > 0);
    assert_eq!(failure(), 0);
    assert_eq!(it.replace("tries = 2", "tries = 0").0, 422);
    assert_eq!(values(), [0, 1, 0]);
    assert!(failure() >= start);
    assert_eq!(success(), start);
    assert_eq!(it.replace("tries = 0", "tries = 1"), reloaded());
    assert_eq!(values(), [1, 1, 1]);
    assert!(success() >= start);
    let metrics = it.metrics();
    assert!(
        !metrics.contains("geogate_certificate_"),
        "no TLS, no certificates"
    );
}

#[test]
fn a_request_in_flight_finishes_with_what_it_began_with() {
    for engine in ENGINES {
        let peer = Peer::listen();
        let bridge = engine.bridge(peer.address);
        let limit = "[client]\nmax_body_size = 20\n";
        let gateway = engine.with_peers(&[bridge.address], "", limit);
        let mut client = gateway.client();
        client.begin("POST", "/", "Content-Length: 10\r\n");
        client.send("hello");
        let mut upstream = peer.accept();
        upstream.head();
        // What reaches the origin has its settings.
        let mut piece = [0; 5];
        upstream.read_exact(&mut piece);
        assert_eq!(&piece, b"hello");
        replace(&gateway, "max_body_size = 20", "max_body_size = 5");
        client.send_last("world");
        upstream.read_exact(&mut piece);
        assert_eq!(&piece, b"world");
        upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        assert_eq!(client.response().text(), "ok");
        assert_eq!(client.request("POST", "/", "", b"123456").status, 413);
    }
}

#[test]
fn what_is_known_of_peers_survives() {
    let (origin, dead) = (Origin::start(), Port::reserve());
    let peers = [origin.address, dead.address];
    let it = Configured::start(
        &peers,
        "name = 'api'\nfail_timeout = '1h'",
        "[client]\nmax_body_size = 5",
    );
    let mut client = it.gateway.client();
    client.get("/", "");
    client.get("/", "");
    assert_eq!(
        it.replace("max_body_size = 5", "max_body_size = 6"),
        reloaded()
    );
    let well = format!(
        "geogate_upstream_peer_well{{upstream=\"api\",peer=\"{}\"}} 0",
        dead.address
    );
    let metrics = it.metrics();
    assert!(metrics.contains(&well), "{metrics}");
}

#[test]
fn databases_change_with_the_configuration() {
    let it = Configured::start(&[Origin::start().address], "", "[geo]\nwatch = false\n");
    let file = it.gateway.file("other.csv");
    std::fs::write(&file, "cidr,country\n1.0.0.0/8,日本\n").unwrap();
    let mut client = it.gateway.client();
    let country = |client: &mut Client| {
        let response = client.get("/api/ip_query?ip=1.0.0.1", "");
        response.text().to_owned()
    };
    assert!(country(&mut client).contains("中国"));
    let other = format!("file = '{}'", file.display());
    let own = format!("file = '{}'", it.gateway.file("places.dat").display());
    assert_eq!(it.replace(&own, &other), reloaded());
    assert!(country(&mut client).contains("日本"));
    // A file that has changed is read when it is asked for.
    std::fs::write(&file, "cidr,country\n1.0.0.0/8,韩国\n2.0.0.0/8,韩国\n").unwrap();
    assert_eq!(it.reload(""), reloaded());
    assert!(country(&mut client).contains("韩国"));
}

#[test]
fn the_access_log_may_go_to_another_file() {
    let mut it = Configured::start(&[Origin::start().address], "", "");
    let mut client = it.gateway.client();
    client.get("/api/ip_query?ip=1.0.0.1", "");
    assert_eq!(it.replace("access.log'", "other.log'"), reloaded());
    client.get("/api/ip_query?ip=1.0.0.2", "");
    let other = it.gateway.file("other.log");
    // Stopping writes all that was logged.
    it.gateway.shut_down();
    let lines = |file: &std::path::Path| std::fs::read_to_string(file).unwrap();
    assert!(lines(&it.gateway.file("access.log")).contains("ip=1.0.0.1"));
    assert!(lines(&other).contains("ip=1.0.0.2"));
}

#[test]
fn what_a_running_process_cannot_change_is_named_and_no_success() {
    let origin = Origin::start();
    let it = Configured::start(&[origin.address], "", "[client]\nmax_body_size = 1\n");
    it.gateway
        .reconfigure(|text| text.replace("max_body_size = 1", "max_body_size = 2"));
    let (status, said) = it.replace("workers = 1", "workers = 2\ngrace_period = '1s'");
    assert_eq!(status, 409);
    assert_eq!(
        said,
        "reloaded, except for these keys, which take an upgrade (geogate run --upgrade) or a \
         restart:\nserver.workers\nserver.grace_period\n"
    );
    // The rest is served.
    let mut client = it.gateway.client();
    assert_eq!(client.request("POST", "/", "", b"12").status, 200);
    assert_eq!(client.request("POST", "/", "", b"123").status, 413);
    let before = "workers = 2\ngrace_period = '1s'";
    assert_eq!(it.replace(before, "workers = 1"), reloaded());
}

/// Listeners stay where they are until the process is another one.
#[test]
fn a_listener_elsewhere_is_no_success() {
    let (it, elsewhere) = (
        Configured::start(&[Origin::start().address], "", ""),
        Port::reserve(),
    );
    let own = format!("[admin]\nlisten = ['{}']", it.admin.address);
    let other = format!("[admin]\nlisten = ['{}']", elsewhere.address);
    let (status, said) = it.replace(&own, &other);
    assert_eq!(status, 409);
    assert!(said.ends_with(":\nadmin.listen\n"), "{said}");
    assert!(std::net::TcpStream::connect(elsewhere.address).is_err());
}

#[test]
fn only_an_operator_may_ask() {
    let it = Configured::start(&[Origin::start().address], "", "");
    assert_eq!(it.reload("Origin: http://evil.example\r\n").0, 403);
    let mut client = Client::connect(it.admin.address);
    let refused = client.get("/reload", "");
    assert_eq!(
        (refused.status, refused.header("allow")),
        (405, Some("POST"))
    );
}

#[test]
fn no_request_fails_while_configurations_come_and_go() {
    for engine in ENGINES {
        let (a, b) = (Origin::start(), Origin::start());
        let endless = "[client]\nkeepalive_requests = 1000000000\n";
        let gateway = engine.with_peers(&[a.address], "", endless);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (mut client, is_done) = (gateway.client(), &done);
            let asking = scope.spawn(move || {
                let mut asked = 0;
                while !is_done.load(Ordering::Relaxed) {
                    assert_eq!(client.get("/large/10", "").status, 200);
                    assert_eq!(client.get("/api/ip_query?ip=1.0.0.1", "").status, 200);
                    asked += 1;
                }
                asked
            });
            let (a, b) = (a.address.to_string(), b.address.to_string());
            for _ in 0..15 {
                replace(&gateway, &a, &b);
                replace(&gateway, &b, &a);
            }
            done.store(true, Ordering::Relaxed);
            assert!(asking.join().unwrap() > 0);
        });
    }
}

/// A reload finds files that are new in a folder, and names the file of a mistake.
#[test]
fn included_files_are_read_at_every_reload() {
    let (a, b) = (Origin::start(), Origin::start());
    let it = Configured::start(
        &[a.address],
        "name = 'a'",
        "include = ['conf.d/*.toml']\n[[route]]\nprefix = '/a'\nupstream = 'a'\n",
    );
    let mut client = it.gateway.client();
    assert_eq!(client.get("/b/", "").status, 404);
    let folder = it.gateway.file("conf.d");
    std::fs::create_dir(&folder).unwrap();
    let more = format!(
        "[[upstream]]\nname = 'b'\npeers = ['{}']\n[[route]]\nprefix = '/b'\nupstream = 'b'\n",
        b.address
    );
    let file = folder.join("b.toml");
    std::fs::write(&file, &more).unwrap();
    assert_eq!(it.reload(""), reloaded());
    assert_eq!(client.get("/b/", "").status, 200);
    assert_eq!(client.get("/a/", "").status, 200);
    assert_eq!((a.requests().len(), b.requests().len()), (1, 1));

    std::fs::write(&file, format!("{more}timeout = 'soon'\n")).unwrap();
    let (status, said) = it.reload("");
    assert_eq!(status, 422);
    let expected = format!(
        "{}: route[1].timeout: \"soon\" is not a duration",
        file.display()
    );
    assert!(
        said.contains(&expected) && said.contains("(line 7)"),
        "{said}"
    );
    assert_eq!(client.get("/b/", "").status, 200);

    std::fs::remove_file(&file).unwrap();
    assert_eq!(it.reload(""), reloaded());
    assert_eq!(client.get("/b/", "").status, 404);
}

/// The content of a file is text in a header, whatever dollars are in it, and a reload reads it
/// again.
#[test]
fn a_value_comes_from_a_file() {
    let origin = Origin::start();
    let gateway = Gateway::start_in(
        &format!(
            "[[upstream]]\npeers = ['{}']\n\
             [[route]]\nupstream = 'default'\n\
             request_headers.set = {{ X-Key = 'a $request_method ${{file:{{folder}}/key}}' }}\n",
            origin.address
        ),
        |folder| std::fs::write(folder.join("key"), "$host ${HOST}\n").unwrap(),
    );
    gateway.client().get("/", "");
    let requests = origin.requests();
    assert_eq!(requests[0].values("x-key"), ["a GET $host ${HOST}"]);
}
