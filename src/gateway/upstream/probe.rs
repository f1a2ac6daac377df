//! One health check: a connection, or a request, over TLS where requests go over TLS.

use std::ops::RangeInclusive;

use http::{StatusCode, Uri, Version, header};
use pingora::connectors::TransportConnector;
use pingora::connectors::http::Connector;
use pingora::http::RequestHeader;
use pingora::protocols::http::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};

use super::peer::Peer;
use super::tls_failure;
use crate::config::model::{HealthCheck, HealthProbe};

/// What the peers know the checks by.
const USER_AGENT: &str = concat!("geogate/", env!("CARGO_PKG_VERSION"), " (health check)");

/// Checks peers. Its connections are its own, and none is kept: an established one would hide that
/// no new one can be had.
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
    /// Checks as a configuration says.
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
    /// With what is wrong with it.
    pub async fn check(&self, peer: &Peer) -> Result<(), String> {
        let check = async {
            match &self.connector {
                Kind::Tcp(connector) => {
                    let stream = connector.new_stream(peer.template()).await?;
                    peer.check(stream.get_ssl_digest().as_deref())
                }
                Kind::Http(connector, question) => question.ask(connector, peer).await,
            }
        };
        match tokio::time::timeout(self.check.timeout, check).await {
            Ok(checked) => checked.map_err(|error| {
                tls_failure::describe(&error).unwrap_or_else(|| error.to_string())
            }),
            Err(_) => Err(format!("no answer within {:?}", self.check.timeout)),
        }
    }
}

impl Question<'_> {
    async fn ask(&self, connector: &Connector, to: &Peer) -> Result<()> {
        let mut peer = to.template().clone();
        // A connection of HTTP/2 that has room for more is one that the next check would share.
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

/// The name that a peer is known by, or its address.
fn host_of(peer: &HttpPeer) -> String {
    if peer.sni.is_empty() {
        peer._address.to_string()
    } else {
        peer.sni.clone()
    }
}
