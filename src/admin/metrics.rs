//! `/metrics`: the gateway's counters under their Prometheus names.
//!
//! The counters are kept where the events occur, in the form that is cheapest to update. Each
//! scrape reads and names them here, so no event is counted twice.

use std::fmt::{self, Debug};
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::exposition_format::{Format, to_prometheus};
use crate::gateway::Gateway;
use crate::gateway::access::Reason;
use crate::gateway::telemetry::metrics::{BOUNDS, HttpVersion, Kind, Refused, Sums};
use crate::gateway::telemetry::reloads::ReloadStatus;
use crate::gateway::upstream::Pool;

/// All metrics of a gateway.
pub struct Exposition(Registry);

impl Exposition {
    /// Creates the metrics of `gateway`, and of the error log, which belongs to the process.
    pub fn new(gateway: Arc<Gateway>, error_log_dropped: fn() -> u64) -> Self {
        let mut registry = Registry::with_prefix("geogate");
        registry.register_collector(Box::new(Metrics(gateway, error_log_dropped)));
        Exposition(registry)
    }

    /// Returns all current values in this format.
    pub fn text(&self, format: Format) -> String {
        let mut text = String::new();
        let encoded = prometheus_client::encoding::text::encode(&mut text, &self.0);
        encoded.expect("text can always grow");
        match format {
            Format::OpenMetrics => text,
            Format::Prometheus => to_prometheus(&text),
        }
    }
}

struct Metrics(Arc<Gateway>, fn() -> u64);

impl Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Collector for Metrics {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut out = Encoder(encoder);
        self.build(&mut out)?;
        self.requests(&mut out)?;
        self.connections(&mut out)?;
        self.limits(&mut out)?;
        self.upstream(&mut out)?;
        self.reloads(&mut out)?;
        self.database(&mut out)
    }
}

impl Metrics {
    fn build(&self, out: &mut Encoder) -> fmt::Result {
        let version = env!("CARGO_PKG_VERSION");
        out.info("build", "The program that runs", &[("version", version)])?;
        let draining = u64::from(self.0.drain().is_draining());
        out.gauge("draining", "1 once a stop was asked for", draining)
    }

    fn requests(&self, out: &mut Encoder) -> fmt::Result {
        let kinds = Kind::ALL.map(|kind| (label(kind), self.0.metrics().sums(kind)));
        let statuses = kinds.iter().flat_map(|(kind, sums)| {
            let labels =
                |status: u16| [("kind", (*kind).to_owned()), ("status", status.to_string())];
            sums.statuses
                .iter()
                .map(move |&(status, count)| (labels(status), count))
        });
        let help = "Requests that ended: IP queries, proxied ones, and those that geogate \
                    answered with a page of its own";
        out.counters("requests", help, statuses)?;
        let upstreams: Vec<_> = [None]
            .into_iter()
            .chain(HttpVersion::ALL.map(Some))
            .collect();
        let versions = HttpVersion::OF_CLIENTS.into_iter().flat_map(|client| {
            upstreams.iter().map(move |&upstream| {
                let name = |version: HttpVersion| version.as_str().to_owned();
                let labels = [
                    ("client", name(client)),
                    ("upstream", upstream.map_or("none".to_owned(), name)),
                ];
                (labels, self.0.metrics().by_version((client, upstream)))
            })
        });
        let help = "Requests by the protocols of their client and their upstream. IP queries \
                    in plain form are not among them";
        out.counters("engine_requests", help, versions)?;
        let bytes = kinds
            .iter()
            .map(|(kind, sums)| ([("kind", (*kind).to_owned())], sums.body_bytes));
        out.counters("response_body_bytes", "Bytes of response bodies", bytes)?;
        out.durations(&kinds)?;
        let in_flight = self.0.drain().in_flight() as u64;
        out.gauge(
            "requests_in_flight",
            "Requests that are being proxied",
            in_flight,
        )?;
        let dropped = self.0.settings().access_logs().dropped();
        let help = "Lines that the access log's target could not take";
        out.counter("access_log_dropped_lines", help, dropped)?;
        let help = "Messages that the error log's target did not take";
        out.counter("error_log_dropped_messages", help, (self.1)())
    }

    fn connections(&self, out: &mut Encoder) -> fmt::Result {
        let metrics = self.0.metrics();
        out.counter(
            "connections",
            "Connections that were accepted",
            metrics.accepted(),
        )?;
        let refusals = Refused::ALL.map(|why| {
            let reason = match why {
                Refused::ProxyProtocol => "proxy_protocol",
                Refused::Handshake => "tls_handshake",
                Refused::Slow => "slow",
            };
            ([("reason", reason.to_owned())], metrics.refusals(why))
        });
        out.counters(
            "connections_refused",
            "Connections that ended before their first request",
            refusals.into_iter(),
        )?;
        let open = metrics.open() as u64;
        out.gauge(
            "connections_open",
            "Connections of clients that are open",
            open,
        )
    }

