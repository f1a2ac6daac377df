//! A client that takes the same steps in either version of HTTP, one request after the other.
//!
//! Differences between the versions that a test can see are those of the versions themselves: over
//! HTTP/2 there is no `Connection`, and a response that breaks off ends its stream alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::{Client, Http2, Response};

pub struct EngineClient {
    version: Version,
    /// Number of responses that the engine gave.
    served: Arc<AtomicUsize>,
    /// The request that was sent last.
    method: String,
    is_query: bool,
}

enum Version {
    Http1(Http1),
    Http2(Http2),
}

/// A client of HTTP/1, and how far it is.
struct Http1 {
    client: Client,
    /// Whether the body of the request is sent in chunks.
    sends_chunks: bool,
    content: Content,
}

/// What is to come of a response's content.
enum Content {
    Length(usize),
    /// Content that was read and not asked for yet, and whether it is the last.
    Chunks(Vec<u8>, bool),
    UntilClose,
}

impl EngineClient {
    pub fn http1(client: Client, served: Arc<AtomicUsize>) -> EngineClient {
        let content = Content::Length(0);
        let http1 = Http1 {
            client,
            sends_chunks: false,
            content,
        };
        EngineClient::new(Version::Http1(http1), served)
    }

    pub fn http2(client: Http2, served: Arc<AtomicUsize>) -> EngineClient {
        EngineClient::new(Version::Http2(client), served)
    }

    fn new(version: Version, served: Arc<AtomicUsize>) -> EngineClient {
        EngineClient {
            version,
            served,
            method: String::new(),
            is_query: false,
        }
    }

    /// `GET target`, with header lines such as `X: 1\r\n`.
    pub fn get(&mut self, target: &str, lines: &str) -> Response {
        self.request("GET", target, lines, b"")
    }

    pub fn request(&mut self, method: &str, target: &str, lines: &str, body: &[u8]) -> Response {
        self.request_to("test", method, target, lines, body)
    }

    /// A request to this host.
    pub fn request_to(
        &mut self,
        host: &str,
        method: &str,
        target: &str,
        lines: &str,
        body: &[u8],
    ) -> Response {
        self.ask_for(host, method, target, lines, body);
        self.response()
    }

    /// Sends a request without waiting for the response.
    pub fn ask(&mut self, method: &str, target: &str, lines: &str, body: &[u8]) {
        self.ask_for("test", method, target, lines, body);
    }

    fn ask_for(&mut self, host: &str, method: &str, target: &str, lines: &str, body: &[u8]) {
        if body.is_empty() && method != "POST" {
            return self.send_head(host, method, target, lines, false);
        }
        let lines = format!("{lines}Content-Length: {}\r\n", body.len());
        self.send_head(host, method, target, &lines, !body.is_empty());
        if !body.is_empty() {
            self.send_last(body);
        }
    }

    /// Sends the head of a request whose body follows. Without a length among its lines, its body is
    /// framed as the version has it.
    pub fn begin(&mut self, method: &str, target: &str, lines: &str) {
        self.send_head("test", method, target, lines, true);
    }

    fn send_head(&mut self, host: &str, method: &str, target: &str, lines: &str, has_body: bool) {
        method.clone_into(&mut self.method);
        self.is_query = target.starts_with("/api/ip_query");
        match &mut self.version {
            Version::Http1(http1) => {
                let is_chunked = has_body && !lines.contains("Content-Length: ");
                let framing = if is_chunked {
                    "Transfer-Encoding: chunked\r\n"
                } else {
                    ""
                };
                http1.sends_chunks = is_chunked;
                http1.client.send(format!(
                    "{method} {target} HTTP/1.1\r\nHost: {host}\r\n{framing}{lines}\r\n"
                ));
            }
            Version::Http2(client) => client.send_head(host, method, target, lines, !has_body),
        }
    }

    /// Sends a piece of the body.
    pub fn send(&mut self, piece: impl AsRef<[u8]>) {
        self.send_piece(piece.as_ref(), false);
    }

    /// Sends the last piece of the body, which may be empty.
    pub fn send_last(&mut self, piece: impl AsRef<[u8]>) {
        self.send_piece(piece.as_ref(), true);
    }

    fn send_piece(&mut self, piece: &[u8], is_last: bool) {
        match &mut self.version {
            Version::Http1(http1) => http1.send(piece, is_last),
            Version::Http2(client) => client.send_piece(piece, is_last),
        }
    }

    /// Waits for the response; whether it began in this time.
    pub fn hears_within(&mut self, time: Duration) -> bool {
        match &mut self.version {
            Version::Http1(http1) => http1.client.hears_within(time),
            Version::Http2(client) => client.hears_within(time),
        }
    }

    /// Reads a response, or an interim one.
    pub fn response(&mut self) -> Response {
        let mut response = self.head();
        if response.status < 200 {
            return response;
        }
        match &mut self.version {
            Version::Http1(http1) if self.method != "HEAD" => {
                http1.client.read_body(&mut response);
            }
            Version::Http1(_) => {}
            Version::Http2(client) => client.read_body(&mut response).unwrap(),
        }
        self.count(&response);
        response
    }

