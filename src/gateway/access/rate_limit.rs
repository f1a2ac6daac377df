//! Rate limits with GCRA, the leaky bucket as a meter, for each key.
//!
//! The algorithm is from the `governor` crate, the memory is our `Store`. The state of a key is one
//! number: the time at which the key has its full burst again. Each request moves that time forward
//! by the interval that the rate allows for one request. A request that would move it further ahead
//! than the burst allows is rejected.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::{Quota, RateLimiter};

use super::RequestAttributes;
use super::inflight::network;
use super::rate_store::Store;
use crate::config::model::{RateKey, RateLimit};
use crate::gateway::access::rejection_counter::RejectionCounter;
use crate::geo::Field;

/// Size of the store for countries and routes, of which there are only a few.
const FEW: usize = 1024;

/// Clock that counts from the creation of a rate limit.
pub struct Since(Instant);

impl Clock for Since {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Rate limit, with the state of all keys.
pub struct Rate<C: Clock = Since> {
    config: RateLimit,
    limiter: RateLimiter<u64, Store, C, NoOpMiddleware<C::Instant>>,
    /// Random secret, so that attackers cannot choose keys that evict each other from the store.
    seed: RandomState,
    /// Value of `RateLimit-Policy`.
    policy: String,
    /// Requests over the limit, which were rejected, or only logged in a dry run.
    pub limited: RejectionCounter,
}

/// Key that requests are counted by.
#[derive(Hash)]
enum Key<'r> {
    Client(u128),
    Text(&'r [u8]),
}

impl Rate {
    /// Creates the rate limit without any requests counted.
    #[must_use]
    pub fn new(config: &RateLimit) -> Self {
        Rate::with_clock(config, Since(Instant::now()))
    }
}

impl<C: Clock> Rate<C> {
    fn with_clock(config: &RateLimit, clock: C) -> Self {
        let keys = match config.key {
            RateKey::ClientIp | RateKey::Header(_) => config.max_keys,
            RateKey::Country | RateKey::Route => FEW,
        };
        let each = config.period / config.requests.get();
        let quota = Quota::with_period(each.max(Duration::from_nanos(1)));
        let quota = quota.expect("a time of at least a nanosecond");
        let (requests, seconds) = (config.requests, config.period.as_secs());
        Rate {
            limiter: RateLimiter::new(quota.allow_burst(config.burst), Store::new(keys), clock),
            seed: RandomState::new(),
            policy: format!("\"{}\";q={requests};w={seconds}", config.name),
            config: config.clone(),
            limited: RejectionCounter::default(),
        }
    }

    /// Returns `true` if it was made from the same configuration.
    #[must_use]
    pub fn is_for(&self, config: &RateLimit) -> bool {
        self.config == *config
    }

    /// Name of the rate limit.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// Value of `RateLimit-Policy`.
    #[must_use]
    pub fn policy(&self) -> &str {
        &self.policy
    }

    /// Returns `true` if requests over the limit are only counted and logged.
    #[must_use]
    pub fn is_dry_run(&self) -> bool {
        self.config.dry_run
    }

    /// Counts a request.
    ///
    /// # Errors
    /// The time until the next request is allowed, if this one is over the limit.
    pub fn check(&self, attributes: &RequestAttributes) -> Result<(), Duration> {
        let key = self.seed.hash_one(self.key(attributes));
        let now = self.limiter.clock().now();
        let decision = self.limiter.check_key(&key);
        decision.map_err(|not_until| not_until.wait_time_from(now))
    }

