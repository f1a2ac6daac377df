//! What the operator asks for: a TOML file in, types that cannot be invalid out.
//!
//! [`document`] knows where everything in the file stands and collects every error before anyone
//! gives up; [`model`] is what the rest of the program sees; `sections` leads from one to the
//! other.

pub mod document;
pub mod model;
mod sections;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::path::Path;

pub use document::Problem;
pub use model::Config;

/// The configuration that runs when no file is given.
pub const BUILT_IN: &str = include_str!("../../conf/geogate.toml");

/// What the command line says, which goes above the file.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// Replaces `server.listen`.
    pub listen: Vec<SocketAddr>,
    /// Replaces all upstreams by one of these peers, `host:port`.
    pub upstream: Vec<String>,
    /// Replaces all databases, highest first.
    pub databases: Vec<model::Database>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{file}: {error}")]
    Io {
        /// The file.
        file: String,
        /// What the system says.
        #[source]
        error: std::io::Error,
    },
    /// The content is wrong; all that is wrong.
    #[error("{}", list(file, problems))]
    Wrong {
        /// The file, or what stands for it.
        file: String,
        /// In the order of their places; at least one.
        problems: Vec<Problem>,
    },
}

fn list(file: &str, problems: &[Problem]) -> String {
    let lines = problems.iter().map(|problem| problem.in_file(file));
    lines.collect::<Vec<_>>().join("\n")
}

/// The text of a configuration.
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

    /// The name that stands before problems.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads the text as far as it can be read, with everything that is wrong in it. What is wrong is
    /// left out of the configuration or has its default in it. There is no configuration if the syntax is
    /// wrong.
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

    /// A problem with the value of a key such as `upstream[2].peers[0]`.
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
/// If the file cannot be read, or with everything that is wrong in it.
pub fn load(file: Option<&Path>, overrides: &Overrides) -> Result<Config, ConfigError> {
    whole(&Source::read(file)?, overrides)
}

/// Reads a configuration from its text; `file` is its name in errors.
///
/// # Errors
/// With everything that is wrong in it.
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
