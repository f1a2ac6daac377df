//! Errors in the files of `[tls]`.

use std::path::PathBuf;

/// Error in a file that `[tls]` names.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate chain of a pair cannot be used.
    #[error("tls.certificates[{number}].cert: {}: {reason}", file.display())]
    Chain {
        /// Index of the pair, from 0.
        number: usize,
        /// Path of the file.
        file: PathBuf,
        /// Reason of the error.
        reason: String,
    },
    /// The key of a pair cannot be used, or does not belong to its certificate.
    #[error("tls.certificates[{number}].key: {}: {reason}", file.display())]
    Key {
        /// Index of the pair, from 0.
        number: usize,
        /// Path of the file.
        file: PathBuf,
        /// Reason of the error.
        reason: String,
    },
    /// The authorities of client certificates cannot be used.
    #[error("tls.client_ca: {}: {reason}", file.display())]
    Authorities {
        /// Path of the file.
        file: PathBuf,
        /// Reason of the error.
        reason: String,
    },
    /// The parts do not fit together.
    #[error("tls: {0}")]
    Unusable(#[source] rustls::Error),
}
