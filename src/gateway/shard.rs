//! Shard number of each thread, for state that is split between threads.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Number of shards. If there are more threads, some share one.
pub const SHARDS: usize = 64;

/// Returns the shard of the calling thread; it never changes.
pub fn shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static SHARD: usize = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS;
    }
    SHARD.with(|shard| *shard)
}

/// Counter that threads add to without waiting for each other.
pub struct Counter(Box<[Part]>);

/// Part of a counter in its own cache line, so that the parts of two threads never share one.
#[repr(align(64))]
#[derive(Default)]
struct Part(AtomicU64);

impl Default for Counter {
    fn default() -> Self {
        Counter((0..SHARDS).map(|_| Part::default()).collect())
    }
}

impl Counter {
    /// Adds to the calling thread's part.
    pub fn add(&self, amount: u64) {
        self.0[shard()].0.fetch_add(amount, Ordering::Relaxed);
    }

    /// Returns the sum of all parts.
    pub fn sum(&self) -> u64 {
        let parts = self.0.iter();
        parts.map(|part| part.0.load(Ordering::Relaxed)).sum()
    }
}
