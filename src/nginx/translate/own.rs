//! Variables that the file defines by `map`, `geo` and `split_clients`, and the `[[variable]]` tables
//! that they become where they are used.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::config::model::{Captures, Variable, Variables as _};
use crate::nginx::Output;
use crate::nginx::document::{Entry, Origin, Table, Value};
use crate::nginx::scope::Scope;
use crate::nginx::tree::Directive;

/// Directive that defines a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Map,
    Geo,
    SplitClients,
}

/// Definition of a variable.
#[derive(Debug)]
pub(super) struct Definition {
    pub(super) kind: Kind,
    /// Text that decides the value, as in the file.
    pub(super) source: String,
    /// Lines of the block: the key and the value.
    pub(super) lines: Vec<(String, String)>,
    pub(super) origin: Origin,
}

/// Definitions of a file, and the tables that were made of them.
#[derive(Debug, Default)]
pub(super) struct Own {
    definitions: BTreeMap<String, Definition>,
    made: RefCell<Made>,
}

#[derive(Debug, Default)]
struct Made {
    tables: Vec<(String, Table)>,
    /// Names of the tables, by the first choice of name and content.
    known: HashMap<String, String>,
    taken: BTreeSet<String>,
    /// Names of the definitions that were carried over.
    used: BTreeSet<String>,
    /// Reasons why definitions cannot be carried over.
    failed: BTreeMap<String, String>,
    /// Upstreams that are values of variables.
    upstreams: BTreeSet<String>,
}

impl Own {
    /// Reads the definitions of a file.
    pub(super) fn read(http: &Scope) -> Self {
        let mut own = Own::default();
        for (kind, directive) in blocks(http) {
            let Some(name) = directive
                .args
                .last()
                .and_then(|name| name.strip_prefix('$'))
            else {
                continue;
            };
            let source = match (kind, directive.args.len()) {
                (Kind::Geo, 1) => "$remote_addr",
                _ => directive.arg(0),
            };
            let lines = directive.inside().iter();
            let definition = Definition {
                kind,
                source: source.to_owned(),
                lines: lines
                    .map(|line| (line.name.clone(), line.args.join(" ")))
                    .collect(),
                origin: Origin::from(directive),
            };
            own.definitions
                .insert(name.to_ascii_lowercase(), definition);
        }
        own
    }

    /// Returns the definition of a variable. nginx ignores the case of its name.
    pub(super) fn definition(&self, name: &str) -> Option<&Definition> {
        self.definitions.get(&name.to_ascii_lowercase())
    }

    /// Records that a definition is carried over, or why not.
    pub(super) fn note(&self, name: &str, result: Result<(), &str>) {
        let (mut made, name) = (self.made.borrow_mut(), name.to_ascii_lowercase());
        match result {
            Ok(()) => {
                made.used.insert(name);
            }
            Err(why) => {
                made.failed.insert(name, why.to_owned());
            }
        }
    }

    /// Adds a table unless there is one of the same content. `name` is the first choice of its name.
    /// Returns the name.
    pub(super) fn register(&self, name: &str, table: Table) -> String {
        let base = usable(name);
        let mut made = self.made.borrow_mut();
        let content = format!("{base}\n{}", table.written());
        if let Some(known) = made.known.get(&content) {
            return known.clone();
        }
        let mut number = 1;
        let name = loop {
            let name = match number {
                1 => base.clone(),
                _ => format!("{base}_{number}"),
            };
            if made.taken.insert(name.clone()) {
                break name;
            }
            number += 1;
        };
        made.known.insert(content, name.clone());
        made.tables.push((name.clone(), table));
        name
    }

    /// Records that an upstream is chosen by a variable.
    pub(super) fn choose(&self, upstream: &str) {
        self.made.borrow_mut().upstreams.insert(upstream.to_owned());
    }

    /// Returns `true` if an upstream is chosen by a variable.
    pub(super) fn is_chosen(&self, upstream: &str) -> bool {
        self.made.borrow().upstreams.contains(upstream)
    }

