//! One client's connection, between two requests for the engine: read, answer, send, wait.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant, SystemTime};

use bytes::{Buf, BytesMut};
use http::HeaderMap;
use pingora::protocols::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::response;
use crate::gateway::access::drain::Counted;
use crate::gateway::access::min_rate::MinRateMeter;
use crate::gateway::exchange::forward::Http1Connection;
use crate::gateway::exchange::pool;
use crate::gateway::exchange::timer::Timer;
use crate::gateway::failure::reason::FailureReason;
use crate::gateway::plain_stream::{make_bare, may_be_bare};
use crate::gateway::request::client_ip::{self, PeerAddr};
use crate::gateway::request::identity;
use crate::gateway::request::request_id::RequestId;
use crate::gateway::request::request_view::Serial;
use crate::gateway::request::variables::{Captured, ConnectionView, RoutedTarget, View};
use crate::gateway::telemetry::access_log::Entry;
use crate::gateway::telemetry::metrics::{Kind, Open};
use crate::gateway::{Gateway, Settings, error_page};
use crate::geo::Database;
use crate::proto::h1::head::{self, Demand, Framing, Head, Limits, Parse};
use crate::proto::h1::stored_head::StoredHead;
use crate::proto::scheme::Scheme;
use crate::query;

/// Maximum time to tell a client that its connection ends.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Next step of a connection.
pub enum Next {
    /// The connection has ended.
    End,
    /// A request that is not a plain query. Its head is at the start of the buffer.
    Request(Box<StoredHead>),
}

/// Connection of a client, between two requests that are not plain queries.
pub struct Connection<'g> {
    gateway: &'g Gateway,
    /// Stream with the client.
    stream: Stream,
    peer: PeerAddr,
    /// Bytes that were read and not served: the start of a head, or a whole request.
    read_buf: BytesMut,
    /// `true` if `read_buf` was not parsed yet.
    unread: bool,
    unsent: Unsent,
    /// Number of requests that were served.
    served: u32,
    /// `true` if plain queries are answered here; `false` on a listener that redirects everything.
    answers_queries: bool,
    open: Open<'g>,
    /// Guard that counts the connection until its first request.
    first_request_guard: Option<Counted>,
    /// Start of the current wait.
    waiting_since: Instant,
    state: State,
}

/// Responses that were not sent.
struct Unsent {
    /// Bytes that the client takes slowly.
    bytes: BytesMut,
    /// Minimum rate at which it takes them.
    rate: MinRateMeter,
    /// `Some(true)` if written data waits for a flush, as it may in TLS; `None` in clear text.
    needs_flush: Option<bool>,
}

/// A query that was answered.
struct ServedQuery {
    status: u16,
    head_bytes: usize,
    body_bytes: usize,
    request_bytes: u64,
    failure: Option<FailureReason>,
    start: Instant,
    now: SystemTime,
}

/// Guards of an accepted connection: it is counted from the accept on, before its first request.
pub struct ConnectionGuards<'g> {
    /// Guard while the connection is open.
    pub open: Open<'g>,
    /// Guard until its first request.
    pub fresh: Counted,
}

impl<'g> ConnectionGuards<'g> {
    /// A connection that was just accepted.
    pub fn new(gateway: &'g Gateway) -> Self {
        ConnectionGuards {
            open: gateway.metrics.connection(),
            fresh: gateway.drain.accept(),
        }
    }
}

/// State of a connection after its pending responses.
enum State {
    Open,
    Ending,
    Requested(Box<StoredHead>),
}

/// Buffers that a thread's connections share: one is only ever used within one poll.
struct Scratch {
    input: Box<[u8]>,
    output: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        input: vec![0; 32 << 10].into_boxed_slice(),
        output: Vec::new(),
    });
}

impl<'g> Connection<'g> {
    /// A connection that is ready for its first request.
    pub fn new(
        gateway: &'g Gateway,
        stream: Stream,
        peer: PeerAddr,
        guards: ConnectionGuards<'g>,
        answers_queries: bool,
    ) -> Self {
        Connection {
            gateway,
            unsent: Unsent {
                bytes: BytesMut::new(),
                rate: MinRateMeter::new(gateway.settings().client.min_response_rate),
                needs_flush: stream.get_ssl_digest().map(|_| false),
            },
            answers_queries,
            stream,
            peer,
            read_buf: BytesMut::new(),
            unread: false,
            served: 0,
            open: guards.open,
            first_request_guard: Some(guards.fresh),
            waiting_since: Instant::now(),
            state: State::Open,
        }
    }

