//! The decision on a request, as a value and without I/O.
//!
//! The order is fixed: limits and access rules first, so that a rejected request costs nothing else;
//! then the redirect to HTTPS, the IP query, the methods, and last the route.

use std::sync::Arc;

use pingora::Result;

use super::authenticate::Unverified;
use super::routing;
use crate::config::model::FastCgi;
use crate::gateway::Gateway;
use crate::gateway::context::Context;
use crate::gateway::failure::reason::FailureReason;
use crate::gateway::request::request_view::RequestView;
use crate::gateway::request::variables::is_query_target;
use crate::gateway::respond::files::{Elsewhere, FileRequest};
use crate::gateway::respond::https_redirect::is_challenge;
use crate::gateway::respond::local_reply::{self, Reply};
use crate::gateway::upstream::Pool;
use crate::proto::headers::Headers;

/// Answer to a request, or the way to one.
#[derive(Debug)]
pub enum Outcome {
    /// An IP query. Its body has to be read before it can be answered.
    Query,
    /// A response of the gateway's own.
    Reply(Box<Reply>),
    /// Credentials, which have to be verified.
    Authenticate(Box<Unverified>),
    /// A file, which has to be opened.
    File(FileRequest),
    /// An internal redirect.
    Elsewhere(Elsewhere),
    /// A request for a script, which has to be found.
    Script(ScriptPath),
    /// A request for this upstream.
    Forward(Arc<Pool>),
}

/// Path that may name a script.
#[derive(Debug)]
pub struct ScriptPath {
    /// FastCGI upstream.
    pub pool: Arc<Pool>,
    /// Settings of the route.
    pub settings: Arc<FastCgi>,
    /// Path: decoded, normalised, with a leading slash.
    pub path: Vec<u8>,
}

impl Outcome {
    /// A response of the gateway's own.
    pub fn reply(reply: Reply) -> Self {
        Outcome::Reply(Box::new(reply))
    }
}

/// Decides on a request whose client and identity are in `ctx`.
///
/// # Errors
/// If a reply cannot be made: a configured value is no header's.
pub fn decide<H: Headers>(
    gateway: &Gateway,
    request: &RequestView<H>,
    ctx: &mut Context,
) -> Result<Outcome> {
    if let Some(refusal) = gateway.refuses_request(request, ctx) {
        return routing::rejected(request, ctx, &refusal);
    }
    if let Some(port) = request.redirect_port
        && !is_challenge(request.target)
    {
        return local_reply::redirect_to_https(request, ctx, port).map(Outcome::reply);
    }
    if is_query_target(request.target) {
        return Ok(Outcome::Query);
    }
    let refused = ctx.settings.client.methods.refusal(request.method.as_str());
    if let Some(status) = refused {
        ctx.failure = Some(FailureReason::MethodNotAllowed);
        return local_reply::page(request, ctx, status).map(Outcome::reply);
    }
    routing::decide(request, ctx)
}
