//! Access rules, rate limits and concurrency limits.
//!
//! The rules are grouped in [`Limits`]: those for all requests, those for IP queries, and those of
//! each route. They decide on the [`RequestAttributes`] of a request and need no session, so all
//! engines share them. Limits without rules decide nothing, and nothing is computed for them.
//!
//! - [`rules`]: lists of allowed and denied clients;
//! - [`auth`]: users and their passwords;
//! - [`rate_limit`]: rate limits, `rate_store` their state;
//! - [`inflight`]: concurrency limits, per client and global;
//! - `route_limits`: limits of one route;
//! - [`overload`]: overload of the process;
//! - [`system`]: limits of the operating system, `cgroup` those of control groups;
//! - [`rejection`]: responses to rejected requests, `rejection_counter` their number;
//! - `min_rate`: minimum transfer rates of clients;
//! - `admin_access`: access to the admin listener;
//! - [`drain`]: requests in flight at the shutdown.

pub(in crate::gateway) mod admin_access;
pub mod auth;
mod cgroup;
pub mod drain;
pub mod inflight;
pub(in crate::gateway) mod min_rate;
pub mod overload;
pub mod rate_limit;
mod rate_store;
pub mod rejection;
mod rejection_counter;
mod route_limits;
pub mod rules;
pub mod system;

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

pub use overload::{Caps, Overload, Reason};
pub use rate_limit::Rate;
pub use rejection::Rejection;
pub use route_limits::RouteLimits;

use self::auth::{AuthSet, CheckQueue};
use self::rejection_counter::RejectionCounter;
use self::rules::AccessSet;
use crate::config::Config;
use crate::config::model::{LimitRefs, Verdict};
use crate::geo::Place;

/// Attributes of a request that rules decide on.
#[derive(Clone, Copy)]
pub struct RequestAttributes<'r> {
    /// Address of the client, canonical (not IPv4-mapped).
    pub client: IpAddr,
    /// Geographic place of the client.
    pub place: Option<Place<'r>>,
    /// Name of the route; empty before a route is chosen.
    pub route: &'r str,
    /// Returns the first line of a header by its name in lower case, or an empty value if there is
    /// none.
    pub header: &'r dyn Fn(&str) -> &'r [u8],
}

/// Access rules, rate limits and users of a configuration, which limits are made of.
#[derive(Default)]
pub struct Rules {
    access: Vec<Arc<AccessSet>>,
    rates: Vec<Arc<Rate>>,
    auth: Vec<Arc<AuthSet>>,
    /// Queue of password checks, which lasts as long as the process.
    checks: Arc<CheckQueue>,
}

impl Rules {
    /// Creates the rules of `config`. A rule that is identical to one of `before` is taken over
    /// with its state. A changed rule continues the count of rejections.
    #[must_use]
    pub fn new(config: &Config, before: Option<&Rules>) -> Self {
        let nothing;
        let known = if let Some(before) = before {
            before
        } else {
            nothing = Rules::default();
            &nothing
        };
        // A dry run has a count of its own: its requests were not rejected.
        let access = taken_over(
            (&config.access, &known.access),
            |known, set| known.name() == set.name && known.is_dry_run() == set.dry_run,
            AccessSet::is_for,
            |set, known| {
                let mut set = AccessSet::new(set);
                set.denied = RejectionCounter::continuing(known.map(|known| &known.denied));
                set
            },
        );
        let rates = taken_over(
            (&config.rate_limits, &known.rates),
            |known, rate| known.name() == rate.name && known.is_dry_run() == rate.dry_run,
            Rate::is_for,
            |rate, known| {
                let mut rate = Rate::new(rate);
                rate.limited = RejectionCounter::continuing(known.map(|known| &known.limited));
                rate
            },
        );
        // With the same passwords, clients that are logged in stay so.
        let auth = taken_over(
            (&config.auth, &known.auth),
            |known, set| known.name() == set.name,
            AuthSet::is_for,
            |set, known| {
                let mut set = AuthSet::new(set);
                set.refused = RejectionCounter::continuing(known.map(|known| &known.refused));
                set
            },
        );
        Rules {
            access,
            rates,
            auth,
            checks: Arc::clone(&known.checks),
        }
    }

