//! TLS with clients: the settings of `[tls]`, ready for handshakes.
//!
//! Everything read from files is one value that is replaced as a whole: certificates with their
//! keys, the authorities of client certificates, and the session ticket keys. So a handshake never
//! uses a partial change, and if a new file is invalid, the previous ones stay in use.

mod certificates;
mod client_certificate;
mod error;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::HeaderValue;
use pingora::listeners::tls::Acceptor;
use pingora::protocols::tls::server::handshake_with_callback;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};

use crate::config::model::{self, ClientAuth, Hsts, TlsVersion};
use certificates::Certificates;
pub use client_certificate::ClientCertificate;
use client_certificate::KeepCertificate;
pub use error::TlsError;

/// Configured TLS with the current files.
pub struct Tls {
    config: model::Tls,
    hsts: Option<HeaderValue>,
    current: ArcSwap<Current>,
}

/// Values from the files.
struct Current {
    acceptor: Acceptor,
    /// Ticket keys. A change of certificates ends no session. A change of authorities ends all: a
    /// resumed session does not ask for a client certificate again.
    tickets: Option<Arc<dyn ProducesTickets>>,
    /// Authorities of client certificates.
    authorities: Vec<CertificateDer<'static>>,
    /// Problems in the files that are not errors.
    warnings: Vec<String>,
}

impl Tls {
    /// Reads all files. Sessions of `before` can be resumed if the configuration and the
    /// authorities are the same.
    ///
    /// # Errors
    /// If a file cannot be read or used.
    pub fn load(config: &model::Tls, before: Option<&Tls>) -> Result<Self, TlsError> {
        let same = before.filter(|before| before.config == *config);
        let same = same.map(|before| before.current.load_full());
        let current = Current::load(config, same.as_deref())?;
        Ok(Tls {
            config: config.clone(),
            hsts: config.hsts.as_ref().map(hsts_value),
            current: ArcSwap::from_pointee(current),
        })
    }

    /// Reads all files again. Established connections are not affected.
    ///
    /// # Errors
    /// As [`Tls::load`]; the previous files then stay in use.
    pub fn reload(&self) -> Result<(), TlsError> {
        let current = Current::load(&self.config, Some(&self.current.load()))?;
        self.current.store(Arc::new(current));
        Ok(())
    }

    /// Returns the problems in the files that are not errors.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.current.load().warnings.clone()
    }

    /// Logs the warnings.
    pub fn warn(&self) {
        for warning in &self.current.load().warnings {
            log::warn!("{warning}");
        }
    }

    /// Configuration that it was made from.
    #[must_use]
    pub fn config(&self) -> &model::Tls {
        &self.config
    }

    /// Value of `Strict-Transport-Security` for all responses over TLS, if configured.
    #[must_use]
    pub fn hsts(&self) -> Option<&HeaderValue> {
        self.hsts.as_ref()
    }

    /// Performs the handshake with a client.
    ///
    /// # Errors
    /// If there is no common version or cipher, a certificate is rejected, or the client closes the
    /// connection.
    pub async fn accept<S: pingora::protocols::IO + 'static>(
        &self,
        socket: S,
    ) -> pingora::Result<impl pingora::protocols::IO + use<S>> {
        let current = self.current.load_full();
        if self.config.client_auth.is_some() {
            handshake_with_callback(&current.acceptor, socket, &KeepCertificate).await
        } else {
            current.acceptor.tls_handshake(socket).await
        }
    }
}

impl Current {
    /// Reads the files. `before` must be of the same configuration.
    fn load(config: &model::Tls, before: Option<&Current>) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let certificates = Certificates::load(&config.certificates, &provider)?;
        let warnings = certificates.warnings().to_vec();
        let versions: &[_] = match config.min_version {
            TlsVersion::Tls12 => &[&rustls::version::TLS12, &rustls::version::TLS13],
            TlsVersion::Tls13 => &[&rustls::version::TLS13],
        };
        let authorities = authorities(config.client_auth.as_ref())?;
        let verifier = verifier(config.client_auth.as_ref(), &authorities, &provider)?;
        let same = before.filter(|before| before.authorities == authorities);
        let tickets = match (same, config.session_tickets) {
            (Some(before), _) => before.tickets.clone(),
            (None, true) => Some(ring::Ticketer::new().map_err(TlsError::Unusable)?),
            (None, false) => None,
        };
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(TlsError::Unusable)?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(certificates));
        server.alpn_protocols = if config.http2 {
            vec![b"h2".to_vec(), b"http/1.1".to_vec()]
        } else {
            vec![b"http/1.1".to_vec()]
        };
        // A session store would be one lock for all threads; tickets leave the session with the
        // client.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        match &tickets {
            Some(tickets) => server.ticketer = Arc::clone(tickets),
            None => server.send_tls13_tickets = 0,
        }
        Ok(Current {
            acceptor: Acceptor::from_server_config(Arc::new(server)),
            tickets,
            authorities,
            warnings,
        })
    }
}

/// Reads the authorities of client certificates; empty if client certificates are not used.
fn authorities(config: Option<&ClientAuth>) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let file = config.map(|config| config.ca_file.as_path());
    let read = file.map_or_else(|| Ok(Vec::new()), read_chain);
    read.map_err(|reason| unusable(config, reason))
}

fn unusable(config: Option<&ClientAuth>, reason: String) -> TlsError {
    TlsError::Authorities {
        file: config.map_or_else(PathBuf::new, |config| config.ca_file.clone()),
        reason,
    }
}

fn verifier(
    config: Option<&ClientAuth>,
    authorities: &[CertificateDer<'static>],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let Some(ClientAuth { required, .. }) = config else {
        return Ok(Arc::new(NoClientAuth));
    };
    let unusable = |reason: String| unusable(config, reason);
    let mut roots = RootCertStore::empty();
    for certificate in authorities {
        let added = roots.add(certificate.clone());
        added.map_err(|error| unusable(error.to_string()))?;
    }
    let builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = if *required {
        builder
    } else {
        builder.allow_unauthenticated()
    };
    let built = builder.build();
    built.map_err(|error| unusable(error.to_string()))
}

/// Reads all certificates of a PEM file, at least one.
fn read_chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = std::fs::read(file).map_err(|error| error.to_string())?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.map_err(|error| error.to_string())?;
    if chain.is_empty() {
        return Err("has no certificate (PEM is expected)".to_owned());
    }
    Ok(chain)
}

fn hsts_value(hsts: &Hsts) -> HeaderValue {
    let mut text = format!("max-age={}", hsts.max_age.as_secs());
    if hsts.include_subdomains {
        text.push_str("; includeSubDomains");
    }
    if hsts.preload {
        text.push_str("; preload");
    }
    HeaderValue::from_str(&text).expect("digits and words")
}
