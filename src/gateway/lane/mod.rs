//! The query lane: IP queries are answered before the proxy machinery is entered.
//!
//! A plain query costs one read, one lookup and one write. There is no task, no channel, no header
//! map and no allocation for it, and a connection that waits holds no buffer: reading, answering and
//! writing happen in one poll, in buffers that belong to the thread. What is not a plain query goes
//! to pingora's proxy, bytes untouched, and the connection comes back from there.

mod boundary;
mod head;
mod kept;
mod response;
mod straight;

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use pingora::apps::{HttpServerApp, ReusedHttpStream, ServerApp};
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;
use pingora::server::configuration::ServerConf;
use pingora_proxy::HttpProxy;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use self::boundary::Boundary;
use self::head::{Demand, Framing, HEAD_LIMIT, Head, Reading};
use self::straight::Straight;
use super::access_log::Entry;
use super::client_ip::{self, PeerAddr};
use super::drain::Counted;
use super::{Gateway, Proxy, error_page};
use crate::geo::Field;
use crate::query;

/// The door that every connection comes through.
pub struct Lane {
    gateway: Arc<Gateway>,
    proxy: Arc<HttpProxy<Proxy>>,
    straight: Straight,
}

impl Lane {
    /// A lane in front of pingora's proxy. Idle connections to upstreams are kept for
    /// `idle_timeout`.
    #[must_use]
    pub fn new(gateway: Arc<Gateway>, conf: &Arc<ServerConf>, idle_timeout: Duration) -> Self {
        let mut proxy = HttpProxy::new(Proxy::new(Arc::clone(&gateway)), Arc::clone(conf));
        proxy.handle_init_modules();
        Lane {
            straight: Straight::new(
                Proxy::new(Arc::clone(&gateway)),
                conf,
                conf.upstream_keepalive_pool_size,
                idle_timeout,
            ),
            proxy: Arc::new(proxy),
            gateway,
        }
    }
}

#[async_trait]
impl ServerApp for Lane {
    async fn process_new(
        self: &Arc<Self>,
        stream: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        let peer = stream.get_socket_digest().and_then(|digest| {
            let address = digest.peer_addr()?.as_inet()?;
            Some(PeerAddr::new(*address))
        });
        // A task of its own: the one that we are called in keeps room for a TLS handshake, 9 KiB,
        // for as long as it lives.
        tokio::spawn(Arc::clone(self).serve(stream, peer?, shutdown.clone()));
        None
    }

    async fn cleanup(&self) {
        self.gateway.drain.close_listeners();
        self.proxy.http_cleanup().await;
    }
}

impl Lane {
    /// Serves a connection to its end.
    async fn serve(self: Arc<Self>, stream: Stream, peer: PeerAddr, shutdown: ShutdownWatch) {
        let mut connection = Connection::new(&self.gateway, stream, peer);
        let mut timer = std::pin::pin!(tokio::time::sleep(self.gateway.client.header_timeout));
        while let Next::Proxy(request) = connection.next(timer.as_mut()).await {
            // In a box of its own, or every idle connection would keep room for a proxied request.
            match Box::pin(self.hand_over(connection, request, &shutdown)).await {
                Some(back) => connection = back,
                None => return,
            }
        }
    }

    /// Lets the proxy serve one request; the connection afterwards, if it can carry another.
    async fn hand_over<'g>(
        &self,
        mut connection: Connection<'g>,
        request: ForProxy,
        shutdown: &ShutdownWatch,
    ) -> Option<Connection<'g>> {
        let left = connection.requests_left();
        // From here on the proxy counts the request.
        connection.fresh = None;
        let Some(length) = request.length else {
            let session = session(connection.stream, connection.carry, left);
            self.stay_with_proxy(session, shutdown).await;
            return None;
        };
        let here = usize::try_from(length)
            .unwrap_or(usize::MAX)
            .min(connection.carry.len());
        let read = connection.carry.split_to(here);
        let boundary = Boundary::new(connection.stream, length - here as u64, connection.carry);
        let stream = if request.straight {
            self.straight.serve(boundary, read, left).await?
        } else {
            let session = session(Box::new(boundary), read, left);
            let back = self.proxy.process_new_http(session, shutdown).await?;
            back.consume().0
        };
        let boundary = stream.into_any().downcast::<Boundary>().ok()?;
        (connection.stream, connection.carry) = boundary.into_parts()?;
        connection.begin_next();
        Some(connection)
    }

    /// A connection of which only pingora knows where a request ends stays with it.
    async fn stay_with_proxy(&self, session: ServerSession, shutdown: &ShutdownWatch) {
        let mut served = self.proxy.process_new_http(session, shutdown).await;
        while let Some((stream, settings)) = served.map(ReusedHttpStream::consume) {
            let mut session = ServerSession::new_http1(stream);
            if let Some(settings) = settings {
                settings.apply_to_session(&mut session);
            }
            served = self.proxy.process_new_http(session, shutdown).await;
        }
    }
}

