//! Where the program's own messages go.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::config::model::{ErrorLog, LogTarget};
use crate::gateway::syslog::{Syslog, Waiting};

/// The file, if there is one. A process has one logger, and so one of these.
static LOG_FILE: OnceLock<LogFile> = OnceLock::new();

/// The way to the syslog server, if there is one.
static SYSLOG: OnceLock<ToSyslog> = OnceLock::new();

struct LogFile {
    path: PathBuf,
    file: Mutex<File>,
}

impl LogFile {
    fn file(&self) -> MutexGuard<'_, File> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes to the file that is open now.
struct CurrentFile(&'static LogFile);

impl Write for CurrentFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.file().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.file().flush()
    }
}

/// Sends each message to a syslog server. One that cannot be sent is lost: there is nobody left to
/// tell.
struct ToSyslog {
    /// Knows what is logged, and writes nothing.
    filter: env_logger::Logger,
    syslog: Mutex<Syslog>,
}

impl ToSyslog {
    fn syslog(&self) -> MutexGuard<'_, Syslog> {
        self.syslog.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log for ToSyslog {
    fn enabled(&self, metadata: &Metadata) -> bool {
        self.filter.enabled(metadata)
    }

    fn log(&self, record: &Record) {
        if !self.filter.matches(record) {
            return;
        }
        // RFC 5424, 6.2.1.
        let severity = match record.level() {
            Level::Error => 3,
            Level::Warn => 4,
            Level::Info => 6,
            Level::Debug | Level::Trace => 7,
        };
        let message = format!("{}: {}", record.target(), record.args());
        let _ = self.syslog().send(severity, message.as_bytes());
    }

    fn flush(&self) {}
}

/// Sends `log` messages to the configured target, from the configured level up. `RUST_LOG` goes
/// above it.
///
/// # Errors
/// If the file cannot be opened.
pub fn start(config: &ErrorLog) -> io::Result<()> {
    let mut logger = env_logger::Builder::new();
    logger.filter_level(config.level);
    if config.level == LevelFilter::Info {
        // At this level pingora tells how it works inside.
        logger.filter_module("pingora", LevelFilter::Warn);
    }
    // pingora's pool of connections calls it an error when another thread has not let go of one yet.
    logger.filter_module("pingora_core::connectors", LevelFilter::Off);
    logger.parse_default_env();
    match &config.target {
        LogTarget::Off => {
            logger.filter_level(LevelFilter::Off);
        }
        LogTarget::Standard => {}
        LogTarget::File(path) => {
            let file = Mutex::new(open(path)?);
            let path = path.clone();
            let log_file = LOG_FILE.get_or_init(|| LogFile { path, file });
            let target = Box::new(CurrentFile(log_file));
            logger.target(env_logger::Target::Pipe(target));
        }
        LogTarget::Syslog(config) => {
            let to_syslog = SYSLOG.get_or_init(|| ToSyslog {
                filter: logger.build(),
                syslog: Mutex::new(Syslog::new(config.clone(), Waiting::Never)),
            });
            if log::set_logger(to_syslog).is_ok() {
                log::set_max_level(to_syslog.filter.filter());
            }
            return Ok(());
        }
    }
    // A logger that is there already stays: tests start more than one server.
    let _ = logger.try_init();
    Ok(())
}

/// Opens a log file, at its end; a new one if there is none.
///
/// # Errors
/// If the system refuses.
pub fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Opens the file, or the socket, again by its name, for whoever moves log files away. If a file cannot
/// be had, the one before goes on.
pub fn reopen() {
    if let Some(to_syslog) = SYSLOG.get() {
        to_syslog.syslog().reconnect();
    }
    let Some(log_file) = LOG_FILE.get() else {
        return;
    };
    match open(&log_file.path) {
        Ok(file) => *log_file.file() = file,
        Err(error) => log::error!("error log {}: {error}", log_file.path.display()),
    }
}
