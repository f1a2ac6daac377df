//! Access log: one `[access_log]` for all requests.

use super::variables::Variables;
use crate::nginx::Output;
use crate::nginx::scope::Scope;
use crate::nginx::tree::Directive;
use crate::nginx::units;

/// nginx's default format.
const COMBINED: &str = "$remote_addr - $remote_user [$time_local] \"$request\" $status \
                        $body_bytes_sent \"$http_referer\" \"$http_user_agent\"";

/// End of the format that nginx's own file calls `main`. geogate's `main` begins with that format.
const FORWARDED_FOR: &str = " \"$http_x_forwarded_for\"";

pub(super) fn translate(http: &Scope, variables: &Variables, output: &mut Output) {
    for format in http.here("log_format") {
        output.notes.carried(format);
    }
    let all = http.everywhere("access_log");
    let is_on = |log: &&Directive| log.arg(0) != "off";
    let chosen = http.here("access_log").last();
    let chosen = chosen
        .filter(is_on)
        .or_else(|| all.iter().copied().find(is_on));
    let Some(chosen) = chosen.or_else(|| http.here("access_log").last()) else {
        for log in all {
            output.notes.minor(
                log,
                "Every request is logged, or none: `access_log.target`.",
            );
        }
        return;
    };
    for other in all {
        if other.args == chosen.args {
            output.notes.carried(other);
        } else if other.arg(0) == "off" {
            output.notes.minor(
                other,
                "Every request is logged, or none; `access_log.sample` logs a share.",
            );
        } else {
            let why = format!(
                "There is one access log, as in line {}. Its lines have the host and the route, if \
                 `access_log.format` names them.",
                chosen.place.line
            );
            output.notes.minor(other, why);
        }
    }
    target(chosen, output);
    if chosen.arg(0) != "off" {
        let settings = chosen.args.get(1..).unwrap_or_default();
        let name = settings.first().filter(|name| !name.contains('='));
        format(
            http,
            name.map_or("combined", String::as_str),
            chosen,
            variables,
            output,
        );
        for setting in settings.iter().skip(usize::from(name.is_some())) {
            self::setting(setting, chosen, output);
        }
    }
}

fn target(log: &Directive, output: &mut Output) {
    let target = match log.arg(0) {
        "/dev/stdout" | "/dev/stderr" => "standard",
        "/dev/null" => "off",
        target => target,
    };
    if target.contains('$') {
        output.notes.minor(
            log,
            "The name of a log has no variables; it is on standard output.",
        );
    } else {
        output
            .document
            .table("access_log")
            .set("target", target, Some(log));
    }
}

fn setting(setting: &str, log: &Directive, output: &mut Output) {
    match setting.split_once('=') {
        Some(("flush", time)) => match units::milliseconds(time) {
            Some(time) if time > 0 => {
                let table = output.document.table("access_log");
                table.set("flush", units::duration(time), Some(log));
            }
            _ => output.notes.minor(log, "flush= is no time."),
        },
        Some(("buffer", _)) => {}
        Some(("if", _)) => output.notes.minor(
            log,
            "if=: every request is logged; `access_log.sample` logs a share.",
        ),
        Some(("gzip", _)) | None => output.notes.minor(log, "gzip: logs are not compressed."),
        Some((name, _)) => output
            .notes
            .minor(log, format!("{name}: geogate does not know what this is.")),
    }
}

fn format(http: &Scope, name: &str, log: &Directive, variables: &Variables, output: &mut Output) {
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
        output
            .document
            .table("access_log")
            .set("format", "main", Some(origin));
        return;
    }
    let is_json =
        text.trim_start().starts_with('{') || settings.iter().any(|s| *s == "escape=json");
    if is_json {
        output
            .document
            .table("access_log")
            .set("format", "json", Some(origin));
        let why = "JSON with geogate's own names; `access_log.json` has names of yours.";
        return output.notes.minor(origin, why);
    }
    match variables.template(&text, http) {
        Ok(text) => output
            .document
            .table("access_log")
            .set("format", text, Some(origin)),
        Err(name) => {
            let why = format!("There is no {name} in geogate, so the format is its own, `main`.");
            output.notes.minor(origin, why);
        }
    }
}
