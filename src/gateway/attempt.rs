//! What follows from a try of a request that failed on a peer: whether the failure counts against the
//! peer, and where the request goes next.
//!
//! It is one function over a few facts, so that every engine decides alike and a table can test it.
//! Two rules are behind it. Only what a peer did is counted against it, or one slow client would
//! empty a pool. And a request is repeated if the peer has surely not processed it, or if twice does
//! no more than once.

/// Why a try failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// There is no connection: refused, no route, no answer in time, no TLS.
    NotConnected,
    /// The host that we run on could not do its part.
    Local,
    /// The peer says that it goes and has not processed the request: GOAWAY below its stream.
    GoAway,
    /// The peer says that it has not processed the request: `REFUSED_STREAM`.
    RefusedStream,
    /// The connection ended.
    Closed,
    /// The peer sent nothing for too long.
    ReadTimeout,
    /// The peer took nothing for too long.
    WriteTimeout,
    /// What the peer sent is no response.
    BadResponse,
}

/// How far a try has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Whether the whole request was sent.
    pub is_sent: bool,
    /// Whether something of a response has come. Interim responses are none.
    pub is_answered: bool,
}

/// A try that failed.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::struct_excessive_bools)] // Facts that do not depend on each other.
pub struct Failed {
    /// Why.
    pub cause: Cause,
    /// Whether the request was on a connection that had carried others.
    pub is_reused: bool,
    /// Whether the same peer was tried on a new connection already.
    pub is_refreshed: bool,
    /// How far it had come.
    pub progress: Progress,
    /// Whether twice does no more than once (RFC 9110, 9.2.2).
    pub is_idempotent: bool,
    /// Whether all that was read of the request's body is still here.
    pub has_body: bool,
}

/// Where a request goes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nowhere: the client is told.
    Stop,
    /// The client is told that it sent its request too slowly.
    BlameClient,
    /// To another peer, if there is one and retries are left.
    AnotherPeer,
    /// To another peer, or else to the same one on a new connection.
    AnyPeer,
    /// To the same peer, on a new connection.
    SamePeer,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the failure counts against the peer.
    pub counts: bool,
    /// Where the request goes.
    pub next: Next,
}

impl Failed {
    /// What follows from it.
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
            // It may have been closing an idle connection just then.
            Cause::Closed => self.progress.is_answered || !self.is_stale(),
            // A response that has begun may be silent by its nature: events, a tunnel.
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
            // A local port may be left for another peer, a file once idle connections are closed.
            Cause::Local | Cause::RefusedStream if !self.is_refreshed => Next::AnyPeer,
            Cause::NotConnected | Cause::Local | Cause::GoAway | Cause::RefusedStream => {
                Next::AnotherPeer
            }
            _ if !self.is_idempotent => Next::Stop,
            Cause::Closed if self.is_stale() => Next::SamePeer,
            _ => Next::AnotherPeer,
        }
    }

    /// Whether the connection may have been closed before the request came: it says nothing of the
    /// peer, once in a request.
    fn is_stale(self) -> bool {
        self.is_reused && !self.is_refreshed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A GET that was sent whole on a new connection, of which nothing has come.
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
        // It is the peer that takes nothing.
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
        // One that breaks off does.
        check(begun, Cause::Closed, true, Next::Stop);
        check(begun, Cause::BadResponse, true, Next::Stop);
        let reused = Failed {
            is_reused: true,
            ..begun
        };
        check(reused, Cause::Closed, true, Next::Stop);
    }
}
