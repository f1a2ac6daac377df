//! From the configuration's words on databases to the database, at the start and whenever there is
//! a newer one.

mod acceptance;
mod fetch;
mod publisher_tls;
mod reload;
mod spool;

use crate::config::model::{Database as Source, Geo};
use crate::geo::codes::CodesError;
use crate::geo::format::{self, Languages, ReadError};
use crate::geo::{Codes, Database, EMBEDDED, Table, layers};
use crate::server::allocator;
use crate::tree::BuildError;
pub use acceptance::Refusal;
pub use fetch::FetchError;
use fetch::{Download, Fetcher};
pub use reload::{Event, Followed, Tell};

/// Why there is no database.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The file cannot be used.
    #[error("database {0}")]
    Read(#[from] ReadError),
    /// The user's code tables cannot be used.
    #[error("code tables: {0}")]
    Codes(#[from] CodesError),
    /// The ranges cannot be arranged.
    #[error("database {database}: {error}")]
    Build {
        /// The file; all of them if they cannot be arranged together.
        database: String,
        /// What is wrong.
        #[source]
        error: BuildError,
    },
    /// The file is well formed and has nothing in it.
    #[error("database {0}: not one range")]
    Empty(String),
    /// It says something else than what is known.
    #[error("database: {0}")]
    Refused(#[from] Refusal),
    /// A reader met something that it was not written for.
    #[error("database: reading it failed by a panic; the log has more")]
    Panic,
    /// A published file cannot be had.
    #[error("database {0}")]
    Fetch(#[from] FetchError),
}

impl DatabaseError {
    /// Names a download by the file that it is to replace: it has no name of its own.
    fn naming_targets(mut self, downloads: &[(usize, Download)]) -> Self {
        let name = match &mut self {
            DatabaseError::Read(ReadError::Io { path, .. } | ReadError::Format { path, .. }) => {
                path
            }
            DatabaseError::Build { database, .. } => database,
            DatabaseError::Empty(file) => file,
            _ => return self,
        };
        for (_, download) in downloads {
            let target = format!("{}, as it was fetched", download.target().display());
            *name = name.replace(&download.path().display().to_string(), &target);
        }
        self
    }
}

/// Reads and arranges the databases that the configuration asks for, highest first.
///
/// # Errors
/// If a file cannot be read, is damaged, or has no range, or if a probe fails.
pub fn load_database(databases: &[Source], geo: &Geo) -> Result<Database, DatabaseError> {
    let codes = load_codes(geo)?;
    let table = merge_tables(databases, &codes, &geo.languages)?;
    let database = build_database(table, databases, &codes, geo)?;
    acceptance::probe(&database, &geo.probes)?;
    Ok(database)
}

/// As [`load_database`], after fetching the published files that are not here yet.
///
/// # Errors
/// As [`load_database`], or if a file cannot be fetched.
pub fn fetch_and_load(databases: &[Source], geo: &Geo) -> Result<Database, DatabaseError> {
    let mut downloads = Vec::new();
    for (number, source) in databases.iter().enumerate() {
        if let Source::Published(published) = source
            && !published.file.exists()
        {
            log::info!("fetching {}", published.url);
            if let Some(download) = Fetcher::new(published)?.fetch()? {
                downloads.push((number, download));
            }
        }
    }
    load_downloaded(databases, geo, downloads, |_| Ok(()))
}

/// Results of [`check`].
pub struct Checked<'s> {
    /// Problems by the keys that they are about.
    pub problems: Vec<(String, DatabaseError)>,
    /// Addresses of what is published and not here yet.
    pub left_out: Vec<&'s str>,
}

/// Reads each database by itself, and all of them as one if each is right. What is published and not
/// here yet is left out, and with it the probes, which may be about it.
pub fn check<'s>(databases: &'s [Source], geo: &Geo) -> Checked<'s> {
    let mut checked = Checked {
        problems: Vec::new(),
        left_out: Vec::new(),
    };
    let codes = load_codes(geo).map_err(DatabaseError::from);
    let codes = codes.map_err(|error| checked.problems.push(("geo.codes".to_owned(), error)));
    let (mut tables, mut here) = (Vec::new(), Vec::new());
    for (number, source) in databases.iter().enumerate() {
        match source {
            Source::Published(published) if !published.file.exists() => {
                checked.left_out.push(published.url.as_str());
            }
            _ => match read_table(source, &geo.languages) {
                Ok(table) => {
                    tables.push(table);
                    here.push(source.clone());
                }
                Err(error) => checked
                    .problems
                    .push((format!("database[{number}].file"), error)),
            },
        }
    }
    if let Ok(codes) = codes
        && checked.problems.is_empty()
        && !here.is_empty()
    {
        let table = merge(tables, &here, &codes);
        let wrong = match table.and_then(|table| build_database(table, &here, &codes, geo)) {
            Err(error) => Some(("database", error)),
            Ok(database) if checked.left_out.is_empty() => {
                let failed = acceptance::probe(&database, &geo.probes).err();
                failed.map(|refusal| ("geo.probe", refusal.into()))
            }
            Ok(_) => None,
        };
        let wrong = wrong.map(|(key, error)| (key.to_owned(), error));
        checked.problems.extend(wrong);
    }
    checked
}

