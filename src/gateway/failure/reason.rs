//! Reasons of failed requests, as words for the access log and the error log.
//!
//! A status is for the client; an operator needs to know which side was at fault. Each failed
//! request has exactly one of these words. They do not change between versions, so that they can be
//! searched for and counted.

use pingora::{Error, ErrorSource, ErrorType};

use super::{
    CLIENT_CLOSED_REQUEST, CLIENT_STALLED, LOCAL, Unprocessed, is_malformed, is_too_slow,
    status_of, unprocessed,
};
use crate::gateway::access::Rejection;

/// Side that caused a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client. Its failures are in the access log only.
    Client,
    /// A peer of the upstream.
    Upstream,
    /// The gateway: its host, its limits or its configuration.
    Gateway,
}

/// Reason of a failed request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureReason {
    /// The request is malformed.
    BadRequest,
    /// The head exceeds its size limit.
    HeadTooLarge,
    /// The head did not arrive in time.
    HeadTimeout,
    /// The body exceeds its size limit.
    BodyTooLarge,
    /// The body did not arrive in time, or too slowly.
    BodyTimeout,
    /// The client closed its connection or reset its stream.
    ClientClosed,
    /// The client did not read the response in time, or too slowly.
    ClientTooSlow,
    /// The method is not served.
    MethodNotAllowed,
    /// No route takes the request.
    NoRoute,
    /// An access rule denies it.
    AccessDenied,
    /// The client has no password that is accepted.
    Unauthenticated,
    /// A rate limit rejects it.
    RateLimited,
    /// The client has too many requests in flight.
    TooManyRequests,
    /// No connection to the peer.
    UpstreamConnectFailed,
    /// No connection to the peer within `connect_timeout`.
    UpstreamConnectTimeout,
    /// The TLS handshake with the peer failed.
    UpstreamTlsFailed,
    /// The peer sent nothing within `read_timeout`.
    UpstreamReadTimeout,
    /// The peer accepted no data within `write_timeout`.
    UpstreamWriteTimeout,
    /// The peer closed the connection before its response was complete.
    UpstreamClosed,
    /// The peer reset the connection or the stream.
    UpstreamReset,
    /// The peer did not process the request: `REFUSED_STREAM` or GOAWAY.
    UpstreamRefused,
    /// The peer sent an invalid response.
    UpstreamBadResponse,
    /// No peer is left to try.
    NoHealthyPeer,
    /// The upstream has reached its limit of requests in flight.
    UpstreamFull,
    /// The gateway or the route has reached its limit.
    Overloaded,
    /// The request took longer than its route allows.
    RequestTimeout,
    /// This host has no file descriptor, local port or memory left for a socket.
    LocalError,
    /// A fault of the gateway.
    InternalError,
}

impl FailureReason {
    /// Every reason, in the order of the discriminants.
    pub const ALL: [FailureReason; 28] = [
        FailureReason::BadRequest,
        FailureReason::HeadTooLarge,
        FailureReason::HeadTimeout,
        FailureReason::BodyTooLarge,
        FailureReason::BodyTimeout,
        FailureReason::ClientClosed,
        FailureReason::ClientTooSlow,
        FailureReason::MethodNotAllowed,
        FailureReason::NoRoute,
        FailureReason::AccessDenied,
        FailureReason::Unauthenticated,
        FailureReason::RateLimited,
        FailureReason::TooManyRequests,
        FailureReason::UpstreamConnectFailed,
        FailureReason::UpstreamConnectTimeout,
        FailureReason::UpstreamTlsFailed,
        FailureReason::UpstreamReadTimeout,
        FailureReason::UpstreamWriteTimeout,
        FailureReason::UpstreamClosed,
        FailureReason::UpstreamReset,
        FailureReason::UpstreamRefused,
        FailureReason::UpstreamBadResponse,
        FailureReason::NoHealthyPeer,
        FailureReason::UpstreamFull,
        FailureReason::Overloaded,
        FailureReason::RequestTimeout,
        FailureReason::LocalError,
        FailureReason::InternalError,
    ];