    /// The connection, for the request at the start of its buffer.
    pub fn downstream(&mut self) -> Http1Connection<'_> {
        Http1Connection {
            requests_left: self.requests_left(),
            stream: &mut self.stream,
            read_buf: &mut self.read_buf,
            peer: self.peer,
            serial: Serial {
                connection: self.open.number(),
                request: self.served + 1,
            },
        }
    }

    /// The engine has the request: it counts it from here on.
    pub fn begin_request(&mut self) {
        self.first_request_guard = None;
    }

    /// The engine has served the request.
    pub fn begin_next(&mut self) {
        self.served += 1;
        self.waiting_since = Instant::now();
        self.unread = !self.read_buf.is_empty();
    }

    /// Numbers of the connection and of the request that is served now.
    fn serial(&self) -> Serial {
        Serial {
            connection: self.open.number(),
            request: self.served.max(1),
        }
    }

    /// Returns the number of requests that may follow the current one.
    #[must_use]
    pub fn requests_left(&self) -> u32 {
        self.gateway
            .settings()
            .client
            .keepalive_requests
            .saturating_sub(self.served + 1)
    }

    /// Answers queries until there is something else.
    pub async fn next(&mut self, timer: &mut Timer<'_>) -> Next {
        poll_fn(|cx| {
            let next = self.poll_next(cx);
            if next.is_pending() && self.poll_timeout(cx, timer).is_ready() {
                return Poll::Ready(Next::End);
            }
            next
        })
        .await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        loop {
            if !self.unsent.bytes.is_empty() && ready!(self.poll_send(cx)).is_err() {
                return Poll::Ready(Next::End);
            }
            if self.unsent.needs_flush == Some(true) && ready!(self.poll_flush(cx)).is_err() {
                return Poll::Ready(Next::End);
            }
            match std::mem::replace(&mut self.state, State::Open) {
                State::Open => {}
                State::Ending => return Poll::Ready(Next::End),
                State::Requested(head) => return Poll::Ready(Next::Request(head)),
            }
            let polled = SCRATCH.with_borrow_mut(|scratch| self.poll_once(cx, scratch));
            if ready!(polled).is_err() {
                return Poll::Ready(Next::End);
            }
        }
    }

    /// Reads once, answers what came, and sends what the socket takes.
    fn poll_once(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Poll<io::Result<()>> {
        let Scratch { input, output } = scratch;
        let mut read = 0;
        if !std::mem::take(&mut self.unread) {
            let mut buffer = ReadBuf::new(input);
            let mut polled = Pin::new(&mut self.stream).poll_read(cx, &mut buffer);
            if polled.is_pending() && self.served > 0 && may_be_bare(&self.stream) {
                make_bare(&mut self.stream);
                polled = Pin::new(&mut self.stream).poll_read(cx, &mut buffer);
            }
            ready!(polled)?;
            read = buffer.filled().len();
            if read == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        let now = Instant::now();
        if self.read_buf.is_empty() {
            self.waiting_since = now;
        }
        output.clear();
        if self.read_buf.is_empty() {
            let served = self.serve(&input[..read], now, output);
            self.read_buf.extend_from_slice(&input[served..read]);
        } else {
            let mut bytes = std::mem::take(&mut self.read_buf);
            bytes.extend_from_slice(&input[..read]);
            if read > 0 && self.is_still_partial(&input[..read], bytes.len()) {
                self.read_buf = bytes;
                return Poll::Ready(Ok(()));
            }
            let served = self.serve(&bytes, now, output);
            bytes.advance(served);
            if !bytes.is_empty() {
                self.read_buf = bytes;
            }
        }
        if output.is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.waiting_since = now;
        let sent = match Pin::new(&mut self.stream).poll_write(cx, output) {
            Poll::Ready(sent) => sent?,
            Poll::Pending => 0,
        };
        self.unsent.bytes.extend_from_slice(&output[sent..]);
        self.unsent.needs_flush = self.unsent.needs_flush.map(|_| true);
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.unsent.needs_flush = self.unsent.needs_flush.map(|_| false);
        Poll::Ready(Ok(()))
    }

    /// Returns `true` if a head cannot be complete yet: each ends with a line, and what has no end of a line
    /// need not be read again with all that came before it. A head that comes byte by byte would
    /// cost the square of its length otherwise.
    fn is_still_partial(&self, read: &[u8], length: usize) -> bool {
        memchr::memchr(b'\n', read).is_none()
            && length < self.gateway.settings().client.max_header_size
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.bytes.is_empty() {
            let sent = Pin::new(&mut self.stream).poll_write(cx, &self.unsent.bytes);
            if sent.is_pending() {
                self.unsent.rate.wait();
            }
            let sent = ready!(sent)?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let rate = self.unsent.rate.moved(sent);
            rate.map_err(|error| io::Error::new(io::ErrorKind::TimedOut, error))?;
            self.unsent.bytes.advance(sent);
            self.waiting_since = Instant::now();
        }
        // The memory goes with the last byte.
        self.unsent.bytes = BytesMut::new();
        Poll::Ready(Ok(()))
    }

    /// Answers the queries at the start of `bytes`; how many bytes need not be kept.
    fn serve(&mut self, bytes: &[u8], start: Instant, out: &mut Vec<u8>) -> usize {
        let limits = {
            let client = &self.gateway.settings().client;
            Limits::new(client.max_header_size, client.max_headers)
        };
        let mut at = 0;
        while at < bytes.len() {
            // One empty line before a request is a slip of old clients (RFC 9112, 2.2).
            let rest = bytes[at..].strip_prefix(b"\r\n").unwrap_or(&bytes[at..]);
            let mut slots = head::slots();
            match head::read(rest, limits, &mut slots) {
                Parse::Incomplete => return at,
                Parse::Invalid(status) => {
                    self.refuse(status, rest, start, out);
                    return bytes.len();
                }
                Parse::Complete(head) => {
                    at = bytes.len() - rest.len();
                    let behind = &rest[head.length..];
                    let query = plain_query(&head, behind);
                    let Some(query) = query.filter(|_| self.answers_queries) else {
                        let mut stored = pool::head();
                        if !stored.store(&head, rest) {
                            self.refuse(400, rest, start, out);
                            return bytes.len();
                        }
                        self.state = State::Requested(stored);
                        return at;
                    };
                    at += head.length + query.body.len();
                    if !self.answer(&head, &query, start, out) {
                        self.state = State::Ending;
                        return bytes.len();
                    }
                }
            }
        }
        at
    }

    /// Returns `true` if the connection is kept.
    fn answer(
        &mut self,
        head: &Head,
        query: &query::Request,
        start: Instant,
        out: &mut Vec<u8>,
    ) -> bool {
        let gateway = self.gateway;
        let keep = !head.close && !gateway.drain.is_draining() && self.requests_left() > 0;
        self.served += 1;
        self.first_request_guard = None;
        let database = gateway.database.load();
        let settings = gateway.settings();
        let header = |name: &str| {
            if settings.trusts(name, self.peer) {
                head.value(name)
            } else {
                b""
            }
        };
        let rejection = settings.refuses_query(self.peer, head, &header, &database);
        let failure = rejection.as_ref().map(FailureReason::from);
        let answer = match &rejection {
            None => query::answer(query, &database),
            Some(rejection) => rejection.to_query().into(),
        };
        let mut lines = rejection.map_or_else(Vec::new, |rejection| rejection.lines());
        lines.extend(settings.hsts_line(self.unsent.needs_flush.is_some()));
        let (now, before) = (SystemTime::now(), out.len());
        let with_body = query.method != "HEAD";
        response::write(out, &answer, &lines, with_body, keep, now);
        let body_bytes = if with_body { answer.body.len() } else { 0 };
        let served = ServedQuery {
            status: answer.status,
            head_bytes: (out.len() - before).saturating_sub(body_bytes),
            body_bytes,
            request_bytes: (head.length + query.body.len()) as u64,
            failure,
            start,
            now,
        };
        if settings.access_logs.is_on() {
            self.log_query(head, &settings, &database, &served);
        } else {
            let time = start.elapsed();
            let metrics = &gateway.metrics;
            metrics.request(Kind::Query, answer.status, body_bytes, time);
        }
        keep
    }

    fn log_query(
        &self,
        head: &Head,
        settings: &Settings,
        database: &Database,
        served: &ServedQuery,
    ) {
        let origin = client_ip::resolve(self.peer, head, &settings.client_ip);
        let id = identity::logged_id(head, origin.peer_is_trusted, &settings.ids);
        let trace = identity::logged_trace(head, origin.peer_is_trusted, &settings.ids);
        let tls = self.stream.get_ssl_digest();
        let socket = self.stream.get_socket_digest();
        let view = View {
            origin: Some(&origin),
            place: database.lookup(origin.client.ip()),
            scheme: scheme(tls.is_some()),
            method: head.method,
            target: RoutedTarget::sent(head.target.as_bytes()),
            protocol: "HTTP/1.1",
            authority: None,
            headers: head,
            request_id: id.as_ref().map_or("", RequestId::as_str),
            route: "",
            captures: Captured::default(),
            connection: ConnectionView {
                tls: tls.as_deref(),
                socket: socket.as_deref(),
                serial: self.serial(),
            },
        };
        let entry = Entry {
            time: served.now,
            trace: trace.as_ref(),
            request_bytes: served.request_bytes,
            head_bytes: served.head_bytes,
            failure: served.failure,
            ..Entry::new(view, served.status, served.body_bytes, served.start)
        };
        self.gateway.finish(settings, Kind::Query, None, &entry);
    }

    /// Responds to a head that is rejected, and ends the connection.
    fn refuse(&mut self, status: u16, bytes: &[u8], start: Instant, out: &mut Vec<u8>) {
        let gateway = self.gateway;
        let settings = gateway.settings();
        let page = settings.error_pages.page(status);
        let mut lines: Vec<_> = settings
            .hsts_line(self.unsent.needs_flush.is_some())
            .into_iter()
            .collect();
        if status == 405 {
            lines.push(("Allow", settings.client.methods.allow().to_owned()));
        }
        response::write_refusal(out, status, &lines, error_page::CONTENT_TYPE, &page);
        self.state = State::Ending;
        let line = bytes
            .split(|byte| matches!(byte, b'\r' | b'\n'))
            .next()
            .unwrap_or_default();
        let (method, target) = method_and_rest(line);
        let (headers, database) = (HeaderMap::new(), gateway.database.load());
        let origin = client_ip::resolve(self.peer, &headers, &settings.client_ip);
        let tls = self.stream.get_ssl_digest();
        let socket = self.stream.get_socket_digest();
        let view = View {
            origin: Some(&origin),
            place: database.lookup(origin.client.ip()),
            scheme: scheme(tls.is_some()),
            method,
            target: RoutedTarget::sent(target),
            protocol: "",
            authority: None,
            headers: &headers,
            request_id: "",
            route: "",
            captures: Captured::default(),
            connection: ConnectionView {
                tls: tls.as_deref(),
                socket: socket.as_deref(),
                serial: self.serial(),
            },
        };
        let entry = Entry {
            request_bytes: bytes.len() as u64,
            failure: Some(match status {
                408 => FailureReason::HeadTimeout,
                status => FailureReason::of_status(status),
            }),
            ..Entry::new(view, status, page.len(), start)
        };
        gateway.finish(&settings, Kind::Local, None, &entry);
    }

    /// Ready when the connection waited too long for what it is waiting for.
    fn poll_timeout(&mut self, cx: &mut Context<'_>, timer: &mut Timer<'_>) -> Poll<()> {
        ready!(timer.poll(cx, self.waiting_since + self.timeout()));
        self.on_timeout(cx);
        Poll::Ready(())
    }

    /// Says that nothing more comes. In clear text the system does that.
    pub async fn close(mut self) {
        if self.unsent.needs_flush.is_some() {
            // It fits the socket's buffer, or the client is past hearing.
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, self.stream.shutdown()).await;
        }
    }

    fn timeout(&self) -> Duration {
        let client = &self.gateway.settings().client;
        if !self.unsent.bytes.is_empty() || self.unsent.needs_flush == Some(true) {
            client.write_timeout
        } else if self.served == 0 || !self.read_buf.is_empty() {
            client.header_timeout
        } else {
            client.keepalive_timeout
        }
    }

    /// Tells a client that is too slow with its head, if it has begun one and can hear.
    fn on_timeout(&mut self, cx: &mut Context<'_>) {
        if self.unsent.bytes.is_empty() && !self.read_buf.is_empty() {
            let (read_buf, mut out) = (std::mem::take(&mut self.read_buf), Vec::new());
            self.refuse(408, &read_buf, self.waiting_since, &mut out);
            // It fits the socket's empty buffer, or the client is past hearing.
            let _ = Pin::new(&mut self.stream).poll_write(cx, &out);
            let _ = Pin::new(&mut self.stream).poll_flush(cx);
        }
    }
}

