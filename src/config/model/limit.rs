//! Who may come, how often, and how many at a time.

use std::num::NonZeroU32;
use std::time::Duration;

use ipnet::IpNet;

use super::territory::Territory;

/// Ordered rules about who may come. The first rule that has the client decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// What it is called where it is used, and in logs and metrics.
    pub name: String,
    /// In the order of the file.
    pub rules: Vec<AccessRule>,
    /// What becomes of a client that no rule has.
    pub default: Verdict,
    /// Whether a denial is only counted and logged.
    pub dry_run: bool,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessRule {
    /// What becomes of the clients that it has.
    pub verdict: Verdict,
    /// It has a client that any of these has.
    pub clients: Vec<Clients>,
}

/// What becomes of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is served.
    Allow,
    /// It gets 403.
    Deny,
}

/// Some clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clients {
    /// Of a network; never one of IPv4-mapped addresses.
    Network(IpNet),
    /// In a country or a region.
    Territory(Territory),
    /// Whose country is not known.
    UnknownCountry,
    /// Of an autonomous system.
    Asn(u32),
}

/// How often requests may come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimit {
    /// What it is called where it is used, and in logs and metrics.
    pub name: String,
    /// Requests with one key are counted together.
    pub key: RateKey,
    /// So many requests...
    pub requests: NonZeroU32,
    /// ... in this time.
    pub period: Duration,
    /// How many may come at once after a quiet time.
    pub burst: NonZeroU32,
    /// IPv6 clients whose addresses have so many bits in common are one client. 1 to 128.
    pub ipv6_prefix: u8,
    /// How many keys are kept count of.
    pub max_keys: usize,
    /// Whether what is too much is only counted and logged.
    pub dry_run: bool,
}

/// What requests have in common that are counted together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RateKey {
    /// The client's address.
    ClientIp,
    /// The client's country.
    Country,
    /// The route.
    Route,
    /// The first line of this header, which is in lower case; without one, the client's address.
    Header(String),
}

/// What is asked of requests, wherever they go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Demands {
    /// All of these must allow the client; places in the list of all.
    pub access: Vec<usize>,
    /// None of these may be passed; places in the list of all.
    pub rate_limits: Vec<usize>,
}

/// What holds for the requests of one route.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RouteLimits {
    /// Asked of them besides what is asked of every request.
    pub demands: Demands,
    /// How many there may be at a time; `None` for no limit.
    pub max_requests: Option<u32>,
    /// Largest body in bytes; `None` for what holds for all.
    pub max_body_size: Option<u64>,
    /// How long one may take in all; `None` for no limit.
    pub timeout: Option<Duration>,
}

/// What holds for all connections and requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Asked of every request.
    pub demands: Demands,
    /// Connections of clients at a time.
    pub max_connections: Most,
    /// Of them, those of one client; `None` for no limit.
    pub max_connections_per_client: Option<u32>,
    /// Requests that are being proxied at a time.
    pub max_requests: Most,
    /// Of them, those of one client.
    pub max_requests_per_client: Most,
    /// Bytes of memory of the process above which nothing new is begun.
    pub max_memory: Most,
    /// IPv6 clients whose addresses have so many bits in common are one client. 1 to 128.
    pub ipv6_prefix: u8,
}

/// The most that there may be of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Most {
    /// What the system allows the process decides.
    Auto,
    /// So many. At least 1.
    Fixed(u64),
}
