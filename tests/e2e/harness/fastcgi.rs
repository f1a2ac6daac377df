//! A FastCGI server that the test plays: it notes what it is sent, and a function of the test answers.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A request as it came.
#[derive(Debug, Clone, Default)]
pub struct CgiRequest {
    pub params: BTreeMap<String, String>,
    pub body: Vec<u8>,
    /// Whether the connection is to be kept.
    pub keeps: bool,
    /// Number of its connection, from 0 on.
    pub connection: usize,
    /// Number of records that its body came in, without the one that ends it.
    pub parts: usize,
}

impl CgiRequest {
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.get(name).map(String::as_str)
    }
}

pub struct FastCgiServer {
    pub address: SocketAddr,
    requests: Arc<Mutex<Vec<CgiRequest>>>,
}

impl FastCgiServer {
    /// Answers each request with what `answer` writes; `false` closes the connection then.
    pub fn start(
        answer: impl Fn(&CgiRequest, &mut TcpStream) -> bool + Send + Sync + 'static,
    ) -> FastCgiServer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, answer) = (Arc::default(), Arc::new(answer));
        let noted: Arc<Mutex<Vec<CgiRequest>>> = Arc::clone(&requests);
        std::thread::spawn(move || {
            for (connection, stream) in listener.incoming().enumerate() {
                let (noted, answer) = (Arc::clone(&noted), Arc::clone(&answer));
                let mut stream = stream.unwrap();
                stream.set_nodelay(true).unwrap();
                std::thread::spawn(move || {
                    while let Ok(mut request) = read(&mut stream) {
                        request.connection = connection;
                        noted.lock().unwrap().push(request.clone());
                        if !answer(&request, &mut stream) || !request.keeps {
                            let _ = stream.shutdown(Shutdown::Write);
                            // Until the other end closes, too.
                            let _ = stream.read(&mut [0]);
                            return;
                        }
                    }
                });
            }
        });
        FastCgiServer { address, requests }
    }

    /// Answers each request with these bytes.
    pub fn fixed(answer: Vec<u8>) -> FastCgiServer {
        FastCgiServer::start(move |_, stream| stream.write_all(&answer).is_ok())
    }

    pub fn requests(&self) -> Vec<CgiRequest> {
        self.requests.lock().unwrap().clone()
    }

    pub fn last(&self) -> CgiRequest {
        self.requests().pop().expect("a request")
    }
}

/// A record of a response.
pub fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
    // Some padding, as servers have it.
    let padding = content.len() % 5;
    let head = [1, kind, 0, 1, high, low, padding as u8, 0];
    [&head[..], content, &[0xaa; 4][..padding]].concat()
}

/// Output of a script, in records of at most 30,000 bytes.
pub fn stdout(content: impl AsRef<[u8]>) -> Vec<u8> {
    let parts = content.as_ref().chunks(30_000);
    parts.flat_map(|part| record(6, part)).collect()
}

pub fn stderr(content: &str) -> Vec<u8> {
    record(7, content.as_bytes())
}

/// End of a request with the script's status and that of the protocol.
pub fn end(app: u8, protocol: u8) -> Vec<u8> {
    record(3, &[0, 0, 0, app, protocol, 0, 0, 0])
}

/// A whole response.
pub fn response(output: impl AsRef<[u8]>) -> Vec<u8> {
    [stdout(output), record(6, b""), end(0, 0)].concat()
}

fn read(stream: &mut TcpStream) -> io::Result<CgiRequest> {
    let mut request = CgiRequest::default();
    loop {
        let mut head = [0; 8];
        stream.read_exact(&mut head)?;
        assert_eq!((head[0], &head[2..4]), (1, &[0, 1][..]), "{head:?}");
        let mut content = vec![0; usize::from(u16::from_be_bytes([head[4], head[5]]))];
        stream.read_exact(&mut content)?;
        stream.read_exact(&mut vec![0; usize::from(head[6])])?;
        match head[1] {
            1 => {
                assert_eq!(content[..2], [0, 1], "a responder");
                request.keeps = content[2] == 1;
            }
            4 => read_params(&content, &mut request.params),
            5 if content.is_empty() => return Ok(request),
            5 => {
                request.body.extend(content);
                request.parts += 1;
            }
            other => panic!("a record of type {other}"),
        }
    }
}

fn read_params(mut content: &[u8], params: &mut BTreeMap<String, String>) {
    fn length(content: &mut &[u8]) -> usize {
        let (bytes, length) = if content[0] < 128 {
            (1, usize::from(content[0]))
        } else {
            let bytes = [content[0] & 127, content[1], content[2], content[3]];
            (4, u32::from_be_bytes(bytes) as usize)
        };
        *content = &content[bytes..];
        length
    }
    while !content.is_empty() {
        let (name, value) = (length(&mut content), length(&mut content));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let before = params.insert(text(&content[..name]), text(&content[name..name + value]));
        assert_eq!(
            before,
            None,
            "a parameter twice: {:?}",
            text(&content[..name])
        );
        content = &content[name + value..];
    }
}
