//! Health of one upstream peer: passive outlier detection and the results of active health checks.
//!
//! A peer that fails is ejected for `fail_timeout`, doubled on each further failure up to
//! `max_fail_timeout`, so a dead peer costs only an occasional failed try. When the ejection ends,
//! a single request probes the peer; other requests keep avoiding it until the probe succeeds.
//! State is a few atomics, read without a lock, because every request reads it. A healthy peer
//! costs two loads.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::time::Duration;

use crate::config::model::Upstream;

/// Initial traffic share of a peer in slow start, as a fraction of its weight.
const FIRST_SHARE: f32 = 0.1;

/// Maximum number of doublings of an ejection; more than any configured maximum needs.
const DOUBLINGS: u32 = 32;

/// Rules of ejection and slow start. Times are in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    max_fails: u32,
    fail_timeout: u64,
    max_fail_timeout: u64,
    slow_start: Option<u64>,
}

impl Policy {
    /// Takes the rules from the settings of an upstream.
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

/// Change of a peer's state by the latest result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// No change.
    None,
    /// The peer was healthy and is down now.
    Down,
    /// The peer was down and is healthy now.
    Up,
}

/// Health of one peer. Times are in milliseconds since the start of the pool, never 0.
#[derive(Debug, Default)]
pub struct PeerHealth {
    /// End of the ejection; 0 if the peer is not ejected.
    avoid_until: AtomicU64,
    /// True if health checks mark the peer as down.
    is_down: AtomicBool,
    fails: AtomicU32,
    last_fail: AtomicU64,
    /// Number of ejections since the last successful response.
    ejections: AtomicU32,
    /// True while a single request probes the peer.
    is_probed: AtomicBool,
    /// Start of the slow start; 0 if the peer gets its full share.
    ramp_since: AtomicU64,
    /// Number of consecutive health checks that contradict the current state.
    contrary_checks: AtomicU32,
    is_checked: AtomicBool,
}

impl PeerHealth {
    /// Returns `true` if the peer is neither ejected nor marked down by health checks.
    pub fn is_healthy(&self) -> bool {
        self.avoid_until.load(Relaxed) == 0 && !self.is_down.load(Relaxed)
    }

    /// Returns `true` if health checks mark the peer as down.
    pub fn is_down(&self) -> bool {
        self.is_down.load(Relaxed)
    }

    /// Returns `true` if the peer is available: healthy, or its ejection is over and a request may
    /// probe it.
    pub fn is_open(&self, now: impl Fn() -> u64) -> bool {
        let until = self.avoid_until.load(Relaxed);
        (until == 0 || until <= now()) && !self.is_down.load(Relaxed)
    }

    /// Takes the peer for a request. If the request is a probe, the peer stays unavailable to other
    /// requests for `fail_timeout`, or until the probe ends. Returns `false` if the peer is ejected
    /// or another request probes it.
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

    /// Records a failure.
    pub fn failed(&self, policy: &Policy, now: u64) -> Change {
        if policy.max_fails == 0 {
            return Change::None;
        }
        let until = self.avoid_until.load(Relaxed);
        let is_probed = self.is_probed.swap(false, Relaxed);
        if until > now && !is_probed {
            // The peer is already ejected: this request was in flight before, or had no better
            // peer.
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

    /// Records a successful response, which ends the ejection.
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

    /// Records the result of a health check. The first result changes the state at once, later ones
    /// after `rise` or `fall` consecutive results.
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

    /// Clears the results of health checks, for a peer that is no longer checked.
    pub fn forget_checks(&self) {
        self.is_down.store(false, Relaxed);
        self.is_checked.store(false, Relaxed);
        self.contrary_checks.store(0, Relaxed);
    }

    /// Starts the slow start of a peer that recovers or was added.
    pub fn come_back(&self, policy: &Policy, now: u64) {
        if policy.slow_start.is_some() {
            self.ramp_since.store(now, Relaxed);
        }
    }

    /// Fraction of its weight that the peer should get now, up to 1.
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

    fn is_open(peer_health: &PeerHealth, now: u64) -> bool {
        peer_health.is_open(|| now)
    }

    #[test]
    fn a_peer_that_fails_again_and_again_is_passed_over_for_longer() {
        let peer_health = PeerHealth::default();
        assert_eq!(peer_health.failed(&POLICY, 100), Change::Down);
        let mut now = 100;
        for time in [10, 20, 35, 35] {
            assert!(!is_open(&peer_health, now + time - 1), "after {time}");
            now += time;
            assert!(is_open(&peer_health, now));
            assert!(peer_health.take(&POLICY, || now));
            assert_eq!(peer_health.failed(&POLICY, now), Change::None);
        }
        assert_eq!(peer_health.succeeded(&POLICY, || now), Change::Up);
        assert!(is_open(&peer_health, now) && peer_health.is_healthy());
        assert_eq!(peer_health.failed(&POLICY, now), Change::Down);
        assert!(is_open(&peer_health, now + 10), "it begins anew");
    }

    #[test]
    fn one_request_finds_out_and_the_others_wait() {
        let peer_health = PeerHealth::default();
        peer_health.failed(&POLICY, 100);
        assert!(peer_health.take(&POLICY, || 110));
        assert!(!is_open(&peer_health, 111) && !peer_health.take(&POLICY, || 111));
        assert_eq!(peer_health.succeeded(&POLICY, || 112), Change::Up);
        assert!(peer_health.take(&POLICY, || 112));
    }

    #[test]
    fn requests_that_fail_together_count_once() {
        let peer_health = PeerHealth::default();
        for _ in 0..100 {
            peer_health.failed(&POLICY, 100);
        }
        assert!(is_open(&peer_health, 110));
    }

    #[test]
    fn failures_count_only_in_a_row_and_within_their_time() {
        let policy = Policy {
            max_fails: 3,
            ..POLICY
        };
        let peer_health = PeerHealth::default();
        let fail = |now| peer_health.failed(&policy, now) == Change::Down;
        assert!(!fail(100) && !fail(101));
        peer_health.succeeded(&policy, || 102);
        assert!(!fail(103) && !fail(104), "one answered between");
        assert!(!fail(115), "too late to count with the others");
        assert!(!fail(116) && fail(117));
        let never = Policy {
            max_fails: 0,
            ..POLICY
        };
        assert!((200..300).all(|now| PeerHealth::default().failed(&never, now) == Change::None));
    }

    #[test]
    fn checks_count_in_a_row_and_the_first_at_once() {
        let peer_health = PeerHealth::default();
        let check = |good| peer_health.checked(good, 2, 3, &POLICY, 1);
        assert_eq!(check(false), Change::Down);
        assert_eq!((check(true), check(false)), (Change::None, Change::None));
        assert_eq!((check(true), check(true)), (Change::None, Change::Up));
        assert_eq!((check(false), check(false)), (Change::None, Change::None));
        assert_eq!(check(false), Change::Down);
        assert!(!is_open(&peer_health, 1));
        peer_health.forget_checks();
        assert!(is_open(&peer_health, 1));
    }

    #[test]
    fn a_peer_that_is_back_gets_its_share_by_and_by() {
        let peer_health = PeerHealth::default();
        let share = |now| peer_health.share(&POLICY, || now);
        assert!(share(1) >= 1.0);
        peer_health.failed(&POLICY, 100);
        peer_health.succeeded(&POLICY, || 1000);
        let percent = |now| format!("{:.0} %", share(now) * 100.0);
        assert_eq!([1000, 1050, 1100].map(percent), ["10 %", "50 %", "100 %"]);
    }
}
