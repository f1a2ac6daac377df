//! Clients of HTTP/2 that take nothing of a response, and what the gateway takes of it meanwhile.

use std::future::poll_fn;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::server::SendResponse;
use http::{Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::harness::Gateway;

/// More than any window.
const LARGE: usize = 64 << 20;

/// Sends what it may at once of a response without end, tells how much that was, and what is asked for
/// besides.
async fn answer(path: &str, mut respond: SendResponse<Bytes>, sent: UnboundedSender<usize>) {
    let response = Response::new(());
    let mut out = respond.send_response(response, false).unwrap();
    if path != "/large" {
        out.send_data(Bytes::from_static(b"ok"), true).unwrap();
        return;
    }
    out.reserve_capacity(LARGE);
    let room = poll_fn(|cx| out.poll_capacity(cx)).await.unwrap().unwrap();
    out.send_data(vec![b'x'; room].into(), false).unwrap();
    sent.send(room).unwrap();
    // Until the connection ends.
    let _ = poll_fn(|cx| out.poll_reset(cx)).await;
}

/// Serves the one connection of the gateway.
async fn serve(listener: TcpListener, sent: UnboundedSender<usize>) {
    let (stream, _) = listener.accept().await.unwrap();
    drop(listener);
    let mut builder = h2::server::Builder::new();
    builder.max_send_buffer_size(LARGE);
    let mut connection = builder.handshake(stream).await.unwrap();
    while let Some(Ok((request, respond))) = connection.accept().await {
        let (path, sent) = (request.uri().path().to_owned(), sent.clone());
        tokio::spawn(async move { answer(&path, respond, sent).await });
    }
}

async fn connect(gateway: &Gateway) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(gateway.address).await.unwrap();
    let (requests, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    requests
}

fn get(path: &str) -> Request<()> {
    let request = Request::get(format!("http://test{path}"));
    request.body(()).unwrap()
}

/// Responses to all clients share the connection to a peer, and its window.
#[test]
fn a_client_that_takes_nothing_keeps_nothing_from_others() {
    let runtime = Runtime::new().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let peer = listener.local_addr().unwrap();
    let (sent, mut told) = unbounded_channel();
    runtime.spawn(serve(listener, sent));
    let gateway = Gateway::start(&format!(
        "[server]\nlisten = [{{ address = '{{address}}', h2c = true }}]\n\
         [[upstream]]\npeers = ['{peer}']\nprotocol = 'http2'\n"
    ));
    runtime.block_on(async {
        let mut slow = connect(&gateway).await;
        let mut stalled = Vec::new();
        for _ in 0..3 {
            let (response, _) = slow.send_request(get("/large"), true).unwrap();
            stalled.push(response.await.unwrap().into_body());
            // As much as HTTP/2 lets a server send unasked, and it waits for more.
            assert_eq!(told.recv().await, Some(65_535));
        }
        let (response, _) = connect(&gateway)
            .await
            .send_request(get("/"), true)
            .unwrap();
        let mut body = response.await.unwrap().into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "ok");
        drop(stalled);
    });
}
