//! Each way in which a request can end, from each version of HTTP to each: exactly one request reaches
//! the upstream, nothing lies behind it on a kept connection, and one that breaks off is never whole.

use bytes::Bytes;
use h2::{Reason, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

use crate::harness::{Event, Gateway, Peer, StrictOrigin, h2c_requests};

/// How a request ends over HTTP/1.
const HTTP_1: [(&str, &str, &str, &str); 10] = [
    // Version, header lines, what is behind them, the body that it is.
    ("1.0", "", "", ""),
    ("1.0", "Content-Length: 0\r\n", "", ""),
    ("1.0", "Content-Length: 4\r\n", "body", "body"),
    ("1.1", "", "", ""),
    ("1.1", "Content-Length: 0\r\n", "", ""),
    ("1.1", "Content-Length: 4\r\n", "body", "body"),
    ("1.1", "Transfer-Encoding: chunked\r\n", "0\r\n\r\n", ""),
    (
        "1.1",
        "Transfer-Encoding: chunked\r\n",
        "4\r\nbody\r\n0\r\n\r\n",
        "body",
    ),
    (
        "1.1",
        "Transfer-Encoding: chunked\r\n",
        "2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n",
        "body",
    ),
    (
        "1.1",
        "Transfer-Encoding: chunked\r\nTrailer: X-Geo-Country\r\n",
        "4\r\nbody\r\n0\r\nX-Geo-Country: XX\r\n\r\n",
        "body",
    ),
];

/// How a request ends over HTTP/2.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Ending {
    /// The frame of the head is the last one.
    Head,
    /// The last frame of data has some.
    Data,
    /// It has none.
    EmptyData,
    /// There is none that has.
    OnlyEmptyData,
    /// Trailers.
    Trailers,
    /// Trailers, behind no data.
    OnlyTrailers,
}

const HTTP_2: [Ending; 6] = [
    Ending::Head,
    Ending::Data,
    Ending::EmptyData,
    Ending::OnlyEmptyData,
    Ending::Trailers,
    Ending::OnlyTrailers,
];

impl Ending {
    fn body(self) -> &'static str {
        match self {
            Ending::Data | Ending::EmptyData | Ending::Trailers => "body",
            _ => "",
        }
    }

    fn send(self, out: &mut SendStream<Bytes>) {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-geo-country", "XX".parse().unwrap());
        let data = |out: &mut SendStream<Bytes>, text: &'static str, end| {
            out.send_data(Bytes::from_static(text.as_bytes()), end)
                .unwrap();
        };
        match self {
            Ending::Head => {}
            Ending::Data => data(out, "body", true),
            Ending::EmptyData => {
                data(out, "body", false);
                data(out, "", true);
            }
            Ending::OnlyEmptyData => data(out, "", true),
            Ending::Trailers => {
                data(out, "body", false);
                out.send_trailers(trailers).unwrap();
            }
            Ending::OnlyTrailers => out.send_trailers(trailers).unwrap(),
        }
    }
}

fn post(path: &str, length: Option<usize>) -> Request<()> {
    let request = Request::post(format!("http://test{path}"));
    let length = length.map(|length| ("content-length", length.to_string()));
    let request = length
        .into_iter()
        .fold(request, |request, (n, v)| request.header(n, v));
    request.body(()).unwrap()
}

async fn text(response: h2::client::ResponseFuture) -> (u16, String) {
    let response = response.await.unwrap();
    let (status, mut body) = (response.status().as_u16(), response.into_body());
    let mut bytes = Vec::new();
    while let Some(part) = body.data().await {
        let part = part.unwrap();
        body.flow_control().release_capacity(part.len()).unwrap();
        bytes.extend_from_slice(&part);
    }
    (status, String::from_utf8(bytes).unwrap())
}

/// Sends requests of others until one is carried by this connection; each gets its own answer. They
/// are answered when all have come, so none can take the connection of another one.
#[track_caller]
fn check_next_on(
    origin: &StrictOrigin,
    gateway: &Gateway,
    version: &str,
    connection: usize,
    case: &str,
) {
    let mut clients = Vec::new();
    loop {
        assert!(clients.len() < 100, "{case}: the connection was not kept");
        let (mut client, path) = (gateway.client(), format!("/held/{}", clients.len()));
        // With a body, and in this version, it is served by the same engine, from the same pool.
        client.send(format!(
            "POST {path} HTTP/{version}\r\nHost: test\r\nContent-Length: 4\r\n\r\nmine"
        ));
        let (carried_by, head) = origin.head();
        assert!(head.starts_with(&format!("post {path} ")), "{case}: {head}");
        let body = b"mine".to_vec();
        let expected = Event::Whole {
            path: path.clone(),
            body,
        };
        assert_eq!(origin.event(), expected, "{case}");
        clients.push((client, path));
        if carried_by == connection {
            break;
        }
    }
    origin.release();
    for (mut client, path) in clients {
        let response = client.response();
        assert_eq!((response.status, response.text()), (200, &*path), "{case}");
    }
}

