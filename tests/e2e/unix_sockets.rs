//! UNIX sockets of peers.

use std::process::{Child, Command, Stdio};

use crate::commands::check_configuration;
use crate::harness::{Chain, ENGINES, Gateway, Origin, UnixSocket, until, wait_for_metrics};

/// Waits until a metric of the peer at this socket has a value.
fn wait_for(gateway: &Chain, metric: &str, peer: &str, value: u64) {
    let line = format!(
        "geogate_upstream_{metric}{{upstream=\"default\",peer=\"unix:{}\"}} {value}\n",
        gateway.file(peer).display()
    );
    wait_for_metrics(gateway.admin.address, &[&line]);
}

#[test]
fn a_peer_at_a_unix_socket_is_one_as_any_other() {
    for engine in ENGINES {
        let origin = Origin::start();
        let mut socket = None;
        let gateway = engine.start_in(
            "[access_log]\nformat = '$status $upstream_addr'\n\
             [[upstream]]\npeers = ['unix:{folder}/app.sock']\n",
            |folder| {
                socket = Some(UnixSocket::before(origin.address, &folder.join("app.sock")));
            },
        );
        let mut client = gateway.client();
        for body in [&b"one"[..], b"two", &vec![b'x'; 200_000]] {
            let response = client.request("PUT", "/a?b", "X-Real-IP: 6.6.6.6\r\n", body);
            assert_eq!((response.status, &response.body[..]), (200, body));
        }
        assert_eq!(client.get("/large/300000", "").body.len(), 300_000);
        let request = &origin.requests()[1];
        assert_eq!(request.target(), "PUT /a?b");
        // The host of the client, and what the gateway knows of it.
        assert_eq!(request.values("host"), ["test"]);
        assert_eq!(request.values("x-real-ip"), ["127.0.0.1"]);
        wait_for(&gateway, "tries_total", "app.sock", 4);
        assert_eq!(
            socket.as_ref().unwrap().connections(),
            1,
            "{engine:?}: it is kept"
        );
        let address = format!("unix:{}", gateway.file("app.sock").display());
        for line in gateway.stop() {
            assert_eq!(line, format!("200 {address}"));
        }
    }
}

#[test]
fn a_socket_without_a_server_is_ejected_and_another_peer_serves() {
    for engine in ENGINES {
        let origin = Origin::start();
        let mut socket = None;
        let gateway = engine.start_in(
            "[access_log]\nformat = '$upstream_addr'\n[[upstream]]\nfail_timeout = '1h'\n\
             peers = ['unix:{folder}/gone.sock', { address = 'unix:{folder}/app.sock', weight = 2 }]\n",
            |folder| {
                socket = Some(UnixSocket::before(origin.address, &folder.join("app.sock")));
                // Whoever listened there has ended, and left the file behind.
                drop(std::os::unix::net::UnixListener::bind(folder.join("gone.sock")).unwrap());
            },
        );
        let mut client = gateway.client();
        for _ in 0..6 {
            // With any method: nothing was sent to the first peer.
            assert_eq!(client.request("POST", "/", "", b"x").status, 200);
        }
        wait_for(&gateway, "peer_well", "gone.sock", 0);
        wait_for(&gateway, "failures_total", "gone.sock", 1);
        let both = format!(
            "unix:{}, unix:{}",
            gateway.file("gone.sock").display(),
            gateway.file("app.sock").display()
        );
        let log = gateway.stop();
        assert_eq!(
            log.iter().filter(|line| **line == both).count(),
            1,
            "{log:?}"
        );
    }
}

#[test]
fn health_checks_reach_a_unix_socket() {
    for engine in ENGINES {
        for kind in ["type = 'http'\npath = '/health'", "type = 'tcp'"] {
            let origin = Origin::start();
            let mut first = None;
            let gateway = engine
                .start_in(
                    &format!(
                        "[[upstream]]\npeers = ['unix:{{folder}}/app.sock']\n\
                         [upstream.health_check]\n{kind}\ninterval = '10ms'\nrise = 1\nfall = 1\n"
                    ),
                    |folder| {
                        let socket = folder.join("app.sock");
                        first = Some(UnixSocket::before(origin.address, &socket));
                    },
                )
                .unreached();
            if kind.contains("http") {
                until(|| !origin.requests().is_empty());
                // A path is no host.
                assert_eq!(origin.last().values("host"), ["localhost"]);
            }
            wait_for(&gateway, "peer_down", "app.sock", 0);
            drop(first);
            wait_for(&gateway, "peer_down", "app.sock", 1);
            let _second = UnixSocket::before(origin.address, &gateway.file("app.sock"));
            wait_for(&gateway, "peer_down", "app.sock", 0);
        }
    }
}

#[test]
fn a_request_without_a_host_names_no_path() {
    let origin = Origin::start();
    let mut socket = None;
    let gateway = Gateway::start_in(
        "[[upstream]]\npeers = ['unix:{folder}/app.sock']\n",
        |folder| socket = Some(UnixSocket::before(origin.address, &folder.join("app.sock"))),
    );
    let mut client = gateway.client();
    client.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(client.response().status, 200);
    assert_eq!(origin.last().values("host"), ["localhost"]);
}

#[test]
fn a_wrong_path_is_an_error_with_its_place() {
    for (peer, expected) in [
        ("unix:app.sock", "the path of a UNIX socket is absolute"),
        ("unix:/a b", "white space"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let upstream = format!("[[upstream]]\npeers = ['{peer}']\n");
        let (status, text) = check_configuration(folder.path(), &upstream);
        assert_eq!(status, Some(1));
        let place = "upstream[0].peers[0]: ";
        assert!(text.contains(place) && text.contains(expected), "{text}");
    }
}

/// A program that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// gunicorn is Debian's: `NEEDS=gunicorn deploy/setup` installs it.
#[test]
fn gunicorn_serves_at_a_unix_socket() {
    let mut server = None;
    let gateway = Gateway::start_in(
        "[[upstream]]\npeers = ['unix:{folder}/app.sock']\n",
        |folder| {
            let app = "def app(environ, start):\n    \
                       body = environ['wsgi.input'].read()\n    \
                       told = [environ['HTTP_HOST'], environ['HTTP_X_REAL_IP'], body.decode()]\n    \
                       start('200 OK', [('Content-Type', 'text/plain'), ('X-By', 'gunicorn')])\n    \
                       return [' '.join(told).encode()]\n";
            std::fs::write(folder.join("app.py"), app).unwrap();
            let mut gunicorn = Command::new("gunicorn");
            let socket = format!("unix:{}", folder.join("app.sock").display());
            gunicorn
                .args(["--bind", &socket, "--workers", "1", "--worker-tmp-dir"])
                .arg(folder)
                .arg("app:app")
                .current_dir(folder)
                .stderr(Stdio::null());
            let child = gunicorn.spawn();
            server = Some(Running(
                child.expect("gunicorn, which deploy/setup installs"),
            ));
            until(|| std::os::unix::net::UnixStream::connect(folder.join("app.sock")).is_ok());
        },
    );
    let mut client = gateway.client();
    for body in ["", "a body"] {
        let lines = "X-Real-IP: 6.6.6.6\r\n";
        let response = client.request("POST", "/a", lines, body.as_bytes());
        assert_eq!(response.header("x-by"), Some("gunicorn"));
        assert_eq!(
            response.text().trim_end(),
            format!("test 127.0.0.1 {body}").trim_end()
        );
    }
}
