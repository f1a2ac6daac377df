//! Responses of upstreams, framed anew: one length or one `chunked`, or 502; and nothing of what is
//! said of the upstream's connection.

use std::io::{Read, Write};

use crate::harness::{Client, ENGINES, Gateway, Http2, Incoming, Origin, Peer, Response, connect};

fn gateway(peer: &Peer, upstream: &str) -> Gateway {
    Gateway::h2c(peer.address, &format!("max_fails = 0\n{upstream}"))
}

/// A client of each kind.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Http1,
    Http10,
    Http2,
}

const KINDS: [Kind; 3] = [Kind::Http1, Kind::Http10, Kind::Http2];

/// Asks for `method /`, lets the upstream answer with `answer`, and returns what the client got and the
/// upstream's connection.
fn exchange(
    gateway: &Gateway,
    peer: &Peer,
    kind: Kind,
    method: &str,
    answer: &str,
) -> (Response, Incoming) {
    let address = gateway.address;
    let method = method.to_owned();
    let client = std::thread::spawn(move || {
        if kind == Kind::Http2 {
            let request = crate::harness::request(&method, "http://test/", &[]);
            return Http2::connect(address).request(request, b"").unwrap();
        }
        let mut client = Client::connect(address);
        if kind == Kind::Http1 {
            client.send(format!("{method} / HTTP/1.1\r\nHost: test\r\n\r\n"));
        } else {
            client.send(format!("{method} / HTTP/1.0\r\n\r\n"));
        }
        let mut response = client.response_without_body();
        if method != "HEAD" {
            client.read_body(&mut response);
        }
        response
    });
    let mut upstream = peer.accept();
    upstream.head();
    upstream.send(answer);
    (client.join().unwrap(), upstream)
}

fn values<'r>(response: &'r Response, name: &str) -> Vec<&'r str> {
    let lines = response.headers.iter().filter(|(known, _)| known == name);
    lines.map(|(_, value)| value.as_str()).collect()
}

/// What frames a response: its length, or `chunked`.
fn framing(response: &Response) -> Vec<&str> {
    let mut framing = values(response, "content-length");
    framing.extend(values(response, "transfer-encoding"));
    framing
}

#[test]
fn a_length_is_said_once() {
    let peer = Peer::listen();
    let gateway = gateway(&peer, "");
    for lines in [
        "Content-Length: 2",
        "Content-Length: 2\r\nContent-Length: 2",
        "Content-Length: 2, 2",
        "Content-Length: 2,2\r\ncontent-length: 2",
        "Content-Length: 0002",
    ] {
        for kind in KINDS {
            for version in ["1.0", "1.1"] {
                let answer =
                    format!("HTTP/{version} 200 OK\r\n{lines}\r\nConnection: close\r\n\r\nok");
                // The status line is that of HTTP/1.1: the client of the tests reads no other.
                let (response, _) = exchange(&gateway, &peer, kind, "GET", &answer);
                assert_eq!(
                    (response.status, response.text()),
                    (200, "ok"),
                    "{kind:?} {answer}"
                );
                assert_eq!(framing(&response), ["2"], "{kind:?} {answer}");
                let (response, _) = exchange(&gateway, &peer, kind, "HEAD", &answer);
                assert_eq!(framing(&response), ["2"], "HEAD {kind:?} {answer}");
            }
        }
    }
}

/// Nothing of it was sent, so the client need not guess why its connection ends.
#[test]
fn a_body_that_is_malformed_from_its_start_is_an_error_of_the_upstream() {
    let peer = Peer::listen();
    let gateway = gateway(&peer, "");
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n";
    for kind in [Kind::Http1, Kind::Http10] {
        let (response, mut upstream) = exchange(&gateway, &peer, kind, "GET", answer);
        assert_eq!(response.status, 502, "{kind:?}");
        assert!(upstream.is_closed(), "{kind:?}");
    }
}

#[test]
fn chunks_are_said_once() {
    let peer = Peer::listen();
    let gateway = gateway(&peer, "");
    for lines in ["Transfer-Encoding: chunked", "Transfer-Encoding: CHUNKED"] {
        for kind in KINDS {
            let answer = format!(
                "HTTP/1.1 200 OK\r\nConnection: close\r\n{lines}\r\n\r\n2\r\nok\r\n0\r\n\r\n"
            );
            let (response, _) = exchange(&gateway, &peer, kind, "GET", &answer);
            assert_eq!(
                (response.status, response.text()),
                (200, "ok"),
                "{kind:?} {lines}"
            );
            let expected: &[&str] = match kind {
                Kind::Http1 => &["chunked"],
                // The one ends with its connection, the other with its stream.
                Kind::Http10 | Kind::Http2 => &[],
            };
            assert_eq!(framing(&response), expected, "{kind:?} {lines}");
        }
    }
}

