//! The origin server over HTTP/2, without TLS and without an upgrade.

use std::future::poll_fn;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Response};
use tokio::sync::Notify;

use super::http2::{line, send};
use super::origin::status_of;
use super::origin::{Request, State};

/// Whether a connection begins as one of HTTP/2 does: with a method that HTTP/1 does not have.
pub fn is_http2(stream: &TcpStream) -> io::Result<bool> {
    let mut start = [0; 3];
    // A method may come in pieces.
    loop {
        let length = stream.peek(&mut start)?;
        if length == 0 || length == start.len() || !b"PRI".starts_with(&start[..length]) {
            return Ok(start == *b"PRI");
        }
        std::thread::yield_now();
    }
}

pub fn serve(stream: TcpStream, state: &Arc<State>) -> io::Result<()> {
    let socket = stream.try_clone()?;
    stream.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    // An error is a connection that was cut.
    let _ = runtime.block_on(accept(stream, state));
    socket.shutdown(Shutdown::Both)
}

/// Serves a connection until it ends, or a request says that it should.
async fn accept(stream: TcpStream, state: &Arc<State>) -> Result<(), h2::Error> {
    let stream = tokio::net::TcpStream::from_std(stream).unwrap();
    let mut connection = h2::server::handshake(stream).await?;
    let close = Arc::new(Notify::new());
    let mut served = 0;
    loop {
        let accepted = tokio::select! {
            accepted = connection.accept() => accepted,
            () = close.notified() => return Ok(()),
        };
        let Some(request) = accepted else {
            return Ok(());
        };
        let (request, respond) = request?;
        served += 1;
        let (state, close) = (Arc::clone(state), Arc::clone(&close));
        tokio::spawn(async move {
            let request = read(request).await?;
            state.requests.lock().unwrap().push(request.clone());
            answer(request, respond, served, &close).await
        });
    }
}

async fn read(request: http::Request<RecvStream>) -> Result<Request, h2::Error> {
    let (head, mut incoming) = request.into_parts();
    let target = head.uri.path_and_query().map_or("", |path| path.as_str());
    let mut request = Request {
        line: format!("{} {target} HTTP/2.0", head.method),
        headers: Vec::new(),
        body: Vec::new(),
    };
    if let Some(authority) = head.uri.authority() {
        let host = ("host".to_owned(), authority.to_string());
        request.headers.push(host);
    }
    request.headers.extend(head.headers.iter().map(line));
    while let Some(part) = incoming.data().await {
        let part = part?;
        incoming.flow_control().release_capacity(part.len())?;
        request.body.extend_from_slice(&part);
    }
    Ok(request)
}

async fn answer(
    request: Request,
    mut respond: SendResponse<Bytes>,
    served: usize,
    close: &Notify,
) -> Result<(), h2::Error> {
    let (method, target) = request.target().split_once(' ').unwrap_or_default();
    let mut response = Response::new(());
    match target {
        "/stall" => {
            // Until the other end gives up.
            poll_fn(|cx| respond.poll_reset(cx)).await?;
        }
        "/close" => close.notify_one(),
        "/once" if served > 1 => close.notify_one(),
        "/half" => {
            let length = HeaderValue::from_static("10");
            response.headers_mut().insert("content-length", length);
            let mut out = respond.send_response(response, false)?;
            // The stream is reset behind it, as one without an end.
            out.send_data(Bytes::from_static(b"half"), false)?;
        }
        "/chunked" => {
            let mut out = respond.send_response(response, false)?;
            for (piece, is_last) in [("one", false), (" two", false), (" three", true)] {
                out.send_data(Bytes::from_static(piece.as_bytes()), is_last)?;
            }
        }
        "/trailers" => {
            let name = HeaderValue::from_static("X-Sum");
            response.headers_mut().insert("trailer", name);
            let mut out = respond.send_response(response, false)?;
            out.send_data(Bytes::from_static(b"body"), false)?;
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", HeaderValue::from_static("1"));
            out.send_trailers(trailers)?;
        }
        _ => {
            let body = match target.strip_prefix("/large/") {
                Some(size) => vec![b'x'; size.parse().unwrap()],
                None => request.body.clone(),
            };
            let lines = response.headers_mut();
            lines.insert("x-origin", HeaderValue::from_static("yes"));
            lines.insert("content-length", body.len().into());
            *response.status_mut() = status_of(target).parse().unwrap();
            let is_end = method == "HEAD" || body.is_empty();
            let mut out = respond.send_response(response, is_end)?;
            if !is_end {
                send(&mut out, body.into(), true).await;
            }
        }
    }
    Ok(())
}
