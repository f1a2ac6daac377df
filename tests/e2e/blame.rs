//! Whose fault a failed request is: what the client is told, whether the peer is ejected, where the
//! request goes next, and what the log says.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;

use bytes::Bytes;
use h2::Reason;
use http::Response;

use crate::harness::{
    Chain, Client, ENGINES, Engine, HTTP1_UPSTREAM_ENGINES, HTTP2_UPSTREAM_ENGINES, Origin, Peer,
    Port, connect,
};
use crate::processes::Process;

/// A gateway of an engine whose log has the reasons of failed requests.
fn start(engine: Engine, peers: &[SocketAddr], upstream: &str, more: &str) -> Chain {
    let log = "[access_log]\nformat = '$status $failure_reason'\n";
    engine.with_peers(peers, upstream, &format!("{more}\n{log}"))
}

#[track_caller]
fn check_peer(gateway: &Chain, peer: SocketAddr, failures: u64) {
    let text = gateway.metrics();
    for (metric, value) in [
        ("peer_well", u64::from(failures == 0)),
        ("failures_total", failures),
    ] {
        let start = format!("geogate_upstream_{metric}{{upstream=\"default\",peer=\"{peer}\"}} ");
        let mut lines = text.lines().filter_map(|line| line.strip_prefix(&*start));
        assert_eq!(
            lines.next(),
            Some(&*value.to_string()),
            "{metric} of {peer}"
        );
    }
}

#[test]
fn a_client_that_sends_no_body_is_told_so_and_no_peer_is_ejected() {
    for engine in ENGINES {
        for (upstream_timeout, framing, sent) in [
            ("50ms", "Content-Length: 9\r\n", "start"),
            ("50ms", "", ""),
            ("60s", "", ""),
        ] {
            let (a, b) = (Origin::start(), Origin::start());
            let peers = [a.address, b.address];
            let gateway = start(
                engine,
                &peers,
                &format!("read_timeout = '{upstream_timeout}'\n"),
                "[client]\nread_timeout = '150ms'\n",
            );
            let mut client = gateway.client();
            for _ in 0..4 {
                client.begin("POST", "/", framing);
                client.send(sent);
                assert_eq!(client.response().status, 408, "{upstream_timeout}");
                // A connection of HTTP/1 ends with it.
                if engine.is_http1() {
                    client = gateway.client();
                }
            }
            for peer in peers {
                check_peer(&gateway, peer, 0);
            }
            // A busy machine may take longer than 50 ms to answer.
            let answers = upstream_timeout == "60s";
            if answers {
                let whole = client.request("POST", "/", "", b"body");
                assert_eq!(whole.status, 200);
            }
            let log = gateway.stop();
            assert_eq!(log[..4], ["408 client_body_timeout"; 4]);
            assert_eq!(log[4..], ["200 -"][..usize::from(answers)]);
        }
    }
}

#[test]
fn a_response_that_falls_silent_ends_and_ejects_nobody() {
    for engine in ENGINES {
        for (method, body) in [("GET", ""), ("POST", "body")] {
            let peer = Peer::listen();
            let bridge = engine.bridge(peer.address);
            let gateway = start(engine, &[bridge.address], "read_timeout = '100ms'\n", "");
            let mut client = gateway.client();
            client.ask(method, "/", "", body.as_bytes());
            let mut incoming = peer.accept();
            incoming.head();
            incoming.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n");
            assert_eq!(client.head().status, 200);
            assert_eq!(client.content(9), b"data: 1\n\n");
            client.wait_for_break();
            assert!(incoming.is_closed() || !body.is_empty());
            check_peer(&gateway, bridge.address, 0);
            assert_eq!(gateway.stop(), ["200 upstream_read_timeout"]);
        }
    }
}

