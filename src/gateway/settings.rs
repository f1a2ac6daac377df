//! What one configuration makes of requests.
//!
//! A request is served with the settings that were there when it came, to its end. A new
//! configuration makes new settings, complete, before anyone sees them; what upstreams have learned
//! of their peers goes over to them.

use std::path::PathBuf;
use std::sync::Arc;

use http::HeaderValue;

use super::access_log::AccessLog;
use super::admin_access::{AdminAccess, TokenError};
use super::client_ip::PeerAddr;
use super::error_page::ErrorPages;
use super::geo_headers::LocationHeaders;
use super::limit::{Ceilings, Gate, RouteGate, Rules};
use super::listeners::Listeners;
use super::route::{Route, Routes};
use super::tls::{Tls, TlsError};
use super::upstream::{Pool, Transport, TransportError};
use crate::config::Config;
use crate::config::model::{
    self, Client, ClientIp, Compression, Http2, Protocol, RequestIds, Tracing, Upstream,
};

/// Why a configuration that is right in itself cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A certificate, a key or the authorities of clients cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The access log cannot be opened.
    #[error("access log: {}: {error}", target.display())]
    AccessLog {
        /// The file.
        target: PathBuf,
        /// What the system says.
        #[source]
        error: std::io::Error,
    },
    /// The user's error page cannot be read.
    #[error("error page {}: {error}", file.display())]
    ErrorPage {
        /// The file.
        file: PathBuf,
        /// What the system says.
        #[source]
        error: std::io::Error,
    },
    /// The token of the admin listener cannot be read.
    #[error(transparent)]
    AdminToken(#[from] TokenError),
    /// An upstream's certificates cannot be read.
    #[error(transparent)]
    Upstream(#[from] TransportError),
}

/// Everything that a configuration says about requests, ready to be used.
pub struct Settings {
    pub(super) listeners: Listeners,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) http2: Http2,
    pub(super) client: Client,
    pub(super) client_ip: ClientIp,
    pub(super) location_headers: LocationHeaders,
    pub(super) pools: Vec<Arc<Pool>>,
    /// `None` if everything goes to the first upstream.
    pub(super) routes: Option<Routes>,
    /// Whether the straight path can speak to every upstream. The lane chooses a request's door before
    /// its upstream is known.
    pub(super) is_straight: bool,
    pub(super) error_pages: ErrorPages,
    pub(super) access_log: Arc<AccessLog>,
    pub(super) request_ids: Option<RequestIds>,
    pub(super) tracing: Tracing,
    pub(super) ceilings: Ceilings,
    /// What every request has to pass.
    pub(super) gate: Gate,
    /// What an IP query has to pass besides.
    pub(super) query_gate: Gate,
    rules: Rules,
    pub(super) compression: Compression,
    admin_access: AdminAccess,
}

impl Settings {
    /// The settings of `config`. Pools, rules and the log are taken over from `before` if they are the
    /// same, and listeners in any case: they stay what they were opened as. Pools that have changed know
    /// what was known of their peers.
    ///
    /// # Errors
    /// If a file that the configuration names cannot be used.
    pub fn new(config: &Config, before: Option<&Settings>) -> Result<Self, SettingsError> {
        let known = before.map_or(&[][..], |before| &before.pools);
        let pool = |upstream: &Upstream| {
            let transport = Transport::load(upstream)?;
            let before = known.iter().find(|pool| pool.name() == upstream.name);
            Ok(match before {
                Some(same) if same.is_for(upstream, &transport) => Arc::clone(same),
                _ => Arc::new(Pool::new(upstream, transport, before.map(AsRef::as_ref))),
            })
        };
        let is_http1 = |upstream: &Upstream| upstream.protocol == Protocol::Http1;
        let access_log = access_log(&config.access_log, before)?;
        let error_pages = ErrorPages::load(config.error_page.as_deref());
        let error_pages = error_pages.map_err(|error| SettingsError::ErrorPage {
            file: config.error_page.clone().unwrap_or_default(),
            error,
        })?;
        let admin_access = AdminAccess::load(&config.admin)?;
        let listeners = before.map_or_else(
            || Listeners::new(&config.server.listen),
            |before| before.listeners.clone(),
        );
        let tls_before = before.and_then(|before| before.tls.as_ref());
        let rules = Rules::new(config, before.map(|before| &before.rules));
        let gate = |route: &model::Route| {
            let mut known = before.into_iter().flat_map(Settings::routes);
            let same = known.find(|known| known.name == route.name);
            RouteGate::new(&route.limits, &rules, same.map(|known| &known.gate))
        };
        // Last, because with pools begins what asks for names and health.
        let pools = config.upstreams.iter().map(pool);
        let pools = pools.collect::<Result<Vec<_>, TransportError>>()?;
        Ok(Settings {
            listeners,
            tls: tls(config, tls_before)?,
            http2: config.http2.clone(),
            client: config.client.clone(),
            client_ip: config.client_ip.clone(),
            location_headers: LocationHeaders::new(&config.geo_headers),
            routes: Routes::new(&config.routes, &pools, gate),
            pools,
            is_straight: config.upstreams.iter().all(is_http1),
            error_pages,
            access_log,
            request_ids: config.request_ids.clone(),
            tracing: config.tracing.clone(),
            ceilings: Ceilings::new(&config.limits),
            gate: rules.gate(&config.limits.demands),
            query_gate: rules.gate(&config.query),
            rules,
            compression: config.compression.clone(),
            admin_access,
        })
    }

