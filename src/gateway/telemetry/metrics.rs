//! Counters of requests and connections.
//!
//! Each thread counts in its own shard, so that cores never wait for each other; a reader adds the
//! shards up. Nothing is rendered here: `admin` names the sums.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::gateway::shard::{SHARDS, shard};

/// Kind of a request, by its cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// IP query, in plain form or answered by the engine.
    Query,
    /// Request that was tried on at least one upstream peer.
    Upstream,
    /// All other requests: rejected, or with a local reply.
    Local,
}

impl Kind {
    /// Every kind, in the order of the discriminants.
    pub const ALL: [Kind; 3] = [Kind::Query, Kind::Upstream, Kind::Local];
}

/// Protocol on one side of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.0 and HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
    /// FastCGI, to an upstream only.
    FastCgi,
}

impl HttpVersion {
    /// All protocols, in the order of the discriminants.
    pub const ALL: [HttpVersion; 3] =
        [HttpVersion::Http1, HttpVersion::Http2, HttpVersion::FastCgi];

    /// Protocols of clients, which come first.
    pub const OF_CLIENTS: [HttpVersion; 2] = [HttpVersion::Http1, HttpVersion::Http2];

    /// Name in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            HttpVersion::Http1 => "http1",
            HttpVersion::Http2 => "http2",
            HttpVersion::FastCgi => "fastcgi",
        }
    }
}

/// Protocols that a request is served in: to its client, and to its peer if one was reached.
pub type Versions = (HttpVersion, Option<HttpVersion>);

/// Reason for which a connection ended before its first request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The PROXY header is missing, or the sender is not allowed to send one.
    ProxyProtocol,
    /// The TLS handshake failed.
    Handshake,
    /// The PROXY header or the handshake took too long.
    Slow,
}

impl Refused {
    /// Every reason, in the order of the discriminants.
    pub const ALL: [Refused; 3] = [Refused::ProxyProtocol, Refused::Handshake, Refused::Slow];
}

/// Upper bounds of the histogram of durations, in microseconds; longer durations have a bucket of
/// their own.
pub const BOUNDS: [u64; 16] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000,
];

const BUCKETS: usize = BOUNDS.len() + 1;

/// Lowest status that is counted, and the number of statuses that are counted one by one.
const FIRST_STATUS: usize = 100;
const STATUSES: usize = 500;

/// All counters.
pub struct Metrics {
    parts: [OnceLock<Box<Part>>; SHARDS],
    accepted: AtomicU64,
    refused: [AtomicU64; Refused::ALL.len()],
    open: AtomicUsize,
}

struct Part {
    kinds: [Counts; Kind::ALL.len()],
    /// Requests by the versions of both sides; the last one of each client is without a peer.
    versions: [[AtomicU64; HttpVersion::ALL.len() + 1]; HttpVersion::OF_CLIENTS.len()],
}

impl Part {
    fn version(&self, (client, upstream): Versions) -> &AtomicU64 {
        let upstream = upstream.map_or(HttpVersion::ALL.len(), |version| version as usize);
        &self.versions[client as usize][upstream]
    }
}

struct Counts {
    statuses: [AtomicU64; STATUSES],
    buckets: [AtomicU64; BUCKETS],
    microseconds: AtomicU64,
    body_bytes: AtomicU64,
}

/// Sums of one kind of request.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Statuses with their number of responses, in ascending order.
    pub statuses: Vec<(u16, u64)>,
    /// Number of requests for each of [`BOUNDS`] whose duration is at most that bound and above the
    /// previous one; the last bucket has the rest.
    pub buckets: [u64; BUCKETS],
    /// Sum of all durations, in microseconds.
    pub microseconds: u64,
    /// Bytes of all response bodies.
    pub body_bytes: u64,
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics {
            parts: [const { OnceLock::new() }; SHARDS],
            accepted: AtomicU64::new(0),
            refused: [const { AtomicU64::new(0) }; Refused::ALL.len()],
            open: AtomicUsize::new(0),
        }
    }
}

impl Metrics {
    /// Counts a finished request.
    pub fn request(&self, kind: Kind, status: u16, body_bytes: usize, time: Duration) {
        let part = self.parts[shard()].get_or_init(Box::default);
        let counts = &part.kinds[kind as usize];
        let status = usize::from(status).saturating_sub(FIRST_STATUS);
        add(&counts.statuses[status.min(STATUSES - 1)], 1);
        let microseconds = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().position(|&bound| microseconds <= bound);
        add(&counts.buckets[bucket.unwrap_or(BUCKETS - 1)], 1);
        add(&counts.microseconds, microseconds);
        add(&counts.body_bytes, body_bytes as u64);
    }

