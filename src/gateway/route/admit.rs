//! Admission of a request to its route: access rules and limits.

use http::header;
use pingora_proxy::Session;

use crate::gateway::context::Context;
use crate::gateway::limit::Refusal;

/// Applies the limits of the route to a request. Returns the reason if the request is rejected.
pub fn admit(session: &Session, ctx: &mut Context) -> Option<Refusal> {
    let route = ctx.route()?;
    let headers = &session.req_header().headers;
    let header = |name: &str| {
        let value = headers.get(name);
        value.map_or(&b""[..], |value| value.as_bytes())
    };
    let gate = &route.gate;
    let (max_body_size, timeout) = (gate.max_body_size, gate.timeout);
    match gate.take(&ctx.facts(&route.name, &header)?) {
        Ok(room) => ctx.hold_room(room),
        Err(refusal) => return Some(refusal),
    }
    ctx.max_body_size = max_body_size.unwrap_or(ctx.max_body_size);
    ctx.asks_to_upgrade = headers.contains_key(header::UPGRADE);
    ctx.deadline = timeout.map(|timeout| ctx.start + timeout);
    None
}
