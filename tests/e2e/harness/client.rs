//! A client that sends the bytes it is given and reads one response after the other.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{PATIENCE, read_chunk, read_line};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use socket2::SockRef;

pub struct Client {
    stream: BufReader<Transport>,
}

enum Transport {
    Clear(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Transport {
    fn socket(&self) -> &TcpStream {
        match self {
            Transport::Clear(socket) => socket,
            Transport::Tls(session) => session.get_ref(),
        }
    }
}

impl Read for Transport {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Transport::Clear(socket) => socket.read(buffer),
            Transport::Tls(session) => session.read(buffer),
        }
    }
}

impl Write for Transport {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Transport::Clear(socket) => socket.write(bytes),
            Transport::Tls(session) => session.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Transport::Clear(socket) => socket.flush(),
            Transport::Tls(session) => session.flush(),
        }
    }
}

#[derive(Debug, Default)]
pub struct Response {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Lines behind the last chunk.
    pub trailers: Vec<String>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Client {
        Client {
            stream: BufReader::new(Transport::Clear(connect(address))),
        }
    }

    /// Over TLS, to the host with this name.
    pub fn connect_tls(address: SocketAddr, config: &Arc<ClientConfig>, name: &str) -> Client {
        Client::after(connect(address), b"", config, name).unwrap()
    }

    /// Over TLS after something in clear text; an error if the handshake fails.
    pub fn after(
        mut socket: TcpStream,
        start: &[u8],
        config: &Arc<ClientConfig>,
        name: &str,
    ) -> io::Result<Client> {
        socket.write_all(start)?;
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut session = ClientConnection::new(Arc::clone(config), name).unwrap();
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        let session = Box::new(StreamOwned::new(session, socket));
        Ok(Client {
            stream: BufReader::new(Transport::Tls(session)),
        })
    }

    /// What was agreed on with TLS.
    pub fn session(&self) -> &ClientConnection {
        match self.stream.get_ref() {
            Transport::Clear(_) => panic!("there is no TLS"),
            Transport::Tls(session) => &session.conn,
        }
    }

    /// Another handle of the same connection.
    pub fn try_clone(&self) -> Client {
        let socket = self.stream.get_ref().socket().try_clone().unwrap();
        Client {
            stream: BufReader::new(Transport::Clear(socket)),
        }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    /// `GET target`, with header lines such as `X: 1\r\n`.
    pub fn get(&mut self, target: &str, headers: &str) -> Response {
        self.send(format!(
            "GET {target} HTTP/1.1\r\nHost: test\r\n{headers}\r\n"
        ));
        self.response()
    }

    pub fn request(&mut self, method: &str, target: &str, headers: &str, body: &[u8]) -> Response {
        let length = body.len();
        self.send(format!(
            "{method} {target} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n{headers}\r\n"
        ));
        self.send(body);
        if method == "HEAD" {
            self.response_without_body()
        } else {
            self.response()
        }
    }

    pub fn response(&mut self) -> Response {
        let mut response = self.response_without_body();
        self.read_body(&mut response);
        response
    }

    /// Reads the body behind a head.
    pub fn read_body(&mut self, response: &mut Response) {
        if matches!(response.status, 100..=199 | 204 | 304) {
            return;
        }
        response.body = if response.header("transfer-encoding") == Some("chunked") {
            self.chunks(&mut response.trailers)
        } else if let Some(length) = response.header("content-length") {
            let mut body = vec![0; length.parse().unwrap()];
            self.stream.read_exact(&mut body).unwrap();
            body
        } else {
            let mut body = Vec::new();
            self.stream.read_to_end(&mut body).unwrap();
            body
        };
    }

    /// The head alone: all there is of a response to `HEAD`.
    pub fn response_without_body(&mut self) -> Response {
        let status = self.line();
        let mut parts = status.split(' ');
        assert_eq!(parts.next(), Some("HTTP/1.1"), "{status:?}");
        let status = parts.next().unwrap().parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let line = self.line();
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(": ").unwrap();
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        Response {
            status,
            headers,
            body: Vec::new(),
            trailers: Vec::new(),
        }
    }

    /// Says that nothing more comes, and goes on to read.
    pub fn half_close(&mut self) {
        let socket = self.stream.get_ref().socket();
        socket.shutdown(Shutdown::Write).unwrap();
    }

    /// Leaves at once: the other end gets a reset and not an end.
    pub fn reset(self) {
        let socket = SockRef::from(self.stream.get_ref().socket());
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    }

    pub fn read_exact(&mut self, buffer: &mut [u8]) {
        self.stream.read_exact(buffer).unwrap();
    }

    /// Everything until the other end closes.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Err(error) if error.kind() != std::io::ErrorKind::ConnectionReset => panic!("{error}"),
            _ => rest,
        }
    }

    /// Reads until the connection ends, well or not.
    pub fn wait_for_end(&mut self) {
        while self.read_one().is_ok_and(|bytes| bytes > 0) {}
    }

    /// Whether the other end breaks the session off instead of answering.
    pub fn fails(&mut self) -> bool {
        self.read_one().is_err()
    }

    /// Number of bytes read: none at the end. Silence is neither an end nor a failure.
    fn read_one(&mut self) -> std::io::Result<usize> {
        let read = self.stream.read(&mut [0]);
        if let Err(error) = &read {
            assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "silence");
        }
        read
    }

    /// Waits for a byte; whether one came in this time or the other end closed.
    pub fn hears_within(&mut self, time: Duration) -> bool {
        let wait = |client: &Client, time| {
            let socket = client.stream.get_ref().socket();
            socket.set_read_timeout(Some(time)).unwrap();
        };
        wait(self, time);
        let heard = self.stream.fill_buf().is_ok();
        wait(self, PATIENCE);
        heard
    }

    /// Whether the other end closed the connection and sent nothing more.
    pub fn is_closed(&mut self) -> bool {
        match self.stream.read(&mut [0]) {
            Ok(bytes) => bytes == 0,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }

    /// The next chunk of a chunked body; the last one is empty.
    pub fn chunk(&mut self) -> Vec<u8> {
        read_chunk(&mut self.stream, &mut Vec::new())
    }

    fn chunks(&mut self, trailers: &mut Vec<String>) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let chunk = read_chunk(&mut self.stream, trailers);
            if chunk.is_empty() {
                return body;
            }
            body.extend(chunk);
        }
    }

    fn line(&mut self) -> String {
        read_line(&mut self.stream)
    }
}

/// A socket that fails instead of waiting for ever.
pub fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_nodelay(true).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Calls `done` until it is so; fails if it never is.
#[track_caller]
pub fn until(mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "it never happens");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Asks for the metrics until they have these lines: what has ended is counted a moment later.
#[track_caller]
pub fn wait_for_metrics(admin: SocketAddr, lines: &[&str]) {
    let start = Instant::now();
    loop {
        let metrics = Client::connect(admin).get("/metrics", "");
        if lines.iter().all(|line| metrics.text().contains(line)) {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{}", metrics.text());
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// All values of a header, in their order.
    pub fn values(&self, name: &str) -> Vec<&str> {
        let same = self.headers.iter().filter(|(known, _)| known == name);
        same.map(|(_, value)| value.as_str()).collect()
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}
