//! A client that speaks HTTP/2 and does one thing after the other.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use super::{PATIENCE, Response};

pub struct Http2 {
    runtime: Runtime,
    requests: SendRequest<Bytes>,
    ended: JoinHandle<Option<Reason>>,
}

impl Http2 {
    /// In clear text, without asking.
    pub fn connect(address: SocketAddr) -> Http2 {
        Http2::over(async move { TcpStream::connect(address).await.unwrap() })
    }

    /// Over TLS, to the host with this name.
    pub fn connect_tls(address: SocketAddr, config: &Arc<ClientConfig>, name: &str) -> Http2 {
        let (connector, name) = (
            TlsConnector::from(Arc::clone(config)),
            ServerName::try_from(name.to_owned()).unwrap(),
        );
        Http2::over(async move {
            let socket = TcpStream::connect(address).await.unwrap();
            let stream = connector.connect(name, socket).await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            stream
        })
    }

    fn over<S>(stream: impl Future<Output = S>) -> Http2
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
    {
        let runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = { runtime }.worker_threads(1).enable_all().build().unwrap();
        let (requests, ended) = runtime.block_on(async {
            let (requests, connection) = h2::client::handshake(stream.await).await.unwrap();
            let ended = async { connection.await.err().and_then(|error| error.reason()) };
            (requests, tokio::spawn(ended))
        });
        Http2 {
            runtime,
            requests,
            ended,
        }
    }

    /// `GET` of a URL, with headers.
    pub fn get(&mut self, url: &str, headers: &[(&str, &str)]) -> Response {
        self.request(request("GET", url, headers), b"").unwrap()
    }

    /// Sends a request and its body, and reads the response; why there is none.
    pub fn request(&mut self, request: Request<()>, body: &[u8]) -> Result<Response, h2::Error> {
        let (requests, body) = (self.requests.clone(), Bytes::copy_from_slice(body));
        self.block_on(async {
            let mut requests = requests.ready().await?;
            let (response, mut stream) = requests.send_request(request, body.is_empty())?;
            // The other end may answer before it has read everything.
            let sent = async {
                if !body.is_empty() {
                    send(&mut stream, body).await;
                }
            };
            let (response, ()) = tokio::join!(response, sent);
            receive(response?).await
        })
    }

    /// Sends a request and the start of its body, and reads the response.
    pub fn unfinished(
        &mut self,
        request: Request<()>,
        start: &[u8],
    ) -> Result<Response, h2::Error> {
        let (requests, start) = (self.requests.clone(), Bytes::copy_from_slice(start));
        self.block_on(async {
            let mut requests = requests.ready().await?;
            let (response, mut stream) = requests.send_request(request, false)?;
            stream.send_data(start, false)?;
            receive(response.await?).await
        })
    }

    /// How many requests may be in flight, as the other end says.
    pub fn max_requests(&self) -> usize {
        self.requests.current_max_send_streams()
    }

    /// Waits until the connection has ended; the reason, if it is one.
    pub fn wait_for_end(&mut self) -> Option<Reason> {
        self.runtime.block_on(&mut self.ended).unwrap()
    }

    fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        let work = async { tokio::time::timeout(PATIENCE, work).await };
        self.runtime.block_on(work).expect("it ends in time")
    }
}

/// The requests of a connection in clear text, for tests that send frame by frame in a runtime of
/// their own.
pub async fn h2c_requests(address: SocketAddr) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (requests, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    requests
}

/// A request without a body.
pub fn request(method: &str, url: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

async fn send(stream: &mut h2::SendStream<Bytes>, mut body: Bytes) {
    while !body.is_empty() {
        stream.reserve_capacity(body.len());
        let room = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await;
        let Some(Ok(room)) = room else { return };
        let part = body.split_to(room.min(body.len()));
        if stream.send_data(part, body.is_empty()).is_err() {
            return;
        }
    }
}

async fn receive(response: http::Response<RecvStream>) -> Result<Response, h2::Error> {
    let (head, mut body) = response.into_parts();
    let header = |(name, value): (&HeaderName, &HeaderValue)| {
        let value = String::from_utf8_lossy(value.as_bytes());
        (name.to_string(), value.into_owned())
    };
    let headers = head.headers.iter().map(header).collect();
    let mut bytes = Vec::new();
    while let Some(part) = body.data().await {
        let part = part?;
        body.flow_control().release_capacity(part.len())?;
        bytes.extend_from_slice(&part);
    }
    let trailers = body.trailers().await?;
    let trailers = trailers.iter().flat_map(HeaderMap::iter);
    Ok(Response {
        status: head.status.as_u16(),
        headers,
        body: bytes,
        trailers: trailers
            .map(|line| {
                let (name, value) = header(line);
                format!("{name}: {value}")
            })
            .collect(),
    })
}
