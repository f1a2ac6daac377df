//! TLS and HTTP/2 of clients.

use std::path::PathBuf;
use std::time::Duration;

/// TLS settings of listeners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Certificates; at least one. The first is used if the client's SNI is missing or matches none.
    pub certificates: Vec<Certificate>,
    /// Minimum version.
    pub min_version: TlsVersion,
    /// True if HTTP/2 is offered by ALPN.
    pub http2: bool,
    /// True if sessions can be resumed by tickets.
    pub session_tickets: bool,
    /// `Strict-Transport-Security` header; `None` for none.
    pub hsts: Option<Hsts>,
    /// Verification of client certificates; `None` if none are requested.
    pub client_auth: Option<ClientAuth>,
    /// True if changed files are reloaded automatically.
    pub watch: bool,
}

impl Tls {
    /// Returns the paths of all files of the settings.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let pairs = self.certificates.iter();
        let files = pairs.flat_map(|pair| [&pair.chain, &pair.key]);
        let authorities = self.client_auth.iter().map(|auth| &auth.ca_file);
        files.chain(authorities).cloned().collect()
    }
}

/// A certificate and its key, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Path of the certificate chain, the server's own certificate first.
    pub chain: PathBuf,
    /// Path of the private key.
    pub key: PathBuf,
}

/// A TLS version. Older versions are insecure and not supported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    /// 1.2, RFC 5246.
    Tls12,
    /// 1.3, RFC 8446.
    Tls13,
}

/// `Strict-Transport-Security` (RFC 6797).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hsts {
    /// Time for which a browser uses TLS only.
    pub max_age: Duration,
    /// True if the policy includes subdomains.
    pub include_subdomains: bool,
    /// True if browsers may include the host in their preload lists.
    pub preload: bool,
}

/// Verification of client certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientAuth {
    /// Path of the trusted authorities, in PEM.
    pub ca_file: PathBuf,
    /// True if a client without a certificate is rejected.
    pub required: bool,
}

/// HTTP/2 settings of client connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http2 {
    /// Maximum number of requests in flight per connection.
    pub max_concurrent_streams: u32,
}
