//! An origin that reads what it is sent byte for byte: one HTTP/1.1 request behind the other on a
//! connection, and nothing between them. It tells the test what it found and answers each request
//! with its path; those for `/held/` when the test says so.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};

use super::PATIENCE;

#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// The head of a request, in lower case.
    Head { connection: usize, head: String },
    /// A request that was read to its end.
    Whole { path: String, body: Vec<u8> },
    /// A connection that ended within a request's body.
    Cut { path: String },
    /// What is no request, though one should begin.
    Garbage(String),
}

pub struct StrictOrigin {
    pub address: SocketAddr,
    events: Receiver<Event>,
    gate: Arc<Gate>,
}

/// Opened by the test; how often it was.
#[derive(Default)]
struct Gate {
    opened: Mutex<usize>,
    changed: Condvar,
}

impl StrictOrigin {
    pub fn start() -> StrictOrigin {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, events) = channel();
        let gate = Arc::new(Gate::default());
        let for_threads = Arc::clone(&gate);
        // It ends with the process; each connection ends with the gateway.
        std::thread::spawn(move || {
            for (connection, stream) in listener.incoming().enumerate() {
                let (stream, tell) = (stream.unwrap(), tell.clone());
                let gate = Arc::clone(&for_threads);
                stream.set_nodelay(true).unwrap();
                std::thread::spawn(move || {
                    // An error is a connection that was cut.
                    let _ = serve(stream, connection, &tell, &gate);
                });
            }
        });
        StrictOrigin {
            address,
            events,
            gate,
        }
    }

    /// Answers the requests for `/held/` that have come.
    pub fn release(&self) {
        *self.gate.opened.lock().unwrap() += 1;
        self.gate.changed.notify_all();
    }

    pub fn event(&self) -> Event {
        self.events.recv_timeout(PATIENCE).expect("an event")
    }

    /// The head of the next request, and on which connection it came.
    #[track_caller]
    pub fn head(&self) -> (usize, String) {
        match self.event() {
            Event::Head { connection, head } => (connection, head),
            other => panic!("not a head: {other:?}"),
        }
    }
}

fn serve(
    stream: TcpStream,
    connection: usize,
    tell: &Sender<Event>,
    gate: &Gate,
) -> std::io::Result<()> {
    let mut out = stream.try_clone()?;
    let mut input = BufReader::new(stream);
    // The test may have ended: nobody listens then.
    let tell = |event| tell.send(event).unwrap_or(());
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if input.read_line(&mut head)? == 0 {
                if !head.is_empty() {
                    tell(Event::Garbage(head));
                }
                return Ok(());
            }
        }
        let head = head.to_ascii_lowercase();
        let words: Vec<_> = head.lines().next().unwrap_or_default().split(' ').collect();
        let [_, path, "http/1.1"] = words[..] else {
            tell(Event::Garbage(head));
            return Ok(());
        };
        let path = path.to_owned();
        tell(Event::Head {
            connection,
            head: head.clone(),
        });
        let Ok(body) = read_body(&mut input, &head) else {
            tell(Event::Cut { path });
            return Ok(());
        };
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}",
            path.len()
        );
        // Before the test hears of the request, or it could open the gate too early.
        let opened = gate.opened.lock().unwrap();
        let (before, is_held) = (*opened, path.starts_with("/held/"));
        tell(Event::Whole { path, body });
        let wait = |opened: &mut usize| is_held && *opened == before;
        drop(gate.changed.wait_while(opened, wait).unwrap());
        out.write_all(answer.as_bytes())?;
    }
}

fn read_body(input: &mut impl BufRead, head: &str) -> std::io::Result<Vec<u8>> {
    let value = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
    let (length, coding) = (value("content-length: "), value("transfer-encoding: "));
    assert!(length.is_none() || coding.is_none(), "{head}");
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    input.read_exact(&mut body)?;
    if coding.is_none() {
        return Ok(body);
    }
    assert_eq!(coding, Some("chunked"));
    loop {
        let mut line = String::new();
        input.read_line(&mut line)?;
        let size = line
            .strip_suffix("\r\n")
            .and_then(|size| usize::from_str_radix(size, 16).ok());
        let size = size.ok_or(std::io::ErrorKind::InvalidData)?;
        let mut chunk = vec![0; size + 2];
        input.read_exact(&mut chunk)?;
        assert!(
            chunk.ends_with(b"\r\n"),
            "a trailer, or a chunk without an end: {chunk:?}"
        );
        if size == 0 {
            return Ok(body);
        }
        body.extend_from_slice(&chunk[..size]);
    }
}
