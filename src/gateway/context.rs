//! State of one proxied request, from its head to its log line.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use http::HeaderValue;
use pingora::{Error, Result};

use super::attempt::{Next, Progress};
use super::client_ip::Origin;
use super::compression::Encoder;
use super::drain::Counted;
use super::failure::{out_of_time, status_error};
use super::failure_reason::FailureReason;
use super::identity::Identity;
use super::limit::Facts;
use super::limit::client::{OfClient, OfShared};
use super::metrics::HttpVersion;
use super::place_cache::place_of;
use super::request_view::RequestView;
use super::route::{Route, Routed};
use super::upstream::{Affinity, ConnectionKind, NoPeer, Peer, Pool, Turn, tls_failure};
use super::variables::{Captured, View};
use super::{Gateway, Settings};
use crate::config::model::Compression;
use crate::geo::{Database, Place, PlaceCopy};
use crate::proto::headers::Headers;

/// State of one request that the proxy serves.
pub struct Context {
    pub start: Instant,
    /// Settings of this request. They stay the same until its end, even after a reload.
    pub settings: Arc<Settings>,
    /// Client and proxies; `None` until the head is read.
    pub origin: Option<Origin>,
    /// Id and trace; set together with `origin`.
    pub identity: Identity,
    /// Place of the client. It is a copy, so that a replaced database can be freed while the
    /// request lasts.
    place: Option<Arc<PlaceCopy>>,
    /// Route; `None` until it is chosen, and if there is none.
    pub routed: Option<Routed>,
    /// Upstream; `None` until it is chosen, and for a local reply.
    pub pool: Option<Arc<Pool>>,
    /// Peers that were tried; the last one is the current one.
    pub tried: Vec<SocketAddr>,
    /// Hash key and sticky cookie of the request; `None` until the first peer is chosen.
    affinity: Option<Affinity>,
    /// Assignment to the current peer, on which the request counts as in flight.
    turn: Option<Turn>,
    pub refresh: Refresh,
    /// True if the peer's response has a status of `retry_on`, and another peer is to be tried.
    pub is_refused: bool,
    /// Version of HTTP of the last peer; `None` until one was connected to.
    pub upstream_version: Option<HttpVersion>,
    /// State of the gateway's own `100 Continue` for a client that waits with its body.
    pub invitation: Invitation,
    /// True if the request was rejected for lack of capacity, so that a retry may succeed.
    pub is_full: bool,
    /// Progress with the current peer.
    pub progress: Progress,
    /// Reason of a local reply that is an error.
    pub failure: Option<FailureReason>,
    /// Reason of the failure of the last try.
    pub try_failure: Option<FailureReason>,
    pub upstream_start: Option<Instant>,
    /// Bytes of the request's body that were forwarded.
    pub body_bytes: u64,
    /// Maximum size of the request's body in bytes.
    pub max_body_size: u64,
    /// Time at which the request must be complete; `None` if it is not limited.
    pub deadline: Option<Instant>,
    /// True if the connection may become a tunnel, whose duration must not be limited.
    pub asks_to_upgrade: bool,
    /// Encoder of the response's body, if it is compressed.
    pub encoder: Option<Box<Encoder>>,
    _under_way: Counted,
    /// Permit of the limit of requests per client.
    of_client: Option<OfClient>,
    /// Permit of the limit of requests on the route.
    of_route: Option<OfShared>,
}

/// State of the second try on the same peer. An idle connection that closes does not mean that the
/// peer is down: the peer may have closed it at just that time. So the same peer is tried once more
/// on a new connection, once for a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Refresh {
    Unused,
    Due,
    Used,
}

/// State of the gateway's own `100 Continue`, which a client gets only once, even if its request is
/// retried.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Invitation {
    Unsent,
    Sent,
}