    /// Returns the word of the reason.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            FailureReason::BadRequest => "bad_request",
            FailureReason::HeadTooLarge => "head_too_large",
            FailureReason::HeadTimeout => "client_head_timeout",
            FailureReason::BodyTooLarge => "body_too_large",
            FailureReason::BodyTimeout => "client_body_timeout",
            FailureReason::ClientClosed => "client_closed",
            FailureReason::ClientTooSlow => "client_too_slow",
            FailureReason::MethodNotAllowed => "method_not_allowed",
            FailureReason::NoRoute => "no_route",
            FailureReason::AccessDenied => "access_denied",
            FailureReason::Unauthenticated => "unauthenticated",
            FailureReason::RateLimited => "rate_limited",
            FailureReason::TooManyRequests => "too_many_requests",
            FailureReason::UpstreamConnectFailed => "upstream_connect_failed",
            FailureReason::UpstreamConnectTimeout => "upstream_connect_timeout",
            FailureReason::UpstreamTlsFailed => "upstream_tls_failed",
            FailureReason::UpstreamReadTimeout => "upstream_read_timeout",
            FailureReason::UpstreamWriteTimeout => "upstream_write_timeout",
            FailureReason::UpstreamClosed => "upstream_closed",
            FailureReason::UpstreamReset => "upstream_reset",
            FailureReason::UpstreamRefused => "upstream_refused",
            FailureReason::UpstreamBadResponse => "upstream_bad_response",
            FailureReason::NoHealthyPeer => "no_healthy_peer",
            FailureReason::UpstreamFull => "upstream_full",
            FailureReason::Overloaded => "overloaded",
            FailureReason::RequestTimeout => "request_timeout",
            FailureReason::LocalError => "local_error",
            FailureReason::InternalError => "internal_error",
        }
    }

    /// Returns the side that caused the failure.
    #[must_use]
    pub fn side(self) -> Side {
        match self {
            FailureReason::UpstreamConnectFailed
            | FailureReason::UpstreamConnectTimeout
            | FailureReason::UpstreamTlsFailed
            | FailureReason::UpstreamReadTimeout
            | FailureReason::UpstreamWriteTimeout
            | FailureReason::UpstreamClosed
            | FailureReason::UpstreamReset
            | FailureReason::UpstreamRefused
            | FailureReason::UpstreamBadResponse
            | FailureReason::NoHealthyPeer => Side::Upstream,
            FailureReason::UpstreamFull
            | FailureReason::Overloaded
            | FailureReason::RequestTimeout
            | FailureReason::LocalError
            | FailureReason::InternalError => Side::Gateway,
            _ => Side::Client,
        }
    }

    /// Returns the reason of an error.
    #[must_use]
    pub fn of(error: &Error) -> Self {
        match (error.etype(), error.esource()) {
            (ErrorType::HTTPStatus(status), _) => FailureReason::of_status(*status),
            (etype, _) if *etype == LOCAL => FailureReason::LocalError,
            (etype, _) if *etype == CLIENT_STALLED => FailureReason::BodyTimeout,
            (_, ErrorSource::Upstream) => FailureReason::of_peer(error),
            (_, ErrorSource::Downstream) => FailureReason::of_client(error),
            _ => FailureReason::InternalError,
        }
    }

    /// Returns the reason of a local reply with this status.
    #[must_use]
    pub fn of_status(status: u16) -> Self {
        match status {
            401 => FailureReason::Unauthenticated,
            403 => FailureReason::AccessDenied,
            404 => FailureReason::NoRoute,
            405 | 501 => FailureReason::MethodNotAllowed,
            408 => FailureReason::BodyTimeout,
            413 => FailureReason::BodyTooLarge,
            429 => FailureReason::RateLimited,
            431 => FailureReason::HeadTooLarge,
            400..=499 | 505 => FailureReason::BadRequest,
            502 => FailureReason::NoHealthyPeer,
            503 => FailureReason::UpstreamFull,
            504 => FailureReason::RequestTimeout,
            _ => FailureReason::InternalError,
        }
    }

    fn of_peer(error: &Error) -> Self {
        if unprocessed(error) == Some(Unprocessed::RefusedStream) {
            return FailureReason::UpstreamRefused;
        }
        match error.etype() {
            ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout => {
                FailureReason::UpstreamConnectTimeout
            }
            ErrorType::TLSHandshakeFailure
            | ErrorType::InvalidCert
            | ErrorType::TLSWantX509Lookup => FailureReason::UpstreamTlsFailed,
            ErrorType::ConnectRefused
            | ErrorType::ConnectNoRoute
            | ErrorType::ConnectError
            | ErrorType::ConnectProxyFailure
            | ErrorType::HandshakeError => FailureReason::UpstreamConnectFailed,
            ErrorType::ReadTimedout => FailureReason::UpstreamReadTimeout,
            ErrorType::WriteTimedout => FailureReason::UpstreamWriteTimeout,
            ErrorType::ConnectionClosed | ErrorType::Custom("PrematureBodyEnd") => {
                FailureReason::UpstreamClosed
            }
            ErrorType::ReadError | ErrorType::WriteError => FailureReason::UpstreamReset,
            ErrorType::H2Error if unprocessed(error).is_some() => FailureReason::UpstreamRefused,
            ErrorType::H2Error if is_reset(error) => FailureReason::UpstreamReset,
            ErrorType::InternalError => FailureReason::InternalError,
            _ => FailureReason::UpstreamBadResponse,
        }
    }

    fn of_client(error: &Error) -> Self {
        match error.etype() {
            ErrorType::ReadTimedout => FailureReason::BodyTimeout,
            ErrorType::ReadError if is_too_slow(error) => FailureReason::BodyTimeout,
            ErrorType::ReadError if is_malformed(error) => FailureReason::BadRequest,
            ErrorType::WriteTimedout => FailureReason::ClientTooSlow,
            ErrorType::WriteError if is_too_slow(error) => FailureReason::ClientTooSlow,
            _ if status_of(error) == CLIENT_CLOSED_REQUEST => FailureReason::ClientClosed,
            _ => FailureReason::BadRequest,
        }
    }
}

