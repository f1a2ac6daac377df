//! What one configuration makes of requests.
//!
//! A request is served with the settings that were there when it came, to its end. A new
//! configuration makes new settings, complete, before anyone sees them; what upstreams have learned
//! of their peers goes over to them.

use std::path::PathBuf;
use std::sync::Arc;

use super::access_log::Lines;
use super::error_page::ErrorPages;
use super::geo_headers::LocationHeaders;
use super::upstream::Pool;
use crate::config::Config;
use crate::config::model::{Client, ClientIp, RequestIds, Tracing};

/// Why a configuration that is right in itself cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The user's error page cannot be read.
    #[error("error page {}: {error}", file.display())]
    ErrorPage {
        /// The file.
        file: PathBuf,
        /// What the system says.
        #[source]
        error: std::io::Error,
    },
}

/// Everything that a configuration says about requests, ready to be used.
pub struct Settings {
    pub(super) client: Client,
    pub(super) client_ip: ClientIp,
    pub(super) location_headers: LocationHeaders,
    pub(super) pools: Vec<Arc<Pool>>,
    pub(super) error_pages: ErrorPages,
    pub(super) lines: Lines,
    pub(super) request_ids: Option<RequestIds>,
    pub(super) tracing: Tracing,
}

impl Settings {
    /// The settings of `config`. Pools that are the same as `before` are taken over.
    ///
    /// # Errors
    /// If a file that the configuration names cannot be used.
    pub fn new(config: &Config, before: Option<&Settings>) -> Result<Self, SettingsError> {
        let pool = |upstream| {
            let pools = before.map_or(&[][..], |before| &before.pools);
            let same = pools.iter().find(|pool| pool.is_for(upstream));
            same.map_or_else(|| Arc::new(Pool::new(upstream)), Arc::clone)
        };
        let error_pages = ErrorPages::load(config.error_page.as_deref());
        let error_pages = error_pages.map_err(|error| SettingsError::ErrorPage {
            file: config.error_page.clone().unwrap_or_default(),
            error,
        })?;
        Ok(Settings {
            client: config.client.clone(),
            client_ip: config.client_ip.clone(),
            location_headers: LocationHeaders::new(&config.geo_headers),
            pools: config.upstreams.iter().map(pool).collect(),
            error_pages,
            lines: Lines::new(&config.access_log),
            request_ids: config.request_ids.clone(),
            tracing: config.tracing.clone(),
        })
    }

    /// The upstreams that requests go to, in the order of the configuration.
    #[must_use]
    pub fn pools(&self) -> &[Arc<Pool>] {
        &self.pools
    }
}
