//! Counter of the rejections of one rule, with a rate-limited log line.
//!
//! Rejections are most frequent under attack, so counting them must not make threads wait for each
//! other, and logging them must not fill a disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::gateway::shard::Counter;

/// Minimum time between two log lines of a rule.
const EVERY: Duration = Duration::from_secs(1);

/// Counter of rejections.
pub struct RejectionCounter {
    count: Arc<Counter>,
    since: Instant,
    /// Time of the next log line, in nanoseconds after `since`.
    due: AtomicU64,
    /// Rejections since the last log line.
    untold: AtomicU64,
}

impl Default for RejectionCounter {
    fn default() -> Self {
        RejectionCounter::with(Arc::default())
    }
}

impl RejectionCounter {
    /// Creates the counter of a new rule, or of a changed one, which continues the count of the rule
    /// `before` of the same name: a counter must not go back when the configuration is reloaded.
    #[must_use]
    pub fn continuing(before: Option<&RejectionCounter>) -> Self {
        let count = before.map(|before| Arc::clone(&before.count));
        RejectionCounter::with(count.unwrap_or_default())
    }

    fn with(count: Arc<Counter>) -> Self {
        RejectionCounter {
            count,
            since: Instant::now(),
            due: AtomicU64::new(0),
            untold: AtomicU64::new(0),
        }
    }

    /// Counts one rejection.
    pub fn count(&self) {
        self.count.add(1);
    }

    /// Counts one rejection. If a log line is due, returns the number of rejections since the last
    /// one.
    pub fn count_and_tell(&self, now: Instant) -> Option<u64> {
        self.count();
        self.untold.fetch_add(1, Ordering::Relaxed);
        let now = now.saturating_duration_since(self.since).as_nanos() as u64;
        let due = self.due.load(Ordering::Relaxed);
        let next = now + EVERY.as_nanos() as u64;
        let is_mine = now >= due
            && self
                .due
                .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        is_mine.then(|| self.untold.swap(0, Ordering::Relaxed))
    }

    /// Total number of rejections.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.count.sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_a_second_tells_of_all() {
        let tally = RejectionCounter::default();
        let at = |millis| tally.since + Duration::from_millis(millis);
        assert_eq!(tally.count_and_tell(at(5)), Some(1));
        assert_eq!(tally.count_and_tell(at(6)), None);
        assert_eq!(tally.count_and_tell(at(1004)), None);
        assert_eq!(tally.count_and_tell(at(1005)), Some(3));
        assert_eq!(tally.count_and_tell(at(9000)), Some(1));
        assert_eq!(tally.sum(), 5);
    }
}
