//! What an error of pingora's means to a client.

use std::io;

use pingora::{Error, ErrorSource, ErrorType};

use super::lane::Malformed;
use super::pace::TooSlow;

/// Status of a request whose client left before there was an answer, as nginx logs it.
pub const CLIENT_LEFT: u16 = 499;

/// Whether the other end took too long.
pub fn is_timeout(error: &Error) -> bool {
    matches!(
        error.etype(),
        ErrorType::ReadTimedout | ErrorType::WriteTimedout
    )
}

/// The request has a larger body than it may.
pub fn too_large() -> Box<Error> {
    status_error(413, "the request body is too large")
}

/// The client is too slow with its request's body.
pub fn slow_body() -> Box<Error> {
    status_error(408, "the request body takes too long")
}

/// The request took longer than it may.
pub fn out_of_time() -> Box<Error> {
    status_error(504, "the request took too long")
}

/// An error that a client sees as this status.
pub fn status_error(status: u16, reason: &'static str) -> Box<Error> {
    let mut error = Error::explain(ErrorType::HTTPStatus(status), reason);
    error.as_in();
    error
}

/// The status that tells a client what went wrong.
pub fn status_of(error: &Error) -> u16 {
    match (error.etype(), error.esource()) {
        (ErrorType::HTTPStatus(status), _) => *status,
        (ErrorType::ConnectTimedout | ErrorType::ReadTimedout, ErrorSource::Upstream) => 504,
        (_, ErrorSource::Upstream) => 502,
        (ErrorType::ReadTimedout, ErrorSource::Downstream) => 408,
        (ErrorType::ReadError, ErrorSource::Downstream) if is_caused_by::<TooSlow>(error) => 408,
        (ErrorType::ReadError, ErrorSource::Downstream) if is_caused_by::<Malformed>(error) => 400,
        (
            ErrorType::ReadError | ErrorType::WriteError | ErrorType::ConnectionClosed,
            ErrorSource::Downstream,
        ) => CLIENT_LEFT,
        (_, ErrorSource::Downstream) => 400,
        _ => 500,
    }
}

/// Whether the connection itself refused to go on, for such a reason.
fn is_caused_by<E: std::error::Error + 'static>(error: &Error) -> bool {
    let cause = error.root_cause().downcast_ref::<io::Error>();
    let reason = cause.and_then(io::Error::get_ref);
    reason.is_some_and(
        <dyn pingora::ErrorTrait + std::marker::Send + std::marker::Sync + 'static>::is::<E>,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_the_status_that_tells_them() {
        use ErrorSource::{Downstream, Internal, Upstream};
        for (kind, source, status) in [
            (ErrorType::ConnectRefused, Upstream, 502),
            (ErrorType::ConnectTimedout, Upstream, 504),
            (ErrorType::ReadTimedout, Upstream, 504),
            (ErrorType::ConnectionClosed, Upstream, 502),
            (ErrorType::ReadTimedout, Downstream, 408),
            (ErrorType::ConnectionClosed, Downstream, CLIENT_LEFT),
            (ErrorType::InvalidHTTPHeader, Downstream, 400),
            (ErrorType::InternalError, Internal, 500),
            (ErrorType::HTTPStatus(413), Internal, 413),
        ] {
            let mut error = Error::new(kind);
            error.esource = source.clone();
            assert_eq!(status_of(&error), status, "{error}");
        }
    }

    #[test]
    fn a_connection_that_refuses_to_go_on_says_why() {
        let because = |reason: io::Error| {
            let error = Error::because(ErrorType::ReadError, "reading", reason);
            status_of(&error.into_down())
        };
        assert_eq!(because(io::Error::other(TooSlow)), 408);
        assert_eq!(because(io::Error::other(Malformed)), 400);
        assert_eq!(because(io::ErrorKind::TimedOut.into()), CLIENT_LEFT);
    }
}
