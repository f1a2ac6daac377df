//! Decision after a failed try of a request: whether the failure counts against the peer, and where
//! the request goes next.
//!
//! It is one function of a few facts, so that all engines decide alike and a table can test it.
//! There are two rules. Only faults of a peer count against it: otherwise one slow client could
//! eject a whole pool. And a request is retried only if the peer has surely not processed it, or if
//! it is idempotent.

/// Cause of a failed try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// No connection was established: refused, no route, timeout or TLS failure.
    NotConnected,
    /// The gateway's own host lacked a resource.
    Local,
    /// The peer shuts down and reports that it has not processed the request: GOAWAY with a lower
    /// last stream.
    GoAway,
    /// The peer reports that it has not processed the request: `REFUSED_STREAM`.
    RefusedStream,
    /// The connection was closed.
    Closed,
    /// The peer sent nothing within the read timeout.
    ReadTimeout,
    /// The peer accepted no data within the write timeout.
    WriteTimeout,
    /// The peer sent an invalid response.
    BadResponse,
}

/// Progress of a try.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// True if the whole request was sent.
    pub is_sent: bool,
    /// True if a response has begun. Interim responses do not count.
    pub is_answered: bool,
}

/// A failed try.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::struct_excessive_bools)] // Facts that do not depend on each other.
pub struct Failed {
    /// Cause of the failure.
    pub cause: Cause,
    /// True if the connection had carried earlier requests.
    pub is_reused: bool,
    /// True if the same peer was already tried again on a new connection.
    pub is_refreshed: bool,
    /// Progress of the try.
    pub progress: Progress,
    /// True if the request is idempotent (RFC 9110, 9.2.2).
    pub is_idempotent: bool,
    /// True if the whole body that was read so far is still buffered.
    pub has_body: bool,
}

/// Next step of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// No further try: the client gets an error.
    Stop,
    /// No further try: the client gets an error because it sent its request too slowly.
    BlameClient,
    /// Another peer, if there is one and the retry budget allows it.
    AnotherPeer,
    /// Another peer, or else the same one on a new connection.
    AnyPeer,
    /// The same peer, on a new connection.
    SamePeer,
}

/// Decision after a failed try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// True if the failure counts against the peer.
    pub counts: bool,
    /// Next step of the request.
    pub next: Next,
}

impl Failed {
    /// Decides what follows from the failure.
    #[must_use]
    pub fn verdict(self) -> Verdict {
        Verdict {
            counts: self.counts(),
            next: self.next(),
        }
    }

    fn counts(self) -> bool {
        match self.cause {
            Cause::Local | Cause::GoAway | Cause::RefusedStream => false,
            Cause::NotConnected | Cause::BadResponse => true,
            // The peer may have closed the connection because it was idle.
            Cause::Closed => self.progress.is_answered || !self.is_stale(),
            // A response that has begun may be silent by design: events, a tunnel.
            Cause::WriteTimeout => !self.progress.is_answered,
            Cause::ReadTimeout => self.progress.is_sent && !self.progress.is_answered,
        }
    }

    fn next(self) -> Next {
        if self.progress.is_answered {
            return Next::Stop;
        }
        match self.cause {
            Cause::ReadTimeout if !self.progress.is_sent => Next::BlameClient,
            _ if !self.has_body => Next::Stop,
            Cause::GoAway if !self.is_refreshed => Next::SamePeer,
            // Another peer may have a free local port; a file descriptor may be free after idle
            // connections are closed.
            Cause::Local | Cause::RefusedStream if !self.is_refreshed => Next::AnyPeer,
            Cause::NotConnected | Cause::Local | Cause::GoAway | Cause::RefusedStream => {
                Next::AnotherPeer
            }
            _ if !self.is_idempotent => Next::Stop,
            Cause::Closed if self.is_stale() => Next::SamePeer,
            _ => Next::AnotherPeer,
        }
    }