#[test]
fn a_response_whose_end_is_open_is_none() {
    let peer = Peer::listen();
    let gateway = gateway(&peer, "");
    for (start, lines) in [
        ("HTTP/1.1 200 OK", "Transfer-Encoding: gzip, chunked"),
        ("HTTP/1.1 200 OK", "Transfer-Encoding: chunked, gzip"),
        ("HTTP/1.1 200 OK", "Transfer-Encoding: chunked, chunked"),
        (
            "HTTP/1.1 200 OK",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        ),
        (
            "HTTP/1.1 200 OK",
            "Transfer-Encoding: identity\r\nContent-Length: 2",
        ),
        ("HTTP/1.1 200 OK", "Transfer-Encoding: identity"),
        ("HTTP/1.1 200 OK", "Transfer-Encoding: xchunked"),
        ("HTTP/1.1 200 OK", "Transfer-Encoding:"),
        ("HTTP/1.1 200 OK", "Content_Length: 2"),
        (
            "HTTP/1.1 200 OK",
            "Content-Length: 2\r\nTransfer_Encoding: chunked",
        ),
        ("HTTP/1.1 200 OK", "Transfer-Encoding : identity"),
        ("HTTP/1.0 200 OK", "Transfer-Encoding: chunked"),
        ("HTTP/1.1 200 OK", "Content-Length: 2, 3"),
        ("HTTP/1.1 200 OK", "Content-Length: 2\r\nContent-Length: 3"),
        ("HTTP/1.1 200 OK", "Content-Length: +2"),
        ("HTTP/1.1 200 OK", "Content-Length: 18446744073709551618"),
        ("HTTP/1.1 200 OK", "Content-Length:"),
        ("HTTP/1.1 099 So", "Content-Length: 2"),
        ("HTTP/1.1 20 OK", "Content-Length: 2"),
        ("HTTP/1.1 2000 OK", "Content-Length: 2"),
        ("HTTP/1.1 2x0 OK", "Content-Length: 2"),
        ("HTTP/2.0 200 OK", "Content-Length: 2"),
        ("HTTP/1.0 101 Switching Protocols", "Upgrade: websocket"),
        ("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket"),
    ] {
        for kind in KINDS {
            let answer = format!("{start}\r\n{lines}\r\n\r\n2\r\nok\r\n0\r\n\r\n");
            let (response, mut upstream) = exchange(&gateway, &peer, kind, "GET", &answer);
            assert_eq!(response.status, 502, "{kind:?} {start} {lines}");
            assert!(upstream.is_closed(), "{kind:?} {start} {lines}");
        }
    }
}

/// What pingora's reader would let pass, or hide: the engines of the gateway look at the bytes.
#[test]
fn a_head_that_can_be_read_in_two_ways_is_none() {
    let peer = Peer::listen();
    let gateway = gateway(&peer, "");
    let kinds = KINDS.into_iter().filter(|kind| *kind != Kind::Http10);
    for kind in kinds {
        for lines in [
            "Content-Length: 2\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nContent-Length: 2",
            "Content-Length : 2",
            "X-A: a\r\n b\r\nContent-Length: 2",
            "X-A: a\nContent-Length: 2",
            "X-A: a\0b\r\nContent-Length: 2",
            "X-A: a\rb\r\nContent-Length: 2",
            "b@d name: a\r\nContent-Length: 2",
            ": a\r\nContent-Length: 2",
        ] {
            for start in ["HTTP/1.1 200 OK", "HTTP/1.0 200 OK"] {
                for method in ["GET", "HEAD"] {
                    let answer = format!("{start}\r\n{lines}\r\n\r\n2\r\nok\r\n0\r\n\r\n");
                    let (response, mut upstream) = exchange(&gateway, &peer, kind, method, &answer);
                    assert_eq!(response.status, 502, "{kind:?} {method} {start} {lines:?}");
                    assert!(upstream.is_closed(), "{kind:?} {method} {start} {lines:?}");
                }
            }
        }
        let answer = "HTTP/1.1 200 OK\r\nX-A : a\r\nContent-Length: 2\r\n\r\nok";
        let (response, _) = exchange(&gateway, &peer, kind, "GET", answer);
        assert_eq!(values(&response, "x-a"), ["a"], "{kind:?}");
    }
}

