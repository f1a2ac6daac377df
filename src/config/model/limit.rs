//! Access rules, rate limits and concurrency limits.

use std::num::NonZeroU32;
use std::time::Duration;

use ipnet::IpNet;

use super::auth::Satisfy;
use super::region::Region;

/// Ordered access rules. The first rule that matches the client decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// Name by which routes refer to the rules, also in logs and metrics.
    pub name: String,
    /// Rules in the order of the file.
    pub rules: Vec<AccessRule>,
    /// Verdict for a client that no rule matches.
    pub default: Verdict,
    /// True if a denial is only counted and logged.
    pub dry_run: bool,
}

/// One access rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessRule {
    /// Verdict for the clients that the rule matches.
    pub verdict: Verdict,
    /// Patterns of clients. The rule matches a client that any of them matches.
    pub clients: Vec<Clients>,
}

/// Verdict on a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The request is served.
    Allow,
    /// The request is rejected with 403.
    Deny,
}

/// Pattern of clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clients {
    /// Clients in a network. IPv4-mapped networks are converted to IPv4.
    Network(IpNet),
    /// Clients in a country or region.
    Region(Region),
    /// Clients of unknown country.
    UnknownCountry,
    /// Clients of an autonomous system.
    Asn(u32),
}

/// Limit on the rate of requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimit {
    /// Name by which routes refer to the limit, also in logs and metrics.
    pub name: String,
    /// Key of the count: requests with the same key share one rate.
    pub key: RateKey,
    /// Number of requests per `period`.
    pub requests: NonZeroU32,
    /// Period of `requests`.
    pub period: Duration,
    /// Maximum number of requests at once after an idle period.
    pub burst: NonZeroU32,
    /// Prefix length of IPv6 clients: addresses with the same prefix are one client. 1 to 128.
    pub ipv6_prefix: u8,
    /// Maximum number of keys with a count.
    pub max_keys: usize,
    /// True if a request over the limit is only counted and logged.
    pub dry_run: bool,
}

/// Key of a rate limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RateKey {
    /// The client's address.
    ClientIp,
    /// The client's country.
    Country,
    /// The route.
    Route,
    /// First value of this header, whose name is in lower case; the client's address if it is
    /// absent.
    Header(String),
}

/// References to the access rules and rate limits that apply to a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LimitRefs {
    /// Indexes in `Config::access`. All of these must allow the client.
    pub access: Vec<usize>,
    /// Indexes in `Config::rate_limits`. A request must be within all of these.
    pub rate_limits: Vec<usize>,
}

/// Limits of one route.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RouteLimits {
    /// Access rules and rate limits in addition to the global ones.
    pub refs: LimitRefs,
    /// Indexes in `Config::auth`. All of these must accept the client's password.
    pub auth: Vec<usize>,
    /// Combination of the access rules and the authentication.
    pub satisfy: Satisfy,
    /// Maximum number of requests in flight; `None` for no limit.
    pub max_requests: Option<u32>,
    /// Maximum body size in bytes; `None` for the global limit.
    pub max_body_size: Option<u64>,
    /// Total time of one request; `None` for no limit.
    pub timeout: Option<Duration>,
}

/// Global limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Access rules and rate limits of every request.
    pub refs: LimitRefs,
    /// Maximum number of open client connections.
    pub max_connections: Limit,
    /// Maximum number of open connections per client; `None` for no limit.
    pub max_connections_per_client: Option<u32>,
    /// Maximum number of proxied requests in flight.
    pub max_requests: Limit,
    /// Maximum number of proxied requests in flight per client.
    pub max_requests_per_client: Limit,
    /// Memory of the process in bytes above which new connections and requests are rejected.
    pub max_memory: Limit,
    /// Prefix length of IPv6 clients: addresses with the same prefix are one client. 1 to 128.
    pub ipv6_prefix: u8,
}

/// A limit that is fixed or derived from the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Derived from the limits that the operating system sets for the process.
    Auto,
    /// A fixed number, at least 1.
    Fixed(u64),
}