/// A session that begins with bytes that were read already. Its other limits are set by the proxy
/// when it has the head.
fn session(stream: Stream, read: BytesMut, requests_left: u32) -> ServerSession {
    let mut session = ServerSession::new_http1(stream);
    session.set_pipelined_prefix(read);
    session.set_keepalive_reuses_remaining(Some(requests_left));
    session
}

/// What comes next on a connection that the lane cannot serve itself any further.
enum Next {
    /// Nothing: it ended.
    End,
    /// A request for the proxy, which begins with what was read.
    Proxy(ForProxy),
}

/// A request that is not a plain query.
#[derive(Clone, Copy)]
struct ForProxy {
    /// Length of head and body in bytes; `None` if only its end tells.
    length: Option<u64>,
    /// Whether it can take the straight path.
    straight: bool,
}

impl ForProxy {
    fn new(head: &Head) -> Self {
        let body = match head.framing {
            Framing::None => Some(0),
            Framing::Length(length) => Some(length),
            Framing::Chunked => None,
        };
        let body = body.filter(|_| head.demand != Demand::Upgrade);
        ForProxy {
            length: body.map(|body| head.length as u64 + body),
            straight: head.is_1_1
                && head.framing == Framing::None
                && head.demand == Demand::Nothing
                && head.target.starts_with('/'),
        }
    }
}

/// One client's connection between two requests for the proxy.
struct Connection<'g> {
    gateway: &'g Gateway,
    stream: Stream,
    peer: PeerAddr,
    /// What was read and not served: the start of a head, or a request for the proxy.
    carry: BytesMut,
    /// Whether `carry` was not looked at yet.
    unread: bool,
    /// What was answered and not sent: the client is slower than its answers.
    unsent: BytesMut,
    /// How many requests were served.
    served: u32,
    /// Until the first request is served.
    fresh: Option<Counted>,
    /// When the connection began to wait for what it is waiting for.
    since: Instant,
    state: State,
}

/// Whether a connection goes on after what is unsent.
#[derive(Clone, Copy)]
enum State {
    Open,
    Ending,
    ForProxy(ForProxy),
}

/// Buffers that a thread's connections share: one is only ever used within one poll.
struct Scratch {
    input: Box<[u8]>,
    output: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        input: vec![0; HEAD_LIMIT].into_boxed_slice(),
        output: Vec::new(),
    });
}

impl<'g> Connection<'g> {
    fn new(gateway: &'g Gateway, stream: Stream, peer: PeerAddr) -> Self {
        Connection {
            gateway,
            stream,
            peer,
            carry: BytesMut::new(),
            unread: false,
            unsent: BytesMut::new(),
            served: 0,
            fresh: Some(gateway.drain.accept()),
            since: Instant::now(),
            state: State::Open,
        }
    }

    /// The proxy served a request.
    fn begin_next(&mut self) {
        self.served += 1;
        self.since = Instant::now();
        self.unread = !self.carry.is_empty();
    }

    /// How many requests may follow the one that comes now.
    fn requests_left(&self) -> u32 {
        self.gateway
            .client
            .keepalive_requests
            .saturating_sub(self.served + 1)
    }

    /// Answers queries until there is something else.
    async fn next(&mut self, mut timer: Pin<&mut Sleep>) -> Next {
        poll_fn(|cx| {
            let next = self.poll_next(cx);
            if next.is_pending() && self.poll_patience(cx, timer.as_mut()).is_ready() {
                return Poll::Ready(Next::End);
            }
            next
        })
        .await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        loop {
            if !self.unsent.is_empty() && ready!(self.poll_send(cx)).is_err() {
                return Poll::Ready(Next::End);
            }
            match self.state {
                State::Open => {}
                State::Ending => return Poll::Ready(Next::End),
                State::ForProxy(request) => {
                    self.state = State::Open;
                    return Poll::Ready(Next::Proxy(request));
                }
            }
            let turn = SCRATCH.with_borrow_mut(|scratch| self.poll_turn(cx, scratch));
            if ready!(turn).is_err() {
                return Poll::Ready(Next::End);
            }
        }
    }