/// Loads with downloads in the place of the files of the sources with these numbers, and keeps them
/// if the result is accepted.
fn load_downloaded(
    databases: &[Source],
    geo: &Geo,
    downloads: Vec<(usize, Download)>,
    accept: impl FnOnce(&Database) -> Result<(), Refusal>,
) -> Result<Database, DatabaseError> {
    let mut sources = databases.to_vec();
    for (number, download) in &downloads {
        sources[*number] = Source::File(download.path().to_owned());
    }
    let database = load_database(&sources, geo);
    let database = database.map_err(|error| error.naming_targets(&downloads))?;
    accept(&database)?;
    for (_, download) in downloads {
        download.keep()?;
    }
    Ok(database)
}

/// The code tables that the configuration asks for.
///
/// # Errors
/// If a table of the user's own cannot be used.
pub fn load_codes(geo: &Geo) -> Result<Codes, CodesError> {
    let codes = match &geo.codes {
        Some(folder) => Codes::from_folder(folder)?,
        None => Codes::built_in(),
    };
    Ok(codes.answering(geo.regions))
}

/// Reads databases and merges them, highest first, into one table.
///
/// # Errors
/// If a file cannot be read, is damaged, or has no range.
pub fn merge_tables(
    databases: &[Source],
    codes: &Codes,
    languages: &Languages,
) -> Result<Table, DatabaseError> {
    let tables = databases.iter().map(|source| read_table(source, languages));
    merge(tables.collect::<Result<Vec<_>, _>>()?, databases, codes)
}

/// `databases` name the tables in an error.
fn merge(tables: Vec<Table>, databases: &[Source], codes: &Codes) -> Result<Table, DatabaseError> {
    layers::merge(tables, codes).map_err(|error| DatabaseError::Build {
        database: databases[error.layer].to_string(),
        error: error.error,
    })
}

/// Reads one database.
///
/// # Errors
/// If the file cannot be read, is damaged, or has no range.
///
/// # Panics
/// Never: a test reads the embedded database.
pub fn read_table(source: &Source, languages: &Languages) -> Result<Table, DatabaseError> {
    let table = match source {
        Source::Embedded => format::read(EMBEDDED, languages).expect("the embedded one is whole"),
        Source::File(file) => format::read_file(file, languages)?,
        Source::Published(published) => format::read_file(&published.file, languages)?,
    };
    // The file's bytes are no longer needed, and the database is yet to be made of the table.
    allocator::give_back();
    if table.is_empty() {
        return Err(DatabaseError::Empty(source.to_string()));
    }
    Ok(table)
}

/// Arranges a table for lookup; `databases` name it in an error.
///
/// # Errors
/// If a range ends before it starts, or there are more than 2^31 places.
pub fn build_database(
    table: Table,
    databases: &[Source],
    codes: &Codes,
    geo: &Geo,
) -> Result<Database, DatabaseError> {
    Database::build(table, codes, geo.names).map_err(|error| {
        let names: Vec<_> = databases.iter().map(Source::to_string).collect();
        let database = names.join(", ");
        DatabaseError::Build { database, error }
    })
}
