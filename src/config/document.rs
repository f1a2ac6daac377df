//! The configuration file as a tree of values, each with its key path and line.
//!
//! Readers request keys by name and type. A missing key takes its default. An invalid value is
//! noted as a problem and takes its default, too, so that one pass reports every problem. A key
//! that no reader requested is unknown, which is also a problem.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::suggest::known_names;

/// A problem in the configuration, with its location.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Line number from 1; 0 for a problem with the command line.
    pub line: usize,
    /// Key path such as `upstream[2].peers[0]`; empty for a syntax error.
    pub key: String,
    /// Description of the problem.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.reason)?;
        if self.line > 0 {
            write!(f, " (line {})", self.line)?;
        }
        Ok(())
    }
}

impl Problem {
    /// Returns the problem as a line of text that begins with the file's name, or without it if the
    /// problem is with the command line.
    #[must_use]
    pub fn in_file(&self, file: &str) -> String {
        if self.line == 0 && self.key.starts_with("--") {
            return self.to_string();
        }
        format!("{file}: {self}")
    }
}

/// A parsed file.
pub struct Document<'t> {
    lines: Lines,
    root: Spanned<DeTable<'t>>,
}

impl<'t> Document<'t> {
    /// Parses the syntax.
    ///
    /// # Errors
    /// With every syntax error that the parser finds.
    pub fn parse(text: &'t str) -> Result<Self, Vec<Problem>> {
        let (root, errors) = DeTable::parse_recoverable(text);
        if errors.is_empty() {
            let lines = Lines::of(text);
            return Ok(Document { lines, root });
        }
        let lines = Lines::of(text);
        let problems = errors.iter().map(|error| Problem {
            line: lines.line_of(error.span().map_or(0, |span| span.start)),
            key: String::new(),
            reason: error.message().to_owned(),
        });
        Err(problems.collect())
    }

    /// Returns the line of a key such as `upstream[2].peers[0]`, or of its nearest parent that
    /// exists.
    pub(super) fn line_of_key(&self, key: &str) -> usize {
        let mut table = Some(self.root.get_ref());
        let mut line = 1;
        for part in key.split('.') {
            let (name, indexes) = part.split_at(part.find('[').unwrap_or(part.len()));
            let Some(mut value) = table.and_then(|table| table.get(name)) else {
                return line;
            };
            for index in indexes.split(['[', ']']).filter(|index| !index.is_empty()) {
                let array = value.get_ref().as_array();
                let element = array.zip(index.parse::<usize>().ok());
                match element.and_then(|(array, index)| array.get(index)) {
                    Some(element) => value = element,
                    None => break,
                }
            }
            line = self.lines.line_of(value.span().start);
            table = value.get_ref().as_table();
        }
        line
    }

    /// Returns the root table; its readers note problems in `problems`.
    pub(super) fn root<'d>(&'d self, problems: &'d Problems) -> Section<'d> {
        Section {
            lines: &self.lines,
            path: String::new(),
            line: 1,
            table: Some(self.root.get_ref()),
            asked: Rc::default(),
            problems,
        }
    }
}

/// Beginnings of the lines of a text. Every section knows its line, and there may be thousands.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        let breaks = memchr::memchr_iter(b'\n', text.as_bytes());
        Lines(breaks.map(|at| at + 1).collect())
    }

    /// The line of an offset, counted from 1.
    fn line_of(&self, offset: usize) -> usize {
        1 + self.0.partition_point(|begin| *begin <= offset)
    }
}

/// Collected problems.
#[derive(Default)]
pub(super) struct Problems(RefCell<Vec<Problem>>);

