//! Static files: `root`, `alias`, `index`, `try_files`.
//!
//! nginx looks up an index and the last name of `try_files` again, and may find another location
//! for them: the one that runs `index.php`, for example, which must never be sent as a file. So a
//! name is kept only if the location that nginx would choose for it serves the same file.

use super::order::Plan;
use super::pattern::{Pattern, pattern};
use super::unsupported;
use crate::nginx::Output;
use crate::nginx::document::{Entry, Item, Table, Value};
use crate::nginx::scope::Scope;
use crate::nginx::tree::Directive;

/// nginx's default for `root`.
const ROOT: &str = "html";

/// Outcome for a location that serves files.
pub(super) enum Served {
    /// The route has `files`.
    Files,
    /// Paths without a file go to the location of this name.
    Named(String),
    /// The location cannot be carried over.
    Lost,
}

/// Folder of a location's files.
struct Folder<'s> {
    root: String,
    /// Path below the root that replaces the path of the request.
    rewrite: Option<String>,
    from: Option<&'s Directive>,
}

/// Makes a route serve files.
pub(super) fn translate<'s>(
    scope: &Scope<'s>,
    location: &'s Directive,
    own: &Pattern,
    plan: &Plan,
    route: &mut Table,
    output: &mut Output,
) -> Served {
    let folder = match folder(scope, own) {
        Ok(folder) => folder,
        Err((directive, why)) => {
            let why = format!("{why} The route answers 501.");
            output.notes.lost(directive, why);
            return Served::Lost;
        }
    };
    if let Some(from) = folder.from {
        output.notes.carried(from);
    }
    if let Some(rewrite) = &folder.rewrite {
        route.set("rewrite", rewrite.as_str(), folder.from);
    }
    let from = folder.from.or(Some(location));
    let mut entries = vec![Entry::new("root", folder.root.as_str(), from)];
    index(scope, location, own, plan, &mut entries, output);
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
    let tried = Tried {
        location,
        own,
        plan,
        is_alias: folder.rewrite.is_some(),
    };
    // `try_files` is not inherited.
    let served = scope
        .here("try_files")
        .last()
        .map(|try_files| tried.translate(try_files, &mut entries, output));
    // Without `$uri/` folders have no index, unless a fallback is served for every path.
    let is_tried =
        Tried::tries_folders(scope) || entries.iter().any(|entry| entry.key == "fallback");
    if let (false, Some(index)) = (
        is_tried,
        entries.iter_mut().find(|entry| entry.key == "index"),
    ) {
        index.value = Value::List(Vec::new());
    }
    types(scope, &mut entries, output);
    let links = scope.one("disable_symlinks");
    if links.is_none_or(|links| links.arg(0) == "off") {
        entries.push(Entry::new("follow_links", true, links));
    }
    entries.push(Entry::new("hidden", true, None));
    route.set("files", Value::Inline(entries), from);
    served.unwrap_or(Served::Files)
}

fn folder<'s>(
    scope: &Scope<'s>,
    own: &Pattern,
) -> Result<Folder<'s>, (&'s Directive, &'static str)> {
    let here = scope.here("alias").chain(scope.here("root")).last();
    let nearest = scope.all_of(&["alias", "root"]).last().copied();
    let Some(from) = here.or(nearest) else {
        return Ok(Folder {
            root: ROOT.to_owned(),
            rewrite: None,
            from: None,
        });
    };
    let is_alias = from.name == "alias";
    if is_alias && here.is_none() {
        return Err((
            from,
            "The alias of a location around this one is not carried over.",
        ));
    }
    let path = from.arg(0);
    let (path, rewrite) = match own {
        _ if !is_alias => (path, None),
        Pattern::Prefix(prefix) => {
            if prefix.ends_with('/') != path.ends_with('/') {
                let why = "An alias and its location end with a slash, both or neither.";
                return Err((from, why));
            }
            (path, Some("/".to_owned()))
        }
        Pattern::Exact(_) => match path.rsplit_once('/') {
            Some((folder, name)) if !name.is_empty() && !folder.is_empty() => {
                (folder, Some(format!("/{}", name.replace('$', "$$"))))
            }
            _ => return Err((from, "The alias of an exact path is a file.")),
        },
        Pattern::Regex(_) => match path.strip_suffix("/$1") {
            Some(folder) if !folder.is_empty() => (folder, Some("/$1".to_owned())),
            _ => return Err((from, "With an expression an alias ends with `/$1`.")),
        },
    };
    if path.contains('$') {
        return Err((from, "A folder has no variables. Write a route for each."));
    }
    Ok(Folder {
        root: path.to_owned(),
        rewrite,
        from: Some(from),
    })
}

