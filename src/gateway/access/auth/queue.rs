//! Queue of password checks.
//!
//! A check may take a core for a second, and every client may ask for one. So checks run on threads for
//! blocking work, on half of the processors at most, and the workers go on serving. Of each client one
//! check runs or waits its turn for a thread, so that a client that guesses does not keep others from
//! logging in: clients are spread over a fixed number of lanes by a random hash of their address, each
//! with a bounded line of its own.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::DefaultHashBuilder;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{AuthSet, Credentials};
use crate::gateway::access::Rejection;
use crate::gateway::access::inflight::Shared;

/// Number of lanes.
const LANES: usize = 256;

/// Maximum number of requests that wait in a lane. A browser may send as many at once over HTTP/2.
const LINE: usize = 128;

/// Longest wait for a thread. A client that waited so long is told to try again.
const PATIENCE: Duration = Duration::from_secs(10);

/// Queue of password checks.
pub struct CheckQueue {
    threads: Arc<Semaphore>,
    lanes: Box<[Lane]>,
    seed: DefaultHashBuilder,
    /// Longest wait for a thread.
    patience: Duration,
}

struct Lane {
    turn: Semaphore,
    line: Arc<Shared>,
}

impl Default for CheckQueue {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        CheckQueue::new((processors / 2).max(1), PATIENCE)
    }
}

impl CheckQueue {
    fn new(threads: usize, patience: Duration) -> Self {
        let lanes = (0..LANES).map(|_| Lane {
            turn: Semaphore::new(1),
            line: Arc::default(),
        });
        CheckQueue {
            threads: Arc::new(Semaphore::new(threads)),
            lanes: lanes.collect(),
            patience,
            seed: DefaultHashBuilder::default(),
        }
    }

    /// Checks credentials when it is the client's turn. Returns `true` if they are right.
    ///
    /// # Errors
    /// If too many requests wait, or this one waited too long.
    pub async fn check(
        &self,
        set: &Arc<AuthSet>,
        credentials: &Credentials,
        client: u128,
    ) -> Result<bool, Rejection> {
        let lane = &self.lanes[self.seed.hash_one(client) as usize % LANES];
        let _place = lane.line.take(LINE).ok_or(Rejection::TooMany)?;
        let turn = async {
            let turn = lane.turn.acquire().await.ok()?;
            // The request before may have been of the same user.
            if set.knows(credentials) {
                return Some((turn, None));
            }
            let thread = Arc::clone(&self.threads).acquire_owned().await.ok()?;
            Some((turn, Some(thread)))
        };
        let turn = tokio::time::timeout(self.patience, turn).await;
        let (_turn, thread) = turn.ok().flatten().ok_or(Rejection::Overloaded)?;
        match thread {
            None => Ok(true),
            Some(thread) => verify(set, credentials, thread).await,
        }
    }
}

/// Verifies credentials on a thread for blocking work. The permit is held as long as the thread works,
/// even if the request is dropped.
async fn verify(
    set: &Arc<AuthSet>,
    credentials: &Credentials,
    permit: OwnedSemaphorePermit,
) -> Result<bool, Rejection> {
    let (set, credentials) = (Arc::clone(set), credentials.clone());
    let verified = tokio::task::spawn_blocking(move || {
        let is_right = set.verify(&credentials);
        drop(permit);
        is_right
    });
    // A check that fails refuses the client.
    Ok(verified.await.unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::Pin;
    use std::task::Poll;

    use super::*;
    use crate::config::model;

    fn set() -> Arc<AuthSet> {
        let hash = "{PLAIN}secret".parse().unwrap();
        Arc::new(AuthSet::new(&model::Auth {
            name: "staff".to_owned(),
            realm: "Staff".to_owned(),
            users: vec![("joe".to_owned(), hash)],
            missing: None,
        }))
    }

    fn credentials(password: &str) -> Credentials {
        Credentials {
            user: b"joe".to_vec(),
            password: password.as_bytes().to_vec(),
        }
    }

    #[tokio::test]
    async fn right_credentials_are_checked_once() {
        let (queue, set) = (CheckQueue::new(1, PATIENCE), set());
        let wrong = queue.check(&set, &credentials("wrong"), 1).await;
        assert!(matches!(wrong, Ok(false)));
        assert!(!set.knows(&credentials("wrong")));
        let right = queue.check(&set, &credentials("secret"), 1).await;
        assert!(matches!(right, Ok(true)));
        assert!(set.knows(&credentials("secret")));
        // Without a thread what is known is still accepted.
        let _threads = queue.threads.acquire().await.unwrap();
        let right = queue.check(&set, &credentials("secret"), 1).await;
        assert!(matches!(right, Ok(true)));
    }

    #[tokio::test]
    async fn who_waits_too_long_is_rejected() {
        let (queue, set) = (CheckQueue::new(1, Duration::ZERO), set());
        let _threads = queue.threads.acquire().await.unwrap();
        let found = queue.check(&set, &credentials("secret"), 1).await;
        assert!(matches!(found, Err(Rejection::Overloaded)));
    }

    async fn waits(check: &mut Pin<Box<impl Future<Output = Result<bool, Rejection>>>>) -> bool {
        poll_fn(|cx| Poll::Ready(check.as_mut().poll(cx).is_pending())).await
    }

    #[tokio::test]
    async fn a_client_that_guesses_waits_in_its_own_line() {
        let (queue, set) = (CheckQueue::new(1, PATIENCE), set());
        let busy = queue.threads.acquire().await.unwrap();
        let (guess, right) = (credentials("guess"), credentials("secret"));
        let mut guesses: Vec<_> = (0..LINE)
            .map(|_| Box::pin(queue.check(&set, &guess, 1)))
            .collect();
        for check in &mut guesses {
            assert!(waits(check).await);
        }
        let more = queue.check(&set, &guess, 1).await;
        assert!(matches!(more, Err(Rejection::TooMany)));
        let lane = |client: u128| queue.seed.hash_one(client) as usize % LANES;
        let other = (2..LANES as u128)
            .find(|client| lane(*client) != lane(1))
            .unwrap();
        let mut other = Box::pin(queue.check(&set, &right, other));
        assert!(waits(&mut other).await);
        drop(busy);
        // The other client is next after one guess, not after all.
        assert!(matches!(guesses.remove(0).await, Ok(false)));
        assert!(matches!(other.await, Ok(true)));
    }
}