    /// Returns `true` if the peer may have closed the connection before the request arrived. That
    /// is no fault of the peer, but it is assumed only once for a request.
    fn is_stale(self) -> bool {
        self.is_reused && !self.is_refreshed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A GET that was sent whole on a new connection and has no response yet.
    const GET: Failed = Failed {
        cause: Cause::Closed,
        is_reused: false,
        is_refreshed: false,
        progress: Progress {
            is_sent: true,
            is_answered: false,
        },
        is_idempotent: true,
        has_body: true,
    };

    const POST: Failed = Failed {
        is_idempotent: false,
        ..GET
    };

    const ALL: [Cause; 8] = [
        Cause::NotConnected,
        Cause::Local,
        Cause::GoAway,
        Cause::RefusedStream,
        Cause::Closed,
        Cause::ReadTimeout,
        Cause::WriteTimeout,
        Cause::BadResponse,
    ];

    #[track_caller]
    fn check(failed: Failed, cause: Cause, counts: bool, next: Next) {
        let failed = Failed { cause, ..failed };
        assert_eq!(failed.verdict(), Verdict { counts, next }, "{failed:?}");
    }

    #[test]
    fn a_request_that_may_be_repeated_goes_to_another_peer() {
        for (cause, counts) in [
            (Cause::NotConnected, true),
            (Cause::Closed, true),
            (Cause::ReadTimeout, true),
            (Cause::WriteTimeout, true),
            (Cause::BadResponse, true),
        ] {
            check(GET, cause, counts, Next::AnotherPeer);
        }
    }

    #[test]
    fn what_a_peer_has_surely_not_processed_is_repeated_whatever_its_method() {
        for request in [GET, POST] {
            check(request, Cause::NotConnected, true, Next::AnotherPeer);
            check(request, Cause::Local, false, Next::AnyPeer);
            check(request, Cause::GoAway, false, Next::SamePeer);
            check(request, Cause::RefusedStream, false, Next::AnyPeer);
            let again = Failed {
                is_refreshed: true,
                ..request
            };
            check(again, Cause::Local, false, Next::AnotherPeer);
            check(again, Cause::GoAway, false, Next::AnotherPeer);
            check(again, Cause::RefusedStream, false, Next::AnotherPeer);
        }
    }

    #[test]
    fn what_a_peer_may_have_processed_is_repeated_only_if_twice_does_no_more() {
        for cause in [
            Cause::Closed,
            Cause::ReadTimeout,
            Cause::WriteTimeout,
            Cause::BadResponse,
        ] {
            check(POST, cause, true, Next::Stop);
        }
    }

    #[test]
    fn without_its_whole_body_a_request_goes_nowhere() {
        for cause in ALL {
            let failed = Failed {
                cause,
                has_body: false,
                ..GET
            };
            assert_eq!(failed.verdict().next, Next::Stop, "{cause:?}");
        }
    }

    #[test]
    fn a_kept_connection_that_ends_counts_once_it_was_tried_anew() {
        let reused = Failed {
            is_reused: true,
            ..GET
        };
        check(reused, Cause::Closed, false, Next::SamePeer);
        let post = Failed {
            is_reused: true,
            ..POST
        };
        check(post, Cause::Closed, false, Next::Stop);
        let refreshed = Failed {
            is_refreshed: true,
            ..reused
        };
        check(refreshed, Cause::Closed, true, Next::AnotherPeer);
        check(reused, Cause::ReadTimeout, true, Next::AnotherPeer);
    }

    #[test]
    fn a_peer_is_not_to_blame_for_a_client_that_sends_too_slowly() {
        let unsent = Failed {
            progress: Progress::default(),
            ..POST
        };
        check(unsent, Cause::ReadTimeout, false, Next::BlameClient);
        let long = Failed {
            has_body: false,
            ..unsent
        };
        check(long, Cause::ReadTimeout, false, Next::BlameClient);
        // The peer accepts no data, so the peer is at fault.
        check(unsent, Cause::WriteTimeout, true, Next::Stop);
    }

    #[test]
    fn a_response_that_falls_silent_ends_and_counts_against_nobody() {
        let begun = Failed {
            progress: Progress {
                is_sent: true,
                is_answered: true,
            },
            ..GET
        };
        check(begun, Cause::ReadTimeout, false, Next::Stop);
        check(begun, Cause::WriteTimeout, false, Next::Stop);
        // A response that is cut off counts.
        check(begun, Cause::Closed, true, Next::Stop);
        check(begun, Cause::BadResponse, true, Next::Stop);
        let reused = Failed {
            is_reused: true,
            ..begun
        };
        check(reused, Cause::Closed, true, Next::Stop);
    }
}