#[test]
fn a_peer_that_answers_nothing_in_time_is_ejected() {
    for engine in ENGINES {
        for (method, body) in [("GET", &b""[..]), ("POST", b"body")] {
            let origin = Origin::start();
            let gateway = start(engine, &[origin.address], "read_timeout = '50ms'\n", "");
            let response = gateway.client().request(method, "/stall", "", body);
            assert_eq!(response.status, 504);
            check_peer(&gateway, origin.address, 1);
            assert_eq!(gateway.stop(), ["504 upstream_read_timeout"]);
        }
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
    for (engine, more) in ENGINES
        .into_iter()
        .flat_map(|engine| [(engine, ""), (engine, "Expect: 100-continue\r\n")])
    {
        let peer = takes_nothing(engine.upstream == "http2");
        let gateway = start(
            engine,
            &[peer],
            "write_timeout = '200ms'\n",
            "[client]\nmax_body_size = '100m'\n",
        );
        if engine.is_http1() {
            check_that_nothing_is_taken(&gateway, more);
        } else {
            let mut client = gateway.client();
            client.ask("POST", "/", more, &vec![b'x'; 50 << 20]);
            let mut response = client.response();
            if response.status == 100 {
                response = client.response();
            }
            assert_eq!(response.status, 504, "{more}");
        }
        check_peer(&gateway, peer, 1);
        assert_eq!(gateway.stop(), ["504 upstream_write_timeout"]);
    }
}

/// Sends a body over HTTP/1, without waiting for an invitation, until the gateway answers.
fn check_that_nothing_is_taken(gateway: &Chain, more: &str) {
    let mut client = connect(gateway.address());
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
        let is_http2 = gateway.engine.upstream == "http2";
        assert!(is_http2 && more.starts_with("Expect"), "{more}");
        client
            .read_exact(&mut [0; b" Continue\r\n\r\n".len()])
            .unwrap();
        client.read_exact(&mut start).unwrap();
    }
    assert_eq!(&start, b"HTTP/1.1 504", "{more}");
    sending.join().unwrap();
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
    for engine in HTTP2_UPSTREAM_ENGINES {
        for frames in [&refused[..], goes] {
            let (peer, thread) = refuses_first(frames);
            let gateway = start(engine, &[peer], "", "");
            let response = gateway.client().request("POST", "/", "", b"body");
            assert_eq!((response.status, response.text()), (200, "body"));
            check_peer(&gateway, peer, 0);
            assert_eq!(gateway.stop(), ["200 -"]);
            thread.join().unwrap();
        }
    }
}

#[test]
fn other_resets_are_not_repeated_and_count() {
    assert_eq!(u32::from(Reason::INTERNAL_ERROR), 2);
    for engine in HTTP2_UPSTREAM_ENGINES {
        // INTERNAL_ERROR.
        let (peer, _thread) = refuses_first(&[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 2]);
        let gateway = start(engine, &[peer], "", "");
        let response = gateway.client().request("POST", "/", "", b"body");
        assert_eq!(response.status, 502);
        check_peer(&gateway, peer, 1);
        assert_eq!(gateway.stop(), ["502 upstream_reset"]);
    }
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
    for engine in HTTP1_UPSTREAM_ENGINES {
        for (peer, status, reason) in [
            (dead.address, 502, "upstream_connect_failed"),
            (answers(b""), 502, "upstream_closed"),
            (answers(b"\xff\xfe\r\n\r\n"), 502, "upstream_bad_response"),
        ] {
            check_reason(engine, peer, status, reason);
        }
    }
    for engine in HTTP2_UPSTREAM_ENGINES {
        check_reason(engine, dead.address, 502, "upstream_connect_failed");
    }
}

#[track_caller]
fn check_reason(engine: Engine, peer: SocketAddr, status: u16, reason: &str) {
    let mut gateway = start(engine, &[peer], "", "");
    if reason == "upstream_connect_failed" {
        gateway = gateway.unreached();
    }
    for (method, body) in [("GET", &b""[..]), ("POST", b"body")] {
        let response = gateway.client().request(method, "/", "", body);
        assert_eq!(response.status, status);
    }
    assert_eq!(gateway.stop(), vec![format!("{status} {reason}"); 2]);
}

#[test]
fn a_request_that_the_gateway_rejects_has_its_reason_in_the_log() {
    for engine in ENGINES {
        let origin = Origin::start();
        let gateway = start(
            engine,
            &[origin.address],
            "",
            "[client]\nmax_body_size = '3'\n[[route]]\nprefix = '/a'\nupstream = 'default'\n\
             [[route]]\nprefix = '/limited'\nrate_limit = 'none'\nupstream = 'default'\n\
             [[rate_limit]]\nname = 'none'\nrate = '1/h'\n",
        );
        for (method, target, body, status) in [
            ("POST", "/a", &b"body"[..], 413),
            ("GET", "/b", b"", 404),
            ("TRACE", "/a", b"", 405),
            ("GET", "/limited", b"", 200),
            ("GET", "/limited", b"", 429),
        ] {
            let response = gateway.client().request(method, target, "", body);
            assert_eq!(response.status, status, "{method} {target}");
        }
        let expected = [
            "413 body_too_large",
            "404 no_route",
            "405 method_not_allowed",
            "200 -",
            "429 rate_limited",
        ];
        assert_eq!(gateway.stop(), expected);
    }
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
    assert_eq!(program.client().get("/a", "").status, 502);
    let line = program.process.wait_for("upstream_connect_failed");
    let expected = format!(
        "ERROR geogate::gateway::telemetry::failure_log] upstream \"default\": upstream_connect_failed: \
         GET /a answered with 502, peer {}: ",
        dead.address
    );
    assert!(line.contains(&expected), "{line}");
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