impl Problems {
    pub(super) fn note(&self, line: usize, key: impl Into<String>, reason: impl Into<String>) {
        self.0.borrow_mut().push(Problem {
            line,
            key: key.into(),
            reason: reason.into(),
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// Returns all problems, sorted by line, without duplicates.
    pub(super) fn into_sorted(self) -> Vec<Problem> {
        let mut problems = self.0.into_inner();
        problems.sort();
        problems.dedup();
        problems
    }
}

/// A table of the file, or an absent table, whose keys all take their defaults.
pub(super) struct Section<'d> {
    lines: &'d Lines,
    path: String,
    line: usize,
    table: Option<&'d DeTable<'d>>,
    asked: Rc<RefCell<BTreeSet<&'static str>>>,
    problems: &'d Problems,
}

/// A value with its key path and line.
pub(super) struct Item<'d> {
    lines: &'d Lines,
    path: String,
    value: &'d Spanned<DeValue<'d>>,
    problems: &'d Problems,
}

impl<'d> Section<'d> {
    fn path_to(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// Returns the value of a key, if present.
    pub(super) fn item(&self, key: &'static str) -> Option<Item<'d>> {
        self.asked.borrow_mut().insert(key);
        let value = self.table?.get(key)?;
        Some(Item {
            lines: self.lines,
            path: self.path_to(key),
            value,
            problems: self.problems,
        })
    }

    /// Returns the value of a key as converted by `read`, or `default` if it is absent or invalid.
    pub(super) fn value<T>(
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
    pub(super) fn required<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Item<'d>) -> Result<T, String>,
    ) -> Option<T> {
        let Some(item) = self.item(key) else {
            self.problems
                .note(self.line, self.path_to(key), "is missing");
            return None;
        };
        item.read(read)
    }

    /// Returns the table of a key, or an absent table.
    pub(super) fn section(&self, key: &'static str) -> Section<'d> {
        match self.item(key) {
            Some(item) => item.section(),
            None => self.absent(key),
        }
    }

    /// Returns an absent table.
    pub(super) fn absent(&self, key: &str) -> Section<'d> {
        Section {
            lines: self.lines,
            path: self.path_to(key),
            line: self.line,
            table: None,
            asked: Rc::default(),
            problems: self.problems,
        }
    }

    /// Returns the tables of `[[key]]`.
    pub(super) fn sections(&self, key: &'static str) -> Vec<Section<'d>> {
        let items = self.item(key).map(|item| item.items()).unwrap_or_default();
        items.iter().map(Item::section).collect()
    }

    /// Returns all keys and their values in the order of the file. For a table with user-defined
    /// keys.
    pub(super) fn entries(&self) -> Vec<(&'d str, Item<'d>)> {
        let mut pairs: Vec<_> = self.table.into_iter().flatten().collect();
        pairs.sort_by_key(|(key, _)| key.span().start);
        let entries = pairs.into_iter().map(|(key, value)| {
            let name: &'d str = key.get_ref();
            let item = Item {
                lines: self.lines,
                path: self.path_to(name),
                value,
                problems: self.problems,
            };
            (name, item)
        });
        entries.collect()
    }

    /// Notes a problem with a key of the section, or with the section itself if `key` is empty.
    pub(super) fn note(&self, key: &str, reason: impl Into<String>) {
        let path = if key.is_empty() {
            self.path.clone()
        } else {
            self.path_to(key)
        };
        let value = self.table.and_then(|table| table.get(key));
        let line = value.map_or(self.line, |value| self.lines.line_of(value.span().start));
        self.problems.note(line, path, reason);
    }

    /// Notes every key that was never requested. Call it after all known keys were requested.
    pub(super) fn refuse_unknown(&self) {
        let asked = self.asked.borrow();
        for key in self.table.into_iter().flat_map(DeTable::keys) {
            let name: &str = key.get_ref();
            if !asked.contains(name) {
                let known: Vec<_> = asked.iter().copied().collect();
                let known = known_names(name, "known here", known.iter().copied());
                let reason = format!("unknown key{known}");
                let line = self.lines.line_of(key.span().start);
                self.problems.note(line, self.path_to(name), reason);
            }
        }
    }
}

impl<'d> Item<'d> {
    fn line(&self) -> usize {
        self.lines.line_of(self.value.span().start)
    }

    /// Converts the value, or notes why it is invalid.
    pub(super) fn read<T>(&self, read: impl FnOnce(&Item<'d>) -> Result<T, String>) -> Option<T> {
        match read(self) {
            Ok(value) => Some(value),
            Err(reason) => {
                self.problems.note(self.line(), self.path.clone(), reason);
                None
            }
        }
    }

    /// Notes a problem with the value.
    pub(super) fn note(&self, reason: impl Into<String>) {
        self.problems.note(self.line(), self.path.clone(), reason);
    }

    /// Returns the value as a table. Any other type is noted as a problem and becomes an absent
    /// table.
    pub(super) fn section(&self) -> Section<'d> {
        let table = self.value.get_ref().as_table();
        if table.is_none() {
            let reason = format!("a table is expected, not {}", self.kind());
            self.problems.note(self.line(), self.path.clone(), reason);
        }
        Section {
            lines: self.lines,
            path: self.path.clone(),
            line: self.line(),
            table,
            asked: Rc::default(),
            problems: self.problems,
        }
    }

    /// Returns the elements of an array. Any other type is noted as a problem and has no elements.
    pub(super) fn items(&self) -> Vec<Item<'d>> {
        let Some(array) = self.value.get_ref().as_array() else {
            let reason = format!("an array is expected, not {}", self.kind());
            self.problems.note(self.line(), self.path.clone(), reason);
            return Vec::new();
        };
        let elements = array.iter().enumerate().map(|(index, value)| Item {
            lines: self.lines,
            path: format!("{}[{index}]", self.path),
            value,
            problems: self.problems,
        });
        elements.collect()
    }

    /// Returns the elements of an array, or the value itself if it is not an array.
    pub(super) fn one_or_more(&self) -> Vec<Item<'d>> {
        if self.value.get_ref().as_array().is_some() {
            return self.items();
        }
        vec![Item {
            lines: self.lines,
            path: self.path.clone(),
            value: self.value,
            problems: self.problems,
        }]
    }

    /// Returns the text of a member, if the value is a table that has it.
    pub(super) fn member(&self, key: &str) -> Option<&'d str> {
        self.value
            .get_ref()
            .as_table()?
            .get(key)?
            .get_ref()
            .as_str()
    }

