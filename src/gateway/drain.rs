//! Leaving without cutting anybody off.
//!
//! Once a stop was asked for, every response says `Connection: close`, so clients with open
//! connections move on by themselves instead of losing the request that they were about to send.
//! Requests under way are counted, and so are connections that were accepted and have not sent
//! their first request; the process can go when there is neither.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Shared by the gateway, which counts, and the server, which waits.
#[derive(Debug, Default)]
pub struct Drain {
    draining: AtomicBool,
    listeners_closed: AtomicBool,
    under_way: Arc<AtomicUsize>,
    fresh: Arc<AtomicUsize>,
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

    /// From now on there are no new connections.
    pub fn close_listeners(&self) {
        self.listeners_closed.store(true, Ordering::Release);
    }

    /// Whether there are no new connections any more.
    pub fn are_listeners_closed(&self) -> bool {
        self.listeners_closed.load(Ordering::Acquire)
    }

    /// How many requests are under way.
    pub fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Acquire)
    }

    /// How many connections have not sent their first request.
    pub fn fresh(&self) -> usize {
        self.fresh.load(Ordering::Acquire)
    }

    /// Counts a request for as long as the guard lives.
    #[must_use]
    pub fn enter(&self) -> Counted {
        Counted::new(&self.under_way)
    }

    /// Counts a connection without a request for as long as the guard lives.
    #[must_use]
    pub fn accept(&self) -> Counted {
        Counted::new(&self.fresh)
    }
}

/// Something that is counted while this lives.
#[derive(Debug)]
pub struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Counted(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
