//! Notices of which at most one is pending.
//!
//! A file watch may report thousands of changes a second, while the thread that handles them is
//! busy for a second. One notice carries as much information as a thousand, so the queue never
//! holds more than one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Source of notices of one kind.
#[derive(Clone, Default)]
pub struct Notices(Arc<AtomicBool>);

/// A pending notice. Dropping it allows the next one. Drop it before you read the state that it
/// announces: a change after that moment needs another notice.
pub struct Notice(Arc<AtomicBool>);

impl Notices {
    /// Returns a notice, or `None` if one is pending already.
    pub fn next(&self) -> Option<Notice> {
        let is_in_flight = self.0.swap(true, Ordering::AcqRel);
        (!is_in_flight).then(|| Notice(Arc::clone(&self.0)))
    }
}

impl Drop for Notice {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_flood_of_changes_is_one_notice_until_it_is_read() {
        let (sender, queue) = channel();
        let notices = Notices::default();
        let flood = || (0..1000).filter_map(|_| notices.next());
        flood().for_each(|notice| sender.send(notice).unwrap());
        drop(queue.try_recv().expect("one notice"));
        assert!(queue.try_recv().is_err());
        flood().for_each(|notice| sender.send(notice).unwrap());
        assert_eq!(queue.try_iter().count(), 1);
    }
}