#[track_caller]
fn check_whole(origin: &StrictOrigin, path: &str, body: &str, case: &str) -> usize {
    let (connection, head) = origin.head();
    assert!(head.starts_with(&format!("post {path} ")), "{case}: {head}");
    let country: Vec<_> = head
        .lines()
        .filter(|l| l.starts_with("x-geo-country:"))
        .collect();
    assert!(!country.contains(&"x-geo-country: xx"), "{case}: {head}");
    let (path, body) = (path.to_owned(), body.as_bytes().to_vec());
    assert_eq!(origin.event(), Event::Whole { path, body }, "{case}");
    connection
}

#[test]
fn http_1_to_http_1() {
    let origin = StrictOrigin::start();
    let gateway = Gateway::h2c(origin.address, "");
    for (version, lines, behind, body) in HTTP_1 {
        let case = format!("HTTP/{version} {lines:?} {behind:?}");
        let mut client = gateway.client();
        client.send(format!(
            "POST /case HTTP/{version}\r\nHost: test\r\n{lines}\r\n{behind}"
        ));
        let response = client.response();
        assert_eq!((response.status, response.text()), (200, "/case"), "{case}");
        let connection = check_whole(&origin, "/case", body, &case);
        // A request without a body takes the other engine, which has a pool of its own.
        if !lines.is_empty() {
            check_next_on(&origin, &gateway, version, connection, &case);
        }
    }
}

#[test]
fn http_2_to_http_1() {
    // With one thread all frames of a request are written at once: an upstream that had the whole
    // length could answer before the end has come, and its connection is not kept then.
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let origin = StrictOrigin::start();
    let gateway = Gateway::h2c(origin.address, "");
    let mut requests = runtime.block_on(h2c_requests(gateway.address));
    for ending in HTTP_2 {
        for has_length in [false, true] {
            let case = format!("{ending:?}, with a length: {has_length}");
            let length = has_length.then_some(ending.body().len());
            let is_end = ending == Ending::Head;
            let response = runtime.block_on(async {
                let request = post("/case", length);
                let (response, mut out) = requests.send_request(request, is_end).unwrap();
                ending.send(&mut out);
                text(response).await
            });
            assert_eq!(response, (200, "/case".to_owned()), "{case}");
            let connection = check_whole(&origin, "/case", ending.body(), &case);
            check_next_on(&origin, &gateway, "1.1", connection, &case);
        }
    }
}

/// The end comes when the upstream has had all that came before it.
#[test]
fn an_end_that_comes_alone_ends_a_request_once() {
    let runtime = Runtime::new().unwrap();
    let origin = StrictOrigin::start();
    let gateway = Gateway::h2c(origin.address, "");
    let mut requests = runtime.block_on(h2c_requests(gateway.address));
    for ending in [Ending::OnlyEmptyData, Ending::OnlyTrailers] {
        let request = post("/case", None);
        let (response, mut out) = requests.send_request(request, false).unwrap();
        let (connection, _) = origin.head();
        ending.send(&mut out);
        let response = runtime.block_on(text(response));
        assert_eq!(response, (200, "/case".to_owned()), "{ending:?}");
        let (path, body) = ("/case".to_owned(), Vec::new());
        assert_eq!(origin.event(), Event::Whole { path, body }, "{ending:?}");
        check_next_on(&origin, &gateway, "1.1", connection, &format!("{ending:?}"));
    }
}

#[test]
fn what_breaks_off_is_not_whole_and_its_connection_is_not_kept() {
    let origin = StrictOrigin::start();
    let gateway = Gateway::h2c(origin.address, "");
    for start in [
        "POST /cut HTTP/1.0\r\nContent-Length: 10\r\n\r\nhalf",
        "POST /cut HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhalf",
        "POST /cut HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "POST /cut HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
    ] {
        for resets in [false, true] {
            let mut client = gateway.client();
            client.send(start);
            assert!(origin.head().1.starts_with("post /cut "), "{start}");
            if resets {
                client.reset();
            } else {
                drop(client);
            }
            check_cut(&origin, &gateway, start);
        }
    }
}

