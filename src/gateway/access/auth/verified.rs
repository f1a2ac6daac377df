//! Credentials that were verified, so that a slow hash is computed once and not for every request.
//!
//! A digest of the credentials with a random key is kept, never the password. There are two generations:
//! when the younger one is full it becomes the older one, whose entries are dropped. Entries that are
//! used move to the younger one, so the memory is bounded and what is in use stays.

use std::sync::{Mutex, PoisonError};

use hashbrown::HashSet;
use sha2::{Digest, Sha256};

use crate::gateway::request::random;

/// Maximum number of entries of a generation, at 16 bytes each.
const GENERATION: usize = 4096;

/// First half of the digest of credentials with the random key.
type Key = [u8; 16];

/// Digests of credentials that were verified.
pub struct Verified {
    secret: [u8; 32],
    generations: Mutex<Generations>,
}

#[derive(Default)]
struct Generations {
    young: HashSet<Key>,
    old: HashSet<Key>,
}

impl Default for Verified {
    fn default() -> Self {
        Verified {
            secret: random::key(),
            generations: Mutex::default(),
        }
    }
}

impl Verified {
    fn key(&self, user: &[u8], password: &[u8]) -> Key {
        let mut hasher = Sha256::new();
        hasher.update(self.secret);
        hasher.update((user.len() as u64).to_le_bytes());
        hasher.update(user);
        hasher.update(password);
        let digest: [u8; 32] = hasher.finalize().into();
        let mut key = Key::default();
        key.copy_from_slice(&digest[..16]);
        key
    }

    /// Returns `true` if these credentials were verified and are not forgotten.
    pub fn contains(&self, user: &[u8], password: &[u8]) -> bool {
        let key = self.key(user, password);
        let mut generations = self.lock();
        if generations.young.contains(&key) {
            return true;
        }
        let is_old = generations.old.contains(&key);
        if is_old {
            generations.insert(key);
        }
        is_old
    }

    /// Notes credentials that were verified.
    pub fn insert(&self, user: &[u8], password: &[u8]) {
        let key = self.key(user, password);
        self.lock().insert(key);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Generations> {
        self.generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    fn insert(&mut self, key: Key) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_known_as_a_whole() {
        let verified = Verified::default();
        verified.insert(b"joe", b"secret");
        assert!(verified.contains(b"joe", b"secret"));
        for (user, password) in [("joe", "secre"), ("joes", "ecret"), ("", "joesecret")] {
            assert!(!verified.contains(user.as_bytes(), password.as_bytes()));
        }
        assert!(!Verified::default().contains(b"joe", b"secret"));
    }

    #[test]
    fn the_number_is_bounded_and_what_is_used_stays() {
        let verified = Verified::default();
        verified.insert(b"joe", b"used");
        verified.insert(b"joe", b"unused");
        for number in 0..3 * GENERATION {
            verified.insert(b"ann", number.to_string().as_bytes());
            assert!(verified.contains(b"joe", b"used"), "{number}");
        }
        assert!(!verified.contains(b"joe", b"unused"));
        let generations = verified.lock();
        assert!(generations.young.len() <= GENERATION && generations.old.len() <= GENERATION);
    }
}
