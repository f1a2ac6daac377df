//! An origin of HTTP/1.1 that answers each request with what its `X-Answer` says: status, header lines
//! and body, with `|` in place of line ends. Without it, the request is not answered. The answer to a
//! target that begins with `/early` comes before the request's body.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{read_chunk, read_line};

pub struct Scripted {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Scripted {
    pub fn start() -> Scripted {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        // It ends with the process; each connection ends with the gateway.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                count.fetch_add(1, Ordering::SeqCst);
                let stream = stream.unwrap();
                stream.set_nodelay(true).unwrap();
                std::thread::spawn(move || serve(stream));
            }
        });
        Scripted {
            address,
            connections,
        }
    }

    /// Number of connections that it has accepted.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn serve(mut out: TcpStream) {
    let mut input = BufReader::new(out.try_clone().unwrap());
    while input.fill_buf().is_ok_and(|bytes| !bytes.is_empty()) {
        let line = read_line(&mut input);
        let (mut script, mut length, mut is_chunked) = (None, 0, false);
        loop {
            let header = read_line(&mut input);
            let Some((name, value)) = header.split_once(": ") else {
                break;
            };
            match name.to_ascii_lowercase().as_str() {
                "x-answer" => script = Some(value.replace('|', "\r\n")),
                "content-length" => length = value.parse().unwrap(),
                "transfer-encoding" => is_chunked = true,
                _ => {}
            }
        }
        let answer = |out: &mut TcpStream| {
            let script = script.as_deref().expect("X-Answer");
            // A client that has left is no concern.
            let _ = out.write_all(format!("HTTP/1.1 {script}").as_bytes());
        };
        if line.contains(" /early") {
            return answer(&mut out);
        }
        let mut body = vec![0; length];
        if input.read_exact(&mut body).is_err() {
            return;
        }
        while is_chunked && !read_chunk(&mut input, &mut Vec::new()).is_empty() {}
        answer(&mut out);
    }
}
