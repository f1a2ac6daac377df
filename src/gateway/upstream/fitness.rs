//! What is known of how well a peer is: from requests that it did or did not answer, and from those
//! that asked it.
//!
//! A peer that fails is passed over for a while, and for twice as long when it fails again, so that a
//! dead one costs a request a try now and then. When its time is over one request finds out how it
//! is; the others wait for that one. All of it is a few numbers that are read without a lock, and a
//! peer that is well is two of them.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::time::Duration;

use crate::config::model::Upstream;

/// What a peer begins with that slowly comes back.
const FIRST_SHARE: f32 = 0.1;

/// How many doublings there are at most. More than any configured maximum needs.
const DOUBLINGS: u32 = 32;

/// When a peer is passed over, and for how long. Times are milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    max_fails: u32,
    fail_timeout: u64,
    max_fail_timeout: u64,
    slow_start: Option<u64>,
}

impl Policy {
    /// What an upstream's settings say.
    pub fn new(upstream: &Upstream) -> Self {
        let millis = |time: Duration| time.as_millis() as u64;
        Policy {
            max_fails: upstream.max_fails,
            fail_timeout: millis(upstream.fail_timeout),
            max_fail_timeout: millis(upstream.max_fail_timeout),
            slow_start: upstream.slow_start.map(millis),
        }
    }
}

/// What became of a peer by what was learned just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing new.
    None,
    /// It was well and is passed over now.
    Down,
    /// It was passed over and is well now.
    Up,
}

/// How well a peer is. Times are milliseconds since the pool's start, never 0.
#[derive(Debug, Default)]
pub struct Fitness {
    /// Until when it is passed over; 0 if it did not fail.
    avoid_until: AtomicU64,
    /// Whether checks say that it is down.
    is_down: AtomicBool,
    fails: AtomicU32,
    last_fail: AtomicU64,
    /// How often it was put out without having answered between.
    ejections: AtomicU32,
    /// Whether a request finds out how it is.
    is_probed: AtomicBool,
    /// Since when it is back, while it gets less than its share; otherwise 0.
    ramp_since: AtomicU64,
    /// The checks in a row that say the other thing than what is thought.
    contrary_checks: AtomicU32,
    is_checked: AtomicBool,
}

impl Fitness {
    /// Whether nothing speaks against it.
    pub fn is_well(&self) -> bool {
        self.avoid_until.load(Relaxed) == 0 && !self.is_down.load(Relaxed)
    }

    /// Whether checks say that it is down.
    pub fn is_down(&self) -> bool {
        self.is_down.load(Relaxed)
    }

    /// Whether it may have a request, or may be tried with one.
    pub fn is_open(&self, now: impl Fn() -> u64) -> bool {
        let until = self.avoid_until.load(Relaxed);
        (until == 0 || until <= now()) && !self.is_down.load(Relaxed)
    }

    /// It gets a request. If that is to find out how it is, no other does meanwhile.
    pub fn take(&self, policy: &Policy, now: impl Fn() -> u64) -> bool {
        let until = self.avoid_until.load(Relaxed);
        if until == 0 {
            return true;
        }
        let now = now();
        let next = now + policy.fail_timeout;
        let taken = until <= now
            && self
                .avoid_until
                .compare_exchange(until, next, Relaxed, Relaxed)
                .is_ok();
        if taken {
            self.is_probed.store(true, Relaxed);
        }
        taken
    }

    /// It did not answer.
    pub fn failed(&self, policy: &Policy, now: u64) -> Change {
        if policy.max_fails == 0 {
            return Change::None;
        }
        let until = self.avoid_until.load(Relaxed);
        let is_probed = self.is_probed.swap(false, Relaxed);
        if until > now && !is_probed {
            // Out already: what was under way then, or went there for want of a better one.
            return Change::None;
        }
        let last = self.last_fail.swap(now, Relaxed);
        if now.saturating_sub(last) > policy.fail_timeout {
            self.fails.store(0, Relaxed);
        }
        let fails = self.fails.fetch_add(1, Relaxed) + 1;
        if until == 0 && fails < policy.max_fails {
            return Change::None;
        }
        let doublings = self.ejections.fetch_add(1, Relaxed).min(DOUBLINGS);
        let time = policy.fail_timeout.saturating_mul(1 << doublings);
        let until = now.saturating_add(time.min(policy.max_fail_timeout));
        let was_out = self.avoid_until.swap(until, Relaxed) != 0;
        if was_out || self.is_down() {
            Change::None
        } else {
            Change::Down
        }
    }

    /// It answered.
    pub fn succeeded(&self, policy: &Policy, now: impl Fn() -> u64) -> Change {
        if self.fails.load(Relaxed) != 0 {
            self.fails.store(0, Relaxed);
        }
        if self.avoid_until.load(Relaxed) == 0 || self.avoid_until.swap(0, Relaxed) == 0 {
            return Change::None;
        }
        self.ejections.store(0, Relaxed);
        self.is_probed.store(false, Relaxed);
        if self.is_down() {
            return Change::None;
        }
        self.come_back(policy, now());
        Change::Up
    }

