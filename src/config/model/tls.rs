//! TLS with clients, and HTTP/2.

use std::path::PathBuf;
use std::time::Duration;

/// How TLS is spoken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// At least one. The first is for clients that name no host, or one that no certificate has.
    pub certificates: Vec<Certificate>,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
    /// Whether HTTP/2 is offered.
    pub http2: bool,
    /// Whether a client may take up a session of before without a whole handshake.
    pub session_tickets: bool,
    /// What browsers are told of the time to come.
    pub hsts: Option<Hsts>,
    /// Whether clients show certificates, and whose.
    pub client_auth: Option<ClientAuth>,
    /// Whether files that change are read again by themselves.
    pub watch: bool,
}

impl Tls {
    /// Every file that is read.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let pairs = self.certificates.iter();
        let files = pairs.flat_map(|pair| [&pair.chain, &pair.key]);
        let authorities = self.client_auth.iter().map(|auth| &auth.ca_file);
        files.chain(authorities).cloned().collect()
    }
}

/// A certificate with its key, PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The chain, the server's own certificate first.
    pub chain: PathBuf,
    /// The private key of the server's own.
    pub key: PathBuf,
}

/// A version of TLS. Older ones than these are broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    /// 1.2, RFC 5246.
    Tls12,
    /// 1.3, RFC 8446.
    Tls13,
}

/// `Strict-Transport-Security`, RFC 6797.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hsts {
    /// For how long a browser is to come with TLS only.
    pub max_age: Duration,
    /// To the names below this one, too.
    pub include_subdomains: bool,
    /// Whether browsers may know it before their first visit.
    pub preload: bool,
}

/// Certificates of clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientAuth {
    /// The authorities that sign them, PEM.
    pub ca_file: PathBuf,
    /// Whether a client without one is turned away.
    pub required: bool,
}

/// HTTP/2 with clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http2 {
    /// How many requests of one connection may be under way.
    pub max_concurrent_streams: u32,
}
