//! Targets of the access log.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use crate::config::model::LogTarget;
use crate::gateway::telemetry::log_file;
use crate::gateway::telemetry::syslog::Syslog;

/// An open target.
pub enum Output {
    Standard,
    File { path: PathBuf, file: File },
    Syslog(Box<Syslog>),
}

/// Number of lines that were not written, with the error.
pub struct Lost {
    pub lines: u64,
    pub error: io::Error,
}

impl Output {
    /// Opens a target. Returns `None` if nothing is logged. A syslog server is connected later.
    pub fn open(target: &LogTarget) -> io::Result<Option<Self>> {
        Ok(Some(match target {
            LogTarget::Off => return Ok(None),
            LogTarget::Standard => Output::Standard,
            LogTarget::File(path) => Output::file(path.clone())?,
            LogTarget::Syslog(config) => Output::Syslog(Box::new(Syslog::new(config.clone()))),
        }))
    }

    fn file(path: PathBuf) -> io::Result<Self> {
        let file = log_file::open(&path)?;
        Ok(Output::File { path, file })
    }

    /// Writes whole lines.
    pub fn write(&mut self, lines: &[u8]) -> Result<(), Lost> {
        let written = match self {
            Output::Standard => {
                let mut out = io::stdout();
                out.write_all(lines).and_then(|()| out.flush())
            }
            Output::File { file, .. } => file.write_all(lines),
            Output::Syslog(syslog) => {
                let sent = syslog.send_lines(lines);
                return sent.map_err(|(lines, error)| Lost { lines, error });
            }
        };
        written.map_err(|error| Lost {
            lines: count_lines(lines),
            error,
        })
    }

    /// Reopens the file by its name, or reconnects to the syslog server. If the file cannot be
    /// opened, the previous one stays in use.
    pub fn reopen(&mut self) {
        match self {
            Output::Standard => {}
            Output::File { path, .. } => match Output::file(path.clone()) {
                Ok(new) => *self = new,
                Err(error) => log::error!("access log {}: {error}", path.display()),
            },
            Output::Syslog(syslog) => syslog.reconnect(),
        }
    }
}

/// Number of lines.
pub fn count_lines(lines: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', lines).count() as u64
}