    pub(super) fn is_empty_array(&self) -> bool {
        let array = self.value.get_ref().as_array();
        array.is_some_and(|array| array.is_empty())
    }

    fn kind(&self) -> &'static str {
        match self.value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a decimal number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        }
    }

    pub(super) fn string(&self) -> Result<&'d str, String> {
        let text = self.value.get_ref().as_str();
        text.ok_or_else(|| format!("a string is expected, not {}", self.kind()))
    }

    pub(super) fn boolean(&self) -> Result<bool, String> {
        let value = self.value.get_ref().as_bool();
        value.ok_or_else(|| format!("true or false is expected, not {}", self.kind()))
    }

    /// Returns the value as an integer from `minimum` to `maximum`.
    pub(super) fn integer(&self, minimum: u64, maximum: u64) -> Result<u64, String> {
        let value = self.value.get_ref().as_integer();
        let value = value.ok_or_else(|| format!("an integer is expected, not {}", self.kind()))?;
        let number = i128::from_str_radix(value.as_str(), value.radix());
        match number.ok().and_then(|number| u64::try_from(number).ok()) {
            Some(number) if (minimum..=maximum).contains(&number) => Ok(number),
            _ => Err(format!(
                "{} is not within {minimum} and {maximum}",
                value.as_str()
            )),
        }
    }

    /// Returns the value as a fraction from 0 to 1, written as `"30%"`.
    pub(super) fn share(&self) -> Result<f64, String> {
        let text = self.string()?;
        let percent = text
            .strip_suffix('%')
            .and_then(|number| number.parse().ok());
        let percent = percent.filter(|percent| (0.0..=100.0).contains(percent));
        percent
            .map(|percent: f64| percent / 100.0)
            .ok_or_else(|| format!("{text:?} is not a share from \"0%\" to \"100%\""))
    }

    /// Returns the value as a duration: `"500ms"`, `"5s"`, `"2m"`, `"1h"`, `"1d"`, `"1y"` (365
    /// days).
    pub(super) fn duration(&self) -> Result<Duration, String> {
        let text = self.string()?;
        let (number, unit) = split_unit(text);
        let millis = match unit {
            "ms" => Some(1),
            "s" => Some(1000),
            "m" => Some(60_000),
            "h" => Some(3_600_000),
            "d" => Some(86_400_000),
            "y" => Some(31_536_000_000),
            _ => None,
        };
        let value: Option<u64> = number.parse().ok();
        value
            .zip(millis)
            .and_then(|(value, millis)| value.checked_mul(millis))
            .filter(|&millis| millis > 0)
            .map(Duration::from_millis)
            .ok_or_else(|| {
                format!("{text:?} is not a duration such as \"500ms\", \"5s\" or \"2m\"")
            })
    }

    /// Returns the value as a size in bytes, in nginx's notation: `512`, `"128k"`, `"10m"`, `"1g"`.
    pub(super) fn size(&self) -> Result<u64, String> {
        if self.value.get_ref().is_integer() {
            return self.integer(0, u64::MAX >> 1);
        }
        let text = self.string()?;
        let (number, unit) = split_unit(text);
        let bytes = match unit {
            "" => Some(1),
            "k" | "K" => Some(1 << 10),
            "m" | "M" => Some(1 << 20),
            "g" | "G" => Some(1_u64 << 30),
            _ => None,
        };
        let value: Option<u64> = number.parse().ok();
        value
            .zip(bytes)
            .and_then(|(value, bytes)| value.checked_mul(bytes))
            .ok_or_else(|| format!("{text:?} is not a size such as \"128k\" or \"10m\""))
    }
}

