//! What is known of one request, from its head to its line in the log.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderValue;
use pingora::upstreams::peer::PeerOptions;
use pingora::{Error, Result};

use super::attempt::{Next, Progress};
use super::client_ip::{HeaderLines, Origin};
use super::compression::Encoder;
use super::drain::Counted;
use super::failure::{out_of_time, status_error};
use super::failure_reason::FailureReason;
use super::identity::Identity;
use super::limit::Facts;
use super::limit::client::{OfClient, OfShared};
use super::pace::Pace;
use super::response_head::{Connection, Received};
use super::route::{Route, Routed};
use super::upstream::{Affinity, ConnectionKind, NoPeer, Peer, Pool, Turn, tls_failure};
use super::{Gateway, Settings};
use crate::config::model::Compression;
use crate::geo::{Database, Place, PlaceCopy};

/// What is known of one request that the proxy serves.
pub struct Context {
    pub start: Instant,
    /// The settings of this request: one for its whole life, whatever is swapped in meanwhile.
    pub settings: Arc<Settings>,
    /// `None` until the head was looked at.
    pub origin: Option<Origin>,
    /// How it is known to others, likewise from then on.
    pub identity: Identity,
    /// The client's place. A copy: what is replaced while a request lasts must not wait for it.
    place: Option<PlaceCopy>,
    /// Its route; `None` until that is decided, and if there is none.
    pub routed: Option<Routed>,
    /// Where it goes; `None` until that is decided, and if it is answered here.
    pub pool: Option<Arc<Pool>>,
    /// The peers that were tried; the last one is the current one.
    pub tried: Vec<SocketAddr>,
    /// What the request says of the peer that it belongs to; `None` until one is chosen.
    affinity: Option<Affinity>,
    /// The current peer, which has the request as long as this is here.
    turn: Option<Turn>,
    pub refresh: Refresh,
    /// Whether another peer is to answer in place of one that answered with a failure.
    pub is_refused: bool,
    /// Heads of responses that came to this try.
    pub received: Received,
    /// Use of the peer's connection after the response.
    pub upstream_connection: Connection,
    /// Loop that moves its messages.
    pub engine: Engine,
    /// Whether the gateway itself has asked the client for the body that it waits with.
    pub invitation: Invitation,
    /// Whether there was no room, so that the client may come again.
    pub is_full: bool,
    /// How far the request has come with the current peer.
    pub progress: Progress,
    /// Why an answer of our own is no success.
    pub failure: Option<FailureReason>,
    /// Why the last try failed.
    pub try_failure: Option<FailureReason>,
    pub upstream_start: Option<Instant>,
    /// Bytes of the request's body that passed.
    pub body_bytes: u64,
    /// How fast the body of a request of HTTP/2 comes; of others the lane knows.
    pub pace: Pace,
    /// How many of them may.
    pub max_body_size: u64,
    /// When it has to be done; `None` if nobody says so.
    pub deadline: Option<Instant>,
    /// Whether the connection may become a tunnel, which has no end that could be set.
    pub asks_to_upgrade: bool,
    /// What the response's body goes through, if it is compressed.
    pub encoder: Option<Box<Encoder>>,
    _under_way: Counted,
    /// What it takes of its client's share.
    of_client: Option<OfClient>,
    /// What it takes of its route's room.
    of_route: Option<OfShared>,
}

/// A kept connection that ends is no sign that the peer is down: it may have been closing it just
/// then. So the same peer gets another try on a new connection, once in a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Refresh {
    Unused,
    Due,
    Used,
}

/// Loop that moves the messages of a request, and so decides if the peer's connection is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// The straight or the duplex path.
    Own,
    /// pingora's proxy.
    Pingora,
}

/// The gateway's own `100 Continue`, which a client gets once, however often its request is tried.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Invitation {
    Unsent,
    Sent,
}

impl Context {
    /// A request that came just now.
    pub fn new(gateway: &Gateway) -> Self {
        let settings = gateway.settings.load_full();
        Context {
            start: Instant::now(),
            pace: Pace::new(settings.client.min_body_rate),
            max_body_size: settings.client.max_body_size,
            deadline: None,
            asks_to_upgrade: false,
            settings,
            origin: None,
            identity: Identity::default(),
            place: None,
            routed: None,
            pool: None,
            tried: Vec::new(),
            affinity: None,
            turn: None,
            refresh: Refresh::Unused,
            is_refused: false,
            received: Received::default(),
            upstream_connection: Connection::Reusable,
            engine: Engine::Pingora,
            invitation: Invitation::Unsent,
            is_full: false,
            progress: Progress::default(),
            failure: None,
            try_failure: None,
            upstream_start: None,
            body_bytes: 0,
            encoder: None,
            _under_way: gateway.drain.enter(),
            of_client: None,
            of_route: None,
        }
    }

    /// Sets the client, and its place in `database`.
    pub fn set_origin(&mut self, origin: Origin, database: &Database) {
        let place = database.lookup(origin.client.ip());
        self.place = place.map(|place| place.copied());
        self.origin = Some(origin);
    }