    fn limits(&self, out: &mut Encoder) -> fmt::Result {
        let settings = self.0.settings();
        let (access, rates) = (settings.rules().access(), settings.rules().rates());
        let labels = |kind, name: &str, dry_run: bool| {
            [(kind, name.to_owned()), ("dry_run", dry_run.to_string())]
        };
        let denied = access.iter().map(|set| {
            let labels = labels("access", set.name(), set.is_dry_run());
            (labels, set.denied.sum())
        });
        let help = "Requests that a set of rules denied, or would have";
        out.counters("access_denied", help, denied)?;
        let refused = settings.rules().auth().iter().map(|set| {
            let labels = [("auth", set.name().to_owned())];
            (labels, set.refused.sum())
        });
        let help = "Requests without a password that the users have";
        out.counters("auth_refused", help, refused)?;
        let limited = rates.iter().map(|rate| {
            let labels = labels("rate_limit", rate.name(), rate.is_dry_run());
            (labels, rate.limited.sum())
        });
        let help = "Requests that came too often, or would have";
        out.counters("rate_limited", help, limited)?;
        let routes = settings.routes().map(|route| {
            let labels = [("route", route.name.clone())];
            (labels, route.limits.full.sum())
        });
        let help = "Requests that there was no room for on the route";
        out.counters("route_rejected", help, routes)?;
        let shed = Reason::ALL.map(|reason| {
            let labels = [("reason", reason_label(reason).to_owned())];
            (labels, self.0.load().shed(reason))
        });
        let help = "Connections and requests that there was no room for";
        out.counters("shed", help, shed.into_iter())
    }

    fn upstream(&self, out: &mut Encoder) -> fmt::Result {
        let settings = self.0.settings();
        let peers = || {
            settings.pools().iter().flat_map(|pool| {
                pool.status().into_iter().map(|peer| {
                    let address = peer.address.to_string();
                    let labels = [("upstream", pool.name().to_owned()), ("peer", address)];
                    (labels, peer)
                })
            })
        };
        let well = peers().map(|(labels, peer)| (labels, u64::from(peer.is_healthy)));
        out.gauges(
            "upstream_peer_well",
            "0 while the peer is ejected because it failed",
            well,
        )?;
        let tries = peers().map(|(labels, peer)| (labels, peer.tries));
        out.counters(
            "upstream_tries",
            "Requests that were tried on the peer",
            tries,
        )?;
        let failures = peers().map(|(labels, peer)| (labels, peer.failures));
        out.counters(
            "upstream_failures",
            "Requests that the peer did not answer",
            failures,
        )?;
        let in_flight = peers().map(|(labels, peer)| (labels, peer.in_flight as u64));
        let help = "Requests that the peer has now";
        out.gauges("upstream_requests_in_flight", help, in_flight)?;
        let down = peers().map(|(labels, peer)| (labels, u64::from(peer.is_down)));
        let help = "1 while health checks say that the peer is down";
        out.gauges("upstream_peer_down", help, down)?;
        let pools = || settings.pools().iter();
        let labels = |pool: &Pool| [("upstream", pool.name().to_owned())];
        let retries = pools().map(|pool| (labels(pool), pool.retries()));
        let help = "Requests that were tried on another peer";
        out.counters("upstream_retries", help, retries)?;
        let refused = pools().map(|pool| (labels(pool), pool.retries_refused()));
        let help = "Requests that were not, because the retry budget was spent";
        out.counters("upstream_retries_refused", help, refused)
    }

    fn reloads(&self, out: &mut Encoder) -> fmt::Result {
        let reloads = self.0.reloads();
        let config = [([], reloads.config.status())];
        out.reload_history("config", "configuration", &config)?;
        let settings = self.0.settings();
        let Some(tls) = settings.tls() else {
            return Ok(());
        };
        let kind = |kind: &str| [("kind", kind.to_owned())];
        let mut certificates = vec![(kind("server"), reloads.server_certificates.status())];
        if tls.config().client_auth.is_some() {
            certificates.push((kind("client_ca"), reloads.client_authorities.status()));
        }
        out.reload_history("certificate", "TLS files of a kind", &certificates)
    }