fn split_unit(text: &str) -> (&str, &str) {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    text.split_at(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, read: impl FnOnce(&Section), expected: &[&str]) {
        let problems = Problems::default();
        match Document::parse(text) {
            Ok(document) => read(&document.root(&problems)),
            Err(errors) => errors
                .into_iter()
                .for_each(|e| problems.note(e.line, e.key, e.reason)),
        }
        let found: Vec<_> = problems
            .into_sorted()
            .iter()
            .map(Problem::to_string)
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn every_problem_is_reported_with_key_and_line() {
        let text = "[a]\nb = 1\nc = 'x'\n\n[[d]]\ne = true\n[[d]]\nf = 2\n";
        let read = |root: &Section| {
            let a = root.section("a");
            a.value("b", false, Item::boolean);
            a.value("c", Duration::ZERO, Item::duration);
            a.refuse_unknown();
            for d in root.sections("d") {
                d.required("e", Item::string);
                d.refuse_unknown();
            }
            root.refuse_unknown();
        };
        check(
            text,
            read,
            &[
                "a.b: true or false is expected, not an integer (line 2)",
                "a.c: \"x\" is not a duration such as \"500ms\", \"5s\" or \"2m\" (line 3)",
                "d[0].e: a string is expected, not true or false (line 6)",
                "d[1].e: is missing (line 7)",
                "d[1].f: unknown key; known here: e (line 8)",
            ],
        );
    }

    #[test]
    fn a_key_is_found_by_its_path() {
        let text = "[a]\nb = [1,\n 2]\n\n[[d]]\ne = { f = 1 }\n[[d]]\ng = 2\n";
        let document = Document::parse(text).unwrap();
        for (key, line) in [
            ("a", 1),
            ("a.b", 2),
            ("a.b[1]", 3),
            ("a.b[7]", 2),
            ("a.x.y", 1),
            ("d[0].e.f", 6),
            ("d[1]", 7),
            ("d[1].g", 8),
            ("d[1].none", 7),
            ("none", 1),
        ] {
            assert_eq!(document.line_of_key(key), line, "{key}");
        }
    }

    #[test]
    fn errors_of_syntax_have_their_line() {
        check(
            "a = 1\nb = \n",
            |_| {},
            &["string values must be quoted, expected literal string (line 2)"],
        );
    }

    #[test]
    fn sizes_and_durations() {
        let text = "a = '10m'\nb = 77\nc = '128k'\nd = '2h'\ne = '250ms'\nf = '0s'\ng = '1t'\n";
        let read = |root: &Section| {
            assert_eq!(root.value("a", 0, Item::size), 10 << 20);
            assert_eq!(root.value("b", 0, Item::size), 77);
            assert_eq!(root.value("c", 0, Item::size), 128 << 10);
            assert_eq!(
                root.value("d", Duration::ZERO, Item::duration).as_secs(),
                7200
            );
            assert_eq!(
                root.value("e", Duration::ZERO, Item::duration).as_millis(),
                250
            );
            root.value("f", Duration::ZERO, Item::duration);
            root.value("g", 0, Item::size);
        };
        check(
            text,
            read,
            &[
                "f: \"0s\" is not a duration such as \"500ms\", \"5s\" or \"2m\" (line 6)",
                "g: \"1t\" is not a size such as \"128k\" or \"10m\" (line 7)",
            ],
        );
    }
}
