//! Gateway: connections, requests and responses.
//!
//! The [`downstream`] accepts every connection and answers plain IP queries at once. `exchange` serves all
//! other requests: its steps (decide, edit heads, judge tries, log) are values and pure functions, and
//! its engine, `exchange::forward`, carries them out between a client and a peer of any version of
//! HTTP, by bytes that it reads and writes itself. pingora has the listeners, TLS and the connections
//! to peers, and the h2 crate has the frames of HTTP/2.
//!
//! The modules:
//!
//! - Connections: `listeners`, [`proxy_protocol`], [`tls`], `https`, `strict`, `min_rate`.
//! - Requests: `exchange`; `request_view` is a request as all decisions see it.
//! - Origin of a request: [`client_ip`], `identity` with `request_id` and `trace_context`.
//! - Access and limits: [`policy`] and [`limit`], applied by `admission`.
//! - Responses: `route`, then `local_reply`, `files` or [`upstream`]; `failure` and [`error_page`] respond if everything fails.
//! - Changes to messages: [`geo_headers`], `header_rules`, `variables`, `compression`, `hsts`.
//! - Observability: [`metrics`], [`access_log`], [`syslog`], [`log_file`]; `failure_reason` and
//!   `failure_log` for failed requests; [`reloads`] for reloads; [`heartbeat`] for stuck workers.
//! - Access to the admin listener: `admin_access`.
//! - State: `settings` of one configuration, `context` of one request, and [`drain`] for the
//!   shutdown.

pub mod access_log;
mod admin_access;
mod admission;
pub mod client_ip;
mod compression;
mod context;
pub mod downstream;
pub mod drain;
pub mod error_page;
mod exchange;
mod failure;
mod failure_log;
mod failure_reason;
mod files;
pub mod geo_headers;
mod header_rules;
pub mod heartbeat;
mod host;
mod hsts;
mod https;
mod identity;
pub mod limit;
mod listeners;
mod local_reply;
pub mod log_file;
pub mod metrics;
mod min_rate;
mod pingora_headers;
mod place_cache;
pub mod policy;
pub mod proxy_protocol;
pub(crate) mod quality;
mod random;
mod rejection_counter;
pub mod reloads;
mod request_id;
mod request_view;
mod route;
mod settings;
mod shard;
mod strict;
pub mod syslog;
pub mod tls;
mod trace_context;
pub mod upstream;
mod variables;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

pub use admin_access::AdminAccess;
pub use downstream::Downstream;
pub use drain::Drain;
pub use metrics::Metrics;
pub use settings::{Settings, SettingsError};
pub use tls::Tls;

use arc_swap::{ArcSwap, Guard};

use crate::geo::DatabaseHandle;
use crate::proto::headers::Headers;
use access_log::{Entry, Pending};
use failure_log::FailureLog;
use heartbeat::Heartbeats;
use limit::Load;
use metrics::Kind;
use reloads::Reloads;

/// State that all connections and engines share.
pub struct Gateway {
    settings: ArcSwap<Settings>,
    /// Access logs, including those of previous settings until all their lines are written.
    logs: Mutex<Vec<Pending>>,
    metrics: Metrics,
    database: Arc<DatabaseHandle>,
    drain: Arc<Drain>,
    load: Load,
    failures: FailureLog,
    heartbeats: Heartbeats,
    reloads: Reloads,
}

impl Gateway {
    /// Creates a gateway that uses `settings` and answers from `database`.
    #[must_use]
    pub fn new(settings: Settings, database: Arc<DatabaseHandle>, drain: Arc<Drain>) -> Self {
        Gateway {
            logs: Mutex::new(vec![settings.access_log.pending()]),
            settings: ArcSwap::from_pointee(settings),
            metrics: Metrics::default(),
            database,
            drain,
            load: Load::default(),
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
        let log = &settings.access_log;
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        logs.retain(|other| !other.is_over() && !other.is_of(log));
        logs.push(log.pending());
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

    /// Opens the file or socket of every access log again; see [`access_log::AccessLog::reopen`].
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
        let logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
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
    pub fn load(&self) -> &Load {
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

    /// Counts and logs a finished request.
    fn finish<H: Headers>(&self, settings: &Settings, kind: Kind, entry: &Entry<H>) {
        self.metrics
            .request(kind, entry.status, entry.body_bytes, entry.request_time);
        settings.access_log.log(entry);
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
        let database = Arc::new(DatabaseHandle::new(variables::tests::database()));
        Gateway::new(settings, database, Arc::default())
    }

    /// The first upstream of this configuration.
    pub fn pool(config: &str) -> Arc<upstream::Pool> {
        Arc::clone(&gateway(config).settings().pools[0])
    }
}
