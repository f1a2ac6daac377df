//! Whose fault a failed request is: what the client is told, whether the peer is ejected, where the
//! request goes next, and what the log says.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;

use bytes::Bytes;
use h2::Reason;
use http::Response;

use crate::harness::{
    Client, DOORS, Gateway, Http2, Origin, Peer, Port, Secure, Speaks, connect, request,
};
use crate::processes::Process;

/// A gateway for HTTP/1 and HTTP/2 whose metrics can be asked for, and whose log has the reasons.
struct Watched {
    gateway: Gateway,
    admin: Port,
}

impl Watched {
    fn start(peers: &[SocketAddr], upstream: &str, more: &str) -> Watched {
        let admin = Port::reserve();
        let peers: Vec<_> = peers.iter().map(|peer| format!("'{peer}'")).collect();
        let text = format!(
            "[admin]\nlisten = ['{}']\n[server]\nlisten = [{{ address = '{{address}}', h2c = true }}]\n\
             {more}\n[access_log]\nformat = '$status $failure_reason'\n\
             [[upstream]]\npeers = [{}]\n{upstream}\n",
            admin.address,
            peers.join(", ")
        );
        Watched {
            gateway: Gateway::start(&text),
            admin,
        }
    }

    #[track_caller]
    fn check_peer(&self, peer: SocketAddr, failures: u64) {
        let text = Client::connect(self.admin.address).get("/metrics", "");
        let text = text.text();
        for (metric, value) in [
            ("peer_well", u64::from(failures == 0)),
            ("failures_total", failures),
        ] {
            let start =
                format!("geogate_upstream_{metric}{{upstream=\"default\",peer=\"{peer}\"}} ");
            let mut lines = text.lines().filter_map(|line| line.strip_prefix(&*start));
            assert_eq!(
                lines.next(),
                Some(&*value.to_string()),
                "{metric} of {peer}"
            );
        }
    }

    fn client(&self) -> Client {
        self.gateway.client()
    }

    fn http2(&self) -> Http2 {
        Http2::connect(self.gateway.address)
    }

    /// Stops the gateway; what its log says of all requests.
    fn stop(self) -> Vec<String> {
        self.gateway.stop()
    }
}

/// Two peers that answer, in a version of HTTP.
enum Pair {
    Http1(Origin, Origin),
    Http2(Secure, Secure),
}

