//! Configuration: reads a TOML file and produces types that are valid by construction.
//!
//! [`document`] is the parsed file, where every value knows its key and line; it collects all
//! errors, so that one run reports everything that is wrong. [`model`] is what the rest of the
//! program uses. `sections` converts the one into the other.

pub mod document;
mod dump;
pub mod model;
mod reference;
mod schema;
mod sections;
mod suggest;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub(crate) use document::escape;
pub use document::{Document, Place, Problem};
pub use model::Config;

/// Configuration that is used when no file is given.
pub const BUILT_IN: &str = include_str!("../../conf/geogate.toml");

/// Settings of the command line, which override those of the file.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// Replaces `server.listen`.
    pub listen: Vec<SocketAddr>,
    /// Replaces all upstreams by one of these peers, `host:port`.
    pub upstream: Vec<String>,
    /// Replaces all databases, highest first.
    pub databases: Vec<model::Database>,
}

/// Reason why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("{file}: {error}")]
    Io {
        /// Path of the file.
        file: String,
        /// Error of the operating system.
        #[source]
        error: std::io::Error,
    },
    /// The content is invalid.
    #[error("{}", list(problems))]
    Wrong {
        /// All problems, by place; at least one.
        problems: Vec<Problem>,
    },
}

fn list(problems: &[Problem]) -> String {
    let lines = problems.iter().map(Problem::to_string);
    lines.collect::<Vec<_>>().join("\n")
}

/// Text of a configuration, with its name.
pub struct Source {
    name: String,
    /// Its file, to which the paths of `include` are relative.
    path: Option<PathBuf>,
    text: Cow<'static, str>,
}

/// A configuration that was read, valid or not.
pub struct Reading {
    /// The files as a tree of keys; `None` if they cannot be read as one.
    pub document: Option<Document>,
    /// The configuration. Invalid elements of lists are left out, and invalid values are replaced by
    /// their defaults. `None` without a document.
    pub config: Option<Config>,
    /// All problems, by place.
    pub problems: Vec<Problem>,
}

impl Source {
    /// Reads the file, or the built-in configuration if there is none.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn read(file: Option<&Path>) -> Result<Self, ConfigError> {
        let Some(path) = file else {
            return Ok(Source {
                name: "built-in configuration".to_owned(),
                path: None,
                text: Cow::Borrowed(BUILT_IN),
            });
        };
        let name = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Source {
                name,
                path: Some(path.to_owned()),
                text: Cow::Owned(text),
            }),
            Err(error) => Err(ConfigError::Io { file: name, error }),
        }
    }

    /// Returns a configuration from text; `name` stands for its file in error messages.
    #[must_use]
    pub fn of_text(text: &str, name: &str) -> Self {
        Source {
            name: name.to_owned(),
            path: None,
            text: Cow::Owned(text.to_owned()),
        }
    }

    /// Name of the configuration in error messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads the text, the files that it includes, and the variables and files that its values come
    /// from.
    #[must_use]
    pub fn parse(&self, overrides: &Overrides) -> Reading {
        let environment = |name: &str| std::env::var_os(name);
        let path = self.path.as_deref();
        match Document::load(&self.text, &self.name, path, &environment) {
            Ok(document) => {
                let (config, problems) = sections::config(&document, overrides);
                Reading {
                    document: Some(document),
                    config: Some(config),
                    problems,
                }
            }
            Err(problems) => Reading {
                document: None,
                config: None,
                problems,
            },
        }
    }
}

impl Reading {
    /// Returns the configuration in force as TOML, without secrets: included files merged, references
    /// replaced, defaults filled in. `None` if there is none.
    #[must_use]
    pub fn dump(&self) -> Option<String> {
        let document = self.document.as_ref()?;
        self.problems.is_empty().then(|| dump::dump(document))
    }
}

/// Returns the JSON Schema of the configuration, for editors.
#[must_use]
pub fn schema() -> String {
    format!("{:#}\n", schema::schema())
}

/// Reads the configuration file, or the built-in one if there is none.
///
/// # Errors
/// If the file cannot be read, or with all problems in it.
pub fn load(file: Option<&Path>, overrides: &Overrides) -> Result<Config, ConfigError> {
    whole(&Source::read(file)?, overrides)
}

/// Reads a configuration from text; `file` is its name in error messages.
///
/// # Errors
/// With all problems in the text.
pub fn parse(text: &str, file: &str, overrides: &Overrides) -> Result<Config, ConfigError> {
    whole(&Source::of_text(text, file), overrides)
}

fn whole(source: &Source, overrides: &Overrides) -> Result<Config, ConfigError> {
    match source.parse(overrides) {
        Reading {
            config: Some(config),
            problems,
            ..
        } if problems.is_empty() => Ok(config),
        Reading { problems, .. } => Err(ConfigError::Wrong { problems }),
    }
}
