//! What streams through: no piece waits for the next, in either direction.
//!
//! The test plays both ends and sends a piece only when the one before has arrived, so a gateway that
//! kept anything back would hang and not be late.

use std::net::TcpStream;

use tungstenite::Message;
use tungstenite::client::IntoClientRequest;

use crate::harness::{
    Bridge, Chain, ENGINES, Engine, EngineClient, Gateway, HTTP1_CLIENT_ENGINES, Incoming,
    LOCAL_ENGINES, Origin, Peer,
};

fn gateway(peer: &Peer) -> Gateway {
    Gateway::with_peers(&[peer.address], "", "")
}

/// Both ends of an engine, with the gateway between them.
struct Ends {
    client: EngineClient,
    gateway: Chain,
    peer: Peer,
    _bridge: Bridge,
}

impl Ends {
    fn of(engine: Engine, more: &str) -> Ends {
        let peer = Peer::listen();
        let bridge = engine.bridge(peer.address);
        let gateway = engine.with_peers(&[bridge.address], "", more);
        Ends {
            client: gateway.client(),
            gateway,
            peer,
            _bridge: bridge,
        }
    }

    /// Sends a request without a body, and lets it reach the upstream.
    fn get(&mut self, lines: &str) -> Incoming {
        self.client.ask("GET", "/x", lines, b"");
        self.reached().1
    }

    /// A request that has reached the upstream.
    fn reached(&self) -> (String, Incoming) {
        let mut upstream = self.peer.accept();
        (upstream.head(), upstream)
    }
}

#[test]
fn web_socket_messages_pass_both_ways() {
    let peer = Peer::listen();
    let gateway = gateway(&peer);
    let request = format!("ws://{}/chat?room=1", gateway.address);
    let request = request.into_client_request().unwrap();
    let server = std::thread::spawn(move || {
        let mut socket = tungstenite::accept(peer.accept().into_stream()).unwrap();
        // The one who listens may speak first.
        socket.send(Message::text("welcome")).unwrap();
        loop {
            match socket.read() {
                Ok(message @ (Message::Text(_) | Message::Binary(_))) => {
                    socket.send(message).unwrap();
                }
                Ok(_) => {}
                Err(tungstenite::Error::ConnectionClosed) => return,
                Err(error) => panic!("{error}"),
            }
        }
    });
    let stream = TcpStream::connect(gateway.address).unwrap();
    let (mut socket, response) = tungstenite::client(request, stream).unwrap();
    assert_eq!(response.status(), 101);
    assert_eq!(socket.read().unwrap(), Message::text("welcome"));
    let large = Message::binary(vec![7_u8; 1_000_000]);
    for message in [Message::text("hello"), large, Message::text("")] {
        socket.send(message.clone()).unwrap();
        assert_eq!(socket.read().unwrap(), message);
    }
    socket.send(Message::Ping("are you there".into())).unwrap();
    assert_eq!(
        socket.read().unwrap(),
        Message::Pong("are you there".into())
    );
    socket.close(None).unwrap();
    assert!(matches!(socket.read(), Ok(Message::Close(_))));
    assert!(matches!(
        socket.read(),
        Err(tungstenite::Error::ConnectionClosed)
    ));
    server.join().unwrap();
    let log = gateway.stop();
    assert!(
        log[0].contains("\"GET /chat?room=1 HTTP/1.1\" 101 "),
        "{log:?}"
    );
}

const UPGRADE: &str =
    "GET /ws HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

#[test]
fn a_web_socket_that_is_refused_is_a_plain_answer() {
    let peer = Peer::listen();
    let gateway = gateway(&peer);
    let mut client = gateway.client();
    client.send(UPGRADE);
    let mut upstream = peer.accept();
    upstream.head();
    upstream.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    let response = client.response();
    assert_eq!((response.status, response.text()), (403, "no"));
}

#[test]
fn the_end_of_a_web_socket_reaches_the_other_end() {
    for client_ends in [true, false] {
        let peer = Peer::listen();
        let gateway = gateway(&peer);
        let mut client = gateway.client();
        client.send(UPGRADE);
        let mut upstream = peer.accept();
        upstream.head();
        upstream.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        );
        assert_eq!(client.response().status, 101);
        if client_ends {
            drop(client);
            assert!(upstream.is_closed());
        } else {
            upstream.close();
            assert!(client.is_closed());
        }
    }
}