    /// Creates the limits that a part of the configuration refers to.
    #[must_use]
    pub fn limits(&self, refs: &LimitRefs) -> Limits {
        let access = refs.access.iter().map(|&at| Arc::clone(&self.access[at]));
        let rates = refs.rate_limits.iter();
        Limits {
            access: access.collect(),
            rates: rates.map(|&at| Arc::clone(&self.rates[at])).collect(),
        }
    }

    /// All sets of access rules.
    #[must_use]
    pub fn access(&self) -> &[Arc<AccessSet>] {
        &self.access
    }

    /// All sets of users.
    #[must_use]
    pub fn auth(&self) -> &[Arc<AuthSet>] {
        &self.auth
    }

    /// Returns the first file of users that is missing, while a set of the same name had it `before`.
    #[must_use]
    pub fn lost_file(&self, before: &Rules) -> Option<&Path> {
        let had_file = |name: &str| {
            let mut known = before.auth.iter().filter(|known| known.name() == name);
            known.any(|known| known.warning().is_none())
        };
        let mut lost = self.auth.iter().filter(|set| had_file(set.name()));
        lost.find_map(|set| set.missing_file())
    }

    /// Queue of password checks.
    #[must_use]
    pub fn checks(&self) -> &Arc<CheckQueue> {
        &self.checks
    }

    /// All rate limits.
    #[must_use]
    pub fn rates(&self) -> &[Arc<Rate>] {
        &self.rates
    }
}

/// Returns the rules of a configuration: those of `before` that are identical, and new ones, which
/// `make` makes from the one of the same name that they replace.
fn taken_over<T, C>(
    (configs, before): (&[C], &[Arc<T>]),
    is_named: impl Fn(&T, &C) -> bool,
    is_for: impl Fn(&T, &C) -> bool,
    make: impl Fn(&C, Option<&T>) -> T,
) -> Vec<Arc<T>> {
    let rule = |config: &C| {
        let mut before = before.iter();
        match before.find(|known| is_named(known, config)) {
            Some(same) if is_for(same, config) => Arc::clone(same),
            known => Arc::new(make(config, known.map(AsRef::as_ref))),
        }
    };
    configs.iter().map(rule).collect()
}

/// Access rules and rate limits for one set of requests.
#[derive(Default)]
pub struct Limits {
    access: Box<[Arc<AccessSet>]>,
    rates: Box<[Arc<Rate>]>,
}