#[track_caller]
fn check_cut(origin: &StrictOrigin, gateway: &Gateway, case: &str) {
    let path = "/cut".to_owned();
    assert_eq!(origin.event(), Event::Cut { path }, "{case}");
    let response = gateway.client().request("POST", "/after", "", b"mine");
    assert_eq!(
        (response.status, response.text()),
        (200, "/after"),
        "{case}"
    );
    check_whole(origin, "/after", "mine", case);
}

#[test]
fn what_breaks_off_over_http_2_is_not_whole_and_its_connection_is_not_kept() {
    let origin = StrictOrigin::start();
    let gateway = Gateway::h2c(origin.address, "");
    for length in [None, Some(10)] {
        for reason in [Some(Reason::CANCEL), Some(Reason::NO_ERROR), None] {
            let case = format!("length {length:?}, {reason:?}");
            let runtime = Runtime::new().unwrap();
            let mut requests = runtime.block_on(h2c_requests(gateway.address));
            let request = post("/cut", length);
            let (_response, mut out) = requests.send_request(request, false).unwrap();
            out.send_data(Bytes::from_static(b"half"), false).unwrap();
            assert!(origin.head().1.starts_with("post /cut "), "{case}");
            match reason {
                Some(reason) => out.send_reset(reason),
                // The connection ends.
                None => drop(runtime),
            }
            check_cut(&origin, &gateway, &case);
        }
    }
}

/// A response that is complete before its request: what is still missing of the request never follows.
#[test]
fn a_request_that_breaks_off_behind_its_response_is_not_whole() {
    let runtime = Runtime::new().unwrap();
    let peer = Peer::listen();
    let gateway = Gateway::h2c(peer.address, "");
    let early = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly";
    for reason in [Reason::CANCEL, Reason::NO_ERROR] {
        let mut requests = runtime.block_on(h2c_requests(gateway.address));
        let (response, mut out) = requests.send_request(post("/", None), false).unwrap();
        let mut upstream = peer.accept();
        upstream.head();
        upstream.send(early);
        assert_eq!(runtime.block_on(text(response)), (200, "early".to_owned()));
        out.send_reset(reason);
        assert!(upstream.is_closed(), "{reason:?}");
    }
    for framing in ["Content-Length: 10", "Transfer-Encoding: chunked"] {
        let mut client = gateway.client();
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\n"
        ));
        let mut upstream = peer.accept();
        upstream.head();
        upstream.send(early);
        assert_eq!(client.response().text(), "early");
        drop(client);
        assert!(upstream.is_closed(), "{framing}");
    }
}

/// What an upstream of HTTP/2 found: path, body, and whether the body had an end.
type Found = (String, Vec<u8>, bool);

async fn serve_http_2(listener: TcpListener, tell: mpsc::UnboundedSender<Found>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let tell = tell.clone();
        tokio::spawn(async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let tell = tell.clone();
                tokio::spawn(async move {
                    let path = request.uri().path().to_owned();
                    tell.send((path.clone(), b"begins".to_vec(), false))
                        .unwrap();
                    let (mut body, mut bytes, mut is_whole) =
                        (request.into_body(), Vec::new(), true);
                    while let Some(part) = body.data().await {
                        let Ok(part) = part else {
                            is_whole = false;
                            break;
                        };
                        body.flow_control().release_capacity(part.len()).unwrap();
                        bytes.extend_from_slice(&part);
                    }
                    if is_whole {
                        assert_eq!(body.trailers().await.unwrap(), None, "{path}");
                        let mut out = respond.send_response(Response::new(()), false).unwrap();
                        out.send_data(path.clone().into(), true).unwrap();
                    }
                    tell.send((path, bytes, is_whole)).unwrap();
                });
            }
        });
    }
}

struct Upstream2 {
    runtime: Runtime,
    gateway: Gateway,
    found: mpsc::UnboundedReceiver<Found>,
}

impl Upstream2 {
    fn start() -> Upstream2 {
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let peer = listener.local_addr().unwrap();
        let (tell, found) = mpsc::unbounded_channel();
        runtime.spawn(serve_http_2(listener, tell));
        Upstream2 {
            runtime,
            gateway: Gateway::h2c(peer, "protocol = 'http2'"),
            found,
        }
    }

