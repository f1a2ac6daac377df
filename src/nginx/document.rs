//! Document: the geogate.toml under construction. Its tables have keys, and each key knows the
//! directive that it comes from.
//!
//! It is not a `toml` document, because it is written once, in an order of its own, and settings
//! are removed again by the key path that an error names.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use toml_writer::{ToTomlKey, ToTomlValue, TomlKeyBuilder, TomlStringBuilder};

use super::place::Place;
use super::tree::Directive;
use crate::config;

/// The directive that a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) place: Place,
    pub(super) text: String,
}

impl From<&Directive> for Origin {
    fn from(directive: &Directive) -> Self {
        Origin {
            place: directive.place.clone(),
            text: directive.to_string(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    Integer(u64),
    Boolean(bool),
    List(Vec<Item>),
    /// An inline table, in braces.
    Inline(Vec<Entry>),
}

/// An element of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) value: Value,
    origin: Option<Origin>,
    refused: bool,
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) value: Value,
    origin: Option<Origin>,
    refused: bool,
}

/// `[name]`, or one of `[[name]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    name: &'static str,
    entries: Vec<Entry>,
    origin: Option<Origin>,
    refused: bool,
}

/// The tables of a configuration, in the order in which they are written. The second value is
/// `true` for an array of tables, written `[[name]]`.
const TABLES: [(&str, bool); 20] = [
    ("server", false),
    ("tls", false),
    ("client", false),
    ("client_ip", false),
    ("database", true),
    ("geo", false),
    ("geo_headers", false),
    ("limits", false),
    ("rate_limit", true),
    ("access", true),
    ("auth", true),
    ("compression", false),
    ("variable", true),
    ("upstream", true),
    ("route", true),
    ("admin", false),
    ("access_log", false),
    ("extra_log", true),
    ("error_log", false),
    ("error_page", false),
];

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Text(text)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Value::Integer(number)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Boolean(value)
    }
}

impl Item {
    pub(super) fn new(value: impl Into<Value>, from: Option<&Directive>) -> Self {
        Item {
            value: value.into(),
            origin: from.map(Origin::from),
            refused: false,
        }
    }
}

impl Entry {
    pub(super) fn new(key: &str, value: impl Into<Value>, from: Option<&Directive>) -> Self {
        Entry {
            key: key.to_owned(),
            value: value.into(),
            origin: from.map(Origin::from),
            refused: false,
        }
    }
}

impl Table {
    pub(super) fn new(name: &'static str, from: Option<&Directive>) -> Self {
        Table {
            name,
            entries: Vec::new(),
            origin: from.map(Origin::from),
            refused: false,
        }
    }

    /// Creates a table with this origin.
    pub(super) fn of(name: &'static str, origin: Origin) -> Self {
        Table {
            origin: Some(origin),
            ..Table::new(name, None)
        }
    }