impl From<&Rejection> for FailureReason {
    fn from(rejection: &Rejection) -> Self {
        match rejection {
            Rejection::Denied => FailureReason::AccessDenied,
            Rejection::Unauthenticated { .. } => FailureReason::Unauthenticated,
            Rejection::TooOften { .. } => FailureReason::RateLimited,
            Rejection::TooMany => FailureReason::TooManyRequests,
            Rejection::Overloaded => FailureReason::Overloaded,
        }
    }
}

/// Returns `true` if a stream or a connection of HTTP/2 was reset or broken, without a protocol
/// violation.
fn is_reset(error: &Error) -> bool {
    let cause = error.root_cause().downcast_ref::<h2::Error>();
    cause.is_some_and(|cause| cause.is_io() || cause.is_remote())
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::gateway::access::min_rate::BelowMinRate;

    #[test]
    fn each_reason_has_a_word_of_its_own() {
        for (number, reason) in FailureReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, number);
            let same = |other: &&FailureReason| other.as_str() == reason.as_str();
            assert_eq!(FailureReason::ALL.iter().filter(same).count(), 1);
            let is_word = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
            assert!(reason.as_str().bytes().all(is_word), "{}", reason.as_str());
        }
    }

    #[test]
    fn errors_have_the_reason_of_who_caused_them() {
        use ErrorSource::{Downstream, Internal, Upstream};
        for (etype, source, word) in [
            (
                ErrorType::ConnectRefused,
                Upstream,
                "upstream_connect_failed",
            ),
            (
                ErrorType::ConnectTimedout,
                Upstream,
                "upstream_connect_timeout",
            ),
            (ErrorType::InvalidCert, Upstream, "upstream_tls_failed"),
            (ErrorType::ReadTimedout, Upstream, "upstream_read_timeout"),
            (ErrorType::WriteTimedout, Upstream, "upstream_write_timeout"),
            (ErrorType::ConnectionClosed, Upstream, "upstream_closed"),
            (ErrorType::ReadError, Upstream, "upstream_reset"),
            (
                ErrorType::InvalidHTTPHeader,
                Upstream,
                "upstream_bad_response",
            ),
            (LOCAL, Upstream, "local_error"),
            (CLIENT_STALLED, Upstream, "client_body_timeout"),
            (ErrorType::ReadTimedout, Downstream, "client_body_timeout"),
            (ErrorType::WriteTimedout, Downstream, "client_too_slow"),
            (ErrorType::ConnectionClosed, Downstream, "client_closed"),
            (ErrorType::H2Error, Downstream, "client_closed"),
            (ErrorType::InvalidHTTPHeader, Downstream, "bad_request"),
            (ErrorType::HTTPStatus(413), Internal, "body_too_large"),
            (ErrorType::HTTPStatus(504), Internal, "request_timeout"),
            (ErrorType::InternalError, Internal, "internal_error"),
        ] {
            let mut error = Error::new(etype);
            error.esource = source;
            assert_eq!(FailureReason::of(&error).as_str(), word, "{error}");
        }
    }

    #[test]
    fn a_slow_client_is_told_by_what_it_is_slow_with() {
        for (etype, word) in [
            (ErrorType::ReadError, "client_body_timeout"),
            (ErrorType::WriteError, "client_too_slow"),
        ] {
            let error = Error::because(etype, "test", io::Error::other(BelowMinRate)).into_down();
            assert_eq!(FailureReason::of(&error).as_str(), word);
        }
    }
}
