//! The client: sends one request on a connection of its own, and reads what comes until its end.

use std::fmt::Write as _;
use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use flate2::read::GzDecoder;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::origin::{self, TEST};
use crate::stage::Listener;

/// Longest wait for a byte; a server that needs it does not answer.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Clone)]
pub struct Request {
    pub number: usize,
    /// Listener, by the address and port in the file.
    pub listener: String,
    /// True if that is a listener of TLS.
    pub is_tls: bool,
    pub method: &'static str,
    pub target: String,
    pub host: String,
    pub is_http10: bool,
    pub headers: Vec<(String, String)>,
    pub body: &'static str,
    /// Kind of the origin's answer.
    pub kind: &'static str,
}

/// An answer as the client read it; status 0 if there was none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// Content, decompressed.
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub fn remove(&mut self, name: &str) {
        self.headers.retain(|(known, _)| known != name);
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Request {
    /// `GET` of a target, with nothing more.
    pub fn get(listener: &str, host: &str, target: &str, kind: &'static str) -> Request {
        Request {
            number: 0,
            listener: listener.to_owned(),
            is_tls: false,
            method: "GET",
            target: target.to_owned(),
            host: host.to_owned(),
            is_http10: false,
            headers: Vec::new(),
            body: "",
            kind,
        }
    }

    /// Target without its query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    fn written(&self) -> String {
        let version = if self.is_http10 { "1.0" } else { "1.1" };
        let mut text = format!("{} {} HTTP/{version}\r\n", self.method, self.target);
        if !(self.host.is_empty() && self.is_http10) {
            let _ = write!(text, "Host: {}\r\n", self.host);
        }
        let _ = write!(text, "{TEST}: {} {}\r\n", self.number, self.kind);
        for (name, value) in &self.headers {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        if self.header("connection").is_none() {
            text += "Connection: close\r\n";
        }
        if !self.body.is_empty() {
            let _ = write!(text, "Content-Length: {}\r\n", self.body.len());
        }
        text + "\r\n" + self.body
    }

    /// Sends the request, and reads the answer.
    pub fn send(&self, listener: &Listener, tls: &Arc<ClientConfig>) -> Answer {
        self.try_send(listener, tls).unwrap_or_default()
    }

    fn try_send(&self, listener: &Listener, tls: &Arc<ClientConfig>) -> io::Result<Answer> {
        let mut socket = TcpStream::connect(listener.address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        if listener.proxy_protocol {
            socket.write_all(b"PROXY TCP4 192.0.2.9 192.0.2.1 40000 443\r\n")?;
        }
        if !listener.tls {
            socket.write_all(self.written().as_bytes())?;
            return self.answer(&mut BufReader::new(socket));
        }
        let name = self.host.split(':').next().unwrap_or_default().to_owned();
        let name = ServerName::try_from(name);
        let name = name.unwrap_or_else(|_| ServerName::try_from("localhost").unwrap());
        let session = ClientConnection::new(Arc::clone(tls), name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(session, socket);
        stream.write_all(self.written().as_bytes())?;
        self.answer(&mut BufReader::new(stream))
    }

    fn answer(&self, stream: &mut impl io::BufRead) -> io::Result<Answer> {
        let mut answer = Answer::default();
        while answer.status / 100 <= 1 && answer.status != 101 {
            let mut line = Vec::new();
            stream.read_until(b'\n', &mut line)?;
            let line = String::from_utf8_lossy(&line).into_owned();
            let status = line
                .split(' ')
                .nth(1)
                .and_then(|status| status.parse().ok());
            answer.status = status.ok_or(io::ErrorKind::InvalidData)?;
            answer.headers = origin::headers(stream)?;
        }
        let is_bodiless = self.method == "HEAD" || matches!(answer.status, 204 | 304);
        if is_bodiless {
            return Ok(answer);
        }
        if answer.header("transfer-encoding") == Some("chunked") {
            answer.body = origin::chunks(stream)?;
        } else if let Some(length) = answer.header("content-length") {
            let length = length.parse().map_err(|_| io::ErrorKind::InvalidData)?;
            stream.take(length).read_to_end(&mut answer.body)?;
        } else {
            // A peer may leave without a word of TLS.
            let _ = stream.read_to_end(&mut answer.body);
        }
        if answer.header("content-encoding") == Some("gzip") {
            let mut body = Vec::new();
            GzDecoder::new(answer.body.as_slice()).read_to_end(&mut body)?;
            answer.body = body;
        }
        Ok(answer)
    }
}