    /// Sets a key. A key that exists keeps its position.
    pub(super) fn set(&mut self, key: &str, value: impl Into<Value>, from: Option<&Directive>) {
        let entry = Entry::new(key, value, from);
        match self.entries.iter_mut().find(|entry| entry.key == key) {
            Some(old) => *old = entry,
            None => self.entries.push(entry),
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        let entry = self.entries.iter().find(|entry| entry.key == key);
        entry.map(|entry| &entry.value)
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        let entry = self.entries.iter_mut().find(|entry| entry.key == key);
        entry.map(|entry| &mut entry.value)
    }

    /// Adds an item to the list of a key, unless the list contains it.
    pub(super) fn push(&mut self, key: &str, item: Item) {
        let at = self.entries.iter().position(|entry| entry.key == key);
        let at = at.unwrap_or_else(|| {
            let mut entry = Entry::new(key, Value::List(Vec::new()), None);
            entry.origin.clone_from(&item.origin);
            self.entries.push(entry);
            self.entries.len() - 1
        });
        if let Value::List(items) = &mut self.entries[at].value
            && !items.contains(&item)
        {
            items.push(item);
        }
    }

    /// Returns this table with the keys of another one after its own.
    pub(super) fn followed_by(mut self, other: &Table) -> Self {
        self.entries.extend(other.entries.iter().cloned());
        self.origin = self.origin.or_else(|| other.origin.clone());
        self
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Turns a route into one that only answers with a status. It keeps the keys that select its
    /// requests.
    fn answer(&mut self, status: u64) {
        let is_kept = |entry: &Entry| {
            let mut kept = NARROWING.iter().chain(&KEPT);
            kept.any(|key| *key == entry.key)
        };
        self.entries.retain(|entry| is_kept(entry));
        let status = Entry::new("status", status, None);
        self.set("respond", Value::Inline(vec![status]), None);
    }

    /// Returns the names of the table's keys.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.key.as_str())
    }

    /// Returns the text of the table's keys, without its header.
    pub(super) fn written(&self) -> String {
        let mut text = String::new();
        self.write(&mut text);
        text
    }

    /// Returns `true` if both tables have the same keys and values. Their origins may differ.
    pub(super) fn says_the_same(&self, other: &Table) -> bool {
        self.written() == other.written()
    }
}

/// All tables of the configuration.
#[derive(Debug, Default)]
pub(super) struct Document {
    tables: Vec<Table>,
    /// Names of the registered tables, by their kind, first choice of name and content.
    registered: HashMap<(&'static str, String), String>,
    /// Number of names tried so far, by the kind of table and the first choice of name.
    counts: HashMap<(&'static str, String), usize>,
    /// All names given to registered tables, by their kind.
    taken: HashSet<(&'static str, String)>,
}

/// A setting that geogate refuses, and that is therefore removed.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) origin: Option<Origin>,
    /// Text of the setting in the document.
    pub(super) written: String,
}

impl Document {
    /// Returns the single table of this name, and adds it if it is missing.
    pub(super) fn table(&mut self, name: &'static str) -> &mut Table {
        let at = self.tables.iter().position(|table| table.name == name);
        let at = at.unwrap_or_else(|| {
            self.tables.push(Table::new(name, None));
            self.tables.len() - 1
        });
        &mut self.tables[at]
    }

    /// Adds a table after those of the same name.
    pub(super) fn add(&mut self, table: Table) {
        self.tables.push(table);
    }

    /// Adds a table of a kind under the first free name, unless a table of the same content has
    /// such a name already. Returns the name.
    pub(super) fn register(
        &mut self,
        kind: &'static str,
        table: &Table,
        name_of: impl Fn(usize) -> String,
    ) -> String {
        let said = format!("{}\n{}", name_of(1), table.written());
        if let Some(known) = self.registered.get(&(kind, said.clone())) {
            return known.clone();
        }
        let count = self.counts.entry((kind, name_of(1))).or_insert(0);
        let name = loop {
            *count += 1;
            let name = name_of(*count);
            if self.taken.insert((kind, name.clone())) {
                break name;
            }
        };
        let mut named = Table::new(kind, None);
        named.set("name", name.as_str(), None);
        self.tables.push(named.followed_by(table));
        self.registered.insert((kind, said), name.clone());
        name
    }

    /// Removes all tables of a name.
    pub(super) fn leave_out(&mut self, name: &str) {
        self.tables.retain(|table| table.name != name);
    }

    /// Removes a key from all tables of a name.
    pub(super) fn leave_out_key(&mut self, name: &str, key: &str) {
        let tables = self.tables.iter_mut().filter(|table| table.name == name);
        for table in tables {
            table.entries.retain(|entry| entry.key != key);
        }
    }

    /// Removes the tables of `kind` that no table of the kind `users` refers to by name, unless
    /// something else uses them.
    pub(super) fn leave_out_unused(
        &mut self,
        kind: &str,
        users: &str,
        is_used: impl Fn(&str) -> bool,
    ) {
        let names: HashSet<String> = self
            .named(users)
            .filter_map(|user| user.get(kind).map(Value::to_text))
            .collect();
        self.tables.retain(|table| {
            let name = table.get("name");
            let is_named = |name: &Value| match name {
                Value::Text(text) => is_used(text) || names.contains(&name.to_text()),
                _ => false,
            };
            table.name != kind || name.is_some_and(is_named)
        });
    }

    /// Returns the tables of a name, in their order.
    pub(super) fn named(&self, name: &str) -> impl Iterator<Item = &Table> {
        self.tables.iter().filter(move |table| table.name == name)
    }

    /// Returns the text of the configuration. Tables without keys are left out.
    pub(super) fn write(&self) -> String {
        let mut text = String::new();
        for (name, array) in TABLES {
            let tables = self.named(name).filter(|table| !table.is_empty());
            for table in tables {
                if !text.is_empty() {
                    text.push('\n');
                }
                let header = if array {
                    format!("[[{name}]]")
                } else {
                    format!("[{name}]")
                };
                text.push_str(&header);
                text.push('\n');
                table.write(&mut text);
            }
        }
        text
    }

    /// Marks the setting as refused that the key path of an error names, such as
    /// `upstream[0].peers[1]`: its innermost part that exists. It stays in its place until
    /// [`Document::settle`], because the indexes in the paths of other errors count it. `None` if
    /// the path names nothing here.
    pub(super) fn refuse(&mut self, path: &str) -> Option<Refusal> {
        let (head, _) = path.split_at(path.find(['.', '[']).unwrap_or(path.len()));
        let (name, array) = *TABLES.iter().find(|(name, _)| *name == head)?;
        let rest = &path[head.len()..];
        let (index, rest) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((index, rest)) if array => (index.parse().ok()?, rest),
            // A missing table is reported as a key without an index.
            _ if !array || rest.is_empty() => (0, rest),
            _ => return None,
        };
        let tables = self.tables.iter_mut();
        let mut tables = tables.filter(|table| table.name == name && !table.is_empty());
        let table = tables.nth(index)?;
        let is_meant = begins_anew(rest) && !table.refused;
        is_meant.then(|| refuse_in_table(table, rest))
    }

    /// Makes every route answer 403, because a setting that guards all of them is refused.
    pub(super) fn close(&mut self) {
        for table in &mut self.tables {
            if table.name == "route" {
                table.answer(403);
            }
        }
        if !self.tables.iter().any(|table| table.name == "route") {
            let mut route = Table::new("route", None);
            route.answer(403);
            self.tables.push(route);
        }
    }

    /// Removes the refused settings, and the values that they leave empty.
    pub(super) fn settle(&mut self) {
        self.tables.retain_mut(|table| {
            table
                .entries
                .retain_mut(|entry| !entry.refused && settle(&mut entry.value));
            !table.refused
        });
    }
}

/// Returns `true` if the rest of a key path is empty or begins with another key or index.
fn begins_anew(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with(['.', '['])
}

/// Keys that select the requests of a route. A route that lost one of them would match more
/// requests, so it is removed.
const NARROWING: [&str; 9] = [
    "host",
    "listener",
    "scheme",
    "path",
    "prefix",
    "starts_with",
    "regex",
    "methods",
    "headers",
];

/// Other keys that a route keeps if it loses its action.
const KEPT: [&str; 4] = ["name", "internal", "priority", "variables"];

/// Keys of a route's action. A route that loses its action answers 501; without the route, its
/// requests would match other routes.
const ACTIONS: [&str; 7] = [
    "upstream", "rewrite", "files", "fastcgi", "redirect", "respond", "reroute",
];

/// Keys that restrict the clients or the requests of a route, perhaps to those that are answered with an
/// error. A route that loses one of them answers 403.
const GUARDS: [&str; 3] = ["access", "auth", "variables"];

fn refuse_in_table(table: &mut Table, rest: &str) -> Refusal {
    let key = rest.trim_start_matches('.').split(['.', '[']).next();
    let inner = refuse_in_entries(&mut table.entries, rest);
    let is_one_of = |keys: &[&str]| key.is_some_and(|key| keys.contains(&key));
    let is_narrowing = match table.name {
        "route" => is_one_of(&NARROWING),
        // With another value, what depends on it would be another thing.
        "access" | "auth" | "variable" => true,
        _ => false,
    };
    if table.name == "route" && is_one_of(&GUARDS) {
        table.answer(403);
    } else if table.name == "route" && is_one_of(&ACTIONS) {
        table.answer(501);
    } else if inner.is_none() || is_narrowing {
        table.refused = true;
    }
    let refusal = inner.unwrap_or_else(|| Refusal {
        origin: None,
        written: format!("[{}]", table.name),
    });
    with_origin(refusal, table.origin.as_ref())
}

fn refuse_in_entries(entries: &mut [Entry], rest: &str) -> Option<Refusal> {
    let rest = rest.strip_prefix('.')?;
    let (entry, rest) = entries.iter_mut().find_map(|entry| {
        let rest = rest.strip_prefix(&entry.key)?;
        (begins_anew(rest) && !entry.refused).then_some((entry, rest))
    })?;
    let inner = match &mut entry.value {
        Value::List(items) => refuse_in_items(items, rest),
        Value::Inline(entries) => refuse_in_entries(entries, rest),
        _ => None,
    };
    if let Some(refusal) = inner {
        return Some(with_origin(refusal, entry.origin.as_ref()));
    }
    entry.refused = true;
    let mut written = String::new();
    entry.write(&mut written, false);
    let origin = entry.origin.clone();
    Some(Refusal { origin, written })
}

fn refuse_in_items(items: &mut [Item], rest: &str) -> Option<Refusal> {
    let (index, _) = rest.strip_prefix('[')?.split_once(']')?;
    let item = items.get_mut(index.parse::<usize>().ok()?)?;
    if item.refused {
        return None;
    }
    // Without one of its keys, a peer or a listener would be a different one, so the whole item is
    // refused.
    item.refused = true;
    let mut written = String::new();
    item.value.write(&mut written, false);
    let origin = item.origin.clone();
    Some(Refusal { origin, written })
}

fn with_origin(refusal: Refusal, outer: Option<&Origin>) -> Refusal {
    Refusal {
        origin: refusal.origin.or_else(|| outer.cloned()),
        ..refusal
    }
}

/// Removes the refused parts of a value. Returns `false` if that leaves the value empty.
fn settle(value: &mut Value) -> bool {
    match value {
        Value::List(items) => {
            let before = items.len();
            items.retain_mut(|item| !item.refused && settle(&mut item.value));
            before == 0 || !items.is_empty()
        }
        Value::Inline(entries) => {
            entries.retain_mut(|entry| !entry.refused && settle(&mut entry.value));
            !entries.is_empty()
        }
        _ => true,
    }
}

impl Table {
    fn write(&self, text: &mut String) {
        // A long table has a line for each of its keys, behind the other keys.
        let is_long = |entry: &&Entry| {
            self.name == "variable"
                && matches!(&entry.value, Value::Inline(inner) if inner.len() > LONG)
        };
        let (long, others): (Vec<_>, Vec<_>) = self.entries.iter().partition(is_long);
        for entry in others {
            entry.write(text, true);
            text.push('\n');
        }
        for entry in long {
            let _ = writeln!(text, "[{}.{}]", self.name, entry.key);
            if let Value::Inline(inner) = &entry.value {
                for entry in inner {
                    entry.write(text, false);
                    text.push('\n');
                }
            }
        }
    }
}

/// Number of keys up to which a table stands in one line.
const LONG: usize = 4;

impl Entry {
    fn write(&self, text: &mut String, may_wrap: bool) {
        text.push_str(&TomlKeyBuilder::new(&self.key).as_default().to_toml_key());
        text.push_str(" = ");
        self.value.write(text, may_wrap);
    }
}

impl Value {
    /// Writes the value in one line, or a long list over several lines.
    fn write(&self, text: &mut String, may_wrap: bool) {
        const LENGTH: usize = 96;
        match self {
            Value::Text(value) => text.push_str(&written(&without_references(value))),
            Value::Integer(value) => text.push_str(&value.to_string()),
            Value::Boolean(value) => text.push_str(if *value { "true" } else { "false" }),
            Value::List(items) => {
                let texts: Vec<String> = items.iter().map(|item| item.value.to_text()).collect();
                let length: usize = texts.iter().map(|text| text.len() + 2).sum();
                let is_of_words = items
                    .iter()
                    .all(|item| matches!(item.value, Value::Text(_)));
                if may_wrap && length > LENGTH && is_of_words {
                    let _ = write!(text, "[\n{}]", filled(&texts, LENGTH));
                } else if may_wrap && length > LENGTH && texts.len() > 1 {
                    let _ = write!(text, "[\n    {},\n]", texts.join(",\n    "));
                } else {
                    let _ = write!(text, "[{}]", texts.join(", "));
                }
            }
            Value::Inline(entries) => {
                let texts = entries.iter().map(|entry| {
                    let mut text = String::new();
                    entry.write(&mut text, false);
                    text
                });
                let texts: Vec<String> = texts.collect();
                let _ = write!(text, "{{ {} }}", texts.join(", "));
            }
        }
    }

