//! What happens to a connection.
//!
//! The [`lane`] takes every connection and answers plain IP queries at once; all else goes through
//! the phases of the [`proxy`]. Both are a few calls to the modules beside them, which decide with
//! values and pure functions and know no session, so that the doors cannot differ.

pub mod access_log;
pub mod client_ip;
pub mod drain;
pub mod error_page;
pub mod geo_headers;
pub mod lane;
mod message;
pub mod metrics;
pub mod proxy;
mod shard;
pub mod upstream;

use std::sync::Arc;

pub use drain::Drain;
pub use lane::Lane;
pub use metrics::Metrics;
pub use proxy::Proxy;

use crate::config::Config;
use crate::config::model::{Client, ClientIp};
use crate::geo::Live;
use access_log::{AccessLog, Entry};
use error_page::ErrorPages;
use geo_headers::LocationHeaders;
use metrics::Kind;
use upstream::Pool;

/// Everything that a request needs. One for all connections and both doors.
pub struct Gateway {
    client: Client,
    client_ip: ClientIp,
    location_headers: LocationHeaders,
    upstream: Option<Pool>,
    error_pages: ErrorPages,
    access_log: Arc<AccessLog>,
    metrics: Metrics,
    database: Arc<Live>,
    drain: Arc<Drain>,
}

impl Gateway {
    /// A gateway for `config` that answers from `database`.
    ///
    /// # Errors
    /// If the user's error page cannot be read.
    pub fn new(
        config: &Config,
        database: Arc<Live>,
        access_log: Arc<AccessLog>,
        drain: Arc<Drain>,
    ) -> std::io::Result<Self> {
        Ok(Gateway {
            client: config.client.clone(),
            client_ip: config.client_ip.clone(),
            location_headers: LocationHeaders::new(&config.geo_headers),
            upstream: config.upstream.as_ref().map(Pool::new),
            error_pages: ErrorPages::load(config.error_page.as_deref())?,
            access_log,
            metrics: Metrics::default(),
            database,
            drain,
        })
    }

    /// What was counted so far.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The peers that requests go to, if there are any.
    #[must_use]
    pub fn upstream(&self) -> Option<&Pool> {
        self.upstream.as_ref()
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
    fn finish(&self, kind: Kind, entry: &Entry) {
        self.metrics
            .request(kind, entry.status, entry.body_bytes, entry.request_time);
        self.access_log.log(entry);
    }
}
