//! The files that users have, one format a file.
//!
//! A reader takes the whole file as bytes and gives a [`Table`] or an error that names the offset.
//! It trusts nothing: every index, length and offset of the file is checked before it is used, so
//! a file that is cut, damaged or hostile is an error, never a panic and never a wrong place.

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

/// Why bytes are not a database.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FormatError {
    /// The bytes at `offset` break the format's rules.
    #[error("{format}: offset {offset}: {reason}")]
    Corrupt {
        /// Format that was being read.
        format: &'static str,
        /// Bytes from the start of the file.
        offset: usize,
        /// What is wrong there.
        reason: String,
    },
    /// A line of a text format breaks its rules.
    #[error("{format}: line {line}: {reason}")]
    Line {
        /// Format that was being read.
        format: &'static str,
        /// Counted from 1.
        line: u64,
        /// What is wrong there.
        reason: String,
    },
    /// No reader knows the bytes.
    #[error(
        "not a database that geogate knows (it reads pack, dat, datx, ipdb, mmdb, xdb and csv, in gzip or zstd or not)"
    )]
    Unknown,
}

/// Why a database file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be opened or read.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: String,
        /// What the system says.
        #[source]
        error: std::io::Error,
    },
    /// The file's content is not a database.
    #[error("{path}: {error}")]
    Format {
        /// The file.
        path: String,
        /// What is wrong with it.
        #[source]
        error: FormatError,
    },
}

/// The languages that names are read in from a source that has several, best first.
///
/// Tags as the sources write them, compared without regard to case: `zh-CN`, `en`. A source's own
/// short form (`CN` in `.ipdb`) stands for the tag whose language or region it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Languages(Vec<String>);

impl Languages {
    /// These languages, best first.
    #[must_use]
    pub fn new(tags: Vec<String>) -> Self {
        Languages(tags)
    }

    /// The tags, best first.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl Default for Languages {
    /// Chinese as mainland China writes it, then English.
    fn default() -> Self {
        Languages(vec!["zh-CN".to_owned(), "en".to_owned()])
    }
}

/// Reads a database file of any known format, which is told by its content and not by its name.
///
/// # Errors
/// If the file cannot be read, is of no known format, or is damaged.
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

/// Reads a database of any known format from memory, gzip or zstd around it or not.
///
/// # Errors
/// If the bytes are of no known format, or are damaged.
pub fn read(bytes: &[u8], languages: &Languages) -> Result<Table, FormatError> {
    match compressed::unpack(bytes)? {
        Some(unpacked) => read_plain(&unpacked, languages),
        None => read_plain(bytes, languages),
    }
}

/// What makes a format sure comes first: a magic number, then JSON or a line of text at the start,
/// then headers that must agree with the file's size. No file passes two of these, but for `.dat`
/// and `.datx`: one header may do for both, and then the index tells.
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

/// The day of a moment that is given in seconds after 1970; empty for 0, which is no moment.
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

    /// `count` entries, the first with all of `text` bytes.
    fn entries(count: u32, text: usize) -> Vec<(u32, Vec<u8>)> {
        let text = |n| if n == 0 { vec![b'x'; text] } else { vec![b'y'] };
        (0..count).map(|n| (n << 8 | 0xff, text(n))).collect()
    }

    #[test]
    fn dat_and_datx_with_one_header_are_told_apart() {
        // 65,289 entries of 8 bytes end where 9-byte entries of the other structure could.
        let dat = dat::write(&entries(65_289, 200));
        assert!(dat::looks_like(&dat) && datx::looks_like(&dat));
        check(&dat, "dat");
        // Behind 8 entries of 9 bytes there is room enough for the other one's index.
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
