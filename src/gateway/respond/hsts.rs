//! `Strict-Transport-Security` on every response over TLS, of an upstream or of the gateway itself
//! (RFC 6797). It must not be sent in clear text.

use crate::gateway::Settings;
use crate::proto::headers::{EditResponse, Name};

/// Adds the header to a response over TLS. It replaces the header of an upstream.
pub fn add(is_tls: bool, settings: &Settings, response: &mut impl EditResponse) {
    if let Some(value) = settings.hsts().filter(|_| is_tls) {
        response.set(Name::Static("Strict-Transport-Security"), value.as_bytes());
    }
}