impl Context {
    /// Creates the state of a request that arrived just now.
    pub fn new(gateway: &Gateway) -> Self {
        let settings = gateway.settings.load_full();
        Context {
            start: Instant::now(),
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
            upstream_version: None,
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

    /// Sets the client, and its place from `database`.
    pub fn set_origin(&mut self, origin: Origin, database: &Database) {
        self.place = place_of(origin.client.ip(), database);
        self.origin = Some(origin);
    }

    /// Geographic place of the client.
    pub fn place(&self) -> Option<Place<'_>> {
        self.place.as_deref().map(PlaceCopy::place)
    }

    /// Attributes of the request for access rules and limits; `None` until its client is known.
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

    /// Holds the permit of the client until the request ends.
    pub fn hold_client(&mut self, one: OfClient) {
        self.of_client = Some(one);
    }

    /// Holds the permit of the route, if the route is limited, until the request ends.
    pub fn hold_room(&mut self, room: Option<OfShared>) {
        self.of_route = room;
    }

    /// Returns an error if the deadline has passed.
    pub fn still_in_time(&self) -> Result<()> {
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(out_of_time()),
            _ => Ok(()),
        }
    }

    /// Route of the request.
    pub fn route(&self) -> Option<&Route> {
        let routes = self.settings.routes.as_ref()?;
        Some(routes.get(self.routed.as_ref()?))
    }

    /// Settings of the compression, if the response may be compressed.
    pub fn compression(&self) -> Option<&Compression> {
        let compression = &self.settings.compression;
        let chosen = self.route().and_then(|route| route.compress);
        chosen.unwrap_or(compression.enabled).then_some(compression)
    }

    /// Chooses the peer for the next try, and the kind of connection to use.
    pub fn choose_peer(&mut self, headers: &impl Headers) -> Result<(Arc<Peer>, ConnectionKind)> {
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
        // Releases the permit of the previous peer.
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

    /// Pool and current peer.
    pub fn peer(&self) -> Option<(&Pool, &Peer)> {
        let turn = self.turn.as_ref()?;
        Some((self.pool.as_deref()?, turn.peer()))
    }

    /// Records a failure of the current peer.
    pub fn note_failure(&self, reason: &Error) {
        if let Some((pool, peer)) = self.peer() {
            let why = tls_failure::describe(reason);
            pool.failed(peer, why.as_deref().unwrap_or(reason.etype().as_str()));
        }
    }

    /// Returns `true` if the request is tried once more as `next` says. The next call of
    /// `choose_peer` then returns that peer.
    pub fn goes_on(&mut self, next: Next) -> bool {
        match next {
            Next::Stop | Next::BlameClient => false,
            Next::AnotherPeer => self.may_go_on(),
            Next::AnyPeer => self.may_go_on() || self.is_refreshed(),
            Next::SamePeer => self.is_refreshed(),
        }
    }

    /// Schedules one more try of the current peer on a new connection. Returns `false` if it was
    /// used already.
    fn is_refreshed(&mut self) -> bool {
        let is_first = self.refresh == Refresh::Unused && self.turn.is_some();
        if is_first {
            self.refresh = Refresh::Due;
        }
        is_first
    }

    /// Returns `true` if the request may be tried on another peer, and takes one retry from the
    /// budget.
    pub fn may_go_on(&self) -> bool {
        let pool = self.pool.as_ref();
        pool.is_some_and(|pool| pool.has_another(&self.tried) && pool.spend_retry())
    }

    /// `Set-Cookie` value that binds the client to its peer.
    pub fn peer_cookie(&self, is_https: bool) -> Option<HeaderValue> {
        let (pool, peer) = self.peer()?;
        let cookie = pool.cookie(peer, self.affinity.as_ref()?, is_https);
        cookie.cloned()
    }
}

impl<'r, H: Headers> View<'r, H> {
    /// Creates the view of a request.
    pub fn of(request: &RequestView<'r, H>, ctx: &'r Context) -> Self {
        let routed = ctx.routed.as_ref();
        View {
            origin: ctx.origin.as_ref(),
            place: ctx.place(),
            scheme: request.scheme(),
            method: request.method.as_str(),
            target: request.target,
            protocol: request.protocol(),
            authority: request.authority,
            headers: request.headers,
            request_id: ctx.identity.id(),
            route: ctx.route().map_or("", |route| &route.name),
            captures: routed.map_or(Captured::default(), |routed| Captured {
                text: routed.path().unwrap_or_default(),
                groups: routed.captures(),
            }),
            tls: request.tls,
        }
    }
}

fn no_peer_error(no_peer: NoPeer) -> Box<Error> {
    match no_peer {
        NoPeer::NoneLeft => status_error(502, "no peer is left to try"),
        NoPeer::Full => status_error(503, "the upstream has as many requests as it may"),
    }
}
