//! Name resolution of peers: all addresses of a host name or the targets of an SRV record, and
//! their TTL.
//!
//! The system's `resolv.conf` and `hosts` are read at every query, so that a change in them is
//! noticed; both are short.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;

use super::endpoints::Found;
use crate::config::model::{PeerAddress, SocketAddress};

/// Timeout of one query to a name server, and the number of attempts.
const TIMEOUT: Duration = Duration::from_secs(2);
const ATTEMPTS: usize = 2;

/// Result of a DNS query.
#[derive(Debug)]
pub struct Answer {
    /// Addresses: at least one, sorted, without duplicates.
    pub found: Vec<Found>,
    /// Time for which the answer is valid.
    pub time_to_live: Duration,
}

/// Resolves the addresses of a peer, with the configured name servers, or the system's if none are
/// configured.
///
/// # Errors
/// If there is no answer, or the answer has no address.
pub async fn resolve(address: &PeerAddress, servers: &[SocketAddr]) -> Result<Answer, String> {
    let resolver = resolver(servers).map_err(|error| error.to_string())?;
    let answer = match address {
        PeerAddress::Socket(address) => Ok(Answer {
            found: vec![Found::from(address.clone())],
            time_to_live: Duration::MAX,
        }),
        PeerAddress::Name(host, port) => host_addresses(&resolver, host, *port).await,
        PeerAddress::Service(name) => targets(&resolver, name).await,
    };
    let mut answer = answer.map_err(|error| error.to_string())?;
    answer.found.sort_unstable();
    answer
        .found
        .dedup_by(|one, other| one.address == other.address);
    if answer.found.is_empty() {
        return Err("it has no address".to_owned());
    }
    Ok(answer)
}

async fn host_addresses(
    resolver: &TokioResolver,
    host: &str,
    port: u16,
) -> Result<Answer, NetError> {
    let lookup = resolver.lookup_ip(host).await?;
    let found = lookup
        .iter()
        .map(|ip| SocketAddress::from(SocketAddr::new(ip, port)).into());
    Ok(Answer {
        found: found.collect(),
        time_to_live: until(lookup.valid_until()),
    })
}

/// Resolves the targets of an SRV record. Targets with the lowest priority value are primary, all
/// others are backups.
async fn targets(resolver: &TokioResolver, name: &str) -> Result<Answer, NetError> {
    let lookup = resolver.srv_lookup(name).await?;
    let mut answer = Answer {
        found: Vec::new(),
        time_to_live: until(lookup.valid_until()),
    };
    let records = lookup
        .answers()
        .iter()
        .filter_map(|record| match &record.data {
            RData::SRV(target) => Some(target),
            _ => None,
        });
    let records: Vec<_> = records.collect();
    let best = records.iter().map(|target| target.priority).min();
    for target in records {
        let host = target.target.to_utf8();
        let Ok(addresses) = host_addresses(resolver, &host, target.port).await else {
            // The other targets serve without it.
            continue;
        };
        answer.time_to_live = answer.time_to_live.min(addresses.time_to_live);
        answer
            .found
            .extend(addresses.found.into_iter().map(|found| Found {
                weight: Some(u32::from(target.weight).max(1)),
                is_backup: Some(target.priority) != best,
                ..found
            }));
    }
    Ok(answer)
}

fn until(instant: Instant) -> Duration {
    instant.saturating_duration_since(Instant::now())
}

fn resolver(servers: &[SocketAddr]) -> Result<TokioResolver, NetError> {
    let mut builder = if servers.is_empty() {
        TokioResolver::builder_tokio()?
    } else {
        let servers = servers.iter().map(|server| {
            let mut connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
            for connection in &mut connections {
                connection.port = server.port();
            }
            NameServerConfig::new(server.ip(), true, connections.into())
        });
        let config = ResolverConfig::from_name_servers(servers.collect());
        let provider = TokioRuntimeProvider::default();
        let mut builder = TokioResolver::builder_with_config(config, provider);
        builder.options_mut().use_hosts_file = ResolveHosts::Never;
        builder
    };
    let options = builder.options_mut();
    options.timeout = TIMEOUT;
    options.attempts = ATTEMPTS;
    // A name is queried again only after its TTL, so a cache has no use.
    options.cache_size = 0;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    builder.build()
}
