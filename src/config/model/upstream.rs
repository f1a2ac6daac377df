//! Where requests go.

use std::net::SocketAddr;
use std::time::Duration;

/// A group of peers that serve the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Name in the log.
    pub name: String,
    /// At least one.
    pub peers: Vec<Peer>,
    /// How long connecting to a peer may take.
    pub connect_timeout: Duration,
    /// How long a single read from a peer may take.
    pub read_timeout: Duration,
    /// How long a single write to a peer may take.
    pub write_timeout: Duration,
    /// How long an idle connection to a peer is kept.
    pub idle_timeout: Duration,
    /// How many idle connections to all peers together are kept.
    pub keepalive: usize,
    /// How many peers a request may be tried on.
    pub tries: usize,
    /// How long a peer that failed is passed over while another one is there.
    pub fail_timeout: Duration,
}

/// One server of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its share of the requests, relative to the other peers' weights. 1 to 1,000.
    pub weight: usize,
}
