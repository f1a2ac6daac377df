//! Static files: `root`, `alias`, `index`, `try_files`.
//!
//! As in nginx, an index and the last name of `try_files` are looked up anew, and may have another
//! route: the one that runs `index.php`, for example, which must never be sent as a file.

use super::pattern::Pattern;
use super::unsupported;
use super::variables::{Variables, no_variable};
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
    listing(scope, &mut entries, output);
    precompressed(scope, &mut entries, output);
    max_ranges(scope, &mut entries, output);
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

/// Sets the listing of folders.
fn listing(scope: &Scope, entries: &mut Vec<Entry>, output: &mut Output) {
    let Some(list) = scope.one("autoindex") else {
        return;
    };
    output.notes.carried(list);
    let settings = [
        "autoindex_format",
        "autoindex_exact_size",
        "autoindex_localtime",
    ];
    let [format, exact, local] = settings.map(|name| scope.one(name));
    for setting in [format, exact, local].into_iter().flatten() {
        output.notes.carried(setting);
    }
    if list.arg(0) != "on" {
        return;
    }
    let form = match format.map_or("html", |format| format.arg(0)) {
        "html" => "html",
        "json" => "json",
        other => {
            let why =
                format!("Folders are listed as html or json, not as {other}; here not at all.");
            return output.notes.lost(format.unwrap_or(list), why);
        }
    };
    entries.push(Entry::new("listing", form, Some(list)));
    if form == "json" {
        return;
    }
    if let Some(exact) = exact.filter(|exact| exact.arg(0) == "off") {
        output.notes.minor(exact, "Sizes are listed in bytes.");
    }
    if let Some(local) = local.filter(|local| local.arg(0) == "on") {
        output.notes.minor(local, "Times are listed in UTC.");
    }
}

/// Sets the codings that are looked for beside a file. A file of nginx's modules for brotli and zstd
/// comes first.
fn precompressed(scope: &Scope, entries: &mut Vec<Entry>, output: &mut Output) {
    let mut codings = Vec::new();
    for (name, coding) in [
        ("zstd_static", "zstd"),
        ("brotli_static", "brotli"),
        ("gzip_static", "gzip"),
    ] {
        let Some(directive) = scope.one(name) else {
            continue;
        };
        output.notes.carried(directive);
        match directive.arg(0) {
            "on" => {
                codings.push(Item::new(coding, Some(directive)));
                let why = "A compressed file counts if the file itself is there and is not newer.";
                output.notes.minor(directive, why);
            }
            "always" => {
                codings.push(Item::new(coding, Some(directive)));
                let why = "Clients that do not accept the coding get the file itself, which must be there.";
                output.notes.differs(directive, why);
            }
            _ => {}
        }
    }
    if !codings.is_empty() {
        entries.push(Entry::new("precompressed", Value::List(codings), None));
    }
}

fn max_ranges(scope: &Scope, entries: &mut Vec<Entry>, output: &mut Output) {
    let Some(most) = scope.one("max_ranges") else {
        return;
    };
    match most.arg(0).parse::<u64>() {
        Ok(number) => {
            output.notes.carried(most);
            if number > 1000 {
                output.notes.minor(most, "At most 1000 ranges are sent.");
            }
            entries.push(Entry::new("max_ranges", number.min(1000), Some(most)));
        }
        Err(_) => output.notes.lost(most, "This is no number."),
    }
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
        Err(missing) => Err(no_variable(&missing)),
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

/// Maximum number of extensions in `http` that are written for each route.
const SHORT_TABLE: usize = 20;

/// Returns `true` if the media types of a block are written as they are, without the known ones: those of
/// a server or a location, which are meant, and a short list. `mime.types` is long, and nearly the same as
/// the known types.
fn is_whole_table(scope: &Scope, lists: &[&Directive]) -> bool {
    let mut levels = scope.chain();
    let level = levels.find(|level| level.here("types").next().is_some());
    let lines = lists.iter().flat_map(|list| list.inside());
    let count: usize = lines.map(|line| line.args.len()).sum();
    let is_inner = level.is_some_and(|level| level.is("server") || level.is("location"));
    !lists.is_empty() && (is_inner || count <= SHORT_TABLE)
}

/// Sets media types: those of nginx's list that differ from the known ones, or all of a short list, and
/// the default.
fn types(scope: &Scope, entries: &mut Vec<Entry>, output: &mut Output) {
    let lists = scope.all("types");
    let is_whole_table = is_whole_table(scope, &lists);
    let mut own: Vec<Entry> = Vec::new();
    for list in lists {
        if is_whole_table {
            output.notes.carried(list);
        } else {
            output.notes.needless(list, unsupported::TYPES);
        }
        for line in list.inside() {
            for extension in &line.args {
                let known = mime_guess::from_ext(extension).first_raw();
                let is_new = !own.iter().any(|other| other.key == *extension);
                if is_new && (is_whole_table || known != Some(line.name.as_str())) {
                    own.push(Entry::new(extension, line.name.as_str(), Some(list)));
                }
            }
        }
    }
    if !own.is_empty() {
        entries.push(Entry::new("types", Value::Inline(own), None));
    }
    if is_whole_table {
        entries.push(Entry::new("known_types", false, None));
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
