//! From the configuration's words on the database to the database.

use std::path::Path;

use crate::config::model;
use crate::geo::codes::CodesError;
use crate::geo::format::{self, Languages, ReadError};
use crate::geo::{Codes, Database, EMBEDDED, Table};
use crate::tree::BuildError;

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
    #[error("database: {0}")]
    Build(#[from] BuildError),
    /// The file is well formed and has nothing in it.
    #[error("database {0}: not one range")]
    Empty(String),
}

/// Reads and arranges the database that the configuration asks for.
///
/// # Errors
/// If a file cannot be read, is damaged, or has no range.
pub fn load_database(config: &model::Database) -> Result<Database, DatabaseError> {
    let table = read_table(config.file.as_deref())?;
    let codes = match &config.codes {
        Some(folder) => Codes::from_folder(folder)?,
        None => Codes::built_in(),
    };
    Ok(Database::build(table, &codes, config.names)?)
}

/// Reads a source, the embedded one if there is no file.
///
/// # Errors
/// If the file cannot be read, is damaged, or has no range.
///
/// # Panics
/// Never: a test reads the embedded database.
pub fn read_table(file: Option<&Path>) -> Result<Table, DatabaseError> {
    let Some(file) = file else {
        return Ok(
            format::read(EMBEDDED, &Languages::default()).expect("the embedded database is whole")
        );
    };
    let table = format::read_file(file, &Languages::default())?;
    if table.v4.is_empty() && table.v6.is_empty() {
        return Err(DatabaseError::Empty(file.display().to_string()));
    }
    Ok(table)
}
