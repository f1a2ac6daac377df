//! Keys that the readers asked for, and the types that they asked for.
//!
//! The readers are the only definition of the format, so the schema for editors and the dump are
//! made from their questions and not from a second list.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// Type of a value, as a reader asked for it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::config) enum Kind {
    /// Any text.
    Text,
    /// Text with variables of requests.
    Template,
    /// One of these texts, in any case.
    OneOf(Vec<String>),
    Boolean,
    /// Integer from the first number to the second.
    Integer(u64, u64),
    /// Duration such as `"5s"`.
    Duration,
    /// Size in bytes such as `"10m"`.
    Size,
    /// Share such as `"30%"`.
    Share,
    /// Array; the elements have the path `key[]`.
    Array,
    /// Table; the members have the path `key.member`.
    Table,
    /// Table with keys of the operator; the values have the path `key.*`.
    FreeTable,
}

/// Use of one key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::config) struct KeyUsage {
    /// Types that the readers accept.
    pub kinds: BTreeSet<Kind>,
    /// True if a reader noted that the key is missing.
    pub is_required: bool,
}

/// Uses of all keys, by key path without indexes: `upstream[].peers[].weight`.
#[derive(Default)]
pub(in crate::config) struct Usage {
    keys: RefCell<Option<BTreeMap<String, KeyUsage>>>,
}

impl Usage {
    /// Begins to record. Without it, a start of the gateway records nothing.
    pub fn record(&self) {
        self.keys.borrow_mut().get_or_insert_default();
    }

    /// Notes a key that a reader asked for.
    pub fn asked(&self, path: &str) {
        self.change(path, |_| ());
    }

    /// Notes the type of a key that a reader asked for.
    pub fn read_as(&self, path: &str, kind: impl FnOnce() -> Kind) {
        self.change(path, |usage| {
            usage.kinds.insert(kind());
        });
    }

    pub fn required(&self, path: &str) {
        self.change(path, |usage| usage.is_required = true);
    }

    fn change(&self, path: &str, change: impl FnOnce(&mut KeyUsage)) {
        if let Some(keys) = &mut *self.keys.borrow_mut() {
            change(keys.entry(without_indexes(path)).or_default());
        }
    }

    pub fn into_keys(self) -> BTreeMap<String, KeyUsage> {
        self.keys.into_inner().unwrap_or_default()
    }
}

/// Returns the path of a key within a table; the root table has an empty path.
pub(in crate::config) fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// Returns the path `upstream[].peers[]` for `upstream[2].peers[0]`.
pub(in crate::config) fn without_indexes(path: &str) -> String {
    let mut plain = String::with_capacity(path.len());
    let mut parts = path.split('[');
    plain.push_str(parts.next().unwrap_or_default());
    for part in parts {
        plain.push_str("[]");
        plain.push_str(part.split_once(']').map_or("", |(_, rest)| rest));
    }
    plain
}