/// Sets the names of index files.
fn index(
    scope: &Scope,
    location: &Directive,
    own: &Pattern,
    plan: &Plan,
    entries: &mut Vec<Entry>,
    output: &mut Output,
) {
    let index = scope.one("index");
    if let Some(index) = index {
        output.notes.carried(index);
    }
    let default = ["index.html".to_owned()];
    let names = index.map_or(&default[..], |index| &index.args[..]);
    let mut items = Vec::new();
    for name in names {
        let from = index.unwrap_or(location);
        if name.contains(['/', '$']) {
            let why = format!("{name}: an index is the name of a file in the folder.");
            output.notes.lost(from, why);
            continue;
        }
        match leads_elsewhere(name, location, own, plan) {
            None => items.push(Item::new(name.as_str(), index)),
            Some(other) if is_plain(other) => {
                let why = format!(
                    "{name} is served as files are here; nginx serves it by the location in line {}.",
                    other.place.line
                );
                output.notes.differs(from, why);
                items.push(Item::new(name.as_str(), index));
            }
            Some(other) => {
                let why = format!(
                    "{name} is left out: nginx looks it up anew, and the location in line {} answers. A \
                     route has files or something else.",
                    other.place.line
                );
                output.notes.lost(from, why);
            }
        }
    }
    entries.push(Entry::new("index", Value::List(items), index));
}

/// Returns the location that nginx would choose for the index of a folder, if that may be a
/// different one.
fn leads_elsewhere<'s>(
    name: &str,
    location: &Directive,
    own: &Pattern,
    plan: &Plan<'s>,
) -> Option<&'s Directive> {
    let folder = match own {
        Pattern::Prefix(path) | Pattern::Exact(path) => &path[..=path.rfind('/').unwrap_or(0)],
        Pattern::Regex(_) => "/",
    };
    let folders = [
        folder.to_owned(),
        format!("{folder}x/"),
        format!("{folder}x/y/"),
        match own {
            Pattern::Prefix(path) if !path.ends_with('/') => format!("{path}/"),
            _ => "/".to_owned(),
        },
    ];
    let is_same = |found: Option<&Directive>| match found {
        Some(found) => found.id == location.id,
        // Paths without a location belong to the server itself.
        None => location.name == "server",
    };
    for folder in folders.iter().filter(|folder| is_same(plan.find(folder))) {
        if let Some(found) = plan.find(&format!("{folder}{name}"))
            && !is_same(Some(found))
        {
            return Some(found);
        }
    }
    plan.all().into_iter().find(|other| match pattern(other) {
        Some(Pattern::Exact(path)) => path
            .strip_suffix(name)
            .is_some_and(|folder| folder.ends_with('/') && is_same(plan.find(folder))),
        _ => false,
    })
}

/// Returns `true` if a location serves files from the folder of the block around it, with different
/// headers at most.
fn is_plain(location: &Directive) -> bool {
    const ALLOWED: [&str; 8] = [
        "add_header",
        "expires",
        "access_log",
        "log_not_found",
        "etag",
        "try_files",
        "default_type",
        "gzip_static",
    ];
    let is_allowed = |inner: &Directive| ALLOWED.contains(&inner.name.as_str());
    location.inside().iter().all(is_allowed)
}

/// Translator of a location's `try_files`.
struct Tried<'t, 's> {
    location: &'t Directive,
    own: &'t Pattern,
    plan: &'t Plan<'s>,
    is_alias: bool,
}

