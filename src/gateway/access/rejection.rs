//! Responses to rejected requests.
//!
//! The rate limit fields follow the working group's draft since its eighth version
//! (draft-ietf-httpapi-ratelimit-headers): `RateLimit-Policy` contains the rate and `RateLimit` the
//! state of the client. They replaced `RateLimit-Limit`, `-Remaining` and `-Reset`, which cannot
//! distinguish two rates, and the many variants of `X-RateLimit-*`, which differ between servers.
//! Most clients act on `Retry-After` (RFC 9110, 10.2.3), which contains the same time.

use std::sync::Arc;
use std::time::Duration;

use super::auth::AuthSet;
use super::rate_limit::Rate;
use crate::query::QueryError;

/// Value of `Retry-After` for an overload, in seconds.
const LATER: u64 = 1;

/// Reason for which a request is rejected.
pub enum Rejection {
    /// An access rule denies the client.
    Denied,
    /// The client has no password that is accepted.
    Unauthenticated {
        /// Users whose password is asked for.
        set: Arc<AuthSet>,
    },
    /// The client exceeds a rate limit.
    TooOften {
        /// Rate limit that was exceeded.
        rate: Arc<Rate>,
        /// Time after which a request is allowed again.
        wait: Duration,
    },
    /// The client has too many requests in flight.
    TooMany,
    /// The gateway is overloaded, independent of the client.
    Overloaded,
}

impl Rejection {
    /// Status of the response.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Rejection::Unauthenticated { .. } => 401,
            Rejection::Denied => 403,
            Rejection::TooOften { .. } | Rejection::TooMany => 429,
            Rejection::Overloaded => 503,
        }
    }

    /// Header lines of the response.
    #[must_use]
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        match self {
            Rejection::Unauthenticated { set } => {
                vec![("WWW-Authenticate", set.challenge().to_owned())]
            }
            Rejection::Denied => Vec::new(),
            Rejection::TooMany | Rejection::Overloaded => vec![("Retry-After", LATER.to_string())],
            Rejection::TooOften { rate, wait } => {
                let seconds = seconds(*wait);
                vec![
                    ("Retry-After", seconds.to_string()),
                    ("RateLimit-Policy", rate.policy().to_owned()),
                    ("RateLimit", format!("\"{}\";r=0;t={seconds}", rate.name())),
                ]
            }
        }
    }

    /// Error in the response to an IP query.
    #[must_use]
    pub fn to_query(&self) -> QueryError {
        match self {
            Rejection::Denied | Rejection::Unauthenticated { .. } => QueryError::Denied,
            Rejection::TooOften { .. } | Rejection::TooMany => QueryError::TooManyRequests,
            Rejection::Overloaded => QueryError::Overloaded,
        }
    }
}

/// Rounds up to whole seconds, so that the time is surely over after them.
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
        let rejection = Rejection::TooOften {
            rate: Arc::new(Rate::new(&config.rate_limits[0])),
            wait: Duration::from_millis(5500),
        };
        let expected = [
            ("Retry-After", "6"),
            ("RateLimit-Policy", "\"per-client\";q=10;w=60"),
            ("RateLimit", "\"per-client\";r=0;t=6"),
        ];
        let lines = rejection.lines();
        let lines: Vec<_> = lines
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        assert_eq!((rejection.status(), lines.as_slice()), (429, &expected[..]));
    }

    #[test]
    fn the_api_tells_the_same_status() {
        for rejection in [Rejection::Denied, Rejection::TooMany, Rejection::Overloaded] {
            assert_eq!(rejection.to_query().status(), rejection.status());
        }
    }
}
