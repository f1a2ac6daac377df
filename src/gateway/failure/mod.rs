//! Classification of pingora's errors: the status for the client, and the side that is at fault.

pub mod reason;
pub mod tls;

use std::error::Error as StdError;
use std::io;

use pingora::{Error, ErrorSource, ErrorType};

use super::access::min_rate::BelowMinRate;
use crate::proto::h1::chunked::Malformed;

/// Status of a request whose client closed the connection before the response, as in nginx's log.
pub const CLIENT_CLOSED_REQUEST: u16 = 499;

/// Error type of a missing resource on this host: no file descriptor, no local port, no memory for
/// a socket. The peer is not at fault.
pub const LOCAL: ErrorType = ErrorType::new("LocalError");

/// Error type of a client that had not sent its whole request when the upstream's read timeout
/// ended.
pub const CLIENT_STALLED: ErrorType = ErrorType::new("ClientStalled");

/// Error type of a FastCGI server that has no room for a request, and has not processed it.
pub const REFUSED_REQUEST: ErrorType = ErrorType::new("RefusedRequest");

/// Errors of the operating system with a cause on this host (Linux numbers).
const LOCAL_ERRNO: [i32; 8] = [
    1,   // EPERM: a local firewall rule
    12,  // ENOMEM
    13,  // EACCES
    23,  // ENFILE
    24,  // EMFILE
    98,  // EADDRINUSE
    99,  // EADDRNOTAVAIL: no local port is left
    105, // ENOBUFS
];

/// Returns `true` if the cause of an error is on this host and not at the peer. `connecting` is
/// `true` for errors before a connection is established.
pub fn is_local(error: &Error, connecting: bool) -> bool {
    // pingora's connector reports errors of the socket itself with these types.
    let internal = matches!(
        error.etype(),
        ErrorType::InternalError | ErrorType::SocketError | ErrorType::BindError
    );
    connecting && internal || os_error(error).is_some_and(|errno| LOCAL_ERRNO.contains(&errno))
}

/// Returns the error number of the operating system that caused this error.
fn os_error(error: &Error) -> Option<i32> {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error.root_cause());
    while let Some(this) = cause {
        if let Some(io) = this.downcast_ref::<io::Error>() {
            return io.raw_os_error();
        }
        cause = this.source();
    }
    None
}

/// Report of a peer that it has not processed a request (RFC 9113, 8.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unprocessed {
    /// A GOAWAY whose last stream is below the request's.
    GoAway,
    /// A `RST_STREAM` with `REFUSED_STREAM`, or the end of a FastCGI request for lack of room.
    RefusedStream,
}

/// Returns the peer's report that it has not processed the request, if there is one.
///
/// The h2 crate ends a stream with the error of a remote GOAWAY only if its id is above the last one
/// that the frame names; the streams below go on.
pub fn unprocessed(error: &Error) -> Option<Unprocessed> {
    if *error.etype() == REFUSED_REQUEST {
        return Some(Unprocessed::RefusedStream);
    }
    let cause = error.root_cause().downcast_ref::<h2::Error>()?;
    if !cause.is_remote() {
        None
    } else if cause.is_go_away() {
        Some(Unprocessed::GoAway)
    } else if cause.is_reset() && cause.reason() == Some(h2::Reason::REFUSED_STREAM) {
        Some(Unprocessed::RefusedStream)
    } else {
        None
    }
}

/// Creates the error of a request body that exceeds its limit.
pub fn too_large() -> Box<Error> {
    status_error(413, "the request body is too large")
}

/// Creates the error of a request body that arrives too slowly.
pub fn slow_body() -> Box<Error> {
    status_error(408, "the request body takes too long")
}

/// Creates the error of a request that exceeds its deadline.
pub fn out_of_time() -> Box<Error> {
    status_error(504, "the request took too long")
}

/// Returns the error of a `Connection` header that names a protected header, too many, or an
/// invalid name.
pub fn bad_connection() -> Box<Error> {
    status_error(400, "a Connection header that names what it may not")
}

