//! Passwords: `auth_basic`, `auth_basic_user_file` and `satisfy` become `[[auth]]` and the keys `auth`
//! and `satisfy` of routes.
//!
//! nginx asks for a password after `return` and `rewrite`, so a route that only answers or redirects asks
//! for none.

use super::variables::Variables;
use crate::nginx::Output;
use crate::nginx::document::{Item, Table};
use crate::nginx::scope::Scope;
use crate::nginx::tree::Directive;

/// Passwords that a block asks for.
#[derive(Debug)]
pub(super) enum Asked<'s> {
    /// None.
    Nothing,
    /// Those of the `[[auth]]` of this name.
    Users(String),
    /// Some that geogate cannot ask for: the directive, and the reason.
    Unknown(&'s Directive, &'static str),
}

/// Returns the passwords that are asked for in a block, and registers their `[[auth]]`.
pub(super) fn of_block<'s>(scope: &Scope<'s>, output: &mut Output) -> Asked<'s> {
    let Some(basic) = scope.one("auth_basic") else {
        return Asked::Nothing;
    };
    output.notes.carried(basic);
    if basic.arg(0) == "off" {
        return Asked::Nothing;
    }
    let Some(realm) = Variables::constant(basic.arg(0), scope) else {
        return Asked::Unknown(
            basic,
            "it depends on the request if a password is asked for; write a route for each case",
        );
    };
    let Some(file) = scope.one("auth_basic_user_file") else {
        return Asked::Unknown(basic, "no auth_basic_user_file names the users");
    };
    output.notes.carried(file);
    let Some(path) = Variables::constant(file.arg(0), scope) else {
        return Asked::Unknown(file, "it depends on the request which users there are");
    };
    let mut table = Table::new("auth", Some(file));
    let is_text = |c: char| c.is_ascii_graphic() || c == ' ';
    if realm.is_empty() || !realm.chars().all(is_text) {
        let why = "A realm is a text of printable ASCII characters; browsers show \"Restricted\".";
        output.notes.minor(basic, why);
    } else {
        table.set("realm", realm, Some(basic));
    }
    table.set("users_file", path.as_str(), Some(file));
    let why = if std::path::Path::new(&path).exists() {
        "The file is read at start and reload, and a reload is needed after a change."
    } else {
        "The file is not there now. It is read at start and reload; until then all are refused, as in \
         nginx."
    };
    output.notes.minor(file, why);
    let name = |number| format!("users-{number}");
    Asked::Users(output.document.register("auth", &table, name))
}

/// Returns the directive that makes access rules and passwords alternatives in a block.
pub(super) fn any<'s>(scope: &Scope<'s>) -> Option<&'s Directive> {
    scope
        .one("satisfy")
        .filter(|satisfy| satisfy.arg(0) == "any")
}

/// Sets the passwords of a route, as alternatives to its access rules if the block says so.
pub(super) fn set(name: &str, scope: &Scope, route: &mut Table, output: &mut Output) {
    let from = scope.one("auth_basic_user_file");
    route.push("auth", Item::new(name, from));
    if let Some(any) = any(scope) {
        output.notes.carried(any);
        route.set("satisfy", "any", Some(any));
    }
}
