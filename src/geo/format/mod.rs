//! Readers of database files, one format a file.
//!
//! A reader takes the whole file as bytes and returns a [`Table`] or an error with the offset. It
//! does not trust the file: every index, length and offset is checked before use. So a file that is
//! cut, damaged or hostile gives an error, and never a panic or a wrong place.

pub mod compressed;
pub mod csv;
pub mod dat;
pub mod datx;
mod ends;
pub mod ipdb;
pub mod mmdb;
pub mod pack;
mod reader;
mod rows;
mod texts;
pub mod xdb;

use std::path::Path;

use super::table::Table;

/// Reason for which bytes are not a database.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FormatError {
    /// The bytes at `offset` break the format's rules.
    #[error("{format}: offset {offset}: {reason}")]
    Corrupt {
        /// Format that was being read.
        format: &'static str,
        /// Offset from the start of the file, in bytes.
        offset: usize,
        /// Description of the error.
        reason: String,
    },
    /// A line of a text format breaks its rules.
    #[error("{format}: line {line}: {reason}")]
    Line {
        /// Format that was being read.
        format: &'static str,
        /// Line number, counted from 1.
        line: u64,
        /// Description of the error.
        reason: String,
    },
    /// The bytes have none of the supported formats.
    #[error(
        "not a database that geogate knows (it reads pack, dat, datx, ipdb, mmdb, xdb and csv, in gzip or zstd or not)"
    )]
    Unknown,
}

/// Error of reading a database file.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be opened or read.
    #[error("{path}: {error}")]
    Io {
        /// Path of the file.
        path: String,
        /// Error of the operating system.
        #[source]
        error: std::io::Error,
    },
    /// The file's content is not a database.
    #[error("{path}: {error}")]
    Format {
        /// Path of the file.
        path: String,
        /// Error of the content.
        #[source]
        error: FormatError,
    },
}

/// Preferred languages of names, best first, for a source that has several.
///
/// The tags are those of the sources, compared without regard to case: `zh-CN`, `en`. A source's
/// own short form (`CN` in `.ipdb`) matches a tag whose language or region it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Languages(Vec<String>);

impl Languages {
    /// Creates the list from tags, best first.
    #[must_use]
    pub fn new(tags: Vec<String>) -> Self {
        Languages(tags)
    }

    /// Returns the tags, best first.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl Default for Languages {
    /// Returns Chinese as used in mainland China, then English.
    fn default() -> Self {
        Languages(vec!["zh-CN".to_owned(), "en".to_owned()])
    }
}

/// Reads a database file of any supported format. The format is detected by the content and not by
/// the name.
///
/// # Errors
/// If the file cannot be read, has an unknown format, or is damaged.
pub fn read_file(path: &Path, languages: &Languages) -> Result<Table, ReadError> {
    let name = || path.display().to_string();
    let bytes = std::fs::read(path).map_err(|error| ReadError::Io {
        path: name(),
        error,
    })?;
    read(&bytes, languages).map_err(|error| ReadError::Format {
        path: name(),
        error,
    })
}

/// Reads a database of any supported format from memory, with gzip or zstd compression or without.
///
/// # Errors
/// If the bytes have an unknown format, or are damaged.
pub fn read(bytes: &[u8], languages: &Languages) -> Result<Table, FormatError> {
    match compressed::unpack(bytes)? {
        Some(unpacked) => read_plain(&unpacked, languages),
        None => read_plain(bytes, languages),
    }
}

/// Detects the format and reads it. The most specific checks come first: a magic number, then JSON
/// or a line of text at the start, then headers that must agree with the file's size. No file
/// passes two checks, except those of `.dat` and `.datx`: one header may be valid for both, and
/// then the index decides.
fn read_plain(bytes: &[u8], languages: &Languages) -> Result<Table, FormatError> {
    if pack::looks_like(bytes) {
        pack::read(bytes)
    } else if ipdb::looks_like(bytes) {
        ipdb::read(bytes, languages)
    } else if csv::looks_like(bytes) {
        csv::read(bytes)
    } else if mmdb::looks_like(bytes) {
        mmdb::read(bytes, languages)
    } else if xdb::looks_like(bytes) {
        xdb::read(bytes)
    } else {
        match (datx::looks_like(bytes), dat::looks_like(bytes)) {
            (true, true) if datx::has_index(bytes) => datx::read(bytes),
            (true, false) => datx::read(bytes),
            (_, true) => dat::read(bytes),
            (false, false) => Err(FormatError::Unknown),
        }
    }
}

/// Returns the date of a time in seconds since 1970; empty for 0, which stands for an unknown time.
fn unix_date(seconds: u64) -> String {
    let moment = i64::try_from(seconds)
        .ok()
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    match moment {
        Some(moment) if seconds != 0 => moment.strftime("%Y-%m-%d").to_string(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], expected: &str) {
        let table = read(bytes, &Languages::default()).unwrap();
        assert_eq!(table.provenance.format, expected);
        for compress in [compressed::gzip, compressed::zstd] {
            let table = read(&compress(bytes), &Languages::default()).unwrap();
            assert_eq!(table.provenance.format, expected);
        }
    }

    /// Returns `count` entries, the first with a text of `text` bytes.
    fn entries(count: u32, text: usize) -> Vec<(u32, Vec<u8>)> {
        let text = |n| if n == 0 { vec![b'x'; text] } else { vec![b'y'] };
        (0..count).map(|n| (n << 8 | 0xff, text(n))).collect()
    }

    #[test]
    fn dat_and_datx_with_one_header_are_told_apart() {
        // 65,289 entries of 8 bytes end at an offset where 9-byte entries of the other format could
        // end.
        let dat = dat::write(&entries(65_289, 200));
        assert!(dat::looks_like(&dat) && datx::looks_like(&dat));
        check(&dat, "dat");
        // After 8 entries of 9 bytes there is enough space for the other format's index.
        let mut long = entries(8, 0);
        for (entry, (_, text)) in (0..).zip(&mut long) {
            *text = vec![b'a' + entry; 60_000];
        }
        let datx = datx::write(&long);
        assert!(dat::looks_like(&datx) && datx::looks_like(&datx));
        check(&datx, "datx");
    }

    #[test]
    fn what_is_no_database_is_unknown() {
        for bytes in [
            &b""[..],
            b"\0",
            b"hello",
            b"PK\x03\x04",
            &[0; 4096],
            &[0xff; 4096],
        ] {
            let error = read(bytes, &Languages::default()).unwrap_err();
            assert_eq!(error, FormatError::Unknown);
        }
    }
}
