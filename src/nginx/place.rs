//! Positions in files, for findings and errors.

use std::fmt;
use std::sync::Arc;

/// Line and column in a file, both counted from 1; a column is a character.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) line: u32,
    pub(super) column: u32,
}

/// File, line and column.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Name of the file, as it was given or found.
    pub file: Arc<str>,
    /// Line, counted from 1.
    pub line: u32,
    /// Column in characters, counted from 1.
    pub column: u32,
}

impl Place {
    pub(super) fn new(file: &Arc<str>, position: Position) -> Self {
        Place {
            file: Arc::clone(file),
            line: position.line,
            column: position.column,
        }
    }

    /// Returns the position of a file as a whole: its first character.
    pub(super) fn whole(file: &str) -> Self {
        let position = Position { line: 1, column: 1 };
        Place::new(&Arc::from(file), position)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}
