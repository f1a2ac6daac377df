//! What the operator asks for: a TOML file in, types that cannot be invalid out.
//!
//! [`document`] knows where everything in the file stands and collects every error before anyone
//! gives up; [`model`] is what the rest of the program sees; `sections` leads from one to the
//! other.

pub mod document;
pub mod model;
mod sections;

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
    let lines = problems.iter().map(|problem| format!("{file}: {problem}"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Reads the configuration file, or the built-in one if there is none.
///
/// # Errors
/// If the file cannot be read, or with everything that is wrong in it.
pub fn load(file: Option<&Path>, overrides: &Overrides) -> Result<Config, ConfigError> {
    let Some(path) = file else {
        return parse(BUILT_IN, "built-in configuration", overrides);
    };
    let file = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&text, &file, overrides),
        Err(error) => Err(ConfigError::Io { file, error }),
    }
}

/// Reads a configuration from its text; `file` is its name in errors.
///
/// # Errors
/// With everything that is wrong in it.
pub fn parse(text: &str, file: &str, overrides: &Overrides) -> Result<Config, ConfigError> {
    let wrong = |problems| ConfigError::Wrong {
        file: file.to_owned(),
        problems,
    };
    let document = document::Document::parse(text).map_err(wrong)?;
    sections::config(&document, overrides).map_err(wrong)
}
