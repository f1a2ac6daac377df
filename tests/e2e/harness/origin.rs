//! An origin server: it notes what it is sent and answers by the path, in the version of HTTP that it
//! is spoken to.
//!
//! `/once` is answered only on a new connection, which a later request closes; `/large/N` is N bytes,
//! `/chunked` three chunks, `/trailers` a chunk and a trailer, `/stall` never answers, `/close` closes
//! the connection instead of answering, `/half` ends within the body; everything else is 200 with the
//! request's body.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::{Port, origin_http2};

pub struct Origin {
    pub address: SocketAddr,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
    port: Option<Port>,
}

#[derive(Default)]
pub struct State {
    pub requests: Mutex<Vec<Request>>,
    connections: Mutex<Vec<TcpStream>>,
    stopping: AtomicBool,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    pub line: String,
    /// As they came: names in their case, in their order.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    /// Method and target: the line without the version, in which HTTP/1 and HTTP/2 differ.
    pub fn target(&self) -> &str {
        self.line.rsplit_once(' ').map_or("", |(start, _)| start)
    }

    /// All values of a header, by its name in any case.
    pub fn values(&self, name: &str) -> Vec<&str> {
        let same = self
            .headers
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name));
        same.map(|(_, value)| value.as_str()).collect()
    }
}

impl Origin {
    pub fn start() -> Origin {
        Origin::on(Port::reserve())
    }

    /// At another address of loopback.
    pub fn at(address: SocketAddr) -> Origin {
        Origin::on(Port::reserve_at(address))
    }

    fn on(port: Port) -> Origin {
        let listener = TcpListener::bind(port.address).unwrap();
        let state = Arc::new(State::default());
        let for_thread = Arc::clone(&state);
        let thread = std::thread::spawn(move || accept(&listener, &for_thread));
        Origin {
            address: port.address,
            state,
            thread: Some(thread),
            port: Some(port),
        }
    }

    /// What was sent so far.
    pub fn requests(&self) -> Vec<Request> {
        self.state.requests.lock().unwrap().clone()
    }

    /// The last request that was sent.
    pub fn last(&self) -> Request {
        self.requests().pop().expect("a request")
    }

    /// Stops listening and cuts every connection.
    pub fn kill(mut self) -> Port {
        self.end();
        self.port
            .take()
            .expect("an origin has a port until it is killed")
    }

    /// Listens again where one was killed.
    pub fn restart(port: Port) -> Origin {
        Origin::on(port)
    }

    fn end(&mut self) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        self.state.stopping.store(true, Ordering::SeqCst);
        // Wakes the listener, which then looks.
        let _ = TcpStream::connect(self.address);
        thread.join().unwrap();
        for connection in self.state.connections.lock().unwrap().drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.end();
    }
}

fn accept(listener: &TcpListener, state: &Arc<State>) {
    for stream in listener.incoming() {
        if state.stopping.load(Ordering::SeqCst) {
            return;
        }
        let stream = stream.unwrap();
        stream.set_nodelay(true).unwrap();
        state
            .connections
            .lock()
            .unwrap()
            .push(stream.try_clone().unwrap());
        let state = Arc::clone(state);
        std::thread::spawn(move || {
            // An error is a connection that was cut; the test sees it at its own end.
            let _ = serve(stream, &state);
        });
    }
}

fn serve(stream: TcpStream, state: &Arc<State>) -> std::io::Result<()> {
    if origin_http2::is_http2(&stream)? {
        return origin_http2::serve(stream, state);
    }
    let mut out = stream.try_clone()?;
    let mut input = BufReader::new(stream);
    let mut served = 0;
    while let Some(request) = read(&mut input)? {
        state.requests.lock().unwrap().push(request.clone());
        served += 1;
        let target = request
            .line
            .split(' ')
            .nth(1)
            .unwrap_or_default()
            .to_owned();
        let head = request.line.starts_with("HEAD ");
        match target.as_str() {
            "/stall" => {
                // Until the other end gives up.
                input.read_exact(&mut [0])?;
            }
            "/once" if served > 1 => return out.shutdown(Shutdown::Both),
            "/close" => {
                out.shutdown(Shutdown::Both)?;
                return Ok(());
            }
            "/half" => {
                out.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")?;
                out.shutdown(Shutdown::Both)?;
                return Ok(());
            }
            "/chunked" => out.write_all(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                  3\r\none\r\n4\r\n two\r\n6\r\n three\r\n0\r\n\r\n",
            )?,
            "/trailers" => out.write_all(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
                  4\r\nbody\r\n0\r\nX-Sum: 1\r\n\r\n",
            )?,
            _ => {
                let body = match target.strip_prefix("/large/") {
                    Some(size) => vec![b'x'; size.parse().unwrap()],
                    None => request.body,
                };
                write!(
                    out,
                    "HTTP/1.1 {} X\r\nX-Origin: yes\r\nContent-Length: {}\r\n\r\n",
                    status_of(&target),
                    body.len()
                )?;
                if !head {
                    out.write_all(&body)?;
                }
            }
        }
    }
    Ok(())
}

/// The status of the answer to a target: `/status/404` names its own.
pub fn status_of(target: &str) -> &str {
    target.strip_prefix("/status/").unwrap_or("200")
}

fn read(input: &mut BufReader<TcpStream>) -> std::io::Result<Option<Request>> {
    let Some(line) = read_line(input)? else {
        return Ok(None);
    };
    let mut request = Request {
        line,
        headers: Vec::new(),
        body: Vec::new(),
    };
    while let Some(line) = read_line(input)?.filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        request
            .headers
            .push((name.to_owned(), value.trim().to_owned()));
    }
    if request.values("transfer-encoding") == ["chunked"] {
        loop {
            let size = read_line(input)?.unwrap_or_default();
            let size = usize::from_str_radix(&size, 16).unwrap_or(0);
            let start = request.body.len();
            request.body.resize(start + size, 0);
            input.read_exact(&mut request.body[start..])?;
            if size == 0 {
                // Trailers, and the empty line.
                while read_line(input)?.is_some_and(|line| !line.is_empty()) {}
                break;
            }
            read_line(input)?;
        }
    } else if let [length] = request.values("content-length")[..] {
        request.body.resize(length.parse().unwrap_or(0), 0);
        input.read_exact(&mut request.body)?;
    }
    Ok(Some(request))
}

fn read_line(input: &mut BufReader<TcpStream>) -> std::io::Result<Option<String>> {
    let mut line = Vec::new();
    if input.read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&line);
    Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
}
