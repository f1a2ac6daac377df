//! Settings for requests, made from one configuration.
//!
//! A request uses the settings that were current when it arrived, until its end. A new
//! configuration creates complete new settings before any request uses them; they take over the
//! state of upstream peers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::HeaderValue;

use super::access::admin_access::{AdminAccess, TokenError};
use super::access::{Caps, Limits, RouteLimits, Rules};
use super::error_page::ErrorPages;
use super::listener::Listeners;
use super::listener::tls::{Tls, TlsError};
use super::request::client_ip::PeerAddr;
use super::request::geo_headers::LocationHeaders;
use super::request::identity::IdSettings;
use super::request::upstream_view::Wants;
use super::route::{Route, Routes};
use super::telemetry::access_logs::AccessLogs;
use super::upstream::{Pool, Transport, TransportError};
use crate::config::Config;
use crate::config::model::{self, Client, ClientIp, Compression, Http2, Upstream};

/// Reason for which a valid configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A certificate, a key or the authorities of client certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The access log cannot be opened.
    #[error("access log: {}: {error}", target.display())]
    AccessLog {
        /// Path of the file.
        target: PathBuf,
        /// Error of the system.
        #[source]
        error: std::io::Error,
    },
    /// The custom error page cannot be read.
    #[error("error page {}: {error}", file.display())]
    ErrorPage {
        /// Path of the file.
        file: PathBuf,
        /// Error of the system.
        #[source]
        error: std::io::Error,
    },
    /// A file of users is not there any more.
    #[error("{}: does not exist any more", file.display())]
    Users {
        /// Path of the file.
        file: PathBuf,
    },
    /// The token of the admin listener cannot be read.
    #[error(transparent)]
    AdminToken(#[from] TokenError),
    /// An upstream's certificates cannot be read.
    #[error(transparent)]
    Upstream(#[from] TransportError),
}

/// Settings for requests, ready to use.
pub struct Settings {
    pub(super) listening: ListenSettings,
    pub(super) client: Client,
    pub(super) client_ip: ClientIp,
    pub(super) location_headers: LocationHeaders,
    pub(super) pools: Vec<Arc<Pool>>,
    /// Routes; `None` if all requests go to the first upstream.
    pub(super) routes: Option<Routes>,
    pub(super) error_pages: ErrorPages,
    pub(super) access_logs: AccessLogs,
    /// Parts of upstreams' responses that variables need.
    pub(super) wants: Wants,
    pub(super) ids: IdSettings,
    pub(super) limits: LimitSettings,
    pub(super) compression: Compression,
    admin_access: AdminAccess,
}

/// Settings of listeners, and of the protocols that they speak.
pub(super) struct ListenSettings {
    pub listeners: Listeners,
    pub tls: Option<Arc<Tls>>,
    pub http2: Http2,
}

/// Limits for all requests and connections.
pub(super) struct LimitSettings {
    pub caps: Caps,
    /// Rules for all requests.
    pub requests: Limits,
    /// Additional rules for IP queries.
    pub queries: Limits,
    rules: Rules,
}

impl Settings {
    /// Creates the settings of `config`. Pools, rules and the log are taken over from `before` if
    /// they are the same. Listeners are always taken over, because open sockets do not change.
    /// Changed pools take over the state of their peers.
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
        let access_logs = access_logs(config, before)?;
        let error_pages = ErrorPages::load(config.error_page.as_deref());
        let error_pages = error_pages.map_err(|error| SettingsError::ErrorPage {
            file: config.error_page.clone().unwrap_or_default(),
            error,
        })?;
        let admin_access = AdminAccess::load(&config.admin)?;
        let listeners = before.map_or_else(
            || Listeners::new(&config.server.listen),
            |before| before.listening.listeners.clone(),
        );
        let tls_before = before.and_then(|before| before.listening.tls.as_ref());
        let rules = rules(config, before)?;
        let limits = |route: &model::Route| {
            let mut known = before.into_iter().flat_map(Settings::routes);
            let same = known.find(|known| known.name == route.name);
            RouteLimits::new(&route.limits, &rules, same.map(|known| &known.limits))
        };
        let logs = |refs: &[model::LogRef]| access_logs.named(refs);
        // Pools come last, because they start name resolution and health checks.
        let pools = config.upstreams.iter().map(pool);
        let pools = pools.collect::<Result<Vec<_>, TransportError>>()?;
        let routes = Routes::new(&config.routes, &pools, limits, logs);
        let of_routes = routes.iter().flat_map(Routes::all);
        let of_routes = of_routes.flat_map(|route| route.response_headers.variables());
        Ok(Settings {
            wants: Wants::of(of_routes).and(access_logs.of_upstream()),
            listening: ListenSettings {
                listeners,
                tls: tls(config, tls_before)?,
                http2: config.http2.clone(),
            },
            client: config.client.clone(),
            client_ip: config.client_ip.clone(),
            location_headers: LocationHeaders::new(&config.geo_headers),
            routes,
            pools,
            error_pages,
            ids: ids(config, &access_logs),
            access_logs,
            limits: LimitSettings {
                caps: Caps::new(&config.limits),
                requests: rules.limits(&config.limits.refs),
                queries: rules.limits(&config.query),
                rules,
            },
            compression: config.compression.clone(),
            admin_access,
        })
    }

    /// Returns the value of `Strict-Transport-Security` for responses over TLS, if configured.
    #[must_use]
    pub fn hsts(&self) -> Option<&HeaderValue> {
        self.listening.tls.as_ref()?.hsts()
    }

    /// Returns [`Settings::hsts`] as a header line for a response that is written without pingora.
    pub(super) fn hsts_line(&self, is_tls: bool) -> Option<(&'static str, String)> {
        let value = self.hsts().filter(|_| is_tls)?.to_str().ok()?;
        Some(("Strict-Transport-Security", value.to_owned()))
    }

    /// Returns `true` if a header is accepted from `peer`, by its name.
    pub(super) fn trusts(&self, name: &str, peer: PeerAddr) -> bool {
        !self.client_ip.untrusted_headers.contains(name)
            || self.client_ip.trusted_proxies.contains(peer.ip())
    }

    /// Returns TLS with clients, if it is configured.
    #[must_use]
    pub fn tls(&self) -> Option<&Arc<Tls>> {
        self.listening.tls.as_ref()
    }

    /// Returns the pools of all upstreams, in the order of the configuration.
    #[must_use]
    pub fn pools(&self) -> &[Arc<Pool>] {
        &self.pools
    }

    /// Returns all routes, in the order of the configuration; empty if all requests go to the first
    /// upstream.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter().flat_map(Routes::all)
    }

    /// Logs what the operator should know about the users with passwords.
    pub fn warn_of_users(&self) {
        for set in self.limits.rules.auth() {
            if let Some(warning) = set.warning() {
                log::warn!("{warning}");
            }
        }
    }

    /// Returns the access rules and rate limits.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.limits.rules
    }

    /// Returns the concurrency limits.
    #[must_use]
    pub fn caps(&self) -> &Caps {
        &self.limits.caps
    }

    /// Returns the limits of client connections and requests.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Returns the access conditions of the admin listener.
    #[must_use]
    pub fn admin_access(&self) -> &AdminAccess {
        &self.admin_access
    }

    /// Returns the access logs.
    #[must_use]
    pub fn access_logs(&self) -> &AccessLogs {
        &self.access_logs
    }
}

