//! Where the program's own messages go.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use log::LevelFilter;

use crate::config::model::{ErrorLog, LogTarget};

/// The file, if there is one. A process has one logger, and so one of these.
static LOG_FILE: OnceLock<LogFile> = OnceLock::new();

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

/// Opens the file again by its name, for whoever moves log files away. If it cannot be had, the one
/// before goes on.
pub fn reopen() {
    let Some(log_file) = LOG_FILE.get() else {
        return;
    };
    match open(&log_file.path) {
        Ok(file) => *log_file.file() = file,
        Err(error) => log::error!("error log {}: {error}", log_file.path.display()),
    }
}
