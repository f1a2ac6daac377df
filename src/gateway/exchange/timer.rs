//! The timer of a connection.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::time::Sleep;

/// Timer of a connection, moved only when it has to be: a connection that is busy never touches it.
pub struct Timer<'t>(Pin<&'t mut Sleep>);

impl<'t> Timer<'t> {
    /// A timer that uses `sleep`.
    pub fn new(sleep: Pin<&'t mut Sleep>) -> Self {
        Timer(sleep)
    }

    /// Ready at `deadline`; until then the task is woken in time.
    pub fn poll(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let deadline = tokio::time::Instant::from_std(deadline);
        if deadline < self.0.deadline() {
            self.0.as_mut().reset(deadline);
        }
        while self.0.as_mut().poll(cx).is_ready() {
            if tokio::time::Instant::now() >= deadline {
                return Poll::Ready(());
            }
            self.0.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}
