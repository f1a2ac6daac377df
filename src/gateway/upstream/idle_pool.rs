//! Pool of idle connections to upstreams.
//!
//! pingora's own pool starts a task for every connection that is returned, to detect that it is
//! closed or too old. At a hundred thousand requests a second that is a considerable part of the
//! work. Here a connection is checked when it is taken, and all connections are checked once a
//! second.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use pingora::protocols::Stream;
use tokio::io::{AsyncRead, ReadBuf};

use crate::config::model::SocketAddress;
use crate::gateway::plain_stream::{make_bare, may_be_bare};
use crate::gateway::shard::{SHARDS, shard};

const SWEEP: Duration = Duration::from_secs(1);

/// Key of a connection: the peer's address, and pingora's hash of the connection settings. The hash
/// does not cover the trusted authorities, so only peers with the same authorities may share a
/// pool.
pub type Key = (SocketAddress, u64);

/// Idle connections to all peers of an upstream.
///
/// Connections are kept in one stack per shard of threads: a connection is best used by the thread
/// whose event loop it is registered with, and the most recently used one is the least likely to be
/// closed.
pub struct IdlePool {
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

impl IdlePool {
    /// Creates a pool of at most `limit` connections, each idle for at most `idle_timeout`.
    pub fn new(limit: usize, idle_timeout: Duration) -> Self {
        IdlePool {
            stacks: std::array::from_fn(|_| Mutex::default()),
            count: AtomicUsize::new(0),
            limit,
            idle_timeout,
            is_swept: AtomicBool::new(false),
        }
    }

    /// Returns `true` if it has the same limit and idle timeout.
    pub fn is_like(&self, limit: usize, idle_timeout: Duration) -> bool {
        self.limit == limit && self.idle_timeout == idle_timeout
    }

    /// Maximum number of idle connections.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Number of idle connections.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Closes all idle connections.
    pub fn clear(&self) {
        for stack in &self.stacks {
            let closed = std::mem::take(&mut *lock(stack));
            self.count.fetch_sub(closed.len(), Ordering::Relaxed);
        }
    }

    /// Takes an idle connection that appears to be open.
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

    /// Adds an idle connection, or closes it if the pool is full or it is no longer open. Must be
    /// called within a runtime.
    pub fn put(self: &Arc<Self>, key: Key, mut stream: Stream) {
        if may_be_bare(&stream) {
            if !is_silent(&mut stream) {
                return;
            }
            make_bare(&mut stream);
        }
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

/// Returns `true` if there is nothing to read. An end of file means closed, and unsolicited data
/// must not be read as the response to the next request.
fn is_silent(stream: &mut Stream) -> bool {
    let mut byte = [0];
    let mut buffer = ReadBuf::new(&mut byte);
    let mut context = Context::from_waker(Waker::noop());
    Pin::new(stream)
        .poll_read(&mut context, &mut buffer)
        .is_pending()
}

/// Removes closed and expired connections once a second, until the pool is dropped.
async fn sweep(kept: Weak<IdlePool>) {
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

/// Locks a stack. A panic cannot leave it inconsistent, because every change is a single call.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
