//! What operators and their monitoring ask of a running gateway, on a listener of its own.
//!
//! It is apart from the gateway's listeners so that no client can reach it by a path, and it is off
//! unless the configuration names an address, because whoever reaches it need not say who he is.

mod metrics;

use std::sync::Arc;

use async_trait::async_trait;
use http::{Method, Response, StatusCode, header};
use pingora::apps::http_app::ServeHttp;
use pingora::protocols::http::ServerSession;

use crate::gateway::Gateway;

const TEXT: &str = "text/plain; charset=utf-8";

/// The answers of the admin listener.
///
/// | path | answer |
/// |---|---|
/// | `/metrics` | all metrics, as OpenMetrics text |
/// | `/healthz` | 200 as long as the process runs |
/// | `/readyz` | 200 while new connections are welcome, 503 once a stop was asked for |
pub struct Admin {
    gateway: Arc<Gateway>,
    metrics: metrics::Exposition,
}

impl Admin {
    /// Answers for `gateway`.
    #[must_use]
    pub fn new(gateway: Arc<Gateway>) -> Self {
        Admin {
            metrics: metrics::Exposition::new(Arc::clone(&gateway)),
            gateway,
        }
    }

    fn answer(&self, method: &Method, path: &str) -> (StatusCode, &'static str, String) {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return (
                StatusCode::METHOD_NOT_ALLOWED,
                TEXT,
                "GET or HEAD\n".to_owned(),
            );
        }
        match path {
            "/metrics" => (StatusCode::OK, metrics::CONTENT_TYPE, self.metrics.text()),
            "/readyz" if self.gateway.drain().is_draining() => (
                StatusCode::SERVICE_UNAVAILABLE,
                TEXT,
                "stopping\n".to_owned(),
            ),
            "/healthz" | "/readyz" => (StatusCode::OK, TEXT, "ok\n".to_owned()),
            _ => (
                StatusCode::NOT_FOUND,
                TEXT,
                "/metrics, /healthz, /readyz\n".to_owned(),
            ),
        }
    }
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let request = session.req_header();
        let (status, content_type, body) = self.answer(&request.method, request.uri.path());
        let mut response = Response::builder()
            .status(status)
            .header(header::CONTENT_TYPE, content_type)
            .header(header::CONTENT_LENGTH, body.len());
        if status == StatusCode::METHOD_NOT_ALLOWED {
            response = response.header(header::ALLOW, "GET, HEAD");
            // Whatever body it has is not read.
            session.set_keepalive(None);
        }
        response
            .body(body.into_bytes())
            .expect("a response of constant headers")
    }
}
