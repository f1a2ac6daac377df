//! Where the program's own messages go.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use log::LevelFilter;

use crate::config::model::{ErrorLog, LogTarget};

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
            let file = open(path)?;
            logger.target(env_logger::Target::Pipe(Box::new(file)));
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