#[test]
fn a_status_without_a_body_has_no_framing() {
    let peer = Peer::listen();
    let gateway = gateway(&peer, "");
    for (status, lines) in [
        (204, ""),
        (204, "Content-Length: 0\r\n"),
        (204, "Content-Length: 5\r\n"),
        (304, ""),
        (304, "Transfer-Encoding: chunked\r\n"),
    ] {
        for kind in KINDS {
            let answer = format!("HTTP/1.1 {status} So\r\n{lines}ETag: \"x\"\r\n\r\n");
            let (response, _) = exchange(&gateway, &peer, kind, "GET", &answer);
            assert_eq!(response.status, status, "{kind:?} {lines}");
            assert_eq!(framing(&response), [""; 0], "{kind:?} {lines}");
            assert_eq!(values(&response, "etag"), ["\"x\""]);
        }
    }
    for kind in KINDS {
        let answer = "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n";
        let (response, mut upstream) = exchange(&gateway, &peer, kind, "GET", answer);
        assert_eq!(response.status, 204, "{kind:?}");
        assert_eq!(framing(&response), [""; 0], "{kind:?}");
        // The last chunk may yet come, and would be taken for the next response.
        assert!(upstream.is_closed(), "{kind:?}");
    }
}

#[test]
fn fields_for_the_upstream_s_connection_end_at_the_gateway() {
    let hop = "Connection: upgrade, close, X-A\r\nX-A: 1\r\nUpgrade: h2c\r\nKeep-Alive: timeout=5\r\n\
               Proxy-Connection: keep-alive\r\nTE: gzip\r\nTrailer: X-T\r\nX-B: 2\r\n";
    let peer = Peer::listen();
    let gateway = gateway(&peer, "");
    for (status, behind) in [
        (426, "Content-Length: 2\r\n\r\nok"),
        (
            200,
            "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-T: 1\r\n\r\n",
        ),
    ] {
        for kind in KINDS {
            let answer = format!("HTTP/1.1 {status} So\r\n{hop}{behind}");
            let (response, _) = exchange(&gateway, &peer, kind, "GET", &answer);
            assert_eq!(response.status, status, "{kind:?}");
            for name in ["x-a", "upgrade", "keep-alive", "proxy-connection", "te"] {
                assert_eq!(values(&response, name), [""; 0], "{kind:?} {name}");
            }
            // Trailers are announced where they are passed on.
            let has_trailers = status == 200 && !matches!(kind, Kind::Http10);
            let announced: &[&str] = if has_trailers { &["X-T"] } else { &[] };
            assert_eq!(values(&response, "trailer"), announced, "{kind:?}");
            let trailers: &[&str] = if has_trailers { &["X-T: 1"] } else { &[] };
            // HTTP/2 has names in lower case.
            let found = response.trailers.join(", ");
            assert!(
                found.eq_ignore_ascii_case(&trailers.join(", ")),
                "{kind:?} {found}"
            );
            assert_eq!(values(&response, "x-b"), ["2"], "{kind:?}");
            let own = values(&response, "connection");
            assert!(
                own.is_empty() || own == ["close"] || own == ["keep-alive"],
                "{own:?}"
            );
        }
    }
}