    #[track_caller]
    fn check(&mut self, expected: (&str, &str, bool), case: &str) {
        let (path, body, is_whole) = self.found.blocking_recv().unwrap();
        let body = String::from_utf8(body).unwrap();
        assert_eq!((&*path, &*body, is_whole), expected, "{case}");
    }
}

#[test]
fn http_1_to_http_2() {
    let mut upstream = Upstream2::start();
    for (version, lines, behind, body) in HTTP_1 {
        let case = format!("HTTP/{version} {lines:?} {behind:?}");
        let mut client = upstream.gateway.client();
        client.send(format!(
            "POST /case HTTP/{version}\r\nHost: test\r\n{lines}\r\n{behind}"
        ));
        let response = client.response();
        assert_eq!((response.status, response.text()), (200, "/case"), "{case}");
        upstream.check(("/case", "begins", false), &case);
        upstream.check(("/case", body, true), &case);
    }
}

#[test]
fn http_2_to_http_2() {
    let mut upstream = Upstream2::start();
    let mut requests = upstream
        .runtime
        .block_on(h2c_requests(upstream.gateway.address));
    for ending in HTTP_2 {
        for has_length in [false, true] {
            let case = format!("{ending:?}, with a length: {has_length}");
            let length = has_length.then_some(ending.body().len());
            let is_end = ending == Ending::Head;
            let request = post("/case", length);
            let (response, mut out) = requests.send_request(request, is_end).unwrap();
            ending.send(&mut out);
            let response = upstream.runtime.block_on(text(response));
            assert_eq!(response, (200, "/case".to_owned()), "{case}");
            upstream.check(("/case", "begins", false), &case);
            upstream.check(("/case", ending.body(), true), &case);
        }
    }
}

#[test]
fn what_breaks_off_is_not_whole_to_http_2() {
    let mut upstream = Upstream2::start();
    for start in [
        "POST /cut HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhalf",
        "POST /cut HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let mut client = upstream.gateway.client();
        client.send(start);
        upstream.check(("/cut", "begins", false), start);
        drop(client);
        upstream.check(("/cut", "half", false), start);
    }
    for reason in [Reason::CANCEL, Reason::NO_ERROR] {
        let mut requests = upstream
            .runtime
            .block_on(h2c_requests(upstream.gateway.address));
        let (_response, mut out) = requests.send_request(post("/cut", None), false).unwrap();
        upstream.check(("/cut", "begins", false), "reset");
        out.send_reset(reason);
        let (path, _, is_whole) = upstream.found.blocking_recv().unwrap();
        assert_eq!((&*path, is_whole), ("/cut", false), "{reason:?}");
    }
}

/// The answer comes after the gateway, which has one thread, has seen the end of what the client sends.
#[test]
fn a_client_that_closes_its_direction_gets_its_answer() {
    for request in [
        "GET / HTTP/1.1\r\nHost: test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: test\r\nConnection: keep-alive, X\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nbody",
        "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        let peer = Peer::listen();
        let gateway = Gateway::h2c(peer.address, "");
        let mut client = gateway.client();
        client.send(request);
        client.half_close();
        let mut upstream = peer.accept();
        upstream.head();
        for _ in 0..2 {
            let other = gateway.client().get("/api/ip_query?ip=1.0.0.1", "");
            assert_eq!(other.status, 200);
        }
        upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nanswer");
        let response = client.response();
        assert_eq!(
            (response.status, response.text()),
            (200, "answer"),
            "{request}"
        );
        assert!(client.is_closed(), "{request}");
    }
}

/// Requests that were sent before the end are all answered, whichever engine serves them.
#[test]
fn a_client_that_closes_its_direction_gets_all_its_answers() {
    let origin = StrictOrigin::start();
    let gateway = Gateway::h2c(origin.address, "");
    let mut client = gateway.client();
    client.send(
        "POST /a HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nbody\
         GET /b HTTP/1.1\r\nHost: test\r\n\r\n\
         GET /api/ip_query?ip=1.0.0.1 HTTP/1.1\r\nHost: test\r\n\r\n\
         GET /c HTTP/1.1\r\nHost: test\r\n\r\n",
    );
    client.half_close();
    for expected in ["/a", "/b", "[\"", "/c"] {
        let response = client.response();
        assert_eq!(response.status, 200);
        assert!(response.text().starts_with(expected), "{}", response.text());
    }
    assert!(client.is_closed());
}
