//! State of rate limits: one number a key, in a table of fixed size.
//!
//! A map from keys to states grows with every new address, and an attacker has almost unlimited
//! addresses: one IPv6 allocation of /48 has 65,536 networks of /64. A sketch stores no keys and
//! does not grow, but under such a flood its keys collide, and it limits clients that sent nothing.
//! So this is a table of fixed size in which a key has eight possible slots. If all eight are
//! taken, the key that is closest to its full burst is evicted. Usually that key has its full burst
//! already, so its eviction has no effect; otherwise the effect is small. A key that exceeds its
//! rate is furthest from its full burst and stays. So a client is never rejected because of other
//! clients. The cost is that a flood of addresses may exceed the rate: an evicted client starts
//! with a full burst again.
//!
//! A key is a 64-bit hash with a secret seed, so that attackers cannot choose addresses that
//! collide in one set of slots.

use std::sync::{Mutex, PoisonError};

use governor::nanos::Nanos;
use governor::state::StateStore;

/// Number of slots of a key.
const WAYS: usize = 8;

/// Hash of a key, and the time at which it has its full burst again. All zero is an empty slot.
#[derive(Clone, Copy, Default)]
struct Entry {
    key: u64,
    whole: u64,
}

/// State of all keys of one rate limit.
pub struct Store {
    /// Sets of slots; their number is a power of two. Each set has its own lock, so threads contend
    /// only if they count for the same set.
    sets: Box<[Mutex<[Entry; WAYS]>]>,
}

impl Store {
    /// Creates a table with room for at least this many keys.
    pub fn new(keys: usize) -> Self {
        let sets = keys.div_ceil(WAYS).next_power_of_two();
        Store {
            sets: (0..sets).map(|_| Mutex::default()).collect(),
        }
    }

    /// Number of stored keys.
    #[cfg(test)]
    fn len(&self) -> usize {
        let sets = self.sets.iter().map(|set| *set.lock().unwrap());
        sets.flatten().filter(|entry| entry.key != 0).count()
    }
}

impl StateStore for Store {
    /// Hash of the key.
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, &key: &u64, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        // Zero marks an empty slot.
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

/// Returns the index of an empty slot, or of the key that is closest to its full burst.
fn gives_way(set: &[Entry; WAYS]) -> usize {
    let least = (0..WAYS).min_by_key(|&at| set[at].whole);
    least.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, RandomState};

    use super::*;

    /// Stores `whole` for a key and returns the previous value.
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
        // Key 9 in turn was evicted first.
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
