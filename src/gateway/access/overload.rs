//! Overload protection: the use of the process and its limits.
//!
//! A process that accepts more work than it has memory or files for fails, and with it the requests
//! that it could have served. So everything that takes memory or files for longer than a moment has
//! a limit: connections, requests in flight, and memory itself. Work above a limit is rejected at
//! once with 503, before any resources are reserved for it. An IP query takes neither memory nor
//! files, so queries on open connections are answered at any load.
//!
//! Counters live as long as the process; the limits come from the configuration.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::inflight::PerClient;
use super::system;
use crate::config::model::{Limit, Limits};
use crate::gateway::shard::Counter;

/// Default share of the files for connections, in quarters. An idle client takes one file, and a
/// client whose request is in flight to an upstream takes another.
const QUARTERS: u64 = 3;

/// Bytes that a proxied HTTP/2 request may hold while its client takes nothing of the response: a
/// piece of 16 KiB twice from an HTTP/1 upstream, or a window of 64 KiB from an HTTP/2 upstream,
/// and the memory that every request takes.
const HELD_BY_REQUEST: u64 = 96 << 10;

/// Divisor of the memory: requests of one client may hold a quarter of it in this way.
const SHARE_OF_CLIENT: u64 = 4;

/// Minimum of the default limit of requests of one client.
const REQUESTS_OF_CLIENT: u64 = 128;

/// Number of files that are reserved for listeners, logs and databases.
const OWN_FILES: u64 = 64;

/// Limits of the whole process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// Maximum number of client connections and requests in flight together: each takes a file.
    pub files: usize,
    /// Maximum number of client connections.
    pub connections: usize,
    /// Maximum number of connections of one client; `None` if there is no limit.
    pub connections_per_client: Option<u32>,
    /// Maximum number of requests in flight.
    pub requests: usize,
    /// Maximum number of requests in flight of one client.
    pub requests_per_client: u32,
    /// Maximum memory in bytes; `None` if neither configured nor known from the system.
    pub memory: Option<u64>,
    /// Length of the IPv6 prefix that identifies one client, in bits.
    pub ipv6_prefix: u8,
}

impl Caps {
    /// Creates the limits of a configuration. Limits that it leaves open depend on the system.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Caps::with(limits, system::open_files(), system::memory())
    }

    fn with(limits: &Limits, open_files: u64, memory: Option<u64>) -> Self {
        let files = open_files.saturating_sub(OWN_FILES).max(OWN_FILES / 2);
        let count = |count| usize::try_from(count).unwrap_or(usize::MAX);
        let memory = match limits.max_memory {
            Limit::Auto => memory.map(|memory| memory / 10 * 9),
            Limit::Fixed(bytes) => Some(bytes),
        };
        let most = |most, auto| match most {
            Limit::Auto => count(auto),
            Limit::Fixed(most) => count(most),
        };
        Caps {
            files: count(files),
            connections: most(limits.max_connections, files / 4 * QUARTERS),
            connections_per_client: limits.max_connections_per_client,
            requests: most(limits.max_requests, files / 2),
            requests_per_client: requests_per_client(limits, memory),
            memory,
            ipv6_prefix: limits.ipv6_prefix,
        }
    }
}

/// Returns the limit of requests of one client. An HTTP/2 client makes the gateway hold memory for
/// each stream whose response it does not take, and streams cost the client nothing. The limit
/// keeps one client from holding so much memory that others are affected.
fn requests_per_client(limits: &Limits, memory: Option<u64>) -> u32 {
    let most = match (limits.max_requests_per_client, memory) {
        (Limit::Fixed(most), _) => most,
        (Limit::Auto, None) => return u32::MAX,
        (Limit::Auto, Some(memory)) => {
            (memory / SHARE_OF_CLIENT / HELD_BY_REQUEST).max(REQUESTS_OF_CLIENT)
        }
    };
    u32::try_from(most).unwrap_or(u32::MAX)
}

/// Limit that was exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Connections of all clients.
    Connections,
    /// Connections of one client.
    ClientConnections,
    /// Requests of all clients.
    Requests,
    /// Requests of one client.
    ClientRequests,
    /// Memory.
    Memory,
}

impl Reason {
    /// Every reason, in the order of the discriminants.
    pub const ALL: [Reason; 5] = [
        Reason::Connections,
        Reason::ClientConnections,
        Reason::Requests,
        Reason::ClientRequests,
        Reason::Memory,
    ];
}

