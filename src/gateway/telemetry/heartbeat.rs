//! Heartbeats of the worker threads, which reveal a stuck worker from outside.
//!
//! Every connection belongs to one worker. If a worker blocks, its connections hang, and so does
//! every new one that it gets, while other threads, including the admin listener, continue
//! normally. A task on each worker stores the time once a second; a worker with an old time is
//! stuck.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time between two heartbeats.
const EVERY: Duration = Duration::from_secs(1);

/// Age of the last heartbeat above which a worker counts as stuck.
pub const STUCK: Duration = Duration::from_secs(10);

thread_local! {
    static IS_WATCHED: Cell<bool> = const { Cell::new(false) };
}

/// Last heartbeats of all workers.
#[derive(Debug)]
pub struct Heartbeats {
    start: Instant,
    /// Milliseconds since `start`, one value for each worker.
    notes: Mutex<Vec<Arc<AtomicU64>>>,
}

impl Default for Heartbeats {
    fn default() -> Self {
        Heartbeats {
            start: Instant::now(),
            notes: Mutex::default(),
        }
    }
}

impl Heartbeats {
    /// Starts the heartbeat of the calling thread, unless it has one. A worker can only be stuck
    /// once it has a connection, so this is called with every connection.
    ///
    /// # Panics
    /// If the thread does not belong to an async runtime.
    pub fn watch_this_worker(&self) {
        if !IS_WATCHED.replace(true) {
            self.watch();
        }
    }

    fn watch(&self) {
        let (start, note) = (self.start, Arc::new(AtomicU64::new(0)));
        note.store(millis(start.elapsed()), Ordering::Relaxed);
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.push(Arc::clone(&note));
        // The task ends with the worker.
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(EVERY).await;
                note.store(millis(start.elapsed()), Ordering::Relaxed);
            }
        });
    }

    /// Age of the oldest heartbeat if it is older than [`STUCK`]; `None` if no worker is stuck.
    #[must_use]
    pub fn stuck(&self) -> Option<Duration> {
        self.stuck_at(self.start.elapsed())
    }

    fn stuck_at(&self, now: Duration) -> Option<Duration> {
        let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let ages = notes.iter().map(|note| {
            let at = Duration::from_millis(note.load(Ordering::Relaxed));
            now.saturating_sub(at)
        });
        ages.max().filter(|age| *age > STUCK)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_worker_that_runs_nothing_is_stuck() {
        let heartbeats = Arc::new(Heartbeats::default());
        let hour = Duration::from_secs(3600);
        assert_eq!(
            heartbeats.stuck_at(hour),
            None,
            "no worker has a connection"
        );
        let (release, stuck) = channel();
        let (watched, is_watched) = channel();
        let worker = std::thread::spawn({
            let heartbeats = Arc::clone(&heartbeats);
            move || {
                let mut runtime = tokio::runtime::Builder::new_current_thread();
                let runtime = runtime.enable_time().build().unwrap();
                runtime.block_on(async {
                    heartbeats.watch_this_worker();
                    heartbeats.watch_this_worker();
                    watched.send(()).unwrap();
                    // Blocks as a write to a full pipe would.
                    let noted = stuck.recv().unwrap();
                    while heartbeats.notes.lock().unwrap()[0].load(Ordering::Relaxed) <= noted {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                });
            }
        });
        is_watched.recv().unwrap();
        assert_eq!(heartbeats.notes.lock().unwrap().len(), 1);
        assert_eq!(heartbeats.stuck(), None);
        let noted = heartbeats.notes.lock().unwrap()[0].load(Ordering::Relaxed);
        let noted_at = Duration::from_millis(noted);
        assert_eq!(heartbeats.stuck_at(noted_at + STUCK), None);
        assert_eq!(heartbeats.stuck_at(noted_at + hour), Some(hour));
        // The worker continues once it can run again.
        release.send(noted).unwrap();
        worker.join().unwrap();
        assert_eq!(heartbeats.stuck(), None);
    }
}
