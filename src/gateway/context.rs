//! State of one request, from its head to its log line.

use std::sync::Arc;
use std::time::Instant;

use http::StatusCode;
use pingora::{Error, Result};

use super::access::RequestAttributes;
use super::access::drain::Counted;
use super::access::inflight::{ClientPermit, SharedPermit};
use super::compression::Encoder;
use super::failure::reason::FailureReason;
use super::failure::{out_of_time, status_error};
use super::request::client_ip::Origin;
use super::request::identity::Identity;
use super::request::own_value::Values;
use super::request::place_cache::{ClientPlace, place_of};
use super::request::request_view::RequestView;
use super::request::variables::{Captured, ConnectionView, RoutedTarget, View};
use super::route::{Replaced, Route, RouteMatch};
use super::upstream::attempts::Attempts;
use super::upstream::{ConnectionKind, NoPeer, Peer};
use super::{Gateway, Settings};
use crate::config::model::{Compression, RequestVariable, ResponseVariable};
use crate::geo::{Database, Place};
use crate::proto::headers::{Headers, LineBuffer};
use crate::proto::text::write_seconds;

/// State of one request that the engine serves.
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
    place: Option<Arc<ClientPlace>>,
    /// Route; `None` until it is chosen, and if there is none.
    pub routed: Option<RouteMatch>,
    /// Upstream, and the tries on its peers.
    pub attempts: Attempts,
    pub body: RequestBody,
    /// Time at which the response must be complete; `None` if it is not limited.
    pub deadline: Option<Instant>,
    /// Encoder of the response's body, if it is compressed.
    pub encoder: Option<Box<Encoder>>,
    /// Reason of a local reply that is an error.
    pub failure: Option<FailureReason>,
    permits: Permits,
}

/// Body of a request, as far as it is known.
#[derive(Clone, Copy, Debug)]
pub struct RequestBody {
    /// Bytes of content that were read and forwarded in this try.
    pub bytes: u64,
    /// Maximum number of bytes of content.
    pub max_bytes: u64,
    /// `true` after the gateway's own `100 Continue`, which a client gets only once, even if its
    /// request is retried.
    pub is_invited: bool,
}

/// Permits that a request holds until it ends.
struct Permits {
    _in_flight: Counted,
    /// Of the limit of requests per client.
    of_client: Option<ClientPermit>,
    /// Of the limit of requests on the route.
    of_route: Option<SharedPermit>,
    /// `true` once rate limits of a route have counted the request.
    is_rate_counted: bool,
    /// `true` once the limits of a route have rejected the request.
    is_limited: bool,
}

impl Context {
    /// Creates the state of a request that arrived just now.
    pub fn new(gateway: &Gateway) -> Self {
        let settings = gateway.settings.load_full();
        let wants = settings.wants;
        Context {
            start: Instant::now(),
            body: RequestBody {
                bytes: 0,
                max_bytes: settings.client.max_body_size,
                is_invited: false,
            },
            settings,
            origin: None,
            identity: Identity::default(),
            place: None,
            routed: None,
            attempts: Attempts::new(wants),
            deadline: None,
            encoder: None,
            failure: None,
            permits: Permits {
                _in_flight: gateway.drain.enter(),
                of_client: None,
                of_route: None,
                is_rate_counted: false,
                is_limited: false,
            },
        }
    }

    /// Sets the client, and its place from `database`.
    pub fn set_origin(&mut self, origin: Origin, database: &Database) {
        self.place = place_of(
            origin.client.ip(),
            database,
            &self.settings.location_headers,
        );
        self.origin = Some(origin);
    }

