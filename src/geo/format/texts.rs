//! Records of the texts that a file points to. Each text is read once, and all together are no
//! larger than the file.
//!
//! A pointer takes a few bytes and its text up to 64 KiB. With overlapping texts, a small file
//! could expand to a thousand times its size, so the bytes read are counted. Regular writers place
//! the texts side by side, which stays within the length of the file.

use std::collections::HashMap;

use super::FormatError;
use super::reader::Reader;

/// Records of the texts read so far, by the position of the texts.
pub(super) struct Texts<'a> {
    file: Reader<'a>,
    /// Offset and length -> number of the record.
    numbers: HashMap<(usize, usize), u32>,
    /// Number of bytes that may still be read.
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

    /// Returns the number of the record of the text at `offset`, which `record` creates from its
    /// bytes.
    ///
    /// # Errors
    /// If the text lies outside the file, if the texts overlap, or if `record` fails.
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
