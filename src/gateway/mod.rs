//! What happens to a connection.
//!
//! The [`lane`] takes every connection and answers plain IP queries at once; all else goes through
//! the phases of the [`proxy`]. Both are a few calls to the modules beside them. What is to be
//! decided there, values and pure functions decide that know no session, so that the doors cannot
//! differ; the few that do know one only carry it out (`admission`, `own`, `files`, `message`).
//!
//! - How it comes in: `listeners`, [`proxy_protocol`], [`tls`], `https`, `strict`, `pace`.
//! - Who it is from: [`client_ip`], `identity` with `request_id` and `trace_context`.
//! - Whether it may come: [`policy`] and [`limit`], by way of `admission`.
//! - What answers it: `route`, then `own`, `files` or [`upstream`]; `attempt` decides what follows
//!   when a peer fails; if all fails `failure` and [`error_page`].
//! - What is changed on the way: [`geo_headers`], `header_rules`, `variables`, `compression`,
//!   `hsts`.
//! - What is left of it: [`metrics`], [`access_log`], [`syslog`], [`log_file`]; if it failed
//!   `failure_reason` and `failure_log`; of reloads, [`reloads`].
//! - Access to the admin listener: `admin_access`.
//! - What all of this stands on: `settings`, one configuration at work, `context`, one request,
//!   and [`drain`], the way out, and [`heartbeat`], whether workers get on.

pub mod access_log;
mod admin_access;
mod admission;
mod attempt;
pub mod client_ip;
mod compression;
mod context;
pub mod drain;
pub mod error_page;
mod failure;
mod failure_log;
mod failure_reason;
mod files;
pub mod geo_headers;
mod header_rules;
pub mod heartbeat;
mod host;
mod hsts;
mod http10;
mod https;
mod identity;
pub mod lane;
pub mod limit;
mod listeners;
pub mod log_file;
mod message;
pub mod metrics;
mod own;
mod pace;
pub mod policy;
pub mod proxy;
pub mod proxy_protocol;
pub(crate) mod quality;
mod random;
pub mod reloads;
mod request_id;
mod response_bytes;
mod response_head;
mod route;
mod settings;
mod shard;
mod strict;
pub mod syslog;
pub mod tls;
mod trace_context;
pub mod upstream;
mod variables;

use std::sync::{Arc, Mutex, PoisonError, Weak};

pub use admin_access::AdminAccess;
pub use drain::Drain;
pub use lane::Lane;
pub use metrics::Metrics;
pub use proxy::Proxy;
pub use settings::{Settings, SettingsError};
pub use tls::Tls;

use arc_swap::{ArcSwap, Guard};

use crate::geo::Live;
use access_log::{AccessLog, Entry};
use client_ip::HeaderLines;
use failure_log::FailureLog;
use heartbeat::Heartbeats;
use limit::Load;
use metrics::Kind;
use reloads::Reloads;

/// Everything that a request needs. One for all connections and both doors.
pub struct Gateway {
    settings: ArcSwap<Settings>,
    /// Of the settings before, too, while a request is served with them.
    logs: Mutex<Vec<Weak<AccessLog>>>,
    metrics: Metrics,
    database: Arc<Live>,
    drain: Arc<Drain>,
    load: Load,
    failures: FailureLog,
    heartbeats: Heartbeats,
    reloads: Reloads,
}

impl Gateway {
    /// A gateway that serves with `settings` and answers from `database`.
    #[must_use]
    pub fn new(settings: Settings, database: Arc<Live>, drain: Arc<Drain>) -> Self {
        Gateway {
            logs: Mutex::new(vec![Arc::downgrade(&settings.access_log)]),
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

    /// What requests are served with that come now. Not to be held for long: a request that is
    /// proxied has an `Arc` of its own.
    #[must_use]
    pub fn settings(&self) -> Guard<Arc<Settings>> {
        self.settings.load()
    }

    /// From now on requests are served with these; the ones before, which requests under way still
    /// have.
    pub fn replace_settings(&self, settings: Settings) -> Arc<Settings> {
        let log = Arc::downgrade(&settings.access_log);
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        logs.retain(|other| other.strong_count() > 0 && !other.ptr_eq(&log));
        logs.push(log);
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

    /// Every access log that a request may still be written to.
    pub fn access_logs(&self) -> Vec<Arc<AccessLog>> {
        let logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        logs.iter().filter_map(Weak::upgrade).collect()
    }

    /// What was counted so far.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
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

    /// How much there is to do.
    #[must_use]
    pub fn load(&self) -> &Load {
        &self.load
    }

    /// Signs of life of the worker threads.
    #[must_use]
    pub fn heartbeats(&self) -> &Heartbeats {
        &self.heartbeats
    }

    /// Outcomes of reloads so far.
    #[must_use]
    pub fn reloads(&self) -> &Reloads {
        &self.reloads
    }

    /// Every request ends here, from either door: counted, and logged.
    fn finish<H: HeaderLines>(&self, settings: &Settings, kind: Kind, entry: &Entry<H>) {
        self.metrics
            .request(kind, entry.status, entry.body_bytes, entry.request_time);
        settings.access_log.log(entry);
    }
}
