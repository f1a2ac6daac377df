//! Reading of a configuration with the files that it includes, into one tree.
//!
//! `include = ["conf.d/*.toml"]` names files relative to the folder of the file that contains it.
//! The tables of a file come first, then those of the files that it includes, in their order.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::de::DeTable;

use super::interpolate::Environment;
use super::node::{Conversion, Node, Table, Value};
use super::problem::{Place, Problem, Secrets};

/// Maximum depth of includes in includes.
const MAX_DEPTH: usize = 10;

/// Maximum number of included files.
const MAX_FILES: usize = 10_000;

/// A file of the configuration that is read.
struct Opened {
    /// Path without links, which identifies the file; `None` for a text without a file.
    path: Option<PathBuf>,
    /// Place of the `include` that names it.
    by: Option<Place>,
}

/// A configuration that was read, with all files that it includes.
#[derive(Debug)]
pub struct Document {
    pub(super) first: Place,
    pub(in crate::config) root: Table,
    pub(in crate::config) secrets: Secrets,
}

impl Document {
    /// Reads a text and the files that it includes. `path` is the text's own file, if it has one.
    ///
    /// # Errors
    /// With all errors of syntax, includes and references, and all keys that are given twice.
    pub(in crate::config) fn load(
        text: &str,
        name: &str,
        path: Option<&Path>,
        environment: Environment,
    ) -> Result<Self, Vec<Problem>> {
        let mut loader = Loader {
            environment,
            opened: Vec::new(),
            problems: Vec::new(),
            secrets: Secrets::default(),
        };
        loader.opened.push(Opened {
            path: path.and_then(|path| path.canonicalize().ok()),
            by: None,
        });
        let first = Place::whole(name);
        let folder = path.and_then(Path::parent).unwrap_or(Path::new(""));
        let root = loader.file(text, &first, folder, 0);
        match root {
            Some(root) if loader.problems.is_empty() => Ok(Document {
                first,
                root,
                secrets: loader.secrets,
            }),
            _ => {
                for problem in &mut loader.problems {
                    problem.reason = loader.secrets.redact(&problem.reason);
                }
                loader.problems.sort();
                Err(loader.problems)
            }
        }
    }
}

struct Loader<'e> {
    environment: Environment<'e>,
    /// All files that were read, in this order.
    opened: Vec<Opened>,
    problems: Vec<Problem>,
    secrets: Secrets,
}

impl Loader<'_> {
    /// Parses one file and merges its includes into it. Returns `None` after an error of syntax.
    fn file(&mut self, text: &str, file: &Place, folder: &Path, depth: usize) -> Option<Table> {
        let (parsed, errors) = DeTable::parse_recoverable(text);
        let lines = memchr::memchr_iter(b'\n', text.as_bytes());
        let mut conversion = Conversion {
            lines: lines.map(|at| at + 1).collect(),
            file: file.clone(),
            text,
            environment: self.environment,
            problems: &mut self.problems,
            secrets: &mut self.secrets,
        };
        if !errors.is_empty() {
            for error in errors {
                let problem = Problem {
                    place: Some(conversion.place(error.span().map_or(0, |span| span.start))),
                    key: String::new(),
                    reason: error.message().to_owned(),
                };
                conversion.problems.push(problem);
            }
            return None;
        }
        let mut table = conversion.table(parsed.get_ref(), "");
        if let Some(include) = table.take("include") {
            for (place, key, pattern) in self.patterns(&include) {
                for path in self.matches(&pattern, folder, &place, &key) {
                    if let Some(included) = self.included(&path, &place, &key, depth + 1) {
                        table.merge(included, "", &mut self.problems);
                    }
                }
            }
        }
        Some(table)
    }

    /// Returns the texts of an `include`, each with its place and key.
    fn patterns(&mut self, include: &Node) -> Vec<(Place, String, String)> {
        let elements: Vec<(String, &Node)> = match &include.value {
            Value::Array(elements) => {
                let keyed = elements.iter().enumerate();
                keyed
                    .map(|(index, element)| (format!("include[{index}]"), element))
                    .collect()
            }
            _ => vec![("include".to_owned(), include)],
        };
        let mut patterns = Vec::new();
        for (key, element) in elements {
            match &element.value {
                Value::Text(text) if !text.whole.is_empty() => {
                    patterns.push((element.place.clone(), key, text.whole.clone()));
                }
                _ => self.note(
                    &element.place,
                    &key,
                    "a path or a pattern such as \"conf.d/*.toml\" is expected",
                ),
            }
        }
        patterns
    }

    /// Returns the files of a pattern, sorted by name, or the one file of a plain name.
    fn matches(&mut self, pattern: &str, folder: &Path, place: &Place, key: &str) -> Vec<PathBuf> {
        if !pattern.contains(['*', '?', '[']) {
            return vec![folder.join(pattern)];
        }
        let whole = if Path::new(pattern).is_absolute() || folder.as_os_str().is_empty() {
            pattern.to_owned()
        } else {
            let folder = glob::Pattern::escape(&folder.display().to_string());
            format!("{folder}/{pattern}")
        };
        let options = glob::MatchOptions {
            // `*` matches neither `a/b` nor the hidden files of editors.
            require_literal_separator: true,
            require_literal_leading_dot: true,
            ..glob::MatchOptions::default()
        };
        let mut paths = Vec::new();
        match glob::glob_with(&whole, options) {
            Ok(found) => {
                for path in found {
                    match path {
                        Ok(path) => paths.push(path),
                        Err(error) => self.note(place, key, &error.to_string()),
                    }
                }
            }
            Err(error) => self.note(
                place,
                key,
                &format!("{pattern:?} is no pattern: {}", error.msg),
            ),
        }
        paths.sort();
        paths
    }

    /// Reads an included file.
    fn included(&mut self, path: &Path, place: &Place, key: &str, depth: usize) -> Option<Table> {
        let name = path.display().to_string();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                self.note(place, key, &format!("{name}: {error}"));
                return None;
            }
        };
        let canonical = path.canonicalize().ok();
        let number = self.opened.len();
        let other = self
            .opened
            .iter()
            .find(|other| other.path.is_some() && other.path == canonical);
        let reason = if let Some(other) = other {
            Some(match &other.by {
                Some(by) => format!("{name} is included already, in {by}"),
                None => format!("{name} is the configuration itself, which includes this file"),
            })
        } else if depth > MAX_DEPTH {
            Some(format!(
                "{name}: more than {MAX_DEPTH} files include each other"
            ))
        } else if number > MAX_FILES {
            Some(format!("{name}: more than {MAX_FILES} files are included"))
        } else {
            None
        };
        if let Some(reason) = reason {
            self.note(place, key, &reason);
            return None;
        }
        self.opened.push(Opened {
            path: canonical,
            by: Some(place.clone()),
        });
        let file = Place {
            number,
            line: 0,
            file: Arc::from(name),
        };
        let folder = path.parent().unwrap_or(Path::new(""));
        self.file(&text, &file, folder, depth)
    }

    fn note(&mut self, place: &Place, key: &str, reason: &str) {
        self.problems.push(Problem {
            place: Some(place.clone()),
            key: key.to_owned(),
            reason: reason.to_owned(),
        });
    }
}
