//! Listeners, process settings, client limits and trusted proxies.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::{Limit, Listener, Methods, MinRate, UntrustedHeaders};

/// Listeners, threads and process settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Listeners for clients; at least one.
    pub listen: Vec<Listener>,
    /// Number of worker threads, at least 1. `Auto` is one for each processor that the process may
    /// use.
    pub workers: Limit,
    /// True if idle workers take over work of busy ones.
    pub work_stealing: bool,
    /// Limit of open files that is requested from the system.
    pub max_open_files: u64,
    /// Time that requests in flight have to finish after a stop was requested.
    pub grace_period: Duration,
    /// PID file, written when running as a daemon and removed at exit.
    pub pid_file: PathBuf,
    /// Path of the socket over which a new process takes over the listeners of the old one.
    pub upgrade_socket: PathBuf,
}

/// Limits on client connections and requests.
#[derive(Debug, Clone)]
pub struct Client {
    /// Idle timeout of a kept connection, in whole seconds.
    pub keepalive_timeout: Duration,
    /// Maximum number of requests per connection.
    pub keepalive_requests: u32,
    /// Timeout of a request head, from its first byte to its last.
    pub header_timeout: Duration,
    /// Maximum size of a request head in bytes.
    pub max_header_size: usize,
    /// Maximum number of header lines of a request.
    pub max_headers: usize,
    /// Allowed methods, in addition to those of the API.
    pub methods: Methods,
    /// Timeout of a single read of a request.
    pub read_timeout: Duration,
    /// Timeout of a single write of a response.
    pub write_timeout: Duration,
    /// Minimum rate at which a client must send a request body.
    pub min_body_rate: MinRate,
    /// Minimum rate at which a client must receive a response.
    pub min_response_rate: MinRate,
    /// Maximum size of a request body in bytes.
    pub max_body_size: u64,
}

/// Trusted proxies, and the headers in which they name clients.
#[derive(Debug, Clone)]
pub struct ClientIp {
    /// Networks of the trusted proxies.
    pub trusted_proxies: TrustedProxies,
    /// The one header with client addresses that is read.
    pub header: ForwardedHeader,
    /// Identity headers that only trusted proxies may send.
    pub untrusted_headers: UntrustedHeaders,
}

/// Networks of trusted proxies. An empty list trusts none.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Trusts all hosts of these networks.
    #[must_use]
    pub fn new(networks: Vec<IpNet>) -> Self {
        TrustedProxies(networks)
    }

    /// Returns `true` if no proxy is trusted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns `true` if the host is trusted. The address must be canonical (not IPv4-mapped).
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// Header in which trusted proxies list the addresses of the previous hops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`: a list of addresses.
    XForwardedFor,
    /// `Forwarded`, RFC 7239: a list of pairs.
    Forwarded,
    /// Another header with an address or a list of addresses, by its name in lower case.
    Other(String),
}

/// Admin listeners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Addresses of the listeners; none by default.
    pub listen: Vec<SocketAddr>,
    /// Accepted values of `Host`, in lower case without ports, in addition to IP addresses and names
    /// without a dot.
    pub hosts: Vec<String>,
    /// File with the token that requests must contain; `None` if no token is needed.
    pub token_file: Option<PathBuf>,
}
