//! `[access_log]` and `[error_log]`.

use std::time::Duration;

use super::syslog::syslog;
use crate::config::document::{Item, Section};
use crate::config::model::{
    AccessLog, Captures, ErrorLog, LogFormat, LogTarget, Sampling, Template, Variable,
};

pub(super) fn access_log(section: &Section) -> AccessLog {
    let log = AccessLog {
        target: section.value("target", LogTarget::Standard, log_target),
        format: format(section),
        sampling: sampling(section),
        flush: section.value("flush", Duration::from_secs(1), Item::duration),
    };
    section.refuse_unknown();
    log
}

fn format(section: &Section) -> LogFormat {
    let format = section.value("format", LogFormat::Main, |item| match item.string()? {
        "main" => Ok(LogFormat::Main),
        "json" => Ok(LogFormat::Json),
        text if text.contains('$') => template(item).map(LogFormat::Text),
        text => Err(format!(
            "{text:?} is neither \"main\" nor \"json\" nor a line with variables such as \
             \"$remote_addr $status\""
        )),
    });
    let Some(json) = section.item("json") else {
        return format;
    };
    let members = json.section().entries();
    let members = members
        .into_iter()
        .filter_map(|(name, item)| Some((name, item.read(template)?)));
    let members: Vec<_> = members.collect();
    if members.is_empty() {
        section.note("json", "a line needs at least one member");
    }
    LogFormat::Members(members)
}

fn template(item: &Item) -> Result<Template<Variable>, String> {
    let text = item.string()?;
    if text.contains(['\n', '\r']) {
        return Err("what is logged of a request is one line".to_owned());
    }
    let template = Template::parse(text, &Captures::default());
    template.map_err(|error| error.to_string())
}

fn sampling(section: &Section) -> Option<Sampling> {
    let sampling = Sampling {
        share: section.value("sample", 1.0, Item::share),
        slow: section.value("slow", Duration::from_secs(1), Item::duration),
    };
    (sampling.share < 1.0).then_some(sampling)
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
    let text = item.string()?;
    if let Some(settings) = text.strip_prefix("syslog:") {
        return syslog(settings).map(LogTarget::Syslog);
    }
    Ok(match text {
        "off" => LogTarget::Off,
        "standard" => LogTarget::Standard,
        "" => return Err("\"off\", \"standard\", a file or \"syslog:\" is expected".to_owned()),
        file => LogTarget::File(file.into()),
    })
}
