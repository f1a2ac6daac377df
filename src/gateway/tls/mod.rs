//! TLS with clients: what `[tls]` says, ready to shake hands.
//!
//! Everything that comes from files is one value that is replaced as a whole: a certificate with
//! its key, the authorities of clients, and the tickets that let a client take up a session. So no
//! handshake sees half of a change, and if anything is wrong with new files, the ones before serve
//! on.

mod certificates;
mod error;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::HeaderValue;
use pingora::listeners::tls::Acceptor;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};

use crate::config::model::{self, ClientAuth, Hsts, TlsVersion};
use certificates::Certificates;
pub use error::TlsError;

/// TLS as it is configured.
pub struct Tls {
    config: model::Tls,
    hsts: Option<HeaderValue>,
    /// Made once: a change of certificates ends no session.
    tickets: Option<Arc<dyn ProducesTickets>>,
    current: ArcSwap<Current>,
}

/// What comes from the files.
struct Current {
    acceptor: Acceptor,
    /// What is no error and the operator should know.
    warnings: Vec<String>,
}

impl Tls {
    /// Reads all files. Sessions of `before` go on if it is of the same configuration.
    ///
    /// # Errors
    /// If a file cannot be read or used.
    pub fn load(config: &model::Tls, before: Option<&Tls>) -> Result<Self, TlsError> {
        let same = before.filter(|before| before.config == *config);
        let tickets = match (same, config.session_tickets) {
            (Some(before), _) => before.tickets.clone(),
            (None, true) => Some(ring::Ticketer::new().map_err(TlsError::Unusable)?),
            (None, false) => None,
        };
        let current = Current::load(config, tickets.clone())?;
        Ok(Tls {
            config: config.clone(),
            hsts: config.hsts.as_ref().map(hsts_value),
            tickets,
            current: ArcSwap::from_pointee(current),
        })
    }

    /// Reads all files again. Connections that are there stay as they are.
    ///
    /// # Errors
    /// As [`Tls::load`]; then nothing has changed.
    pub fn reload(&self) -> Result<(), TlsError> {
        let current = Current::load(&self.config, self.tickets.clone())?;
        self.current.store(Arc::new(current));
        Ok(())
    }

    /// What is no error in the files and the operator should know.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.current.load().warnings.clone()
    }

    /// Says the warnings in the log.
    pub fn warn(&self) {
        for warning in &self.current.load().warnings {
            log::warn!("{warning}");
        }
    }

    /// Every file that is read.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let pairs = self.config.certificates.iter();
        let files = pairs.flat_map(|pair| [&pair.chain, &pair.key]);
        let authorities = self.config.client_auth.iter().map(|auth| &auth.ca_file);
        files.chain(authorities).cloned().collect()
    }

    /// Whether files that change are to be read again.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.config.watch
    }

    /// What every answer over TLS carries, if anything.
    #[must_use]
    pub fn hsts(&self) -> Option<&HeaderValue> {
        self.hsts.as_ref()
    }

    /// Shakes hands with a client.
    ///
    /// # Errors
    /// If they cannot agree, or the client leaves.
    pub(super) async fn accept<S: pingora::protocols::IO + 'static>(
        &self,
        socket: S,
    ) -> pingora::Result<impl pingora::protocols::IO + use<S>> {
        let current = self.current.load_full();
        current.acceptor.tls_handshake(socket).await
    }
}

impl Current {
    fn load(
        config: &model::Tls,
        tickets: Option<Arc<dyn ProducesTickets>>,
    ) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let certificates = Certificates::load(&config.certificates, &provider)?;
        let warnings = certificates.warnings().to_vec();
        let versions: &[_] = match config.min_version {
            TlsVersion::Tls12 => &[&rustls::version::TLS12, &rustls::version::TLS13],
            TlsVersion::Tls13 => &[&rustls::version::TLS13],
        };
        let verifier = verifier(config.client_auth.as_ref(), &provider)?;
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
        // A store of sessions would be one lock for all threads; tickets leave them with clients.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        match tickets {
            Some(tickets) => server.ticketer = tickets,
            None => server.send_tls13_tickets = 0,
        }
        Ok(Current {
            acceptor: Acceptor::from_server_config(Arc::new(server)),
            warnings,
        })
    }
}

fn verifier(
    config: Option<&ClientAuth>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let Some(ClientAuth { ca_file, required }) = config else {
        return Ok(Arc::new(NoClientAuth));
    };
    let unusable = |reason: String| TlsError::Authorities {
        file: ca_file.clone(),
        reason,
    };
    let mut roots = RootCertStore::empty();
    for certificate in read_chain(ca_file).map_err(unusable)? {
        let added = roots.add(certificate);
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

/// All certificates of a PEM file, at least one.
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
