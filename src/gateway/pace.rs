//! How fast the other end must be.
//!
//! A timeout for each read does not help against a client that sends a byte before every one of
//! them. So the time that is spent waiting for a client is set off against what it sent or took in
//! that time: what it owes must not exceed a grace. Only waiting counts, so a slow upstream is not
//! held against a fast client, and a fast start earns nothing that could be spent on stalling later.

use std::time::{Duration, Instant};

use crate::config::model::MinRate;

/// The other end is slower than it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("slower than the lowest rate")]
pub struct TooSlow;

/// What one direction of a transfer owes.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    rate: MinRate,
    /// How much longer was waited than what came is worth.
    owed: Duration,
    /// Bytes that moved and were not set off against waiting.
    bytes: u64,
    /// Since when the other end is waited for.
    since: Option<Instant>,
}

impl Pace {
    /// A transfer at `rate` at least.
    pub fn new(rate: MinRate) -> Self {
        Pace {
            rate,
            owed: Duration::ZERO,
            bytes: 0,
            since: None,
        }
    }

    /// The other end is waited for from now on.
    pub fn wait(&mut self) {
        if self.since.is_none() {
            self.since = Some(Instant::now());
        }
    }

    /// `bytes` have moved.
    ///
    /// # Errors
    /// If the other end owes too much.
    pub fn moved(&mut self, bytes: usize) -> Result<(), TooSlow> {
        self.bytes += bytes as u64;
        match self.since.take() {
            None => Ok(()),
            Some(since) => self.settle(since.elapsed()),
        }
    }

    fn settle(&mut self, waited: Duration) -> Result<(), TooSlow> {
        let bytes = std::mem::take(&mut self.bytes);
        self.owed = (self.owed + waited).saturating_sub(worth(bytes, self.rate));
        if self.rate.bytes_per_second > 0 && self.owed > self.rate.grace {
            return Err(TooSlow);
        }
        Ok(())
    }
}

/// How long bytes take at the lowest rate.
fn worth(bytes: u64, rate: MinRate) -> Duration {
    let millis = bytes.saturating_mul(1000) / rate.bytes_per_second.max(1);
    Duration::from_millis(millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: MinRate = MinRate {
        bytes_per_second: 100,
        grace: Duration::from_secs(10),
    };

    /// Steps of seconds waited and bytes that then came; which of them is too slow, if one is.
    #[track_caller]
    fn check(rate: MinRate, steps: &[(u64, u64)], expected: Option<usize>) {
        let mut pace = Pace::new(rate);
        let slow = steps.iter().position(|&(seconds, bytes)| {
            pace.bytes += bytes;
            pace.settle(Duration::from_secs(seconds)).is_err()
        });
        assert_eq!(slow, expected, "{steps:?}");
    }

    #[test]
    fn a_drip_is_cut_after_the_grace() {
        check(RATE, &[(1, 1); 10], None);
        check(RATE, &[(1, 1); 20], Some(10));
        check(RATE, &[(5, 1), (5, 1), (5, 1)], Some(2));
    }

    #[test]
    fn a_steady_client_goes_on_for_ever() {
        check(RATE, &[(1, 100); 1000], None);
        check(RATE, &[(60, 6000); 1000], None);
    }

    #[test]
    fn a_pause_is_forgiven_when_enough_comes_after_it() {
        check(RATE, &[(30, 2000), (30, 4000), (30, 3000)], None);
        check(RATE, &[(30, 1999)], Some(0));
    }

    #[test]
    fn a_fast_start_earns_nothing() {
        check(RATE, &[(1, 1 << 40), (10, 1), (1, 1)], Some(2));
    }

    #[test]
    fn no_rate_is_no_limit() {
        let none = MinRate {
            bytes_per_second: 0,
            ..RATE
        };
        check(none, &[(1_000_000, 1); 10], None);
    }

    #[test]
    fn only_waiting_counts() {
        let mut pace = Pace::new(RATE);
        assert_eq!(pace.moved(1), Ok(()));
        assert_eq!((pace.owed, pace.bytes), (Duration::ZERO, 1));
        pace.wait();
        assert_eq!(pace.moved(1), Ok(()));
        assert_eq!((pace.since, pace.bytes), (None, 0));
    }
}