    /// A check said how it is; the first one is believed at once.
    pub fn checked(&self, good: bool, rise: u32, fall: u32, policy: &Policy, now: u64) -> Change {
        let is_first = !self.is_checked.swap(true, Relaxed);
        if good != self.is_down() {
            self.contrary_checks.store(0, Relaxed);
            return Change::None;
        }
        let contrary = self.contrary_checks.fetch_add(1, Relaxed) + 1;
        let enough = if good { rise } else { fall };
        if contrary < enough && !is_first {
            return Change::None;
        }
        self.contrary_checks.store(0, Relaxed);
        self.is_down.store(!good, Relaxed);
        if self.avoid_until.load(Relaxed) != 0 {
            return Change::None;
        }
        if good {
            self.come_back(policy, now);
            Change::Up
        } else {
            Change::Down
        }
    }

    /// Nobody checks it any more.
    pub fn forget_checks(&self) {
        self.is_down.store(false, Relaxed);
        self.is_checked.store(false, Relaxed);
        self.contrary_checks.store(0, Relaxed);
    }

    /// It is there again, or for the first time: its share grows from now on.
    pub fn come_back(&self, policy: &Policy, now: u64) {
        if policy.slow_start.is_some() {
            self.ramp_since.store(now, Relaxed);
        }
    }

    /// What it should get of its share, up to 1.
    pub fn share(&self, policy: &Policy, now: impl Fn() -> u64) -> f32 {
        let since = self.ramp_since.load(Relaxed);
        let Some(slow_start) = policy.slow_start.filter(|_| since != 0) else {
            return 1.0;
        };
        let passed = now().saturating_sub(since);
        if passed >= slow_start {
            self.ramp_since.store(0, Relaxed);
            return 1.0;
        }
        (passed as f32 / slow_start as f32).max(FIRST_SHARE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy {
        max_fails: 1,
        fail_timeout: 10,
        max_fail_timeout: 35,
        slow_start: Some(100),
    };

    fn is_open(fitness: &Fitness, now: u64) -> bool {
        fitness.is_open(|| now)
    }

    #[test]
    fn a_peer_that_fails_again_and_again_is_passed_over_for_longer() {
        let fitness = Fitness::default();
        assert_eq!(fitness.failed(&POLICY, 100), Change::Down);
        let mut now = 100;
        for time in [10, 20, 35, 35] {
            assert!(!is_open(&fitness, now + time - 1), "after {time}");
            now += time;
            assert!(is_open(&fitness, now));
            assert!(fitness.take(&POLICY, || now));
            assert_eq!(fitness.failed(&POLICY, now), Change::None);
        }
        assert_eq!(fitness.succeeded(&POLICY, || now), Change::Up);
        assert!(is_open(&fitness, now) && fitness.is_well());
        assert_eq!(fitness.failed(&POLICY, now), Change::Down);
        assert!(is_open(&fitness, now + 10), "it begins anew");
    }

    #[test]
    fn one_request_finds_out_and_the_others_wait() {
        let fitness = Fitness::default();
        fitness.failed(&POLICY, 100);
        assert!(fitness.take(&POLICY, || 110));
        assert!(!is_open(&fitness, 111) && !fitness.take(&POLICY, || 111));
        assert_eq!(fitness.succeeded(&POLICY, || 112), Change::Up);
        assert!(fitness.take(&POLICY, || 112));
    }

    #[test]
    fn requests_that_fail_together_count_once() {
        let fitness = Fitness::default();
        for _ in 0..100 {
            fitness.failed(&POLICY, 100);
        }
        assert!(is_open(&fitness, 110));
    }

    #[test]
    fn failures_count_only_in_a_row_and_within_their_time() {
        let policy = Policy {
            max_fails: 3,
            ..POLICY
        };
        let fitness = Fitness::default();
        let fail = |now| fitness.failed(&policy, now) == Change::Down;
        assert!(!fail(100) && !fail(101));
        fitness.succeeded(&policy, || 102);
        assert!(!fail(103) && !fail(104), "one answered between");
        assert!(!fail(115), "too late to count with the others");
        assert!(!fail(116) && fail(117));
        let never = Policy {
            max_fails: 0,
            ..POLICY
        };
        assert!((200..300).all(|now| Fitness::default().failed(&never, now) == Change::None));
    }

    #[test]
    fn checks_count_in_a_row_and_the_first_at_once() {
        let fitness = Fitness::default();
        let check = |good| fitness.checked(good, 2, 3, &POLICY, 1);
        assert_eq!(check(false), Change::Down);
        assert_eq!((check(true), check(false)), (Change::None, Change::None));
        assert_eq!((check(true), check(true)), (Change::None, Change::Up));
        assert_eq!((check(false), check(false)), (Change::None, Change::None));
        assert_eq!(check(false), Change::Down);
        assert!(!is_open(&fitness, 1));
        fitness.forget_checks();
        assert!(is_open(&fitness, 1));
    }

    #[test]
    fn a_peer_that_is_back_gets_its_share_by_and_by() {
        let fitness = Fitness::default();
        let share = |now| fitness.share(&POLICY, || now);
        assert!(share(1) >= 1.0);
        fitness.failed(&POLICY, 100);
        fitness.succeeded(&POLICY, || 1000);
        let percent = |now| format!("{:.0} %", share(now) * 100.0);
        assert_eq!([1000, 1050, 1100].map(percent), ["10 %", "50 %", "100 %"]);
    }
}
