//! Checked reads at offsets: the binary formats read a file's bytes only by these.

use super::FormatError;

/// Bytes of a file, with the name of the format for errors.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    format: &'static str,
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(format: &'static str, bytes: &'a [u8]) -> Self {
        Reader { format, bytes }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn corrupt(&self, offset: usize, reason: impl Into<String>) -> FormatError {
        FormatError::Corrupt {
            format: self.format,
            offset,
            reason: reason.into(),
        }
    }

    pub(super) fn slice(&self, offset: usize, length: usize) -> Result<&'a [u8], FormatError> {
        offset
            .checked_add(length)
            .and_then(|end| self.bytes.get(offset..end))
            .ok_or_else(|| {
                let size = self.bytes.len();
                self.corrupt(
                    offset,
                    format!("{length} bytes expected, but the file ends at {size}"),
                )
            })
    }

    fn array<const N: usize>(&self, offset: usize) -> Result<[u8; N], FormatError> {
        let mut array = [0; N];
        array.copy_from_slice(self.slice(offset, N)?);
        Ok(array)
    }

    pub(super) fn u16_be(&self, offset: usize) -> Result<u16, FormatError> {
        Ok(u16::from_be_bytes(self.array(offset)?))
    }

    pub(super) fn u16_le(&self, offset: usize) -> Result<u16, FormatError> {
        Ok(u16::from_le_bytes(self.array(offset)?))
    }

    pub(super) fn u24_le(&self, offset: usize) -> Result<u32, FormatError> {
        let [a, b, c] = self.array(offset)?;
        Ok(u32::from_le_bytes([a, b, c, 0]))
    }

    pub(super) fn u32_le(&self, offset: usize) -> Result<u32, FormatError> {
        Ok(u32::from_le_bytes(self.array(offset)?))
    }

    pub(super) fn u32_be(&self, offset: usize) -> Result<u32, FormatError> {
        Ok(u32::from_be_bytes(self.array(offset)?))
    }

    pub(super) fn u128_be(&self, offset: usize) -> Result<u128, FormatError> {
        Ok(u128::from_be_bytes(self.array(offset)?))
    }

    pub(super) fn u8(&self, offset: usize) -> Result<u8, FormatError> {
        let [byte] = self.array(offset)?;
        Ok(byte)
    }
}
