//! Records of the texts that a file points to: each read once, and all together never more than
//! the file can hold.
//!
//! A pointer takes a few bytes and its text up to 64 KiB. Texts that lie over each other would let
//! a small file ask for a thousand times its size, so what is read is counted: a file whose texts
//! lie side by side, as every writer leaves them, stays within its own length.

use std::collections::HashMap;

use super::FormatError;
use super::reader::Reader;

/// The records of the texts that have been read, by where these lie.
pub(super) struct Texts<'a> {
    file: Reader<'a>,
    /// Offset and length -> number of the record.
    numbers: HashMap<(usize, usize), u32>,
    /// How many more bytes the texts may have.
    left: usize,
}

impl<'a> Texts<'a> {
    pub(super) fn new(file: Reader<'a>) -> Self {
        Texts {
            file,
            numbers: HashMap::new(),
            left: file.len(),
        }
    }

    /// The number of the record whose text lies there, which `record` makes of its bytes.
    ///
    /// # Errors
    /// If the text lies outside the file or over others, or `record` fails.
    pub(super) fn record(
        &mut self,
        offset: usize,
        length: usize,
        record: impl FnOnce(&'a [u8]) -> Result<u32, FormatError>,
    ) -> Result<u32, FormatError> {
        if let Some(&number) = self.numbers.get(&(offset, length)) {
            return Ok(number);
        }
        let text = self.file.slice(offset, length)?;
        let Some(left) = self.left.checked_sub(length) else {
            return Err(self.file.corrupt(offset, "texts lie over each other"));
        };
        self.left = left;
        let number = record(text)?;
        self.numbers.insert((offset, length), number);
        Ok(number)
    }
}
