//! Admission of connections and requests: the place where limits are applied.
//!
//! All engines call this with their data of a request; the limits themselves are in
//! [`access`](crate::gateway::access).

use crate::gateway::access::inflight::{ClientPermit, network};
use crate::gateway::access::{Reason, Rejection, RequestAttributes};
use crate::gateway::context::Context;
use crate::gateway::request::client_ip::{self, PeerAddr};
use crate::gateway::request::request_view::RequestView;
use crate::gateway::request::variables::is_query_target;
use crate::gateway::{Gateway, Settings};
use crate::geo::Database;
use crate::proto::headers::Headers;

impl Gateway {
    /// Checks that there is room for another connection, from any client.
    pub(in crate::gateway) fn has_room(&self) -> Result<(), Rejection> {
        let (open, in_flight) = (self.metrics.open(), self.drain.in_flight());
        let settings = self.settings();
        let caps = &settings.limits.caps;
        let reason = if open >= caps.connections || open + in_flight >= caps.files {
            Reason::Connections
        } else if self.load.is_memory_short() {
            Reason::Memory
        } else {
            if open + in_flight + idle_connections(&settings) >= caps.files {
                close_idle_connections(&settings);
            }
            return Ok(());
        };
        self.load.count(reason);
        Err(Rejection::Overloaded)
    }

    /// Returns `true` if there is a file descriptor left for an idle connection to an upstream.
    pub(in crate::gateway) fn may_keep(&self, settings: &Settings) -> bool {
        let in_use = self.metrics.open() + self.drain.in_flight() + idle_connections(settings);
        in_use < settings.limits.caps.files
    }

    /// Takes a connection permit of the client, to be held as long as the connection is open.
    /// Returns `None` if connections per client are not limited.
    pub(in crate::gateway) fn share_of(
        &self,
        peer: PeerAddr,
    ) -> Result<Option<ClientPermit>, Rejection> {
        let settings = self.settings();
        let caps = &settings.limits.caps;
        let Some(most) = caps.connections_per_client else {
            return Ok(None);
        };
        if settings.client_ip.trusted_proxies.contains(peer.ip()) {
            // Many clients share the address of a proxy.
            return Ok(None);
        }
        let client = network(peer.ip(), caps.ipv6_prefix);
        let share = self.load.connections.take(client, most);
        if share.is_none() {
            self.load.count(Reason::ClientConnections);
            return Err(Rejection::TooMany);
        }
        Ok(share)
    }

    /// Returns the reason if a request of the proxy is rejected.
    pub(in crate::gateway) fn refuses_request<H: Headers>(
        &self,
        request: &RequestView<H>,
        ctx: &mut Context,
    ) -> Option<Rejection> {
        let is_query = is_query_target(request.target);
        let client = ctx.origin.as_ref()?.client.ip();
        let caps = ctx.settings.limits.caps;
        let in_flight = self.drain.in_flight();
        let overload = if is_query {
            None
        } else if self.load.is_memory_short() {
            Some(Reason::Memory)
        } else if in_flight > caps.requests || in_flight + self.metrics.open() > caps.files {
            Some(Reason::Requests)
        } else {
            None
        };
        if let Some(reason) = overload {
            self.load.count(reason);
            return Some(Rejection::Overloaded);
        }
        let most = caps.requests_per_client;
        if most < u32::MAX {
            let client = network(client, caps.ipv6_prefix);
            let Some(one) = self.load.requests.take(client, most) else {
                self.load.count(Reason::ClientRequests);
                return Some(Rejection::TooMany);
            };
            ctx.hold_client(one);
        }
        let header = |name: &str| request.headers.first(name).unwrap_or_default();
        let attributes = ctx.attributes("", &header)?;
        ctx.settings.refuses(&attributes, is_query)
    }
}

fn idle_connections(settings: &Settings) -> usize {
    let pools = settings.pools().iter();
    pools.map(|pool| pool.idle_connections()).sum()
}

/// Closes all idle connections to upstreams, to free their file descriptors.
pub(in crate::gateway) fn close_idle_connections(settings: &Settings) {
    for pool in settings.pools() {
        pool.close_idle_connections();
    }
}

impl Settings {
    /// Returns the reason if a plain IP query is rejected.
    pub(in crate::gateway) fn refuses_query<'h>(
        &self,
        peer: PeerAddr,
        head: &impl Headers,
        header: &'h dyn Fn(&str) -> &'h [u8],
        database: &'h Database,
    ) -> Option<Rejection> {
        if self.limits.requests.is_open() && self.limits.queries.is_open() {
            return None;
        }
        let client = client_ip::resolve(peer, head, &self.client_ip).client;
        let attributes = RequestAttributes {
            client: client.ip(),
            place: database.lookup(client.ip()),
            route: "",
            header,
        };
        self.refuses(&attributes, true)
    }

    fn refuses(&self, attributes: &RequestAttributes, is_query: bool) -> Option<Rejection> {
        let rejection = self.limits.requests.refuses(attributes);
        if rejection.is_none() && is_query {
            return self.limits.queries.refuses(attributes);
        }
        rejection
    }
}

/// Applies the limits of the route that an internal redirect led to. Returns the reason if the request
/// is rejected.
pub(super) fn admit_again<H: Headers>(
    request: &RequestView<H>,
    ctx: &mut Context,
) -> Option<Rejection> {
    // The limits of the route before do not hold any more.
    ctx.leave_route();
    ctx.body.max_bytes = ctx.settings.client.max_body_size;
    admit_to_route(request, ctx)
}

/// Applies the limits of the route to a request. Returns the reason if the request is rejected.
pub(super) fn admit_to_route<H: Headers>(
    request: &RequestView<H>,
    ctx: &mut Context,
) -> Option<Rejection> {
    let route = ctx.route()?;
    let header = |name: &str| request.headers.first(name).unwrap_or_default();
    let limits = &route.limits;
    let (max_body_size, timeout) = (limits.max_body_size, limits.timeout);
    let attributes = ctx.attributes(&route.name, &header)?;
    let taken = if ctx.is_limited() {
        limits.check_access(&attributes).map(|()| None)
    } else if ctx.is_rate_counted() {
        limits.take_uncounted(&attributes)
    } else {
        limits.take(&attributes)
    };
    let is_counted = limits.have_rates();
    match taken {
        Ok(room) => ctx.hold_room(room, is_counted),
        Err(rejection) => {
            if !matches!(rejection, Rejection::Denied) {
                ctx.note_limited();
            }
            return Some(rejection);
        }
    }
    ctx.body.max_bytes = max_body_size.unwrap_or(ctx.body.max_bytes);
    ctx.deadline = timeout.map(|timeout| ctx.start + timeout);
    None
}
