//! A client that speaks HTTP/2 and does one thing after the other.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use super::{PATIENCE, Response};

pub struct Http2 {
    runtime: Runtime,
    requests: SendRequest<Bytes>,
    ended: JoinHandle<Option<Reason>>,
    current: Option<Stream>,
}

/// The stream of one request.
struct Stream {
    /// Pieces of its body, with whether each is the last. They are sent beside everything else, for the
    /// other end may answer before it has read them.
    pieces: UnboundedSender<(Bytes, bool)>,
    response: ResponseFuture,
    body: Option<RecvStream>,
    /// Content that was read and not asked for yet.
    read: Vec<u8>,
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
            current: None,
        }
    }

    /// `GET` of a URL, with headers.
    pub fn get(&mut self, url: &str, headers: &[(&str, &str)]) -> Response {
        self.request(request("GET", url, headers), b"").unwrap()
    }

    /// Sends a request and its body, and reads the response; why there is none.
    pub fn request(&mut self, request: Request<()>, body: &[u8]) -> Result<Response, h2::Error> {
        self.begin(request, body.is_empty())?;
        if !body.is_empty() {
            self.send_piece(body, true);
        }
        self.final_response()
    }

    /// Sends a request and the start of its body, and reads the response.
    pub fn unfinished(
        &mut self,
        request: Request<()>,
        start: &[u8],
    ) -> Result<Response, h2::Error> {
        self.begin(request, false)?;
        self.send_piece(start, false);
        self.final_response()
    }

    fn final_response(&mut self) -> Result<Response, h2::Error> {
        let mut response = self.read_head()?;
        while response.status < 200 {
            response = self.read_head()?;
        }
        self.read_body(&mut response)?;
        Ok(response)
    }

    /// Sends the head of a request, with header lines such as `X: 1\r\n`.
    pub fn send_head(&mut self, host: &str, method: &str, target: &str, lines: &str, is_end: bool) {
        let mut request = request(method, &format!("http://{host}{target}"), &[]);
        for line in lines.split_terminator("\r\n") {
            let (name, value) = line.split_once(':').expect("a header line");
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            let value = HeaderValue::from_bytes(value.trim().as_bytes()).unwrap();
            request.headers_mut().append(name, value);
        }
        self.begin(request, is_end).unwrap();
    }

    fn begin(&mut self, request: Request<()>, is_end: bool) -> Result<(), h2::Error> {
        let requests = self.requests.clone();
        let mut requests = self.block_on(requests.ready())?;
        let (response, mut out) = requests.send_request(request, is_end)?;
        let (pieces, mut to_send) = unbounded_channel();
        self.runtime.spawn(async move {
            while let Some((piece, is_last)) = to_send.recv().await {
                send(&mut out, piece, is_last).await;
            }
        });
        self.current = Some(Stream {
            pieces,
            response,
            body: None,
            read: Vec::new(),
        });
        Ok(())
    }

    /// Sends a piece of the request's body.
    pub fn send_piece(&mut self, piece: &[u8], is_last: bool) {
        let piece = Bytes::copy_from_slice(piece);
        let pieces = &self.current.as_ref().expect("a request").pieces;
        // Who answers early hears no more of it.
        let _ = pieces.send((piece, is_last));
    }

    /// Reads the head of the response, or an interim one.
    pub fn read_head(&mut self) -> Result<Response, h2::Error> {
        let mut stream = self.current.take().expect("a request");
        let (head, body) = self.block_on(async {
            let response = &mut stream.response;
            let interim = poll_fn(|cx| response.poll_informational(cx)).await;
            if let Some(head) = interim {
                return Ok((head?, None));
            }
            let (head, body) = response.await?.into_parts();
            Ok::<_, h2::Error>((http::Response::from_parts(head, ()), Some(body)))
        })?;
        stream.body = body;
        self.current = Some(stream);
        Ok(Response {
            status: head.status().as_u16(),
            headers: head.headers().iter().map(line).collect(),
            ..Response::default()
        })
    }

    /// Waits for the final response; whether it came in this time.
    pub fn hears_within(&mut self, time: Duration) -> bool {
        let stream = self.current.as_mut().expect("a request");
        let response = &mut stream.response;
        let heard = self.runtime.block_on(async {
            let interim = poll_fn(|cx| response.poll_informational(cx));
            tokio::time::timeout(time, interim).await
        });
        match heard {
            Ok(Some(interim)) => panic!("not final: {interim:?}"),
            Ok(None) => true,
            Err(_) => false,
        }
    }

    /// Reads so many bytes of content; why they do not come.
    pub fn content(&mut self, length: usize) -> Result<Vec<u8>, h2::Error> {
        let mut stream = self.current.take().expect("a request");
        self.block_on(async {
            while stream.read.len() < length {
                let part = stream.next().await.expect("more content")?;
                stream.read.extend_from_slice(&part);
            }
            Ok::<_, h2::Error>(())
        })?;
        let rest = stream.read.split_off(length);
        let content = std::mem::replace(&mut stream.read, rest);
        self.current = Some(stream);
        Ok(content)
    }

    /// Reads the rest of the content, and the trailers.
    pub fn read_body(&mut self, response: &mut Response) -> Result<(), h2::Error> {
        let mut stream = self.current.take().expect("a request");
        response.body.append(&mut stream.read);
        self.block_on(async {
            while let Some(part) = stream.next().await {
                response.body.extend_from_slice(&part?);
            }
            let body = stream.body.as_mut().expect("a response");
            let trailers = body.trailers().await?;
            let trailers = trailers.iter().flat_map(HeaderMap::iter).map(line);
            let trailers = trailers.map(|(name, value)| format!("{name}: {value}"));
            response.trailers.extend(trailers);
            Ok(())
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

impl Stream {
    /// The next part of the content.
    async fn next(&mut self) -> Option<Result<Bytes, h2::Error>> {
        let body = self.body.as_mut().expect("a response");
        let part = body.data().await?;
        Some(part.and_then(|part| {
            body.flow_control().release_capacity(part.len())?;
            Ok(part)
        }))
    }
}

/// Sends as the other end takes it, until it wants no more.
pub async fn send(stream: &mut SendStream<Bytes>, mut piece: Bytes, is_last: bool) {
    if piece.is_empty() && is_last {
        // The other end may want no more.
        let _ = stream.send_data(piece, true);
        return;
    }
    while !piece.is_empty() {
        stream.reserve_capacity(piece.len());
        let room = poll_fn(|cx| stream.poll_capacity(cx)).await;
        let Some(Ok(room)) = room else { return };
        let part = piece.split_to(room.min(piece.len()));
        let is_end = is_last && piece.is_empty();
        if stream.send_data(part, is_end).is_err() {
            return;
        }
    }
}

/// A header line.
pub fn line((name, value): (&HeaderName, &HeaderValue)) -> (String, String) {
    let value = String::from_utf8_lossy(value.as_bytes());
    (name.to_string(), value.into_owned())
}
