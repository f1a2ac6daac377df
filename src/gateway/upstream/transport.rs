//! Connection settings of an upstream: timeouts, protocol, TLS and trusted certificates.
//!
//! pingora takes them as an `HttpPeer`; each peer of a pool has one, complete. This module closes
//! two gaps of pingora. Without a server name pingora verifies nothing, so a name is always set.
//! And its connection pool does not distinguish sets of authorities, so connections are separated
//! by a group key that is a hash of all these settings.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pingora::protocols::TcpKeepalive;
use pingora::protocols::tls::{ALPN, CaType};
use pingora::tls::{CryptoProvider, install_default_crypto_provider, sign::CertifiedKey};
use pingora::upstreams::peer::HttpPeer;
use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use x509_parser::x509::X509Version;

use super::pins::Pins;
use super::proxy_header::begin_with;
use crate::config::model::{Protocol, SocketAddress, Upstream, UpstreamTls};

/// Number of concurrent requests on an HTTP/2 connection; most servers allow this many.
const STREAMS: usize = 100;

/// Bytes that a peer may send of a response over HTTP/2 before the client has taken them. They are held
/// as long as it takes none. It is the initial window of HTTP/2 itself.
const STREAM_WINDOW: u32 = 65_535;

/// The same for all responses on a connection. There is room for each, so that clients that take nothing
/// do not delay others.
const CONNECTION_WINDOW: u32 = STREAMS as u32 * STREAM_WINDOW;

/// Error in a file that an upstream names.
#[derive(Debug, thiserror::Error)]
#[error("upstream {upstream}: {key} {}: {reason}", file.display())]
pub struct TransportError {
    /// Name of the upstream.
    pub upstream: String,
    /// Setting that names the file.
    pub key: &'static str,
    /// Path of the file.
    pub file: PathBuf,
    /// Reason of the error.
    pub reason: String,
}

/// Connection settings of the peers of an upstream.
pub struct Transport {
    tls: Option<Tls>,
    digest: [u8; 32],
}

struct Tls {
    settings: UpstreamTls,
    /// Certificates of `ca_file`, in DER.
    trusted: Vec<CertificateDer<'static>>,
    /// The same certificates in pingora's form.
    authorities: Option<Arc<CaType>>,
    client: Option<Arc<CertKey>>,
}

impl Transport {
    /// Reads the files that an upstream names.
    ///
    /// # Errors
    /// If a file cannot be read or has invalid content.
    pub fn load(upstream: &Upstream) -> Result<Self, TransportError> {
        let mut digest = Sha256::new()
            .chain_update(&upstream.name)
            .chain_update(format!("{:?}{:?}", upstream.protocol, upstream.tls));
        let tls = match &upstream.tls {
            Some(settings) => Some(Tls::load(&upstream.name, settings, &mut digest)?),
            None => None,
        };
        Ok(Transport {
            tls,
            digest: digest.finalize().into(),
        })
    }

    /// Returns `true` if connections of either one can serve the other.
    #[must_use]
    pub fn is_same(&self, other: &Transport) -> bool {
        self.digest == other.digest
    }

    /// Returns the pinned certificates for a peer of this name, if `ca_file` contains them.
    #[must_use]
    pub fn pins(&self, host: Option<&str>) -> Option<Pins> {
        let tls = self.tls.as_ref().filter(|tls| tls.settings.verify)?;
        Pins::of_peer(&tls.trusted, tls.settings.sni.as_deref().or(host)?)
    }

    /// Returns pingora's settings for the peer at an address, with the host name it is configured
    /// by.
    ///
    /// # Panics
    /// Never: the configuration has checked the paths of UNIX sockets.
    #[must_use]
    pub fn template(
        &self,
        upstream: &Upstream,
        at: &SocketAddress,
        host: Option<&str>,
    ) -> HttpPeer {
        let sni = self.tls.as_ref().map_or_else(String::new, |tls| {
            let name = tls.settings.sni.as_deref().or(host);
            // Without verification an address is sufficient; it is not sent.
            name.map_or_else(|| host_of(at), str::to_owned)
        });
        let mut peer = peer_at(at, self.tls.is_some(), sni);
        let mut group = [0; 8];
        group.copy_from_slice(&self.digest[..8]);
        peer.group_key = u64::from_ne_bytes(group);
        let options = &mut peer.options;
        // pingora sets no timeouts.
        options.connection_timeout = Some(upstream.connect_timeout);
        options.total_connection_timeout = Some(upstream.connect_timeout);
        options.read_timeout = Some(upstream.read_timeout);
        options.write_timeout = Some(upstream.write_timeout);
        options.idle_timeout = Some(upstream.idle_timeout);
        if upstream.protocol == Protocol::Http2 {
            options.alpn = ALPN::H2;
            options.max_h2_streams = STREAMS;
            options.h2_stream_window_size = Some(STREAM_WINDOW);
            options.h2_connection_window_size = Some(CONNECTION_WINDOW);
        }
        // Without it a peer that vanishes would be noticed by a timeout only, which is long for an
        // upgraded connection.
        options.tcp_keepalive = Some(TcpKeepalive {
            idle: Duration::from_secs(60),
            interval: Duration::from_secs(15),
            count: 9,
            #[cfg(target_os = "linux")]
            user_timeout: Duration::ZERO,
        });
        if let Some(tls) = &self.tls {
            let options = &mut peer.options;
            options.verify_cert = tls.settings.verify;
            options.verify_hostname = tls.settings.verify;
            options.ca.clone_from(&tls.authorities);
            peer.client_cert_key.clone_from(&tls.client);
        }
        if let Some(version) = upstream.send_proxy_protocol {
            // That of a health check; a request has a header of its own.
            begin_with(&mut peer, version, None);
        }
        peer
    }
}

