//! From the configuration's words on databases to the database, at the start and whenever there is
//! a newer one.

mod acceptance;
mod fetch;
mod reload;

use crate::config::model::{Database as Source, Geo};
use crate::geo::codes::CodesError;
use crate::geo::format::{self, Languages, ReadError};
use crate::geo::{Codes, Database, EMBEDDED, Table, layers};
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

/// As [`load_database`], but what is published and not here yet is left out, and with it the probes,
/// which may be about it. Returns where that comes from.
///
/// # Errors
/// As [`load_database`].
pub fn check_databases<'s>(
    databases: &'s [Source],
    geo: &Geo,
) -> Result<Vec<&'s str>, DatabaseError> {
    let (mut here, mut left_out) = (Vec::new(), Vec::new());
    for source in databases {
        match source {
            Source::Published(published) if !published.file.exists() => {
                left_out.push(published.url.as_str());
            }
            _ => here.push(source.clone()),
        }
    }
    if left_out.is_empty() {
        load_database(&here, geo)?;
    } else if !here.is_empty() {
        let probes = Vec::new();
        load_database(
            &here,
            &Geo {
                probes,
                ..geo.clone()
            },
        )?;
    }
    Ok(left_out)
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
    let database = load_database(&sources, geo)?;
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
    let tables = tables.collect::<Result<Vec<_>, _>>()?;
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
