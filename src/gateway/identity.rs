//! Identity of a request for other systems: its id and its trace. It is decided once, as soon as
//! the client is known, so that every try of the request has the same identity.

use http::HeaderValue;

use super::Settings;
use super::request_id::{self, RequestId};
use super::trace_context::{self, Trace, TraceContext};
use crate::proto::headers::{EditHeaders, EditResponse, Headers, Name};

/// Id and trace of a proxied request.
#[derive(Debug, Default)]
pub struct Identity {
    id: Option<HeaderValue>,
    trace: Option<TraceContext>,
}

impl Identity {
    /// Decides the identity of a request with these headers.
    #[must_use]
    pub fn of(headers: &impl Headers, peer_is_trusted: bool, settings: &Settings) -> Self {
        let id = match &settings.ids.requests {
            Some(config) => Some(RequestId::of(headers, &config.header, peer_is_trusted)),
            None => settings
                .access_log
                .format()
                .wants_id()
                .then(RequestId::fresh),
        };
        Identity {
            id: id.map(RequestId::to_value),
            trace: Some(TraceContext::of(
                headers,
                peer_is_trusted,
                &settings.ids.tracing,
            )),
        }
    }

    /// Returns the id; empty if the request has none.
    #[must_use]
    pub fn id(&self) -> &str {
        let id = self.id.as_ref().and_then(|id| id.to_str().ok());
        id.unwrap_or_default()
    }

    /// Returns the trace, if the request is known to be part of one.
    #[must_use]
    pub fn trace(&self) -> Option<&Trace> {
        self.trace.as_ref()?.trace.as_ref()
    }

    /// Adds the identity to the request for the upstream.
    pub fn tell_upstream(&self, request: &mut impl EditHeaders, settings: &Settings) {
        if let (Some(config), Some(id)) = (&settings.ids.requests, &self.id) {
            request_id::replace(request, &config.header, id);
        }
        if let Some(trace) = &self.trace {
            trace.apply(request);
        }
    }

    /// Tells the client, if it is to know.
    pub fn tell_client(&self, response: &mut impl EditResponse, settings: &Settings) {
        if let (Some(config), Some(id)) = (&settings.ids.requests, &self.id)
            && config.to_client
            && !response.status().is_informational()
        {
            response.set(Name::Parsed(&config.header), id.as_bytes());
        }
    }
}

/// Returns the id of a request that is not proxied, if the log needs it.
#[must_use]
pub fn logged_id<'r>(
    headers: &'r impl Headers,
    peer_is_trusted: bool,
    settings: &'r Settings,
) -> Option<RequestId<'r>> {
    if !settings.access_log.format().wants_id() {
        return None;
    }
    Some(match &settings.ids.requests {
        Some(config) => RequestId::of(headers, &config.header, peer_is_trusted),
        None => RequestId::fresh(),
    })
}

/// Returns the trace that a request which is not proxied came with, if the log needs it.
#[must_use]
pub fn logged_trace(
    headers: &impl Headers,
    peer_is_trusted: bool,
    settings: &Settings,
) -> Option<Trace> {
    let believed = settings.ids.tracing.accept.trusts(peer_is_trusted);
    let wanted = believed && settings.access_log.format().wants_trace();
    wanted.then(|| trace_context::sent(headers)).flatten()
}
