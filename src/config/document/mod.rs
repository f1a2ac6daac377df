//! The configuration as a tree of values, each with its key path and place.
//!
//! Readers request keys by name and type. A missing key takes its default. An invalid value is
//! noted as a problem and takes its default, too, so that one pass reports every problem. A key
//! that no reader requested is unknown, which is also a problem.
//!
//! The tree has the tables of all files that `include` names, and the values of all references to
//! the environment and to files. Errors in these, as errors of syntax, are reported before any
//! reader begins.

mod convert;
mod interpolate;
mod load;
mod node;
mod problem;
mod section;
mod usage;

use std::rc::Rc;

pub(super) use interpolate::Piece;
pub(crate) use interpolate::escape;
pub use load::Document;
pub(super) use node::{Node, Table, Text, UsedAs, Value};
pub(super) use problem::Problems;
pub use problem::{Place, Problem};
pub(super) use section::{Item, Section};
pub(super) use usage::{KeyUsage, Kind, join};

impl Document {
    /// Returns the place of a key such as `upstream[2].peers[0]`, or of its nearest parent that
    /// exists.
    pub(super) fn place_of_key(&self, key: &str) -> Place {
        let mut table = Some(&self.root);
        let mut place = self.beginning();
        for part in key.split('.') {
            let (name, indexes) = part.split_at(part.find('[').unwrap_or(part.len()));
            let Some(mut node) = table.and_then(|table| table.get(name)) else {
                break;
            };
            for index in indexes.split(['[', ']']).filter(|index| !index.is_empty()) {
                let Value::Array(array) = &node.value else {
                    break;
                };
                match index.parse().ok().and_then(|index: usize| array.get(index)) {
                    Some(element) => node = element,
                    None => break,
                }
            }
            place = node.place.clone();
            table = node.table();
        }
        place
    }

    fn beginning(&self) -> Place {
        Place {
            line: 1,
            ..self.first.clone()
        }
    }

    /// Returns a problem with the value of a key, without secrets.
    #[must_use]
    pub fn problem(&self, key: &str, reason: &str) -> Problem {
        Problem {
            place: Some(self.place_of_key(key)),
            key: key.to_owned(),
            reason: self.secrets.redact(reason),
        }
    }

    /// Returns the root table; its readers note problems in `problems`.
    pub(super) fn root<'d>(&'d self, problems: &'d Problems) -> Section<'d> {
        Section {
            path: String::new(),
            pattern: String::new(),
            place: self.beginning(),
            table: Some(&self.root),
            asked: Rc::default(),
            problems,
        }
    }
}

#[cfg(test)]
mod tests;
