//! Keys of the configuration as its documentation shows them: `conf/geogate.toml` is the
//! documentation, and it is built into the binary. The schema takes its descriptions from here, and
//! the dump its order.

use std::collections::{BTreeMap, BTreeSet};

use super::BUILT_IN;
use super::document::{Document, Node, Table, Value, join};

/// Defaults of keys that the documentation shows only as examples.
const DEFAULTS: &str = include_str!("defaults.toml");

/// Documentation of all keys, by key path without indexes: `upstream[].peers[].weight`.
pub(super) struct Reference {
    keys: BTreeMap<String, Documented>,
    /// Values in the documentation that are in force, and those of [`DEFAULTS`].
    defaults: [Document; 2],
}

/// Documentation of one key.
struct Documented {
    /// Position of the key in the documentation.
    position: usize,
    description: String,
}

impl Reference {
    /// Reads the documentation.
    pub fn new() -> Self {
        let examples = uncommented();
        let document = read(&examples);
        let lines: Vec<_> = examples.lines().collect();
        let mut reference = Reference {
            keys: BTreeMap::new(),
            defaults: [read(BUILT_IN), read(DEFAULTS)],
        };
        reference.add("include", line_of(&lines, "include"), &lines);
        reference.table(&document.root, "", &lines);
        reference
    }

    fn table(&mut self, table: &Table, path: &str, lines: &[&str]) {
        let mut members: Vec<_> = table.members().collect();
        members.sort_by_key(|(_, member)| (member.place.line, member.position));
        for (key, member) in members {
            let path = join(path, key);
            self.add(&path, member.place.line, lines);
            self.inner(&member.node, &path, lines);
        }
    }

    fn inner(&mut self, node: &Node, path: &str, lines: &[&str]) {
        match &node.value {
            Value::Table(table) => self.table(table, path, lines),
            Value::Array(elements) => {
                for element in elements {
                    self.inner(element, &format!("{path}[]"), lines);
                }
            }
            _ => {}
        }
    }

    fn add(&mut self, path: &str, line: usize, lines: &[&str]) {
        let position = self.keys.len();
        self.keys
            .entry(path.to_owned())
            .or_insert_with(|| Documented {
                position,
                description: description(lines, line),
            });
    }

    /// Returns the description of a key; empty for one that has none of its own.
    pub fn description(&self, pattern: &str) -> &str {
        let documented = self.keys.get(pattern);
        documented.map_or("", |documented| &documented.description)
    }

    /// Returns the position of a key in the documentation. Keys without one are last.
    pub fn position(&self, pattern: &str) -> usize {
        let documented = self.keys.get(pattern);
        documented.map_or(usize::MAX, |documented| documented.position)
    }

    /// Returns the default of a key, if it has one.
    pub fn default(&self, pattern: &str) -> Option<&Node> {
        let [shown, others] = &self.defaults;
        let other = find(&others.root, pattern).filter(|node| is_whole(node));
        find(&shown.root, pattern).or(other)
    }

    /// Returns the keys of a table that have defaults, with their defaults.
    pub fn defaults_in(&self, pattern: &str) -> Vec<(&str, &Node)> {
        let members = self.defaults.iter().flat_map(|document| {
            let table = match pattern {
                "" => Some(&document.root),
                _ => find(&document.root, pattern).and_then(Node::table),
            };
            table.into_iter().flat_map(Table::members)
        });
        // A table may have members in both documents.
        let keys: BTreeSet<&str> = members.map(|(key, _)| key).collect();
        let defaults = keys
            .into_iter()
            .filter_map(|key| Some((key, self.default(&join(pattern, key))?)));
        defaults.collect()
    }
}

/// Returns `true` if a node of [`DEFAULTS`] is a default itself, and not only a table with defaults
/// of its members.
fn is_whole(node: &Node) -> bool {
    match &node.value {
        Value::Table(_) => false,
        Value::Array(elements) => elements.iter().all(is_whole),
        _ => true,
    }
}

/// Returns the documentation with its examples in force.
pub(super) fn uncommented() -> String {
    let lines = BUILT_IN.lines();
    let lines = lines.map(|line| line.strip_prefix("#: ").unwrap_or(line));
    lines.collect::<Vec<_>>().join("\n")
}

fn read(text: &str) -> Document {
    let document = Document::load(text, "built-in configuration", None, &|_| None);
    document.expect("the built-in files are valid")
}

/// Returns the node of `upstream[].peers[].weight` in the first elements of the arrays.
fn find<'t>(root: &'t Table, pattern: &str) -> Option<&'t Node> {
    let mut table = Some(root);
    let mut found = None;
    for part in pattern.split('.') {
        let key = part.trim_end_matches("[]");
        let mut node = table?.get(key)?;
        for _ in 0..(part.len() - key.len()) / 2 {
            let Value::Array(elements) = &node.value else {
                return None;
            };
            node = elements.first()?;
        }
        table = node.table();
        found = Some(node);
    }
    found
}

/// Returns the number of the line that begins with a key.
fn line_of(lines: &[&str], key: &str) -> usize {
    let is_key = |line: &&str| {
        line.strip_prefix(key)
            .is_some_and(|rest| rest.starts_with(" ="))
    };
    lines.iter().position(is_key).map_or(1, |index| index + 1)
}

/// Returns the comment above a line. Keys that stand together share the comment above the first.
fn description(lines: &[&str], line: usize) -> String {
    let above = &lines[..line.saturating_sub(1).min(lines.len())];
    let is_comment = |line: &&str| line.starts_with('#');
    let is_gap = |line: &&str| line.is_empty() || line.starts_with('[');
    let keys = above
        .iter()
        .rev()
        .take_while(|line| !is_comment(line) && !is_gap(line));
    let end = above.len() - keys.count();
    let mut end = end;
    // The first key of a table without a comment has that of the table.
    while end > 0 && lines[end - 1].starts_with('[') && end == above.len() {
        end -= 1;
    }
    let comments = lines[..end]
        .iter()
        .rev()
        .take_while(|line| is_comment(line));
    let start = end - comments.count();
    let text: Vec<_> = lines[start..end]
        .iter()
        .map(|line| line.trim_start_matches('#'))
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .collect();
    text.join("\n").trim().to_owned()
}