fn scheme(is_encrypted: bool) -> Scheme {
    if is_encrypted {
        Scheme::Https
    } else {
        Scheme::Http
    }
}

/// Splits a line that is no request line into its first word and the rest.
fn method_and_rest(line: &[u8]) -> (&str, &[u8]) {
    let end = memchr::memchr(b' ', line).unwrap_or(line.len());
    match std::str::from_utf8(&line[..end]) {
        Ok(method) => (method, line.get(end + 1..).unwrap_or_default()),
        Err(_) => ("", line),
    }
}

/// The query that a request is, if it is one in its plain form and its body is all there.
fn plain_query<'r>(head: &Head<'_, 'r>, rest: &'r [u8]) -> Option<query::Request<'r>> {
    if !head.is_1_1 || head.demand != Demand::Nothing {
        return None;
    }
    let (path, query) = head.path_and_query()?;
    let body = match (head.method, head.framing) {
        ("GET" | "HEAD", Framing::None | Framing::Length(0)) => &b""[..],
        ("POST", Framing::Length(length)) if length <= query::BODY_LIMIT as u64 => {
            rest.get(..length as usize)?
        }
        _ => return None,
    };
    query::is_query(path.as_bytes()).then_some(query::Request {
        method: head.method,
        query: query.as_bytes(),
        body,
    })
}
