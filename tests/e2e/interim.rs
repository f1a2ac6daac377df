//! Interim responses (1xx): they reach clients of both versions as they come.

use std::future::poll_fn;

use bytes::Bytes;
use h2::client::ResponseFuture;
use http::Request;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::harness::{Gateway, Peer, Secure, Speaks, h2c_requests};

/// The next interim response.
async fn interim(response: &mut ResponseFuture) -> http::Response<()> {
    let interim = poll_fn(|cx| response.poll_informational(cx)).await;
    interim.expect("an interim response").unwrap()
}

fn put() -> Request<()> {
    let request = Request::put("http://test/x");
    let request = request
        .header("expect", "100-continue")
        .header("content-length", "5");
    request.body(()).unwrap()
}

#[test]
fn an_upstream_that_asks_for_the_body_is_heard_over_http_2() {
    let runtime = Runtime::new().unwrap();
    let peer = Peer::listen();
    let gateway = Gateway::h2c(peer.address, "");
    let mut requests = runtime.block_on(h2c_requests(gateway.address));
    let (mut response, mut out) = requests.send_request(put(), false).unwrap();
    let mut upstream = peer.accept();
    assert!(upstream.head().contains("\r\nexpect: 100-continue\r\n"));
    upstream.send("HTTP/1.1 100 Continue\r\n\r\n");
    let continued = runtime.block_on(interim(&mut response));
    assert_eq!(continued.status(), 100);
    out.send_data(Bytes::from_static(b"hello"), true).unwrap();
    let mut body = [0; 5];
    upstream.read_exact(&mut body);
    assert_eq!(&body, b"hello");
    upstream.send("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(runtime.block_on(response).unwrap().status(), 201);
}

#[test]
fn hints_reach_clients_of_http_2_before_the_answer() {
    let runtime = Runtime::new().unwrap();
    let peer = Peer::listen();
    let gateway = Gateway::h2c(peer.address, "");
    let mut requests = runtime.block_on(h2c_requests(gateway.address));
    let request = Request::get("http://test/x").body(()).unwrap();
    let (mut response, _) = requests.send_request(request, true).unwrap();
    let mut upstream = peer.accept();
    upstream.head();
    for number in ["1", "2"] {
        upstream.send(format!(
            "HTTP/1.1 103 Early Hints\r\nLink: </{number}.css>\r\nConnection: close, X-A\r\n\
             X-A: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
        ));
        let hint = runtime.block_on(interim(&mut response));
        assert_eq!(hint.status(), 103);
        assert_eq!(hint.headers()["link"], format!("</{number}.css>"));
        assert_eq!(hint.headers().len(), 1, "{hint:?}");
    }
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let response = runtime.block_on(response).unwrap();
    assert_eq!(response.status(), 200);
    assert!(!response.headers().contains_key("link"));
}

/// Answers each request over HTTP/2 with a hint, with another after a word of the test, and with a
/// response after a second word.
async fn hint_over_http_2(listener: TcpListener, mut words: UnboundedReceiver<()>) {
    let (stream, _) = listener.accept().await.unwrap();
    let mut connection = h2::server::handshake(stream).await.unwrap();
    let (respond, mut responds) = unbounded_channel();
    let answers = async move {
        while let Some(respond) = responds.recv().await {
            let mut respond: h2::server::SendResponse<Bytes> = respond;
            for number in ["1", "2"] {
                let hint = http::Response::builder()
                    .status(103)
                    .header("link", format!("</{number}.css>"));
                respond.send_informational(hint.body(()).unwrap()).unwrap();
                words.recv().await.unwrap();
            }
            let response = http::Response::new(());
            let mut out = respond.send_response(response, false).unwrap();
            out.send_data(Bytes::from_static(b"ok"), true).unwrap();
        }
    };
    tokio::spawn(answers);
    while let Some(Ok((_, answer))) = connection.accept().await {
        respond.send(answer).unwrap();
    }
}

#[test]
fn hints_of_an_upstream_of_http_2_reach_clients_of_both_versions() {
    let runtime = Runtime::new().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let (word, words) = unbounded_channel();
    runtime.spawn(hint_over_http_2(listener, words));
    let gateway = Gateway::h2c(address, "protocol = 'http2'");

    let mut client = gateway.client();
    client.send("GET /x HTTP/1.1\r\nHost: test\r\n\r\n");
    for number in ["1", "2"] {
        let hint = client.response_without_body();
        let link = format!("</{number}.css>");
        assert_eq!((hint.status, hint.header("link")), (103, Some(&*link)));
        word.send(()).unwrap();
    }
    let response = client.response();
    assert_eq!((response.status, response.text()), (200, "ok"));
    assert_eq!(response.header("link"), None);

    let mut requests = runtime.block_on(h2c_requests(gateway.address));
    let request = Request::get("http://test/x").body(()).unwrap();
    let (mut response, _) = requests.send_request(request, true).unwrap();
    for number in ["1", "2"] {
        let hint = runtime.block_on(interim(&mut response));
        assert_eq!(hint.status(), 103);
        assert_eq!(hint.headers()["link"], format!("</{number}.css>"));
        word.send(()).unwrap();
    }
    let response = runtime.block_on(response).unwrap();
    assert_eq!(response.status(), 200);
    assert!(!response.headers().contains_key("link"));
}

/// Whether a server of HTTP/2 asks for a body is its own affair, and few do: the gateway asks.
#[test]
fn a_client_that_waits_is_asked_for_its_body_whatever_the_upstream_speaks() {
    let origin = Secure::start(&Speaks {
        http2: true,
        ..Speaks::default()
    });
    let runtime = Runtime::new().unwrap();
    let gateway = Gateway::h2c(origin.address, "protocol = 'http2'");

    let mut client = gateway.client();
    client
        .send("PUT /x HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    assert_eq!(client.response().status, 100);
    client.send("hello");
    let response = client.response();
    assert_eq!(response.text(), "http2 - - test PUT /x hello");
    // The connection is kept as it would have been.
    assert_eq!(client.get("/y", "").status, 200);

    let mut requests = runtime.block_on(h2c_requests(gateway.address));
    let (mut response, mut out) = requests.send_request(put(), false).unwrap();
    assert_eq!(runtime.block_on(interim(&mut response)).status(), 100);
    out.send_data(Bytes::from_static(b"hello"), true).unwrap();
    assert_eq!(runtime.block_on(response).unwrap().status(), 200);
}

/// The gateway's own answers to requests that it reads itself.
#[test]
fn the_gateway_itself_asks_for_a_body_over_http_2() {
    let runtime = Runtime::new().unwrap();
    let gateway = Gateway::h2c("127.0.0.1:1".parse().unwrap(), "");
    let mut requests = runtime.block_on(h2c_requests(gateway.address));
    let request = Request::post("http://test/api/ip_query").header("expect", "100-continue");
    let (mut response, mut out) = requests
        .send_request(request.body(()).unwrap(), false)
        .unwrap();
    assert_eq!(runtime.block_on(interim(&mut response)).status(), 100);
    let body = Bytes::from_static(b"{\"ip\":\"1.0.0.1\"}");
    out.send_data(body, true).unwrap();
    assert_eq!(runtime.block_on(response).unwrap().status(), 200);
}
