//! What happens to a connection.
//!
//! The [`lane`] takes every connection and answers plain IP queries at once; all else goes through
//! the phases of the [`proxy`]. Both are a few calls to the modules beside them, which decide with
//! values and pure functions and know no session, so that the doors cannot differ.

pub mod access_log;
pub mod client_ip;
mod context;
pub mod drain;
pub mod error_page;
mod failure;
pub mod geo_headers;
mod host;
mod identity;
pub mod lane;
mod message;
pub mod metrics;
mod own;
pub mod proxy;
mod random;
mod request_id;
mod settings;
mod shard;
pub mod syslog;
mod trace_context;
pub mod upstream;
mod variables;

use std::sync::Arc;

pub use drain::Drain;
pub use lane::Lane;
pub use metrics::Metrics;
pub use proxy::Proxy;

pub use settings::{Settings, SettingsError};

use arc_swap::{ArcSwap, Guard};

use crate::geo::Live;
use access_log::{AccessLog, Entry};
use client_ip::HeaderLines;
use metrics::Kind;

/// Everything that a request needs. One for all connections and both doors.
pub struct Gateway {
    settings: ArcSwap<Settings>,
    access_log: Arc<AccessLog>,
    metrics: Metrics,
    database: Arc<Live>,
    drain: Arc<Drain>,
}

impl Gateway {
    /// A gateway that serves with `settings` and answers from `database`.
    #[must_use]
    pub fn new(
        settings: Settings,
        database: Arc<Live>,
        access_log: Arc<AccessLog>,
        drain: Arc<Drain>,
    ) -> Self {
        Gateway {
            settings: ArcSwap::from_pointee(settings),
            access_log,
            metrics: Metrics::default(),
            database,
            drain,
        }
    }

    /// What requests are served with that come now. Not to be held for long: a request that is
    /// proxied has an `Arc` of its own.
    #[must_use]
    pub fn settings(&self) -> Guard<Arc<Settings>> {
        self.settings.load()
    }

    /// From now on requests are served with these.
    pub fn replace_settings(&self, settings: Settings) {
        self.settings.store(Arc::new(settings));
    }

    /// What was counted so far.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The log of requests.
    #[must_use]
    pub fn access_log(&self) -> &AccessLog {
        &self.access_log
    }

    /// The database that answers.
    #[must_use]
    pub fn database(&self) -> &Live {
        &self.database
    }

    /// Whether the gateway is on its way out.
    #[must_use]
    pub fn drain(&self) -> &Drain {
        &self.drain
    }

    /// Every request ends here, from either door: counted, and logged.
    fn finish<H: HeaderLines>(&self, settings: &Settings, kind: Kind, entry: &Entry<H>) {
        self.metrics
            .request(kind, entry.status, entry.body_bytes, entry.request_time);
        self.access_log.log(&settings.lines, entry);
    }
}