impl Limits {
    /// Returns `true` if there are no rules.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.access.is_empty() && self.rates.is_empty()
    }

    /// Returns the reason for which a request is rejected, or `None` if it passes. The rate
    /// limits do not count a request that the access rules deny.
    #[must_use]
    pub fn refuses(&self, attributes: &RequestAttributes) -> Option<Rejection> {
        self.denies(attributes)
            .or_else(|| self.exceeds_rate(attributes))
    }

    /// Returns `true` if there are rate limits.
    #[must_use]
    pub fn has_rates(&self) -> bool {
        !self.rates.is_empty()
    }

    /// Returns `true` if there are access rules and all of them allow the client. A denial is not
    /// counted, and a dry run allows nothing.
    #[must_use]
    pub fn allows(&self, attributes: &RequestAttributes) -> bool {
        let mut sets = self
            .access
            .iter()
            .filter(|set| !set.is_dry_run())
            .peekable();
        sets.peek().is_some()
            && sets.all(|set| {
                set.decide(attributes.client, attributes.place.as_ref()) == Verdict::Allow
            })
    }

    /// Returns the rejection by an access rule, if there is one.
    #[must_use]
    pub fn denies(&self, attributes: &RequestAttributes) -> Option<Rejection> {
        for set in &self.access {
            if set.decide(attributes.client, attributes.place.as_ref()) == Verdict::Allow {
                continue;
            }
            if !set.is_dry_run() {
                set.denied.count();
                return Some(Rejection::Denied);
            }
            if let Some(times) = set.denied.count_and_tell(Instant::now()) {
                let (name, client) = (set.name(), attributes.client);
                log::warn!(
                    "access {name:?} would deny {client}, {times} requests since it was said last"
                );
            }
        }
        None
    }

    /// Counts the request. Returns the rejection by a rate limit, if there is one.
    #[must_use]
    pub fn exceeds_rate(&self, attributes: &RequestAttributes) -> Option<Rejection> {
        for rate in &self.rates {
            let Err(wait) = rate.check(attributes) else {
                continue;
            };
            if !rate.is_dry_run() {
                rate.limited.count();
                let rate = Arc::clone(rate);
                return Some(Rejection::TooOften { rate, wait });
            }
            if let Some(times) = rate.limited.count_and_tell(Instant::now()) {
                let (name, client) = (rate.name(), attributes.client);
                log::warn!(
                    "rate_limit {name:?} would limit {client}, {times} requests since it was said last"
                );
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Overrides, parse};

    const TEXT: &str = "
        [limits]
        access = ['dry', 'one']
        rate_limit = 'r'
        [query]
        rate_limit = ['r']
        [[access]]
        name = 'one'
        default = 'allow'
        rules = [{ deny = '10.0.0.1' }]
        [[access]]
        name = 'dry'
        default = 'deny'
        rules = []
        dry_run = true
        [[rate_limit]]
        name = 'r'
        rate = '1/h'
    ";

    fn rules(text: &str, before: Option<&Rules>) -> (Config, Rules) {
        let config = parse(text, "test", &Overrides::default()).unwrap();
        let rules = Rules::new(&config, before);
        (config, rules)
    }

    /// Status of the response to a client; 0 if the request passes.
    fn status(limits: &Limits, client: &str) -> u16 {
        let attributes = RequestAttributes {
            client: client.parse().unwrap(),
            place: None,
            route: "",
            header: &|_| b"",
        };
        limits
            .refuses(&attributes)
            .map_or(0, |rejection| rejection.status())
    }

    #[test]
    fn who_is_denied_takes_nothing_of_a_rate() {
        let (config, rules) = rules(TEXT, None);
        let limits = rules.limits(&config.limits.refs);
        assert_eq!(
            (status(&limits, "10.0.0.1"), status(&limits, "10.0.0.2")),
            (403, 0)
        );
        assert_eq!(
            (status(&limits, "10.0.0.1"), status(&limits, "10.0.0.2")),
            (403, 429)
        );
        assert_eq!(rules.access()[0].denied.sum(), 2);
        assert_eq!(rules.access()[1].denied.sum(), 4, "a dry run counts all");
        assert_eq!(rules.rates()[0].limited.sum(), 1);
    }

    #[test]
    fn one_rate_is_one_wherever_it_is_named() {
        let (config, rules) = rules(TEXT, None);
        assert_eq!(status(&rules.limits(&config.limits.refs), "10.0.0.2"), 0);
        assert_eq!(status(&rules.limits(&config.query), "10.0.0.2"), 429);
        assert!(!rules.limits(&config.query).is_open());
        assert!(rules.limits(&LimitRefs::default()).is_open());
    }

    #[test]
    fn what_a_new_configuration_leaves_as_it_is_goes_on() {
        let (_, first) = rules(TEXT, None);
        let text = TEXT.replace("deny = '10.0.0.1'", "deny = '10.0.0.9'");
        let (config, second) = rules(&text, Some(&first));
        let limits = first.limits(&config.query);
        assert_eq!(status(&limits, "10.0.0.2"), 0);
        assert_eq!(status(&second.limits(&config.query), "10.0.0.2"), 429);
        let (config, third) = rules(&text.replace("1/h", "2/h"), Some(&second));
        assert_eq!(status(&third.limits(&config.query), "10.0.0.2"), 0);
    }

    #[test]
    fn counts_of_changed_rules_do_not_go_back() {
        let sums = |rules: &Rules| {
            let access = rules.access().iter().map(|set| set.denied.sum());
            let rates = rules.rates().iter().map(|rate| rate.limited.sum());
            access.chain(rates).collect::<Vec<_>>()
        };
        let (config, first) = rules(TEXT, None);
        let limits = first.limits(&config.limits.refs);
        let statuses = ["10.0.0.1", "10.0.0.2", "10.0.0.2"].map(|client| status(&limits, client));
        assert_eq!((statuses, sums(&first)), ([403, 0, 429], vec![1, 3, 1]));
        let changed = TEXT.replace("10.0.0.1", "10.0.0.9").replace("1/h", "2/h");
        let (_, second) = rules(&changed, Some(&first));
        assert_eq!(sums(&second), [1, 3, 1]);
        // Requests that the previous rules still decide on.
        assert_eq!(status(&limits, "10.0.0.2"), 429);
        assert_eq!(sums(&second), [1, 4, 2]);
        let real = changed.replace("dry_run = true", "");
        assert_eq!(sums(&rules(&real, Some(&second)).1), [1, 0, 2]);
    }
}
