//! Request ids and trace context.

use http::HeaderName;

/// Request ids.
#[derive(Debug, Clone)]
pub struct RequestIds {
    /// Header of the id, in requests from trusted proxies and to upstreams.
    pub header: HeaderName,
    /// True if responses to clients have the header, too.
    pub to_client: bool,
}

/// Handling of `traceparent` and `tracestate` (W3C Trace Context).
#[derive(Debug, Clone)]
pub struct Tracing {
    /// Clients whose trace context is accepted. That of other clients is deleted.
    pub accept: TraceSource,
    /// True if geogate adds its own span to traces, and starts a trace where there is none.
    pub participate: bool,
    /// Fraction, 0 to 1, of traces started here that is marked as sampled.
    pub sampled: f64,
}

/// Clients whose trace context is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceSource {
    /// Trusted proxies only.
    Trusted,
    /// All clients.
    Anyone,
    /// No client.
    Nobody,
}

impl TraceSource {
    /// Returns `true` if the trace context of a peer is accepted.
    #[must_use]
    pub fn trusts(self, peer_is_trusted: bool) -> bool {
        match self {
            TraceSource::Trusted => peer_is_trusted,
            TraceSource::Anyone => true,
            TraceSource::Nobody => false,
        }
    }
}
