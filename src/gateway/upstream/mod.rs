//! Which peer of an upstream serves a request.
//!
//! A [`Pool`] is an upstream at work. Its `members` are the peers as they are now, a list that is
//! replaced as a whole when a name or the configuration changes; a `selection` chooses from it
//! whom `fitness` leaves. The `keeper` looks after names and health on a thread of its own,
//! which ends when the pool is retired. What is known of peers, and the connections to them, outlive a pool
//! when the next configuration has one of the same name.

mod affinity;
mod budget;
mod choice;
mod fitness;
mod keeper;
mod kept;
mod members;
mod names;
mod peer;
mod pins;
mod probe;
mod selection;
mod sticky;
pub mod tls_failure;
mod transport;

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use http::{HeaderMap, HeaderValue, StatusCode};

pub use affinity::Affinity;
pub use peer::{ConnectionKind, Peer, PeerStatus, Turn};
pub use pins::{PinError, Pins};
pub use transport::{Transport, TransportError};

use super::response_head::Limits;
use crate::config::model::{Protocol, Upstream};
use budget::Budget;
use fitness::Change;
use keeper::Keeper;
use members::Members;

/// Why no peer is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPeer {
    /// There is none that was not tried.
    NoneLeft,
    /// Those that could be chosen have as many requests as they may.
    Full,
}

/// An upstream at work.
pub struct Pool {
    members: Arc<Members>,
    budget: Budget,
    retries: AtomicU64,
    /// The requests of all peers, where they are limited.
    under_way: Option<Arc<AtomicUsize>>,
    keeper: Mutex<Option<Keeper>>,
}

impl Pool {
    /// The pool of an upstream, with what was known `before` of peers that are still there. If it has
    /// names, this waits a moment for their addresses.
    #[must_use]
    pub fn new(upstream: &Upstream, transport: Transport, before: Option<&Pool>) -> Self {
        let known = before.map(|before| &*before.members);
        let members = Arc::new(Members::new(upstream, transport, known));
        let under_way = before.and_then(|before| before.under_way.clone());
        Pool {
            budget: Budget::new(upstream.retry_budget),
            retries: AtomicU64::new(before.map_or(0, Pool::retries)),
            under_way: upstream.max_requests.map(|_| under_way.unwrap_or_default()),
            keeper: Mutex::new(Keeper::start(&members)),
            members,
        }
    }

    /// Another pool serves what comes from now on. Requests that are under way, a `WebSocket` perhaps
    /// for days, keep the peers that they have; names are not followed any more and nothing is
    /// checked: what is known of a peer is what the other pool's checks say.
    pub fn retire(&self) {
        let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        drop(keeper.take());
    }

    /// Whether this is the pool of such an upstream, with all its settings.
    #[must_use]
    pub fn is_for(&self, upstream: &Upstream, transport: &Transport) -> bool {
        self.members.upstream == *upstream && self.members.transport.is_same(transport)
    }

