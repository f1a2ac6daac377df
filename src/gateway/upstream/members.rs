//! The peers of a pool, as they are now.
//!
//! Peers come and go as names change, and with a new configuration. Who chooses reads one list that
//! is never changed but replaced as a whole; what is known of a peer goes from one list to the next
//! with its address.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;

use super::fitness::Policy;
use super::kept::Kept;
use super::peer::{Peer, Settings, State, Way};
use super::selection::Selection;
use super::sticky::Cookies;
use super::transport::Transport;
use crate::config::model::{PeerAddress, Upstream};

/// Where a configured peer was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its weight, if who names it gives it one.
    pub weight: Option<u32>,
    /// Whether who names it means it as a backup.
    pub is_backup: bool,
}

impl From<SocketAddr> for Found {
    fn from(address: SocketAddr) -> Self {
        Found {
            address,
            weight: None,
            is_backup: false,
        }
    }
}

/// An upstream and its peers.
pub struct Members {
    pub upstream: Upstream,
    pub transport: Transport,
    pub policy: Policy,
    pub cookies: Option<Cookies>,
    kept: Arc<Kept>,
    start: Instant,
    roster: ArcSwap<Roster>,
}

/// The peers at one time.
pub struct Roster {
    /// All of them, in the order of the configuration.
    pub peers: Box<[Arc<Peer>]>,
    /// Those who serve, then those who stand in for them.
    pub tiers: [Tier; 2],
    /// Where each configured peer was found.
    found: Vec<Vec<Found>>,
}

/// Peers that are chosen from together.
pub struct Tier {
    pub peers: Box<[Arc<Peer>]>,
    pub selection: Selection,
}

impl Members {
    /// The peers of an upstream. What was known `before` of those who stay is taken over.
    pub fn new(upstream: &Upstream, transport: Transport, before: Option<&Members>) -> Self {
        let (limit, idle_timeout) = (upstream.keepalive, upstream.idle_timeout);
        let kept = before.filter(|before| {
            before.transport.is_same(&transport) && before.kept.is_like(limit, idle_timeout)
        });
        let kept = kept.map_or_else(
            || Arc::new(Kept::new(limit, idle_timeout)),
            |before| Arc::clone(&before.kept),
        );
        let cookies = upstream.sticky.as_ref().map(|sticky| {
            let like = before.and_then(|before| before.cookies.as_ref());
            Cookies::new(sticky, like)
        });
        let found = upstream.peers.iter().map(|peer| match &peer.address {
            PeerAddress::Socket(address) => vec![Found::from(*address)],
            name => before.map_or_else(Vec::new, |before| before.found(name)),
        });
        let found = found.collect();
        let members = Members {
            policy: Policy::new(upstream),
            upstream: upstream.clone(),
            transport,
            cookies,
            kept,
            start: before.map_or_else(Instant::now, |before| before.start),
            roster: ArcSwap::from_pointee(Roster::empty(upstream)),
        };
        let known = before.map(Members::roster);
        let known = known.as_deref().map_or(&[][..], |roster| &roster.peers);
        let roster = members.list(found, known);
        for peer in &roster.peers {
            if upstream.health_check.is_none() {
                peer.state.fitness.forget_checks();
            }
        }
        members.roster.store(Arc::new(roster));
        members
    }

    /// The idle connections to all of them.
    pub fn kept(&self) -> &Kept {
        &self.kept
    }

    /// The peers as they are now.
    pub fn roster(&self) -> Arc<Roster> {
        self.roster.load_full()
    }

    /// As [`Members::roster`], for a moment.
    pub fn now_listed(&self) -> arc_swap::Guard<Arc<Roster>> {
        self.roster.load()
    }

    /// Milliseconds since the start, never 0.
    pub fn now(&self) -> u64 {
        self.start.elapsed().as_millis() as u64 + 1
    }

    /// A configured peer was found there; whether that is news. Only one thread may say so.
    pub fn set_found(&self, index: usize, found: Vec<Found>) -> bool {
        let roster = self.roster();
        if roster.found[index] == found {
            return false;
        }
        let mut all = roster.found.clone();
        all[index] = found;
        self.roster.store(Arc::new(self.list(all, &roster.peers)));
        true
    }

    fn found(&self, name: &PeerAddress) -> Vec<Found> {
        let names = self.upstream.peers.iter().map(|peer| &peer.address);
        let roster = self.roster();
        let mut known = names.zip(&roster.found);
        let known = known.find(|(known, _)| *known == name);
        known.map_or_else(Vec::new, |(_, found)| found.clone())
    }

    fn list(&self, found: Vec<Vec<Found>>, known: &[Arc<Peer>]) -> Roster {
        let mut peers: Vec<Arc<Peer>> = Vec::new();
        for (configured, found) in self.upstream.peers.iter().zip(&found) {
            let host = match &configured.address {
                PeerAddress::Name(host, _) => Some(host.as_str()),
                PeerAddress::Socket(_) | PeerAddress::Service(_) => None,
            };
            for at in found {
                if peers.iter().any(|peer| peer.address == at.address) {
                    // By two names; the first one counts.
                    continue;
                }
                let settings = Settings {
                    weight: at.weight.unwrap_or(configured.weight),
                    is_backup: configured.is_backup || at.is_backup,
                    is_draining: configured.is_draining,
                    max_requests: configured.max_requests,
                };
                let cookies = self.cookies.as_ref();
                let pins = self.transport.pins(host);
                let template =
                    self.transport
                        .template(&self.upstream, at.address, host, pins.as_ref());
                let peer = Peer::new(
                    at.address,
                    &settings,
                    Way { template, pins },
                    cookies.map(|cookies| cookies.of(&self.upstream.name, at.address)),
                    Arc::clone(&self.kept),
                    self.state(at.address, known),
                );
                peers.push(Arc::new(peer));
            }
        }
        Roster::new(&self.upstream, peers, found)
    }

    fn state(&self, address: SocketAddr, known: &[Arc<Peer>]) -> Arc<State> {
        if let Some(peer) = known.iter().find(|peer| peer.address == address) {
            return Arc::clone(&peer.state);
        }
        let state = State::default();
        if !known.is_empty() {
            // The others have been serving for a while.
            state.fitness.come_back(&self.policy, self.now());
        }
        Arc::new(state)
    }
}

impl Roster {
    fn empty(upstream: &Upstream) -> Self {
        let found = vec![Vec::new(); upstream.peers.len()];
        Roster::new(upstream, Vec::new(), found)
    }

    /// The configured peers of which there is none.
    pub fn lost<'r>(&'r self, upstream: &'r Upstream) -> impl Iterator<Item = String> + 'r {
        let peers = upstream.peers.iter().zip(&self.found);
        let lost = peers.filter(|(_, found)| found.is_empty());
        lost.map(|(peer, _)| peer.address.to_string())
    }

    fn new(upstream: &Upstream, peers: Vec<Arc<Peer>>, found: Vec<Vec<Found>>) -> Self {
        let tier = |is_backup| {
            let peers = peers.iter().filter(|peer| peer.is_backup == is_backup);
            let peers: Box<[_]> = peers.map(Arc::clone).collect();
            let weights: Vec<_> = peers.iter().map(|p| (p.address, p.weight)).collect();
            Tier {
                selection: Selection::new(&upstream.balance, &weights),
                peers,
            }
        };
        Roster {
            tiers: [tier(false), tier(true)],
            peers: peers.into(),
            found,
        }
    }
}
