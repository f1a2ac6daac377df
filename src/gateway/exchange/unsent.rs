//! Bytes that wait to be sent, in memory that goes from request to request.

use bytes::Buf;

use super::pool;

/// Bytes of which the first were sent.
#[derive(Debug)]
pub struct Unsent {
    bytes: Vec<u8>,
    sent: usize,
}

impl Unsent {
    /// No bytes yet.
    pub fn new() -> Self {
        Unsent::of(pool::buffer())
    }

    /// These bytes.
    pub fn of(bytes: Vec<u8>) -> Self {
        Unsent { bytes, sent: 0 }
    }

    /// Returns `true` if all was sent.
    pub fn is_empty(&self) -> bool {
        !self.has_remaining()
    }

    /// All bytes, those that were sent too, to add more.
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Drops all bytes.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.sent = 0;
    }
}

impl Buf for Unsent {
    fn remaining(&self) -> usize {
        self.bytes.len() - self.sent
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    fn advance(&mut self, length: usize) {
        self.sent += length;
        if self.sent == self.bytes.len() {
            self.clear();
        }
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        pool::keep_buffer(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_gone() {
        let mut unsent = Unsent::new();
        assert!(unsent.is_empty());
        unsent.bytes().extend_from_slice(b"abc");
        unsent.advance(1);
        assert_eq!((unsent.chunk(), unsent.remaining()), (&b"bc"[..], 2));
        unsent.bytes().extend_from_slice(b"d");
        unsent.advance(3);
        assert!(unsent.is_empty() && unsent.bytes().is_empty());
    }
}
