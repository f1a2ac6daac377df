//! Arrows only point down: no layer names one above it, and pingora is named where it may be.

use std::path::{Path, PathBuf};

/// From the top down. A layer may name those after it.
const LAYERS: [&str; 10] = [
    "cli", "server", "admin", "gateway", "query", "nginx", "proto", "config", "geo", "tree",
];

/// A layer that stands beside another and not above it, though the list has an order.
const NOT_BELOW: [(&str, &str); 7] = [
    ("query", "config"),
    ("server", "nginx"),
    ("admin", "nginx"),
    ("gateway", "nginx"),
    ("query", "nginx"),
    // HTTP as values is fuzzed by itself.
    ("proto", "config"),
    ("proto", "geo"),
];

/// The folders and files of the gateway, from the top down. One may name those after it.
const GATEWAY: [&str; 17] = [
    "downstream",
    "exchange",
    "respond",
    "context",
    "settings",
    "route",
    "upstream",
    "telemetry",
    "failure",
    "access",
    "compression",
    "request",
    "listener",
    "error_page",
    "pingora_headers",
    "plain_stream",
    "shard",
];

/// The layers that know pingora.
const PINGORA: [&str; 3] = ["server", "admin", "gateway"];

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files = Vec::new();
    for path in entries {
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Lines of code, without comments, with what they come from.
fn lines(layer: &str) -> Vec<(String, String)> {
    let files = rust_files(&source().join(layer));
    assert!(!files.is_empty(), "no files in {layer}");
    let lines = files.into_iter().flat_map(|file| {
        let text = std::fs::read_to_string(&file).unwrap();
        let name = file.display().to_string();
        let code = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        code.map(|line| (name.clone(), line.to_owned()))
            .collect::<Vec<_>>()
    });
    lines.collect()
}

/// The layers that a line names as `crate::layer`.
fn named(line: &str) -> Vec<&'static str> {
    let names = line.split("crate::").skip(1);
    let names = names.map(|rest| rest.trim_start_matches('{'));
    names
        .filter_map(|rest| LAYERS.into_iter().find(|layer| is_word(rest, layer)))
        .collect()
}

fn is_word(text: &str, word: &str) -> bool {
    let rest = text.strip_prefix(word);
    rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
}

#[test]
fn every_folder_is_a_layer() {
    let entries = std::fs::read_dir(source())
        .unwrap()
        .map(|entry| entry.unwrap());
    for entry in entries.filter(|entry| entry.path().is_dir()) {
        let name = entry.file_name().into_string().unwrap();
        assert!(LAYERS.contains(&name.as_str()), "{name} is no layer");
    }
}

#[test]
fn no_layer_names_one_above_it() {
    for (height, layer) in LAYERS.into_iter().enumerate() {
        for (file, line) in lines(layer) {
            for other in named(&line) {
                let below = LAYERS[height..].contains(&other);
                let beside = NOT_BELOW.contains(&(layer, other));
                assert!(below && !beside, "{file}: {layer} names {other}: {line}");
            }
        }
    }
}

#[test]
fn pingora_is_named_where_it_may_be() {
    for layer in LAYERS.into_iter().filter(|layer| !PINGORA.contains(layer)) {
        for (file, line) in lines(layer) {
            assert!(!line.contains("pingora"), "{file}: {line}");
        }
    }
}

#[test]
fn geo_and_tree_know_no_http() {
    for layer in ["geo", "tree"] {
        for (file, line) in lines(layer) {
            assert!(
                !line.contains("http::") && !line.contains("use http"),
                "{file}: {line}"
            );
        }
    }
}

#[test]
fn the_command_line_parser_stays_in_its_layer() {
    for layer in LAYERS.into_iter().filter(|&layer| layer != "cli") {
        for (file, line) in lines(layer) {
            assert!(!line.contains("structopt"), "{file}: {line}");
        }
    }
}

/// The code of a file without its tests and comments.
fn code(text: &str) -> String {
    const TESTS: &str = "\n#[cfg(test)]\n";
    let mut ends = text.match_indices(TESTS).map(|(at, _)| at);
    let is_module = |&at: &usize| {
        let line = text[at + TESTS.len()..].lines().next().unwrap_or_default();
        line.contains("mod ") && line.ends_with('{')
    };
    let end = ends.find(is_module).unwrap_or(text.len());
    let lines = text[..end].lines();
    let lines = lines.filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The module that a file is: `gateway::downstream` for `src/gateway/downstream/mod.rs`.
fn module(file: &Path) -> Vec<String> {
    let path = file.strip_prefix(source()).unwrap().with_extension("");
    let parts = path.iter().map(|part| part.to_str().unwrap().to_owned());
    let mut parts: Vec<_> = parts.collect();
    parts.pop_if(|last| last == "mod");
    parts
}

/// The paths of a use tree: `a::{b, c::{d, e}}` is `a::b`, `a::c::d` and `a::c::e`.
fn paths(tree: &str) -> Vec<String> {
    let Some(open) = tree.find('{') else {
        return vec![tree.to_owned()];
    };
    let (start, inner) = (&tree[..open], &tree[open + 1..tree.rfind('}').unwrap()]);
    let (mut depth, mut parts) = (0, vec![String::new()]);
    for letter in inner.chars() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().unwrap().push(letter);
    }
    let parts = parts.iter().filter(|part| !part.is_empty());
    let parts = parts.flat_map(|part| paths(part));
    parts.map(|part| format!("{start}{part}")).collect()
}

