//! An upstream that the test plays itself, step by step, so that it knows what has passed when.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

use socket2::SockRef;

use super::PATIENCE;

pub struct Peer {
    pub address: SocketAddr,
    listener: TcpListener,
}

/// One connection of the gateway's.
pub struct Incoming {
    stream: BufReader<TcpStream>,
}

impl Peer {
    pub fn listen() -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // An accept that waits fails, too.
        let socket = SockRef::from(&listener);
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Peer {
            address: listener.local_addr().unwrap(),
            listener,
        }
    }

    /// The next connection.
    pub fn accept(&self) -> Incoming {
        let (stream, _) = self.listener.accept().expect("a connection");
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Incoming {
            stream: BufReader::new(stream),
        }
    }
}

impl Incoming {
    /// The head of a request, in lower case.
    pub fn head(&mut self) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let length = self.stream.read_line(&mut head).unwrap();
            assert!(length > 0, "the connection ends within {head:?}");
        }
        head.to_ascii_lowercase()
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    /// Sends to an end that may have closed already.
    pub fn send_if_open(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.get_mut().write_all(bytes.as_ref());
    }

    /// One chunk of a chunked body.
    pub fn send_chunk(&mut self, bytes: &str) {
        self.send(format!("{:x}\r\n{bytes}\r\n", bytes.len()));
    }

    /// Sends chunks until the other end has closed.
    pub fn send_until_closed(&mut self) {
        let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
        while self.stream.get_mut().write_all(chunk.as_bytes()).is_ok() {}
    }

    /// The next chunk of a chunked body; the last one is empty.
    pub fn chunk(&mut self) -> Vec<u8> {
        let mut trailers = Vec::new();
        let chunk = super::read_chunk(&mut self.stream, &mut trailers);
        assert_eq!(trailers, [""; 0], "trailers are not expected");
        chunk
    }

    pub fn read_exact(&mut self, buffer: &mut [u8]) {
        self.stream.read_exact(buffer).unwrap();
    }

    /// Whether the other end closed and sent nothing more.
    pub fn is_closed(&mut self) -> bool {
        match self.stream.read(&mut [0]) {
            Ok(bytes) => bytes == 0,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }

    pub fn close(self) {
        self.stream.get_ref().shutdown(Shutdown::Both).unwrap();
    }

    pub fn into_stream(self) -> TcpStream {
        self.stream.into_inner()
    }
}
