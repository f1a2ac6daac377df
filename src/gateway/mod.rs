//! Gateway: connections, requests and responses.
//!
//! The [`downstream`] accepts every connection and answers plain IP queries at once. `exchange` serves all
//! other requests: its steps (decide, edit heads, judge tries, log) are values and pure functions, and
//! its engine, `exchange::forward`, carries them out between a client and a peer of any version of
//! HTTP, by bytes that it reads and writes itself. pingora has the listeners, TLS and the connections
//! to peers, and the h2 crate has the frames of HTTP/2.
//!
//! A folder names only those below it; `tests/architecture.rs` enforces it:
//!
//! ```text
//! downstream   sockets -> heads: PROXY header, TLS, the version of HTTP, rejected connections
//! exchange     one request: decision, attempts, bytes both ways, its line in the log
//! respond      replies of the gateway itself, as values: pages, redirects, answers, files
//! context      state of one request
//! settings     one configuration at work
//! route        the route of a request
//! upstream     peers: selection, health, retries, idle connections
//! telemetry    metrics, access log, failures, reloads, heartbeats
//! failure      reasons of failed requests
//! access       access rules, rate limits, concurrency limits
//! compression  bodies that are encoded on their way
//! request      client, identity, variables, changes to header lines
//! listener     properties of listeners, TLS with clients
//! ```

pub mod access;
mod compression;
mod context;
pub mod downstream;
pub mod error_page;
mod exchange;
mod failure;
pub mod listener;
mod pingora_headers;
mod plain_stream;
pub mod request;
mod respond;
mod route;
mod settings;
mod shard;
pub mod telemetry;
pub mod upstream;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

pub use downstream::Downstream;
pub use settings::{Settings, SettingsError};

use arc_swap::{ArcSwap, Guard};

use self::access::Overload;
use self::access::drain::Drain;
use self::telemetry::access_log::{AccessLog, Entry, Pending};
use self::telemetry::failure_log::FailureLog;
use self::telemetry::heartbeat::Heartbeats;
use self::telemetry::metrics::{Kind, Metrics};
use self::telemetry::reloads::Reloads;
use crate::geo::DatabaseHandle;
use crate::proto::headers::Headers;

/// State that all connections and engines share.
pub struct Gateway {
    settings: ArcSwap<Settings>,
    /// Access logs, including those of previous settings until all their lines are written.
    logs: Mutex<Vec<Pending>>,
    metrics: Metrics,
    database: Arc<DatabaseHandle>,
    drain: Arc<Drain>,
    load: Overload,
    failures: FailureLog,
    heartbeats: Heartbeats,
    reloads: Reloads,
}

impl Gateway {
    /// Creates a gateway that uses `settings` and answers from `database`.
    #[must_use]
    pub fn new(settings: Settings, database: Arc<DatabaseHandle>, drain: Arc<Drain>) -> Self {
        Gateway {
            logs: Mutex::new(
                settings
                    .access_logs
                    .all()
                    .iter()
                    .map(AccessLog::pending)
                    .collect(),
            ),
            settings: ArcSwap::from_pointee(settings),
            metrics: Metrics::default(),
            database,
            drain,
            load: Overload::default(),
            failures: FailureLog::default(),
            heartbeats: Heartbeats::default(),
            reloads: Reloads::starting_now(),
        }
    }

    /// Returns the settings for new requests. The guard must not be held for long: a proxied
    /// request has its own `Arc`.
    #[must_use]
    pub fn settings(&self) -> Guard<Arc<Settings>> {
        self.settings.load()
    }

    /// Replaces the settings for new requests. Returns the previous settings, which requests in
    /// flight still use.
    pub fn replace_settings(&self, settings: Settings) -> Arc<Settings> {
        let new = settings.access_logs.all();
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        logs.retain(|other| !other.is_over() && !new.iter().any(|log| other.is_of(log)));
        logs.extend(new.iter().map(AccessLog::pending));
        drop(logs);
        let settings = Arc::new(settings);
        let before = self.settings.swap(Arc::clone(&settings));
        let stays = |pool| {
            settings
                .pools()
                .iter()
                .any(|known| Arc::ptr_eq(known, pool))
        };
        for pool in before.pools().iter().filter(|pool| !stays(pool)) {
            pool.retire();
        }
        before
    }

    /// Opens the file or socket of every access log again; see
    /// [`AccessLog::reopen`](telemetry::access_log::AccessLog::reopen).
    pub fn reopen_access_logs(&self) {
        let logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        let open: Vec<_> = logs.iter().filter_map(Pending::log).collect();
        drop(logs);
        for log in open {
            log.reopen();
        }
    }

    /// Waits until all lines logged so far are written, those of replaced access logs too, or until
    /// `deadline`. Returns the number of lines of each log that are not written.
    pub fn flush_access_logs(&self, deadline: Instant) -> Vec<u64> {
        // A reload must not wait for the writers.
        let logs = self
            .logs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        logs.iter().map(|log| log.flush(deadline)).collect()
    }

    /// Returns the counters.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Returns the database.
    #[must_use]
    pub fn database(&self) -> &DatabaseHandle {
        &self.database
    }

    /// Returns the state of the shutdown.
    #[must_use]
    pub fn drain(&self) -> &Drain {
        &self.drain
    }

    /// Returns the current load.
    #[must_use]
    pub fn load(&self) -> &Overload {
        &self.load
    }

    /// Returns the heartbeats of the worker threads.
    #[must_use]
    pub fn heartbeats(&self) -> &Heartbeats {
        &self.heartbeats
    }

    /// Returns the outcomes of reloads so far.
    #[must_use]
    pub fn reloads(&self) -> &Reloads {
        &self.reloads
    }

    /// Counts and logs a finished request. `logs` are those of its route, if that names some.
    fn finish<H: Headers>(
        &self,
        settings: &Settings,
        kind: Kind,
        logs: Option<&[usize]>,
        entry: &Entry<H>,
    ) {
        self.metrics
            .request(kind, entry.status, entry.body_bytes, entry.request_time);
        settings.access_logs.log(logs, entry);
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use crate::config::{Overrides, parse};

    /// A gateway with this configuration and a database of one network, 1.0.0.0/24 in Fuzhou.
    pub fn gateway(config: &str) -> Gateway {
        let text = format!("[access_log]\ntarget = 'off'\n{config}");
        let config = parse(&text, "test", &Overrides::default()).unwrap();
        let settings = Settings::new(&config, None).unwrap();
        let database = Arc::new(DatabaseHandle::new(request::variables::tests::database()));
        Gateway::new(settings, database, Arc::default())
    }

    /// The first upstream of this configuration.
    pub fn pool(config: &str) -> Arc<upstream::Pool> {
        Arc::clone(&gateway(config).settings().pools[0])
    }
}
