//! gRPC: HTTP/2 on both ends, messages both ways at a time, and a status in the trailers.

use bytes::Bytes;
use h2::RecvStream;
use h2::client::SendRequest;
use http::{HeaderMap, Request, Response};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::harness::{Gateway, h2c_requests};

/// A message as gRPC frames it.
fn message(text: &str) -> Bytes {
    let mut bytes = vec![0];
    bytes.extend((text.len() as u32).to_be_bytes());
    bytes.extend(text.as_bytes());
    bytes.into()
}

/// Echoes each message as it comes; `/none` has no such method.
async fn serve(listener: TcpListener) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((request, respond))) = connection.accept().await {
                tokio::spawn(answer(request, respond));
            }
        });
    }
}

async fn answer(request: Request<RecvStream>, mut respond: h2::server::SendResponse<Bytes>) {
    assert_eq!(request.headers()["te"], "trailers");
    assert_eq!(request.headers()["content-type"], "application/grpc");
    let head = Response::builder().header("content-type", "application/grpc");
    if request.uri().path() == "/none" {
        let head = head.header("grpc-status", "12").body(()).unwrap();
        respond.send_response(head, true).unwrap();
        return;
    }
    let mut out = respond
        .send_response(head.body(()).unwrap(), false)
        .unwrap();
    let mut body = request.into_body();
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        out.send_data(data, false).unwrap();
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    trailers.insert("grpc-message", "done".parse().unwrap());
    out.send_trailers(trailers).unwrap();
}

fn call(path: &str) -> Request<()> {
    Request::post(format!("http://test{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .unwrap()
}

/// The next part of a body, and room for another.
async fn part(body: &mut RecvStream) -> Bytes {
    let part = body.data().await.unwrap().unwrap();
    body.flow_control().release_capacity(part.len()).unwrap();
    part
}

/// What a client does, with a gateway between it and a server.
fn check<F: Future<Output = ()>>(settings: &str, client: impl FnOnce(SendRequest<Bytes>) -> F) {
    let runtime = Runtime::new().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let peer = listener.local_addr().unwrap();
    runtime.spawn(serve(listener));
    let gateway = Gateway::h2c(peer, &format!("protocol = 'http2'\n{settings}"));
    runtime.block_on(async {
        client(h2c_requests(gateway.address).await).await;
    });
}

async fn unary(mut requests: SendRequest<Bytes>) {
    let (response, mut out) = requests.send_request(call("/echo"), false).unwrap();
    out.send_data(message("hello"), true).unwrap();
    let mut body = response.await.unwrap().into_body();
    assert_eq!(part(&mut body).await, message("hello"));
    let trailers = body.trailers().await.unwrap().unwrap();
    assert_eq!(trailers["grpc-status"], "0");
    assert_eq!(trailers["grpc-message"], "done");
}

#[test]
fn a_call_has_its_status_behind_its_answer() {
    check("", unary);
}

#[test]
fn compression_leaves_calls_alone() {
    check(
        "[compression]\nenabled = true\ntypes = ['*']\nmin_size = 0",
        unary,
    );
}

#[test]
fn a_call_that_fails_at_once_has_its_status_in_its_head() {
    check("", |mut requests| async move {
        let (response, _) = requests.send_request(call("/none"), true).unwrap();
        let response = response.await.unwrap();
        assert_eq!(response.headers()["grpc-status"], "12");
        assert!(response.into_body().data().await.is_none());
    });
}

/// Each message arrives before the next is sent, in both directions.
#[test]
fn streams_flow_both_ways_at_a_time() {
    check("", |mut requests| async move {
        let (response, mut out) = requests.send_request(call("/echo"), false).unwrap();
        let mut body = response.await.unwrap().into_body();
        for text in ["one", "two", "three"] {
            out.send_data(message(text), false).unwrap();
            assert_eq!(part(&mut body).await, message(text));
        }
        out.send_data(Bytes::new(), true).unwrap();
        assert!(body.data().await.is_none());
        let trailers = body.trailers().await.unwrap().unwrap();
        assert_eq!(trailers["grpc-status"], "0");
    });
}