    /// Where the client is.
    pub fn place(&self) -> Option<Place<'_>> {
        self.place.as_ref().map(PlaceCopy::place)
    }

    /// What those ask who may refuse it; `None` until its client is known.
    pub fn facts<'r>(
        &'r self,
        route: &'r str,
        header: &'r dyn Fn(&str) -> &'r [u8],
    ) -> Option<Facts<'r>> {
        Some(Facts {
            client: self.origin.as_ref()?.client.ip(),
            place: self.place(),
            route,
            header,
        })
    }

    /// From now on it counts as one of its client's requests.
    pub fn hold_client(&mut self, one: OfClient) {
        self.of_client = Some(one);
    }

    /// From now on it takes this of its route's room, if that is limited.
    pub fn hold_room(&mut self, room: Option<OfShared>) {
        self.of_route = room;
    }

    /// An error once its time is over.
    pub fn still_in_time(&self) -> Result<()> {
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(out_of_time()),
            _ => Ok(()),
        }
    }

    /// Lets nothing that is done with a peer take longer than the time that is left.
    pub fn hurry(&self, options: &mut PeerOptions) {
        // Set now, a tunnel would keep these.
        let Some(deadline) = self.deadline.filter(|_| !self.asks_to_upgrade) else {
            return;
        };
        let left = deadline.saturating_duration_since(Instant::now());
        let left = left.max(Duration::from_millis(1));
        for timeout in [
            &mut options.connection_timeout,
            &mut options.total_connection_timeout,
            &mut options.read_timeout,
            &mut options.write_timeout,
        ] {
            *timeout = Some(timeout.map_or(left, |timeout| timeout.min(left)));
        }
    }

    /// The route that it takes.
    pub fn route(&self) -> Option<&Route> {
        let routes = self.settings.routes.as_ref()?;
        Some(routes.get(self.routed.as_ref()?))
    }

    /// How the response is compressed, if it may be.
    pub fn compression(&self) -> Option<&Compression> {
        let compression = &self.settings.compression;
        let chosen = self.route().and_then(|route| route.compress);
        chosen.unwrap_or(compression.enabled).then_some(compression)
    }

    /// The peer for the next try of a request, and whether a kept connection to it will do.
    pub fn choose_peer(
        &mut self,
        headers: &impl HeaderLines,
    ) -> Result<(Arc<Peer>, ConnectionKind)> {
        self.still_in_time()?;
        let Some(pool) = &self.pool else {
            return Err(status_error(502, "no upstream"));
        };
        self.upstream_start.get_or_insert_with(Instant::now);
        // A retry sends the body again from its beginning.
        self.body_bytes = 0;
        self.progress = Progress::default();
        if let (Refresh::Due, Some(turn)) = (self.refresh, &self.turn) {
            self.refresh = Refresh::Used;
            return Ok((Arc::clone(turn.peer()), ConnectionKind::Fresh));
        }
        // Whoever had it before has it no more.
        self.turn = None;
        let client = self.origin.as_ref().map(|origin| origin.client.ip());
        let affinity = &*self
            .affinity
            .get_or_insert_with(|| pool.affinity(headers, client));
        let turn = pool.choose(&self.tried, affinity);
        let turn = turn.map_err(|no_peer| {
            self.is_full = no_peer == NoPeer::Full;
            no_peer_error(no_peer)
        })?;
        let peer = Arc::clone(turn.peer());
        self.tried.push(peer.address);
        self.turn = Some(turn);
        Ok((peer, ConnectionKind::Any))
    }

    /// The pool and the peer that has the request.
    pub fn peer(&self) -> Option<(&Pool, &Peer)> {
        let turn = self.turn.as_ref()?;
        Some((self.pool.as_deref()?, turn.peer()))
    }

    /// Notes that the current peer failed.
    pub fn note_failure(&self, reason: &Error) {
        if let Some((pool, peer)) = self.peer() {
            let why = tls_failure::describe(reason);
            pool.failed(peer, why.as_deref().unwrap_or(reason.etype().as_str()));
        }
    }

    /// Whether the request is tried once more, where `next` says; that peer is the next one to be
    /// chosen.
    pub fn goes_on(&mut self, next: Next) -> bool {
        match next {
            Next::Stop | Next::BlameClient => false,
            Next::AnotherPeer => self.may_go_on(),
            Next::AnyPeer => self.may_go_on() || self.is_refreshed(),
            Next::SamePeer => self.is_refreshed(),
        }
    }

    /// Whether the current peer is tried again on a new connection.
    fn is_refreshed(&mut self) -> bool {
        let is_first = self.refresh == Refresh::Unused && self.turn.is_some();
        if is_first {
            self.refresh = Refresh::Due;
        }
        is_first
    }

    /// Whether the request may be tried on another peer, which is one of the retries that there may
    /// be.
    pub fn may_go_on(&self) -> bool {
        let pool = self.pool.as_ref();
        pool.is_some_and(|pool| pool.has_another(&self.tried) && pool.spend_retry())
    }

    /// What to tell the client so that it stays with its peer.
    pub fn peer_cookie(&self, is_https: bool) -> Option<HeaderValue> {
        let (pool, peer) = self.peer()?;
        let cookie = pool.cookie(peer, self.affinity.as_ref()?, is_https);
        cookie.cloned()
    }
}

fn no_peer_error(no_peer: NoPeer) -> Box<Error> {
    match no_peer {
        NoPeer::NoneLeft => status_error(502, "no peer is left to try"),
        NoPeer::Full => status_error(503, "the upstream has as many requests as it may"),
    }
}
