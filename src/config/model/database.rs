//! Geo databases.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::geo::format::Languages;
use crate::geo::{Field, Names, Regions};

/// A database: one layer of the lookup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Database {
    /// The database that is built into the binary.
    Embedded,
    /// A file of any supported format.
    File(PathBuf),
    /// A file of any supported format that is downloaded from a URL and kept up to date.
    Published(Box<Published>),
}

/// A published file and its local copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// URL of the file, `http` or `https`.
    pub url: String,
    /// Path of the local copy.
    pub file: PathBuf,
    /// URL of a text whose first word is the file's SHA-256 in hexadecimal.
    pub checksum_url: Option<String>,
    /// Time between two checks for a new version.
    pub interval: Duration,
    /// Timeout of one download.
    pub timeout: Duration,
    /// Certificates (PEM) of the trusted authorities for the publisher; the system's if `None`.
    pub ca_file: Option<PathBuf>,
}

impl Database {
    /// Returns the path of the file, or `None` for the embedded database.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Database::Embedded => None,
            Database::File(file) => Some(file),
            Database::Published(published) => Some(&published.file),
        }
    }
}

/// Name in errors and reports.
impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Database::Embedded => f.write_str("embedded"),
            Database::File(file) => write!(f, "{}", file.display()),
            Database::Published(published) => write!(f, "{}", published.file.display()),
        }
    }
}

/// Settings for reading databases.
#[derive(Debug, Clone, PartialEq)]
pub struct Geo {
    /// Folder with the user's own code tables.
    pub codes: Option<PathBuf>,
    /// Spelling of place names: canonical or the database's own.
    pub names: Names,
    /// Country code of Hong Kong, Macau and Taiwan.
    pub regions: Regions,
    /// Languages of names, in order of preference, for databases that have several.
    pub languages: Languages,
    /// True if changed files are reloaded automatically.
    pub watch: bool,
    /// Fraction of its ranges or addresses, 0 to 1, that a database may lose in a reload.
    pub max_shrinkage: f64,
    /// Checks that every new version of the databases must pass.
    pub probes: Vec<Probe>,
}

/// A check: an address and its expected location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The address.
    pub ip: IpAddr,
    /// Expected values of fields of the address's location.
    pub expected: Vec<(Field, String)>,
}
