//! What is logged.

use std::path::PathBuf;
use std::time::Duration;

/// What is logged of each request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLog {
    /// Where lines go.
    pub target: LogTarget,
    /// What a line looks like.
    pub format: LogFormat,
    /// How long a line may wait in memory.
    pub flush: Duration,
}

/// Where a log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogTarget {
    /// Nowhere.
    Off,
    /// Standard output; standard error for the error log.
    Standard,
    /// A file, appended to.
    File(PathBuf),
}

/// What a line of the access log looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// nginx's `main` with upstream, times and country behind it.
    Main,
    /// One JSON object a line.
    Json,
}

/// What is logged of the server itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorLog {
    /// Where lines go.
    pub target: LogTarget,
    /// The least important level that is logged.
    pub level: log::LevelFilter,
}