    /// Returns the value in one line.
    pub(super) fn to_text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text, false);
        text
    }
}

/// Fills lines of at most this length with the elements of a list.
fn filled(texts: &[String], length: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    for text in texts {
        match lines.last_mut() {
            Some(line) if line.len() + text.len() + 2 < length => {
                line.push(' ');
                line.push_str(text);
            }
            _ => lines.push(format!("    {text}")),
        }
        if let Some(line) = lines.last_mut() {
            line.push(',');
        }
    }
    lines.join("\n") + "\n"
}

/// Escapes what geogate would read as a reference to the environment or a file. A template has its
/// dollars in pairs already, and no reference begins behind a pair.
fn without_references(text: &str) -> Cow<'_, str> {
    match config::escape(text) {
        escaped if is_template(text) || escaped == text => Cow::Borrowed(text),
        escaped => Cow::Owned(escaped),
    }
}

/// Returns `true` if the `$` of each such reference has another one before it.
fn is_template(text: &str) -> bool {
    let is_reference = |rest: &str| {
        rest.starts_with("file:") || rest.starts_with(|c: char| c.is_ascii_uppercase())
    };
    let places = text
        .match_indices("${")
        .filter(|(at, _)| is_reference(&text[at + 2..]));
    let mut dollars = places.map(|(at, _)| at + 1 - text[..=at].trim_end_matches('$').len());
    dollars.all(|dollars| dollars % 2 == 0)
}

