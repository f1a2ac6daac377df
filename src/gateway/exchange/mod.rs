//! One request, from its head to its line in the access log: the steps that all engines share.
//!
//! [`decide`](decide()) says what answers a request, [`edit`] what is changed in the heads on the way,
//! [`attempts`](super::upstream::attempts) what follows when a peer fails, [`log`] what is left of it.
//! None of them knows a socket. [`forward`] carries the decision out, between a [`client`] and a
//! [`peer`] of either version of HTTP, or of FastCGI.

pub mod admission;
mod answer;
mod authenticate;
pub mod client;
mod decide;
mod edit;
mod file_paths;
pub mod forward;
mod head;
pub mod log;
mod outgoing;
mod params;
mod peer;
mod piece;
pub mod pool;
mod redirect;
mod relay;
mod replacement;
mod reply;
mod rewrite_cookies;
mod rewrite_location;
mod routing;
mod script_request;
mod stream_out;
pub mod timer;
mod tries;
mod unsent;

pub use decide::{Outcome, ScriptPath, decide};

use super::context::Context;
use super::request::client_ip::{self, PeerAddr};
use super::request::identity::Identity;
use crate::geo::Database;
use crate::proto::headers::Headers;

/// Finds the client behind `peer`, its place, and the identity of the request.
pub fn locate(ctx: &mut Context, peer: PeerAddr, headers: &impl Headers, database: &Database) {
    let origin = client_ip::resolve(peer, headers, &ctx.settings.client_ip);
    ctx.identity = Identity::of(headers, origin.peer_is_trusted, &ctx.settings.ids);
    ctx.set_origin(origin, database);
}

/// Returns `true` if the peer is a trusted proxy.
pub fn peer_is_trusted(ctx: &Context) -> bool {
    let origin = ctx.origin.as_ref();
    origin.is_some_and(|origin| origin.peer_is_trusted)
}

#[cfg(test)]
mod tests;
