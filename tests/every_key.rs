//! Every key of conf/geogate.toml is in an end-to-end test.
//!
//! Tests write configuration as text, so their strings are read for it. A key counts if a string has
//! it below the header of its section, or, if no other section has a key of this name, anywhere. A
//! test that puts its configuration together from pieces names its keys in a comment:
//! `// Keys: client_ip.header, upstream.balance`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A key with the header of its section. Keys of inline tables are behind their table's:
/// `("upstream", "peers.weight")`.
type Key = (String, String);

/// Tables whose keys the operator invents.
const FREE: [&str; 5] = [
    "access_log.json.",
    "route.files.types.",
    "route.headers.",
    "route.request_headers.set.",
    "route.response_headers.set.",
];

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

#[test]
fn every_key_is_in_an_end_to_end_test() {
    let configuration = std::fs::read_to_string(path("conf/geogate.toml")).unwrap();
    let known = keys(&uncommented(&configuration));
    assert!(known.len() > 150, "{} keys", known.len());
    let (mut seen, mut named) = (BTreeSet::new(), BTreeSet::new());
    for file in rust_files(&path("tests/e2e")) {
        let source = std::fs::read_to_string(file).unwrap();
        seen.extend(strings(&source).iter().flat_map(|text| keys(text)));
        let comments = source.lines().map(str::trim);
        let comments = comments.filter_map(|line| line.strip_prefix("// Keys: "));
        named.extend(
            comments
                .flat_map(|list| list.split(", "))
                .map(str::to_owned),
        );
    }
    for name in &named {
        let is_key = |(section, key): &Key| format!("{section}.{key}") == *name;
        assert!(
            known.iter().any(is_key),
            "{name} is no key, and a test names it"
        );
    }
    let missing = known.iter().filter(|key| {
        let dotted = format!("{}.{}", key.0, key.1);
        !named.contains(&dotted) && !is_seen(key, &known, &seen)
    });
    let missing: Vec<_> = missing
        .map(|(section, key)| format!("{section}.{key}"))
        .collect();
    assert!(
        missing.is_empty(),
        "in no end-to-end test: {}",
        missing.join(", ")
    );
}

fn is_seen(key: &Key, known: &BTreeSet<Key>, seen: &BTreeSet<Key>) -> bool {
    let last = |key: &Key| key.1.rsplit('.').next().unwrap_or_default().to_owned();
    let name = last(key);
    let is_only = known.iter().filter(|other| last(other) == name).count() == 1;
    // A table may stand inline in the one around it: `[[route]]`, `files = { root = ... }`.
    let inline = key
        .0
        .rsplit_once('.')
        .map(|(section, table)| (section.to_owned(), format!("{table}.{}", key.1)));
    seen.contains(key)
        || inline.is_some_and(|inline| seen.contains(&inline))
        || is_only && seen.iter().any(|other| last(other) == name)
}

/// The configuration with its examples, and without its comments.
fn uncommented(text: &str) -> String {
    let line = |line: &str| match line.strip_prefix("#:") {
        Some(example) => format!("{}\n", example.trim()),
        None if line.starts_with('#') => "\n".to_owned(),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

/// The keys in a piece of TOML. Without a header the section is empty.
fn keys(text: &str) -> BTreeSet<Key> {
    let mut keys = BTreeSet::new();
    let (mut section, mut outer) = (String::new(), String::new());
    for line in text.lines().map(str::trim) {
        if let Some(header) = header(line) {
            header.clone_into(&mut section);
            outer.clear();
            continue;
        }
        if let Some((key, _)) = line.split_once('=').filter(|(key, _)| is_key(key.trim())) {
            key.trim().clone_into(&mut outer);
            keys.insert((section.clone(), outer.clone()));
        }
        for piece in line.split(['{', ',']).skip(1) {
            let Some((inner, _)) = piece.split_once('=') else {
                continue;
            };
            let key = format!("{outer}.{}", inner.trim());
            if is_key(inner.trim()) && !outer.is_empty() {
                keys.insert((section.clone(), key));
            }
        }
    }
    let is_free = |(section, key): &Key| {
        let dotted = format!("{section}.{key}");
        FREE.iter().any(|table| dotted.starts_with(table))
    };
    keys.retain(|key| !is_free(key));
    keys
}

/// `[section]` or `[[section]]`.
fn header(line: &str) -> Option<&str> {
    let line = line.split(" #").next().unwrap_or_default().trim();
    let header = line.strip_prefix('[')?.strip_suffix(']')?;
    let header = header.strip_prefix('[').unwrap_or(header);
    let header = header.strip_suffix(']').unwrap_or(header);
    is_key(header).then_some(header)
}

fn is_key(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let may = |byte| is_letter(byte) || matches!(byte, b'_' | b'.');
    text.bytes().all(may)
        && text
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_lowercase())
}

/// The strings in a piece of Rust, as they are at run time but for what is put into them.
fn strings(source: &str) -> Vec<String> {
    let mut strings = Vec::new();
    let mut rest = source;
    while let Some(at) = rest.find(['"', '\'', '/']) {
        rest = &rest[at..];
        if rest.starts_with("//") {
            rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
        } else if let Some(character) = rest.strip_prefix('\'') {
            // A quote in a character, or the start of a lifetime.
            let end = match character.strip_prefix('\\') {
                Some(escaped) => escaped.char_indices().skip(1).find(|(_, c)| *c == '\''),
                None => character.char_indices().nth(1).filter(|(_, c)| *c == '\''),
            };
            let behind = end.map_or(0, |(at, _)| {
                at + 1 + usize::from(character.starts_with('\\'))
            });
            rest = &character[behind..];
        } else if let Some(text) = rest.strip_prefix('"') {
            let (string, behind) = string(text);
            strings.push(string);
            rest = behind;
        } else {
            rest = &rest[1..];
        }
    }
    strings
}

/// A string up to its quote, and what is behind it.
fn string(text: &str) -> (String, &str) {
    let mut string = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => {
                return (
                    string.replace("{{", "{").replace("}}", "}"),
                    &text[at + 1..],
                );
            }
            '\\' => match characters.next() {
                Some((_, 'n')) => string.push('\n'),
                Some((at, '\n')) => {
                    let indented = &text[at..];
                    let skipped = indented.len() - indented.trim_start().len();
                    for _ in 1..indented[..skipped].chars().count() {
                        characters.next();
                    }
                }
                Some((_, other)) => string.push(other),
                None => {}
            },
            other => string.push(other),
        }
    }
    (string, "")
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut files = Vec::new();
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

#[test]
fn keys_are_found_in_toml_and_in_rust() {
    let source = r#"
        // a comment with "[server]\nnothing = 1"
        let (quote, tick) = ('"', '\'');
        fn of<'a>(text: &'a str) {}
        let text = "[server]\nlisten = [{{ address = 'x', tls = true }}]\n\
                    [[upstream]]\npeers = ['{peer}']\nfiles.root = 1\n";
        let piece = "tries = {tries}\nName = 'no key'";
    "#;
    let found: BTreeSet<Key> = strings(source).iter().flat_map(|text| keys(text)).collect();
    let expected = [
        ("", "tries"),
        ("server", "listen"),
        ("server", "listen.address"),
        ("server", "listen.tls"),
        ("upstream", "files.root"),
        ("upstream", "peers"),
    ];
    let expected = expected.map(|(section, key)| (section.to_owned(), key.to_owned()));
    assert_eq!(found, BTreeSet::from(expected));
}
