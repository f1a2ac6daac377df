//! Where requests go, and what is known of the servers there.

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;

/// A group of peers that serve the same.
#[derive(Debug, Clone, PartialEq)]
pub struct Upstream {
    /// Name in the log.
    pub name: String,
    /// At least one, and one that takes new clients.
    pub peers: Vec<Peer>,
    /// Which peer a request goes to.
    pub balance: Balance,
    /// The cookie that keeps a client with its peer.
    pub sticky: Option<Sticky>,
    /// How peers are spoken to.
    pub protocol: Protocol,
    /// How they are trusted; `None` in plain text.
    pub tls: Option<UpstreamTls>,
    /// How long connecting to a peer may take.
    pub connect_timeout: Duration,
    /// How long a single read from a peer may take.
    pub read_timeout: Duration,
    /// How long a single write to a peer may take.
    pub write_timeout: Duration,
    /// Longest heads of the responses to one request, interim ones included, in bytes.
    pub max_header_size: usize,
    /// Most header lines of a response.
    pub max_headers: usize,
    /// How long an idle connection to a peer is kept.
    pub idle_timeout: Duration,
    /// How many idle connections to all peers together are kept.
    pub keepalive: usize,
    /// How many peers a request may be tried on.
    pub tries: usize,
    /// Which answers make a request go to another peer.
    pub retry_on: Vec<u16>,
    /// How many retries there may be, as a share of the requests. 0 to 1.
    pub retry_budget: f64,
    /// How many failures in a row make a peer be passed over; 0 is never.
    pub max_fails: u32,
    /// How long a peer that failed is passed over while another one is there.
    pub fail_timeout: Duration,
    /// The same for one that fails again and again. Not less than `fail_timeout`.
    pub max_fail_timeout: Duration,
    /// How long a peer that is back takes to get its whole share.
    pub slow_start: Option<Duration>,
    /// How many requests all peers together may have at a time.
    pub max_requests: Option<usize>,
    /// How peers are asked whether they are well.
    pub health_check: Option<HealthCheck>,
    /// Who is asked for names; the system's if empty.
    pub resolver: Vec<SocketAddr>,
    /// After what time names are asked for again at the latest.
    pub resolve_interval: Duration,
}

/// One server of an upstream, or a name for some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Where it is.
    pub address: PeerAddress,
    /// Its share of the requests, relative to the other peers' weights. 1 to 1,000.
    pub weight: u32,
    /// Whether it serves only while no other peer is well.
    pub is_backup: bool,
    /// Whether it gets no new clients.
    pub is_draining: bool,
    /// How many requests it may have at a time.
    pub max_requests: Option<usize>,
}

/// Where a peer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerAddress {
    /// There.
    Socket(SocketAddr),
    /// At every address of a name.
    Name(String, u16),
    /// At every target of a service (RFC 2782), such as `_http._tcp.example.com`.
    Service(String),
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PeerAddress::Socket(address) => address.fmt(f),
            PeerAddress::Name(host, port) => write!(f, "{host}:{port}"),
            PeerAddress::Service(name) => f.write_str(name),
        }
    }
}

/// Which peer a request goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Balance {
    /// They take turns.
    RoundRobin,
    /// The one with the fewest requests under way.
    LeastConnections,
    /// The one with fewer of two that are drawn.
    PowerOfTwo,
    /// One that is drawn.
    Random,
    /// The same one for the same key.
    Hash(HashKey),
}

/// What is the same for requests that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashKey {
    /// The client's address.
    ClientIp,
    /// The first value of a header.
    Header(HeaderName),
    /// The value of a cookie.
    Cookie(String),
}

/// The cookie that keeps a client with its peer.
#[derive(Clone, PartialEq, Eq)]
pub struct Sticky {
    /// Its name.
    pub cookie: String,
    /// What makes its values; without one they last as long as the process.
    pub key: Option<String>,
}

/// Without the key, which is a secret.
impl fmt::Debug for Sticky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Sticky");
        out.field("cookie", &self.cookie).finish_non_exhaustive()
    }
}

/// How peers are spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2: by ALPN over TLS, in plain text without asking first.
    Http2,
}

/// How peers are trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamTls {
    /// The name that is asked for and that certificates must have; the peer's own if there is none.
    /// There is one for every peer that has none, unless nothing is verified.
    pub sni: Option<String>,
    /// Whether certificates are looked at.
    pub verify: bool,
    /// The authorities that are trusted; the system's if there is none.
    pub ca_file: Option<PathBuf>,
    /// Certificate and key to show.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// How peers are asked whether they are well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is asked.
    pub probe: Probe,
    /// From one check to the next.
    pub interval: Duration,
    /// How long one may take.
    pub timeout: Duration,
    /// How many good ones in a row bring a peer back. At least 1.
    pub rise: u32,
    /// How many bad ones in a row take it out. At least 1.
    pub fall: u32,
}

/// What is asked in a health check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// Whether it takes connections.
    Tcp,
    /// Whether it answers a request.
    Http {
        /// Path and query.
        path: String,
        /// `Host`; the name or address of the peer if there is none.
        host: Option<String>,
        /// The answers that are good.
        statuses: Vec<RangeInclusive<u16>>,
    },
}
