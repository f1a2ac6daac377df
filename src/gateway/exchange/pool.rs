//! Memory that goes from request to request on a thread: heads as they are stored, and buffers.

use std::cell::RefCell;

use crate::proto::h1::stored_head::StoredHead;

/// Number of heads and of buffers that a thread keeps: at most 4 MiB for the requests of a thousand
/// clients, which come and end in turns.
const MAX_FREE: usize = 1024;

/// Capacity of a buffer that is kept, in bytes.
const MAX_CAPACITY: usize = 16 << 10;

#[derive(Default)]
struct Pool {
    // A request has its head in a box, which is what is kept.
    #[allow(clippy::vec_box)]
    heads: Vec<Box<StoredHead>>,
    buffers: Vec<Vec<u8>>,
}

thread_local! {
    static POOL: RefCell<Pool> = RefCell::default();
}

/// Memory for a head, whatever it held before.
pub fn head() -> Box<StoredHead> {
    let free = POOL.with_borrow_mut(|pool| pool.heads.pop());
    free.unwrap_or_default()
}

/// Keeps the memory of a head.
pub fn keep_head(head: Box<StoredHead>) {
    POOL.with_borrow_mut(|pool| {
        if pool.heads.len() < MAX_FREE && head.length() <= MAX_CAPACITY {
            pool.heads.push(head);
        }
    });
}

/// An empty buffer.
pub fn buffer() -> Vec<u8> {
    let free = POOL.with_borrow_mut(|pool| pool.buffers.pop());
    free.unwrap_or_else(|| Vec::with_capacity(1024))
}

/// Keeps the memory of a buffer.
pub fn keep_buffer(mut buffer: Vec<u8>) {
    buffer.clear();
    if (1..=MAX_CAPACITY).contains(&buffer.capacity()) {
        // At the end of its thread there is nothing to keep it in.
        let _ = POOL.try_with(|pool| {
            if let Ok(mut pool) = pool.try_borrow_mut()
                && pool.buffers.len() < MAX_FREE
            {
                pool.buffers.push(buffer);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_empty() {
        let mut used = buffer();
        used.extend_from_slice(b"secret");
        let memory = used.as_ptr();
        keep_buffer(used);
        let again = buffer();
        assert!(again.is_empty());
        assert_eq!(again.as_ptr(), memory);
    }

    #[test]
    fn large_memory_is_not_kept() {
        keep_buffer(Vec::with_capacity(MAX_CAPACITY + 1));
        keep_buffer(Vec::new());
        assert!((1..=MAX_CAPACITY).contains(&buffer().capacity()));
    }
}
