//! Tries of one request on the peers of its upstream: which peer is next, and what a failure means.
//!
//! A state machine without I/O: the engine reports events, and [`verdict`](super::verdict) decides
//! over plain facts.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderValue, StatusCode};

use super::verdict::{Cause, Failed, Next, Progress};
use crate::config::model::SocketAddress;
use crate::gateway::failure::reason::FailureReason;
use crate::gateway::request::head_lines::HeadLines;
use crate::gateway::request::upstream_view::{UpstreamView, Wants};
use crate::gateway::telemetry::metrics::HttpVersion;
use crate::gateway::upstream::{Affinity, ConnectionKind, NoPeer, Peer, PeerPermit, Pool};
use crate::proto::h1::rewrite::write_line;
use crate::proto::headers::Headers;

/// Tries of a request.
#[derive(Default)]
pub struct Attempts {
    /// Upstream; `None` until it is chosen, and for a local reply.
    pool: Option<Arc<Pool>>,
    /// Peers that were tried; the last one is the current one.
    tried: Vec<SocketAddress>,
    /// Hash key and sticky cookie of the request; `None` until the first peer is chosen.
    affinity: Option<Affinity>,
    /// Assignment to the current peer, on which the request counts as in flight.
    permit: Option<PeerPermit>,
    refresh: Refresh,
    connected: Option<Connection>,
    progress: Progress,
    /// `true` if the peer's response has a status of `retry_on`, and another peer is to be tried.
    is_refused: bool,
    /// `true` if the request was rejected for lack of capacity, so that a retry may succeed.
    is_full: bool,
    last_failure: Option<FailureReason>,
    start: Option<Instant>,
    /// Facts for variables.
    facts: Facts,
}

/// Facts of the tries for variables.
#[derive(Default)]
struct Facts {
    wants: Wants,
    /// Statuses of tries that were followed by another one, and of a last one without a response.
    failed: Vec<u16>,
    /// Status of the response that the client gets.
    status: Option<u16>,
    /// Start of the current try, if times are wanted.
    start: Option<Instant>,
    connect_time: Option<Duration>,
    header_time: Option<Duration>,
    /// Head of the response as lines, if it is wanted.
    head: Vec<u8>,
}

/// Connection of the last try that had one.
#[derive(Clone, Copy)]
struct Connection {
    version: HttpVersion,
    is_reused: bool,
}

/// State of the second try on the same peer. An idle connection that closes does not mean that the
/// peer is down: the peer may have closed it at just that time. So the same peer is tried once more
/// on a new connection, once for a request.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Refresh {
    #[default]
    Unused,
    Due,
    Used,
}

/// Facts of a request that decide about another try.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// `true` if sending it twice has the same effect as sending it once (RFC 9110, 9.2.2).
    pub is_idempotent: bool,
    /// `true` if all that was read of its body is still there.
    pub has_body: bool,
}

/// Step after a failed try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Another try.
    Retry,
    /// The client gets an error.
    Fail,
    /// The client gets an error because it sent its request too slowly.
    BlameClient,
}

impl Attempts {
    /// Creates the tries of a request. `wants` are the facts that variables need.
    pub fn new(wants: Wants) -> Self {
        Attempts {
            facts: Facts {
                wants,
                ..Facts::default()
            },
            ..Attempts::default()
        }
    }

