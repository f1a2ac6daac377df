//! The configuration as the program uses it. A value of these types is valid by construction.

mod client;
mod compression;
mod database;
mod files;
mod geo_headers;
mod header_names;
mod limit;
mod listener;
mod log;
mod route;
mod server;
mod template;
mod territory;
mod tls;
mod tracing;
mod untrusted_headers;
mod upstream;
mod variable;

use std::path::PathBuf;

pub use client::{Methods, MinRate};
pub use compression::{Coding, Compression, MediaType, MediaTypes};
pub use database::{Database, Geo, Probe, Published};
pub use files::Files;
pub use geo_headers::{GeoHeaders, HeaderEncoding, HeaderNames, is_managed_name};
pub use header_names::{HeaderNameSet, is_spelling_of};
pub use limit::{
    Access, AccessRule, Clients, Demands, Limits, Most, RateKey, RateLimit, RouteLimits, Verdict,
};
pub use listener::{Listener, Speaks};
pub use log::{AccessLog, ErrorLog, LogFormat, LogTarget, Sampling, Syslog, SyslogServer};
pub use route::{
    Action, HeaderChanges, HeaderCondition, HeaderPattern, HostPattern, LocationRewrite,
    PathPattern, Route,
};
pub use server::{Admin, Client, ClientIp, ForwardedHeader, Server, TrustedProxies};
pub use template::{Part, Template, TemplateError};
pub use territory::Territory;
pub use tls::{Certificate, ClientAuth, Hsts, Http2, Tls, TlsVersion};
pub use tracing::{RequestIds, TraceSource, Tracing};
pub use untrusted_headers::UntrustedHeaders;
pub use upstream::{
    Balance, HashKey, HealthCheck, Peer, PeerAddress, Probe as HealthProbe, Protocol, Sticky,
    Upstream, UpstreamTls,
};
pub use variable::{
    Captures, ClientCertificateField, RequestVariable, ResponseVariable, Variable, Variables,
};

/// The whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Listeners, threads, process.
    pub server: Server,
    /// How TLS is spoken; `None` if it is not.
    pub tls: Option<Tls>,
    /// How HTTP/2 is spoken.
    pub http2: Http2,
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
    /// Where requests go that geogate does not answer itself.
    pub upstreams: Vec<Upstream>,
    /// Who may come, in sets of rules that are named where they hold.
    pub access: Vec<Access>,
    /// How often requests may come; named where they hold.
    pub rate_limits: Vec<RateLimit>,
    /// What holds for all connections and requests.
    pub limits: Limits,
    /// What holds for IP queries besides.
    pub query: Demands,
    /// Which request goes where. Without any, all go to the first upstream, if there is one.
    pub routes: Vec<Route>,
    /// Which responses are compressed, and how.
    pub compression: Compression,
    /// Where operators and their monitoring ask.
    pub admin: Admin,
    /// What is logged of each request.
    pub access_log: AccessLog,
    /// What is logged of the server itself.
    pub error_log: ErrorLog,
    /// The ids of requests, if they have any.
    pub request_ids: Option<RequestIds>,
    /// What becomes of the traces that requests are part of.
    pub tracing: Tracing,
    /// The user's own page for 500, 502, 503 and 504.
    pub error_page: Option<PathBuf>,
}
