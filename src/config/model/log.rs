//! Access log and error log.

use std::path::PathBuf;
use std::time::Duration;

use super::{Template, Variable};

/// Access log: one line for each request.
#[derive(Debug, Clone, PartialEq)]
pub struct AccessLog {
    /// Destination of the lines.
    pub target: LogTarget,
    /// Format of a line.
    pub format: LogFormat,
    /// Sampling of requests; `None` logs every request.
    pub sampling: Option<Sampling>,
    /// Maximum time that a line waits in memory.
    pub flush: Duration,
    /// Condition: a request is logged if the value is neither empty nor `0`. `None` logs every request.
    pub condition: Option<Template<Variable>>,
    /// Other logs that get the same requests: indexes in `Config::extra_logs`.
    pub also: Vec<usize>,
}

/// An access log with a name.
#[derive(Debug, Clone, PartialEq)]
pub struct ExtraLog {
    /// Unique name.
    pub name: String,
    /// The log.
    pub log: AccessLog,
}

/// Access log that a route names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogRef {
    /// `[access_log]`, with those that it names.
    Default,
    /// Index in `Config::extra_logs`.
    Extra(usize),
}

/// Destination of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogTarget {
    /// Logging is disabled.
    Off,
    /// Standard output for the access log, standard error for the error log.
    Standard,
    /// A file, appended to.
    File(PathBuf),
    /// A syslog server.
    Syslog(Syslog),
}

/// A syslog server, and the fields of messages to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Syslog {
    /// Address of the server.
    pub server: SyslogServer,
    /// Facility, 0 to 23 (RFC 5424, 6.2.1).
    pub facility: u8,
    /// Severity of access log lines, 0 to 7. Each message of the error log has its own severity.
    pub severity: u8,
    /// Tag: the name of the sender.
    pub tag: String,
    /// True if messages contain the name of this host.
    pub names_host: bool,
}

/// Address of a syslog server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyslogServer {
    /// `host:port` of a UDP socket. A name is resolved when the socket is opened.
    Udp(String),
    /// Path of a local datagram socket such as `/dev/log`.
    Unix(PathBuf),
}

/// Format of an access log line.
#[derive(Debug, Clone, PartialEq)]
pub enum LogFormat {
    /// nginx's `main` format, followed by upstream, times, location and request id.
    Main,
    /// The fields of `Main` as one JSON object.
    Json,
    /// Text with variables, escaped as in nginx; an absent value is `-`.
    Text(Template<Variable>),
    /// One JSON object with these members. A member that is a single variable keeps its type.
    Members(Vec<(String, Template<Variable>)>),
}

/// Sampling of requests for the access log. Failed and slow requests are always logged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Fraction of the other requests that is logged, 0 to 1.
    pub share: f64,
    /// Minimum time of a slow request.
    pub slow: Duration,
}

/// Error log: messages of the server itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorLog {
    /// Destination of the messages.
    pub target: LogTarget,
    /// Least severe level that is logged.
    pub level: log::LevelFilter,
}
