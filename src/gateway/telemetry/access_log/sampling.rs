//! Sampling of the access log.
//!
//! Failed and slow requests are always logged: they are the purpose of a log. Of all others a
//! fraction is enough. A trace or request is logged by every gateway that it passes or by none,
//! because its id decides.

use std::time::Duration;

use crate::config::model::Sampling;

/// Decides which requests are logged.
#[derive(Debug, Clone, Copy)]
pub struct Sampler {
    share: f64,
    /// Requests with a 64-bit hash below this are logged.
    threshold: f64,
    slow: Duration,
}

impl Sampler {
    /// Creates the sampler of a configuration.
    #[must_use]
    pub fn new(config: Sampling) -> Self {
        Sampler {
            share: config.share,
            threshold: config.share * 2_f64.powi(64),
            slow: config.slow,
        }
    }

    /// Returns the fraction of requests like this one that are logged, or `None` if this one is
    /// not. `id` is the id of the trace or the request; without one the decision is random.
    #[must_use]
    pub fn choose(&self, status: u16, time: Duration, id: Option<&[u8]>) -> Option<f64> {
        if status >= 400 || time >= self.slow {
            return Some(1.0);
        }
        let number = id.map_or_else(|| fastrand::u64(..), hash);
        ((number as f64) < self.threshold).then_some(self.share)
    }
}

/// FNV-1a, with a finisher that mixes every bit into the upper bits, which decide. It is the same
/// in every process and version, unlike a hasher of the standard library.
fn hash(id: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for &byte in id {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: Duration = Duration::from_millis(5);

    fn sampler(share: f64) -> Sampler {
        Sampler::new(Sampling {
            share,
            slow: Duration::from_secs(1),
        })
    }

    #[test]
    fn failures_and_slow_requests_always_have_a_line() {
        let none = sampler(0.0);
        for status in [400, 404, 499, 500, 503] {
            assert_eq!(none.choose(status, FAST, Some(b"id")), Some(1.0));
        }
        assert_eq!(none.choose(200, Duration::from_secs(1), None), Some(1.0));
        assert_eq!(none.choose(200, FAST, None), None);
        assert_eq!(none.choose(399, Duration::from_millis(999), None), None);
    }

    #[test]
    fn the_share_is_met_by_ids_and_by_chance() {
        let tenth = sampler(0.1);
        let chosen = |id: fn(u32) -> Option<Vec<u8>>| {
            let lines =
                (0..100_000).filter(|&n| tenth.choose(200, FAST, id(n).as_deref()).is_some());
            lines.count()
        };
        let by_id = chosen(|n| Some(format!("{n:032x}").into_bytes()));
        assert!((9_000..11_000).contains(&by_id), "{by_id}");
        let by_chance = chosen(|_| None);
        assert!((9_000..11_000).contains(&by_chance), "{by_chance}");
    }

    #[test]
    fn an_id_decides_alike_everywhere() {
        let half = sampler(0.5);
        let chosen: Vec<_> = (0..8)
            .map(|n| half.choose(200, FAST, Some(&[b'a' + n])).is_some())
            .collect();
        let again = sampler(0.5);
        for (n, chosen) in (0..8).zip(&chosen) {
            assert_eq!(
                again.choose(200, FAST, Some(&[b'a' + n])).is_some(),
                *chosen
            );
            // A larger fraction contains every request of a smaller one.
            assert!(!chosen || sampler(0.9).choose(200, FAST, Some(&[b'a' + n])).is_some());
        }
        assert!(chosen.contains(&true) && chosen.contains(&false));
    }
}