#[test]
fn each_server_sent_event_arrives_before_the_next_is_sent() {
    for engine in ENGINES {
        let mut ends = Ends::of(engine, "");
        let mut upstream = ends.get("");
        upstream.send(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
        );
        let head = ends.client.head();
        assert_eq!(head.header("content-type"), Some("text/event-stream"));
        for event in [": comment\n\n", "data: 1\n\n", "id: 2\ndata: 2\n\n"] {
            upstream.send_chunk(event);
            assert_eq!(ends.client.content(event.len()), event.as_bytes());
        }
        upstream.send("0\r\n\r\n");
        assert_eq!(ends.client.rest(), b"");
    }
}

/// As an HTTP/1.0 server sends them: without a length, until it closes.
#[test]
fn events_without_a_framing_are_not_held_back() {
    for engine in ENGINES {
        let mut ends = Ends::of(engine, "");
        let mut upstream = ends.get("");
        upstream.send("HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
        assert_eq!(ends.client.head().status, 200);
        for event in ["data: 1\n\n", "data: 2\n\n"] {
            upstream.send(event);
            assert_eq!(ends.client.content(event.len()), event.as_bytes());
        }
        upstream.close();
        assert_eq!(ends.client.rest(), b"");
    }
}

#[test]
fn long_polls_follow_each_other_on_one_connection() {
    for engine in ENGINES {
        let mut ends = Ends::of(engine, "");
        let mut upstream = ends.get("");
        for round in 1..=3 {
            upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnews");
            assert_eq!(ends.client.response().text(), "news", "{round}");
            ends.client.ask("GET", "/x", "", b"");
            upstream.head();
        }
        // Nobody waits for the last one, or the gateway would, for as long as it is given to stop.
        ends.client.leave();
    }
}

#[test]
fn each_chunk_of_a_request_arrives_before_the_next_is_sent() {
    for engine in ENGINES {
        let mut ends = Ends::of(engine, "");
        ends.client.begin("POST", "/x", "");
        let (head, mut upstream) = ends.reached();
        assert!(head.contains("transfer-encoding: chunked"), "{head}");
        for piece in ["a", "bc", "def"] {
            ends.client.send(piece);
            assert_eq!(upstream.chunk(), piece.as_bytes());
        }
        ends.client.send_last("");
        assert_eq!(upstream.chunk(), b"");
        upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        assert_eq!(ends.client.response().text(), "ok");
    }
}

#[test]
fn bodies_may_flow_both_ways_at_a_time() {
    for engine in ENGINES {
        let mut ends = Ends::of(engine, "");
        ends.client.begin("POST", "/x", "");
        let (_, mut upstream) = ends.reached();
        upstream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert_eq!(ends.client.head().status, 200);
        for piece in ["one", "two", "three"] {
            ends.client.send(piece);
            assert_eq!(upstream.chunk(), piece.as_bytes());
            upstream.send_chunk(piece);
            assert_eq!(ends.client.content(piece.len()), piece.as_bytes());
        }
        ends.client.send_last("");
        assert_eq!(upstream.chunk(), b"");
        upstream.send("0\r\n\r\n");
        assert_eq!(ends.client.rest(), b"");
    }
}

/// An upstream may refuse a body that it has not seen; the client hears of it at once.
#[test]
fn an_answer_does_not_wait_for_the_end_of_the_request() {
    for engine in ENGINES {
        for framing in ["Content-Length: 1000000\r\n", ""] {
            let mut ends = Ends::of(engine, "");
            ends.client.begin("POST", "/x", framing);
            let (_, mut upstream) = ends.reached();
            upstream.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 4\r\n\r\nwho?");
            let response = ends.client.response();
            assert_eq!(
                (response.status, response.text()),
                (401, "who?"),
                "{framing}"
            );
        }
    }
}

/// Few servers of HTTP/2 invite a body, so the gateway does, and does not ask them to.
fn gateway_invites(engine: Engine) -> bool {
    engine.upstream == "http2"
}

const EXPECT: &str = "Content-Length: 4\r\nExpect: 100-continue\r\n";

#[test]
fn a_body_is_sent_when_it_is_invited() {
    for engine in ENGINES {
        let mut ends = Ends::of(engine, "");
        ends.client.begin("POST", "/x", EXPECT);
        let (head, mut upstream) = ends.reached();
        let is_asked = head.contains("expect: 100-continue");
        assert_eq!(is_asked, !gateway_invites(engine), "{head}");
        if is_asked {
            upstream.send("HTTP/1.1 100 Continue\r\n\r\n");
        }
        assert_eq!(ends.client.response().status, 100);
        ends.client.send_last("body");
        let mut body = [0; 4];
        upstream.read_exact(&mut body);
        assert_eq!(&body, b"body");
        upstream.send("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(ends.client.response().status, 201);
        assert!(ends.gateway.stop()[0].contains(" 201 "));
    }
}

#[test]
fn an_expectation_that_is_refused_costs_no_body() {
    for engine in ENGINES {
        let mut ends = Ends::of(engine, "");
        ends.client.begin("POST", "/x", EXPECT);
        let (_, mut upstream) = ends.reached();
        upstream.send("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n");
        if gateway_invites(engine) {
            assert_eq!(ends.client.response().status, 100);
        }
        let response = ends.client.response();
        assert_eq!(response.status, 417);
        // Whether the body comes nobody knows, so nothing else can on a connection of HTTP/1.
        let expected = engine.is_http1().then_some("close");
        assert_eq!(response.header("connection"), expected);
    }
}

#[test]
fn what_geogate_answers_itself_it_invites_itself() {
    for engine in LOCAL_ENGINES {
        let gateway = engine.start("[client]\nmax_body_size = 10\n");
        let mut client = gateway.client();
        let lines = "Content-Length: 16\r\nExpect: 100-continue\r\n";
        client.begin("POST", "/api/ip_query", lines);
        assert_eq!(client.response().status, 100);
        client.send_last(r#"{"ip":"1.0.0.1"}"#);
        assert_eq!(client.response().status, 200);
    }
}

/// A body that is too large is refused before it is sent, and if its size is told too late, then too.
#[test]
fn a_body_that_is_too_large_is_refused_before_and_after_an_invitation() {
    for engine in ENGINES {
        let mut ends = Ends::of(engine, "[client]\nmax_body_size = 3\n");
        ends.client.begin("POST", "/x", EXPECT);
        assert_eq!(ends.client.response().status, 413);
        ends.client = ends.gateway.client();
        ends.client.begin("POST", "/x", "Expect: 100-continue\r\n");
        let (_, mut upstream) = ends.reached();
        if !gateway_invites(engine) {
            upstream.send("HTTP/1.1 100 Continue\r\n\r\n");
        }
        assert_eq!(ends.client.response().status, 100);
        ends.client.send_last("body");
        assert_eq!(ends.client.response().status, 413);
    }
}

#[test]
fn early_hints_pass_ahead_of_the_answer() {
    for engine in ENGINES {
        let mut ends = Ends::of(engine, "");
        let mut upstream = ends.get("");
        for link in ["</a.css>", "</b.css>"] {
            upstream.send(format!("HTTP/1.1 103 Early Hints\r\nLink: {link}\r\n\r\n"));
            let hint = ends.client.response();
            assert_eq!((hint.status, hint.header("link")), (103, Some(link)));
        }
        upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage");
        assert_eq!(ends.client.response().text(), "page");
        assert!(ends.gateway.stop()[0].contains(" 200 4 "));
    }
}

#[test]
fn a_client_of_http_1_0_gets_no_hints() {
    for engine in HTTP1_CLIENT_ENGINES {
        let ends = Ends::of(engine, "");
        let mut client = ends.gateway.http1_client();
        client.send("GET /x HTTP/1.0\r\nHost: test\r\n\r\n");
        let (_, mut upstream) = ends.reached();
        upstream.send(
            "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage",
        );
        let response = client.response();
        assert_eq!((response.status, response.text()), (200, "page"));
    }
}

/// A hint is no answer: if none follows it, the client is told so.
#[test]
fn an_upstream_that_dies_after_a_hint_is_an_error() {
    for engine in ENGINES {
        let mut ends = Ends::of(engine, "");
        let mut upstream = ends.get("");
        upstream.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
        assert_eq!(ends.client.response().status, 103);
        upstream.close();
        assert_eq!(ends.client.response().status, 502);
        assert!(ends.gateway.stop()[0].contains(" 502 "));
    }
}

/// What has no body by its nature has none whatever its head says, and the next answer is the next.
#[test]
fn answers_without_a_body_leave_the_connection_usable() {
    for engine in ENGINES {
        let mut ends = Ends::of(engine, "");
        let mut upstream = None;
        for (method, head) in [
            ("GET", "204 No Content\r\nX-N: 1"),
            (
                "GET",
                "304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 9",
            ),
            ("GET", "304 Not Modified\r\nETag: \"x\""),
            ("HEAD", "200 OK\r\nContent-Length: 9"),
            ("HEAD", "200 OK\r\nTransfer-Encoding: chunked"),
            ("HEAD", "404 Not Found\r\nContent-Length: 0"),
            ("GET", "200 OK\r\nContent-Length: 0"),
        ] {
            ends.client.ask(method, "/x", "", b"");
            let upstream = upstream.get_or_insert_with(|| ends.peer.accept());
            assert!(upstream.head().starts_with(&method.to_lowercase()));
            upstream.send(format!("HTTP/1.1 {head}\r\n\r\n"));
            let response = ends.client.response();
            assert_eq!(response.status.to_string(), head[..3], "{method} {head}");
            assert_eq!(response.body, b"", "{method} {head}");
        }
    }
}

/// HTTP/1.0 knows no chunks, and the end of the connection is the end of the body.
#[test]
fn a_client_of_http_1_0_gets_a_body_without_chunks() {
    let origin = Origin::start();
    let gateway = Gateway::with_peers(&[origin.address], "", "");
    for keep in ["", "Connection: keep-alive\r\n"] {
        let mut client = gateway.client();
        client.send(format!("GET /chunked HTTP/1.0\r\nHost: test\r\n{keep}\r\n"));
        let response = client.response();
        assert_eq!(response.header("transfer-encoding"), None, "{keep:?}");
        assert_eq!(response.text(), "one two three");
    }
    let mut client = gateway.client();
    client.send("GET /large/5 HTTP/1.0\r\nHost: test\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(client.response().text(), "xxxxx");
    client.send("POST /echo HTTP/1.0\r\nHost: test\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(client.response().text(), "ok");
    assert!(client.is_closed());
}

/// Trailers may be left out on the way (RFC 9110, 6.5.1); what is behind them is the next answer.
#[test]
fn trailers_of_a_response_are_passed_on() {
    for engine in ENGINES {
        let origin = Origin::start();
        let gateway = engine.with_peers(&[origin.address], "", "");
        let mut client = gateway.client();
        for _ in 0..3 {
            let response = client.get("/trailers", "");
            // HTTP/2 has names in lower case, on either side.
            let is_http1 = engine == ENGINES[0];
            let expected = if is_http1 { "X-Sum: 1" } else { "x-sum: 1" };
            assert_eq!(
                (response.text(), &response.trailers[..]),
                ("body", &[expected.to_owned()][..])
            );
            assert_eq!(client.get("/large/4", "").text(), "xxxx");
        }
    }
}

#[test]
fn a_chunked_answer_that_breaks_off_is_not_made_whole() {
    for engine in ENGINES {
        let mut ends = Ends::of(engine, "");
        let mut upstream = ends.get("");
        upstream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert_eq!(ends.client.head().status, 200);
        upstream.send_chunk("half");
        assert_eq!(ends.client.content(4), b"half");
        upstream.close();
        assert_eq!(ends.client.wait_for_break(), b"");
    }
}

/// The upstream's work ends when there is nobody left to work for; at the latest, when more of its
/// answer is sent.
#[test]
fn a_client_that_leaves_within_an_answer_is_noticed() {
    for engine in ENGINES {
        let mut ends = Ends::of(engine, "");
        let mut upstream = ends.get("");
        upstream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        upstream.send_chunk("first");
        assert_eq!(ends.client.head().status, 200);
        drop(ends.client);
        upstream.send_until_closed();
    }
}

/// Only a second write tells a client that has left from one that sends no more. So the head of a
/// response whose end is open goes before its content, whatever it came in and is sent as.
#[test]
fn a_client_that_has_left_is_noticed_by_the_start_of_an_answer() {
    let compress = "[compression]\nenabled = true\ntypes = ['*']\nmin_size = 0\n";
    for engine in ENGINES {
        for more in ["", compress] {
            let mut ends = Ends::of(engine, more);
            let mut upstream = ends.get("Accept-Encoding: gzip\r\n");
            drop(ends.client);
            // A client of HTTP/2 may be known to have left before.
            let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n";
            upstream.send_if_open(answer);
            assert!(upstream.is_closed(), "{more}");
        }
    }
}

#[test]
fn a_client_that_leaves_within_its_request_is_noticed() {
    for engine in ENGINES {
        for framing in ["Content-Length: 10\r\n", ""] {
            let mut ends = Ends::of(engine, "");
            ends.client.begin("POST", "/x", framing);
            let (_, mut upstream) = ends.reached();
            drop(ends.client);
            // Closed without an end of the body: the peer knows that the request is not whole.
            assert!(upstream.is_closed(), "{framing}");
        }
    }
}
