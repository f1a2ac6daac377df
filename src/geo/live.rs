//! The handle through which a running gateway reaches its database.
//!
//! A reader takes the current database with one atomic load and keeps it for as long as it likes;
//! a writer swaps in the next one. Nobody waits for anybody. How the swaps went is remembered for
//! whoever asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::{ArcSwap, Guard};

use super::database::Database;

/// The database that is served now.
pub struct Live {
    current: ArcSwap<Database>,
    /// Seconds since 1970.
    since: AtomicU64,
    replaced: AtomicU64,
    refused: AtomicU64,
    missed: AtomicU64,
    retired: AtomicU64,
}

/// How it went so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    /// When the current database came, in seconds since 1970.
    pub since: u64,
    /// How many databases took the place of another.
    pub replaced: u64,
    /// How many were not good enough for that.
    pub refused: u64,
    /// How many could not be fetched from where they are published.
    pub missed: u64,
    /// How many that were replaced are still in memory.
    pub retired: u64,
}

impl Live {
    /// Serves `database` until it is replaced.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Live {
            current: ArcSwap::from_pointee(database),
            since: AtomicU64::new(now()),
            replaced: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            missed: AtomicU64::new(0),
            retired: AtomicU64::new(0),
        }
    }

    /// The current database for a moment: quicker than [`Live::current`], but to be let go of soon.
    #[must_use]
    pub fn load(&self) -> Guard<Arc<Database>> {
        self.current.load()
    }

    /// The current database. It stays in memory for whoever holds it, so it is not to be held while a
    /// client is waited for.
    #[must_use]
    pub fn current(&self) -> Arc<Database> {
        self.current.load_full()
    }

    /// Serves `database` from now on. Requests under way finish on the one that they began with,
    /// which is returned.
    pub fn replace(&self, database: Database) -> Arc<Database> {
        let before = self.current.swap(Arc::new(database));
        self.since.store(now(), Ordering::Relaxed);
        self.replaced.fetch_add(1, Ordering::Relaxed);
        before
    }

    /// Notes that a database was not good enough to replace the current one.
    pub fn note_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that a database could not be fetched.
    pub fn note_missed(&self) {
        self.missed.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes how many databases that were replaced are still in memory.
    pub fn note_retired(&self, count: usize) {
        self.retired.store(count as u64, Ordering::Relaxed);
    }

    /// How it went so far.
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
