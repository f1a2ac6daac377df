//! Admission of a request to its route: access rules and limits.

use crate::gateway::context::Context;
use crate::gateway::limit::Refusal;
use crate::gateway::request_view::RequestView;
use crate::proto::headers::Headers;

/// Applies the limits of the route to a request. Returns the reason if the request is rejected.
pub fn admit<H: Headers>(request: &RequestView<H>, ctx: &mut Context) -> Option<Refusal> {
    let route = ctx.route()?;
    let header = |name: &str| request.headers.first(name).unwrap_or_default();
    let gate = &route.gate;
    let (max_body_size, timeout) = (gate.max_body_size, gate.timeout);
    match gate.take(&ctx.facts(&route.name, &header)?) {
        Ok(room) => ctx.hold_room(room),
        Err(refusal) => return Some(refusal),
    }
    ctx.body.max_bytes = max_body_size.unwrap_or(ctx.body.max_bytes);
    ctx.deadline = timeout.map(|timeout| ctx.start + timeout);
    None
}
