//! Authentication of a request by the users of its route.
//!
//! The decision is a value: a request is accepted, is rejected, or its credentials have to be verified
//! first, which takes long and happens elsewhere. Whatever is not clearly accepted is rejected.

use std::sync::Arc;

use crate::gateway::access::auth::{AuthSet, Credentials};
use crate::gateway::access::inflight::network;
use crate::gateway::access::{Rejection, RouteLimits};
use crate::gateway::context::Context;
use crate::gateway::request::basic_auth::credentials;
use crate::gateway::request::request_view::RequestView;
use crate::proto::headers::Headers;

/// Credentials of a request that have to be verified.
#[derive(Debug)]
pub struct Unverified {
    credentials: Credentials,
}

/// Result of looking at the credentials of a request.
pub(super) enum Verdict {
    /// The request may continue.
    Accepted,
    /// The request is rejected.
    Refused(Rejection),
    /// The credentials are not known yet.
    Unverified(Box<Unverified>),
}

/// Looks at the credentials of a request that its route admits.
pub(super) fn authenticate<H: Headers>(request: &RequestView<H>, ctx: &Context) -> Verdict {
    let Some(limits) = ctx.route().map(|route| &route.limits) else {
        return Verdict::Accepted;
    };
    let Some(first) = limits.auth.first() else {
        return Verdict::Accepted;
    };
    if admits_without_password(limits, request, ctx) {
        return Verdict::Accepted;
    }
    let mut lines = request.headers.lines("authorization");
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return Verdict::Refused(refused(first));
    };
    let Some((user, password)) = credentials(line) else {
        return Verdict::Refused(refused(first));
    };
    let credentials = Credentials { user, password };
    let knows = |set: &Arc<AuthSet>| set.knows(&credentials);
    let is_known = if limits.satisfies_any {
        limits.auth.iter().any(knows)
    } else {
        limits.auth.iter().all(knows)
    };
    if is_known {
        return Verdict::Accepted;
    }
    Verdict::Unverified(Box::new(Unverified { credentials }))
}

fn admits_without_password<H: Headers>(
    limits: &RouteLimits,
    request: &RequestView<H>,
    ctx: &Context,
) -> bool {
    let header = |name: &str| request.headers.first(name).unwrap_or_default();
    let attributes = ctx.attributes("", &header);
    attributes.is_some_and(|attributes| limits.admits_without_password(&attributes))
}

fn refused(set: &Arc<AuthSet>) -> Rejection {
    set.refused.count();
    Rejection::Unauthenticated {
        set: Arc::clone(set),
    }
}

/// Verifies the credentials of a request. Returns the reason if the request is rejected.
pub async fn verify(ctx: &Context, unverified: Unverified) -> Option<Rejection> {
    let settings = &ctx.settings;
    let limits = ctx.route().map(|route| &route.limits);
    let (sets, is_any) = match limits {
        Some(limits) => (&limits.auth[..], limits.satisfies_any),
        None => (&[][..], false),
    };
    let client = ctx.origin.as_ref().map(|origin| origin.client.ip());
    let client = client.map_or(0, |ip| network(ip, settings.limits.caps.ipv6_prefix));
    let credentials = unverified.credentials;
    let (mut is_accepted, mut refused_by) = (false, None);
    for set in sets {
        // As nginx does: to ask again and again would not help.
        if set.is_empty() && !is_any {
            set.refused.count();
            return Some(Rejection::Denied);
        }
        let is_right = if set.knows(&credentials) {
            Ok(true)
        } else {
            let checks = settings.rules().checks();
            checks.check(set, &credentials, client).await
        };
        match is_right {
            Ok(true) if is_any => return None,
            Ok(true) => is_accepted = true,
            Ok(false) if is_any => refused_by = refused_by.or(Some(set)),
            Ok(false) => return Some(refused(set)),
            Err(rejection) => return Some(rejection),
        }
    }
    match refused_by {
        Some(set) => Some(refused(set)),
        None => (!is_accepted).then_some(Rejection::Denied),
    }
}
