//! Descriptions of TLS failures with a peer, for the log.
//!
//! pingora passes on the text of a rustls error inside its own text, and rustls writes for
//! programmers. An operator needs to know which side to look at.

use pingora::{Error, ErrorType};

/// Prefix of the rustls error for a peer that sent a fatal alert.
const ALERT: &str = "received fatal alert";

/// Prefixes of rustls errors, each with its description. The first match is used.
const MEANINGS: [(&str, &str); 11] = [
    (
        "invalid peer certificate: certificate not valid for name",
        "name mismatch",
    ),
    (
        "invalid peer certificate: certificate expired",
        "expired certificate",
    ),
    (
        "invalid peer certificate: certificate not valid yet",
        "certificate not valid yet",
    ),
    (
        "invalid peer certificate: UnknownIssuer",
        "unknown issuer: neither ca_file nor the system has an authority that signed the certificate",
    ),
    (
        "invalid peer certificate: Other(OtherError(CaUsedAsEndEntity",
        "certificate is marked as an authority's; as the peer's own it must be in ca_file, and for \
         the peer's name",
    ),
    (
        "invalid peer certificate: Other(OtherError(UnsupportedCertVersion",
        "certificate is not of X.509 version 3",
    ),
    ("invalid peer certificate", "unusable certificate"),
    (
        "received corrupt message of type InvalidContentType",
        "peer does not speak TLS on this port",
    ),
    (ALERT, "peer refused the handshake"),
    (
        "peer is incompatible",
        "no protocol version or cipher in common",
    ),
    (
        "peer doesn't support any known protocol",
        "peer does not speak the configured HTTP version (ALPN)",
    ),
];

/// Describes a TLS error. Returns `None` for any other error.
#[must_use]
pub fn describe(error: &Error) -> Option<String> {
    let text = error.to_string();
    let said = innermost(&text);
    let is_tls = match error.etype() {
        ErrorType::InvalidCert => return Some(format!("TLS: {said}")),
        ErrorType::TLSHandshakeFailure => true,
        // In TLS 1.3 a peer rejects a client certificate after the handshake.
        _ => said.starts_with(ALERT),
    };
    let meaning = MEANINGS.iter().find(|(start, _)| said.starts_with(start));
    let meaning = meaning.map_or("handshake failed", |(_, meaning)| meaning);
    is_tls.then(|| format!("TLS: {meaning} ({said})"))
}

/// Returns the last cause in the text of an error, or else its last context. pingora appends the
/// server name (SNI) and the local address; the former and everything after it is cut off.
fn innermost(text: &str) -> &str {
    let text = text.split_once(", SNI: ").map_or(text, |(text, _)| text);
    let text = text
        .rsplit_once(" cause: ")
        .map_or(text, |(_, cause)| cause);
    text.rsplit_once(" context: ")
        .map_or(text, |(_, text)| text)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pingora::OrErr;
    use rustls::{AlertDescription, CertificateError, InvalidMessage, PeerIncompatible};
    use rustls_pki_types::{ServerName, UnixTime};

    use super::*;

    /// Wraps a rustls error as pingora does.
    fn failed(said: rustls::Error) -> Box<Error> {
        let result: Result<(), _> = Err(std::io::Error::other(said));
        let inner: pingora::Result<()> =
            result.or_err(ErrorType::TLSHandshakeFailure, "tls connect error");
        let inner = inner.unwrap_err();
        let context = format!("TLS connect() failed: {inner}, SNI: app.test");
        let details = std::io::Error::other("local address 127.0.0.1:1");
        Error::because(ErrorType::TLSHandshakeFailure, context, details).into_up()
    }

    #[test]
    fn each_kind_of_failure_has_words_of_its_own() {
        use CertificateError as C;
        let invalid = rustls::Error::InvalidCertificate;
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        for (said, expected) in [
            (
                invalid(C::NotValidForNameContext {
                    expected: ServerName::try_from("app.test").unwrap(),
                    presented: vec!["DnsName(\"other.test\")".to_owned()],
                }),
                "name mismatch",
            ),
            (
                invalid(C::ExpiredContext {
                    time: at(2),
                    not_after: at(1),
                }),
                "expired certificate",
            ),
            (
                invalid(C::NotValidYetContext {
                    time: at(1),
                    not_before: at(2),
                }),
                "certificate not valid yet",
            ),
            (invalid(C::UnknownIssuer), "unknown issuer"),
            (invalid(C::BadSignature), "unusable certificate"),
            (
                rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType),
                "peer does not speak TLS",
            ),
            (
                rustls::Error::AlertReceived(AlertDescription::ProtocolVersion),
                "peer refused the handshake (received fatal alert: ProtocolVersion)",
            ),
            (
                rustls::Error::PeerIncompatible(
                    PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
                ),
                "no protocol version",
            ),
            (
                rustls::Error::NoApplicationProtocol,
                "peer does not speak the configured HTTP version",
            ),
            (
                rustls::Error::DecryptError,
                "handshake failed (cannot decrypt peer's message)",
            ),
        ] {
            let text = describe(&failed(said)).unwrap();
            assert!(text.starts_with(&format!("TLS: {expected}")), "{text}");
        }
    }

    #[test]
    fn other_errors_are_not_described() {
        assert_eq!(describe(&Error::new(ErrorType::ConnectRefused)), None);
        let closed = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        let error = Error::because(ErrorType::ReadError, "reading", closed);
        assert_eq!(describe(&error), None);
    }

    #[test]
    fn a_refusal_after_the_handshake_is_one_of_tls() {
        let alert = rustls::Error::AlertReceived(AlertDescription::CertificateRequired);
        let alert = std::io::Error::other(alert);
        let error = Error::because(ErrorType::ReadError, "reading", alert).into_up();
        let error = error.more_context("Peer: 127.0.0.1:1");
        let expected =
            "TLS: peer refused the handshake (received fatal alert: CertificateRequired)";
        assert_eq!(describe(&error).as_deref(), Some(expected));
    }

    #[test]
    fn an_unverified_certificate_says_its_own_reason() {
        let error = Error::explain(ErrorType::InvalidCert, "certificate expired").into_up();
        let error = error.more_context("Peer: 127.0.0.1:1");
        assert_eq!(
            describe(&error).as_deref(),
            Some("TLS: certificate expired")
        );
    }
}