impl Pair {
    fn all() -> [(Pair, &'static str); 2] {
        let http2 = || {
            Secure::start(&Speaks {
                http2: true,
                ..Speaks::default()
            })
        };
        [
            (Pair::Http1(Origin::start(), Origin::start()), ""),
            (Pair::Http2(http2(), http2()), "protocol = 'http2'\n"),
        ]
    }

    fn addresses(&self) -> [SocketAddr; 2] {
        match self {
            Pair::Http1(a, b) => [a.address, b.address],
            Pair::Http2(a, b) => [a.address, b.address],
        }
    }
}

#[test]
fn a_client_of_http2_that_sends_no_body_is_told_so_and_no_peer_is_ejected() {
    for upstream_timeout in ["50ms", "60s"] {
        for (pair, protocol) in Pair::all() {
            let peers = pair.addresses();
            let it = Watched::start(
                &peers,
                &format!("{protocol}read_timeout = '{upstream_timeout}'\n"),
                "[client]\nread_timeout = '150ms'\n",
            );
            let mut client = it.http2();
            for _ in 0..8 {
                let post = request("POST", "http://test/", &[]);
                let response = client.unfinished(post, b"").unwrap();
                assert_eq!(response.status, 408, "{protocol}{upstream_timeout}");
            }
            for &peer in &peers {
                it.check_peer(peer, 0);
            }
            let whole = client.request(request("POST", "http://test/", &[]), b"body");
            assert_eq!(whole.unwrap().status, 200);
            let log = it.stop();
            assert_eq!(log[..8], ["408 client_body_timeout"; 8]);
            assert_eq!(log[8..], ["200 -"]);
        }
    }
}

#[test]
fn a_client_of_http1_that_stops_within_its_body_is_told_so_and_no_peer_is_ejected() {
    for door in DOORS {
        for (pair, protocol) in Pair::all() {
            let peers = pair.addresses();
            let it = Watched::start(
                &peers,
                &format!("{protocol}read_timeout = '50ms'\n"),
                "[client]\nread_timeout = '150ms'\n",
            );
            for _ in 0..4 {
                let mut client = it.client();
                client.send(format!(
                    "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n{door}\r\nstart"
                ));
                assert_eq!(client.response().status, 408, "{door:?} {protocol}");
            }
            for &peer in &peers {
                it.check_peer(peer, 0);
            }
            assert_eq!(it.stop(), ["408 client_body_timeout"; 4]);
        }
    }
}

#[test]
fn a_response_that_falls_silent_ends_and_ejects_nobody() {
    for (door, method, body) in [
        (DOORS[0], "GET", ""),
        (DOORS[0], "POST", "body"),
        (DOORS[1], "GET", ""),
    ] {
        let peer = Peer::listen();
        let it = Watched::start(&[peer.address], "read_timeout = '100ms'\n", "");
        let mut client = it.client();
        client.send(format!(
            "{method} / HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n{door}\r\n{body}",
            body.len()
        ));
        let mut incoming = peer.accept();
        incoming.head();
        incoming.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n");
        assert!(client.rest().ends_with(b"data: 1\n\n\r\n"));
        assert!(incoming.is_closed() || !body.is_empty());
        it.check_peer(peer.address, 0);
        assert_eq!(it.stop(), ["200 upstream_read_timeout"]);
    }
}

#[test]
fn a_peer_that_answers_nothing_in_time_is_ejected() {
    for (door, method) in [(DOORS[0], "GET"), (DOORS[0], "POST"), (DOORS[1], "GET")] {
        let origin = Origin::start();
        let it = Watched::start(&[origin.address], "read_timeout = '50ms'\n", "");
        let body = if method == "POST" { &b"body"[..] } else { b"" };
        let response = it.client().request(method, "/stall", door, body);
        assert_eq!(response.status, 504);
        it.check_peer(origin.address, 1);
        assert_eq!(it.stop(), ["504 upstream_read_timeout"]);
    }
}

/// A peer that takes connections and requests, and reads nothing of a body.
fn takes_nothing(http2: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        if !http2 {
            let streams: Vec<_> = listener.incoming().collect();
            drop(streams);
            return;
        }
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().unwrap();
        runtime.block_on(async {
            listener.set_nonblocking(true).unwrap();
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            let mut connection = h2::server::handshake(stream).await.unwrap();
            let mut held = Vec::new();
            while let Some(Ok(request)) = connection.accept().await {
                held.push(request);
            }
        });
    });
    address
}

// Keys: upstream.write_timeout
#[test]
fn a_peer_that_takes_nothing_of_a_request_ends_it_by_write_timeout_alone() {
    for (http2, protocol) in [(false, ""), (true, "protocol = 'http2'\n")] {
        let peer = takes_nothing(http2);
        let it = Watched::start(
            &[peer],
            &format!("{protocol}write_timeout = '200ms'\n"),
            "[client]\nmax_body_size = '100m'\n",
        );
        let post = request("POST", "http://test/", &[]);
        let response = it.http2().request(post, &vec![b'x'; 50 << 20]).unwrap();
        assert_eq!(response.status, 504, "{protocol}");
        it.check_peer(peer, 1);
        assert_eq!(it.stop(), ["504 upstream_write_timeout"]);
    }
}

#[test]
fn a_body_of_http1_that_a_peer_does_not_take_ends_by_write_timeout_alone() {
    for (http2, protocol) in [(false, ""), (true, "protocol = 'http2'\n")] {
        for more in [DOORS[0], DOORS[1], "Expect: 100-continue\r\n"] {
            let peer = takes_nothing(http2);
            let it = Watched::start(
                &[peer],
                &format!("{protocol}write_timeout = '200ms'\n"),
                "[client]\nmax_body_size = '100m'\n",
            );
            let mut client = connect(it.gateway.address);
            let mut sender = client.try_clone().unwrap();
            let head = format!(
                "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n{more}\r\n",
                50 << 20
            );
            let sending = std::thread::spawn(move || {
                // It ends with an error when the gateway closes.
                let _ = sender.write_all(head.as_bytes());
                let _ = sender.write_all(&vec![b'x'; 50 << 20]);
            });
            let mut start = [0; 12];
            client.read_exact(&mut start).unwrap();
            if &start == b"HTTP/1.1 100" {
                // The gateway's own, where the peer's would not come through.
                assert!(http2 && more.starts_with("Expect"), "{protocol}{more}");
                client
                    .read_exact(&mut [0; b" Continue\r\n\r\n".len()])
                    .unwrap();
                client.read_exact(&mut start).unwrap();
            }
            assert_eq!(&start, b"HTTP/1.1 504", "{protocol}{more}");
            sending.join().unwrap();
            it.check_peer(peer, 1);
            assert_eq!(it.stop(), ["504 upstream_write_timeout"]);
        }
    }
}

