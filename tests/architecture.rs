//! Arrows only point down: no layer names one above it, and pingora is named where it may be.

use std::path::{Path, PathBuf};

/// From the top down. A layer may name those after it.
const LAYERS: [&str; 10] = [
    "cli", "server", "admin", "gateway", "query", "nginx", "proto", "config", "geo", "tree",
];

/// A layer that stands beside another and not above it, though the list has an order.
const NOT_BELOW: [(&str, &str); 5] = [
    ("query", "config"),
    ("server", "nginx"),
    ("admin", "nginx"),
    ("gateway", "nginx"),
    ("query", "nginx"),
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
