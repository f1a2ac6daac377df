//! The files of TLS, followed while they serve.
//!
//! Whoever renews a certificate replaces two files, one after the other. Between the two they do
//! not go together; then, as with anything else that is wrong, the ones before serve on, and the
//! log says so.

use std::sync::mpsc::Receiver;

use super::watch::WatchedFiles;
use crate::config::model;
use crate::gateway::Tls;
use crate::gateway::reloads::Reloads;

/// The files of a configuration, and what was seen of them.
pub struct Followed(WatchedFiles);

impl Followed {
    /// Calls `changed` when something happens to the files of `tls`. To be called before they are read,
    /// or a change between the two would never be seen.
    pub fn new(tls: Option<&model::Tls>, changed: impl Fn() + Send + Sync + 'static) -> Self {
        let files = tls.map(model::Tls::files).unwrap_or_default();
        Followed(if tls.is_some_and(|tls| tls.watch) {
            WatchedFiles::watched(files, changed)
        } else {
            WatchedFiles::unwatched(files)
        })
    }

    /// Tells if the files are watched and one is another one than what was read.
    pub fn have_changed(&mut self) -> bool {
        self.0.is_watched() && self.0.have_changed()
    }

    /// As [`WatchedFiles::wait_for_quiet`].
    pub fn wait_for_quiet<T>(
        &mut self,
        events: &Receiver<T>,
        is_change: impl Fn(&T) -> bool,
    ) -> Option<T> {
        self.0.wait_for_quiet(events, is_change)
    }

    /// Reads them again. What comes of it is in the log and in the metrics.
    pub fn read_again(&mut self, tls: &Tls, reloads: &Reloads) {
        self.0.note_all();
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
