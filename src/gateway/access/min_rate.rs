//! Minimum transfer rate of a client.
//!
//! A read timeout does not stop a client that sends one byte before each timeout ends. So the time
//! spent waiting for a client is compared to the bytes that it sent or accepted: the deficit must
//! not exceed a grace period. Only waiting counts, so a slow upstream is not attributed to a fast
//! client, and a fast start earns no credit for stalling later.

use std::time::{Duration, Instant};

use crate::config::model::MinRate;

/// Error: the client is below the minimum rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("slower than the lowest rate")]
pub struct BelowMinRate;

/// Deficit of one direction of a transfer.
#[derive(Debug, Clone, Copy)]
pub struct MinRateMeter {
    rate: MinRate,
    /// Waiting time that is not covered by transferred bytes.
    deficit: Duration,
    /// Bytes that were transferred and not yet set off against waiting time.
    bytes: u64,
    /// Start of the current wait for the client.
    since: Option<Instant>,
}

impl MinRateMeter {
    /// Creates the state of a transfer with this minimum rate.
    pub fn new(rate: MinRate) -> Self {
        MinRateMeter {
            rate,
            deficit: Duration::ZERO,
            bytes: 0,
            since: None,
        }
    }

    /// Starts waiting for the client.
    pub fn wait(&mut self) {
        if self.since.is_none() {
            self.since = Some(Instant::now());
        }
    }

    /// Records transferred bytes and ends the wait.
    ///
    /// # Errors
    /// If the deficit exceeds the grace period.
    pub fn moved(&mut self, bytes: usize) -> Result<(), BelowMinRate> {
        self.bytes += bytes as u64;
        match self.since.take() {
            None => Ok(()),
            Some(since) => self.settle(since.elapsed()),
        }
    }

    fn settle(&mut self, waited: Duration) -> Result<(), BelowMinRate> {
        let bytes = std::mem::take(&mut self.bytes);
        self.deficit = (self.deficit + waited).saturating_sub(time_for(bytes, self.rate));
        if self.rate.bytes_per_second > 0 && self.deficit > self.rate.grace {
            return Err(BelowMinRate);
        }
        Ok(())
    }
}

/// Returns the time for which bytes cover the minimum rate.
fn time_for(bytes: u64, rate: MinRate) -> Duration {
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

    /// Runs steps of seconds waited and bytes that then arrived. Checks which step is too slow, if
    /// any.
    #[track_caller]
    fn check(rate: MinRate, steps: &[(u64, u64)], expected: Option<usize>) {
        let mut meter = MinRateMeter::new(rate);
        let slow = steps.iter().position(|&(seconds, bytes)| {
            meter.bytes += bytes;
            meter.settle(Duration::from_secs(seconds)).is_err()
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
        let mut meter = MinRateMeter::new(RATE);
        assert_eq!(meter.moved(1), Ok(()));
        assert_eq!((meter.deficit, meter.bytes), (Duration::ZERO, 1));
        meter.wait();
        assert_eq!(meter.moved(1), Ok(()));
        assert_eq!((meter.since, meter.bytes), (None, 0));
    }
}
