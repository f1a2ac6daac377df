//! Why there is no TLS.

use std::path::PathBuf;

/// What is wrong with the files that `[tls]` names.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The chain of a pair cannot be used.
    #[error("tls.certificates[{number}].cert: {}: {reason}", file.display())]
    Chain {
        /// Of the pair, from 0.
        number: usize,
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The key of a pair cannot be used, or is not that of its certificate.
    #[error("tls.certificates[{number}].key: {}: {reason}", file.display())]
    Key {
        /// Of the pair, from 0.
        number: usize,
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The authorities of clients cannot be used.
    #[error("tls.client_ca: {}: {reason}", file.display())]
    Authorities {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The parts do not go together.
    #[error("tls: {0}")]
    Unusable(#[source] rustls::Error),
}
