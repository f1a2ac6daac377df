//! Every key of conf/geogate.toml has a test that shows its effect: the table `every_key.txt`.
//!
//! The table says which test that is; this file holds the table and the tests together. A test
//! counts if one of its strings names the key, or one of a function that it calls, or a comment in it
//! such as `// Keys: client_ip.header, upstream.balance`, for a test that puts its configuration
//! together from pieces.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A key with the header of its section. Keys of inline tables are behind their table's:
/// `("upstream", "peers.weight")`.
type Key = (String, String);

/// Tables whose keys the operator invents.
const FREE: [&str; 11] = [
    "access_log.json.",
    "auth.users.",
    "extra_log.json.",
    "route.files.types.",
    "route.headers.",
    "route.variables.",
    "route.request_headers.set.",
    "route.response_headers.set.",
    "variable.networks.",
    "variable.shares.",
    "variable.values.",
];

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn dotted((section, key): &Key) -> String {
    match section.as_str() {
        "" => key.clone(),
        section => format!("{section}.{key}"),
    }
}

/// The lines of the table: a key and the names of its tests.
fn table() -> Vec<(String, Vec<String>)> {
    let text = std::fs::read_to_string(path("tests/every_key.txt")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let lines = lines.filter(|line| !line.trim().is_empty());
    let lines = lines.map(|line| {
        let mut words = line.split_whitespace().map(str::to_owned);
        (words.next().unwrap_or_default(), words.collect())
    });
    lines.collect()
}

#[test]
fn every_key_is_in_the_table_in_the_order_of_the_documentation() {
    let configuration = std::fs::read_to_string(path("conf/geogate.toml")).unwrap();
    let known = keys(&uncommented(&configuration));
    // An example may show a key once more.
    let mut seen = BTreeSet::new();
    let known = known.iter().map(dotted);
    let known: Vec<_> = known.filter(|key| seen.insert(key.clone())).collect();
    assert!(known.len() > 150, "{} keys", known.len());
    let table: Vec<_> = table().into_iter().map(|(key, _)| key).collect();
    let listed: BTreeSet<_> = table.iter().collect();
    assert_eq!(
        listed.len(),
        table.len(),
        "a key is twice in tests/every_key.txt"
    );
    let missing: Vec<_> = known.iter().filter(|key| !listed.contains(key)).collect();
    assert!(
        missing.is_empty(),
        "in conf/geogate.toml, and not in tests/every_key.txt: {missing:?}"
    );
    // Options of listeners stand in comments, without a line of their own.
    let (documented, options): (Vec<_>, Vec<_>) =
        table.into_iter().partition(|key| known.contains(key));
    for option in options {
        let name = option.rsplit('.').next().unwrap_or_default();
        let written = [format!("{name} = "), format!("{name}: ")];
        let is_written = written.iter().any(|text| configuration.contains(text));
        assert!(is_written, "{option} is no key of conf/geogate.toml");
    }
    assert_eq!(documented, known, "the order of conf/geogate.toml");
}

#[test]
fn every_test_of_the_table_exists_and_names_its_key() {
    let mut functions = Functions::default();
    for file in rust_files(&path("tests/e2e")) {
        functions.read(&file, &path("tests/e2e"));
    }
    for file in rust_files(&path("src")) {
        functions.read(&file, &path(""));
    }
    let mut wrong = Vec::new();
    for (key, tests) in table() {
        if tests.is_empty() {
            wrong.push(format!("{key} has no test"));
        }
        for test in tests {
            let Some(function) = functions.find(&test) else {
                wrong.push(format!("{key}: there is no {test}"));
                continue;
            };
            if !function.is_test {
                wrong.push(format!("{key}: {test} is no test"));
            }
            if !functions.name(&test, &key) {
                wrong.push(format!("{key}: {test} does not name it"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A function of the tests or the program.
struct Function {
    is_test: bool,
    /// Its strings.
    strings: Vec<String>,
    /// Keys of its comments `// Keys: `.
    keys: Vec<String>,
    /// Names of the functions that it may call.
    calls: BTreeSet<String>,
}

/// Functions by file, such as `http2` or `harness/secure`, and by their names.
#[derive(Default)]
struct Functions(BTreeMap<(String, String), Function>);

impl Functions {
    fn read(&mut self, file: &Path, folder: &Path) {
        let source = std::fs::read_to_string(file).unwrap();
        let module = file.strip_prefix(folder).unwrap().with_extension("");
        let module = module.display().to_string();
        let lines: Vec<_> = source.lines().collect();
        let mut is_test = false;
        for (at, line) in lines.iter().enumerate() {
            let code = line.trim_start();
            is_test |= code.starts_with("#[test]");
            let Some(name) = function_name(code) else {
                continue;
            };
            let indent = line.len() - code.len();
            let end = format!("{}}}", " ".repeat(indent));
            let count = lines[at..].iter().position(|line| *line == end);
            let body = &lines[at..at + count.unwrap_or_default()];
            let comments = body
                .iter()
                .filter_map(|line| line.trim().strip_prefix("// Keys: "));
            let keys = comments
                .flat_map(|list| list.split(", "))
                .map(str::to_owned);
            let text = body.join("\n");
            let function = Function {
                is_test,
                keys: keys.collect(),
                strings: strings(&text),
                calls: calls(&text),
            };
            is_test = false;
            self.0.insert((module.clone(), name.to_owned()), function);
        }
    }

    /// `http2::a_test` of tests/e2e/http2.rs, or `src/config/document/tests.rs::a_test`.
    fn find(&self, test: &str) -> Option<&Function> {
        self.0.get(&place(test)?)
    }

    /// Returns `true` if the test, or a function that it calls, names the key.
    fn name(&self, test: &str, key: &str) -> bool {
        let Some(start) = place(test) else {
            return false;
        };
        let last = key.rsplit('.').next().unwrap_or_default();
        let (mut next, mut seen) = (vec![start], BTreeSet::new());
        while let Some(function) = next.pop() {
            if !seen.insert(function.clone()) {
                continue;
            }
            let found = &self.0[&function];
            let is_named = found.keys.iter().any(|named| named == key);
            if is_named || found.strings.iter().any(|text| has_word(text, last)) {
                return true;
            }
            let called = self.0.keys().filter(|(module, name)| {
                let is_near = *module == function.0 || module.starts_with("harness");
                is_near && found.calls.contains(name)
            });
            next.extend(called.cloned());
        }
        false
    }
}

fn place(test: &str) -> Option<(String, String)> {
    let (module, name) = test.rsplit_once("::")?;
    let module = module.strip_suffix(".rs").unwrap_or(module);
    Some((module.to_owned(), name.to_owned()))
}

/// The name in a line that begins a function.
fn function_name(code: &str) -> Option<&str> {
    let mut rest = code;
    for word in ["pub ", "pub(crate) ", "pub(super) ", "async "] {
        rest = rest.strip_prefix(word).unwrap_or(rest);
    }
    let name = rest.strip_prefix("fn ")?;
    let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
    Some(&name[..end])
}

/// Names that stand before a parenthesis.
fn calls(text: &str) -> BTreeSet<String> {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let starts = text.match_indices('(').map(|(at, _)| &text[..at]);
    let names = starts.map(|before| {
        let name = before.trim_end_matches(is_of_name).len();
        before[name..].to_owned()
    });
    names.collect()
}

fn has_word(text: &str, word: &str) -> bool {
    let is_of_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        !text[..at].ends_with(is_of_word) && !text[at + word.len()..].starts_with(is_of_word)
    })
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

/// The keys in a piece of TOML, in its order. Without a header the section is empty.
fn keys(text: &str) -> Vec<Key> {
    let mut keys = Vec::new();
    let (mut section, mut outer) = (String::new(), String::new());
    for line in text.lines().map(str::trim) {
        if let Some(header) = header(line) {
            header.clone_into(&mut section);
            outer.clear();
            continue;
        }
        if let Some((key, _)) = line.split_once('=').filter(|(key, _)| is_key(key.trim())) {
            key.trim().clone_into(&mut outer);
            keys.push((section.clone(), outer.clone()));
        }
        for piece in line.split(['{', ',']).skip(1) {
            let Some((inner, _)) = piece.split_once('=') else {
                continue;
            };
            let key = format!("{outer}.{}", inner.trim());
            if is_key(inner.trim()) && !outer.is_empty() {
                keys.push((section.clone(), key));
            }
        }
    }
    let mut seen = BTreeSet::new();
    keys.retain(|key| {
        let is_free = FREE.iter().any(|table| dotted(key).starts_with(table));
        !is_free && seen.insert(key.clone())
    });
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
    let found: Vec<Key> = strings(source).iter().flat_map(|text| keys(text)).collect();
    let expected = [
        ("server", "listen"),
        ("server", "listen.address"),
        ("server", "listen.tls"),
        ("upstream", "peers"),
        ("upstream", "files.root"),
        ("", "tries"),
    ];
    let expected = expected.map(|(section, key)| (section.to_owned(), key.to_owned()));
    assert_eq!(found, expected);
}
