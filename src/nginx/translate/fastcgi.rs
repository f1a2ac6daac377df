//! `fastcgi_pass`: the upstream, the script and the parameters of a location's requests.
//!
//! geogate runs what ends in `.php` and is a file, and sends the parameters of nginx's own
//! `fastcgi.conf` by itself. What a file says beyond that becomes a setting, or is listed.

use super::pattern::Pattern;
use super::target::{Target, is_unix, split_port};
use super::upstream;
use super::variables::{Variables, no_variable};
use crate::nginx::Output;
use crate::nginx::document::{Entry, Table, Value};
use crate::nginx::scope::Scope;
use crate::nginx::tree::Directive;

/// Parameters that geogate sends by itself, with their values in nginx's files.
const STANDARD: [(&str, &[&str]); 21] = [
    ("QUERY_STRING", &["$query_string", "$args"]),
    ("REQUEST_METHOD", &["$request_method"]),
    ("CONTENT_TYPE", &["$content_type"]),
    ("CONTENT_LENGTH", &["$content_length"]),
    ("SCRIPT_NAME", &["$fastcgi_script_name"]),
    ("REQUEST_URI", &["$request_uri"]),
    ("DOCUMENT_URI", &["$document_uri", "$uri"]),
    ("DOCUMENT_ROOT", &["$document_root", "$realpath_root"]),
    ("SERVER_PROTOCOL", &["$server_protocol"]),
    ("REQUEST_SCHEME", &["$scheme"]),
    ("HTTPS", &["$https"]),
    ("GATEWAY_INTERFACE", &["CGI/1.1"]),
    ("SERVER_SOFTWARE", &["nginx/$nginx_version", "nginx"]),
    ("REMOTE_ADDR", &["$remote_addr"]),
    ("REMOTE_PORT", &["$remote_port"]),
    ("SERVER_ADDR", &["$server_addr"]),
    ("SERVER_PORT", &["$server_port"]),
    ("SERVER_NAME", &["$server_name", "$host"]),
    ("REDIRECT_STATUS", &["200"]),
    ("PATH_INFO", &["$fastcgi_path_info", "$path_info"]),
    // No script gets it.
    ("HTTP_PROXY", &["", "''", "\"\""]),
];

/// Files of nginx with these parameters.
const FILES: [&str; 3] = ["fastcgi_params", "fastcgi.conf", "fastcgi-php.conf"];

/// The file of Debian that splits the path behind a script off, too.
const SPLITTING_FILE: &str = "fastcgi-php.conf";

/// Script of a location.
struct Scripts {
    root: String,
    /// The only script, if there is one.
    script: Option<String>,
}

/// Sets the upstream and the scripts of a route. Returns `false` if that cannot be done.
pub(super) fn translate(
    http: &Scope,
    scope: &Scope,
    pass: &Directive,
    pattern: &Pattern,
    variables: &Variables,
    route: &mut Table,
    output: &mut Output,
) -> bool {
    output.notes.carried(pass);
    let found = target(pass, http, scope).and_then(|target| Ok((target, scripts(scope)?)));
    let (target, scripts) = match found {
        Ok(found) => found,
        Err(why) => {
            let why = format!("{why} The route answers 501.");
            output.notes.lost(pass, why);
            return false;
        }
    };
    let Some(name) = upstream::name(http, scope, &target, pass, output) else {
        return false;
    };
    route.set("upstream", name, Some(pass));
    let mut entries = vec![Entry::new("root", scripts.root, Some(pass))];
    match scripts.script {
        Some(script) => entries.push(Entry::new("script", script, Some(pass))),
        None => by_path(scope, pass, pattern, &mut entries, output),
    }
    if !is_checked(http, scope, &target, output) {
        entries.push(Entry::new("check_file", false, Some(pass)));
    }
    entries.push(Entry::new("follow_links", true, None));
    let params = params(scope, variables, output);
    if !params.is_empty() {
        entries.push(Entry::new("params", Value::Inline(params), Some(pass)));
    }
    route.set("fastcgi", Value::Inline(entries), Some(pass));
    true
}