    /// Reads once, answers what came, and sends what the socket takes.
    fn poll_turn(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Poll<io::Result<()>> {
        let Scratch { input, output } = scratch;
        let mut read = 0;
        if !std::mem::take(&mut self.unread) {
            let mut buffer = ReadBuf::new(input);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            read = buffer.filled().len();
            if read == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        let now = Instant::now();
        if self.carry.is_empty() {
            self.since = now;
        }
        output.clear();
        if self.carry.is_empty() {
            let served = self.serve(&input[..read], now, output);
            self.carry.extend_from_slice(&input[served..read]);
        } else {
            let mut bytes = std::mem::take(&mut self.carry);
            bytes.extend_from_slice(&input[..read]);
            let served = self.serve(&bytes, now, output);
            bytes.advance(served);
            if !bytes.is_empty() {
                self.carry = bytes;
            }
        }
        if output.is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.since = now;
        let sent = match Pin::new(&mut self.stream).poll_write(cx, output) {
            Poll::Ready(sent) => sent?,
            Poll::Pending => 0,
        };
        self.unsent.extend_from_slice(&output[sent..]);
        Poll::Ready(Ok(()))
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.unsent))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unsent.advance(sent);
            self.since = Instant::now();
        }
        // The memory goes with the last byte.
        self.unsent = BytesMut::new();
        Poll::Ready(Ok(()))
    }

    /// Answers the queries at the start of `bytes`; how many bytes need not be kept.
    fn serve(&mut self, bytes: &[u8], start: Instant, out: &mut Vec<u8>) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            let mut slots = head::slots();
            match head::read(rest, &mut slots) {
                Reading::Partial => return at,
                Reading::Refused(status) => {
                    self.refuse(status, rest, start, out);
                    return bytes.len();
                }
                Reading::Complete(head) => {
                    if let Some(status) = head.refusal() {
                        self.refuse(status, rest, start, out);
                        return bytes.len();
                    }
                    let Some(query) = plain_query(&head, &rest[head.length..]) else {
                        self.state = State::ForProxy(ForProxy::new(&head));
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

    /// Whether the connection is kept.
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
        self.fresh = None;
        let database = gateway.database.load();
        let answer = query::answer(query, &database);
        let now = SystemTime::now();
        let with_body = query.method != "HEAD";
        response::write(out, &answer, with_body, keep, now);
        if gateway.access_log.is_on() {
            let origin = client_ip::resolve(self.peer, head, &gateway.client_ip);
            let client = origin.client.ip();
            let place = database.lookup(client);
            gateway.access_log.log(&Entry {
                time: now,
                client,
                country: place.map_or("", |place| place.text(Field::CountryCode)),
                authorization: head.value("authorization"),
                method: head.method.as_bytes(),
                target: head.target.as_bytes(),
                protocol: "HTTP/1.1",
                status: answer.status,
                body_bytes: if with_body { answer.body.len() } else { 0 },
                referer: head.value("referer"),
                user_agent: head.value("user-agent"),
                forwarded_for: head.value("x-forwarded-for"),
                upstream: &[],
                request_time: start.elapsed(),
                upstream_time: None,
            });
        }
        keep
    }

    /// Answers a head that nobody should read in one of two ways, and ends the connection.
    fn refuse(&mut self, status: u16, bytes: &[u8], start: Instant, out: &mut Vec<u8>) {
        let gateway = self.gateway;
        let page = gateway.error_pages.page(status);
        response::write_refusal(out, status, error_page::CONTENT_TYPE, &page);
        self.state = State::Ending;
        let line = bytes
            .split(|byte| matches!(byte, b'\r' | b'\n'))
            .next()
            .unwrap_or_default();
        let mut words = line.splitn(2, |&byte| byte == b' ');
        let client = self.peer.ip();
        let database = gateway.database.load();
        gateway.access_log.log(&Entry {
            time: SystemTime::now(),
            client,
            country: database
                .lookup(client)
                .map_or("", |place| place.text(Field::CountryCode)),
            authorization: b"",
            method: words.next().unwrap_or_default(),
            target: words.next().unwrap_or_default(),
            protocol: "",
            status,
            body_bytes: page.len(),
            referer: b"",
            user_agent: b"",
            forwarded_for: b"",
            upstream: &[],
            request_time: start.elapsed(),
            upstream_time: None,
        });
    }

    /// Ready when the connection waited too long for what it is waiting for.
    ///
    /// The timer is moved only when it has to be: a connection that is busy never touches it.
    fn poll_patience(&mut self, cx: &mut Context<'_>, mut timer: Pin<&mut Sleep>) -> Poll<()> {
        let deadline = tokio::time::Instant::from_std(self.since + self.patience());
        if deadline < timer.deadline() {
            timer.as_mut().reset(deadline);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if tokio::time::Instant::now() >= deadline {
                self.give_up(cx);
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }

    fn patience(&self) -> Duration {
        let client = &self.gateway.client;
        if !self.unsent.is_empty() {
            client.write_timeout
        } else if self.served == 0 || !self.carry.is_empty() {
            client.header_timeout
        } else {
            client.keepalive_timeout
        }
    }

    /// Tells a client that is too slow with its head, if it has begun one and can hear.
    fn give_up(&mut self, cx: &mut Context<'_>) {
        if self.unsent.is_empty() && !self.carry.is_empty() {
            let (carry, mut out) = (std::mem::take(&mut self.carry), Vec::new());
            self.refuse(408, &carry, self.since, &mut out);
            // It fits the socket's empty buffer, or the client is past hearing.
            let _ = Pin::new(&mut self.stream).poll_write(cx, &out);
        }
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