    /// View of the tries for variables.
    pub fn view(&self) -> UpstreamView<'_> {
        UpstreamView {
            name: self.pool().map_or("", Pool::name),
            peers: &self.tried,
            failed: &self.facts.failed,
            status: self.facts.status,
            connect_time: self.facts.connect_time,
            header_time: self.facts.header_time,
            time: self.elapsed(),
            head: HeadLines(&self.facts.head),
        }
    }

    /// Keeps the head of the final response, if variables need it. `lines` calls its argument with each
    /// line.
    pub fn keep_head(&mut self, lines: impl FnOnce(&mut dyn FnMut(&[u8], &[u8]))) {
        if !self.facts.wants.head {
            return;
        }
        let head = &mut self.facts.head;
        head.clear();
        head.push(b'\n');
        lines(&mut |name, value| write_line(head, name, value));
    }

    /// Sets the upstream.
    pub fn forward_to(&mut self, pool: Arc<Pool>) {
        if self.pool.is_some() {
            // The tries of the upstream before are over.
            *self = Attempts {
                start: self.start,
                ..Attempts::new(self.facts.wants)
            };
        }
        self.pool = Some(pool);
    }

    /// Upstream.
    pub fn pool(&self) -> Option<&Pool> {
        self.pool.as_deref()
    }

    /// Peers that were tried, in their order.
    pub fn tried(&self) -> &[SocketAddress] {
        &self.tried
    }

    /// Version of HTTP of the last peer that was connected to.
    pub fn version(&self) -> Option<HttpVersion> {
        self.connected.map(|connection| connection.version)
    }

    /// Time since the first try began; `None` before it.
    pub fn elapsed(&self) -> Option<Duration> {
        self.start.map(|start| start.elapsed())
    }

    /// Progress with the current peer.
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// Reason of the failure of the last try.
    pub fn last_failure(&self) -> Option<FailureReason> {
        self.last_failure
    }

    /// Returns `true` if the request was rejected for lack of capacity.
    pub fn is_full(&self) -> bool {
        self.is_full
    }

    /// Pool and current peer.
    pub fn peer(&self) -> Option<(&Pool, &Peer)> {
        let permit = self.permit.as_ref()?;
        Some((self.pool.as_deref()?, permit.peer()))
    }

    /// `Set-Cookie` value that binds the client to its peer.
    pub fn cookie(&self, is_https: bool) -> Option<HeaderValue> {
        let (pool, peer) = self.peer()?;
        let cookie = pool.cookie(peer, self.affinity.as_ref()?, is_https);
        cookie.cloned()
    }

    /// Begins a try. Returns its peer, and the kind of connection to use.
    ///
    /// # Errors
    /// If no peer is left, or none has room.
    pub fn next(
        &mut self,
        headers: &impl Headers,
        client: Option<IpAddr>,
    ) -> Result<(Arc<Peer>, ConnectionKind), NoPeer> {
        let pool = self.pool.as_ref().ok_or(NoPeer::NoneLeft)?;
        self.start.get_or_insert_with(Instant::now);
        self.progress = Progress::default();
        self.facts.start = self.facts.wants.times.then(Instant::now);
        if let Some(connection) = &mut self.connected {
            connection.is_reused = false;
        }
        if let (Refresh::Due, Some(permit)) = (self.refresh, &self.permit) {
            self.refresh = Refresh::Used;
            return Ok((Arc::clone(permit.peer()), ConnectionKind::Fresh));
        }
        // Releases the permit of the previous peer.
        self.permit = None;
        let affinity = &*self
            .affinity
            .get_or_insert_with(|| pool.affinity(headers, client));
        let permit = pool.choose(&self.tried, affinity);
        let permit = permit.inspect_err(|no_peer| self.is_full = *no_peer == NoPeer::Full)?;
        let peer = Arc::clone(permit.peer());
        self.tried.push(peer.address.clone());
        self.permit = Some(permit);
        Ok((peer, ConnectionKind::Any))
    }

    /// The peer was connected to.
    pub fn on_connected(&mut self, version: HttpVersion, is_reused: bool) {
        self.connected = Some(Connection { version, is_reused });
        self.facts.connect_time = self.facts.start.map(|start| start.elapsed());
    }

    /// The whole request was sent, or the peer takes no more of it.
    pub fn on_sent(&mut self) {
        self.progress.is_sent = true;
    }

    /// The final response has begun. Returns `true` if it is to be dropped, because its status counts
    /// as a failure and another peer can be tried.
    pub fn on_status(&mut self, status: StatusCode, may_repeat: bool) -> bool {
        self.progress.is_answered = true;
        self.facts.header_time = self.facts.start.map(|start| start.elapsed());
        let is_refused = self.judge(status, may_repeat);
        if is_refused {
            self.facts.failed.push(status.as_u16());
        } else {
            self.facts.status = Some(status.as_u16());
        }
        is_refused
    }

    fn judge(&mut self, status: StatusCode, may_repeat: bool) -> bool {
        let Some((pool, peer)) = self.peer() else {
            return false;
        };
        if !pool.refuses(status) {
            pool.succeeded(peer);
            return false;
        }
        pool.failed(peer, status.as_str());
        self.is_refused = may_repeat && self.may_go_on();
        self.is_refused
    }

    /// Returns `true` once after a response was dropped: the retry was decided when it came.
    pub fn take_refused(&mut self) -> bool {
        std::mem::take(&mut self.is_refused)
    }

    /// The try has failed, for a reason that the log gets.
    pub fn note(&mut self, reason: FailureReason) {
        self.last_failure = Some(reason);
    }

    /// The try has failed, by the peer's fault or this host's. `why` is logged if it counts against the
    /// peer.
    pub fn on_failure(&mut self, cause: Cause, request: Request, why: &str) -> Step {
        // The shortage is usually short, so that a retry by the client may succeed.
        self.is_full |= cause == Cause::Local;
        let failed = Failed {
            cause,
            is_reused: self
                .connected
                .is_some_and(|connection| connection.is_reused),
            is_refreshed: self.refresh != Refresh::Unused,
            progress: self.progress,
            is_idempotent: request.is_idempotent,
            has_body: request.has_body,
        };
        let verdict = failed.verdict();
        if let (true, Some((pool, peer))) = (verdict.counts, self.peer()) {
            pool.failed(peer, why);
        }
        let step = match verdict.next {
            Next::BlameClient => Step::BlameClient,
            next if self.goes_on(next) => Step::Retry,
            _ => Step::Fail,
        };
        // The second try on the same peer is not another one.
        if !self.progress.is_answered && self.refresh != Refresh::Due {
            let is_timeout = matches!(cause, Cause::ReadTimeout | Cause::WriteTimeout);
            self.facts.failed.push(if is_timeout { 504 } else { 502 });
        }
        step
    }

    /// Returns `true` if the request is tried once more as `next` says.
    fn goes_on(&mut self, next: Next) -> bool {
        match next {
            Next::Stop | Next::BlameClient => false,
            Next::AnotherPeer => self.may_go_on(),
            Next::AnyPeer => self.may_go_on() || self.is_refreshed(),
            Next::SamePeer => self.is_refreshed(),
        }
    }

    /// Schedules one more try of the current peer on a new connection. Returns `false` if it was
    /// used already.
    fn is_refreshed(&mut self) -> bool {
        let is_first = self.refresh == Refresh::Unused && self.permit.is_some();
        if is_first {
            self.refresh = Refresh::Due;
        }
        is_first
    }

    /// Returns `true` if the request may be tried on another peer, and takes one retry from the
    /// budget.
    fn may_go_on(&self) -> bool {
        let pool = self.pool.as_ref();
        pool.is_some_and(|pool| pool.has_another(&self.tried) && pool.spend_retry())
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::gateway::testing::pool;

    const GET: Request = Request {
        is_idempotent: true,
        has_body: true,
    };
    const POST: Request = Request {
        is_idempotent: false,
        has_body: true,
    };

    /// A request for an upstream with this many peers, whose budget of retries is large.
    fn attempts(peers: u16) -> Attempts {
        let mut attempts = Attempts::default();
        let peers: Vec<_> = (1..=peers)
            .map(|port| format!("'127.0.0.1:{port}'"))
            .collect();
        let peers = peers.join(", ");
        attempts.forward_to(pool(&format!(
            "[[upstream]]\npeers = [{peers}]\nretry_on = [503]\nmax_fails = 100\n"
        )));
        attempts
    }

    /// Begins a try; its peer's port.
    fn next(attempts: &mut Attempts) -> Result<(u16, ConnectionKind), NoPeer> {
        let next = attempts.next(&HeaderMap::new(), None);
        next.map(|(peer, kind)| (peer.address.inet().unwrap().port(), kind))
    }

    #[test]
    fn each_peer_is_tried_once() {
        let mut attempts = attempts(3);
        let mut ports = Vec::new();
        for step in [Step::Retry, Step::Retry, Step::Fail] {
            let (port, kind) = next(&mut attempts).unwrap();
            assert_eq!(kind, ConnectionKind::Any);
            ports.push(port);
            assert_eq!(attempts.on_failure(Cause::NotConnected, POST, ""), step);
        }
        ports.sort_unstable();
        assert_eq!(ports, [1, 2, 3]);
        assert_eq!(attempts.tried().len(), 3);
        assert_eq!(next(&mut attempts), Err(NoPeer::NoneLeft));
    }

    #[test]
    fn a_kept_connection_that_was_closed_is_replaced_once() {
        let mut attempts = attempts(1);
        let (port, _) = next(&mut attempts).unwrap();
        attempts.on_connected(HttpVersion::Http1, true);
        attempts.on_sent();
        assert_eq!(attempts.on_failure(Cause::Closed, GET, ""), Step::Retry);
        assert_eq!(next(&mut attempts), Ok((port, ConnectionKind::Fresh)));
        attempts.on_connected(HttpVersion::Http1, false);
        attempts.on_sent();
        assert_eq!(attempts.on_failure(Cause::Closed, GET, ""), Step::Fail);
        assert_eq!(
            attempts.tried(),
            [format!("127.0.0.1:{port}").parse().unwrap()]
        );
    }

    #[test]
    fn a_request_that_may_have_been_processed_is_not_repeated() {
        let mut attempts = attempts(2);
        next(&mut attempts).unwrap();
        attempts.on_connected(HttpVersion::Http1, false);
        attempts.on_sent();
        assert_eq!(
            attempts.on_failure(Cause::ReadTimeout, POST, ""),
            Step::Fail
        );
        assert_eq!(attempts.version(), Some(HttpVersion::Http1));
    }

    #[test]
    fn a_slow_client_is_told_so() {
        let mut attempts = attempts(2);
        next(&mut attempts).unwrap();
        attempts.on_connected(HttpVersion::Http2, false);
        let step = attempts.on_failure(Cause::ReadTimeout, POST, "");
        assert_eq!(step, Step::BlameClient);
    }

    #[test]
    fn a_status_that_counts_as_a_failure_goes_to_another_peer() {
        let mut attempts = attempts(2);
        next(&mut attempts).unwrap();
        assert!(attempts.on_status(StatusCode::SERVICE_UNAVAILABLE, true));
        assert!(attempts.take_refused() && !attempts.take_refused());
        next(&mut attempts).unwrap();
        assert!(!attempts.progress().is_answered);
        // The last peer's response is the answer, whatever it is.
        assert!(!attempts.on_status(StatusCode::SERVICE_UNAVAILABLE, true));
        assert!(attempts.progress().is_answered && !attempts.take_refused());
        let mut attempts = self::attempts(2);
        next(&mut attempts).unwrap();
        assert!(!attempts.on_status(StatusCode::SERVICE_UNAVAILABLE, false));
    }

    #[test]
    fn a_shortage_of_this_host_says_that_a_retry_may_succeed() {
        let mut attempts = attempts(1);
        next(&mut attempts).unwrap();
        assert_eq!(attempts.on_failure(Cause::Local, POST, ""), Step::Retry);
        next(&mut attempts).unwrap();
        assert_eq!(attempts.on_failure(Cause::Local, POST, ""), Step::Fail);
        assert!(attempts.is_full());
    }
}