    /// Reads a head, or an interim one.
    pub fn head(&mut self) -> Response {
        match &mut self.version {
            Version::Http1(http1) => http1.head(&self.method),
            Version::Http2(client) => client.read_head().unwrap(),
        }
    }

    /// Reads so many bytes of the content behind a head.
    pub fn content(&mut self, length: usize) -> Vec<u8> {
        match &mut self.version {
            Version::Http1(http1) => http1.content(length),
            Version::Http2(client) => client.content(length).unwrap(),
        }
    }

    /// Reads content to its end; fails if it breaks off.
    pub fn rest(&mut self) -> Vec<u8> {
        match &mut self.version {
            Version::Http1(http1) => http1.rest(),
            Version::Http2(client) => {
                let mut response = Response::default();
                client.read_body(&mut response).unwrap();
                response.body
            }
        }
    }

    /// Reads until the response breaks off, and returns what came, framing included; fails if the
    /// response has an end.
    pub fn wait_for_break(&mut self) -> Vec<u8> {
        match &mut self.version {
            Version::Http1(http1) => http1.wait_for_break(),
            Version::Http2(client) => {
                let mut response = Response::default();
                let read = client.read_body(&mut response);
                assert!(read.is_err(), "the response is whole");
                response.body
            }
        }
    }

    /// Checks what a request that was not read to its end leaves: a connection of HTTP/1 that ends, and
    /// one of HTTP/2 that can be used further.
    pub fn check_connection_is_over(&mut self) {
        match &mut self.version {
            Version::Http1(http1) => assert!(http1.client.is_closed()),
            Version::Http2(_) => drop(self.get("/next", "")),
        }
    }

    /// Leaves at once, whatever is in flight.
    pub fn leave(self) {
        match self.version {
            Version::Http1(http1) => http1.client.reset(),
            Version::Http2(client) => drop(client),
        }
    }

    /// Counts a response, unless it may have been given without the engine: by the connection of
    /// HTTP/1, to a plain IP query, or to a head that it rejects, with which it ends.
    fn count(&self, response: &Response) {
        let is_without = match &self.version {
            Version::Http1(_) => self.is_query || response.header("connection") == Some("close"),
            Version::Http2(_) => false,
        };
        if !is_without {
            self.served.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Http1 {
    fn send(&mut self, piece: &[u8], is_last: bool) {
        if !self.sends_chunks {
            return self.client.send(piece);
        }
        if !piece.is_empty() {
            let size = format!("{:x}\r\n", piece.len());
            self.client.send([size.as_bytes(), piece, b"\r\n"].concat());
        }
        if is_last {
            self.client.send("0\r\n\r\n");
        }
    }

    fn head(&mut self, method: &str) -> Response {
        let head = self.client.response_without_body();
        self.content = if method == "HEAD" || matches!(head.status, 100..=199 | 204 | 304) {
            Content::Length(0)
        } else if head.header("transfer-encoding") == Some("chunked") {
            Content::Chunks(Vec::new(), false)
        } else if let Some(length) = head.header("content-length") {
            Content::Length(length.parse().unwrap())
        } else {
            Content::UntilClose
        };
        head
    }

    fn content(&mut self, length: usize) -> Vec<u8> {
        match &mut self.content {
            Content::Chunks(read, is_last) => {
                while read.len() < length {
                    let chunk = self.client.chunk();
                    *is_last = chunk.is_empty();
                    assert!(!*is_last, "the content ends after {read:?}");
                    read.extend(chunk);
                }
                let rest = read.split_off(length);
                std::mem::replace(read, rest)
            }
            Content::Length(left) => {
                *left = left.checked_sub(length).expect("so much is to come");
                self.exactly(length)
            }
            Content::UntilClose => self.exactly(length),
        }
    }

    fn exactly(&mut self, length: usize) -> Vec<u8> {
        let mut content = vec![0; length];
        self.client.read_exact(&mut content);
        content
    }

    fn rest(&mut self) -> Vec<u8> {
        match std::mem::replace(&mut self.content, Content::Length(0)) {
            Content::Chunks(mut read, mut is_last) => {
                while !is_last {
                    let chunk = self.client.chunk();
                    is_last = chunk.is_empty();
                    read.extend(chunk);
                }
                read
            }
            Content::Length(left) => self.exactly(left),
            Content::UntilClose => self.client.rest(),
        }
    }

    fn wait_for_break(&mut self) -> Vec<u8> {
        let bytes = self.client.rest();
        match self.content {
            Content::Chunks(..) => assert!(!bytes.ends_with(b"0\r\n\r\n"), "it is whole"),
            Content::Length(left) => assert!(bytes.len() < left, "it is whole"),
            Content::UntilClose => panic!("nobody can see whether it is whole"),
        }
        bytes
    }
}
