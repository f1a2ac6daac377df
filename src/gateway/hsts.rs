//! `Strict-Transport-Security` on every response over TLS, whoever made it (RFC 6797). It must not be
//! sent in clear text.

use super::Settings;
use crate::proto::headers::{EditResponse, Name};

/// Adds the header to a response over TLS, in place of an upstream's.
pub fn add(is_tls: bool, settings: &Settings, response: &mut impl EditResponse) {
    if let Some(value) = settings.hsts().filter(|_| is_tls) {
        response.set(Name::Static("Strict-Transport-Security"), value.as_bytes());
    }
}
