//! What operators and their monitoring ask of a running gateway, on a listener of its own.
//!
//! It is apart from the gateway's listeners so that no client can reach it by a path, and it is off
//! unless the configuration names an address, because whoever reaches it need not say who he is.

mod metrics;

use std::sync::Arc;

use async_trait::async_trait;
use http::{Response, StatusCode, header};
use pingora::apps::http_app::ServeHttp;
use pingora::http::RequestHeader;
use pingora::protocols::http::ServerSession;

use crate::gateway::Gateway;

const TEXT: &str = "text/plain; charset=utf-8";

/// The answers of the admin listener.
///
/// | path | answer |
/// |---|---|
/// | `/metrics` | all metrics, as OpenMetrics text |
/// | `/healthz` | 200 as long as the workers run, 503 with the reason if one is stuck |
/// | `/readyz` | 200 while new connections are welcome, 503 once a stop was asked for |
/// | `POST /reload` | 200 when configuration and databases were read again, 422 with what is wrong |
pub struct Admin {
    gateway: Arc<Gateway>,
    metrics: metrics::Exposition,
    reload: Box<dyn Reload>,
}

/// Reads configuration and databases again.
#[async_trait]
pub trait Reload: Send + Sync {
    /// What is to be known of it, in lines of text.
    ///
    /// # Errors
    /// With all that is wrong, in lines of text; then nothing has changed.
    async fn reload(&self) -> Result<String, String>;
}

impl Admin {
    /// Answers for `gateway`, which `reload` brings up to date.
    #[must_use]
    pub fn new(
        gateway: Arc<Gateway>,
        reload: Box<dyn Reload>,
        error_log_dropped: fn() -> u64,
    ) -> Self {
        Admin {
            metrics: metrics::Exposition::new(Arc::clone(&gateway), error_log_dropped),
            gateway,
            reload,
        }
    }

    async fn answer(&self, request: &RequestHeader) -> Answer {
        let path = request.uri.path();
        let allowed = if path == "/reload" {
            "POST"
        } else {
            "GET, HEAD"
        };
        let method = request.method.as_str();
        if path != "/reload" && !matches!(method, "GET" | "HEAD")
            || path == "/reload" && method != "POST"
        {
            return Answer {
                allow: Some(allowed),
                ..Answer::text(StatusCode::METHOD_NOT_ALLOWED, format!("{allowed}\n"))
            };
        }
        match path {
            "/metrics" => Answer {
                content_type: metrics::CONTENT_TYPE,
                ..Answer::text(StatusCode::OK, self.metrics.text())
            },
            "/reload" if request.headers.contains_key(header::ORIGIN) => {
                // A web page that somebody on this host looks at can send a POST, too.
                Answer::text(StatusCode::FORBIDDEN, "not for web pages\n")
            }
            "/reload" => match self.reload.reload().await {
                Ok(said) => Answer::text(StatusCode::OK, said),
                Err(said) => Answer::text(StatusCode::UNPROCESSABLE_ENTITY, said),
            },
            "/readyz" if self.gateway.drain().is_draining() => {
                Answer::text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n")
            }
            "/healthz" | "/readyz" => match self.gateway.heartbeats().stuck() {
                None => Answer::text(StatusCode::OK, "ok\n"),
                Some(age) => {
                    let text = format!("a worker has run nothing for {} s\n", age.as_secs());
                    Answer::text(StatusCode::SERVICE_UNAVAILABLE, text)
                }
            },
            _ => Answer::text(
                StatusCode::NOT_FOUND,
                "/metrics, /healthz, /readyz, POST /reload\n",
            ),
        }
    }
}

/// What is answered.
struct Answer {
    status: StatusCode,
    content_type: &'static str,
    allow: Option<&'static str>,
    body: String,
}

impl Answer {
    fn text(status: StatusCode, body: impl Into<String>) -> Self {
        Answer {
            status,
            content_type: TEXT,
            allow: None,
            body: body.into(),
        }
    }
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let answer = self.answer(session.req_header()).await;
        if !session.is_body_empty() {
            // Whatever body it has is not read.
            session.set_keepalive(None);
        }
        let mut response = Response::builder()
            .status(answer.status)
            .header(header::CONTENT_TYPE, answer.content_type)
            .header(header::CONTENT_LENGTH, answer.body.len());
        if let Some(allow) = answer.allow {
            response = response.header(header::ALLOW, allow);
        }
        response
            .body(answer.body.into_bytes())
            .expect("a response of constant headers")
    }
}