impl Tried<'_, '_> {
    fn translate(
        &self,
        tried: &Directive,
        entries: &mut Vec<Entry>,
        output: &mut Output,
    ) -> Served {
        output.notes.carried(tried);
        let Some((last, before)) = tried.args.split_last() else {
            output.notes.lost(tried, "It names nothing.");
            return Served::Files;
        };
        let mut before: Vec<&str> = before.iter().map(String::as_str).collect();
        let (mut last, mut is_here) = (last.as_str(), false);
        // Before a final `=404`, a name is served by this location and not looked up again.
        if let Some(name) = before.last().copied()
            && name.starts_with('/')
            && last == "=404"
        {
            before.pop();
            (last, is_here) = (name, true);
        }
        if before != ["$uri", "$uri/"] {
            // `$uri` alone is exact if the location has no folders, so that no index is missed.
            let is_of_files = before == ["$uri"] && self.takes_only_files();
            if !is_of_files {
                let why = "Files and folders with an index are tried, as by `$uri $uri/`, and nothing \
                           else before the last name.";
                output.notes.differs(tried, why);
            }
        }
        if let Some(name) = last.strip_prefix('@') {
            return Served::Named(name.to_owned());
        }
        if last.starts_with('=') {
            if last != "=404" {
                output
                    .notes
                    .differs(tried, "What is not there is answered with 404.");
            }
            return Served::Files;
        }
        self.fallback(last, is_here, tried, entries, output);
        Served::Files
    }

    /// Returns `true` if folders are tried: `try_files` has `$uri/`, or there is no `try_files`.
    fn tries_folders(scope: &Scope) -> bool {
        let mut all = scope.here("try_files");
        all.all(|tried| tried.args.iter().any(|name| name == "$uri/"))
    }

    /// Returns `true` if the location matches no folders: its path has no slash at the end, or its
    /// expression requires a file extension.
    fn takes_only_files(&self) -> bool {
        match self.own {
            Pattern::Exact(path) => !path.ends_with('/'),
            Pattern::Regex(regex) => regex.ends_with(")$") && regex.contains(r"\."),
            Pattern::Prefix(_) => false,
        }
    }

    fn fallback(
        &self,
        last: &str,
        is_here: bool,
        tried: &Directive,
        entries: &mut Vec<Entry>,
        output: &mut Output,
    ) {
        // The query does not matter for a file.
        let path = last.split_once('?').map_or(last, |(path, _)| path);
        let lost = |why: String, output: &mut Output| {
            let why = format!("{why} What is not there is answered with 404.");
            output.notes.lost(tried, why);
        };
        if !path.starts_with('/') || path.contains('$') || path.ends_with('/') {
            let why = "Where nothing is found, a file is served that has always the same name.";
            return lost(why.to_owned(), output);
        }
        let below = match (self.is_alias, self.own) {
            (false, _) => Some(path),
            (true, Pattern::Prefix(prefix)) if !is_here => path.strip_prefix(prefix.as_str()),
            _ => None,
        };
        let Some(below) = below.filter(|below| !below.is_empty()) else {
            return lost(
                "The file is not in the folder of the alias.".to_owned(),
                output,
            );
        };
        let found = self.plan.find(path);
        let is_same = match found {
            Some(found) => found.id == self.location.id,
            None => self.location.name == "server",
        };
        if !is_here && !is_same {
            let line = found.map_or(self.location.place.line, |found| found.place.line);
            if !found.is_some_and(is_plain) || self.is_alias {
                let why = format!(
                    "nginx looks {path} up anew, and the location in line {line} answers. A route has \
                     files or something else."
                );
                return lost(why, output);
            }
            let why = format!(
                "{path} is served as files are here; nginx serves it by the location in line {line}."
            );
            output.notes.differs(tried, why);
        }
        entries.push(Entry::new("fallback", below, Some(tried)));
    }
}

/// Sets media types: those of nginx's list that differ from the known ones, and the default.
fn types(scope: &Scope, entries: &mut Vec<Entry>, output: &mut Output) {
    let mut differing: Vec<Entry> = Vec::new();
    for list in scope.all("types") {
        output.notes.needless(list, unsupported::TYPES);
        for line in list.inside() {
            for extension in &line.args {
                let known = mime_guess::from_ext(extension).first_raw();
                let is_new = !differing.iter().any(|other| other.key == *extension);
                if known != Some(line.name.as_str()) && is_new {
                    differing.push(Entry::new(extension, line.name.as_str(), Some(list)));
                }
            }
        }
    }
    if !differing.is_empty() {
        entries.push(Entry::new("types", Value::Inline(differing), None));
    }
    let default = scope.one("default_type");
    // A file of conf.d does not show the settings of the `http` block around it.
    let is_whole = scope.chain().any(|level| level.is("http"));
    let unsaid = if is_whole {
        "text/plain"
    } else {
        "application/octet-stream"
    };
    let name = default.map_or(unsaid, |default| default.arg(0));
    if let Some(default) = default {
        output.notes.carried(default);
    }
    if name != "application/octet-stream" {
        entries.push(Entry::new("default_type", name, default));
    }
}
