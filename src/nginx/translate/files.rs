//! Files: `root`, `alias`, `index`, `try_files`.

use super::super::Output;
use super::super::document::{Entry, Item, Table, Value};
use super::super::scope::Scope;
use super::super::tree::Directive;
use super::pattern::Pattern;

/// Where nginx looks if nobody says.
const ROOT: &str = "html";

/// What becomes of a location whose files are served.
pub(super) enum Served {
    /// The route has `files`.
    Files,
    /// What is no file goes to the location of this name.
    Named(String),
    /// It cannot be carried over.
    Lost,
}

/// Makes a route one that serves files.
pub(super) fn translate(
    scope: &Scope,
    location: &Directive,
    pattern: &Pattern,
    route: &mut Table,
    output: &mut Output,
) -> Served {
    let mut entries = Vec::new();
    let alias = scope.here("alias").last();
    let folder = match (alias, pattern) {
        (Some(alias), Pattern::Prefix(_)) => {
            route.set("rewrite", "/", Some(alias));
            alias
        }
        (Some(alias), _) => {
            let why = "alias is carried over for prefixes only.";
            output.notes.lost(alias, why);
            return Served::Lost;
        }
        (None, _) => scope.one("root").unwrap_or(location),
    };
    if folder.name != "location" && folder.name != "server" {
        output.notes.carried(folder);
    }
    let path = match folder.name.as_str() {
        "root" | "alias" => folder.arg(0),
        _ => ROOT,
    };
    if path.contains('$') {
        output
            .notes
            .lost(folder, "A folder has no variables. Write a route for each.");
        return Served::Lost;
    }
    entries.push(Entry::new("root", path, Some(folder)));
    if let Some(index) = scope.one("index") {
        output.notes.carried(index);
        let names = index
            .args
            .iter()
            .filter(|name| !name.starts_with('/') && !name.contains('$'));
        let items: Vec<Item> = names
            .map(|name| Item::new(name.as_str(), Some(index)))
            .collect();
        if items.len() < index.args.len() {
            output
                .notes
                .differs(index, "Only names of files in the folder are carried over.");
        }
        if !items.is_empty() {
            entries.push(Entry::new("index", Value::List(items), Some(index)));
        }
    }
    if let Some(list) = scope.one("autoindex") {
        if list.arg(0) == "on" {
            output
                .notes
                .lost(list, "The content of folders is not listed.");
        } else {
            output
                .notes
                .needless(list, "The content of folders is not listed.");
        }
    }
    let tried = scope
        .one("try_files")
        .map(|tried| try_files(tried, &mut entries, output));
    route.set("files", Value::Inline(entries), Some(folder));
    tried.unwrap_or(Served::Files)
}

/// `$uri`, `$uri/`, then what is served where there is nothing.
fn try_files(tried: &Directive, entries: &mut Vec<Entry>, output: &mut Output) -> Served {
    output.notes.carried(tried);
    let Some((last, before)) = tried.args.split_last() else {
        output.notes.lost(tried, "It names nothing.");
        return Served::Files;
    };
    let is_usual = |name: &String| matches!(name.as_str(), "$uri" | "$uri/" | "$uri/index.html");
    if !before.iter().all(is_usual) {
        let why = "Only `$uri` and `$uri/` are tried before the last name.";
        output.notes.differs(tried, why);
    }
    if let Some(name) = last.strip_prefix('@') {
        return Served::Named(name.to_owned());
    }
    match last.split_once('?').map_or(last.as_str(), |(path, _)| path) {
        "=404" => {}
        status if status.starts_with('=') => {
            output
                .notes
                .differs(tried, "What is not there is answered with 404.");
        }
        path if path.starts_with('/') && !path.contains('$') && !path.contains(".php") => {
            entries.push(Entry::new("fallback", path, Some(tried)));
        }
        _ => {
            let why = "Where nothing is found, a file is served that has always the same name, or 404 \
                       is answered.";
            output.notes.lost(tried, why);
        }
    }
    Served::Files
}
