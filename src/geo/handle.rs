//! Handle of a running gateway to its database.
//!
//! A reader takes the current database with one atomic load and may keep it as long as it needs; a
//! writer swaps in the next one. Neither ever waits for the other. The handle also counts the
//! outcomes of the swaps for the metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::{ArcSwap, Guard};

use super::database::Database;

/// The database that is served now, with counters of its replacements.
pub struct DatabaseHandle {
    current: ArcSwap<Database>,
    /// Load time of the current database, in seconds since 1970.
    since: AtomicU64,
    replaced: AtomicU64,
    refused: AtomicU64,
    missed: AtomicU64,
    retired: AtomicU64,
}

/// Counters of replacements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    /// Load time of the current database, in seconds since 1970.
    pub since: u64,
    /// Number of databases that replaced another one.
    pub replaced: u64,
    /// Number of new databases that could not be loaded or were rejected.
    pub refused: u64,
    /// Number of failed downloads of published databases.
    pub missed: u64,
    /// Number of replaced databases that are still in memory.
    pub retired: u64,
}

impl DatabaseHandle {
    /// Serves `database` until it is replaced.
    #[must_use]
    pub fn new(database: Database) -> Self {
        DatabaseHandle {
            current: ArcSwap::from_pointee(database),
            since: AtomicU64::new(now()),
            replaced: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            missed: AtomicU64::new(0),
            retired: AtomicU64::new(0),
        }
    }

    /// Returns the current database for a short time: faster than [`DatabaseHandle::current`], but the guard
    /// must be dropped soon.
    #[must_use]
    pub fn load(&self) -> Guard<Arc<Database>> {
        self.current.load()
    }

    /// Returns the current database. It stays in memory as long as the reference is held, so do not
    /// hold it while waiting for a client.
    #[must_use]
    pub fn current(&self) -> Arc<Database> {
        self.current.load_full()
    }

    /// Serves `database` from now on, and returns the previous one. Requests in flight finish with
    /// the database that they began with.
    pub fn replace(&self, database: Database) -> Arc<Database> {
        let before = self.current.swap(Arc::new(database));
        self.since.store(now(), Ordering::Relaxed);
        self.replaced.fetch_add(1, Ordering::Relaxed);
        before
    }

    /// Counts a new database that could not be loaded or was rejected.
    pub fn note_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a failed download.
    pub fn note_missed(&self) {
        self.missed.fetch_add(1, Ordering::Relaxed);
    }

    /// Records the number of replaced databases that are still in memory.
    pub fn note_retired(&self, count: usize) {
        self.retired.store(count as u64, Ordering::Relaxed);
    }

    /// Returns the counters.
    #[must_use]
    pub fn history(&self) -> History {
        History {
            since: self.since.load(Ordering::Relaxed),
            replaced: self.replaced.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            missed: self.missed.load(Ordering::Relaxed),
            retired: self.retired.load(Ordering::Relaxed),
        }
    }
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}