/// Returns pingora's peer at an address.
fn peer_at(at: &SocketAddress, is_tls: bool, sni: String) -> HttpPeer {
    match at {
        SocketAddress::Inet(at) => HttpPeer::new(at, is_tls, sni),
        SocketAddress::Unix(path) => {
            HttpPeer::new_uds(path, is_tls, sni).expect("a path that fits an address")
        }
    }
}

/// Name of a peer that has none: its IP address.
fn host_of(at: &SocketAddress) -> String {
    match at {
        SocketAddress::Inet(at) => at.ip().to_string(),
        SocketAddress::Unix(_) => "localhost".to_owned(),
    }
}

/// Returns the same settings without pingora's certificate verification.
pub(super) fn without_verification(mut template: HttpPeer) -> HttpPeer {
    template.options.verify_cert = false;
    template.options.verify_hostname = false;
    template
}

impl Tls {
    fn load(
        upstream: &str,
        settings: &UpstreamTls,
        digest: &mut Sha256,
    ) -> Result<Self, TransportError> {
        let error = |key, file: &Path, reason: String| TransportError {
            upstream: upstream.to_owned(),
            key,
            file: file.to_owned(),
            reason,
        };
        let mut read = |key, file: &Path| {
            let bytes = std::fs::read(file).map_err(|e| error(key, file, e.to_string()))?;
            digest.update(Sha256::digest(&bytes));
            Ok(bytes)
        };
        let (mut trusted, mut authorities) = (Vec::new(), None);
        if let Some(file) = &settings.ca_file {
            let found = certificates(&read("ca_file", file)?).and_then(are_usable);
            trusted = found.map_err(|reason| error("ca_file", file, reason))?;
            let wrap = |der: &CertificateDer| WrappedX509::new(der.to_vec(), parse_x509);
            authorities = Some(trusted.iter().map(wrap).collect());
        }
        let mut client = None;
        if let Some((cert, key)) = &settings.client {
            let chain = certificates(&read("client_cert", cert)?);
            let chain = chain.and_then(|chain| is_version_3(&chain[0]).map(|()| chain));
            let chain = chain.map_err(|reason| error("client_cert", cert, reason))?;
            let secret = PrivateKeyDer::from_pem_slice(&read("client_key", key)?);
            let secret = secret.map_err(|e| error("client_key", key, e.to_string()))?;
            fits(&chain, &secret).map_err(|reason| error("client_key", key, reason))?;
            let chain = chain.iter().map(|der| der.to_vec()).collect();
            client = Some(Arc::new(CertKey::new(chain, secret.secret_der().to_vec())));
        }
        Ok(Tls {
            settings: settings.clone(),
            trusted,
            authorities,
            client,
        })
    }
}

/// Parses the certificates of a PEM file: at least one, and all of them valid, because pingora
/// parses them again and panics at an invalid one.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| error.to_string())?;
    if found.is_empty() {
        return Err("has no certificate".to_owned());
    }
    for der in &found {
        x509_parser::parse_x509_certificate(der).map_err(|error| error.to_string())?;
    }
    Ok(found)
}

/// Checks that a client certificate is of X.509 version 3: pingora does not send one that rustls
/// cannot read.
fn is_version_3(der: &CertificateDer) -> Result<(), String> {
    let parsed = x509_parser::parse_x509_certificate(der);
    let (_, certificate) = parsed.map_err(|error| error.to_string())?;
    match certificate.version() {
        X509Version::V3 => Ok(()),
        other => Err(format!(
            "is an X.509 certificate of version {}: version 3 is needed",
            other.0 + 1
        )),
    }
}

/// Checks that all certificates can be trust anchors: otherwise every connection of pingora would
/// fail.
fn are_usable(
    certificates: Vec<CertificateDer<'static>>,
) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut roots = RootCertStore::empty();
    for der in &certificates {
        let added = roots.add(der.clone());
        added.map_err(|error| format!("has a certificate that cannot be used: {error}"))?;
    }
    Ok(certificates)
}

fn fits(chain: &[CertificateDer<'static>], key: &PrivateKeyDer<'static>) -> Result<(), String> {
    install_default_crypto_provider();
    let provider = CryptoProvider::get_default().ok_or("no cryptography is installed")?;
    let fits = CertifiedKey::from_der(chain.to_vec(), key.clone_key(), provider);
    fits.map(|_| ()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => "is not the key of client_cert".to_owned(),
        rustls::Error::InvalidCertificate(reason) => {
            format!("cannot be used with client_cert, which rustls cannot read: {reason}")
        }
        error => error.to_string(),
    })
}
