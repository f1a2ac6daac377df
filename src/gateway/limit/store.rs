//! The state of rate limits, one number a key, in memory that never grows.
//!
//! A map from keys to states grows with every new address, and an attacker has as many as he wants:
//! one line of IPv6 is 65,536 networks of /64. A sketch, which keeps no keys, does not grow, but
//! under such a flood it takes strangers for old acquaintances and limits those who did nothing. So
//! this is a table of fixed size in which a key has eight places to be. When all eight are taken the
//! key that is nearest to having its whole burst again gives way. Mostly it has it, and nothing is
//! lost; if not, little is. Who is over a rate is furthest from that and stays. So nobody is ever
//! refused for what others did, and a flood of addresses can only be served as if it was a larger
//! number of clients, each of which is still limited for as long as it is remembered.
//!
//! A key is a hash of 64 bits with a secret seed, so that nobody can choose addresses that meet in one
//! place.

use std::sync::{Mutex, PoisonError};

use governor::nanos::Nanos;
use governor::state::StateStore;

/// How many places a key has.
const WAYS: usize = 8;

/// A key's hash, and when it has its whole burst again. All zero is an empty place.
#[derive(Clone, Copy, Default)]
struct Entry {
    key: u64,
    whole: u64,
}

/// The state of all keys of one rate limit.
pub struct Store {
    /// Their number is a power of two. Each has a lock of its own, so threads meet only where they
    /// count for the same client.
    sets: Box<[Mutex<[Entry; WAYS]>]>,
}

impl Store {
    /// Room for at least so many keys.
    pub fn new(keys: usize) -> Self {
        let sets = keys.div_ceil(WAYS).next_power_of_two();
        Store {
            sets: (0..sets).map(|_| Mutex::default()).collect(),
        }
    }

    /// How many keys have a place.
    #[cfg(test)]
    fn len(&self) -> usize {
        let sets = self.sets.iter().map(|set| *set.lock().unwrap());
        sets.flatten().filter(|entry| entry.key != 0).count()
    }
}

impl StateStore for Store {
    /// A hash.
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, &key: &u64, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        // Zero is an empty place.
        let key = key.max(1);
        let set = &self.sets[key as usize & (self.sets.len() - 1)];
        let mut set = set.lock().unwrap_or_else(PoisonError::into_inner);
        let known = set.iter().position(|entry| entry.key == key);
        let (result, whole) = decide(known.map(|at| set[at].whole.into()))?;
        let at = known.unwrap_or_else(|| gives_way(&set));
        set[at] = Entry {
            key,
            whole: whole.as_u64(),
        };
        Ok(result)
    }
}

/// An empty place, or that of the key with the least to lose.
fn gives_way(set: &[Entry; WAYS]) -> usize {
    let least = (0..WAYS).min_by_key(|&at| set[at].whole);
    least.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, RandomState};

    use super::*;

    /// Notes `whole` for a key; what was noted before.
    fn put(store: &Store, key: u64, whole: u64) -> Option<u64> {
        let put = |before: Option<Nanos>| Ok::<_, ()>((before, whole.into()));
        store
            .measure_and_replace(&key, put)
            .unwrap()
            .map(Nanos::as_u64)
    }

    #[test]
    fn a_key_is_found_again() {
        let store = Store::new(64);
        let (a, b) = (0, 77);
        assert_eq!(put(&store, a, 1), None);
        assert_eq!(put(&store, b, 2), None);
        assert_eq!(put(&store, a, 3), Some(1));
        assert_eq!(put(&store, a, 3), Some(3));
        assert_eq!(put(&store, b, 3), Some(2));
    }

    #[test]
    fn a_refusal_changes_nothing() {
        let store = Store::new(64);
        put(&store, 7, 1);
        let refused: Result<(), u8> = store.measure_and_replace(&7, |_| Err(9));
        assert_eq!(refused, Err(9));
        assert_eq!(put(&store, 7, 2), Some(1));
        let _: Result<(), u8> = store.measure_and_replace(&8, |_| Err(9));
        assert_eq!(store.len(), 1);
    }

    #[test]
    fn who_has_the_least_to_lose_gives_way() {
        let store = Store::new(WAYS);
        for key in 1..=8 {
            put(&store, key, 100 + key);
        }
        put(&store, 9, 50);
        assert_eq!(put(&store, 1, 101), None, "1 gave way to 9");
        // Which in turn was the first to go.
        assert_eq!(put(&store, 9, 50), None);
        for key in 3..=8 {
            assert_eq!(put(&store, key, 100 + key), Some(100 + key));
        }
    }

    #[test]
    fn a_million_keys_take_the_room_of_a_thousand() {
        let (store, seed) = (Store::new(1000), RandomState::new());
        let culprit = seed.hash_one("culprit");
        put(&store, culprit, u64::MAX);
        for address in 0..1_000_000_u64 {
            put(&store, seed.hash_one(address), address);
        }
        assert_eq!(store.sets.len() * WAYS, 1024);
        assert_eq!(store.len(), 1024);
        assert_eq!(put(&store, culprit, u64::MAX), Some(u64::MAX));
    }
}