    /// Returns all values of one of the tables; `None` if some of them contain variables.
    pub(super) fn values(&self, name: &str) -> Option<Vec<String>> {
        let made = self.made.borrow();
        let (_, table) = made.tables.iter().find(|(known, _)| known == name)?;
        let mut texts: Vec<String> = Vec::new();
        if let Some(Value::Inline(shares)) = table.get("shares") {
            texts.extend(shares.iter().map(|entry| entry.key.clone()));
        }
        for key in ["values", "networks"] {
            if let Some(Value::Inline(entries)) = table.get(key) {
                texts.extend(entries.iter().filter_map(|entry| match &entry.value {
                    Value::Text(text) => Some(text.clone()),
                    _ => None,
                }));
            }
        }
        texts.push(match table.get("default") {
            Some(Value::Text(text)) => text.clone(),
            _ => String::new(),
        });
        let mut values = Vec::new();
        for text in texts {
            match text.strip_prefix('$').filter(|rest| !rest.starts_with('$')) {
                Some(other) => {
                    let other = other.trim_start_matches('{').trim_end_matches('}');
                    drop_known(self.values_of(&made, other)?, &mut values);
                }
                None => drop_known(vec![plain(&text)?], &mut values),
            }
        }
        Some(values)
    }

    fn values_of(&self, made: &Made, name: &str) -> Option<Vec<String>> {
        let is_known = made.tables.iter().any(|(known, _)| known == name);
        is_known.then(|| self.values(name)).flatten()
    }

    /// Writes the tables, and notes what became of each definition.
    pub(super) fn finish(&self, http: &Scope, output: &mut Output) {
        let made = self.made.borrow();
        for (name, table) in &made.tables {
            let mut named = Table::new("variable", None);
            named.set("name", name.as_str(), None);
            output.document.add(named.followed_by(table));
        }
        for (_, directive) in blocks(http) {
            let name = directive.args.last().map_or("", String::as_str);
            let name = name.trim_start_matches('$').to_ascii_lowercase();
            if let Some(why) = made.failed.get(&name) {
                if !output.notes.is_spoken_for(directive) {
                    output.notes.lost(directive, why.clone());
                }
            } else if made.used.contains(&name) {
                output.notes.carried(directive);
            } else if !output.notes.is_spoken_for(directive) {
                let why = match directive.arg(0) {
                    "$http_upgrade" => "WebSocket connections are passed through.",
                    _ => "Nothing that is carried over uses this variable.",
                };
                output.notes.needless(directive, why);
            }
            super::silence(directive, output);
        }
    }
}

fn drop_known(new: Vec<String>, values: &mut Vec<String>) {
    for value in new {
        if !values.contains(&value) {
            values.push(value);
        }
    }
}

/// Returns a template without variables as text.
fn plain(template: &str) -> Option<String> {
    let text = template.replace("$$", "\0");
    (!text.contains('$')).then(|| text.replace('\0', "$"))
}

fn blocks<'s>(http: &Scope<'s>) -> Vec<(Kind, &'s Directive)> {
    let of = |kind, name: &'static str| http.here(name).map(move |directive| (kind, directive));
    let mut blocks: Vec<_> = of(Kind::Map, "map")
        .chain(of(Kind::Geo, "geo"))
        .chain(of(Kind::SplitClients, "split_clients"))
        .collect();
    blocks.sort_unstable_by_key(|(_, directive)| directive.id);
    blocks
}

/// Returns the name of an own variable: one that is no built-in variable.
fn usable(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    let is_built_in = Variable::from_name(&name, &Captures::default()).is_some();
    let begins_well = name.starts_with(|c: char| c.is_ascii_lowercase());
    if is_built_in || !begins_well || name.starts_with("host_") {
        format!("own_{name}")
    } else {
        name
    }
}

/// Creates a table with a source, values and a default.
pub(super) fn table(
    from: &str,
    key: &str,
    values: Vec<Entry>,
    default: &str,
    origin: Origin,
) -> Table {
    let mut table = Table::of("variable", origin);
    table.set("from", from, None);
    table.set(key, Value::Inline(values), None);
    if !default.is_empty() {
        table.set("default", default, None);
    }
    table
}
