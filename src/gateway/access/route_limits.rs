//! Limits of one route.

use std::sync::Arc;
use std::time::Duration;

use super::auth::AuthSet;
use super::inflight::{Shared, SharedPermit};
use super::{Limits, Rejection, RequestAttributes, Rules};
use crate::config::model::{self, Satisfy};
use crate::gateway::shard::Counter;

/// Access rules, rate limits and resource limits of one route.
#[derive(Default)]
pub struct RouteLimits {
    limits: Limits,
    /// Sets of users that must accept the client.
    pub auth: Box<[Arc<AuthSet>]>,
    /// True if the access rules or one set of users are enough.
    pub satisfies_any: bool,
    /// Requests in flight, and their maximum.
    room: Option<(Arc<Shared>, usize)>,
    /// Maximum size of a request body in bytes.
    pub max_body_size: Option<u64>,
    /// Maximum duration of a request.
    pub timeout: Option<Duration>,
    /// Requests that were rejected because the route was full.
    pub full: Arc<Counter>,
}

impl RouteLimits {
    /// Creates the limits of a route. Requests in flight of the previous limits `before` remain
    /// counted, and so do its rejections: a counter must not go back at a reload.
    #[must_use]
    pub fn new(limits: &model::RouteLimits, rules: &Rules, before: Option<&RouteLimits>) -> Self {
        let room = limits.max_requests.map(|most| {
            let before = before.and_then(|before| before.room.as_ref());
            let shared = before.map_or_else(Arc::default, |(shared, _)| Arc::clone(shared));
            (shared, most as usize)
        });
        let auth = limits.auth.iter().map(|&at| Arc::clone(&rules.auth[at]));
        RouteLimits {
            limits: rules.limits(&limits.refs),
            auth: auth.collect(),
            satisfies_any: limits.satisfy == Satisfy::Any && !limits.auth.is_empty(),
            room,
            max_body_size: limits.max_body_size,
            timeout: limits.timeout,
            full: before.map_or_else(Arc::default, |before| Arc::clone(&before.full)),
        }
    }

    /// Admits a request. Returns its permit, to be held as long as the request is in flight.
    ///
    /// # Errors
    /// The reason of the rejection. A request that is rejected because the route is full is not
    /// counted by a rate limit.
    pub fn take(&self, attributes: &RequestAttributes) -> Result<Option<SharedPermit>, Rejection> {
        let one = self.take_uncounted(attributes)?;
        match self.limits.exceeds_rate(attributes) {
            None => Ok(one),
            Some(rejection) => Err(rejection),
        }
    }

    /// Same as [`RouteLimits::take`], without the rate limits: for a request that those of another
    /// route have counted.
    ///
    /// # Errors
    /// The reason of the rejection.
    pub fn take_uncounted(
        &self,
        attributes: &RequestAttributes,
    ) -> Result<Option<SharedPermit>, Rejection> {
        let one = match &self.room {
            None => None,
            Some((shared, most)) => {
                let one = shared.take(*most);
                if one.is_none() {
                    self.full.add(1);
                    return Err(Rejection::Overloaded);
                }
                one
            }
        };
        // A client that the rules deny may still have a password.
        if self.satisfies_any {
            return Ok(one);
        }
        match self.limits.denies(attributes) {
            None => Ok(one),
            Some(rejection) => Err(rejection),
        }
    }

    /// Applies the access rules alone.
    ///
    /// # Errors
    /// The reason of the rejection.
    pub fn check_access(&self, attributes: &RequestAttributes) -> Result<(), Rejection> {
        // A client that the rules deny may still have a password.
        if self.satisfies_any {
            return Ok(());
        }
        self.limits.denies(attributes).map_or(Ok(()), Err)
    }

    /// Returns `true` if the access rules of the route accept a client without a password.
    #[must_use]
    pub fn admits_without_password(&self, attributes: &RequestAttributes) -> bool {
        self.satisfies_any && self.limits.allows(attributes)
    }

    /// Returns `true` if the route has rate limits.
    #[must_use]
    pub fn have_rates(&self) -> bool {
        self.limits.has_rates()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(most: u32, before: Option<&RouteLimits>) -> RouteLimits {
        let limits = model::RouteLimits {
            max_requests: Some(most),
            ..model::RouteLimits::default()
        };
        RouteLimits::new(&limits, &Rules::default(), before)
    }

    fn take(limits: &RouteLimits) -> Option<SharedPermit> {
        let attributes = RequestAttributes {
            client: [127, 0, 0, 1].into(),
            place: None,
            route: "r",
            header: &|_| b"",
        };
        limits.take(&attributes).ok().flatten()
    }

    #[test]
    fn a_route_has_room_for_so_many_requests() {
        let limits = limits(2, None);
        let (first, second) = (take(&limits), take(&limits));
        assert!(first.is_some() && second.is_some() && take(&limits).is_none());
        assert_eq!(limits.full.sum(), 1);
        drop(first);
        assert!(take(&limits).is_some());
    }

    #[test]
    fn requests_in_flight_count_on_after_a_reload() {
        let first = limits(2, None);
        let in_flight = (take(&first), take(&first));
        let second = limits(1, Some(&first));
        drop(first);
        assert!(take(&second).is_none());
        assert_eq!(second.full.sum(), 1);
        let third = limits(1, Some(&second));
        assert!(take(&third).is_none());
        assert_eq!((second.full.sum(), third.full.sum()), (2, 2));
        drop(in_flight);
        assert!(take(&second).is_some());
    }
}
