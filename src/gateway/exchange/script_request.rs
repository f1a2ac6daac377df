//! Request for a script: what a FastCGI server is told beside the request itself.

use std::sync::Arc;

use pingora::Result;

use super::client::Client;
use super::relay::Replay;
use super::reply::read_request;
use crate::config::model::FastCgi;
use crate::gateway::context::Context;
use crate::gateway::failure::{status_error, too_large};
use crate::gateway::request::request_view::RequestView;
use crate::gateway::respond::script::Script;
use crate::proto::h1::head::Framing;
use crate::proto::h1::stored_head::StoredHead;

/// Request for a script.
#[derive(Debug)]
pub struct ScriptRequest {
    /// Settings of the route.
    pub settings: Arc<FastCgi>,
    /// Script that runs.
    pub script: Script,
    /// Length of the body; `None` if there is none.
    pub content_length: Option<u64>,
    /// Body that came without a length, and was read before the script begins.
    body: Option<Vec<u8>>,
}

impl ScriptRequest {
    /// Request whose script was found. `before` is what another upstream was sent of the body. A body without a length is read, because a script is told the
    /// length first.
    ///
    /// # Errors
    /// With status 411 if such a body is longer than `body_buffer`, or 413 if it is longer than any
    /// body may be; if the client leaves or is too slow.
    pub async fn new(
        settings: Arc<FastCgi>,
        script: Script,
        client: &mut impl Client,
        request: &RequestView<'_, StoredHead>,
        ctx: &Context,
        before: Option<&Replay>,
    ) -> Result<Self> {
        let (content_length, body) = match request.headers.framing() {
            Framing::None => (None, None),
            Framing::Length(length) => (Some(length), None),
            Framing::Chunked => {
                let mut body = before.map_or(Vec::new(), |before| before.content().to_vec());
                let limit = settings.body_buffer.min(ctx.body.max_bytes);
                let is_whole =
                    read_request(client, request, limit, |part| body.extend_from_slice(part))
                        .await?;
                if !is_whole && limit == ctx.body.max_bytes {
                    return Err(too_large());
                }
                if !is_whole {
                    return Err(status_error(
                        411,
                        "a body without a length is too long to be held",
                    ));
                }
                (Some(body.len() as u64), Some(body))
            }
        };
        Ok(ScriptRequest {
            settings,
            script,
            content_length,
            body,
        })
    }

    /// Body to send, as far as it was read, for all tries. `before` is what another upstream was sent of
    /// it.
    pub fn replay(&mut self, before: Option<Replay>) -> Replay {
        match self.body.take() {
            Some(body) => Replay::of(body),
            // A server may say that it has not processed a request, whatever its method.
            None => before.unwrap_or_else(|| Replay::new(true)),
        }
    }
}
