//! Choice of a peer for a request, from all current peers.
//!
//! The order is: the peer that the sticky cookie names; a primary peer; a backup peer; and if none
//! of them is available, any peer with room, because an unhealthy peer is better than none.

use std::sync::Arc;

use super::NoPeer;
use super::affinity::Affinity;
use super::endpoints::{EndpointSnapshot, Endpoints, Tier};
use super::peer::Peer;
use super::selection::Candidates;
use crate::config::model::SocketAddress;

/// Takes a peer for a request that was already tried on the peers in `tried`.
pub fn choose(
    endpoints: &Endpoints,
    tried: &[SocketAddress],
    affinity: &Affinity,
) -> Result<Arc<Peer>, NoPeer> {
    let snapshot = endpoints.current();
    let mut choice = Choice {
        endpoints,
        tried,
        is_last_resort: false,
        peers: &[],
    };
    if let Some(peer) = choice.named(&snapshot, affinity) {
        return Ok(peer);
    }
    for is_last_resort in [false, true] {
        choice.is_last_resort = is_last_resort;
        for tier in &snapshot.tiers {
            if let Some(peer) = choice.one_of(tier, affinity) {
                return Ok(peer);
            }
        }
    }
    let is_full = |peer: &Arc<Peer>| choice.may_have(peer) && !peer.has_room();
    if snapshot.peers.iter().any(is_full) {
        Err(NoPeer::Full)
    } else {
        Err(NoPeer::NoneLeft)
    }
}

struct Choice<'c> {
    endpoints: &'c Endpoints,
    tried: &'c [SocketAddress],
    /// True if an unhealthy peer is acceptable.
    is_last_resort: bool,
    /// Candidates of the selection.
    peers: &'c [Arc<Peer>],
}

impl<'c> Choice<'c> {
    /// Takes the peer that the request's cookie names. It may be draining: clients that are bound
    /// to it stay.
    fn named(&self, snapshot: &EndpointSnapshot, affinity: &Affinity) -> Option<Arc<Peer>> {
        let named = affinity.peer?;
        let is_named = |peer: &&Arc<Peer>| peer.cookie.as_ref().is_some_and(|c| c.id == named);
        let peer = snapshot.peers.iter().find(is_named)?;
        let may = !self.tried.contains(&peer.address) && self.is_fit(peer) && self.take_it(peer);
        may.then(|| Arc::clone(peer))
    }

    fn one_of(&mut self, tier: &'c Tier, affinity: &Affinity) -> Option<Arc<Peer>> {
        self.peers = &tier.peers;
        let index = tier.selection.pick(&affinity.key, self)?;
        Some(Arc::clone(&self.peers[index]))
    }

    fn may_have(&self, peer: &Peer) -> bool {
        !peer.is_draining && !self.tried.contains(&peer.address)
    }

    fn is_fit(&self, peer: &Peer) -> bool {
        peer.has_room()
            && (self.is_last_resort || peer.state.peer_health.is_open(|| self.endpoints.now()))
    }

    fn take_it(&self, peer: &Peer) -> bool {
        if !peer.enter() {
            return false;
        }
        let peer_health = &peer.state.peer_health;
        let taken = peer_health.take(&self.endpoints.policy, || self.endpoints.now());
        if !taken && !self.is_last_resort {
            peer.leave();
            return false;
        }
        true
    }
}

impl Candidates for Choice<'_> {
    fn is_open(&self, index: usize) -> bool {
        let peer = &self.peers[index];
        self.may_have(peer) && self.is_fit(peer)
    }

    fn is_lucky(&self, index: usize) -> bool {
        let peer_health = &self.peers[index].state.peer_health;
        let share = peer_health.share(&self.endpoints.policy, || self.endpoints.now());
        share >= 1.0 || fastrand::f32() < share
    }

    fn load(&self, index: usize) -> f32 {
        let peer = &self.peers[index];
        let in_flight = peer.status().in_flight as f32;
        let share = peer
            .state
            .peer_health
            .share(&self.endpoints.policy, || self.endpoints.now());
        in_flight / (peer.weight as f32 * share)
    }

    fn take(&mut self, index: usize) -> bool {
        self.take_it(&self.peers[index])
    }
}
