//! Configuration: reads a TOML file and produces types that are valid by construction.
//!
//! [`document`] is the parsed file, where every value knows its key and line; it collects all
//! errors, so that one run reports everything that is wrong. [`model`] is what the rest of the
//! program uses. `sections` converts the one into the other.

pub mod document;
pub mod model;
mod sections;
mod suggest;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::path::Path;

pub use document::Problem;
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
    #[error("{}", list(file, problems))]
    Wrong {
        /// Name of the configuration: the path of its file, if it has one.
        file: String,
        /// All problems, by line; at least one.
        problems: Vec<Problem>,
    },
}

fn list(file: &str, problems: &[Problem]) -> String {
    let lines = problems.iter().map(|problem| problem.in_file(file));
    lines.collect::<Vec<_>>().join("\n")
}

/// Text of a configuration, with its name.
pub struct Source {
    name: String,
    text: Cow<'static, str>,
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
                text: Cow::Borrowed(BUILT_IN),
            });
        };
        let name = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Source {
                name,
                text: Cow::Owned(text),
            }),
            Err(error) => Err(ConfigError::Io { file: name, error }),
        }
    }

    /// Name of the configuration in error messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads the text and returns the configuration with all problems in it. Invalid elements of
    /// lists are left out, and invalid values are replaced by their defaults. There is no
    /// configuration if the TOML syntax is invalid.
    #[must_use]
    pub fn parse(&self, overrides: &Overrides) -> (Option<Config>, Vec<Problem>) {
        match document::Document::parse(&self.text) {
            Ok(document) => {
                let (config, problems) = sections::config(&document, overrides);
                (Some(config), problems)
            }
            Err(problems) => (None, problems),
        }
    }

    /// Returns a problem with the value of a key such as `upstream[2].peers[0]`.
    #[must_use]
    pub fn problem(&self, key: &str, reason: String) -> Problem {
        let document = document::Document::parse(&self.text);
        Problem {
            line: document.map_or(0, |document| document.line_of_key(key)),
            key: key.to_owned(),
            reason,
        }
    }
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
    let source = Source {
        name: file.to_owned(),
        text: Cow::Owned(text.to_owned()),
    };
    whole(&source, overrides)
}

fn whole(source: &Source, overrides: &Overrides) -> Result<Config, ConfigError> {
    match source.parse(overrides) {
        (Some(config), problems) if problems.is_empty() => Ok(config),
        (_, problems) => Err(ConfigError::Wrong {
            file: source.name.clone(),
            problems,
        }),
    }
}
