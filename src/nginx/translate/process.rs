//! Settings of the process: threads, open files, the error log, and settings that geogate does not
//! need.

use super::super::Output;
use super::super::scope::Scope;
use super::super::tree::Directive;
use super::super::units;

pub(super) fn translate(main: &Scope, output: &mut Output) {
    for directive in main.directives().iter() {
        match directive.name.as_str() {
            "worker_processes" => worker_processes(directive, output),
            "worker_rlimit_nofile" => match units::bytes(directive.arg(0)) {
                Some(files) => {
                    let server = output.document.table("server");
                    server.set("max_open_files", files, Some(directive));
                    output.notes.carried(directive);
                }
                None => output.notes.lost(directive, "This is no number."),
            },
            "worker_shutdown_timeout" => {
                output.notes.carried(directive);
                super::set_time(directive, "server", "grace_period", output);
            }
            "events" => {
                output.notes.carried(directive);
                for inner in directive.inside() {
                    output.notes.needless(inner, events(&inner.name));
                }
            }
            "stream" | "mail" | "rtmp" => {
                let why = "geogate speaks HTTP only; nothing of this block is carried over.";
                output.notes.lost(directive, why);
                super::silence(directive, output);
            }
            _ => {}
        }
    }
    error_log(main, output);
}

fn worker_processes(directive: &Directive, output: &mut Output) {
    let server = output.document.table("server");
    match directive.arg(0).parse::<u64>() {
        Ok(workers) => server.set("workers", workers, Some(directive)),
        Err(_) => server.set("workers", "auto", Some(directive)),
    }
    output.notes.carried(directive);
}

fn events(name: &str) -> &'static str {
    match name {
        "worker_connections" => {
            "Open files are the limit: `server.max_open_files`, and `limits.max_connections`."
        }
        _ => "geogate's event loop has nothing to set.",
    }
}

/// Translates the error log, which is one for all. The main one counts; without it, the first
/// within `http`.
fn error_log(main: &Scope, output: &mut Output) {
    let within = main
        .here("http")
        .flat_map(|http| main.inner(http).everywhere("error_log"));
    let all: Vec<_> = main.everywhere("error_log").into_iter().collect();
    let mut all: Vec<&Directive> = all.into_iter().chain(within).collect();
    all.sort_by_key(|directive| directive.id);
    all.dedup_by_key(|directive| directive.id);
    let Some(&chosen) = main.here("error_log").last().as_ref().or(all.first()) else {
        return;
    };
    for other in all {
        if other.args == chosen.args {
            output.notes.carried(other);
        } else {
            let why = format!(
                "There is one error log; it is as in line {}.",
                chosen.place.line
            );
            output.notes.minor(other, why);
        }
    }
    let level = match chosen.arg(1) {
        "debug" => "debug",
        "info" | "notice" => "info",
        "warn" => "warn",
        _ => "error",
    };
    let target = match chosen.arg(0) {
        "stderr" | "/dev/stderr" | "/dev/stdout" => "standard",
        "/dev/null" => "off",
        target if target.starts_with("memory:") => {
            return output
                .notes
                .minor(chosen, "Logs go to a file or to standard error.");
        }
        target => target,
    };
    let table = output.document.table("error_log");
    table.set("target", target, Some(chosen));
    table.set("level", level, Some(chosen));
}
