//! The handle through which a running gateway reaches its database.
//!
//! A reader takes the current database with one atomic load and keeps it for as long as it likes;
//! a writer swaps in the next one. Nobody waits for anybody.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use super::database::Database;

/// The database that is served now.
pub struct Live {
    current: ArcSwap<Database>,
}

impl Live {
    /// Serves `database` until it is replaced.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Live {
            current: ArcSwap::from_pointee(database),
        }
    }

    /// The current database for a moment: quicker than [`Live::current`], but to be let go of soon.
    #[must_use]
    pub fn load(&self) -> Guard<Arc<Database>> {
        self.current.load()
    }

    /// The current database. It stays as it is for whoever holds it, so hold it for one request.
    #[must_use]
    pub fn current(&self) -> Arc<Database> {
        self.current.load_full()
    }

    /// Serves `database` from now on. Requests under way finish on the one that they began with.
    pub fn replace(&self, database: Database) {
        self.current.store(Arc::new(database));
    }
}