/// Server that a location's requests go to.
fn target(pass: &Directive, http: &Scope, scope: &Scope) -> Result<Target, &'static str> {
    let why = "Where requests go has no variables, but for those that `set` gives one value. Write a \
               route for each.";
    let server = Variables::constant(pass.arg(0), scope).ok_or(why)?;
    let (host, port) = split_port(&server)?;
    let is_block = || http.directives().find("upstream", host).is_some();
    if port.is_none() && !is_unix(host) && !is_block() {
        return Err("The server has no port.");
    }
    Ok(Target {
        host: host.to_owned(),
        port,
        tls: false,
        http2: false,
        fastcgi: true,
    })
}

/// Reads the root and the script from `root` and `SCRIPT_FILENAME`.
fn scripts(scope: &Scope) -> Result<Scripts, &'static str> {
    let folder = scope.all_of(&["alias", "root"]).last().copied();
    if folder.is_some_and(|folder| folder.name == "alias") {
        return Err("Scripts are below a `root`; with an `alias` nothing runs.");
    }
    let root = folder.map_or(Some("html".to_owned()), |root| {
        Variables::constant(root.arg(0), scope)
    });
    let root = root.ok_or("A folder has no variables. Write a route for each.")?;
    let root = root.trim_end_matches('/').to_owned();
    let params = scope.all("fastcgi_param");
    let file = params
        .iter()
        .rfind(|param| param.arg(0) == "SCRIPT_FILENAME");
    let Some(file) = file else {
        if known_files(scope).next().is_none() {
            return Err("No `SCRIPT_FILENAME` says what runs.");
        }
        return Ok(Scripts { root, script: None });
    };
    let text = file.arg(1);
    let of_root = ["$document_root", "$realpath_root"];
    let rest = of_root.iter().find_map(|name| text.strip_prefix(name));
    let (folder, rest) = match rest {
        Some(rest) => (root, rest),
        None => match text.strip_suffix("$fastcgi_script_name") {
            Some(folder) => (
                folder.trim_end_matches('/').to_owned(),
                "$fastcgi_script_name",
            ),
            None => match text.rsplit_once('/') {
                Some((folder, name)) => (folder.to_owned(), &text[text.len() - name.len() - 1..]),
                None => (String::new(), text),
            },
        },
    };
    let why = "What runs is named by more than the root and the name of the script.";
    let folder = Variables::constant(&folder, scope).filter(|folder| !folder.is_empty());
    let folder = folder.ok_or(why)?;
    match rest.trim_start_matches('/') {
        "$fastcgi_script_name" => Ok(Scripts {
            root: folder,
            script: None,
        }),
        script if !script.contains('$') && !script.is_empty() => Ok(Scripts {
            root: folder,
            script: Some(format!("/{script}")),
        }),
        _ => Err(why),
    }
}

/// Sets how the path of a request names the script.
fn by_path(
    scope: &Scope,
    pass: &Directive,
    pattern: &Pattern,
    entries: &mut Vec<Entry>,
    output: &mut Output,
) {
    if let Some(index) = scope.one("fastcgi_index") {
        output.notes.carried(index);
        entries.push(Entry::new("index", index.arg(0), Some(index)));
    }
    let split = scope.one("fastcgi_split_path_info");
    if let Some(split) = split {
        let text = split.arg(0);
        if text.starts_with("^(.+") && text.contains("\\.php)(") {
            output.notes.carried(split);
        } else {
            let why = "The path goes on behind the first `.php` that is a file.";
            output.notes.differs(split, why);
        }
    }
    if let Some(split) = split
        && !scope
            .all("fastcgi_param")
            .iter()
            .any(|param| param.arg(0) == "PATH_INFO")
    {
        let why = "Scripts get PATH_INFO, too, which nginx's file does not set.";
        output.notes.minor(split, why);
    }
    if split.is_some() || is_debian(scope) {
        entries.push(Entry::new("path_info", true, split));
    }
    // `\.php5$` and `\.(php|phar)$` mean other names, too.
    let is_php = |rest: &str| rest.is_empty() || rest.starts_with(['$', '(', ')', '/']);
    let names_php =
        matches!(pattern, Pattern::Regex(regex) if regex.split("\\.php").skip(1).any(is_php));
    let exact = matches!(pattern, Pattern::Exact(path) if path.rsplit('.').next() == Some("php"));
    if !names_php && !exact {
        let why = "Only names that end in `.php` run here; `fastcgi.extensions` names others. All else \
                   is answered with 404.";
        output.notes.differs(pass, why);
    }
}