    fn database(&self, out: &mut Encoder) -> fmt::Result {
        let database = self.0.database().current();
        let provenance = database.provenance();
        let labels = [
            ("format", provenance.format),
            ("source", &provenance.source),
            ("date", &provenance.date),
        ];
        out.info("database", "The database that answers", &labels)?;
        let places = database.places().len() as u64;
        out.gauge("database_places", "Distinct places in the database", places)?;
        let memory = database.memory();
        let parts = [
            ("ipv4", memory.v4),
            ("ipv6", memory.v6),
            ("answers", memory.answers),
        ];
        let parts = parts.map(|(part, bytes)| ([("part", part.to_owned())], bytes as u64));
        let help = "Memory of the database's trees and ready-made answers";
        out.gauges("database_memory_bytes", help, parts.into_iter())?;
        let history = self.0.database().history();
        let help = "Databases that were replaced and are still in memory";
        out.gauge("database_retired", help, history.retired)?;
        let help = "When the database came, in seconds since 1970";
        out.gauge("database_loaded_timestamp_seconds", help, history.since)?;
        let loads = [
            ([("result", "replaced".to_owned())], history.replaced),
            ([("result", "refused".to_owned())], history.refused),
        ];
        let help = "Databases that were read while the gateway ran, and what became of them";
        out.counters("database_reloads", help, loads.into_iter())?;
        let help = "Databases that could not be fetched from where they are published";
        out.counter("database_fetch_failures", help, history.missed)
    }
}

fn reason_label(reason: Reason) -> &'static str {
    match reason {
        Reason::Connections => "connections",
        Reason::ClientConnections => "client_connections",
        Reason::Requests => "requests",
        Reason::ClientRequests => "client_requests",
        Reason::Memory => "memory",
    }
}

fn label(kind: Kind) -> &'static str {
    match kind {
        Kind::Query => "query",
        Kind::Upstream => "upstream",
        Kind::Local => "local",
    }
}

/// Labels of one metric of a family.
type Labels<const N: usize> = [(&'static str, String); N];

/// Encoder with one method for each kind of family.
struct Encoder<'e>(DescriptorEncoder<'e>);

impl Encoder<'_> {
    fn info<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        labels: &[(&str, &str); N],
    ) -> fmt::Result {
        let mut out = self
            .0
            .encode_descriptor(name, help, None, MetricType::Info)?;
        out.encode_info(labels)
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let out = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(value).encode(out)
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let out = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(value).encode(out)
    }

    fn gauges<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        values: impl Iterator<Item = (Labels<N>, u64)>,
    ) -> fmt::Result {
        let mut out = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in values {
            if N == 0 {
                // As a family, a metric without labels would be written with empty braces.
                return ConstGauge::new(value).encode(out);
            }
            ConstGauge::new(value).encode(out.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn counters<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        values: impl Iterator<Item = (Labels<N>, u64)>,
    ) -> fmt::Result {
        let mut out = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in values {
            ConstCounter::new(value).encode(out.encode_family(&labels)?)?;
        }
        Ok(())
    }

    /// Writes four families: counts by result, the last outcome, and the times of the last success
    /// and failure.
    fn reload_history<const N: usize>(
        &mut self,
        subject: &str,
        described: &str,
        kinds: &[(Labels<N>, ReloadStatus)],
    ) -> fmt::Result {
        let (name, help) = (
            format!("{subject}_reloads"),
            format!("Reloads of the {described} while the process runs, by result"),
        );
        let counter = MetricType::Counter;
        let mut family = self.0.encode_descriptor(&name, &help, None, counter)?;
        for (labels, status) in kinds {
            for (result, count) in [("applied", status.applied), ("rejected", status.rejected)] {
                let mut labels = labels.to_vec();
                labels.push(("result", result.to_owned()));
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        let values = |value: fn(&ReloadStatus) -> u64| {
            kinds
                .iter()
                .map(move |(labels, status)| (labels.clone(), value(status)))
        };
        self.gauges(
            &format!("{subject}_last_reload_successful"),
            &format!("0 if the last reload of the {described} was rejected"),
            values(|status| u64::from(status.is_last_applied)),
        )?;
        self.gauges(
            &format!("{subject}_last_reload_success_timestamp_seconds"),
            &format!("Time of the last applied load of the {described}, the start included"),
            values(|status| status.last_applied),
        )?;
        self.gauges(
            &format!("{subject}_last_reload_failure_timestamp_seconds"),
            &format!("Time of the last rejected reload of the {described}, 0 if none"),
            values(|status| status.last_rejected),
        )
    }

    fn durations(&mut self, kinds: &[(&'static str, Sums)]) -> fmt::Result {
        let (name, help) = ("request_duration", "From a request's head to its end");
        let unit = Some(&Unit::Seconds);
        let mut out = self
            .0
            .encode_descriptor(name, help, unit, MetricType::Histogram)?;
        let bounds = BOUNDS.map(seconds).into_iter().chain([f64::INFINITY]);
        for (kind, sums) in kinds {
            let buckets: Vec<_> = bounds.clone().zip(sums.buckets).collect();
            let labels = [("kind", *kind)];
            let mut out = out.encode_family(&labels)?;
            let count = sums.buckets.iter().sum();
            out.encode_histogram::<NoLabelSet>(seconds(sums.microseconds), count, &buckets, None)?;
        }
        Ok(())
    }
}

fn seconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1e6
}
