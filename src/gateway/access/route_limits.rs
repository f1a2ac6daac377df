//! Limits of one route.

use std::sync::Arc;
use std::time::Duration;

use super::inflight::{OfShared, Shared};
use super::{Facts, Gate, Refusal, Rules};
use crate::config::model::RouteLimits;
use crate::gateway::shard::Counter;

/// Access rules, rate limits and resource limits of one route.
#[derive(Default)]
pub struct RouteGate {
    gate: Gate,
    /// Requests in flight, and their maximum.
    room: Option<(Arc<Shared>, usize)>,
    /// Maximum size of a request body in bytes.
    pub max_body_size: Option<u64>,
    /// Maximum duration of a request.
    pub timeout: Option<Duration>,
    /// Requests that were rejected because the route was full.
    pub full: Arc<Counter>,
}

impl RouteGate {
    /// Creates the gate of a route. Requests in flight of the previous gate `before` remain
    /// counted, and so do its rejections: a counter must not go back at a reload.
    #[must_use]
    pub fn new(limits: &RouteLimits, rules: &Rules, before: Option<&RouteGate>) -> Self {
        let room = limits.max_requests.map(|most| {
            let before = before.and_then(|before| before.room.as_ref());
            let shared = before.map_or_else(Arc::default, |(shared, _)| Arc::clone(shared));
            (shared, most as usize)
        });
        RouteGate {
            gate: rules.gate(&limits.demands),
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
    pub fn take(&self, facts: &Facts) -> Result<Option<OfShared>, Refusal> {
        let one = match &self.room {
            None => None,
            Some((shared, most)) => {
                let one = shared.take(*most);
                if one.is_none() {
                    self.full.add(1);
                    return Err(Refusal::Overloaded);
                }
                one
            }
        };
        match self.gate.refuses(facts) {
            None => Ok(one),
            Some(refusal) => Err(refusal),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(most: u32, before: Option<&RouteGate>) -> RouteGate {
        let limits = RouteLimits {
            max_requests: Some(most),
            ..RouteLimits::default()
        };
        RouteGate::new(&limits, &Rules::default(), before)
    }

    fn take(gate: &RouteGate) -> Option<OfShared> {
        let facts = Facts {
            client: [127, 0, 0, 1].into(),
            place: None,
            route: "r",
            header: &|_| b"",
        };
        gate.take(&facts).ok().flatten()
    }

    #[test]
    fn a_route_has_room_for_so_many_requests() {
        let gate = gate(2, None);
        let (first, second) = (take(&gate), take(&gate));
        assert!(first.is_some() && second.is_some() && take(&gate).is_none());
        assert_eq!(gate.full.sum(), 1);
        drop(first);
        assert!(take(&gate).is_some());
    }

    #[test]
    fn requests_in_flight_count_on_after_a_reload() {
        let first = gate(2, None);
        let in_flight = (take(&first), take(&first));
        let second = gate(1, Some(&first));
        drop(first);
        assert!(take(&second).is_none());
        assert_eq!(second.full.sum(), 1);
        let third = gate(1, Some(&second));
        assert!(take(&third).is_none());
        assert_eq!((second.full.sum(), third.full.sum()), (2, 2));
        drop(in_flight);
        assert!(take(&second).is_some());
    }
}
