//! Leaving without cutting anybody off.
//!
//! Once a stop was asked for, every response says `Connection: close`, so clients with open
//! connections move on by themselves instead of losing the request that they were about to send;
//! and the requests under way are counted, so the process can go when the last one is done.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Shared by the gateway, which counts, and the server, which waits.
#[derive(Debug, Default)]
pub struct Drain {
    draining: AtomicBool,
    under_way: AtomicUsize,
}

impl Drain {
    /// From now on connections are not kept.
    pub fn begin(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether connections are to be closed after the response under way.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// How many requests are under way.
    pub fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Acquire)
    }

    /// Counts a request for as long as the guard lives.
    #[must_use]
    pub fn enter(self: &Arc<Self>) -> UnderWay {
        self.under_way.fetch_add(1, Ordering::AcqRel);
        UnderWay(Arc::clone(self))
    }
}

/// A request that is under way.
#[derive(Debug)]
pub struct UnderWay(Arc<Drain>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::AcqRel);
    }
}
