//! Identity of a request for other systems: its id and its trace. It is decided once, as soon as
//! the client is known, so that every try of the request has the same identity.

use smallvec::SmallVec;

use super::request_id::{self, FRESH_LENGTH, RequestId};
use super::trace_context::{self, Trace, TraceContext};
use crate::config::model::{RequestIds, Tracing};
use crate::proto::headers::{EditHeaders, EditResponse, Headers, Name};

/// Settings of the ids that requests are given.
pub struct IdSettings {
    /// Ids of requests; `None` if they get none.
    pub requests: Option<RequestIds>,
    /// Traces.
    pub tracing: Tracing,
    /// `true` if the access log contains ids.
    pub logs_id: bool,
    /// `true` if the access log contains traces.
    pub logs_trace: bool,
}

/// Id and trace of a proxied request.
#[derive(Debug, Default)]
pub struct Identity {
    id: Option<SmallVec<[u8; FRESH_LENGTH]>>,
    trace: Option<TraceContext>,
}

impl Identity {
    /// Decides the identity of a request with these headers.
    #[must_use]
    pub fn of(headers: &impl Headers, peer_is_trusted: bool, settings: &IdSettings) -> Self {
        let id = match &settings.requests {
            Some(config) => Some(RequestId::of(headers, &config.header, peer_is_trusted)),
            None => settings.logs_id.then(RequestId::fresh),
        };
        Identity {
            id: id.map(|id| SmallVec::from_slice(id.as_bytes())),
            trace: Some(TraceContext::of(
                headers,
                peer_is_trusted,
                &settings.tracing,
            )),
        }
    }

    /// Returns the id; empty if the request has none.
    #[must_use]
    pub fn id(&self) -> &str {
        let id = self
            .id
            .as_deref()
            .and_then(|id| std::str::from_utf8(id).ok());
        id.unwrap_or_default()
    }

    /// Returns the trace, if the request is known to be part of one.
    #[must_use]
    pub fn trace(&self) -> Option<&Trace> {
        self.trace.as_ref()?.trace.as_ref()
    }

    /// Adds the identity to the request for the upstream.
    pub fn tell_upstream(&self, request: &mut impl EditHeaders, settings: &IdSettings) {
        if let (Some(config), Some(id)) = (&settings.requests, &self.id) {
            request_id::replace(request, &config.header, id);
        }
        if let Some(trace) = &self.trace {
            trace.apply(request);
        }
    }

    /// Tells the client, if it is to know.
    pub fn tell_client(&self, response: &mut impl EditResponse, settings: &IdSettings) {
        if let (Some(config), Some(id)) = (&settings.requests, &self.id)
            && config.to_client
            && !response.status().is_informational()
        {
            response.set(Name::Parsed(&config.header), id);
        }
    }
}

/// Returns the id of a request that is not proxied, if the log needs it.
#[must_use]
pub fn logged_id<'r>(
    headers: &'r impl Headers,
    peer_is_trusted: bool,
    settings: &'r IdSettings,
) -> Option<RequestId<'r>> {
    if !settings.logs_id {
        return None;
    }
    Some(match &settings.requests {
        Some(config) => RequestId::of(headers, &config.header, peer_is_trusted),
        None => RequestId::fresh(),
    })
}

/// Returns the trace that a request which is not proxied came with, if the log needs it.
#[must_use]
pub fn logged_trace(
    headers: &impl Headers,
    peer_is_trusted: bool,
    settings: &IdSettings,
) -> Option<Trace> {
    let believed = settings.tracing.accept.trusts(peer_is_trusted);
    let wanted = believed && settings.logs_trace;
    wanted.then(|| trace_context::sent(headers)).flatten()
}