fn ids(config: &Config, access_logs: &AccessLogs) -> IdSettings {
    IdSettings {
        requests: config.request_ids.clone(),
        tracing: config.tracing.clone(),
        logs_id: access_logs.wants_id(),
        logs_trace: access_logs.wants_trace(),
    }
}

fn access_logs(config: &Config, before: Option<&Settings>) -> Result<AccessLogs, SettingsError> {
    let before = before.map(|before| &before.access_logs);
    let opened = AccessLogs::open(&config.access_log, &config.extra_logs, before);
    opened.map_err(|(config, error)| SettingsError::AccessLog {
        target: match &config.target {
            model::LogTarget::File(file) => file.clone(),
            model::LogTarget::Off | model::LogTarget::Standard | model::LogTarget::Syslog(_) => {
                PathBuf::new()
            }
        },
        error,
    })
}

/// Prepares the access rules, rate limits and users. A file of users must not vanish at a reload.
fn rules(config: &Config, before: Option<&Settings>) -> Result<Rules, SettingsError> {
    let before = before.map(|before| &before.limits.rules);
    let rules = Rules::new(config, before);
    let lost = before.and_then(|before| rules.lost_file(before));
    match lost.map(Path::to_owned) {
        Some(file) => Err(SettingsError::Users { file }),
        None => Ok(rules),
    }
}

/// Loads TLS. Files are always read again, because they may have changed. If the new configuration
/// has no TLS, open TLS listeners continue with the previous one.
fn tls(config: &Config, before: Option<&Arc<Tls>>) -> Result<Option<Arc<Tls>>, TlsError> {
    match &config.tls {
        Some(config) => Ok(Some(Arc::new(Tls::load(
            config,
            before.map(AsRef::as_ref),
        )?))),
        None => Ok(before.cloned()),
    }
}
