//! Health check of one peer: a TCP connection or an HTTP request, over TLS if the upstream uses
//! TLS.

use std::ops::RangeInclusive;

use http::{StatusCode, Uri, Version, header};
use pingora::connectors::TransportConnector;
use pingora::connectors::http::Connector;
use pingora::http::RequestHeader;
use pingora::protocols::http::client::HttpSession;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};

use super::peer::Peer;
use crate::config::model::{HealthCheck, HealthProbe};
use crate::gateway::failure::tls;

/// `User-Agent` of health checks.
const USER_AGENT: &str = concat!("geogate/", env!("CARGO_PKG_VERSION"), " (health check)");

/// Runner of health checks. It opens a new connection for each check and reuses none: an
/// established connection would hide that the peer accepts no new one.
pub struct Prober<'c> {
    check: &'c HealthCheck,
    connector: Kind<'c>,
}

enum Kind<'c> {
    Tcp(TransportConnector),
    Http(Box<Connector>, Question<'c>),
}

struct Question<'c> {
    path: &'c str,
    host: Option<&'c str>,
    good: &'c [RangeInclusive<u16>],
}

impl<'c> Prober<'c> {
    /// Creates the prober of a health check's settings.
    pub fn new(check: &'c HealthCheck) -> Self {
        let connector = match &check.probe {
            HealthProbe::Tcp => Kind::Tcp(TransportConnector::new(None)),
            HealthProbe::Http {
                path,
                host,
                statuses,
            } => {
                let question = Question {
                    path,
                    host: host.as_deref(),
                    good: statuses,
                };
                Kind::Http(Box::new(Connector::new(None)), question)
            }
        };
        Prober { check, connector }
    }

    /// Checks a peer.
    ///
    /// # Errors
    /// With the reason why the peer is unhealthy.
    pub async fn check(&self, peer: &Peer) -> Result<(), String> {
        let check = async {
            match &self.connector {
                Kind::Tcp(connector) => {
                    let stream = connector.new_stream(peer.template_to_check()).await?;
                    peer.check(stream.get_ssl_digest().as_deref())
                }
                Kind::Http(connector, question) => question.ask(connector, peer).await,
            }
        };
        match tokio::time::timeout(self.check.timeout, check).await {
            Ok(checked) => {
                checked.map_err(|error| tls::describe(&error).unwrap_or_else(|| error.to_string()))
            }
            Err(_) => Err(format!("no answer within {:?}", self.check.timeout)),
        }
    }
}

impl Question<'_> {
    async fn ask(&self, connector: &Connector, to: &Peer) -> Result<()> {
        let mut peer = to.template_to_check().clone();
        // A limit of one stream keeps an HTTP/2 connection from being shared with the next check.
        peer.options.max_h2_streams = 1;
        let (mut session, _) = connector.get_http_session(&peer).await?;
        let digest = session.digest();
        to.check(digest.and_then(|digest| digest.ssl_digest.as_deref()))?;
        let is_h2 = matches!(session, HttpSession::H2(_));
        session
            .write_request_header(Box::new(self.request(&peer, is_h2)?))
            .await?;
        session.finish_request_body().await?;
        session.set_read_timeout(peer.options.read_timeout);
        session.read_response_header().await?;
        let header = session.response_header();
        let status = header.map_or(StatusCode::BAD_GATEWAY, |header| header.status);
        session.shutdown().await;
        if self.good.iter().any(|good| good.contains(&status.as_u16())) {
            return Ok(());
        }
        Err(Error::explain(
            ErrorType::HTTPStatus(status.as_u16()),
            "not a status that is good",
        ))
    }

    fn request(&self, peer: &HttpPeer, is_h2: bool) -> Result<RequestHeader> {
        let mut request = RequestHeader::build("GET", self.path.as_bytes(), Some(3))?;
        let host = self.host.map_or_else(|| host_of(peer), str::to_owned);
        request.insert_header(header::USER_AGENT, USER_AGENT)?;
        if is_h2 {
            let scheme = if peer.is_tls() { "https" } else { "http" };
            let uri = Uri::builder()
                .scheme(scheme)
                .authority(host)
                .path_and_query(self.path)
                .build();
            request.set_uri(uri.map_err(|error| {
                Error::because(ErrorType::InvalidHTTPHeader, "in a health check", error)
            })?);
            request.set_version(Version::HTTP_2);
        } else {
            request.insert_header(header::HOST, host)?;
            request.insert_header(header::CONNECTION, "close")?;
        }
        Ok(request)
    }
}

/// Returns the server name of the peer, or else its address, or `localhost` for a UNIX socket.
fn host_of(peer: &HttpPeer) -> String {
    match &peer._address {
        _ if !peer.sni.is_empty() => peer.sni.clone(),
        SocketAddr::Inet(address) => address.to_string(),
        // A path is no host (RFC 9110, 7.2). nginx sends the same.
        SocketAddr::Unix(_) => "localhost".to_owned(),
    }
}