    /// Counts a request by the versions that it was served in.
    pub fn served_in(&self, versions: Versions) {
        let part = self.parts[shard()].get_or_init(Box::default);
        add(part.version(versions), 1);
    }

    /// Number of requests that were served in these versions.
    #[must_use]
    pub fn by_version(&self, versions: Versions) -> u64 {
        let parts = self.parts.iter().filter_map(OnceLock::get);
        let counts = parts.map(|part| part.version(versions).load(Ordering::Relaxed));
        counts.sum()
    }

    /// Counts a connection as open until the guard is dropped.
    #[must_use]
    pub fn connection(&self) -> Open<'_> {
        let number = 1 + self.accepted.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        Open {
            open: &self.open,
            number,
        }
    }

    /// Counts a connection that was rejected.
    pub fn refused(&self, why: Refused) {
        self.refused[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Number of connections that were rejected for this reason.
    #[must_use]
    pub fn refusals(&self, why: Refused) -> u64 {
        self.refused[why as usize].load(Ordering::Relaxed)
    }

    /// Number of connections that were accepted.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Number of open connections.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Adds up the counters of all threads.
    #[must_use]
    pub fn sums(&self, kind: Kind) -> Sums {
        let mut sums = Sums::default();
        let mut statuses = [0; STATUSES];
        for part in self.parts.iter().filter_map(OnceLock::get) {
            let counts = &part.kinds[kind as usize];
            add_all(&mut statuses, &counts.statuses);
            add_all(&mut sums.buckets, &counts.buckets);
            sums.microseconds += counts.microseconds.load(Ordering::Relaxed);
            sums.body_bytes += counts.body_bytes.load(Ordering::Relaxed);
        }
        let statuses = (FIRST_STATUS as u16..).zip(statuses);
        sums.statuses = statuses.filter(|&(_, count)| count > 0).collect();
        sums
    }
}

impl Default for Part {
    fn default() -> Self {
        Part {
            versions: Default::default(),
            kinds: std::array::from_fn(|_| Counts {
                statuses: [const { AtomicU64::new(0) }; STATUSES],
                buckets: [const { AtomicU64::new(0) }; BUCKETS],
                microseconds: AtomicU64::new(0),
                body_bytes: AtomicU64::new(0),
            }),
        }
    }
}

/// Adds to a counter. Threads may share a shard, so the addition must be atomic.
fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

fn add_all(sums: &mut [u64], counters: &[AtomicU64]) {
    for (sum, counter) in sums.iter_mut().zip(counters) {
        *sum += counter.load(Ordering::Relaxed);
    }
}

/// Guard of an open connection.
pub struct Open<'m> {
    open: &'m AtomicUsize,
    number: u64,
}

impl Open<'_> {
    /// Number of the connection among all that were accepted, from 1 on.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_summed_up() {
        let metrics = Metrics::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        metrics.request(Kind::Query, 200, 10, Duration::from_micros(100));
                    }
                    metrics.request(Kind::Query, 501, 1, Duration::from_secs(60));
                });
            }
        });
        let sums = metrics.sums(Kind::Query);
        assert_eq!(sums.statuses, [(200, 4000), (501, 4)]);
        assert_eq!((sums.buckets[0], sums.buckets[16]), (4000, 4));
        assert_eq!(sums.body_bytes, 40_004);
        assert_eq!(sums.microseconds, 400_000 + 240_000_000);
        assert_eq!(metrics.sums(Kind::Local), Sums::default());
    }

    #[test]
    fn a_duration_counts_below_the_first_bound_that_it_does_not_pass() {
        let metrics = Metrics::default();
        for (microseconds, bucket) in [
            (0, 0),
            (100, 0),
            (101, 1),
            (10_000_000, 15),
            (10_000_001, 16),
        ] {
            let before = metrics.sums(Kind::Local).buckets[bucket];
            metrics.request(Kind::Local, 404, 0, Duration::from_micros(microseconds));
            assert_eq!(
                metrics.sums(Kind::Local).buckets[bucket],
                before + 1,
                "{microseconds}"
            );
        }
    }

    #[test]
    fn a_connection_is_open_until_its_guard_goes() {
        let metrics = Metrics::default();
        let first = metrics.connection();
        drop(metrics.connection());
        assert_eq!((metrics.accepted(), metrics.open()), (2, 1));
        drop(first);
        assert_eq!(metrics.open(), 0);
    }
}
