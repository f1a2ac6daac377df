//! `Strict-Transport-Security` on every answer over TLS (RFC 6797), whoever gives it. Never on one
//! in clear text: there it must not be sent.

use http::header;
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora_proxy::Session;

use super::Settings;

/// Adds the header to an answer, in the place of one of an upstream.
pub fn add(session: &Session, settings: &Settings, response: &mut ResponseHeader) -> Result<()> {
    match settings.hsts() {
        Some(value) if is_over_tls(session) => {
            response.insert_header(header::STRICT_TRANSPORT_SECURITY, value)
        }
        _ => Ok(()),
    }
}

/// Whether a request came over TLS.
pub fn is_over_tls(session: &Session) -> bool {
    let digest = session.digest();
    digest.is_some_and(|digest| digest.ssl_digest.is_some())
}
