//! Access logs: `[access_log]` for all requests, and `[[extra_log]]` for those of servers and locations
//! with logs of their own.

use std::collections::HashMap;

use super::variables::Variables;
use crate::nginx::Output;
use crate::nginx::document::{Item, Origin, Table, Value};
use crate::nginx::scope::Scope;
use crate::nginx::tree::Directive;
use crate::nginx::units;

/// nginx's default format.
const COMBINED: &str = "$remote_addr - $remote_user [$time_local] \"$request\" $status \
                        $body_bytes_sent \"$http_referer\" \"$http_user_agent\"";

/// End of the format that nginx's own file calls `main`. geogate's `main` begins with that format.
const FORWARDED_FOR: &str = " \"$http_x_forwarded_for\"";

/// Access logs of a file.
#[derive(Debug, Default)]
pub(super) struct Logs {
    /// Names of logs, by their arguments in the file; `default` is `[access_log]`.
    names: HashMap<Vec<String>, String>,
    /// Names of the logs of requests whose route names none.
    default: Vec<String>,
}

impl Logs {
    /// Returns the value of `access_log` of a route; `None` if it is the default.
    pub(super) fn of_block(&self, scope: &Scope) -> Option<Value> {
        let logs = scope.all("access_log");
        if logs.is_empty() {
            return None;
        }
        let mut names = Vec::new();
        for log in logs.iter().filter(|log| is_on(log)) {
            let name = self.names.get(&log.args)?;
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        if names == self.default {
            return None;
        }
        Some(match &names[..] {
            [] => Value::Boolean(false),
            [one] => one.as_str().into(),
            names => Value::List(
                names
                    .iter()
                    .map(|name| Item::new(name.as_str(), None))
                    .collect(),
            ),
        })
    }
}

fn is_on(log: &Directive) -> bool {
    !matches!(log.arg(0), "off" | "/dev/null")
}

/// Translates all logs. The logs of `http` are the default ones or, if it has none, those of the first
/// block that has some.
pub(super) fn translate(http: &Scope, variables: &Variables, output: &mut Output) -> Logs {
    for format in http.here("log_format") {
        output.notes.carried(format);
    }
    let all = http.everywhere("access_log");
    for log in &all {
        output.notes.carried(log);
    }
    let here: Vec<_> = http.here("access_log").collect();
    let of_all = here.iter().copied().filter(|log| is_on(log));
    let mut defaults: Vec<&Directive> = of_all.collect();
    if here.is_empty() {
        defaults.extend(all.iter().copied().find(|log| is_on(log)));
    }
    let mut logs = Logs::default();
    if let Some(first) = defaults.first() {
        set_default(http, first, variables, output);
        logs.names.insert(first.args.clone(), "default".to_owned());
        logs.default.push("default".to_owned());
    } else if let Some(off) = here.last().filter(|_| !all.iter().any(|log| is_on(log))) {
        output
            .document
            .table("access_log")
            .set("target", "off", Some(off));
        return logs;
    } else if !here.is_empty() {
        output
            .document
            .table("access_log")
            .set("target", "off", here.last().copied());
    }
    for log in all.into_iter().filter(|log| is_on(log)) {
        if logs.names.contains_key(&log.args) {
            continue;
        }
        let mut table = Table::of("extra_log", Origin::from(log));
        describe(http, log, variables, &mut table, output);
        let base = base_name(log.arg(0));
        let name = output
            .document
            .register("extra_log", &table, |number| match number {
                1 => base.clone(),
                _ => format!("{base}-{number}"),
            });
        logs.names.insert(log.args.clone(), name.clone());
        if defaults.iter().any(|default| default.args == log.args) {
            let item = Item::new(name.as_str(), Some(log));
            output.document.table("access_log").push("also", item);
        }
    }
    logs
}

/// Sets `[access_log]`.
fn set_default(http: &Scope, log: &Directive, variables: &Variables, output: &mut Output) {
    let mut table = Table::of("access_log", Origin::from(log));
    describe(http, log, variables, &mut table, output);
    for key in table.keys().map(str::to_owned).collect::<Vec<_>>() {
        if let Some(value) = table.get(&key) {
            let document = output.document.table("access_log");
            document.set(&key, value.clone(), Some(log));
        }
    }
}

/// Returns a name for a log by its file.
fn base_name(target: &str) -> String {
    let file = target.rsplit('/').next().unwrap_or_default();
    let file = file.strip_suffix(".log").unwrap_or(file);
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name: String = file.chars().filter(is_plain).collect();
    match name.as_str() {
        "" | "default" => "log".to_owned(),
        _ => name,
    }
}

/// Sets the target, the format and the settings of a log.
fn describe(
    http: &Scope,
    log: &Directive,
    variables: &Variables,
    table: &mut Table,
    output: &mut Output,
) {
    target(log, table, output);
    let settings = log.args.get(1..).unwrap_or_default();
    let name = settings.first().filter(|name| !name.contains('='));
    format(
        http,
        name.map_or("combined", String::as_str),
        log,
        variables,
        table,
        output,
    );
    for setting in settings.iter().skip(usize::from(name.is_some())) {
        self::setting(http, setting, log, variables, table, output);
    }
}

fn target(log: &Directive, table: &mut Table, output: &mut Output) {
    let target = match log.arg(0) {
        "/dev/stdout" | "/dev/stderr" => "standard",
        target => target,
    };
    if target.contains('$') {
        output.notes.minor(
            log,
            "The name of a log has no variables; it is on standard output.",
        );
    } else {
        table.set("target", target, Some(log));
    }
}

fn setting(
    http: &Scope,
    setting: &str,
    log: &Directive,
    variables: &Variables,
    table: &mut Table,
    output: &mut Output,
) {
    match setting.split_once('=') {
        Some(("flush", time)) => match units::milliseconds(time) {
            Some(time) if time > 0 => table.set("flush", units::duration(time), Some(log)),
            _ => output.notes.minor(log, "flush= is no time."),
        },
        Some(("buffer", _)) => {}
        Some(("if", condition)) => match variables.template(condition, http) {
            Ok(condition) => table.set("if", condition, Some(log)),
            Err(missing) => {
                let why =
                    format!("if=: there is no {missing} in geogate, so every request is logged.");
                output.notes.minor(log, why);
            }
        },
        Some(("gzip", _)) | None => output.notes.minor(log, "gzip: logs are not compressed."),
        Some((name, _)) => output
            .notes
            .minor(log, format!("{name}: geogate does not know what this is.")),
    }
}

fn format(
    http: &Scope,
    name: &str,
    log: &Directive,
    variables: &Variables,
    table: &mut Table,
    output: &mut Output,
) {
    let definition = http.here("log_format").find(|format| format.arg(0) == name);
    let parts = definition.map(|format| format.args.get(1..).unwrap_or_default());
    let (settings, texts): (Vec<&String>, Vec<&String>) = parts
        .unwrap_or_default()
        .iter()
        .partition(|part| part.starts_with("escape="));
    let text: String = texts.into_iter().map(String::as_str).collect();
    let text = if definition.is_none() && name == "combined" {
        COMBINED.to_owned()
    } else {
        text
    };
    let origin = definition.unwrap_or(log);
    if text.is_empty() {
        return output
            .notes
            .minor(log, format!("There is no log_format {name}."));
    }
    if text == format!("{COMBINED}{FORWARDED_FOR}") {
        table.set("format", "main", Some(origin));
        return;
    }
    let is_json =
        text.trim_start().starts_with('{') || settings.iter().any(|s| *s == "escape=json");
    if is_json {
        table.set("format", "json", Some(origin));
        let why = "JSON with geogate's own names; `access_log.json` has names of yours.";
        return output.notes.minor(origin, why);
    }
    match variables.template(&text, http) {
        Ok(text) => table.set("format", text, Some(origin)),
        Err(name) => {
            let why = format!("There is no {name} in geogate, so the format is its own, `main`.");
            output.notes.minor(origin, why);
        }
    }
}
