//! The configuration as the program uses it. A value of these types is valid by construction.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;

use crate::geo::format::Languages;
use crate::geo::{Field, Names};

/// The whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Listeners, threads, process.
    pub server: Server,
    /// How a client may connect and what it may send.
    pub client: Client,
    /// Who is believed about a client's address.
    pub client_ip: ClientIp,
    /// Where the location of an address comes from, highest first. At least one.
    pub databases: Vec<Database>,
    /// How databases are read.
    pub geo: Geo,
    /// What is added to proxied requests.
    pub geo_headers: GeoHeaders,
    /// Where requests go that geogate does not answer itself. At most one for now.
    pub upstream: Option<Upstream>,
    /// Where operators and their monitoring ask.
    pub admin: Admin,
    /// What is logged of each request.
    pub access_log: AccessLog,
    /// What is logged of the server itself.
    pub error_log: ErrorLog,
    /// The user's own page for 500, 502, 503 and 504.
    pub error_page: Option<PathBuf>,
}

/// Listeners, threads, process.
#[derive(Debug, Clone)]
pub struct Server {
    /// At least one.
    pub listen: Vec<SocketAddr>,
    /// Worker threads, at least 1.
    pub workers: usize,
    /// Whether idle workers take over connections of busy ones.
    pub work_stealing: bool,
    /// Limit of open files to ask the system for.
    pub max_open_files: u64,
    /// How long requests under way may take after a stop was asked for.
    pub grace_period: Duration,
    /// Written when running as a daemon.
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
    /// How long a single read of a request may take.
    pub read_timeout: Duration,
    /// How long a single write of a response may take.
    pub write_timeout: Duration,
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

/// A database: one layer of what is known about addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Database {
    /// The one that is built into the binary.
    Embedded,
    /// A file of any known format.
    File(PathBuf),
    /// A file of any known format that is kept as it is published somewhere.
    Published(Box<Published>),
}

/// A file that somebody publishes, and the copy of it that is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// `http` or `https`.
    pub url: String,
    /// The copy.
    pub file: PathBuf,
    /// Where its SHA-256 is published, in hexadecimal as the first word of a text.
    pub checksum_url: Option<String>,
    /// How long to wait before looking for a new one.
    pub interval: Duration,
    /// How long fetching it may take.
    pub timeout: Duration,
    /// Certificates (PEM) of the authorities that the publisher is trusted by; the system's if
    /// there is none.
    pub ca_file: Option<PathBuf>,
}

impl Database {
    /// The file that is read, unless it is built in.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Database::Embedded => None,
            Database::File(file) => Some(file),
            Database::Published(published) => Some(&published.file),
        }
    }
}

/// The name in errors and reports.
impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Database::Embedded => f.write_str("embedded"),
            Database::File(file) => write!(f, "{}", file.display()),
            Database::Published(published) => write!(f, "{}", published.file.display()),
        }
    }
}

/// How databases are read.
#[derive(Debug, Clone)]
pub struct Geo {
    /// Folder with the user's own code tables.
    pub codes: Option<PathBuf>,
    /// Whether names are made uniform.
    pub names: Names,
    /// The languages of names in databases that have several.
    pub languages: Languages,
    /// Whether files that change are read again.
    pub watch: bool,
    /// Which share of its ranges or addresses a database may lose to its successor, 0 to 1.
    pub max_shrinkage: f64,
    /// What every database must know.
    pub probes: Vec<Probe>,
}

/// An address of which it is known where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The address.
    pub ip: IpAddr,
    /// What its place must say.
    pub expected: Vec<(Field, String)>,
}

/// What is added to proxied requests.
#[derive(Debug, Clone)]
pub struct GeoHeaders {
    /// Whether the location is added. The client's own are deleted in any case.
    pub enabled: bool,
    /// Under which names.
    pub names: HeaderNames,
    /// Fields that are added under geogate's own names.
    pub more: Vec<Field>,
    /// How text that is not ASCII is written.
    pub encoding: HeaderEncoding,
}

/// Under which names upstreams are told a location.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderNames {
    /// `X-Geo-Country` and so on.
    Geogate,
    /// `CF-IPCountry` and so on.
    Cloudflare,
    /// `CloudFront-Viewer-Country` and so on.
    CloudFront,
    /// `X-Vercel-IP-Country` and so on.
    Vercel,
}

/// How text that is not ASCII is written into a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderEncoding {
    /// Percent-encoded UTF-8: safe for every server.
    Percent,
    /// UTF-8 as it is.
    Utf8,
}

/// A group of peers that serve the same.
#[derive(Debug, Clone)]
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

/// Where operators and their monitoring ask.
#[derive(Debug, Clone)]
pub struct Admin {
    /// None by default.
    pub listen: Vec<SocketAddr>,
}

/// What is logged of each request.
#[derive(Debug, Clone)]
pub struct AccessLog {
    /// Where lines go.
    pub target: LogTarget,
    /// What a line looks like.
    pub format: LogFormat,
    /// How long a line may wait in memory.
    pub flush: Duration,
}

/// Where a log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogTarget {
    /// Nowhere.
    Off,
    /// Standard output; standard error for the error log.
    Standard,
    /// A file, appended to.
    File(PathBuf),
}

/// What a line of the access log looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// nginx's `main` with upstream, times and country behind it.
    Main,
    /// One JSON object a line.
    Json,
}

/// What is logged of the server itself.
#[derive(Debug, Clone)]
pub struct ErrorLog {
    /// Where lines go.
    pub target: LogTarget,
    /// The least important level that is logged.
    pub level: log::LevelFilter,
}
