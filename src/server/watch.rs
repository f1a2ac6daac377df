//! Noticing that files have changed.
//!
//! The folders are watched and not the files, because a file is best replaced by renaming another
//! one to its name, and a watch would stay with the old one. What happens in a folder is only a
//! reason to look: whether a file is another one is told by its fingerprint, so that symbolic links
//! that are switched count, and a neighbour that changes does not.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use notify::{EventHandler, EventKind, PollWatcher, RecursiveMode, Watcher};

/// What tells one content of a file from another without reading it: device, inode, size, and when
/// it was modified (seconds and nanoseconds). `None` for a file that is not there.
pub type Fingerprint = Option<(u64, u64, u64, i64, i64)>;

/// How long files must have been left alone before they are read: a copy takes many steps.
const QUIET: Duration = Duration::from_millis(300);

/// Files that are never left alone are read after this long.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often files are looked at that cannot be watched.
const LOOK: Duration = Duration::from_secs(2);

/// Tells of changes as long as it lives.
pub type Watch = Box<dyn Watcher + Send + Sync>;

/// Files that belong together.
pub struct Files(Vec<PathBuf>);

impl Files {
    /// These files.
    pub fn new(files: Vec<PathBuf>) -> Self {
        Files(files)
    }

    /// What they are now.
    pub fn fingerprints(&self) -> Vec<Fingerprint> {
        self.0.iter().map(|file| fingerprint(file)).collect()
    }

    /// Updates the fingerprint of one of the files.
    pub fn note(&self, file: &Path, known: &mut [Fingerprint]) {
        for (own, known) in self.0.iter().zip(known) {
            if own == file {
                *known = fingerprint(file);
            }
        }
    }

    /// Waits until the files have been left alone for a while; what else was heard meanwhile than
    /// that something has changed. Their neighbours, a log perhaps, may go on changing.
    pub fn wait_for_quiet<E>(
        &self,
        events: &Receiver<E>,
        is_change: impl Fn(&E) -> bool,
    ) -> Option<E> {
        let start = Instant::now();
        let (mut since, mut last) = (start, self.fingerprints());
        while since.elapsed() < QUIET && start.elapsed() < PATIENCE {
            match events.recv_timeout(QUIET.saturating_sub(since.elapsed())) {
                Ok(event) if is_change(&event) => {
                    drop(event);
                    let now = self.fingerprints();
                    if now != last {
                        (since, last) = (Instant::now(), now);
                    }
                }
                Ok(event) => return Some(event),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
            }
        }
        None
    }

    /// Calls `changed` whenever something happens in their folders, until what is returned is
    /// dropped. The system has only so many watches for all programs of a user; without one, the
    /// folders are looked at every two seconds.
    ///
    /// # Errors
    /// If a folder cannot be looked at, either.
    pub fn watch(&self, changed: impl Fn() + Send + Sync + 'static) -> notify::Result<Watch> {
        let changed = Arc::new(changed);
        let watcher = notify::recommended_watcher(handler(&changed));
        let watched = watcher.and_then(|watcher| self.watched_by(Box::new(watcher)));
        watched.or_else(|error| {
            log::warn!("files are looked at now and then, because they cannot be watched: {error}");
            let config = notify::Config::default().with_poll_interval(LOOK);
            let watcher = PollWatcher::new(handler(&changed), config)?;
            self.watched_by(Box::new(watcher))
        })
    }

    fn watched_by(&self, mut watcher: Watch) -> notify::Result<Watch> {
        let folders: BTreeSet<_> = self.0.iter().filter_map(|file| file.parent()).collect();
        for folder in folders {
            let folder = if folder.as_os_str().is_empty() {
                Path::new(".")
            } else {
                folder
            };
            watcher.watch(folder, RecursiveMode::NonRecursive)?;
        }
        Ok(watcher)
    }
}

fn handler(changed: &Arc<impl Fn() + Send + Sync + 'static>) -> impl EventHandler {
    let changed = Arc::clone(changed);
    move |event: notify::Result<notify::Event>| {
        // Reading the files is an event as well.
        if !matches!(event, Ok(event) if matches!(event.kind, EventKind::Access(_))) {
            changed();
        }
    }
}

fn fingerprint(file: &Path) -> Fingerprint {
    let data = std::fs::metadata(file).ok()?;
    Some((
        data.dev(),
        data.ino(),
        data.size(),
        data.mtime(),
        data.mtime_nsec(),
    ))
}
