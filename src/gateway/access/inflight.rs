//! Concurrency limits, per client and global.
//!
//! A count is increased by taking a permit and decreased by dropping it, so it is right however a
//! request ends: with a response, a rejection, a closed connection or a cancelled task.

use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::hash_map::EntryRef;
use hashbrown::{DefaultHashBuilder, HashMap};

/// Number of locks that the clients are distributed over.
const SHARDS: usize = 64;

/// Returns the number that identifies a client: its IPv4 address, or its IPv6 network with this
/// prefix length.
#[must_use]
pub fn network(client: IpAddr, ipv6_prefix: u8) -> u128 {
    match client {
        IpAddr::V4(ip) => u128::from(ip.to_ipv6_mapped()),
        IpAddr::V6(ip) => {
            let beyond = 128 - u32::from(ipv6_prefix.min(128));
            u128::from(ip) & u128::MAX.unbounded_shl(beyond)
        }
    }
}

/// Number of permits that each client holds now. Only clients with a permit have an entry, so the
/// global limit on permits bounds the memory.
pub struct PerClient {
    shards: Box<[Mutex<HashMap<u128, u32>>]>,
    seed: DefaultHashBuilder,
}

impl Default for PerClient {
    fn default() -> Self {
        PerClient {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            seed: DefaultHashBuilder::default(),
        }
    }
}

impl PerClient {
    /// Takes a permit for a client. Returns `None` if the client already holds `most` of them.
    #[must_use]
    pub fn take(self: &Arc<Self>, client: u128, most: u32) -> Option<ClientPermit> {
        let mut shard = self.shard(client);
        let count = shard.entry(client).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(ClientPermit {
            of: Arc::clone(self),
            client,
        })
    }

    fn shard(&self, client: u128) -> MutexGuard<'_, HashMap<u128, u32>> {
        let at = self.seed.hash_one(client) as usize % SHARDS;
        self.shards[at]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Number of clients that hold a permit.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.lock().unwrap().len())
            .sum()
    }
}

/// Permit of one client, released on drop.
pub struct ClientPermit {
    of: Arc<PerClient>,
    client: u128,
}

impl Drop for ClientPermit {
    fn drop(&mut self) {
        let mut shard = self.of.shard(self.client);
        if let EntryRef::Occupied(mut count) = shard.entry_ref(&self.client) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// Number of permits of a global limit that are taken.
#[derive(Default)]
pub struct Shared(AtomicUsize);

impl Shared {
    /// Takes a permit. Returns `None` if `most` of them are taken.
    #[must_use]
    pub fn take(self: &Arc<Self>, most: usize) -> Option<SharedPermit> {
        let before = self.0.fetch_add(1, Ordering::AcqRel);
        let taken = SharedPermit(Arc::clone(self));
        (before < most).then_some(taken)
    }
}

/// Permit of a global limit, released on drop.
pub struct SharedPermit(Arc<Shared>);

impl Drop for SharedPermit {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_so_many_and_no_more() {
        let all = Arc::new(PerClient::default());
        let first = all.take(1, 2);
        let second = all.take(1, 2);
        assert!(first.is_some() && second.is_some());
        assert!(all.take(1, 2).is_none());
        assert!(all.take(2, 2).is_some());
        drop(first);
        let third = all.take(1, 2);
        assert!(third.is_some() && all.take(1, 2).is_none());
    }

    #[test]
    fn who_has_nothing_takes_no_memory() {
        let all = Arc::new(PerClient::default());
        let taken: Vec<_> = (0..1000).map(|client| all.take(client, 1)).collect();
        assert_eq!(all.len(), 1000);
        drop(taken);
        assert_eq!(all.len(), 0);
    }

    #[test]
    fn what_is_refused_is_not_counted() {
        let shared = Arc::new(Shared::default());
        let first = shared.take(1).unwrap();
        for _ in 0..3 {
            assert!(shared.take(1).is_none());
        }
        drop(first);
        assert!(shared.take(1).is_some());
        assert_eq!(shared.0.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn counts_are_right_after_a_panic_and_across_threads() {
        let (all, shared) = (Arc::new(PerClient::default()), Arc::new(Shared::default()));
        let threads = (0..4).map(|thread| {
            let (all, shared) = (Arc::clone(&all), Arc::clone(&shared));
            std::thread::spawn(move || {
                for _ in 0..500 {
                    let _one = (all.take(7, u32::MAX), shared.take(usize::MAX));
                }
                let _one = (all.take(7, u32::MAX), shared.take(usize::MAX));
                assert_ne!(thread, 3, "so that one unwinds");
            })
        });
        let threads: Vec<_> = threads.collect();
        let ends = threads.into_iter().map(|thread| thread.join().is_ok());
        assert_eq!(ends.collect::<Vec<_>>(), [true, true, true, false]);
        assert_eq!((all.len(), shared.0.load(Ordering::SeqCst)), (0, 0));
    }

    #[test]
    fn ipv6_clients_are_networks() {
        let number = |ip: &str, prefix| network(ip.parse().unwrap(), prefix);
        assert_eq!(
            number("2001:db8::1", 64),
            number("2001:db8::ffff:0:0:1", 64)
        );
        assert_ne!(number("2001:db8::1", 64), number("2001:db8:0:1::1", 64));
        assert_ne!(number("2001:db8::1", 128), number("2001:db8::2", 128));
        assert_ne!(number("1.2.3.4", 64), number("1.2.3.5", 64));
        assert_ne!(number("1.2.3.4", 64), number("::", 64));
    }
}
