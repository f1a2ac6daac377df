//! `[access_log]` and `[error_log]`.

use std::time::Duration;

use super::one_of;
use crate::config::document::{Item, Section};
use crate::config::model::{AccessLog, ErrorLog, LogFormat, LogTarget};

pub(super) fn access_log(section: &Section) -> AccessLog {
    let log = AccessLog {
        target: section.value("target", LogTarget::Standard, log_target),
        format: section.value("format", LogFormat::Main, |item| {
            one_of(
                item,
                &[("main", LogFormat::Main), ("json", LogFormat::Json)],
            )
        }),
        flush: section.value("flush", Duration::from_secs(1), Item::duration),
    };
    section.refuse_unknown();
    log
}

pub(super) fn error_log(section: &Section) -> ErrorLog {
    let log = ErrorLog {
        target: section.value("target", LogTarget::Standard, log_target),
        level: section.value("level", log::LevelFilter::Info, |item| {
            let text = item.string()?;
            let level = text.parse();
            level.map_err(|_| format!("{text:?} is not off, error, warn, info, debug or trace"))
        }),
    };
    section.refuse_unknown();
    log
}

fn log_target(item: &Item) -> Result<LogTarget, String> {
    Ok(match item.string()? {
        "off" => LogTarget::Off,
        "standard" => LogTarget::Standard,
        "" => return Err("\"off\", \"standard\" or a file is expected".to_owned()),
        file => LogTarget::File(file.into()),
    })
}
