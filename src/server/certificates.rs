//! Watch on the TLS files, which are read again when they change.
//!
//! A certificate renewal replaces two files, one after the other, and between these two steps they
//! do not match. In that case, as with any other error, the previous certificates stay in use and
//! the error is logged.

use std::sync::mpsc::Receiver;

use crate::config::model;
use crate::gateway::listener::tls::Tls;
use crate::gateway::telemetry::reloads::Reloads;
use crate::server::watch::WatchedFiles;

/// The TLS files of a configuration, and their state when they were read last.
pub struct Followed(WatchedFiles);

impl Followed {
    /// Calls `changed` when the files of `tls` may have changed. Create it before the files are
    /// read; otherwise a change between the two would be missed.
    pub fn new(tls: Option<&model::Tls>, changed: impl Fn() + Send + Sync + 'static) -> Self {
        let files = tls.map(model::Tls::files).unwrap_or_default();
        Followed(if tls.is_some_and(|tls| tls.watch) {
            WatchedFiles::watched(files, changed)
        } else {
            WatchedFiles::unwatched(files)
        })
    }

    /// Returns `true` if the files are watched and one differs from the file that was read.
    pub fn have_changed(&mut self) -> bool {
        self.0.is_watched() && self.0.have_changed()
    }

    /// Same as [`WatchedFiles::wait_for_quiet`].
    pub fn wait_for_quiet<T>(
        &mut self,
        events: &Receiver<T>,
        is_change: impl Fn(&T) -> bool,
    ) -> Option<T> {
        self.0.wait_for_quiet(events, is_change)
    }

    /// Reads the files again. The outcome goes to the log and the metrics.
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
