//! The server and the locations that a request belongs to, by a plain search in the file: for what the
//! translation's findings are compared with, and not for the answers.

use crate::client::Request;
use crate::nginx_file::Directive;
use crate::sample;
use crate::stage::{Listener, Stage};

/// Blocks that a request belongs to, the outermost first.
pub fn blocks<'s>(stage: &'s Stage, request: &Request) -> Vec<&'s Directive> {
    let http = stage.directives.iter().find(|one| one.name() == "http");
    let mut blocks: Vec<&Directive> = http.into_iter().collect();
    let listener = &stage.listeners[&request.listener];
    let Some(server) = server(stage, listener, &request.host) else {
        return blocks;
    };
    blocks.push(server);
    let path = path(&request.target);
    let mut around = server;
    while let Some(location) = location(around, &path) {
        blocks.push(location);
        around = location;
    }
    let elsewhere: Vec<&Directive> = blocks
        .iter()
        .flat_map(|block| fallbacks(server, block))
        .collect();
    blocks.extend(elsewhere);
    blocks
}

/// Locations that requests to a block may end in: those that `try_files` and `error_page` name.
fn fallbacks<'s>(server: &'s Directive, block: &'s Directive) -> Vec<&'s Directive> {
    let names = block.named("try_files").chain(block.named("error_page"));
    let names = names.filter_map(|names| names.words.last());
    let found = names.filter_map(|name| {
        let mut locations = server.named("location");
        let named = locations.find(|location| location.arg(0) == name.text);
        named.or_else(|| location(server, &path(&name.text)))
    });
    found.collect()
}

fn server<'s>(stage: &'s Stage, listener: &Listener, host: &str) -> Option<&'s Directive> {
    let host = host
        .split(':')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let address = listener.address.to_string();
    let here = stage.servers().into_iter().filter(|server| {
        let mut listens = server.named("listen");
        listens.any(|listen| listen.arg(0) == address)
    });
    let here: Vec<&Directive> = here.collect();
    let names = |server: &Directive, is: &dyn Fn(&str) -> bool| {
        server
            .named("server_name")
            .any(|names| names.args().any(is))
    };
    let found = |is: &dyn Fn(&str) -> bool| here.iter().find(|server| names(server, is)).copied();
    let is_default = |server: &&&Directive| {
        let mut listens = server.named("listen");
        listens.any(|listen| listen.args().any(|arg| arg == "default_server"))
    };
    found(&|name| name == host || name.strip_prefix('.') == Some(&host))
        .or_else(|| {
            found(&|name| {
                let end = name
                    .strip_prefix('*')
                    .or_else(|| name.starts_with('.').then_some(name));
                end.is_some_and(|end| host.ends_with(end))
            })
        })
        .or_else(|| {
            found(&|name| {
                name.strip_suffix('*')
                    .is_some_and(|start| host.starts_with(start))
            })
        })
        .or_else(|| {
            found(&|name| {
                name.strip_prefix('~')
                    .is_some_and(|regex| fits(regex, false, &host))
            })
        })
        .or_else(|| here.iter().find(is_default).copied())
        .or_else(|| here.first().copied())
}

/// The location of a block that nginx chooses for a path.
fn location<'b>(block: &'b Directive, path: &str) -> Option<&'b Directive> {
    let mut longest: Option<(&Directive, usize, bool)> = None;
    for location in block.named("location") {
        let (kind, pattern) = parts(location);
        match kind {
            "=" if pattern == path => return Some(location),
            "" | "^~"
                if path.starts_with(pattern)
                    && longest.is_none_or(|(_, length, _)| length < pattern.len()) =>
            {
                longest = Some((location, pattern.len(), kind == "^~"));
            }
            _ => {}
        }
    }
    let regex = || {
        block.named("location").find(|location| {
            let (kind, pattern) = parts(location);
            kind.starts_with('~') && fits(pattern, kind == "~*", path)
        })
    };
    match longest {
        Some((location, _, true)) => Some(location),
        // What is nested in the longest prefix comes before expressions beside it.
        Some((location, ..)) => nested(location, path).or_else(regex).or(Some(location)),
        None => regex(),
    }
}

fn nested<'b>(location: &'b Directive, path: &str) -> Option<&'b Directive> {
    let has = location.named("location").any(|inner| {
        let (kind, pattern) = parts(inner);
        kind.starts_with('~') && fits(pattern, kind == "~*", path)
    });
    has.then_some(location)
}

/// Kind and pattern of a location.
pub fn parts(location: &Directive) -> (&str, &str) {
    match location.arg(0) {
        kind @ ("=" | "~" | "~*" | "^~") => (kind, location.arg(1)),
        text if text.starts_with('=') => ("=", &text[1..]),
        text => ("", text),
    }
}

fn fits(regex: &str, ignores_case: bool, text: &str) -> bool {
    let start = if ignores_case { "(?i)" } else { "" };
    let read = |regex: &str| regex::Regex::new(&format!("{start}{regex}"));
    // An expression of another kind may match anything.
    let regex = read(regex).or_else(|_| read(&sample::simplified(regex)));
    regex.map_or(true, |regex| regex.is_match(text))
}

/// The path of a target, decoded and without dot segments and repeated slashes.
fn path(target: &str) -> String {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let decoded = percent_encoding::percent_decode_str(path)
        .decode_utf8_lossy()
        .into_owned();
    let mut segments: Vec<&str> = Vec::new();
    let ends_in_folder = decoded.ends_with(['/', '.']);
    for segment in decoded
        .split('/')
        .filter(|segment| !segment.is_empty() && *segment != ".")
    {
        match segment {
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    let end = if ends_in_folder && !segments.is_empty() {
        "/"
    } else {
        ""
    };
    format!("/{}{end}", segments.join("/"))
}
