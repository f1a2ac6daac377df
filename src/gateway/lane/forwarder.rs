//! One request through the phases of [`Proxy`], on whichever path it goes.
//!
//! In what order the phases come, how long all tries may take together, and what follows the last of
//! them is the same for both paths. They differ in how a request meets one peer.

use bytes::BytesMut;
use pingora::Result;
use pingora::protocols::Stream;
use pingora_proxy::{ProxyHttp, Session};

use super::boundary::Boundary;
use crate::gateway::Proxy;
use crate::gateway::context::Context;
use crate::gateway::failure::out_of_time;

/// A path to upstreams.
pub trait Forwarder: Sync {
    /// The phases, which make every decision.
    fn proxy(&self) -> &Proxy;

    /// Lets one peer answer a request. The error says whether another may be tried.
    fn try_peer(
        &self,
        session: &mut Session,
        ctx: &mut Context,
    ) -> impl Future<Output = Result<()>> + Send;
}

/// The session of a request that begins with `read`.
pub async fn begin(boundary: Boundary, read: BytesMut, requests_left: u32) -> Option<Session> {
    let mut session = Session::new_h1(Box::new(boundary));
    session.set_pipelined_prefix(read);
    session.set_keepalive_reuses_remaining(Some(requests_left));
    // The lane has read the same head with the same parser, so a failure is beyond reading.
    let read = session.read_request().await;
    matches!(read, Ok(true)).then_some(session)
}

/// Serves a request to its end; the stream afterwards, if it can carry another.
pub async fn serve(
    forwarder: &impl Forwarder,
    mut session: Session,
    mut ctx: Context,
) -> Option<Stream> {
    let proxy = forwarder.proxy();
    let result = answer(forwarder, &mut session, &mut ctx).await;
    if let Err(error) = &result {
        proxy.fail_to_proxy(&mut session, error, &mut ctx).await;
    }
    let error = result.as_ref().err().map(AsRef::as_ref);
    proxy.logging(&mut session, error, &mut ctx).await;
    result.ok()?;
    let finished = session.downstream_session.finish().await;
    let (stream, _) = finished.ok()??.into_parts();
    Some(stream)
}

async fn answer(
    forwarder: &impl Forwarder,
    session: &mut Session,
    ctx: &mut Context,
) -> Result<()> {
    let proxy = forwarder.proxy();
    proxy.early_request_filter(session, ctx).await?;
    if proxy.request_filter(session, ctx).await? {
        return Ok(());
    }
    match ctx.deadline {
        None => try_peers(forwarder, session, ctx).await,
        Some(deadline) => {
            let tries = try_peers(forwarder, session, ctx);
            let tries = tokio::time::timeout_at(deadline.into(), tries).await;
            tries.unwrap_or_else(|_| Err(out_of_time()))
        }
    }
}

async fn try_peers(
    forwarder: &impl Forwarder,
    session: &mut Session,
    ctx: &mut Context,
) -> Result<()> {
    while let Err(error) = forwarder.try_peer(session, ctx).await {
        if !error.retry() {
            return Err(error);
        }
    }
    Ok(())
}
