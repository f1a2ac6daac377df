//! Translation of directives, with a file for each concern.
//!
//! Each concern takes the directives that it knows and records their outcome. In nginx most
//! settings apply to a block, in geogate to all clients or to a route, so each concern first checks
//! if the blocks agree.

mod access;
mod auth;
mod client;
mod client_ip;
mod compression;
mod condition;
mod cookies;
mod define;
mod error_page;
mod fastcgi;
mod files;
mod geo;
mod guard;
mod header_guard;
mod headers;
mod listen;
mod listeners;
mod location;
mod log;
mod order;
mod own;
mod pattern;
mod process;
mod proxy;
mod rate;
mod redirect;
mod rewrite;
mod site;
mod target;
mod tls;
mod unsupported;
mod upstream;
mod upstream_protocol;
mod variables;

use super::Output;
use super::document::{Origin, Value};
use super::notes::Fate;
use super::scope::Scope;
use super::tree::{Directive, Tree};
use super::units;

/// Translates all directives of a configuration.
pub(super) fn translate(tree: &Tree, output: &mut Output) {
    for missing in &tree.missing {
        let origin = Origin {
            place: missing.place.clone(),
            text: format!("include {}", missing.pattern),
        };
        if missing.is_empty {
            let why = "The folder is there and no file in it matches.".to_owned();
            output.notes.note_origin(Fate::Minor, origin, why);
        // geogate has the usual content of that file built in.
        } else if missing.pattern.ends_with("mime.types") {
            let why = unsupported::TYPES.to_owned();
            output.notes.note_origin(Fate::Needless, origin, why);
        } else if fastcgi::is_known_file(&missing.pattern) {
            let why = "The parameters of nginx's file are sent by themselves.".to_owned();
            output.notes.note_origin(Fate::Needless, origin, why);
        } else {
            let why = format!(
                "{}; what it says is not in this translation.",
                missing.reason
            );
            output.notes.note_origin(Fate::Lost, origin, why);
        }
    }
    let main = Scope::outermost(&tree.directives);
    process::translate(&main, output);
    for block in main.here("http") {
        output.notes.carried(block);
        http(&main.inner(block), output);
    }
    // A file of conf.d is the content of an `http` block.
    if main.here("http").next().is_none() {
        http(&main, output);
    }
    unsupported::report(&tree.directives, output);
}

fn http(http: &Scope, output: &mut Output) {
    client::translate(http, output);
    let unknown_clients = client_ip::translate(http, output);
    let mut variables = geo::translate(http, output);
    variables.own = own::Own::read(http);
    variables.clients_are_unknown = unknown_clients.is_some();
    let logs = log::translate(http, &variables, output);
    compression::translate(http, output);
    let sites = site::all(http, output);
    listeners::translate(&sites.all, output);
    tls::translate(http, &sites.all, output);
    rate::translate(http, output);
    let shared = location::Shared {
        variables: &variables,
        logs: &logs,
        unknown_clients,
    };
    location::translate(http, &sites, &shared, output);
    variables.own.finish(http, output);
}

/// Marks all directives in a block as handled, because one note is enough for the whole block.
fn silence(directive: &Directive, output: &mut Output) {
    for inner in directive.inside() {
        output.notes.covered(inner);
        silence(inner, output);
    }
}

/// Chooses the directive that applies to all requests, where nginx has one for each block: that of
/// the outermost block, or the first. The others are carried over if they are the same, and noted
/// with `fate` if they are not.
fn one_for_all<'s>(
    scope: &Scope<'s>,
    name: &str,
    key: &str,
    fate: Fate,
    output: &mut Output,
) -> Option<&'s Directive> {
    let all = scope.everywhere(name);
    let chosen = scope.here(name).last().or_else(|| all.first().copied())?;
    for other in all {
        if other.args == chosen.args {
            output.notes.carried(other);
        } else {
            let why = format!(
                "There is one `{key}` for all; it is as in line {}.",
                chosen.place.line
            );
            output.notes.note(fate, other, why);
        }
    }
    Some(chosen)
}

/// Sets a key to a time, or notes why that is impossible.
fn set_time(directive: &Directive, table: &'static str, key: &str, output: &mut Output) {
    match units::milliseconds(directive.arg(0)) {
        Some(time) if time > 0 => {
            let value: Value = units::duration(time).into();
            output
                .document
                .table(table)
                .set(key, value, Some(directive));
        }
        Some(_) => output
            .notes
            .minor(directive, format!("`{table}.{key}` is never nothing.")),
        None => output.notes.lost(directive, "This is no time."),
    }
}
