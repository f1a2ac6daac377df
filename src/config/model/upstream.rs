//! Upstreams and their peers.

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;

use super::SocketAddress;

/// A group of equivalent peers.
#[derive(Debug, Clone, PartialEq)]
pub struct Upstream {
    /// Name in logs and metrics.
    pub name: String,
    /// Peers; at least one, and at least one that is not draining.
    pub peers: Vec<Peer>,
    /// Load balancing algorithm.
    pub balance: Balance,
    /// Session cookie that binds a client to a peer.
    pub sticky: Option<Sticky>,
    /// Protocol of connections to peers.
    pub protocol: Protocol,
    /// TLS to peers; `None` for plain text.
    pub tls: Option<UpstreamTls>,
    /// Version of the PROXY header that each connection to a peer begins with; `None` for none.
    pub send_proxy_protocol: Option<ProxyVersion>,
    /// Timeout of connecting to a peer.
    pub connect_timeout: Duration,
    /// Timeout of a single read from a peer.
    pub read_timeout: Duration,
    /// Timeout of a single write to a peer.
    pub write_timeout: Duration,
    /// Maximum size in bytes of all response heads of one request together, interim (1xx) ones
    /// included.
    pub max_header_size: usize,
    /// Maximum number of header lines of one response head.
    pub max_headers: usize,
    /// Idle timeout of a kept connection.
    pub idle_timeout: Duration,
    /// Maximum number of idle connections to all peers together; 0 keeps none.
    pub keepalive: usize,
    /// Maximum number of tries of one request.
    pub tries: usize,
    /// Response statuses that trigger a retry on another peer.
    pub retry_on: Vec<u16>,
    /// True if `X-Accel-Redirect` of a response chooses a route anew.
    pub x_accel_redirect: bool,
    /// Maximum number of retries as a fraction of the requests, 0 to 1.
    pub retry_budget: f64,
    /// Number of consecutive failures that eject a peer; 0 disables ejection.
    pub max_fails: u32,
    /// Duration of a peer's first ejection.
    pub fail_timeout: Duration,
    /// Maximum duration of an ejection after repeated failures. Not less than `fail_timeout`.
    pub max_fail_timeout: Duration,
    /// Time in which a recovered peer reaches its full share of requests.
    pub slow_start: Option<Duration>,
    /// Maximum number of requests in flight to all peers together.
    pub max_requests: Option<usize>,
    /// Active health checks of the peers.
    pub health_check: Option<HealthCheck>,
    /// DNS servers; the system's if empty.
    pub resolver: Vec<SocketAddr>,
    /// Maximum time between two resolutions of a name.
    pub resolve_interval: Duration,
}

/// Version of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// A binary header.
    V2,
}

/// One server of an upstream, or a DNS name for several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Address, or name to resolve.
    pub address: PeerAddress,
    /// Share of the requests relative to the other peers' weights. 1 to 1,000.
    pub weight: u32,
    /// True if the peer gets requests only while no other peer is healthy.
    pub is_backup: bool,
    /// True if the peer gets no new clients.
    pub is_draining: bool,
    /// Maximum number of requests in flight to the peer.
    pub max_requests: Option<usize>,
}

/// Address of a peer, or a name to resolve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerAddress {
    /// An IP address and port, or the path of a UNIX socket.
    Socket(SocketAddress),
    /// All addresses of a host name, with this port.
    Name(String, u16),
    /// All targets of an SRV record (RFC 2782) such as `_http._tcp.example.com`.
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

/// Load balancing algorithm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Balance {
    /// Peers in turn.
    RoundRobin,
    /// The peer with the fewest requests in flight.
    LeastConnections,
    /// The peer with fewer requests in flight of two random ones.
    PowerOfTwo,
    /// A random peer.
    Random,
    /// The same peer for the same key.
    Hash(HashKey),
}

/// Key of hash balancing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashKey {
    /// The client's address.
    ClientIp,
    /// The first value of a header.
    Header(HeaderName),
    /// The value of a cookie.
    Cookie(String),
}

/// Session cookie that binds a client to a peer.
#[derive(Clone, PartialEq, Eq)]
pub struct Sticky {
    /// Name of the cookie.
    pub cookie: String,
    /// Secret that cookie values are derived from; without one they are valid until the process
    /// ends.
    pub key: Option<String>,
}

/// Leaves out the key, which is a secret.
impl fmt::Debug for Sticky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Sticky");
        out.field("cookie", &self.cookie).finish_non_exhaustive()
    }
}

/// Protocol of connections to peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2: negotiated by ALPN over TLS, with prior knowledge in plain text.
    Http2,
    /// FastCGI 1.0, to a responder.
    FastCgi,
}

/// TLS settings of connections to peers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamTls {
    /// Name for SNI and certificate verification; each peer's own host name if `None`. It is set if
    /// certificates are verified and a peer has no host name of its own.
    pub sni: Option<String>,
    /// True if certificates are verified.
    pub verify: bool,
    /// Path of the trusted authorities; the system's if `None`.
    pub ca_file: Option<PathBuf>,
    /// Paths of the client certificate and its key.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// Active health check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// Probe that is sent.
    pub probe: Probe,
    /// Time between two checks.
    pub interval: Duration,
    /// Timeout of one check.
    pub timeout: Duration,
    /// Number of consecutive successes that make a peer healthy. At least 1.
    pub rise: u32,
    /// Number of consecutive failures that make a peer unhealthy. At least 1.
    pub fall: u32,
}

/// Probe of a health check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// Connects to the peer.
    Tcp,
    /// Sends an HTTP request.
    Http {
        /// Path and query.
        path: String,
        /// Value of `Host`; the name or address of the peer if `None`.
        host: Option<String>,
        /// Statuses of a healthy peer.
        statuses: Vec<RangeInclusive<u16>>,
    },
}