/// A peer of HTTP/2 that answers a connection's first request with these frames, and all requests of
/// the next connections.
fn refuses_first(frames: &'static [u8]) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let (mut first, _) = listener.accept().unwrap();
        // SETTINGS.
        first.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).unwrap();
        read_to_headers(&mut first);
        first.write_all(frames).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().unwrap();
        runtime.block_on(async {
            listener.set_nonblocking(true).unwrap();
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                tokio::spawn(async move {
                    let mut body = request.into_body();
                    let mut all = Vec::new();
                    while let Some(Ok(part)) = body.data().await {
                        all.extend_from_slice(&part);
                    }
                    let mut out = respond.send_response(Response::new(()), false).unwrap();
                    out.send_data(Bytes::from(all), true).unwrap();
                });
            }
        });
        drop(first);
    });
    (address, thread)
}

/// Reads the frames of a connection up to the first HEADERS.
fn read_to_headers(stream: &mut TcpStream) {
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).unwrap();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).unwrap();
        match head[3] {
            1 => return,
            // SETTINGS are acknowledged.
            4 if head[4] == 0 => stream.write_all(&[0, 0, 0, 4, 1, 0, 0, 0, 0]).unwrap(),
            _ => {}
        }
    }
}

#[test]
fn what_a_peer_has_surely_not_processed_is_repeated_whatever_its_method() {
    let refused = &[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 7];
    let goes = &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for frames in [&refused[..], goes] {
        let (peer, thread) = refuses_first(frames);
        let it = Watched::start(&[peer], "protocol = 'http2'\n", "");
        let response = it.client().request("POST", "/", "", b"body");
        assert_eq!((response.status, response.text()), (200, "body"));
        it.check_peer(peer, 0);
        assert_eq!(it.stop(), ["200 -"]);
        thread.join().unwrap();
    }
}

#[test]
fn other_resets_are_not_repeated_and_count() {
    // INTERNAL_ERROR.
    let (peer, _thread) = refuses_first(&[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 2]);
    assert_eq!(u32::from(Reason::INTERNAL_ERROR), 2);
    let it = Watched::start(&[peer], "protocol = 'http2'\n", "");
    assert_eq!(it.client().request("POST", "/", "", b"body").status, 502);
    it.check_peer(peer, 1);
    assert_eq!(it.stop(), ["502 upstream_reset"]);
}

/// A peer that answers the first request of each connection with these bytes, and closes it.
fn answers(bytes: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if stream.read(&mut byte).unwrap_or(0) == 0 {
                    break;
                }
                head.push(byte[0]);
            }
            // Unread data would make the system reset the connection.
            let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
            if text.contains("content-length: 4") {
                let _ = stream.read_exact(&mut [0; 4]);
            }
            let _ = stream.write_all(bytes);
        }
    });
    address
}

#[test]
fn a_failed_request_has_its_reason_in_the_log() {
    let dead = Port::reserve();
    for (peer, status, reason) in [
        (dead.address, 502, "upstream_connect_failed"),
        (answers(b""), 502, "upstream_closed"),
        (answers(b"\xff\xfe\r\n\r\n"), 502, "upstream_bad_response"),
    ] {
        for door in DOORS {
            let it = Watched::start(&[peer], "", "");
            assert_eq!(it.client().get("/", door).status, status);
            let post = it.client().request("POST", "/", door, b"body");
            assert_eq!(post.status, status);
            assert_eq!(
                it.stop(),
                [format!("{status} {reason}"), format!("{status} {reason}")]
            );
        }
    }
}

