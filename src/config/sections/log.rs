//! `[access_log]` and `[error_log]`.

use std::sync::Arc;
use std::time::Duration;

use log::LevelFilter;

use super::syslog::syslog;
use super::{name, one_of};
use crate::config::document::{Item, Section};
use crate::config::model::{
    AccessLog, Captures, ErrorLog, ExtraLog, LogFormat, LogTarget, OwnVariables, Sampling,
    Template, Variable,
};

/// Reads `[access_log]` and all `[[extra_log]]`.
pub(super) fn access_logs(root: &Section, own: &Arc<OwnVariables>) -> (AccessLog, Vec<ExtraLog>) {
    let names = Captures::default().with_own(own);
    let mut extra: Vec<ExtraLog> = Vec::new();
    for section in root.sections("extra_log") {
        let Some(name) = section.required("name", name) else {
            continue;
        };
        if name == "default" || extra.iter().any(|other| other.name == name) {
            section.note("name", format!("there is another {name:?}"));
        }
        let log = access_log(&section, &names);
        section.refuse_unknown();
        extra.push(ExtraLog { name, log });
    }
    let section = root.section("access_log");
    let mut log = access_log(&section, &names);
    let also = section.item("also").map(|item| item.one_or_more());
    let also = also.unwrap_or_default();
    let also = also
        .iter()
        .filter_map(|item| item.read(|item| self::extra(item.string()?, &extra)));
    log.also = also.collect();
    section.refuse_unknown();
    (log, extra)
}

/// Returns the position of the log of this name.
pub(super) fn extra(name: &str, known: &[ExtraLog]) -> Result<usize, String> {
    let found = known.iter().position(|log| log.name == name);
    found.ok_or_else(|| {
        let names: Vec<_> = known.iter().map(|log| format!("{:?}", log.name)).collect();
        let known = match &names[..] {
            [] => "there is none at all".to_owned(),
            names => format!("there is {}", names.join(", ")),
        };
        format!("there is no [[extra_log]] {name:?}; {known}")
    })
}

fn access_log(section: &Section, names: &Captures) -> AccessLog {
    AccessLog {
        target: section.value("target", LogTarget::Standard, log_target),
        format: format(section, names),
        sampling: sampling(section),
        flush: section.value("flush", Duration::from_secs(1), Item::duration),
        condition: section.value("if", None, |item| template(item, names).map(Some)),
        also: Vec::new(),
    }
}

fn format(section: &Section, names: &Captures) -> LogFormat {
    let format = section.value("format", LogFormat::Main, |item| match item.string()? {
        "main" => Ok(LogFormat::Main),
        "json" => Ok(LogFormat::Json),
        text if text.contains('$') => template(item, names).map(LogFormat::Text),
        text => Err(format!(
            "{text:?} is neither \"main\" nor \"json\" nor a line with variables such as \
             \"$remote_addr $status\""
        )),
    });
    let Some(json) = section.item("json") else {
        return format;
    };
    let members = json.section().entries();
    let members = members.into_iter().filter_map(|(name, item)| {
        Some((name.to_owned(), item.read(|item| template(item, names))?))
    });
    let members: Vec<_> = members.collect();
    if members.is_empty() {
        section.note("json", "a line needs at least one member");
    }
    LogFormat::Members(members)
}

fn template(item: &Item, names: &Captures) -> Result<Template<Variable>, String> {
    let text = item.string()?;
    if text.contains(['\n', '\r']) {
        return Err("contains a line break; a log entry is one line".to_owned());
    }
    item.template(names)
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
        level: section.value("level", LevelFilter::Info, |item| {
            let known = [
                ("off", LevelFilter::Off),
                ("error", LevelFilter::Error),
                ("warn", LevelFilter::Warn),
                ("info", LevelFilter::Info),
                ("debug", LevelFilter::Debug),
                ("trace", LevelFilter::Trace),
            ];
            one_of(item, &known)
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

#[cfg(test)]
mod tests {
    use crate::config::model::{AccessLog, LogFormat, LogTarget, Sampling};
    use crate::config::{Overrides, parse};

    fn read(text: &str) -> Result<AccessLog, String> {
        let text = format!("[access_log]\n{text}\n");
        let config = parse(&text, "file", &Overrides::default());
        config
            .map(|config| config.access_log)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_format_is_built_in_or_a_template_or_members() {
        assert_eq!(read("").unwrap().format, LogFormat::Main);
        assert_eq!(read("format = 'json'").unwrap().format, LogFormat::Json);
        let text = read("format = '$status $$'").unwrap().format;
        assert!(matches!(text, LogFormat::Text(_)), "{text:?}");
        let json = read("format = 'main'\njson = { z = '$status', 'a b' = 'x' }").unwrap();
        let LogFormat::Members(members) = json.format else {
            panic!("{:?}", json.format)
        };
        let names: Vec<_> = members.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["z", "a b"]);
    }

    #[test]
    fn all_requests_have_a_line_unless_a_share_is_named() {
        assert_eq!(read("slow = '5s'").unwrap().sampling, None);
        let expected = Sampling {
            share: 0.25,
            slow: std::time::Duration::from_secs(5),
        };
        let sampling = read("slow = '5s'\nsample = '25%'").unwrap().sampling;
        assert_eq!(sampling, Some(expected));
    }

    #[test]
    fn a_target_may_be_a_syslog_server() {
        let target = read("target = 'syslog:server=unix:/dev/log'")
            .unwrap()
            .target;
        assert!(matches!(target, LogTarget::Syslog(_)), "{target:?}");
    }

    #[track_caller]
    fn check_error(text: &str, expected: &str) {
        let error = read(text).unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        check_error(
            "format = 'combined'",
            "access_log.format: \"combined\" is neither \"main\"",
        );
        check_error(
            "format = '$nothing'",
            "access_log.format: there is no $nothing here",
        );
        check_error("format = \"\"\"$status\n$uri\"\"\"", "is one line (line 2)");
        check_error(
            "json = {}",
            "access_log.json: a line needs at least one member",
        );
        check_error(
            "json = { a = '$b' }",
            "access_log.json.a: there is no $b here",
        );
        check_error(
            "json = { a = 1 }",
            "access_log.json.a: a string is expected",
        );
        check_error("sample = '200%'", "access_log.sample: ");
        check_error(
            "target = 'syslog:'",
            "access_log.target: \"\" is not server=",
        );
    }
}
