//! Listeners, the process, and how clients may connect.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::{Listener, Methods, MinRate, Most, UntrustedHeaders};

/// Listeners, threads, process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// At least one.
    pub listen: Vec<Listener>,
    /// Worker threads, at least 1. `Auto` is one for each processor that the process may use.
    pub workers: Most,
    /// Whether idle workers take over connections of busy ones.
    pub work_stealing: bool,
    /// Limit of open files to ask the system for.
    pub max_open_files: u64,
    /// How long requests under way may take after a stop was asked for.
    pub grace_period: Duration,
    /// Written when running as a daemon, and removed at its end.
    pub pid_file: PathBuf,
    /// Where a new process takes over the listeners of the old one.
    pub upgrade_socket: PathBuf,
}

/// How a client may connect and what it may send.
#[derive(Debug, Clone)]
pub struct Client {
    /// How long an idle connection is kept open. Whole seconds.
    pub keepalive_timeout: Duration,
    /// How many requests a connection may carry.
    pub keepalive_requests: u32,
    /// How long the head of a request may take, from its first byte to its last.
    pub header_timeout: Duration,
    /// Longest head of a request in bytes.
    pub max_header_size: usize,
    /// Most header lines of a request.
    pub max_headers: usize,
    /// The methods that are served beside those of the API.
    pub methods: Methods,
    /// How long a single read of a request may take.
    pub read_timeout: Duration,
    /// How long a single write of a response may take.
    pub write_timeout: Duration,
    /// How fast the body of a request must come.
    pub min_body_rate: MinRate,
    /// How fast a response must be taken.
    pub min_response_rate: MinRate,
    /// Largest request body in bytes.
    pub max_body_size: u64,
}

/// Who is believed about a client's address.
#[derive(Debug, Clone)]
pub struct ClientIp {
    /// Networks whose hosts may speak for others.
    pub trusted_proxies: TrustedProxies,
    /// The one header that they use.
    pub header: ForwardedHeader,
    /// What else they may say, and nobody else.
    pub untrusted_headers: UntrustedHeaders,
}

/// The networks whose word on a client's address is taken. Empty means nobody's.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Trusts the hosts of these networks.
    #[must_use]
    pub fn new(networks: Vec<IpNet>) -> Self {
        TrustedProxies(networks)
    }

    /// Whether nobody's word is taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the host is one of them. The address must be canonical (no IPv4-mapped one).
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// The header in which trusted proxies name the addresses before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`: a list of addresses.
    XForwardedFor,
    /// `Forwarded`, RFC 7239: a list of pairs.
    Forwarded,
}

/// Where operators and their monitoring ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// None by default.
    pub listen: Vec<SocketAddr>,
    /// Hosts that requests are answered for, beside addresses and names of one label; in lower case,
    /// without ports.
    pub hosts: Vec<String>,
    /// File with the token that requests must have, if they must.
    pub token_file: Option<PathBuf>,
}
