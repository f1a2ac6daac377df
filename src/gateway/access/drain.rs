//! Graceful shutdown, without aborting requests.
//!
//! During the drain every response has `Connection: close`, so clients with open connections
//! reconnect instead of losing their next request. Requests in flight are counted, and so are
//! accepted connections without a first request; the process can exit when both counts are zero.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// State that is shared by the gateway, which counts, and the server, which waits.
#[derive(Debug, Default)]
pub struct Drain {
    draining: AtomicBool,
    listeners_closed: AtomicBool,
    in_flight: Arc<AtomicUsize>,
    fresh: Arc<AtomicUsize>,
}

impl Drain {
    /// Starts the drain: connections are no longer kept.
    pub fn begin(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Returns `true` if connections are to be closed after the current response.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Marks the listeners as closed: there are no new connections.
    pub fn close_listeners(&self) {
        self.listeners_closed.store(true, Ordering::Release);
    }

    /// Returns `true` if the listeners are closed.
    pub fn are_listeners_closed(&self) -> bool {
        self.listeners_closed.load(Ordering::Acquire)
    }

    /// Number of requests in flight.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }

    /// Number of connections without a first request.
    pub fn fresh(&self) -> usize {
        self.fresh.load(Ordering::Acquire)
    }

    /// Counts a request in flight until the guard is dropped.
    #[must_use]
    pub fn enter(&self) -> Counted {
        Counted::new(&self.in_flight)
    }

    /// Counts a connection without a first request until the guard is dropped.
    #[must_use]
    pub fn accept(&self) -> Counted {
        Counted::new(&self.fresh)
    }
}

/// Guard that counts something until it is dropped.
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