/// The files that a file names by `use`. A folder's `mod.rs` names what lies in it: that is no arrow.
fn arrows(here: &[String], text: &str, modules: &[Vec<String>]) -> Vec<Vec<String>> {
    let starts = text.match_indices('\n').map(|(at, _)| &text[at + 1..]);
    let uses = std::iter::once(text).chain(starts).filter_map(|rest| {
        let rest = rest.trim_start_matches(' ');
        let rest = rest.strip_prefix("pub ").unwrap_or(rest);
        let rest = rest.strip_prefix("pub(super) ").unwrap_or(rest);
        let (tree, _) = rest.strip_prefix("use ")?.split_once(';')?;
        Some(tree.split_whitespace().collect::<String>())
    });
    let mut found = Vec::new();
    for path in uses.flat_map(|tree| paths(&tree)) {
        let mut parts = path.split("::").peekable();
        let mut full = match parts.peek().copied() {
            Some("crate") => Vec::new(),
            Some("self" | "super") => here.to_vec(),
            _ => continue,
        };
        while let Some(part) = parts.next_if(|part| matches!(*part, "crate" | "self" | "super")) {
            if part == "super" {
                full.pop();
            }
        }
        full.extend(parts.map(str::to_owned));
        let known = (1..=full.len())
            .rev()
            .find(|&end| modules.contains(&full[..end].to_vec()));
        let target = known.map(|end| full[..end].to_vec());
        found.extend(target.filter(|target| !target.starts_with(here)));
    }
    found
}

/// Every file without unit tests of its own, with its module and its code.
fn modules_with_code() -> Vec<(Vec<String>, String)> {
    let files = rust_files(&source());
    let files = files.iter().filter(|file| !file.ends_with("tests.rs"));
    let texts = files.map(|file| (module(file), code(&std::fs::read_to_string(file).unwrap())));
    texts.collect()
}

#[test]
fn no_folder_of_the_gateway_names_one_above_it() {
    let texts = modules_with_code();
    let modules: Vec<_> = texts.iter().map(|(module, _)| module.clone()).collect();
    let height = |module: &[String]| match module {
        [layer, part, ..] if layer == "gateway" => {
            let height = GATEWAY.iter().position(|name| name == part);
            Some(height.unwrap_or_else(|| panic!("{part} is no folder of the gateway")))
        }
        // What all share is named by all.
        _ => None,
    };
    let mut arrows_within = 0;
    for (module, text) in &texts {
        let Some(from) = height(module) else {
            continue;
        };
        for target in arrows(module, text, &modules) {
            let Some(to) = height(&target) else { continue };
            arrows_within += 1;
            let (module, target) = (module.join("::"), target.join("::"));
            assert!(from <= to, "{module} names {target}, which is above it");
        }
        for part in text.split("crate::gateway::").skip(1) {
            let named = GATEWAY.iter().position(|name| is_word(part, name));
            assert!(named.is_none_or(|to| from <= to), "{module:?}: {part:.40}");
        }
    }
    assert!(arrows_within > 200);
}

#[test]
fn no_files_name_each_other_in_a_circle() {
    let texts = modules_with_code();
    let modules: Vec<_> = texts.iter().map(|(module, _)| module.clone()).collect();
    let mut left: Vec<(Vec<String>, Vec<Vec<String>>)> = texts
        .iter()
        .map(|(module, text)| (module.clone(), arrows(module, text, &modules)))
        .collect();
    assert!(left.iter().map(|(_, arrows)| arrows.len()).sum::<usize>() > 500);
    // A file whose arrows all lead to files that are in no circle is in none either.
    loop {
        let names: Vec<_> = left.iter().map(|(module, _)| module.clone()).collect();
        let before = left.len();
        left.retain(|(_, arrows)| arrows.iter().any(|target| names.contains(target)));
        if left.len() == before {
            break;
        }
    }
    let circle: Vec<_> = left.iter().map(|(module, _)| module.join("::")).collect();
    assert!(
        circle.is_empty(),
        "in a circle, or leading to one: {circle:#?}"
    );
}

#[test]
fn proto_knows_no_settings_and_no_runtime() {
    for (file, line) in lines("proto") {
        let is_known = ["tokio", "Settings"].iter().any(|word| line.contains(word));
        assert!(!is_known, "{file}: {line}");
    }
}
