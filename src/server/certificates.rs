//! The files of TLS, followed while they serve.
//!
//! Whoever renews a certificate replaces two files, one after the other. Between the two they do
//! not go together; then, as with anything else that is wrong, the ones before serve on, and the
//! log says so.

use std::sync::mpsc::Receiver;

use super::watch::{Files, Fingerprint, Watch};
use crate::config::model;
use crate::gateway::Tls;
use crate::gateway::reloads::Reloads;

/// The files of a configuration, and what was seen of them.
pub struct Followed {
    files: Files,
    /// What they were before they were read last.
    known: Vec<Fingerprint>,
    watcher: Option<Watch>,
}

impl Followed {
    /// Calls `changed` when something happens where the files of `tls` are. To be called before they
    /// are read, or a change between the two would never be seen.
    pub fn new(tls: Option<&model::Tls>, changed: impl Fn() + Send + Sync + 'static) -> Self {
        let files = Files::new(tls.map(model::Tls::files).unwrap_or_default());
        let watch = tls.is_some_and(|tls| tls.watch);
        Followed {
            watcher: watch.then(|| watcher(&files, changed)).flatten(),
            known: files.fingerprints(),
            files,
        }
    }

    /// Tests for a watched file that differs from what was read.
    pub fn have_changed(&self) -> bool {
        self.watcher.is_some() && self.files.fingerprints() != self.known
    }

    /// As [`Files::wait_for_quiet`].
    pub fn wait_for_quiet<T>(
        &self,
        events: &Receiver<T>,
        is_change: impl Fn(&T) -> bool,
    ) -> Option<T> {
        self.files.wait_for_quiet(events, is_change)
    }

    /// Reads them again. What comes of it is in the log and in the metrics.
    pub fn read_again(&mut self, tls: &Tls, reloads: &Reloads) {
        self.known = self.files.fingerprints();
        match tls.reload() {
            Ok(()) => {
                reloads.certificates_applied();
                log::info!("certificates were read again");
                tls.warn();
            }
            Err(error) => {
                reloads.certificates_rejected(&error);
                log::error!("the certificates before serve on: {error}");
            }
        }
    }
}

fn watcher(files: &Files, changed: impl Fn() + Send + Sync + 'static) -> Option<Watch> {
    files
        .watch(changed)
        .inspect_err(|error| {
            log::warn!("certificates are not watched: {error}; a reload (HUP) reads them");
        })
        .ok()
}
