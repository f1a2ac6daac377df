//! Connections to upstreams, kept between requests.
//!
//! pingora's own pool starts a task for every connection that is put back, to see it close or grow
//! old; at a hundred thousand requests a second that is a good part of the work. Here a connection
//! is looked at when it is taken, and all of them once a second.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use pingora::protocols::Stream;
use tokio::io::{AsyncRead, ReadBuf};

use crate::gateway::shard::{SHARDS, shard};

const SWEEP: Duration = Duration::from_secs(1);

/// What a connection is good for: an address, and pingora's hash of how it is spoken to there. That
/// one does not know the authorities that a peer is trusted by, so only peers with the same ones may
/// share what is kept.
pub type Key = (SocketAddr, u64);

/// The kept connections to all peers of an upstream.
///
/// Each thread has a stack of its own: a connection is best used by the thread whose event loop it
/// is registered with, and the one that was used last is the least likely to be closed.
pub struct Kept {
    stacks: [Mutex<Vec<Connection>>; SHARDS],
    count: AtomicUsize,
    limit: usize,
    idle_timeout: Duration,
    is_swept: AtomicBool,
}

struct Connection {
    key: Key,
    stream: Stream,
    since: Instant,
}

impl Kept {
    /// Keeps `limit` connections at most, each for `idle_timeout` at most.
    pub fn new(limit: usize, idle_timeout: Duration) -> Self {
        Kept {
            stacks: std::array::from_fn(|_| Mutex::default()),
            count: AtomicUsize::new(0),
            limit,
            idle_timeout,
            is_swept: AtomicBool::new(false),
        }
    }

    /// Whether it keeps as much for as long.
    pub fn is_like(&self, limit: usize, idle_timeout: Duration) -> bool {
        self.limit == limit && self.idle_timeout == idle_timeout
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Closes all of them.
    pub fn clear(&self) {
        for stack in &self.stacks {
            let closed = std::mem::take(&mut *lock(stack));
            self.count.fetch_sub(closed.len(), Ordering::Relaxed);
        }
    }

    /// A connection that is open, as far as can be known.
    pub fn take(&self, key: &Key) -> Option<Stream> {
        loop {
            let mut stack = lock(&self.stacks[shard()]);
            let place = stack
                .iter()
                .rposition(|connection| connection.key == *key)?;
            let mut connection = stack.remove(place);
            drop(stack);
            self.count.fetch_sub(1, Ordering::Relaxed);
            if connection.is_good(self.idle_timeout) {
                return Some(connection.stream);
            }
        }
    }

    /// Keeps a connection, unless there are enough. Must be called within a runtime.
    pub fn put(self: &Arc<Self>, key: Key, stream: Stream) {
        if self.count.fetch_add(1, Ordering::Relaxed) >= self.limit {
            self.count.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        lock(&self.stacks[shard()]).push(Connection {
            key,
            stream,
            since: Instant::now(),
        });
        if !self.is_swept.swap(true, Ordering::Relaxed) {
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }
}

impl Connection {
    fn is_good(&mut self, idle_timeout: Duration) -> bool {
        self.since.elapsed() < idle_timeout && is_silent(&mut self.stream)
    }
}

/// Whether there is nothing to read: an end means closed, and data that nobody asked for is none
/// that the next request should get.
fn is_silent(stream: &mut Stream) -> bool {
    let mut byte = [0];
    let mut buffer = ReadBuf::new(&mut byte);
    let mut context = Context::from_waker(Waker::noop());
    Pin::new(stream)
        .poll_read(&mut context, &mut buffer)
        .is_pending()
}

/// Closes what is closed or old, until the pool itself is gone.
async fn sweep(kept: Weak<Kept>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let Some(kept) = kept.upgrade() else { return };
        for stack in &kept.stacks {
            let mut stack = lock(stack);
            let before = stack.len();
            stack.retain_mut(|connection| connection.is_good(kept.idle_timeout));
            kept.count
                .fetch_sub(before - stack.len(), Ordering::Relaxed);
        }
    }
}

/// A thread that panicked left the stack whole: every step of it is one call.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
