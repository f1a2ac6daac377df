//! `Strict-Transport-Security` on every response over TLS (RFC 6797), of upstreams and of the
//! gateway. Never on a response in clear text, where it must not be sent.

use http::header;
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora_proxy::Session;

use super::Settings;

/// Adds the header to a response, in place of the upstream's.
pub fn add(session: &Session, settings: &Settings, response: &mut ResponseHeader) -> Result<()> {
    match settings.hsts() {
        Some(value) if is_over_tls(session) => {
            response.insert_header(header::STRICT_TRANSPORT_SECURITY, value)
        }
        _ => Ok(()),
    }
}

/// Returns `true` if the request came over TLS.
pub fn is_over_tls(session: &Session) -> bool {
    let digest = session.digest();
    digest.is_some_and(|digest| digest.ssl_digest.is_some())
}
