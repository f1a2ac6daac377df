//! The answer to a request: what was decided, or what takes its place.
//!
//! A file may be another route's, an error may have a page, and an upstream may name the path whose
//! answer the client gets. Each of these is one more decision, until something is sent.

use std::pin::Pin;
use std::sync::Arc;

use pingora::{Error, Result};

use super::client::{self, Client};
use super::forward::{Exchange, Forwarder};
use super::relay::Replay;
use super::script_request::ScriptRequest;
use super::timer::Timer;
use super::{Outcome, ScriptPath, authenticate, redirect, replacement, reply, routing};
use crate::gateway::failure::reason::FailureReason;
use crate::gateway::failure::{CLIENT_CLOSED_REQUEST, status_of};
use crate::gateway::request::request_view::RequestView;
use crate::gateway::respond::local_reply::{self, Reply};
use crate::gateway::respond::script;
use crate::gateway::route::{Replacement, Source};
use crate::gateway::upstream::Pool;
use crate::proto::headers::{Headers, is_expectation};

impl Forwarder {
    /// Answers a request. An answer may turn out to be another one: a file that another route has, an
    /// error that has a page, or a response of an upstream that names a file.
    pub(super) async fn answer<C: Client>(
        &self,
        exchange: &mut Exchange<'_, C>,
        mut outcome: Outcome,
        timer: &mut Timer<'_>,
    ) -> Result<()> {
        // All but forwarding in boxes of their own, or every proxied request would set aside room
        // for them.
        let replacement = loop {
            let (request, ctx) = (&exchange.request, &mut *exchange.ctx);
            outcome = match outcome {
                Outcome::Elsewhere(elsewhere) => redirect::follow(request, ctx, elsewhere)?,
                Outcome::File(file) => {
                    let sent = reply::send_file(&mut *exchange.client, request, ctx, file);
                    match Box::pin(sent).await? {
                        Some(outcome) => outcome,
                        None => return Ok(()),
                    }
                }
                Outcome::Reply(reply) => match exchange.page_of(&reply) {
                    Some(page) => break Some(page),
                    None => return Box::pin(exchange.send(*reply)).await,
                },
                Outcome::Authenticate(unverified) => {
                    let rejection = Box::pin(authenticate::verify(ctx, *unverified)).await;
                    routing::resume(request, ctx, rejection.as_ref())?
                }
                Outcome::Query => {
                    let database = self.database();
                    let client = &mut *exchange.client;
                    return Box::pin(reply::answer_query(client, request, ctx, database)).await;
                }
                Outcome::Script(asked) => match Box::pin(exchange.find_script(asked)).await? {
                    Ok(pool) => break Box::pin(self.forward(exchange, pool, timer)).await?,
                    Err(page) => page,
                },
                Outcome::Forward(pool) => break self.forward(exchange, pool, timer).await?,
            };
        };
        match replacement {
            Some(replacement) => self.answer_anew(exchange, replacement, timer).await,
            None => Ok(()),
        }
    }

    /// Answers a request in place of a response. The answer may be replaced again, so this is a box,
    /// whose size does not depend on its own.
    fn answer_anew<'f, C: Client>(
        &'f self,
        exchange: &'f mut Exchange<'_, C>,
        replacement: Box<Replacement>,
        timer: &'f mut Timer<'_>,
    ) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'f>> {
        Box::pin(async move {
            let mut is_left = false;
            let mut head = None;
            if let Source::Target(_) = replacement.source {
                is_left = !exchange.drop_body(replacement.read_body).await?;
                exchange.client.leave_body(is_left);
                exchange.replay = None;
                head = Some(exchange.request.headers.without_body());
            }
            if replacement.replaced.status.is_some() {
                // The client may have what it asks for, but has none of the page.
                let asked = head.as_ref().unwrap_or(exchange.request.headers);
                head = Some(asked.without_conditions());
            }
            let headers = head.as_ref().unwrap_or(exchange.request.headers);
            let request = RequestView {
                method: headers.method(),
                headers,
                ..exchange.request
            };
            let outcome = redirect::replace(&request, exchange.ctx, *replacement)?;
            let replay = exchange.replay.take();
            let mut anew = Exchange::new(&mut *exchange.ctx, request, &mut *exchange.client);
            anew.replay = replay;
            self.answer(&mut anew, outcome, timer).await?;
            if is_left {
                exchange.client.leave_body(false);
                client::linger(exchange.client).await;
            }
            Ok(())
        })
    }

    /// Tells the client of a failure, if it has received nothing yet. Returns `true` if it was told.
    pub(super) async fn fail<C: Client>(
        &self,
        exchange: &mut Exchange<'_, C>,
        error: &Error,
        timer: &mut Timer<'_>,
    ) -> bool {
        exchange.client.close_after();
        let status = status_of(error);
        if status == CLIENT_CLOSED_REQUEST || !exchange.client.take_back() {
            return false;
        }
        let page =
            replacement::of_status(status, &exchange.request, exchange.ctx, exchange.has_body());
        if let Some(page) = page {
            match self.answer_anew(exchange, page, timer).await {
                Ok(()) => return true,
                Err(error) => log::debug!("an error page for {status} failed: {error}"),
            }
            if !exchange.client.take_back() {
                return false;
            }
        }
        let page = local_reply::error_page(&exchange.request, exchange.ctx, status);
        let sent = match page {
            Ok(page) => exchange.send(page).await,
            Err(error) => Err(error),
        };
        if let Err(error) = &sent {
            log::debug!("the client left before its error page: {error}");
        }
        sent.is_ok()
    }
}

impl<C: Client> Exchange<'_, C> {
    /// Returns `true` if all that an upstream was sent of the body is still there.
    fn has_body(&self) -> bool {
        self.replay.as_ref().is_none_or(Replay::is_complete)
    }

    /// Error page in place of a reply of the gateway's own, if the route has one.
    fn page_of(&self, reply: &Reply) -> Option<Box<Replacement>> {
        replacement::of_reply(reply, &self.request, self.ctx, self.has_body())
    }

    async fn send(&mut self, reply: Reply) -> Result<()> {
        reply::send_reply(self.client, &self.request, reply).await
    }

    /// Finds the script of a path. Returns the upstream that runs it, or the answer if there is none.
    async fn find_script(
        &mut self,
        asked: ScriptPath,
    ) -> Result<std::result::Result<Arc<Pool>, Outcome>> {
        let (request, ctx) = (&self.request, &mut *self.ctx);
        let Some(script) = script::find(&asked.settings, &asked.path).await? else {
            ctx.failure = Some(FailureReason::NoRoute);
            let page = local_reply::page(request, ctx, 404)?;
            return Ok(Err(Outcome::reply(page)));
        };
        let before = self.replay.as_ref();
        let script = ScriptRequest::new(asked.settings, script, self.client, request, ctx, before);
        self.script = Some(Box::new(script.await?));
        Ok(Ok(asked.pool))
    }

    /// Reads and drops the body of a request that is answered without it. Returns `false` if it is longer
    /// than `limit` bytes, or the client waits to be asked for it.
    async fn drop_body(&mut self, limit: u64) -> Result<bool> {
        let mut expectations = self.request.headers.lines("expect");
        if !self.client.is_complete() && (limit == 0 || expectations.any(is_expectation)) {
            return Ok(false);
        }
        client::read_body(self.client, limit, |_| ()).await
    }
}