#[test]
fn a_request_that_the_gateway_rejects_has_its_reason_in_the_log() {
    let origin = Origin::start();
    let it = Watched::start(
        &[origin.address],
        "",
        "[client]\nmax_body_size = '3'\n[[route]]\nprefix = '/a'\nupstream = 'default'\n\
         [[route]]\nprefix = '/limited'\nrate_limit = 'none'\nupstream = 'default'\n\
         [[rate_limit]]\nname = 'none'\nrate = '1/h'\n",
    );
    assert_eq!(it.client().request("POST", "/a", "", b"body").status, 413);
    assert_eq!(it.client().get("/b", "").status, 404);
    assert_eq!(it.client().request("TRACE", "/a", "", b"").status, 405);
    assert_eq!(it.client().get("/limited", "").status, 200);
    assert_eq!(it.client().get("/limited", "").status, 429);
    let expected = [
        "413 body_too_large",
        "404 no_route",
        "405 method_not_allowed",
        "200 -",
        "429 rate_limited",
    ];
    assert_eq!(it.stop(), expected);
}

/// The program in a process of its own, with an admin listener, before one peer.
struct Program {
    process: Process,
    admin: Port,
    _others: (Port, tempfile::TempDir),
}

impl Program {
    fn start(peer: SocketAddr) -> Program {
        let (folder, port, admin) = (
            tempfile::tempdir().unwrap(),
            Port::reserve(),
            Port::reserve(),
        );
        let text = format!(
            "workers = 1\n[admin]\nlisten = ['{}']\n[access_log]\ntarget = 'off'\n\
             [[upstream]]\npeers = ['{peer}']\n",
            admin.address
        );
        let mut process = Process::start_with(&text, folder.path(), port.address, &[]);
        process.wait_for("listening on");
        Program {
            process,
            admin,
            _others: (port, folder),
        }
    }

    fn client(&self) -> Client {
        Client::connect(self.process.address)
    }
}

#[test]
fn a_failed_request_has_a_line_in_the_error_log() {
    let dead = Port::reserve();
    let mut program = Program::start(dead.address);
    for door in DOORS {
        assert_eq!(program.client().get("/a", door).status, 502);
        let line = program.process.wait_for("upstream_connect_failed");
        let expected = format!(
            "ERROR geogate::gateway::telemetry::failure_log] upstream \"default\": upstream_connect_failed: \
             GET /a answered with 502, peer {}: ",
            dead.address
        );
        assert!(line.contains(&expected), "{line}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn without_files_a_request_gets_503_and_no_peer_is_ejected() {
    use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
    let origin = Origin::start();
    let mut program = Program::start(origin.address);
    let id = program.process.child.id();
    let own = getrlimit(Resource::Nofile);
    let limit = |files: Option<u64>| {
        let new = Rlimit {
            current: files.or(own.current),
            maximum: own.maximum,
        };
        let id = Pid::from_raw(i32::try_from(id).unwrap());
        prlimit(id, Resource::Nofile, new).unwrap();
    };
    let mut client = program.client();
    let query = client.get("/api/ip_query?ip=1.1.1.1", "");
    assert_eq!(query.status, 200);
    let mut admin = Client::connect(program.admin.address);
    assert_eq!(admin.get("/metrics", "").status, 200);
    let open: Vec<u64> = std::fs::read_dir(format!("/proc/{id}/fd"))
        .unwrap()
        .map(|entry| {
            entry
                .unwrap()
                .file_name()
                .to_str()
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect();
    // The next file would have this number.
    limit((0..=open.len() as u64).find(|number| !open.contains(number)));
    assert_eq!(client.get("/", "").status, 503);
    limit(None);
    let line = program.process.wait_for("local_error");
    assert!(line.contains("GET / answered with 503"), "{line}");
    assert_eq!(program.client().get("/", "").status, 200);
    let text = admin.get("/metrics", "");
    let failures = format!(
        "geogate_upstream_failures_total{{upstream=\"default\",peer=\"{}\"}} 0",
        origin.address
    );
    assert!(text.text().lines().any(|line| line == failures));
}
