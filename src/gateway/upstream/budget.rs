//! Retry budget of an upstream.
//!
//! When all peers of an upstream fail, each request is tried on several of them, and an overloaded
//! upstream gets a multiple of the load that overloaded it. So retries are limited to a share of
//! the requests, plus a constant for upstreams with few requests; linkerd does the same, and the
//! numbers are linkerd's. The tries are counted anyway: only a retry does work here.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Length of the window in which requests and retries are counted.
const WINDOW: Duration = Duration::from_secs(10);

/// Retries that are always allowed in a window, in addition to the share.
const RESERVE: f64 = 100.0;

/// Retry budget of one upstream.
pub struct Budget {
    share: f64,
    /// Counts that a reload takes over: requests on the previous pool finish there, and their
    /// retries load the same peers.
    counts: Arc<Counts>,
}

struct Counts {
    window: Mutex<Window>,
    retries: AtomicU64,
    refused: AtomicU64,
}

/// Counters of the current window and the previous one.
struct Window {
    since: Instant,
    /// Total number of tries, including retries, at the start of the window.
    tries: u64,
    retries: u64,
    before: Option<Past>,
}

struct Past {
    requests: u64,
    retries: u64,
}

impl Budget {
    /// Creates a budget of `share` retries for each request. It continues the counts of the budget
    /// `before` of the same upstream.
    pub fn new(share: f64, before: Option<&Budget>) -> Self {
        let counts = before.map_or_else(Arc::default, |before| Arc::clone(&before.counts));
        Budget { share, counts }
    }

    /// Takes one retry. Returns `false` if the budget is used up. `tries` is the total number of
    /// tries since the upstream exists; it never decreases.
    pub fn spend(&self, tries: u64, now: Instant) -> bool {
        let Counts {
            window,
            retries,
            refused,
        } = &*self.counts;
        // The window holds only numbers, so a panic cannot leave it inconsistent.
        let mut window = window.lock().unwrap_or_else(PoisonError::into_inner);
        window.roll(tries, now);
        let is_left = window.is_left(self.share, tries, now);
        if is_left {
            window.retries += 1;
        }
        let count = if is_left { retries } else { refused };
        count.fetch_add(1, Ordering::Relaxed);
        is_left
    }

    /// Number of retries that were made.
    pub fn retries(&self) -> u64 {
        self.counts.retries.load(Ordering::Relaxed)
    }

    /// Number of retries that were refused.
    pub fn refused(&self) -> u64 {
        self.counts.refused.load(Ordering::Relaxed)
    }
}

impl Default for Counts {
    fn default() -> Self {
        Counts {
            window: Mutex::new(Window {
                since: Instant::now(),
                tries: 0,
                retries: 0,
                before: None,
            }),
            retries: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }
}

impl Window {
    fn roll(&mut self, tries: u64, now: Instant) {
        let age = now.saturating_duration_since(self.since);
        if age < WINDOW {
            return;
        }
        let past = Past {
            requests: self.requests(tries),
            retries: self.retries,
        };
        *self = Window {
            since: now,
            tries,
            retries: 0,
            before: (age < 2 * WINDOW).then_some(past),
        };
    }

    fn requests(&self, tries: u64) -> u64 {
        tries
            .saturating_sub(self.tries)
            .saturating_sub(self.retries)
    }

    /// Returns `true` if a retry is left. The previous window counts by the fraction of it that a
    /// sliding window still covers.
    fn is_left(&self, share: f64, tries: u64, now: Instant) -> bool {
        let age = now.saturating_duration_since(self.since);
        let seen = 1.0 - age.as_secs_f64() / WINDOW.as_secs_f64();
        let before = |of: fn(&Past) -> u64| {
            let count = self.before.as_ref().map_or(0, of);
            count as f64 * seen.max(0.0)
        };
        let requests = self.requests(tries) as f64 + before(|past| past.requests);
        let retries = self.retries as f64 + before(|past| past.retries);
        retries < requests * share + RESERVE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Number of requests in each second that may be retried if all of them fail.
    fn retries(share: f64, rate: u64, seconds: u64) -> Vec<u64> {
        let (budget, start) = (Budget::new(share, None), Instant::now());
        let mut tries = 0;
        let second = |second| {
            let requests = (0..rate).filter(|request| {
                let at = Duration::from_secs(second)
                    + Duration::from_secs(1) * *request as u32 / rate as u32;
                tries += 1;
                let spent = budget.spend(tries, start + at);
                tries += u64::from(spent);
                spent
            });
            requests.count() as u64
        };
        (0..seconds).map(second).collect()
    }

    #[test]
    fn an_outage_gets_its_share_and_no_more() {
        let all: u64 = retries(0.2, 1000, 60).iter().sum();
        let expected = 60 * 200..60 * 200 + 8 * 100;
        assert!(expected.contains(&all), "{all}");
    }

    #[test]
    fn a_quiet_upstream_may_retry_everything() {
        assert_eq!(retries(0.0, 9, 30), [9; 30]);
    }

    #[test]
    fn what_is_long_ago_counts_no_more() {
        let (budget, start) = (Budget::new(0.0, None), Instant::now());
        let spend = |seconds| {
            let at = start + Duration::from_secs(seconds);
            (0..200).filter(|_| budget.spend(0, at)).count()
        };
        assert_eq!((spend(0), spend(1), spend(60)), (100, 0, 100));
        assert_eq!(budget.refused(), 100 + 200 + 100);
    }

    #[test]
    fn a_changed_share_continues_the_counts() {
        let (before, now) = (Budget::new(0.0, None), Instant::now());
        let spend = |budget: &Budget, tries| (0..200).filter(|_| budget.spend(tries, now)).count();
        assert_eq!(spend(&before, 1000), 100);
        let after = Budget::new(0.25, Some(&before));
        assert_eq!((after.retries(), after.refused()), (100, 100));
        // 900 of the tries were no retries: a quarter of them and the reserve, less those made.
        let all = 225 + 100;
        assert_eq!(spend(&after, 1000) + spend(&after, 1225), 200 + 25);
        assert_eq!((after.retries(), before.retries()), (all, all));
    }
}
