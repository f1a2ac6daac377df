//! Buffers of bodies on their way from one connection to the other.
//!
//! A piece has room before and behind its content, so that a head, the size of a chunk and the end of a
//! chunk are put around it where it lies, and all of it leaves in one write. Pieces belong to the thread
//! and go from request to request: a connection has one only as long as there is something in it.

use std::cell::RefCell;

use bytes::Buf;

/// Bytes before the content: a response's head and the size of a chunk.
const HEADROOM: usize = 4 << 10;

/// Bytes behind the content: the end of a chunk and the last chunk.
const TAILROOM: usize = 16;

/// Size of a piece. What a client does not take is held in one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Room for 16 KiB of content. An HTTP/2 client may have a hundred streams and take nothing of
    /// any, and a frame carries no more unless the client allows it.
    Small,
    /// 64 KiB.
    Normal,
    /// 256 KiB: fewer and larger writes, for long bodies and clients that keep up.
    Large,
}

impl Size {
    fn bytes(self) -> usize {
        match self {
            Size::Small => HEADROOM + (16 << 10) + TAILROOM,
            Size::Normal => 64 << 10,
            Size::Large => 256 << 10,
        }
    }
}

/// Number of free pieces of each size that a thread keeps.
const MAX_FREE: usize = 16;

/// A buffer with content.
#[derive(Debug)]
pub struct Piece {
    bytes: Box<[u8]>,
    size: Size,
    start: usize,
    end: usize,
}

thread_local! {
    static FREE: RefCell<[Vec<Box<[u8]>>; 3]> =
        const { RefCell::new([Vec::new(), Vec::new(), Vec::new()]) };
}

impl Piece {
    /// An empty piece.
    pub fn new(size: Size) -> Self {
        let free = FREE.with_borrow_mut(|free| free[size as usize].pop());
        Piece {
            bytes: free.unwrap_or_else(|| vec![0; size.bytes()].into_boxed_slice()),
            size,
            start: HEADROOM,
            end: HEADROOM,
        }
    }

    /// A larger piece with the content of this one.
    pub fn enlarged(self) -> Self {
        let mut large = Piece::new(match self.size {
            Size::Small => Size::Normal,
            Size::Normal | Size::Large => Size::Large,
        });
        let length = self.content().len();
        large.room()[..length].copy_from_slice(self.content());
        large.fill(length);
        large
    }

    /// Content.
    pub fn content(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Content, to be changed in place.
    pub fn content_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }

    /// Returns `true` if there is no content.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Room for more content.
    pub fn room(&mut self) -> &mut [u8] {
        let end = self.bytes.len() - TAILROOM;
        &mut self.bytes[self.end..end]
    }

    /// Returns `true` if there is no room for more content.
    pub fn is_full(&self) -> bool {
        self.end >= self.bytes.len() - TAILROOM
    }

    /// Makes the first `length` bytes of the room content.
    pub fn fill(&mut self, length: usize) {
        self.end += length;
    }

    /// Drops all content but the first `length` bytes.
    pub fn truncate(&mut self, length: usize) {
        self.end = self.start + length;
    }

    /// Puts bytes before the content. Returns `false` if there is no room.
    pub fn prepend(&mut self, bytes: &[u8]) -> bool {
        let Some(start) = self.start.checked_sub(bytes.len()) else {
            return false;
        };
        self.bytes[start..self.start].copy_from_slice(bytes);
        self.start = start;
        true
    }

    /// Puts bytes behind the content. Returns `false` if there is no room.
    pub fn append(&mut self, bytes: &[u8]) -> bool {
        let end = self.end + bytes.len();
        if end > self.bytes.len() {
            return false;
        }
        self.bytes[self.end..end].copy_from_slice(bytes);
        self.end = end;
        true
    }

    /// Makes the content one chunk (RFC 9112, 7.1). An empty content stays empty: as a chunk it would
    /// be the last.
    pub fn make_chunk(&mut self) {
        if self.is_empty() {
            return;
        }
        let mut size = [0; 18];
        let size = write_chunk_size(self.content().len(), &mut size);
        let has_room = self.prepend(size) && self.append(b"\r\n");
        debug_assert!(has_room, "room around the content is set aside");
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        self.content()
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.end - self.start
    }

    fn chunk(&self) -> &[u8] {
        self.content()
    }

    fn advance(&mut self, length: usize) {
        self.start += length;
    }
}

/// Writes the size line of a chunk to the end of `line`; the part that it takes.
pub fn write_chunk_size(length: usize, line: &mut [u8; 18]) -> &[u8] {
    line[16..].copy_from_slice(b"\r\n");
    let (mut at, mut left) = (16, length);
    loop {
        at -= 1;
        line[at] = b"0123456789abcdef"[left & 15];
        left >>= 4;
        if left == 0 {
            return &line[at..];
        }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let (bytes, size) = (std::mem::take(&mut self.bytes), self.size);
        // At the end of its thread there is nothing to keep it in.
        let _ = FREE.try_with(|free| {
            let Ok(mut free) = free.try_borrow_mut() else {
                return;
            };
            let free = &mut free[size as usize];
            if free.len() < MAX_FREE {
                free.push(bytes);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(content: &[u8]) -> Piece {
        let mut piece = Piece::new(Size::Normal);
        piece.room()[..content.len()].copy_from_slice(content);
        piece.fill(content.len());
        piece
    }

    #[test]
    fn content_becomes_a_chunk_where_it_lies() {
        for (content, expected) in [
            (&b"x"[..], &b"1\r\nx\r\n"[..]),
            (b"0123456789abcdef", b"10\r\n0123456789abcdef\r\n"),
            (b"", b""),
        ] {
            let mut piece = with(content);
            piece.make_chunk();
            assert_eq!(piece.content(), expected);
        }
    }

    #[test]
    fn a_full_piece_has_room_for_its_chunk_and_the_last_one() {
        for size in [Size::Small, Size::Normal, Size::Large] {
            let mut piece = Piece::new(size);
            let length = piece.room().len();
            piece.fill(length);
            assert!(piece.is_full() && piece.room().is_empty());
            piece.make_chunk();
            assert!(piece.append(b"0\r\n\r\n"));
            assert!(piece.prepend(&[b'x'; 1024]));
            assert!(!piece.prepend(&[b'x'; HEADROOM]));
            assert!(!piece.append(&[b'x'; TAILROOM]));
        }
    }

    #[test]
    fn what_was_sent_is_dropped() {
        let mut piece = with(b"abcdef");
        piece.advance(2);
        piece.truncate(3);
        assert_eq!(piece.content(), b"cde");
        piece.advance(3);
        assert!(piece.is_empty());
        drop(piece);
        // Used again, it has no content of before.
        assert!(Piece::new(Size::Normal).is_empty());
    }

    #[test]
    fn sizes_are_hexadecimal() {
        for length in [0, 1, 9, 10, 15, 16, 255, 256, 65_536, usize::MAX] {
            let mut line = [0; 18];
            let written = write_chunk_size(length, &mut line);
            assert_eq!(written, format!("{length:x}\r\n").as_bytes());
        }
    }
}