/// Returns `true` if the files of scripts are looked for on this host: the server is here, or nginx
/// looks for them, too.
fn is_checked(http: &Scope, scope: &Scope, target: &Target, output: &mut Output) -> bool {
    let tried = scope.here("try_files").last();
    let is_check = tried.is_some_and(|tried| {
        let names = ["$uri", "$fastcgi_script_name", "$document_uri"];
        matches!(&tried.args[..], [name, last] if names.contains(&&**name) && last == "=404")
    });
    if let (true, Some(tried)) = (is_check, tried) {
        output.notes.carried(tried);
        return true;
    }
    if is_debian(scope) {
        return true;
    }
    let is_here = |address: &str| {
        let local = ["127.", "localhost:", "[::1]"];
        is_unix(address) || local.iter().any(|known| address.starts_with(known))
    };
    match http.directives().find("upstream", &target.host) {
        Some(block) => {
            let mut servers = block.inside().iter().filter(|inner| inner.name == "server");
            servers.all(|server| is_here(server.arg(0)))
        }
        None => is_here(&format!("{}:", target.host)),
    }
}

/// Returns `true` if Debian's file is included, which looks for files and splits paths.
fn is_debian(scope: &Scope) -> bool {
    known_files(scope).any(|file| file.arg(0).ends_with(SPLITTING_FILE))
}

/// Parameters beside the standard ones.
fn params(scope: &Scope, variables: &Variables, output: &mut Output) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for param in scope.all("fastcgi_param") {
        output.notes.carried(param);
        let (name, value) = (param.arg(0), param.arg(1));
        let is_standard = STANDARD
            .iter()
            .any(|(known, values)| *known == name && values.contains(&value));
        // nginx's name of the server does not depend on the request.
        if let ("SERVER_NAME", "$server_name") = (name, value) {
            entries.retain(|entry| entry.key != name);
            let server_name = server_name(scope).replace('$', "$$");
            entries.push(Entry::new(name, server_name, Some(param)));
            continue;
        }
        if is_standard || matches!(name, "SCRIPT_FILENAME" | "PATH_TRANSLATED") {
            continue;
        }
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(is_name) {
            output.notes.lost(param, "This is no name of a parameter.");
            continue;
        }
        match variables.template(value, scope) {
            Ok(value) => {
                entries.retain(|entry| entry.key != name);
                entries.push(Entry::new(name, value, Some(param)));
            }
            Err(missing) => output.notes.lost(param, no_variable(&missing)),
        }
    }
    entries
}

/// Returns nginx's `$server_name`: the first name of the server, as it is written.
fn server_name<'s>(scope: &Scope<'s>) -> &'s str {
    let names = scope.one("server_name");
    names.map_or("", |names| names.arg(0))
}

/// Returns `true` for the name of one of nginx's files with parameters.
pub(super) fn is_known_file(path: &str) -> bool {
    FILES.contains(&path.rsplit('/').next().unwrap_or_default())
}

/// Includes of nginx's files with parameters that are not there to be read.
fn known_files<'s>(scope: &Scope<'s>) -> impl Iterator<Item = &'s Directive> + use<'s> {
    let files = scope.all("include").into_iter();
    files.filter(|file| is_known_file(file.arg(0)))
}
