//! What operators and their monitoring ask of a running gateway, on a listener of its own.
//!
//! It is apart from the gateway's listeners so that no client can reach it by a path, and it is off
//! unless the configuration names an address. Requests are read as strictly as clients' are, only
//! hosts of the operator are answered for, and a token can be asked for.

mod connection;
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

const TEXT: &str = "text/plain; charset=utf-8";

/// The answers of the admin listener.
///
/// | path | answer |
/// |---|---|
/// | `/metrics` | all metrics, as OpenMetrics text |
/// | `/healthz` | 200 as long as the process runs |
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
    pub fn new(gateway: Arc<Gateway>, reload: Box<dyn Reload>) -> Self {
        Admin {
            metrics: metrics::Exposition::new(Arc::clone(&gateway)),
            gateway,
            reload,
        }
    }

    /// The answer, if the host is one of ours and the token is right. Probes of health need none:
    /// those who send them often cannot have one, and they say nothing.
    async fn answer_if_allowed(&self, request: &RequestHeader) -> Answer {
        let settings = self.gateway.settings();
        let access = settings.admin_access();
        let value = |name| request.headers.get(name).map(HeaderValue::as_bytes);
        // HTTP/1.0 knows none, and browsers do not speak it.
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
            "/healthz" | "/readyz" => Answer::text(StatusCode::OK, "ok\n"),
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
    /// An answer that says no more than its status.
    fn of_status(status: u16) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
        Answer::text(status, format!("{status}\n"))
    }

    /// The head of the response.
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
        for (name, value) in [
            ("Allow", self.allow),
            ("WWW-Authenticate", challenge),
            ("Connection", close),
        ] {
            if let Some(value) = value {
                // A String takes it all.
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