/// Writes a string in one line, in the most readable of TOML's forms.
fn written(text: &str) -> String {
    let builder = TomlStringBuilder::new(text);
    let string = builder.as_basic_pretty().or_else(|| builder.as_literal());
    string.unwrap_or_else(|| builder.as_basic()).to_toml_value()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Document {
        let mut document = Document::default();
        let mut upstream = Table::new("upstream", None);
        upstream.set("name", "a", None);
        for peer in ["p:1", "p:2"] {
            let address = Entry::new("address", peer, None);
            let backup = Entry::new("backup", true, None);
            upstream.push(
                "peers",
                Item::new(Value::Inline(vec![address, backup]), None),
            );
        }
        document.add(upstream);
        document.table("server").set("workers", 4, None);
        document
    }

    #[track_caller]
    fn check_refused(paths: &[&str], expected: &str) {
        let mut document = document();
        for path in paths {
            assert!(document.refuse(path).is_some(), "{path}");
        }
        document.settle();
        assert_eq!(document.write(), expected);
    }

    const PEERS: &str =
        "peers = [{ address = \"p:1\", backup = true }, { address = \"p:2\", backup = true }]\n";

    #[test]
    fn tables_are_written_in_their_order() {
        let expected = format!("[server]\nworkers = 4\n\n[[upstream]]\nname = \"a\"\n{PEERS}");
        assert_eq!(document().write(), expected);
    }

    #[test]
    fn what_an_error_names_is_taken_out() {
        check_refused(&["upstream[0]"], "[server]\nworkers = 4\n");
        check_refused(
            &["server", "upstream[0].peers"],
            "[[upstream]]\nname = \"a\"\n",
        );
        check_refused(
            &["server.workers", "upstream[0].peers[0]"],
            "[[upstream]]\nname = \"a\"\npeers = [{ address = \"p:2\", backup = true }]\n",
        );
        check_refused(
            &["upstream[0].peers[1].backup", "server"],
            "[[upstream]]\nname = \"a\"\npeers = [{ address = \"p:1\", backup = true }]\n",
        );
        check_refused(&["upstream[0].missing"], "[server]\nworkers = 4\n");
    }

    #[test]
    fn a_route_without_its_pattern_is_no_route() {
        let mut document = Document::default();
        let mut route = Table::new("route", None);
        route.set("regex", "(?!a)", None);
        route.set("upstream", "a", None);
        document.add(route);
        assert!(document.refuse("route[0].regex").is_some());
        document.settle();
        assert_eq!(document.write(), "");
    }

    #[track_caller]
    fn check_route_refused(key: &str, expected: &str) {
        let mut document = Document::default();
        let mut route = Table::new("route", None);
        route.set("prefix", "/a", None);
        route.set("upstream", "a", None);
        route.set("access", "b", None);
        document.add(route);
        assert!(document.refuse(&format!("route[0].{key}")).is_some());
        document.settle();
        let route = "[[route]]\nprefix = \"/a\"\nrespond = ";
        assert_eq!(document.write(), format!("{route}{expected}\n"));
    }

    #[test]
    fn a_route_without_its_guard_or_action_stays_and_answers() {
        check_route_refused("access", "{ status = 403 }");
        check_route_refused("upstream", "{ status = 501 }");
    }

    #[test]
    fn what_is_not_there_cannot_be_taken_out() {
        let mut document = document();
        for path in ["", "upstream[1]", "serve", "servers.workers", "client"] {
            assert!(document.refuse(path).is_none(), "{path}");
        }
    }

    #[test]
    fn texts_are_written_so_that_they_are_read_again() {
        for text in ["a", "", "\"", "'\"", "\\d", "a\nb", "\u{1}", "'''\"\"\"\\"] {
            let line = format!("a = {}", written(text));
            assert!(!line.contains('\n'), "{line}");
            let table = toml::de::DeTable::parse(&line).unwrap();
            assert_eq!(
                table.get_ref().get("a").unwrap().get_ref().as_str(),
                Some(text)
            );
        }
    }

    #[test]
    fn texts_have_no_references_to_the_environment() {
        for (text, expected) in [
            ("^/${HOME}$", "^/$${HOME}$"),
            ("/srv/${file:/etc/x}", "/srv/$${file:/etc/x}"),
            ("${args}$${HOME}", "${args}$${HOME}"),
            ("$host", "$host"),
        ] {
            assert_eq!(without_references(text), expected);
        }
    }

    #[test]
    fn long_lists_have_a_line_for_each_element() {
        let mut table = Table::new("server", None);
        for item in 0..30 {
            table.push("listen", Item::new(item, None));
        }
        let mut text = String::new();
        table.write(&mut text);
        assert!(text.starts_with("listen = [\n    0,\n"), "{text}");
    }
}
