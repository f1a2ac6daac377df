//! Admin listener: metrics, health checks and reload of a running gateway.
//!
//! It is separate from the gateway's listeners so that no client can reach it by a path, and it is
//! off unless the configuration names an address. Requests are parsed as strictly as client
//! requests, only the operator's hosts are answered, and a token can be required.

mod connection;
mod exposition_format;
mod metrics;

use std::fmt::Write;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use http::{HeaderValue, StatusCode, header};
use pingora::apps::ServerApp;
use pingora::http::RequestHeader;
use pingora::protocols::Stream;
use pingora::server::ShutdownWatch;

use crate::gateway::Gateway;
use exposition_format::Format;

const TEXT: &str = "text/plain; charset=utf-8";

/// The endpoints of the admin listener.
///
/// | path | answer |
/// |---|---|
/// | `/metrics` | all metrics, in Prometheus' text format or OpenMetrics, as `Accept` asks |
/// | `/healthz` | 200 as long as the workers run, 503 with the reason if one is stuck |
/// | `/readyz` | as `/healthz`, and 503 after a stop was requested |
/// | `POST /reload` | see [`Reloaded`] |
pub struct Admin {
    gateway: Arc<Gateway>,
    metrics: metrics::Exposition,
    reload: Box<dyn Reload>,
}

/// Reloads configuration and databases.
#[async_trait]
pub trait Reload: Send + Sync {
    /// Returns when the reload is complete.
    async fn reload(&self) -> Reloaded;
}

/// Results of a reload. Each has its own status: a script that only checks for success (`curl
/// --fail`) must not assume that all new settings are in use when some are not.
pub enum Reloaded {
    /// 200: all settings of the files are in use.
    All,
    /// 409: all settings but these keys are in use. A running process cannot change them, and keeps
    /// the values from its start.
    Partly(Vec<&'static str>),
    /// 422: the configuration stays as it was, because of these errors; one error a line.
    Nothing(String),
    /// 503: the configuration stays as it was, because the process is shutting down.
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
    /// Creates the endpoints for `gateway`; `reload` performs its reloads.
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

    /// Answers, if the host is allowed and the token is valid. Health probes need no token: their
    /// senders often cannot have one, and the responses reveal nothing.
    async fn answer_if_allowed(&self, request: &RequestHeader) -> Answer {
        let settings = self.gateway.settings();
        let access = settings.admin_access();
        let value = |name| request.headers.get(name).map(HeaderValue::as_bytes);
        // HTTP/1.0 has no `Host`, and browsers do not use HTTP/1.0.
        if !value(header::HOST).is_none_or(|host| access.answers_for(host)) {
            let text = "this host is not in admin.hosts\n";
            return Answer::text(StatusCode::MISDIRECTED_REQUEST, text);
        }
        let is_probe = matches!(request.uri.path(), "/healthz" | "/readyz");
        if !is_probe && !access.admits(value(header::AUTHORIZATION)) {
            return Answer::of_status(401);
        }
        drop(settings);
        self.answer(request).await
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
                // A web page that is open in a browser on this host can send a POST, too.
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

/// Response of an endpoint.
struct Answer {
    status: StatusCode,
    content_type: &'static str,
    allow: Option<&'static str>,
    varies_by_accept: bool,
    body: String,
}

impl Answer {
    /// Creates a response whose body repeats its status.
    fn of_status(status: u16) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
        Answer::text(status, format!("{status}\n"))
    }

    /// Returns the head of the response.
    fn head(&self, keep: bool, now: SystemTime) -> String {
        let mut head = format!(
            "HTTP/1.1 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nDate: {}\r\n",
            self.status,
            self.content_type,
            self.body.len(),
            httpdate::fmt_http_date(now),
        );
        let challenge = (self.status == StatusCode::UNAUTHORIZED).then_some("Bearer");
        let close = (!keep).then_some("close");
        let vary = self.varies_by_accept.then_some("Accept");
        for (name, value) in [
            ("Allow", self.allow),
            ("Vary", vary),
            ("WWW-Authenticate", challenge),
            ("Connection", close),
        ] {
            if let Some(value) = value {
                // Writing to a `String` cannot fail.
                let _ = write!(head, "{name}: {value}\r\n");
            }
        }
        head.push_str("\r\n");
        head
    }

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
impl ServerApp for Admin {
    async fn process_new(
        self: &Arc<Self>,
        stream: Stream,
        _shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        connection::serve(self, stream).await;
        None
    }
}