    /// Geographic place of the client.
    pub fn place(&self) -> Option<Place<'_>> {
        self.place.as_deref().map(ClientPlace::place)
    }

    /// Header lines with the place of the client, for an upstream.
    pub fn place_lines(&self) -> Option<&LineBuffer> {
        self.place.as_deref().map(ClientPlace::lines)
    }

    /// Attributes of the request for access rules and limits; `None` until its client is known.
    pub fn attributes<'r>(
        &'r self,
        route: &'r str,
        header: &'r dyn Fn(&str) -> &'r [u8],
    ) -> Option<RequestAttributes<'r>> {
        Some(RequestAttributes {
            client: self.origin.as_ref()?.client.ip(),
            place: self.place(),
            route,
            header,
        })
    }

    /// Holds the permit of the client until the request ends.
    pub fn hold_client(&mut self, one: ClientPermit) {
        self.permits.of_client = Some(one);
    }

    /// Holds the permit of the route, if the route is limited, until the request ends or has another
    /// route. `is_counted` is true if rate limits have counted the request.
    pub fn hold_room(&mut self, room: Option<SharedPermit>, is_counted: bool) {
        self.permits.of_route = room;
        self.permits.is_rate_counted |= is_counted;
    }

    /// Releases the permit of a route that the request leaves.
    pub fn leave_route(&mut self) {
        self.permits.of_route = None;
    }

    /// Notes that the limits of a route have rejected the request. Those of no other route apply to
    /// the answer.
    pub fn note_limited(&mut self) {
        self.permits.is_limited = true;
    }

    /// Returns `true` if the limits of a route have rejected the request.
    pub fn is_limited(&self) -> bool {
        self.permits.is_limited
    }

    /// Returns `true` if rate limits of a route have counted the request.
    pub fn is_rate_counted(&self) -> bool {
        self.permits.is_rate_counted
    }

    /// Returns an error if the deadline has passed.
    pub fn still_in_time(&self) -> Result<()> {
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(out_of_time()),
            _ => Ok(()),
        }
    }

    /// Response in whose place another one is sent; `None` if there is none.
    pub fn replaced(&self) -> Option<&Replaced> {
        let redirect = self.routed.as_ref()?.redirect.as_ref()?;
        redirect.replaced.as_ref()
    }

    /// Status of an answer that has this status by itself.
    pub fn final_status(&self, own: StatusCode) -> StatusCode {
        let replaced = self.replaced();
        replaced.and_then(|replaced| replaced.status).unwrap_or(own)
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
        // A retry sends the body again from its beginning.
        self.body.bytes = 0;
        let client = self.origin.as_ref().map(|origin| origin.client.ip());
        self.attempts.next(headers, client).map_err(no_peer_error)
    }
}

impl<'r, H: Headers> View<'r, H> {
    /// Creates the view of a request.
    pub fn of(request: &RequestView<'r, H>, ctx: &'r Context) -> Self {
        let routed = ctx.routed.as_ref();
        let redirect = routed.and_then(|routed| routed.redirect.as_ref());
        View {
            origin: ctx.origin.as_ref(),
            place: ctx.place(),
            scheme: request.scheme(),
            method: request.method.as_str(),
            target: RoutedTarget {
                routed: redirect.map_or(request.target, |redirect| &redirect.target),
                sent: request.target,
            },
            protocol: request.protocol(),
            authority: request.authority,
            headers: request.headers,
            request_id: ctx.identity.id(),
            route: ctx.route().map_or("", |route| &route.name),
            captures: routed.map_or(Captured::default(), |routed| Captured {
                text: routed.path().unwrap_or_default(),
                groups: routed.captures(),
                hosts: ctx.route().map_or(&[], |route| &route.host_patterns),
            }),
            connection: ConnectionView {
                tls: request.tls,
                socket: request.socket,
                serial: request.serial,
            },
        }
    }
}

/// Values for the head of a response that is sent now.
pub struct HeadValues<'r, H> {
    view: View<'r, H>,
    ctx: &'r Context,
}

impl<'r, H: Headers> HeadValues<'r, H> {
    /// Creates the values of a request and of the tries on its upstream.
    pub fn of(request: &RequestView<'r, H>, ctx: &'r Context) -> Self {
        HeadValues {
            view: View::of(request, ctx),
            ctx,
        }
    }
}

impl<H: Headers> Values for HeadValues<'_, H> {
    fn append_of_request(&self, variable: &RequestVariable, out: &mut Vec<u8>) {
        self.view.append(variable, out);
    }

    fn append_of_response(&self, variable: &ResponseVariable, out: &mut Vec<u8>) {
        let trace = || self.ctx.identity.trace();
        match variable {
            ResponseVariable::RequestTime => write_seconds(self.ctx.start.elapsed(), out),
            ResponseVariable::TraceId => {
                out.extend_from_slice(trace().map_or(&[], |trace| &trace.id));
            }
            ResponseVariable::SpanId => {
                out.extend_from_slice(trace().map_or(&[], |trace| &trace.span));
            }
            _ => self.ctx.attempts.view().append(variable, out),
        }
    }
}

fn no_peer_error(no_peer: NoPeer) -> Box<Error> {
    match no_peer {
        NoPeer::NoneLeft => status_error(502, "no peer is left to try"),
        NoPeer::Full => status_error(503, "the upstream has as many requests as it may"),
    }
}