    fn key<'k, 'f: 'k>(&self, attributes: &RequestAttributes<'f>) -> Key<'k> {
        match &self.config.key {
            RateKey::ClientIp => self.client(attributes.client),
            RateKey::Country => {
                let country = attributes
                    .place
                    .map_or("", |place| place.text(Field::CountryCode));
                Key::Text(country.as_bytes())
            }
            RateKey::Route => Key::Text(attributes.route.as_bytes()),
            RateKey::Header(name) => match (attributes.header)(name) {
                b"" => self.client(attributes.client),
                value => Key::Text(value),
            },
        }
    }

    fn client(&self, client: IpAddr) -> Key<'static> {
        Key::Client(network(client, self.config.ipv6_prefix))
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;
    use proptest::prelude::*;

    use super::*;
    use crate::config::{Overrides, parse};

    fn rate(keys: &str) -> (Rate<FakeRelativeClock>, FakeRelativeClock) {
        let text = format!("[[rate_limit]]\nname = 'r'\n{keys}\n");
        let config = parse(&text, "test", &Overrides::default()).unwrap();
        let clock = FakeRelativeClock::default();
        (
            Rate::with_clock(&config.rate_limits[0], clock.clone()),
            clock,
        )
    }

    fn attributes(client: &str) -> RequestAttributes<'static> {
        RequestAttributes {
            client: client.parse().unwrap(),
            place: None,
            route: "",
            header: &|_| b"",
        }
    }

    #[track_caller]
    fn check(
        rate: &Rate<FakeRelativeClock>,
        attributes: &RequestAttributes,
        expected: Result<(), u64>,
    ) {
        let found = rate
            .check(attributes)
            .map_err(|wait| wait.as_millis() as u64);
        assert_eq!(found, expected);
    }

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let (rate, clock) = rate("rate = '10/s'\nburst = 3");
        let client = attributes("1.0.0.1");
        for _ in 0..3 {
            check(&rate, &client, Ok(()));
        }
        check(&rate, &client, Err(100));
        clock.advance(Duration::from_millis(40));
        check(&rate, &client, Err(60));
        clock.advance(Duration::from_millis(60));
        check(&rate, &client, Ok(()));
        check(&rate, &client, Err(100));
        clock.advance(Duration::from_secs(60));
        for _ in 0..3 {
            check(&rate, &client, Ok(()));
        }
        check(&rate, &client, Err(100));
    }

    #[test]
    fn clients_are_counted_apart_and_networks_together() {
        let (rate, _clock) = rate("rate = '1/m'");
        check(&rate, &attributes("1.0.0.1"), Ok(()));
        check(&rate, &attributes("1.0.0.2"), Ok(()));
        check(&rate, &attributes("1.0.0.1"), Err(60_000));
        check(&rate, &attributes("2001:db8::1"), Ok(()));
        check(&rate, &attributes("2001:db8::ffff:0:0:1"), Err(60_000));
        check(&rate, &attributes("2001:db8:0:1::1"), Ok(()));
    }

    #[test]
    fn ipv6_can_be_counted_by_other_networks() {
        let (rate, _clock) = rate("rate = '1/m'\nipv6_prefix = 48");
        check(&rate, &attributes("2001:db8::1"), Ok(()));
        check(&rate, &attributes("2001:db8:0:1::1"), Err(60_000));
        check(&rate, &attributes("2001:db8:1::1"), Ok(()));
    }

    #[test]
    fn without_the_header_the_address_counts() {
        let (rate, _clock) = rate("rate = '1/m'\nkey = 'header:X-Key'");
        let with = |key: &'static str, client| RequestAttributes {
            header: if key == "a" { &|_| b"a" } else { &|_| b"b" },
            ..attributes(client)
        };
        check(&rate, &with("a", "1.0.0.1"), Ok(()));
        check(&rate, &with("a", "1.0.0.2"), Err(60_000));
        check(&rate, &with("b", "1.0.0.1"), Ok(()));
        check(&rate, &attributes("1.0.0.1"), Ok(()));
        check(&rate, &attributes("1.0.0.1"), Err(60_000));
        check(&rate, &attributes("1.0.0.2"), Ok(()));
    }

    #[test]
    fn a_route_is_counted_whoever_comes() {
        let (rate, _clock) = rate("rate = '1/m'\nkey = 'route'");
        let on = |route| RequestAttributes {
            route,
            ..attributes("1.0.0.1")
        };
        check(&rate, &on("a"), Ok(()));
        check(&rate, &on("b"), Ok(()));
        check(&rate, &on("a"), Err(60_000));
    }

    /// Token bucket with `burst` tokens, in microseconds: exact, but not optimised.
    struct Bucket {
        tokens: u64,
        each: u64,
        burst: u64,
        last: u64,
    }

    impl Bucket {
        fn take(&mut self, now: u64) -> bool {
            self.tokens = (self.tokens + now - self.last).min(self.burst * self.each);
            self.last = now;
            let has = self.tokens >= self.each;
            if has {
                self.tokens -= self.each;
            }
            has
        }
    }

    proptest! {
        /// The meter and the token bucket are equivalent definitions of one rule.
        #[test]
        fn a_bucket_of_tokens_lets_the_same_pass(
            each in prop_oneof![Just(1_000_u64), Just(10_000), Just(1_000_000)],
            burst in 1..20_u64,
            gaps in prop::collection::vec(0..3_000_000_u64, 1..200),
            scale in 1..1_000_u64,
        ) {
            let requests = 1_000_000 / each;
            let (rate, clock) = rate(&format!("rate = '{requests}/s'\nburst = {burst}"));
            let mut bucket = Bucket { tokens: burst * each, each, burst, last: 0 };
            let (mut now, client) = (0, attributes("1.0.0.1"));
            for gap in gaps {
                let gap = gap / scale;
                now += gap;
                clock.advance(Duration::from_micros(gap));
                let found = rate.check(&client);
                prop_assert_eq!(found.is_ok(), bucket.take(now), "at {}", now);
                if let Err(wait) = found {
                    let missing = each - bucket.tokens;
                    prop_assert_eq!(wait.as_micros() as u64, missing, "at {}", now);
                }
            }
        }
    }
}
