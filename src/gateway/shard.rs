//! A number for each thread, for what threads share by having a part each.

use std::sync::atomic::{AtomicUsize, Ordering};

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