    /// The upstream's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.members.upstream.name
    }

    /// Limits of the heads of its responses.
    #[must_use]
    pub fn response_limits(&self) -> Limits {
        let upstream = &self.members.upstream;
        Limits {
            max_size: upstream.max_header_size,
            max_lines: upstream.max_headers,
        }
    }

    /// How its peers are spoken to.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.members.upstream.protocol
    }

    /// What the request of a client says of the peer that it belongs to.
    #[must_use]
    pub fn affinity(&self, headers: &HeaderMap, client: Option<IpAddr>) -> Affinity {
        Affinity::of(&self.members, headers, client)
    }

    /// The peer for the next try of a request: one that was not tried, and well if there is one. The
    /// request counts as under way there as long as the turn lives.
    ///
    /// # Errors
    /// If all were tried, the request was tried often enough, or there is no room.
    pub fn choose(&self, tried: &[SocketAddr], affinity: &Affinity) -> Result<Turn, NoPeer> {
        if tried.len() >= self.members.upstream.tries {
            return Err(NoPeer::NoneLeft);
        }
        if !self.enter() {
            return Err(NoPeer::Full);
        }
        match choice::choose(&self.members, tried, affinity) {
            Ok(peer) => Ok(Turn::new(peer, self.under_way.clone())),
            Err(no_peer) => {
                if let Some(under_way) = &self.under_way {
                    under_way.fetch_sub(1, Relaxed);
                }
                Err(no_peer)
            }
        }
    }

    /// Whether a request that failed on the last of `tried` can be tried on another peer.
    #[must_use]
    pub fn has_another(&self, tried: &[SocketAddr]) -> bool {
        let roster = self.members.now_listed();
        let mut peers = roster.peers.iter();
        tried.len() < self.members.upstream.tries
            && peers.any(|peer| !peer.is_draining && !tried.contains(&peer.address))
    }

    /// Whether there is something left of the retries that there may be, one of which this takes.
    #[must_use]
    pub fn spend_retry(&self) -> bool {
        let roster = self.members.now_listed();
        let tries = roster.peers.iter();
        let tries = tries.map(|peer| peer.state.tries.load(Relaxed)).sum();
        let may = self.budget.spend(tries, Instant::now());
        self.retries.fetch_add(u64::from(may), Relaxed);
        may
    }

    /// Whether an answer counts as none, so that another peer is asked.
    #[must_use]
    pub fn refuses(&self, status: StatusCode) -> bool {
        let refused = &self.members.upstream.retry_on;
        !refused.is_empty() && refused.contains(&status.as_u16())
    }

    /// The peer did not answer: after some of that it is passed over for a while.
    pub fn failed(&self, peer: &Peer, reason: &str) {
        let (members, state) = (&self.members, &peer.state);
        state.failures.fetch_add(1, Relaxed);
        let change = state.fitness.failed(&members.policy, members.now());
        members.say(change, peer.address, reason);
    }

    /// The peer answered: it is well.
    pub fn succeeded(&self, peer: &Peer) {
        let members = &self.members;
        let change = peer
            .state
            .fitness
            .succeeded(&members.policy, || members.now());
        members.say(change, peer.address, "");
    }

    /// What to tell a client that is to stay with the peer that served it, unless it knows.
    #[must_use]
    pub fn cookie<'p>(
        &self,
        peer: &'p Peer,
        affinity: &Affinity,
        is_https: bool,
    ) -> Option<&'p HeaderValue> {
        let cookie = peer.cookie.as_ref();
        let cookie = cookie.filter(|cookie| affinity.peer != Some(cookie.id))?;
        Some(cookie.header(is_https))
    }

    /// What is known of every peer, in the order of the configuration.
    #[must_use]
    pub fn status(&self) -> Vec<PeerStatus> {
        let roster = self.members.roster();
        roster.peers.iter().map(|peer| peer.status()).collect()
    }

    /// The names of peers that lead nowhere. Requests are served without them, and they are asked for
    /// again.
    #[must_use]
    pub fn unresolved(&self) -> Vec<String> {
        let roster = self.members.roster();
        roster.lost(&self.members.upstream).collect()
    }

    /// How many idle connections of HTTP/1 there are to its peers.
    #[must_use]
    pub fn idle_connections(&self) -> usize {
        self.members.kept().count()
    }

    /// Closes the idle connections of HTTP/1, whose files are needed elsewhere.
    pub fn close_idle_connections(&self) {
        self.members.kept().clear();
    }

    /// How many requests were tried again.
    #[must_use]
    pub fn retries(&self) -> u64 {
        self.retries.load(Relaxed)
    }

    /// How many were not, because there were too many.
    #[must_use]
    pub fn retries_refused(&self) -> u64 {
        self.budget.refused()
    }

    /// Counts a request, unless there are enough.
    fn enter(&self) -> bool {
        let Some(under_way) = &self.under_way else {
            return true;
        };
        let limit = self.members.upstream.max_requests.unwrap_or(usize::MAX);
        if under_way.fetch_add(1, Relaxed) < limit {
            return true;
        }
        under_way.fetch_sub(1, Relaxed);
        false
    }
}

impl Members {
    /// Says it once when a peer goes down or comes back.
    fn say(&self, change: Change, peer: SocketAddr, reason: &str) {
        let name = &self.upstream.name;
        match change {
            Change::None => {}
            Change::Down => log::warn!("upstream {name}: peer {peer} is passed over: {reason}"),
            Change::Up => log::info!("upstream {name}: peer {peer} is back"),
        }
    }
}

#[cfg(test)]
mod tests;
