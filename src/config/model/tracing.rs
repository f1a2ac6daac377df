//! How a request is known to others: its id, and the trace that it is part of.

use http::HeaderName;

/// The ids of requests.
#[derive(Debug, Clone)]
pub struct RequestIds {
    /// The header that has it, from trusted proxies and to upstreams.
    pub header: HeaderName,
    /// Whether clients are told, too.
    pub to_client: bool,
}

/// What becomes of `traceparent` and `tracestate` (W3C Trace Context).
#[derive(Debug, Clone)]
pub struct Tracing {
    /// Whose are believed. Those of others are deleted.
    pub accept: TraceSource,
    /// Whether the gateway is a part of traces itself, and starts one where there is none.
    pub participate: bool,
    /// Which share of traces that start here is marked as recorded, 0 to 1.
    pub sampled: f64,
}

/// Whose trace goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceSource {
    /// Trusted proxies'.
    Trusted,
    /// Every client's.
    Anyone,
    /// Nobody's.
    Nobody,
}

impl TraceSource {
    /// Whether what a client says is believed, by whether its peer is a trusted proxy.
    #[must_use]
    pub fn believes(self, peer_is_trusted: bool) -> bool {
        match self {
            TraceSource::Trusted => peer_is_trusted,
            TraceSource::Anyone => true,
            TraceSource::Nobody => false,
        }
    }
}
