//! What operators and their monitoring ask of a running gateway, on a listener of its own.
//!
//! It is apart from the gateway's listeners so that no client can reach it by a path, and it is off
//! unless the configuration names an address, because whoever reaches it need not say who he is.

mod exposition_format;
mod metrics;

use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderValue, Response, StatusCode, header};
use pingora::apps::http_app::ServeHttp;
use pingora::http::RequestHeader;
use pingora::protocols::http::ServerSession;

use crate::gateway::Gateway;
use exposition_format::Format;

const TEXT: &str = "text/plain; charset=utf-8";

/// The answers of the admin listener.
///
/// | path | answer |
/// |---|---|
/// | `/metrics` | all metrics, in Prometheus' text format or OpenMetrics, as `Accept` asks |
/// | `/healthz` | 200 as long as the workers run, 503 with the reason if one is stuck |
/// | `/readyz` | 200 while new connections are welcome, 503 once a stop was asked for |
/// | `POST /reload` | see [`Reloaded`] |
pub struct Admin {
    gateway: Arc<Gateway>,
    metrics: metrics::Exposition,
    reload: Box<dyn Reload>,
}

/// Reads configuration and databases again.
#[async_trait]
pub trait Reload: Send + Sync {
    /// Returns when all of it is done.
    async fn reload(&self) -> Reloaded;
}

/// Results of a reload, each with a status of its own: a script that only looks if a request
/// succeeded (`curl --fail`) must not take settings for served that are not.
pub enum Reloaded {
    /// 200: everything is served as the files say.
    All,
    /// 409: everything but these keys, which a running process cannot change. It serves them as they
    /// were when it started.
    Partly(Vec<&'static str>),
    /// 422: nothing has changed, because of all that is wrong; one error a line.
    Nothing(String),
    /// 503: nothing has changed, because the process is on its way out.
    Stopping,
}

impl Reloaded {
    fn answer(self) -> Answer {
        match self {
            Reloaded::All => Answer::text(StatusCode::OK, "reloaded\n"),
            Reloaded::Partly(keys) => {
                let keys = keys.join("\n");
                let text = format!(
                    "reloaded, except for these keys, which take an upgrade \
                     (geogate run --upgrade) or a restart:\n{keys}\n"
                );
                Answer::text(StatusCode::CONFLICT, text)
            }
            Reloaded::Nothing(errors) => {
                Answer::text(StatusCode::UNPROCESSABLE_ENTITY, format!("{errors}\n"))
            }
            Reloaded::Stopping => Answer::text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
        }
    }
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
            "/metrics" => {
                let accept = request.headers.get_all(header::ACCEPT).iter();
                let accept: Vec<_> = accept.map(HeaderValue::as_bytes).collect();
                let format = Format::negotiate(&accept);
                Answer {
                    content_type: format.content_type(),
                    varies_by_accept: true,
                    ..Answer::text(StatusCode::OK, self.metrics.text(format))
                }
            }
            "/reload" if request.headers.contains_key(header::ORIGIN) => {
                // A web page that somebody on this host looks at can send a POST, too.
                Answer::text(StatusCode::FORBIDDEN, "not for web pages\n")
            }
            "/reload" => self.reload.reload().await.answer(),
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
    varies_by_accept: bool,
    body: String,
}

impl Answer {
    fn text(status: StatusCode, body: impl Into<String>) -> Self {
        Answer {
            status,
            content_type: TEXT,
            allow: None,
            varies_by_accept: false,
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
        if answer.varies_by_accept {
            response = response.header(header::VARY, "Accept");
        }
        response
            .body(answer.body.into_bytes())
            .expect("a response of constant headers")
    }
}
