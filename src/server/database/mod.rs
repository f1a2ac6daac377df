//! Loading of the configured databases, at the start and on every change.

mod acceptance;
mod fetch;
mod publisher_tls;
mod reload;
mod spool;
mod versions;

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
pub use spool::Spool;
use versions::Versions;

/// Error of loading a database.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The file cannot be read.
    #[error("database {0}")]
    Read(#[from] ReadError),
    /// The operator's code tables cannot be used.
    #[error("code tables: {0}")]
    Codes(#[from] CodesError),
    /// The ranges cannot be arranged for lookup.
    #[error("database {database}: {error}")]
    Build {
        /// Name of the database; names of all of them if they cannot be arranged together.
        database: String,
        /// Error of the arrangement.
        #[source]
        error: BuildError,
    },
    /// The file is well formed and has no ranges.
    #[error("database {0}: not one range")]
    Empty(String),
    /// The database failed its acceptance checks.
    #[error("database: {0}")]
    Refused(#[from] Refusal),
    /// A reader panicked on unexpected content.
    #[error("database: reading it failed by a panic; the log has more")]
    Panic,
    /// A published file cannot be downloaded.
    #[error("database {0}")]
    Fetch(#[from] FetchError),
}

impl DatabaseError {
    /// Returns `true` if `downloads` were rejected for their content, so that the same content would
    /// be rejected again. Other errors may be over at the next attempt: a file that cannot be read
    /// now, or another database that is being replaced.
    fn is_about(&self, downloads: &[(usize, Download)]) -> bool {
        let mut paths = downloads.iter().map(|(_, download)| download.path());
        let mut has = |name: &str| paths.any(|path| path.display().to_string() == name);
        match self {
            DatabaseError::Read(ReadError::Format { path, .. }) => has(path),
            DatabaseError::Empty(file) => has(file),
            DatabaseError::Build { database, .. } => database.split(", ").any(has),
            DatabaseError::Refused(_) | DatabaseError::Panic => true,
            DatabaseError::Read(ReadError::Io { .. })
            | DatabaseError::Codes(_)
            | DatabaseError::Fetch(_) => false,
        }
    }

    /// Replaces the path of a download by the file that it is to replace: the operator does not
    /// know its temporary path.
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

/// Reads the configured databases and arranges them for lookup, the one of highest priority first.
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

/// Downloads the published files that are not here yet, then loads as [`load_database`] does.
///
/// # Errors
/// As [`load_database`], or if a file cannot be downloaded.
pub fn fetch_and_load(databases: &[Source], geo: &Geo) -> Result<Database, DatabaseError> {
    let mut downloads = Vec::new();
    for (number, source) in databases.iter().enumerate() {
        if let Source::Published(published) = source
            && !published.file.exists()
        {
            log::info!("fetching {}", published.url);
            let fetcher = Fetcher::new(published, Versions::default())?;
            if let Some(download) = fetcher.fetch()? {
                downloads.push((number, download));
            }
        }
    }
    let database = load_downloaded(databases, geo, &downloads, |_| Ok(()));
    settle(downloads, database)
}

/// Results of [`check`].
pub struct Checked<'s> {
    /// Problems, each with the key that it belongs to.
    pub problems: Vec<(String, DatabaseError)>,
    /// URLs of the published files that are not here yet.
    pub left_out: Vec<&'s str>,
}

/// Reads each database by itself, and all of them together if each is valid. Published files that
/// are not here yet are skipped. In that case the probes are skipped too, because they may depend
/// on these files.
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

/// Loads the databases with each download instead of the file of the source with its number, and
/// checks the result with `accept`. The downloads have to be [settled](settle) then.
fn load_downloaded(
    databases: &[Source],
    geo: &Geo,
    downloads: &[(usize, Download)],
    accept: impl FnOnce(&Database) -> Result<(), Refusal>,
) -> Result<Database, DatabaseError> {
    let mut sources = databases.to_vec();
    for (number, download) in downloads {
        sources[*number] = Source::File(download.path().to_owned());
    }
    let database = load_database(&sources, geo)?;
    accept(&database)?;
    Ok(database)
}

/// Keeps the downloads that a database was loaded with. On an error, rejects them if their content
/// is the cause, and otherwise drops them, so that they are downloaded again.
fn settle(
    downloads: Vec<(usize, Download)>,
    loaded: Result<Database, DatabaseError>,
) -> Result<Database, DatabaseError> {
    let error = match loaded {
        Ok(database) => {
            for (_, download) in downloads {
                download.keep()?;
            }
            return Ok(database);
        }
        Err(error) => error,
    };
    let is_about_them = error.is_about(&downloads);
    let error = error.naming_targets(&downloads);
    if is_about_them {
        for (_, download) in downloads {
            download.reject();
        }
    }
    Err(error)
}

/// Returns the configured code tables.
///
/// # Errors
/// If a table of the operator's folder cannot be used.
pub fn load_codes(geo: &Geo) -> Result<Codes, CodesError> {
    let codes = match &geo.codes {
        Some(folder) => Codes::from_folder(folder)?,
        None => Codes::built_in(),
    };
    Ok(codes.answering(geo.regions))
}

/// Reads databases and merges them into one table, the one of highest priority first.
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

/// Merges tables; `databases` name them in an error.
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
    // The file's bytes are no longer needed, and building the database from the table needs memory.
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::fetch::tests::{PLACES, Publisher, ok};
    use super::*;
    use crate::config::{Overrides, parse};

    /// A published database and another one in a file.
    struct Two {
        publisher: Publisher,
        other: PathBuf,
        sources: Vec<Source>,
        versions: Versions,
        fetcher: Fetcher,
    }

    impl Two {
        /// Publishes `text` twice.
        fn publish(text: &str) -> Two {
            let response = ok("ETag: \"new\"\r\n", text);
            let publisher = Publisher::new(&[response.clone(), response]);
            let other = publisher.file().with_file_name("other.csv");
            std::fs::write(&other, PLACES).unwrap();
            let published = publisher.published();
            let versions = Versions::default();
            Two {
                fetcher: Fetcher::new(&published, versions.clone()).unwrap(),
                sources: vec![
                    Source::Published(Box::new(published)),
                    Source::File(other.clone()),
                ],
                other,
                versions,
                publisher,
            }
        }

        fn load(&self, geo: &Geo) -> Result<Database, DatabaseError> {
            let downloads = vec![(0, self.fetcher.fetch().unwrap().unwrap())];
            let accept = |_: &Database| Ok(());
            let loaded = load_downloaded(&self.sources, geo, &downloads, accept);
            settle(downloads, loaded)
        }

        /// Version that the next check names.
        fn next_asks_for(&self) -> Option<String> {
            drop(self.fetcher.fetch().unwrap());
            self.publisher.asked().pop().unwrap()
        }
    }

    fn geo(text: &str) -> Geo {
        parse(text, "file", &Overrides::default()).unwrap().geo
    }

    #[test]
    fn a_download_that_fails_for_another_file_is_downloaded_again() {
        for (content, expected) in [
            (Some("start,end,coun"), "other.csv"),
            (Some("start,end,country\n"), "other.csv: not one range"),
            (None, "other.csv"),
        ] {
            let two = Two::publish(PLACES);
            match content {
                Some(text) => std::fs::write(&two.other, text).unwrap(),
                None => std::fs::remove_file(&two.other).unwrap(),
            }
            let error = two.load(&geo("")).err().unwrap().to_string();
            assert!(error.contains(expected), "{error}");
            std::fs::write(&two.other, PLACES).unwrap();
            two.load(&geo("")).unwrap();
            assert_eq!(two.publisher.asked(), [None, None]);
            assert_eq!(
                std::fs::read_to_string(two.publisher.file()).unwrap(),
                PLACES
            );
        }
    }

    #[test]
    fn a_download_that_is_rejected_for_its_content_is_not_downloaded_again() {
        for text in [
            "nonsense",
            "start,end,country\n",
            "start,end,country\n9.9.9.9,1.1.1.1,中国\n",
        ] {
            let two = Two::publish(text);
            let error = two.load(&geo("")).err().unwrap().to_string();
            assert!(error.contains("places.csv, as it was fetched"), "{error}");
            assert_eq!(two.next_asks_for().as_deref(), Some("new"), "{error}");
            assert!(!two.publisher.file().exists());
        }
    }

    #[test]
    fn a_download_that_fails_a_probe_is_downloaded_again_after_another_change() {
        let probe = geo("[[geo.probe]]\nip = '1.0.0.1'\ncountry_code = 'KR'\n");
        for retry in [false, true] {
            let two = Two::publish(PLACES);
            let error = two.load(&probe).err().unwrap();
            assert!(matches!(error, DatabaseError::Refused(_)), "{error}");
            if retry {
                two.versions.retry_rejected();
            }
            let expected = (!retry).then_some("new");
            assert_eq!(two.next_asks_for().as_deref(), expected);
        }
    }
}
