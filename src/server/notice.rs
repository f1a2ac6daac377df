//! Notices of which at most one is under way.
//!
//! What watches files may report thousands of changes a second, while the thread that reads them is
//! busy for a second. One notice says as much as a thousand, so that is all its queue ever holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Source of notices of one kind.
#[derive(Clone, Default)]
pub struct Notices(Arc<AtomicBool>);

/// A notice under way. Dropping it makes room for the next one, so it is to be dropped before what it
/// is about is looked at: what happens from then on is worth another notice.
pub struct Notice(Arc<AtomicBool>);

impl Notices {
    /// A notice, unless there is one under way already.
    pub fn next(&self) -> Option<Notice> {
        let is_under_way = self.0.swap(true, Ordering::AcqRel);
        (!is_under_way).then(|| Notice(Arc::clone(&self.0)))
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
