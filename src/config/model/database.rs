//! Where the location of an address comes from.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::geo::format::Languages;
use crate::geo::{Field, Names, Regions};

/// A database: one layer of what is known about addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Database {
    /// The one that is built into the binary.
    Embedded,
    /// A file of any known format.
    File(PathBuf),
    /// A file of any known format that is kept as it is published somewhere.
    Published(Box<Published>),
}

/// A file that somebody publishes, and the copy of it that is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// `http` or `https`.
    pub url: String,
    /// The copy.
    pub file: PathBuf,
    /// Where its SHA-256 is published, in hexadecimal as the first word of a text.
    pub checksum_url: Option<String>,
    /// How long to wait before looking for a new one.
    pub interval: Duration,
    /// How long fetching it may take.
    pub timeout: Duration,
    /// Certificates (PEM) of the authorities that the publisher is trusted by; the system's if
    /// there is none.
    pub ca_file: Option<PathBuf>,
}

impl Database {
    /// The file that is read, unless it is built in.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Database::Embedded => None,
            Database::File(file) => Some(file),
            Database::Published(published) => Some(&published.file),
        }
    }
}

/// The name in errors and reports.
impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Database::Embedded => f.write_str("embedded"),
            Database::File(file) => write!(f, "{}", file.display()),
            Database::Published(published) => write!(f, "{}", published.file.display()),
        }
    }
}

/// How databases are read.
#[derive(Debug, Clone, PartialEq)]
pub struct Geo {
    /// Folder with the user's own code tables.
    pub codes: Option<PathBuf>,
    /// Whether names are made uniform.
    pub names: Names,
    /// The country code of Hong Kong, Macau and Taiwan.
    pub regions: Regions,
    /// The languages of names in databases that have several.
    pub languages: Languages,
    /// Whether files that change are read again.
    pub watch: bool,
    /// Which share of its ranges or addresses a database may lose to its successor, 0 to 1.
    pub max_shrinkage: f64,
    /// What every database must know.
    pub probes: Vec<Probe>,
}

/// An address of which it is known where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The address.
    pub ip: IpAddr,
    /// What its place must say.
    pub expected: Vec<(Field, String)>,
}
