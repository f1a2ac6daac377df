//! Error pages: `error_page` as one file for the errors of the gateway.

use std::collections::HashSet;

use super::super::Output;
use super::super::scope::Scope;
use super::super::tree::Directive;

/// Statuses that geogate sends the page for.
const STATUSES: [&str; 4] = ["500", "502", "503", "504"];

pub(super) fn translate(http: &Scope, output: &mut Output) {
    let mut chosen: Option<(String, &Directive)> = None;
    let servers: Vec<Scope> = http.here("server").map(|block| http.inner(block)).collect();
    let mut outer: HashSet<usize> = HashSet::new();
    for scope in std::iter::once(http).chain(&servers) {
        for page in scope.here("error_page") {
            outer.insert(page.id);
            let Some(file) = file(scope, page, output) else {
                continue;
            };
            match &chosen {
                None => chosen = Some((file, page)),
                Some((known, _)) if *known == file => {}
                Some((_, first)) => {
                    let why = format!("There is one page, as in line {}.", first.place.line);
                    output.notes.lost(page, why);
                }
            }
        }
    }
    for page in http.everywhere("error_page") {
        if !outer.contains(&page.id) {
            let why = "There is one page for all, for 500, 502, 503 and 504; a location has none of its own.";
            output.notes.lost(page, why);
        }
    }
    if let Some((file, page)) = chosen {
        // A server that only redirects clients has no errors.
        let is_serving = |scope: &Scope| scope.here("return").next().is_none();
        let lacks = |scope: &&Scope| is_serving(scope) && scope.all("error_page").is_empty();
        if servers.iter().any(|scope| lacks(&scope)) {
            let why = "The page is there for servers that have none as well.";
            output.notes.differs(page, why);
        }
        output
            .document
            .table("error_page")
            .set("file", file, Some(page));
    }
}

/// Returns the file of an error page, if the page is for one of the gateway's errors.
fn file(scope: &Scope, page: &Directive, output: &mut Output) -> Option<String> {
    let (uri, statuses) = page.args.split_last()?;
    output.notes.carried(page);
    let is_ours = |status: &&String| STATUSES.contains(&status.as_str());
    if !statuses.iter().any(|status| is_ours(&status)) {
        let why =
            "What an upstream answers is passed on. The one page is for 500, 502, 503 and 504.";
        output.notes.lost(page, why);
        return None;
    }
    if statuses.iter().any(|status| status.starts_with('=')) {
        output.notes.differs(page, "The status stays the error's.");
    }
    if statuses
        .iter()
        .any(|status| !status.starts_with('=') && !is_ours(&status))
    {
        output
            .notes
            .lost(page, "The page is for 500, 502, 503 and 504 only.");
    }
    if !uri.starts_with('/') || uri.contains('$') {
        let why = "The page is a file: `error_page.file`.";
        output.notes.lost(page, why);
        return None;
    }
    let location = scope
        .here("location")
        .find(|location| is_for(location, uri));
    let inside = location.map(|location| scope.inner(location));
    let root = inside.as_ref().unwrap_or(scope).one("root");
    let root = root.map_or("html", |root| root.arg(0));
    if root.contains('$') {
        output
            .notes
            .lost(page, "The page is a file, without variables.");
        return None;
    }
    Some(format!("{}{uri}", root.trim_end_matches('/')))
}

/// Returns `true` if a location is for the path of an error page alone.
fn is_for(location: &Directive, uri: &str) -> bool {
    matches!(location.args.as_slice(), [modifier, path] if modifier == "=" && path == uri)
}

/// Returns `true` if a location only serves an error page. It then has no route, or one that hides
/// the page.
pub(super) fn is_page(scope: &Scope, location: &Directive) -> bool {
    let pages = scope.all("error_page");
    let is_plain = |directive: &Directive| {
        matches!(
            directive.name.as_str(),
            "root" | "internal" | "access_log" | "log_not_found"
        )
    };
    location.inside().iter().all(is_plain)
        && pages.iter().any(|page| {
            let uri = page.args.last();
            uri.is_some_and(|uri| is_for(location, uri))
        })
}
