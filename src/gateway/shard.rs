//! A number for each thread, for what threads share by having a part each.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// How many parts there are. With more threads than that, some share one.
pub const SHARDS: usize = 64;

/// The calling thread's part, the same as long as it lives.
pub fn shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static SHARD: usize = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS;
    }
    SHARD.with(|shard| *shard)
}

/// A count that threads add to without waiting for each other.
pub struct Counter(Box<[Part]>);

/// A cache line, so that two threads' parts never share one.
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

    /// What all threads added.
    pub fn sum(&self) -> u64 {
        let parts = self.0.iter();
        parts.map(|part| part.0.load(Ordering::Relaxed)).sum()
    }
}