    /// What every answer over TLS carries, if anything.
    #[must_use]
    pub fn hsts(&self) -> Option<&HeaderValue> {
        self.tls.as_ref()?.hsts()
    }

    /// As [`Settings::hsts`], a line of an answer that is written by hand.
    pub(super) fn hsts_line(&self, is_tls: bool) -> Option<(&'static str, String)> {
        let value = self.hsts().filter(|_| is_tls)?.to_str().ok()?;
        Some(("Strict-Transport-Security", value.to_owned()))
    }

    /// Whether a header, by its name, is believed if `peer` sends it.
    pub(super) fn believes(&self, name: &str, peer: PeerAddr) -> bool {
        !self.client_ip.untrusted_headers.contains(name)
            || self.client_ip.trusted_proxies.contains(peer.ip())
    }

    /// TLS with clients, if it is spoken.
    #[must_use]
    pub fn tls(&self) -> Option<&Arc<Tls>> {
        self.tls.as_ref()
    }

    /// The upstreams that requests go to, in the order of the configuration.
    #[must_use]
    pub fn pools(&self) -> &[Arc<Pool>] {
        &self.pools
    }

    /// The routes that requests take, in the order of the configuration; none if all go to the first
    /// upstream.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter().flat_map(Routes::all)
    }

    /// The rules about who may come, and how often.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The most that there may be at a time.
    #[must_use]
    pub fn ceilings(&self) -> &Ceilings {
        &self.ceilings
    }

    /// Limits of a connection, and of what is sent on it.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Conditions for an answer of the admin listener.
    #[must_use]
    pub fn admin_access(&self) -> &AdminAccess {
        &self.admin_access
    }

    /// The log of requests.
    #[must_use]
    pub fn access_log(&self) -> &Arc<AccessLog> {
        &self.access_log
    }
}

fn access_log(
    config: &model::AccessLog,
    before: Option<&Settings>,
) -> Result<Arc<AccessLog>, SettingsError> {
    let same = before.filter(|before| before.access_log.is_for(config));
    if let Some(before) = same {
        return Ok(Arc::clone(&before.access_log));
    }
    let opened = AccessLog::open(config).map(Arc::new);
    opened.map_err(|error| SettingsError::AccessLog {
        target: match &config.target {
            model::LogTarget::File(file) => file.clone(),
            model::LogTarget::Off | model::LogTarget::Standard | model::LogTarget::Syslog(_) => {
                PathBuf::new()
            }
        },
        error,
    })
}

/// The files are read in any case: they may be others by now. Listeners that are there go on
/// speaking TLS even if a new configuration has none.
fn tls(config: &Config, before: Option<&Arc<Tls>>) -> Result<Option<Arc<Tls>>, TlsError> {
    match &config.tls {
        Some(config) => Ok(Some(Arc::new(Tls::load(
            config,
            before.map(AsRef::as_ref),
        )?))),
        None => Ok(before.cloned()),
    }
}
