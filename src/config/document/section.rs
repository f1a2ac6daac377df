//! Tables and values of the configuration, as the readers see them.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use super::node::{Node, Table, Text, Value};
use super::problem::{Place, Problems};
use super::usage::{Kind, join};
use crate::config::suggest::known_names;

/// A table of the configuration, or an absent table, whose keys all take their defaults.
pub(in crate::config) struct Section<'d> {
    pub(super) path: String,
    /// The path without indexes, under which uses are noted.
    pub(super) pattern: String,
    pub(super) place: Place,
    pub(super) table: Option<&'d Table>,
    pub(super) asked: Rc<RefCell<BTreeSet<&'static str>>>,
    pub(super) problems: &'d Problems,
}

/// A value with its key path and place.
pub(in crate::config) struct Item<'d> {
    pub(super) path: String,
    /// The path without indexes, under which uses are noted.
    pub(super) pattern: String,
    pub(super) node: &'d Node,
    pub(super) problems: &'d Problems,
}

impl<'d> Section<'d> {
    fn path_to(&self, key: &str) -> String {
        join(&self.path, key)
    }

    /// Returns the value of a key, if present.
    pub fn item(&self, key: &'static str) -> Option<Item<'d>> {
        self.asked.borrow_mut().insert(key);
        let pattern = join(&self.pattern, key);
        self.problems.usage.asked(&pattern);
        let node = self.table?.get(key)?;
        Some(Item {
            path: self.path_to(key),
            pattern,
            node,
            problems: self.problems,
        })
    }

    /// Returns the value of a key as converted by `read`, or `default` if it is absent or invalid.
    pub fn value<T>(
        &self,
        key: &'static str,
        default: T,
        read: impl FnOnce(&Item<'d>) -> Result<T, String>,
    ) -> T {
        match self.item(key) {
            Some(item) => item.read(read).unwrap_or(default),
            None => default,
        }
    }

    /// Returns the value of a required key. A missing key is noted as a problem.
    pub fn required<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Item<'d>) -> Result<T, String>,
    ) -> Option<T> {
        let item = self.item(key);
        self.problems.usage.required(&join(&self.pattern, key));
        let Some(item) = item else {
            self.problems
                .note(&self.place, self.path_to(key), "is missing");
            return None;
        };
        item.read(read)
    }

    /// Returns the table of a key, or an absent table.
    pub fn section(&self, key: &'static str) -> Section<'d> {
        match self.item(key) {
            Some(item) => item.section(),
            None => self.absent(key),
        }
    }

    /// Returns an absent table.
    pub fn absent(&self, key: &str) -> Section<'d> {
        Section {
            path: self.path_to(key),
            pattern: join(&self.pattern, key),
            place: self.place.clone(),
            table: None,
            asked: Rc::default(),
            problems: self.problems,
        }
    }

    /// Returns the tables of `[[key]]`.
    pub fn sections(&self, key: &'static str) -> Vec<Section<'d>> {
        let items = self.item(key).map(|item| item.items()).unwrap_or_default();
        items.iter().map(Item::section).collect()
    }

    /// Returns all keys and their values in the order of the files. For a table with user-defined
    /// keys.
    pub fn entries(&self) -> Vec<(&'d str, Item<'d>)> {
        self.problems
            .usage
            .read_as(&self.pattern, || Kind::FreeTable);
        let members = self.table.map(Table::ordered).unwrap_or_default();
        let entries = members.into_iter().map(|(name, member)| {
            let item = Item {
                path: self.path_to(name),
                pattern: join(&self.pattern, "*"),
                node: &member.node,
                problems: self.problems,
            };
            (name, item)
        });
        entries.collect()
    }

    /// Notes a problem with a key of the section, or with the section itself if `key` is empty.
    pub fn note(&self, key: &str, reason: impl Into<String>) {
        let path = if key.is_empty() {
            self.path.clone()
        } else {
            self.path_to(key)
        };
        let node = self.table.and_then(|table| table.get(key));
        let place = node.map_or(&self.place, |node| &node.place);
        self.problems.note(place, path, reason);
    }

    /// Notes every key that was never requested. Call it after all known keys were requested.
    pub fn refuse_unknown(&self) {
        let asked = self.asked.borrow();
        let members = self.table.map(Table::ordered).unwrap_or_default();
        for (name, member) in members {
            if !asked.contains(name) {
                let known = known_names(name, "known here", asked.iter().copied());
                let reason = format!("unknown key{known}");
                self.problems
                    .note(&member.place, self.path_to(name), reason);
            }
        }
    }
}

impl<'d> Item<'d> {
    /// Converts the value, or notes why it is invalid.
    pub fn read<T>(&self, read: impl FnOnce(&Item<'d>) -> Result<T, String>) -> Option<T> {
        match read(self) {
            Ok(value) => Some(value),
            Err(reason) => {
                self.note(reason);
                None
            }
        }
    }

    /// Notes a problem with the value. The value itself is not shown if it is secret.
    pub fn note(&self, reason: impl Into<String>) {
        let reason = match &self.node.value {
            Value::Text(Text {
                secret: Some(written),
                ..
            }) => format!("the value of {written:?} is not valid here; it is not shown"),
            _ => reason.into(),
        };
        self.problems
            .note(&self.node.place, self.path.clone(), reason);
    }

    pub(super) fn used_as(&self, kind: impl FnOnce() -> Kind) {
        self.problems.usage.read_as(&self.pattern, kind);
    }

    /// Returns the value as a table. Any other type is noted as a problem and becomes an absent
    /// table.
    pub fn section(&self) -> Section<'d> {
        self.used_as(|| Kind::Table);
        let table = self.node.table();
        if table.is_none() {
            self.note(format!("a table is expected, not {}", self.kind()));
        }
        Section {
            path: self.path.clone(),
            pattern: self.pattern.clone(),
            place: self.node.place.clone(),
            table,
            asked: Rc::default(),
            problems: self.problems,
        }
    }

    /// Returns the elements of an array. Any other type is noted as a problem and has no elements.
    pub fn items(&self) -> Vec<Item<'d>> {
        self.used_as(|| Kind::Array);
        let Value::Array(array) = &self.node.value else {
            self.note(format!("an array is expected, not {}", self.kind()));
            return Vec::new();
        };
        let elements = array.iter().enumerate().map(|(index, node)| Item {
            path: format!("{}[{index}]", self.path),
            pattern: format!("{}[]", self.pattern),
            node,
            problems: self.problems,
        });
        elements.collect()
    }

    /// Returns the elements of an array, or the value itself if it is not an array.
    pub fn one_or_more(&self) -> Vec<Item<'d>> {
        if matches!(self.node.value, Value::Array(_)) {
            return self.items();
        }
        vec![Item {
            path: self.path.clone(),
            pattern: self.pattern.clone(),
            node: self.node,
            problems: self.problems,
        }]
    }

    /// Returns the text of a member, if the value is a table that has it.
    pub fn member(&self, key: &str) -> Option<&'d str> {
        let Value::Table(table) = &self.node.value else {
            return None;
        };
        match &table.get(key)?.value {
            Value::Text(text) => Some(&text.whole),
            _ => None,
        }
    }

    pub fn is_empty_array(&self) -> bool {
        matches!(&self.node.value, Value::Array(array) if array.is_empty())
    }

    pub fn is_array(&self) -> bool {
        matches!(self.node.value, Value::Array(_))
    }

    pub fn is_text(&self) -> bool {
        matches!(self.node.value, Value::Text(_))
    }

    pub fn is_table(&self) -> bool {
        matches!(self.node.value, Value::Table(_))
    }

    pub(super) fn kind(&self) -> &'static str {
        match self.node.value {
            Value::Text(_) => "a string",
            Value::Integer(..) => "an integer",
            Value::Float(_) => "a decimal number",
            Value::Boolean(_) => "true or false",
            Value::Date(_) => "a date",
            Value::Array(_) => "an array",
            Value::Table(_) => "a table",
        }
    }
}