/// Current load of the process.
#[derive(Default)]
pub struct Overload {
    /// Connections of each client, if they are limited.
    pub connections: Arc<PerClient>,
    /// Requests of each client, if they are limited.
    pub requests: Arc<PerClient>,
    memory_is_short: AtomicBool,
    shed: [Counter; Reason::ALL.len()],
}

impl Overload {
    /// Counts a rejection.
    pub fn count(&self, reason: Reason) {
        self.shed[reason as usize].add(1);
    }

    /// Returns the number of rejections for this reason.
    #[must_use]
    pub fn shed(&self, reason: Reason) -> u64 {
        self.shed[reason as usize].sum()
    }

    /// Returns `true` if memory is short, so that no new work should begin.
    #[must_use]
    pub fn is_memory_short(&self) -> bool {
        self.memory_is_short.load(Ordering::Relaxed)
    }

    /// Compares the memory of the process with the limit. To be called a few times a second.
    pub fn look_at_memory(&self, ceiling: Option<u64>) {
        let resident = ceiling.and_then(|_| system::resident());
        let before = self.is_memory_short();
        let now = is_short(before, resident, ceiling);
        if now == before {
            return;
        }
        self.memory_is_short.store(now, Ordering::Relaxed);
        let mib = |bytes: Option<u64>| bytes.unwrap_or_default() >> 20;
        let (resident, ceiling) = (mib(resident), mib(ceiling));
        if now {
            log::error!(
                "memory is short: {resident} MiB of {ceiling} MiB; new connections and requests are turned away"
            );
        } else {
            log::warn!("memory is not short any more: {resident} MiB of {ceiling} MiB");
        }
    }
}

/// Returns `true` if memory is short: above the limit, and then until usage falls to 95 % of it.
/// Without this gap, each rejected request would make room for the next one.
fn is_short(before: bool, resident: Option<u64>, ceiling: Option<u64>) -> bool {
    let (Some(resident), Some(ceiling)) = (resident, ceiling) else {
        return false;
    };
    resident > ceiling || before && resident > ceiling / 20 * 19
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Overrides, parse};

    fn caps(text: &str, open_files: u64, memory: Option<u64>) -> Caps {
        let config = parse(text, "test", &Overrides::default()).unwrap();
        Caps::with(&config.limits, open_files, memory)
    }

    #[test]
    fn by_default_what_the_system_allows_is_the_ceiling() {
        let found = caps("", 65_535, Some(1000));
        assert_eq!((found.connections, found.requests), (49_101, 32_735));
        assert_eq!(found.files, 65_471);
        assert_eq!(found.memory, Some(900));
        assert_eq!(found.connections_per_client, None);
        assert_eq!(caps("", 64, None).connections, 24);
        assert_eq!(caps("", 64, None).memory, None);
    }

    #[test]
    fn one_client_can_hold_a_quarter_of_the_memory() {
        let most = |text, memory| caps(text, 65_535, memory).requests_per_client;
        assert_eq!(most("[limits]\nmax_memory = '3g'\n", None), 8192);
        assert_eq!(most("", Some(20 << 30)), 49_152);
        assert_eq!(most("", Some(1000)), 128);
        assert_eq!(most("", None), u32::MAX);
        let text = "[limits]\nmax_requests_per_client = 7\n";
        assert_eq!(most(text, Some(20 << 30)), 7);
    }

    #[test]
    fn what_the_configuration_says_counts() {
        let text = "[limits]\nmax_connections = 7\nmax_requests = 8\nmax_memory = '1m'\n";
        let found = caps(text, 65_535, Some(1000));
        assert_eq!((found.connections, found.requests), (7, 8));
        assert_eq!(found.memory, Some(1 << 20));
    }

    #[test]
    fn memory_is_short_until_there_is_some_room_again() {
        let mut short = false;
        for (resident, expected) in [
            (1000, false),
            (1001, true),
            (1000, true),
            (951, true),
            (950, false),
            (1000, false),
        ] {
            short = is_short(short, Some(resident), Some(1000));
            assert_eq!(short, expected, "{resident}");
        }
        assert!(!is_short(true, None, Some(1000)) && !is_short(true, Some(1), None));
    }

    #[test]
    fn a_process_above_its_ceiling_says_so_and_below_it_no_longer() {
        let load = Overload::default();
        load.look_at_memory(Some(1));
        assert!(load.is_memory_short());
        load.look_at_memory(None);
        assert!(!load.is_memory_short());
    }
}
