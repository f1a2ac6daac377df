//! Problems in the configuration, each with its place.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use super::usage::Usage;

/// Shortest secret that is looked for in messages. Shorter ones would match by chance.
const SHORTEST_SECRET: usize = 4;

/// Line of a file of the configuration. Places are ordered as the files are read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Position of the file in the order of reading.
    pub(super) number: usize,
    /// Line number from 1; 0 for the whole file.
    pub line: usize,
    /// Path of the file, or the name of a configuration without one.
    pub file: Arc<str>,
}

impl Place {
    /// Returns the whole file that is read first.
    #[must_use]
    pub fn whole(file: &str) -> Self {
        Place {
            number: 0,
            line: 0,
            file: file.into(),
        }
    }
}

/// Writes `file (line 3)`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, " (line {})", self.line)?;
        }
        Ok(())
    }
}

/// A problem in the configuration, with its location.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Place in a file; `None` for a problem with the command line.
    pub place: Option<Place>,
    /// Key path such as `upstream[2].peers[0]`; empty for a syntax error.
    pub key: String,
    /// Description of the problem.
    pub reason: String,
}

/// Writes `file: key: reason (line 3)`, or `--flag: reason`.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{}: ", place.file)?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.reason)?;
        match self.line() {
            0 => Ok(()),
            line => write!(f, " (line {line})"),
        }
    }
}

impl Problem {
    /// Line number from 1; 0 for a problem with the command line or a whole file.
    #[must_use]
    pub fn line(&self) -> usize {
        self.place.as_ref().map_or(0, |place| place.line)
    }
}

/// Collected problems, and the uses of keys.
#[derive(Default)]
pub(in crate::config) struct Problems {
    found: RefCell<Vec<Problem>>,
    /// Keys that were read and as what; for the schema and the dump.
    pub usage: Usage,
}

impl Problems {
    /// Notes a problem with a key.
    pub fn note(&self, place: &Place, key: impl Into<String>, reason: impl Into<String>) {
        self.found.borrow_mut().push(Problem {
            place: Some(place.clone()),
            key: key.into(),
            reason: reason.into(),
        });
    }

    /// Notes a problem with the command line.
    pub fn note_flag(&self, flag: &str, reason: impl Into<String>) {
        self.found.borrow_mut().push(Problem {
            place: None,
            key: flag.to_owned(),
            reason: reason.into(),
        });
    }

    pub fn is_empty(&self) -> bool {
        self.found.borrow().is_empty()
    }

    /// Returns all problems, sorted by place, without duplicates and secrets.
    pub fn into_sorted(self, secrets: &Secrets) -> Vec<Problem> {
        let mut problems = self.found.into_inner();
        for problem in &mut problems {
            problem.reason = secrets.redact(&problem.reason);
        }
        problems.sort();
        problems.dedup();
        problems
    }
}

/// Values that no message may contain: the contents of files that values name.
#[derive(Debug, Default, Clone)]
pub(in crate::config) struct Secrets(Vec<String>);

impl Secrets {
    pub fn add(&mut self, secret: &str) {
        if secret.len() >= SHORTEST_SECRET {
            self.0.push(secret.to_owned());
            // A message may contain the value in quotes, with escapes.
            let quoted = format!("{secret:?}");
            self.0.push(quoted[1..quoted.len() - 1].to_owned());
            // The longest first, so that no rest of one stays.
            self.0.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
            self.0.dedup();
        }
    }

    /// Returns a text with every secret replaced.
    pub fn redact(&self, text: &str) -> String {
        let hide = |text: String, secret: &String| text.replace(secret.as_str(), "[secret]");
        self.0.iter().fold(text.to_owned(), hide)
    }
}
