//! What is logged.

use std::path::PathBuf;
use std::time::Duration;

use super::{Template, Variable};

/// What is logged of each request.
#[derive(Debug, Clone, PartialEq)]
pub struct AccessLog {
    /// Where lines go.
    pub target: LogTarget,
    /// What a line looks like.
    pub format: LogFormat,
    /// Which requests have a line; all if there is none.
    pub sampling: Option<Sampling>,
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
    /// A syslog server.
    Syslog(Syslog),
}

/// A syslog server, and what it is told with every line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Syslog {
    /// Where it listens.
    pub server: SyslogServer,
    /// 0 to 23 (RFC 5424, 6.2.1).
    pub facility: u8,
    /// 0 to 7, of lines of the access log. Messages of the error log have one of their own.
    pub severity: u8,
    /// Who speaks.
    pub tag: String,
    /// Whether it is told our host's name.
    pub names_host: bool,
}

/// Where a syslog server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyslogServer {
    /// `host:port` of a UDP socket. A name is resolved when the socket is opened.
    Udp(String),
    /// A datagram socket of this host, such as `/dev/log`.
    Unix(PathBuf),
}

/// What a line of the access log looks like.
#[derive(Debug, Clone, PartialEq)]
pub enum LogFormat {
    /// nginx's `main` with upstream, times, place and id behind it.
    Main,
    /// The same as one JSON object.
    Json,
    /// Text with the values of variables, escaped as nginx does; a value that is not there is `-`.
    Text(Template<Variable>),
    /// One JSON object with these members. What is nothing but one variable keeps its type.
    Members(Vec<(String, Template<Variable>)>),
}

/// Which requests have a line. Those that fail or are slow always have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Which share of the others has, 0 to 1.
    pub share: f64,
    /// From how long on a request is slow.
    pub slow: Duration,
}

/// What is logged of the server itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorLog {
    /// Where lines go.
    pub target: LogTarget,
    /// The least important level that is logged.
    pub level: log::LevelFilter,
}
