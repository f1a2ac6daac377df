//! What a client is told that is not served.
//!
//! The fields of rate limits are those of the working group's draft since its eighth version
//! (draft-ietf-httpapi-ratelimit-headers): `RateLimit-Policy` says the rate and `RateLimit` where the
//! client stands. They took the place of `RateLimit-Limit`, `-Remaining` and `-Reset`, which cannot
//! tell two rates apart, and of the many `X-RateLimit-*`, on which no two servers agree.
//! `Retry-After` (RFC 9110, 10.2.3) is what most clients act on; it says the same.

use std::sync::Arc;
use std::time::Duration;

use super::rate::Rate;
use crate::query::QueryError;

/// When a client may try again that was turned away because there is too much to do.
const LATER: u64 = 1;

/// Why a request is not served.
pub enum Refusal {
    /// The policy denies the client.
    Denied,
    /// The client comes too often.
    TooOften {
        /// What it passed.
        rate: Arc<Rate>,
        /// When it may come again.
        wait: Duration,
    },
    /// The client has too many requests under way.
    TooMany,
    /// There is too much to do, whoever asks.
    Overloaded,
}

impl Refusal {
    /// The status that tells it.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Refusal::Denied => 403,
            Refusal::TooOften { .. } | Refusal::TooMany => 429,
            Refusal::Overloaded => 503,
        }
    }

    /// The header lines that go with it.
    #[must_use]
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        match self {
            Refusal::Denied => Vec::new(),
            Refusal::TooMany | Refusal::Overloaded => vec![("Retry-After", LATER.to_string())],
            Refusal::TooOften { rate, wait } => {
                let seconds = seconds(*wait);
                vec![
                    ("Retry-After", seconds.to_string()),
                    ("RateLimit-Policy", rate.policy().to_owned()),
                    ("RateLimit", format!("\"{}\";r=0;t={seconds}", rate.name())),
                ]
            }
        }
    }

    /// What an IP query is answered.
    #[must_use]
    pub fn to_query(&self) -> QueryError {
        match self {
            Refusal::Denied => QueryError::Denied,
            Refusal::TooOften { .. } | Refusal::TooMany => QueryError::TooManyRequests,
            Refusal::Overloaded => QueryError::Overloaded,
        }
    }
}

/// Whole seconds, after which it is surely time.
fn seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Overrides, parse};

    #[test]
    fn a_client_that_waits_as_told_is_served() {
        for (millis, expected) in [(1, 1), (1000, 1), (1001, 2), (59_999, 60)] {
            assert_eq!(seconds(Duration::from_millis(millis)), expected, "{millis}");
        }
    }

    #[test]
    fn a_rate_is_told_in_structured_fields() {
        let text = "[[rate_limit]]\nname = 'per-client'\nrate = '10/m'\nburst = 3\n";
        let config = parse(text, "test", &Overrides::default()).unwrap();
        let refusal = Refusal::TooOften {
            rate: Arc::new(Rate::new(&config.rate_limits[0])),
            wait: Duration::from_millis(5500),
        };
        let expected = [
            ("Retry-After", "6"),
            ("RateLimit-Policy", "\"per-client\";q=10;w=60"),
            ("RateLimit", "\"per-client\";r=0;t=6"),
        ];
        let lines = refusal.lines();
        let lines: Vec<_> = lines
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        assert_eq!((refusal.status(), lines.as_slice()), (429, &expected[..]));
    }

    #[test]
    fn the_api_tells_the_same_status() {
        for refusal in [Refusal::Denied, Refusal::TooMany, Refusal::Overloaded] {
            assert_eq!(refusal.to_query().status(), refusal.status());
        }
    }
}