// Keys: upstream.max_header_size, upstream.max_headers
#[test]
fn heads_are_bounded() {
    let peer = Peer::listen();
    let gateway = gateway(&peer, "max_header_size = '2k'\nmax_headers = 8");
    let line = |length: usize| format!("X: {}\r\n", "x".repeat(length));
    for (lines, expected) in [
        (line(1000), 200),
        (line(2100), 502),
        (line(100_000), 502),
        (line(1).repeat(7), 200),
        (line(1).repeat(8), 502),
        (line(1).repeat(300), 502),
    ] {
        for kind in KINDS {
            let answer = format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: 2\r\n\r\nok");
            let (response, mut upstream) = exchange(&gateway, &peer, kind, "GET", &answer);
            assert_eq!(response.status, expected, "{kind:?} {} bytes", answer.len());
            if expected == 502 {
                assert!(upstream.is_closed(), "{kind:?} {} bytes", answer.len());
            }
        }
    }
    // Of two together, too.
    let hint = format!("HTTP/1.1 103 Early Hints\r\n{}\r\n", line(1200));
    let answer = format!("{hint}{hint}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let (response, mut upstream) = exchange(&gateway, &peer, Kind::Http2, "GET", &answer);
    assert_eq!(response.status, 502);
    assert!(upstream.is_closed());
}

#[test]
fn interim_responses_are_bounded() {
    // An upstream of HTTP/2 is behind a gateway that has the same bound.
    for engine in ENGINES {
        let peer = Peer::listen();
        let bridge = engine.bridge(peer.address);
        let gateway = engine.with_peers(&[bridge.address], "max_fails = 0", "");
        let mut client = gateway.client();
        client.ask("GET", "/", "", b"");
        let mut upstream = peer.accept();
        upstream.head();
        for number in 0..16 {
            upstream.send(format!("HTTP/1.1 103 Early Hints\r\nX: {number}\r\n\r\n"));
            let hint = client.response();
            assert_eq!(
                (hint.status, hint.header("x")),
                (103, Some(&*number.to_string()))
            );
        }
        upstream.send("HTTP/1.1 103 Early Hints\r\n\r\n");
        assert_eq!(client.response().status, 502);
        assert!(upstream.is_closed());
    }
}

/// Bytes behind a response are none that somebody else should get.
#[test]
fn a_connection_with_bytes_behind_a_response_is_not_kept() {
    let peer = Peer::listen();
    let gateway = gateway(&peer, "");
    let forged = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged";
    for (method, answer) in [
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        (
            "GET",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        ),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", "HTTP/1.1 304 Not Modified\r\n\r\n"),
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"),
    ] {
        for kind in KINDS {
            let (_, mut upstream) =
                exchange(&gateway, &peer, kind, method, &format!("{answer}{forged}"));
            assert!(upstream.is_closed(), "{kind:?} {method} {answer}");
        }
    }
}

/// A client of HTTP/1.0 gets no chunks of an upstream of HTTP/2, which gives no length.
#[test]
fn http_2_to_http_1_0_ends_with_the_connection() {
    use crate::harness::{Secure, Speaks};
    let origin = Secure::start(&Speaks {
        http2: true,
        ..Speaks::default()
    });
    let gateway = Gateway::with_peers(&[origin.address], "protocol = 'http2'", "");
    let mut client = gateway.client();
    client.send("GET /x HTTP/1.0\r\nHost: test\r\nConnection: keep-alive\r\n\r\n");
    let response = client.response();
    assert_eq!(framing(&response), [""; 0]);
    assert_eq!(response.text(), "http2 - - test GET /x ");
}

/// An error to `HEAD` over HTTP/2 has an end.
#[test]
fn an_error_without_a_body_ends_its_stream() {
    let origin = Origin::start();
    let gateway = Gateway::h2c(origin.address, "");
    let mut client = Http2::connect(gateway.address);
    let request = crate::harness::request("HEAD", "http://test/close", &[]);
    assert_eq!(client.request(request, b"").unwrap().status, 502);
}

/// Heads of upstreams of HTTP/2 have the same limits.
#[test]
fn heads_of_http_2_are_bounded() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = runtime
        .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
        .unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    let mut response = http::Response::new(());
                    let lines: usize = request.uri().path()[1..].parse().unwrap();
                    for _ in 0..lines {
                        let value = http::HeaderValue::from_static("0123456789");
                        response.headers_mut().append("x", value);
                    }
                    respond.send_response(response, true).unwrap();
                }
            });
        }
    });
    let upstream = "protocol = 'http2'\nmax_headers = 8\nmax_fails = 0";
    let gateway = Gateway::with_peers(&[address], upstream, "");
    for (lines, expected) in [(8, 200), (9, 502), (1000, 502), (8, 200)] {
        let response = gateway.client().get(&format!("/{lines}"), "");
        assert_eq!(response.status, expected, "{lines}");
    }
}

/// Whatever three digits an upstream says.
#[test]
fn any_status_is_passed_on() {
    let peer = Peer::listen();
    let gateway = gateway(&peer, "");
    for status in [299, 599, 600, 999] {
        for kind in KINDS {
            let answer = format!("HTTP/1.1 {status} So\r\nContent-Length: 2\r\n\r\nok");
            let (response, _) = exchange(&gateway, &peer, kind, "GET", &answer);
            assert_eq!(
                (response.status, response.text()),
                (status, "ok"),
                "{kind:?}"
            );
        }
    }
}

#[test]
fn the_status_line_is_the_gateway_s_own() {
    let peer = Peer::listen();
    let gateway = gateway(&peer, "");
    let mut client = connect(gateway.address);
    write!(client, "GET / HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    let mut upstream = peer.accept();
    upstream.head();
    upstream.send("HTTP/1.0 203 Other\r\nContent-Length: 2\r\n\r\nok");
    let mut start = [0; 12];
    client.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 203");
}

/// What may come behind it is the upstream connection's matter alone.
#[test]
fn a_client_keeps_its_connection_after_a_204_with_a_transfer_coding() {
    let peer = Peer::listen();
    let gateway = gateway(&peer, "");
    let mut client = gateway.client();
    for request in [
        "GET / HTTP/1.1\r\nHost: test\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nab",
        "GET / HTTP/1.1\r\nHost: test\r\n\r\n",
    ] {
        client.send(request);
        let mut upstream = peer.accept();
        upstream.head();
        upstream.send("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert_eq!(client.response_without_body().status, 204, "{request}");
    }
}
