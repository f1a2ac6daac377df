//! The recording origin: keeps each request by the number that the client gave it, and answers as the
//! client asks it to.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Header with which the client numbers its requests and chooses the origin's answer: `7 redirect`.
pub const TEST: &str = "x-test";

/// Protocol of an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    Http,
    FastCgi,
}

/// A request as the origin received it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Received {
    /// Name of the upstream.
    pub upstream: String,
    /// Method, target and version; of FastCGI the method and the script.
    pub line: String,
    /// Names in lower case; of FastCGI the parameters.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Received {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

type Records = Arc<Mutex<BTreeMap<usize, Vec<Received>>>>;

#[derive(Default)]
pub struct Origin {
    records: Records,
    protocols: Arc<Mutex<BTreeMap<String, Speaks>>>,
}

impl Origin {
    /// Listens on one more port, for an upstream of this name.
    pub fn listen(&mut self, name: &str, speaks: Speaks) -> SocketAddr {
        self.speaks(name, speaks);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (records, protocols) = (Arc::clone(&self.records), Arc::clone(&self.protocols));
        let name = name.to_owned();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let (records, name) = (Arc::clone(&records), name.clone());
                let speaks = protocols.lock().unwrap()[&name];
                std::thread::spawn(move || {
                    let _ = stream.set_nodelay(true);
                    let mut stream = BufReader::new(stream);
                    // An error is the end of a connection.
                    let _ = match speaks {
                        Speaks::Http => serve(&mut stream, &name, &records),
                        Speaks::FastCgi => crate::fastcgi::serve(&mut stream, &name, &|received| {
                            keep(received, &records);
                        }),
                    };
                });
            }
        });
        address
    }

    /// Sets the protocol of an upstream.
    pub fn speaks(&mut self, name: &str, speaks: Speaks) {
        self.protocols
            .lock()
            .unwrap()
            .insert(name.to_owned(), speaks);
    }

    /// Takes the requests that the origin received with this number.
    pub fn take(&self, number: usize) -> Vec<Received> {
        self.records
            .lock()
            .unwrap()
            .remove(&number)
            .unwrap_or_default()
    }
}

fn keep(received: &Received, records: &Records) {
    let number = received
        .header(TEST)
        .or_else(|| received.header("HTTP_X_TEST"));
    let number = number.and_then(|value| value.split(' ').next()?.parse().ok());
    let mut records = records.lock().unwrap();
    records
        .entry(number.unwrap_or(usize::MAX))
        .or_default()
        .push(received.clone());
}

fn serve(stream: &mut BufReader<TcpStream>, name: &str, records: &Records) -> io::Result<()> {
    loop {
        let received = read(stream, name)?;
        keep(&received, records);
        let answer = answer(&received);
        stream.get_mut().write_all(&answer)?;
        if answer.starts_with(b"HTTP/1.1 101") || answer.starts_with(b"HTTP/1.0") {
            return Ok(());
        }
        let asked = received.header("connection").unwrap_or_default();
        if asked.contains("close") || received.line.ends_with("HTTP/1.0") {
            return Ok(());
        }
    }
}

fn line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line)?;
    if !line.ends_with(b"\r\n") {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    line.truncate(line.len() - 2);
    Ok(line.iter().map(|byte| char::from(*byte)).collect())
}

/// Reads the header lines and the end of a head.
pub fn headers(stream: &mut impl BufRead) -> io::Result<Vec<(String, String)>> {
    let mut headers = Vec::new();
    loop {
        let line = line(stream)?;
        if line.is_empty() {
            return Ok(headers);
        }
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

/// Reads a chunked body.
pub fn chunks(stream: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size = line(stream)?;
        let size = size.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16);
        let size = size.map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        let mut chunk = vec![0; size];
        stream.read_exact(&mut chunk)?;
        body.extend(chunk);
        if size == 0 {
            headers(stream)?;
            return Ok(body);
        }
        line(stream)?;
    }
}

fn read(stream: &mut BufReader<TcpStream>, name: &str) -> io::Result<Received> {
    let line = line(stream)?;
    let headers = headers(stream)?;
    let mut received = Received {
        upstream: name.to_owned(),
        line,
        headers,
        body: Vec::new(),
    };
    if received.header("transfer-encoding").is_some() {
        received.body = chunks(stream)?;
    } else if let Some(length) = received.header("content-length") {
        let mut body = vec![0; length.parse().unwrap_or(0)];
        stream.read_exact(&mut body)?;
        received.body = body;
    }
    Ok(received)
}

/// Kinds of answers that a client can ask for.
pub const KINDS: [&str; 9] = [
    "text", "html", "redirect", "relative", "404", "500", "503", "cached", "chunked",
];

fn answer(received: &Received) -> Vec<u8> {
    let asked = received.header(TEST).unwrap_or_default();
    let kind = asked.split(' ').nth(1).unwrap_or("text");
    let host = received.header("host").unwrap_or_default();
    if received.header("upgrade").is_some() && kind == "upgrade" {
        return b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhello".to_vec();
    }
    let body = format!("{} {}\n", received.upstream, received.body.len());
    let (status, more, body) = output(kind, host, body);
    let head = format!(
        "HTTP/1.1 {status} Status\r\nServer: origin\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n{more}"
    );
    let is_head = received.line.starts_with("HEAD ");
    let is_http10 = received.line.ends_with("HTTP/1.0");
    let mut bytes = head.into_bytes();
    if kind == "chunked" && !is_http10 {
        bytes.extend(b"Transfer-Encoding: chunked\r\n\r\n");
        let chunk = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
        bytes.extend(if is_head { String::new() } else { chunk }.bytes());
        return bytes;
    }
    bytes.extend(format!("Content-Length: {}\r\n\r\n", body.len()).bytes());
    if !is_head {
        bytes.extend(body.bytes());
    }
    bytes
}

/// Status, header lines and body of a kind of answer.
pub fn output(kind: &str, host: &str, body: String) -> (u16, String, String) {
    let html = "Content-Type: text/html; charset=utf-8\r\n";
    match kind {
        "html" => (
            200,
            format!(
                "{html}Set-Cookie: a=1; Path=/\r\nSet-Cookie: b=2; Path=/app; HttpOnly\r\n\
                 X-Powered-By: origin\r\nX-Frame-Options: SAMEORIGIN\r\nVary: Cookie\r\n"
            ),
            body.repeat(100),
        ),
        "redirect" => (
            302,
            format!("Content-Type: text/plain\r\nLocation: http://{host}/moved/to?x=1\r\n"),
            body,
        ),
        "relative" => (
            301,
            "Content-Type: text/plain\r\nLocation: /moved/to?x=1\r\n".to_owned(),
            body,
        ),
        "cached" => (
            200,
            "Content-Type: text/css\r\nCache-Control: max-age=60\r\nETag: \"abc\"\r\n\
             Last-Modified: Wed, 31 Dec 2025 00:00:00 GMT\r\nExpires: Thu, 01 Jan 2026 00:01:00 GMT\r\n"
                .to_owned(),
            body.repeat(100),
        ),
        kind => match kind.parse() {
            Ok(status) => (status, html.to_owned(), body),
            Err(_) => (200, "Content-Type: text/plain\r\n".to_owned(), body),
        },
    }
}