/// Creates an error that results in this status for the client.
pub fn status_error(status: u16, reason: &'static str) -> Box<Error> {
    let mut error = Error::explain(ErrorType::HTTPStatus(status), reason);
    error.as_in();
    error
}

/// Returns the status for the client.
pub fn status_of(error: &Error) -> u16 {
    match (error.etype(), error.esource()) {
        (ErrorType::HTTPStatus(status), _) => *status,
        (etype, _) if *etype == LOCAL => 503,
        (etype, _) if *etype == CLIENT_STALLED => 408,
        (
            ErrorType::ConnectTimedout
            | ErrorType::TLSHandshakeTimedout
            | ErrorType::ReadTimedout
            | ErrorType::WriteTimedout,
            ErrorSource::Upstream,
        ) => 504,
        (_, ErrorSource::Upstream) => 502,
        (ErrorType::ReadTimedout, ErrorSource::Downstream) => 408,
        (ErrorType::ReadError, ErrorSource::Downstream) if is_caused_by::<BelowMinRate>(error) => {
            408
        }
        (ErrorType::ReadError, ErrorSource::Downstream) if is_caused_by::<Malformed>(error) => 400,
        (
            ErrorType::ReadError
            | ErrorType::WriteError
            | ErrorType::WriteTimedout
            | ErrorType::H2Error
            | ErrorType::ConnectionClosed,
            ErrorSource::Downstream,
        ) => CLIENT_CLOSED_REQUEST,
        (_, ErrorSource::Downstream) => 400,
        _ => 500,
    }
}

/// Returns `true` if the client was below the minimum rate.
pub fn is_too_slow(error: &Error) -> bool {
    is_caused_by::<BelowMinRate>(error)
}

/// Returns `true` if the request's body is malformed.
pub fn is_malformed(error: &Error) -> bool {
    is_caused_by::<Malformed>(error)
}

/// Returns `true` if the connection itself failed with an error of this type.
fn is_caused_by<E: StdError + 'static>(error: &Error) -> bool {
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
            (ErrorType::WriteTimedout, Upstream, 504),
            (ErrorType::ConnectionClosed, Upstream, 502),
            (LOCAL, Upstream, 503),
            (CLIENT_STALLED, Upstream, 408),
            (ErrorType::ReadTimedout, Downstream, 408),
            (
                ErrorType::ConnectionClosed,
                Downstream,
                CLIENT_CLOSED_REQUEST,
            ),
            (ErrorType::H2Error, Downstream, CLIENT_CLOSED_REQUEST),
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
        assert_eq!(because(io::Error::other(BelowMinRate)), 408);
        assert_eq!(because(io::Error::other(Malformed)), 400);
        assert_eq!(
            because(io::ErrorKind::TimedOut.into()),
            CLIENT_CLOSED_REQUEST
        );
    }

    #[test]
    fn errors_of_this_host_are_told_from_those_of_peers() {
        let check = |etype, errno, connecting| {
            let cause = io::Error::from_raw_os_error(errno);
            is_local(&Error::because(etype, "connecting", cause), connecting)
        };
        for errno in LOCAL_ERRNO {
            assert!(check(ErrorType::ConnectError, errno, true), "{errno}");
            assert!(check(ErrorType::WriteError, errno, false), "{errno}");
        }
        // ECONNRESET, ETIMEDOUT, ECONNREFUSED and EHOSTUNREACH are caused by the peer or the
        // network.
        for errno in [104, 110, 111, 113] {
            assert!(!check(ErrorType::ConnectError, errno, true), "{errno}");
        }
        // pingora reports these without an error number.
        assert!(is_local(&Error::new(ErrorType::InternalError), true));
        assert!(!is_local(&Error::new(ErrorType::InternalError), false));
        assert!(!is_local(&Error::new(ErrorType::ConnectRefused), true));
    }
}
