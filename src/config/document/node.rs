//! Tree of values, each with its place. A copy of the parser's, because files are merged into one
//! tree, and because strings have their references replaced.

use std::cell::Cell;
use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::interpolate::{Environment, Piece, interpolate};
use super::problem::{Place, Problem, Secrets};
use super::usage::join;

/// A value with its place.
#[derive(Debug)]
pub(in crate::config) struct Node {
    pub place: Place,
    pub value: Value,
    /// Notation of a table or of the elements of an array: with headers such as `[server]` or
    /// `[[route]]`. Only such tables and arrays can be continued in another file.
    pub is_open: bool,
}

#[derive(Debug)]
pub(in crate::config) enum Value {
    Text(Text),
    /// Digits with their base.
    Integer(String, u32),
    Float(String),
    Boolean(bool),
    Date(String),
    Array(Vec<Node>),
    Table(Table),
}

/// A string, with its references replaced.
#[derive(Debug, Default)]
pub(in crate::config) struct Text {
    pub whole: String,
    /// Parts of a text with references; `None` for a text without.
    pub pieces: Option<Vec<Piece>>,
    /// The text as the operator wrote it, if it contains a secret.
    pub secret: Option<String>,
    /// Type that a reader converted a text with references to.
    pub used: Cell<UsedAs>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::config) enum UsedAs {
    #[default]
    Text,
    Template,
    /// An integer or a boolean.
    Bare,
}

/// Members of a table.
#[derive(Debug, Default)]
pub(in crate::config) struct Table(BTreeMap<String, Member>);

#[derive(Debug)]
pub(in crate::config) struct Member {
    /// Place of the key.
    pub place: Place,
    /// Position among the members of the table, as they were read.
    pub position: usize,
    pub node: Node,
}

impl Node {
    pub fn table(&self) -> Option<&Table> {
        match &self.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }
}

impl Table {
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.0.get(key).map(|member| &member.node)
    }

    pub fn take(&mut self, key: &str) -> Option<Node> {
        self.0.remove(key).map(|member| member.node)
    }

    /// Returns the members in alphabetical order of their keys.
    pub fn members(&self) -> impl Iterator<Item = (&str, &Member)> {
        self.0.iter().map(|(key, member)| (key.as_str(), member))
    }

    /// Returns the members in the order of the files.
    pub fn ordered(&self) -> Vec<(&str, &Member)> {
        let mut members: Vec<_> = self.members().collect();
        members.sort_by_key(|(_, member)| member.position);
        members
    }

    /// Adds the members of a file that is read later. Tables and arrays with headers are continued;
    /// any other key that is in both is a problem.
    pub fn merge(&mut self, later: Table, path: &str, problems: &mut Vec<Problem>) {
        let count = self.0.len();
        for (key, mut member) in later.0 {
            let path = join(path, &key);
            let Some(earlier) = self.0.get_mut(&key) else {
                member.position += count;
                self.0.insert(key, member);
                continue;
            };
            let both_open = earlier.node.is_open && member.node.is_open;
            match (&mut earlier.node.value, member.node.value) {
                (Value::Table(earlier), Value::Table(later)) if both_open => {
                    earlier.merge(later, &path, problems);
                }
                (Value::Array(earlier), Value::Array(later)) if both_open => {
                    earlier.extend(later);
                }
                _ => problems.push(Problem {
                    place: Some(member.place),
                    key: path,
                    reason: format!("is given already in {}", earlier.place),
                }),
            }
        }
    }
}

/// Conversion of one parsed file.
pub(super) struct Conversion<'c> {
    /// Beginnings of the lines of the file.
    pub lines: Vec<usize>,
    /// Place of the file.
    pub file: Place,
    pub text: &'c str,
    pub environment: Environment<'c>,
    pub problems: &'c mut Vec<Problem>,
    pub secrets: &'c mut Secrets,
}

impl Conversion<'_> {
    /// Returns the place of an offset in bytes.
    pub fn place(&self, offset: usize) -> Place {
        Place {
            line: 1 + self.lines.partition_point(|begin| *begin <= offset),
            ..self.file.clone()
        }
    }

    pub fn table(&mut self, table: &DeTable, path: &str) -> Table {
        let mut keys: Vec<_> = table.iter().collect();
        keys.sort_by_key(|(key, _)| key.span().start);
        let mut members = BTreeMap::new();
        for (position, (key, value)) in keys.into_iter().enumerate() {
            let name = key.get_ref().to_string();
            let path = join(path, &name);
            let member = Member {
                place: self.place(key.span().start),
                position,
                node: self.node(value, &path),
            };
            members.insert(name, member);
        }
        Table(members)
    }

    fn node(&mut self, value: &Spanned<DeValue>, path: &str) -> Node {
        let place = self.place(value.span().start);
        let begins_with =
            |value: &Spanned<DeValue>, with| self.text[value.span().start..].starts_with(with);
        let is_open = match value.get_ref() {
            DeValue::Table(_) => !begins_with(value, '{'),
            DeValue::Array(array) => {
                array.first().is_some_and(|first| begins_with(first, '['))
                    && array.iter().all(|element| element.get_ref().is_table())
            }
            _ => false,
        };
        let value = match value.get_ref() {
            DeValue::String(text) => Value::Text(self.string(text, &place, path)),
            DeValue::Integer(integer) => {
                Value::Integer(integer.as_str().to_owned(), integer.radix())
            }
            DeValue::Float(float) => Value::Float(float.as_str().to_owned()),
            DeValue::Boolean(boolean) => Value::Boolean(*boolean),
            DeValue::Datetime(date) => Value::Date(date.to_string()),
            DeValue::Array(array) => {
                let elements = array.iter().enumerate();
                let nodes = elements
                    .map(|(index, element)| self.node(element, &format!("{path}[{index}]")));
                Value::Array(nodes.collect())
            }
            DeValue::Table(table) => Value::Table(self.table(table, path)),
        };
        Node {
            place,
            value,
            is_open,
        }
    }

    fn string(&mut self, written: &str, place: &Place, path: &str) -> Text {
        let plain = |text: &str| Text {
            whole: text.to_owned(),
            ..Text::default()
        };
        match interpolate(written, self.environment) {
            Ok(None) => plain(written),
            Ok(Some(found)) => {
                for secret in &found.secrets {
                    self.secrets.add(secret);
                }
                Text {
                    whole: found.text,
                    pieces: Some(found.pieces),
                    secret: (!found.secrets.is_empty()).then(|| written.to_owned()),
                    used: Cell::default(),
                }
            }
            Err(reason) => {
                self.problems.push(Problem {
                    place: Some(place.clone()),
                    key: path.to_owned(),
                    reason,
                });
                plain("")
            }
        }
    }
}
