//! Outcomes of reloads, counted and dated for the metrics.
//!
//! A rejected reload changes nothing that a client could notice, so monitoring has to see it here:
//! a certificate whose renewal is rejected serves on until it expires.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::gateway::listener::tls::TlsError;

/// Reloads of everything but databases, which keep their own history.
#[derive(Debug)]
pub struct Reloads {
    /// The configuration as a whole.
    pub config: ReloadHistory,
    /// Certificates and keys of the listeners.
    pub server_certificates: ReloadHistory,
    /// Certificates of the authorities that clients' certificates are checked against.
    pub client_authorities: ReloadHistory,
}

impl Reloads {
    /// Creates the history without any reload. The start counts as the last success.
    #[must_use]
    pub fn starting_now() -> Self {
        Reloads {
            config: ReloadHistory::starting_now(),
            server_certificates: ReloadHistory::starting_now(),
            client_authorities: ReloadHistory::starting_now(),
        }
    }

    /// Records that all TLS files were read and are used.
    pub fn certificates_applied(&self) {
        self.server_certificates.applied();
        self.client_authorities.applied();
    }

    /// Records that TLS files were read and one of them cannot be used.
    pub fn certificates_rejected(&self, error: &TlsError) {
        match error {
            TlsError::Authorities { .. } => self.client_authorities.rejected(),
            TlsError::Chain { .. } | TlsError::Key { .. } | TlsError::Unusable(_) => {
                self.server_certificates.rejected();
            }
        }
    }
}

/// Reloads of one kind. Times are seconds since 1970.
#[derive(Debug)]
pub struct ReloadHistory {
    applied: AtomicU64,
    rejected: AtomicU64,
    last_applied: AtomicU64,
    last_rejected: AtomicU64,
    is_last_applied: AtomicBool,
}

/// The values of a [`ReloadHistory`] at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReloadStatus {
    /// Reloads that took effect.
    pub applied: u64,
    /// Reloads that changed nothing because of an error.
    pub rejected: u64,
    /// Time of the last reload that took effect, or of the start. Seconds since 1970.
    pub last_applied: u64,
    /// Time of the last rejected reload, seconds since 1970; 0 if there was none.
    pub last_rejected: u64,
    /// True if the last reload took effect, or there was none.
    pub is_last_applied: bool,
}

impl ReloadHistory {
    fn starting_now() -> Self {
        ReloadHistory {
            applied: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            last_applied: AtomicU64::new(now()),
            last_rejected: AtomicU64::new(0),
            is_last_applied: AtomicBool::new(true),
        }
    }

    /// Records a reload that took effect.
    pub fn applied(&self) {
        self.last_applied.store(now(), Relaxed);
        self.is_last_applied.store(true, Relaxed);
        self.applied.fetch_add(1, Relaxed);
    }

    /// Records a reload that changed nothing.
    pub fn rejected(&self) {
        self.last_rejected.store(now(), Relaxed);
        self.is_last_applied.store(false, Relaxed);
        self.rejected.fetch_add(1, Relaxed);
    }

    /// Returns the history so far.
    #[must_use]
    pub fn status(&self) -> ReloadStatus {
        ReloadStatus {
            applied: self.applied.load(Relaxed),
            rejected: self.rejected.load(Relaxed),
            last_applied: self.last_applied.load(Relaxed),
            last_rejected: self.last_rejected.load(Relaxed),
            is_last_applied: self.is_last_applied.load(Relaxed),
        }
    }
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_is_a_success_and_no_reload() {
        let status = Reloads::starting_now().config.status();
        assert_eq!((status.applied, status.rejected), (0, 0));
        assert!(status.last_applied > 0);
        assert_eq!(status.last_rejected, 0);
    }

    #[test]
    fn a_rejection_counts_for_the_kind_of_file_that_is_wrong() {
        let reloads = Reloads::starting_now();
        reloads.certificates_applied();
        reloads.certificates_rejected(&TlsError::Authorities {
            file: "ca.pem".into(),
            reason: String::new(),
        });
        let (server, clients) = (
            reloads.server_certificates.status(),
            reloads.client_authorities.status(),
        );
        assert_eq!((server.applied, server.rejected), (1, 0));
        assert_eq!((clients.applied, clients.rejected), (1, 1));
        assert!(server.is_last_applied && !clients.is_last_applied);
        assert!(clients.last_rejected > 0);
    }
}
