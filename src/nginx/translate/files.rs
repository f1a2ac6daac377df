//! Static files: `root`, `alias`, `index`, `try_files`.
//!
//! As in nginx, an index and the last name of `try_files` are looked up anew, and may have another
//! route: the one that runs `index.php`, for example, which must never be sent as a file.

use super::pattern::Pattern;
use super::unsupported;
use super::variables::Variables;
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
    names: &Names,
    variables: &Variables,
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
    index(scope, location, &mut entries, output);
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
    // `try_files` is not inherited.
    if let Some(tried) = scope.here("try_files").last() {
        try_files(tried, scope, names, variables, &mut entries, output);
    }
    types(scope, &mut entries, output);
    let links = scope.one("disable_symlinks");
    if links.is_none_or(|links| links.arg(0) == "off") {
        entries.push(Entry::new("follow_links", true, links));
    }
    entries.push(Entry::new("hidden", true, None));
    route.set("files", Value::Inline(entries), from);
    Served::Files
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
    let Some(path) = Variables::constant(from.arg(0), scope) else {
        return Err((from, "A folder has no variables. Write a route for each."));
    };
    let path = path.as_str();
    let (path, rewrite) = match own {
        _ if !is_alias => (path, None),
        Pattern::Prefix(prefix) => {
            if prefix.ends_with('/') && !path.ends_with('/') {
                let why = "An alias ends with a slash where its location does.";
                return Err((from, why));
            }
            // nginx puts the rest of the path behind the alias, which may be a file.
            match path.rsplit_once('/') {
                Some((folder, name)) if !name.is_empty() && !folder.is_empty() => {
                    (folder, Some(format!("/{}", name.replace('$', "$$"))))
                }
                _ => (path, Some("/".to_owned())),
            }
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
    Ok(Folder {
        root: path.to_owned(),
        rewrite,
        from: Some(from),
    })
}

/// Sets the names of index files.
fn index(scope: &Scope, location: &Directive, entries: &mut Vec<Entry>, output: &mut Output) {
    let index = scope.one("index");
    if let Some(index) = index {
        output.notes.carried(index);
    }
    let default = ["index.html".to_owned()];
    let names = index.map_or(&default[..], |index| &index.args[..]);
    let mut items = Vec::new();
    for name in names {
        if name.contains(['/', '$']) {
            let why = format!("{name}: an index is the name of a file in the folder.");
            output.notes.lost(index.unwrap_or(location), why);
        } else {
            items.push(Item::new(name.as_str(), index));
        }
    }
    entries.push(Entry::new("index", Value::List(items), index));
}

/// Names of the routes of named locations: `@name` of nginx, and the name of the route.
pub(super) type Names = std::collections::HashMap<String, String>;

/// Sets the paths that are tried, and the answer where nothing is found.
fn try_files(
    tried: &Directive,
    scope: &Scope,
    names: &Names,
    variables: &Variables,
    entries: &mut Vec<Entry>,
    output: &mut Output,
) {
    output.notes.carried(tried);
    let template = |text: &str| match variables.template(text, scope) {
        Ok(path) if path.starts_with(['/', '$']) => Ok(path),
        Ok(_) => Err(format!("{text} does not begin with a slash.")),
        Err(missing) => Err(format!("There is no {missing} in geogate.")),
    };
    let Some((last, before)) = tried.args.split_last() else {
        return output.notes.lost(tried, "It names nothing.");
    };
    let paths = before.iter().map(|name| template(name));
    let paths = paths.collect::<Result<Vec<_>, _>>();
    let found = paths.and_then(|paths| Ok((paths, fallback(last, tried, names, &template)?)));
    let (paths, fallback) = match found {
        Ok(found) => found,
        Err(why) => {
            output
                .notes
                .lost(tried, format!("{why} The route answers 501."));
            (Vec::new(), Some(501_u64.into()))
        }
    };
    if paths != ["$uri", "$uri/"] {
        let paths = paths.into_iter().map(|path| Item::new(path, Some(tried)));
        entries.push(Entry::new("try", Value::List(paths.collect()), Some(tried)));
    }
    if let Some(fallback) = fallback {
        entries.push(Entry::new("fallback", fallback, Some(tried)));
    }
}

/// Returns the answer where nothing is found, from the last name of `try_files`; `None` for 404.
fn fallback(
    last: &str,
    tried: &Directive,
    names: &Names,
    template: &dyn Fn(&str) -> Result<String, String>,
) -> Result<Option<Value>, String> {
    if let Some(name) = last.strip_prefix('@') {
        let route = names.get(name);
        let route = route.ok_or_else(|| format!("There is no location @{name}."))?;
        let entry = Entry::new("route", route.as_str(), Some(tried));
        return Ok(Some(Value::Inline(vec![entry])));
    }
    match last.strip_prefix('=').map(str::parse::<u64>) {
        None => Ok(Some(template(last)?.into())),
        Some(Ok(404)) => Ok(None),
        Some(Ok(status)) if (200..600).contains(&status) => Ok(Some(status.into())),
        Some(_) => Err(format!("{last} is no status.")),
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
