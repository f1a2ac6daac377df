//! `.dat`, the older format of 17mon / IPIP: 256 index values, one for each first octet, and
//! entries of 8 bytes with u8 text lengths. `ends` has the structure, `rows` the text.

use super::FormatError;
use super::ends::Layout;
use crate::geo::table::Table;

pub(super) const LAYOUT: Layout = Layout {
    format: "dat",
    index_bits: 8,
    length_bytes: 1,
};

/// Returns `true` if the header is plausible; [`read`] checks the rest.
pub(super) fn looks_like(bytes: &[u8]) -> bool {
    LAYOUT.looks_like(bytes)
}

/// Reads a whole file.
///
/// # Errors
/// If an offset or an index points outside the file or disagrees with the entries, if entries are
/// not in order, or if a text has too many fields.
pub fn read(bytes: &[u8]) -> Result<Table, FormatError> {
    LAYOUT.read(bytes)
}

/// Writes a file of this format, so that tests need no third-party data.
///
/// `entries` are inclusive ends with their tab-separated text, in order.
#[doc(hidden)]
#[must_use]
pub fn write(entries: &[(u32, Vec<u8>)]) -> Vec<u8> {
    LAYOUT.write(entries)
}
