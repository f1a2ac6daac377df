//! The configuration as the program uses it. A value of these types is valid by construction.

mod auth;
mod client;
mod compression;
mod database;
mod error_page;
mod expires;
mod fastcgi;
mod files;
mod geo_headers;
mod header_names;
mod limit;
mod listener;
mod log;
mod own_variable;
mod part;
mod password_hash;
mod region;
mod rewrite;
mod route;
mod server;
mod socket_address;
mod template;
mod tls;
mod tracing;
mod untrusted_headers;
mod upstream;
mod value_table;
mod variable;

use std::path::PathBuf;
use std::sync::Arc;

pub use auth::{Auth, Satisfy};
pub use client::{Methods, MinRate};
pub use compression::{Coding, Compression, MediaType, MediaTypes};
pub use database::{Database, Geo, Probe, Published};
pub use error_page::{ErrorPage, ErrorPages, ErrorSource, ErrorStatus};
pub use expires::Expires;
pub use fastcgi::FastCgi;
pub use files::{Fallback, Files, Listing};
pub use geo_headers::{GeoHeaders, HeaderEncoding, HeaderNames, is_managed_name};
pub use header_names::HeaderNameSet;
pub use limit::{
    Access, AccessRule, Clients, Limit, LimitRefs, Limits, RateKey, RateLimit, RouteLimits, Verdict,
};
pub use listener::{Listener, Speaks};
pub use log::{
    AccessLog, ErrorLog, ExtraLog, LogFormat, LogRef, LogTarget, Sampling, Syslog, SyslogServer,
};
pub use own_variable::{MAX_WEIGHT, Mapped, OwnVariable};
pub use part::Part;
pub use password_hash::{CRYPT_ALPHABET, PasswordHash};
pub use region::Region;
pub use rewrite::{CookieFlags, CookieName, CookieRewrites, ValuePattern, ValueRewrite};
pub use route::{
    Action, HeaderChanges, HeaderCondition, HeaderPattern, HostPattern, ListenerPattern,
    PathPattern, PathPrefix, Priority, ResponseChanges, Route, RouteConditions, UpstreamChoice,
    VariableCondition,
};
pub use server::{Admin, Client, ClientIp, ForwardedHeader, Server, TrustedProxies};
pub use socket_address::SocketAddress;
pub use template::{Template, TemplateError};
pub use tls::{Certificate, ClientAuth, Hsts, Http2, Tls, TlsVersion};
pub use tracing::{RequestIds, TraceSource, Tracing};
pub use untrusted_headers::UntrustedHeaders;
pub use upstream::{
    Balance, HashKey, HealthCheck, Peer, PeerAddress, Probe as HealthProbe, Protocol, ProxyVersion,
    Sticky, Upstream, UpstreamTls,
};
pub use value_table::{Found, NetworkTable, TextTable, ValueTable};
pub use variable::{
    Captures, ClientCertificateField, ConnectionVariable, OwnVariables, RequestVariable,
    ResponseVariable, TimeForm, Variable, Variables,
};

/// The whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Listeners, threads, process.
    pub server: Server,
    /// TLS of listeners; `None` without a certificate.
    pub tls: Option<Tls>,
    /// HTTP/2 of clients.
    pub http2: Http2,
    /// Limits on client connections and requests.
    pub client: Client,
    /// Trusted proxies.
    pub client_ip: ClientIp,
    /// Geo databases as layers, highest priority first. At least one.
    pub databases: Vec<Database>,
    /// Settings for reading databases.
    pub geo: Geo,
    /// Location headers of proxied requests.
    pub geo_headers: GeoHeaders,
    /// Upstreams of proxied requests.
    pub upstreams: Vec<Upstream>,
    /// Named sets of access rules.
    pub access: Vec<Access>,
    /// Named rate limits.
    pub rate_limits: Vec<RateLimit>,
    /// Named sets of users.
    pub auth: Vec<Auth>,
    /// Global limits.
    pub limits: Limits,
    /// Access rules and rate limits of IP queries, in addition to the global ones.
    pub query: LimitRefs,
    /// The operator's own variables.
    pub own_variables: Arc<OwnVariables>,
    /// Routes. Without routes, all requests go to the first upstream, if there is one.
    pub routes: Vec<Route>,
    /// Compression of responses.
    pub compression: Compression,
    /// Admin listeners: metrics, health and reload.
    pub admin: Admin,
    /// Access log of requests whose route names no other.
    pub access_log: AccessLog,
    /// Access logs that routes and the access log name.
    pub extra_logs: Vec<ExtraLog>,
    /// Error log.
    pub error_log: ErrorLog,
    /// Request ids; `None` if they are disabled.
    pub request_ids: Option<RequestIds>,
    /// Propagation of trace context.
    pub tracing: Tracing,
    /// File with the user's own page for 500, 502, 503 and 504.
    pub error_page: Option<PathBuf>,
}
