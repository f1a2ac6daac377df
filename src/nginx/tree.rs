//! Directives as they stand in the files, includes put in their places.

use std::fmt;
use std::sync::Arc;

use super::lexer::Position;

/// Where something stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file, as it was named or found.
    pub file: Arc<str>,
    /// Counted from 1.
    pub line: u32,
    /// Counted from 1, in characters.
    pub column: u32,
}

impl Place {
    pub(super) fn new(file: &Arc<str>, position: Position) -> Self {
        Place {
            file: Arc::clone(file),
            line: position.line,
            column: position.column,
        }
    }

    /// A file as a whole.
    pub(super) fn whole(file: &str) -> Self {
        let position = Position { line: 1, column: 1 };
        Place::new(&Arc::from(file), position)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// One directive, with the directives in its block.
#[derive(Debug)]
pub(super) struct Directive {
    /// Its number among all, in the order of the text.
    pub(super) id: usize,
    pub(super) name: String,
    pub(super) args: Vec<String>,
    /// `None` if it ends with `;`.
    pub(super) block: Option<Vec<Directive>>,
    pub(super) place: Place,
}

impl Directive {
    /// An argument, or nothing.
    pub(super) fn arg(&self, index: usize) -> &str {
        self.args.get(index).map_or("", String::as_str)
    }

    /// The directives in its block; none if it has no block.
    pub(super) fn inside(&self) -> &[Directive] {
        self.block.as_deref().unwrap_or_default()
    }

    /// Those in its block that have this name.
    pub(super) fn named<'d, 'n>(
        &'d self,
        name: &'n str,
    ) -> impl Iterator<Item = &'d Directive> + use<'d, 'n> {
        self.inside().iter().filter(move |d| d.name == name)
    }
}

/// As in the file, in one line and not too long.
impl fmt::Display for Directive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LENGTH: usize = 72;
        let words = std::iter::once(&self.name).chain(&self.args);
        let mut text = words
            .map(|word| written(word))
            .collect::<Vec<_>>()
            .join(" ");
        if text.chars().count() > LENGTH {
            text = text.chars().take(LENGTH).collect::<String>() + "...";
        }
        f.write_str(&text)
    }
}

fn written(word: &str) -> String {
    let is_plain = |c: char| !c.is_whitespace() && !c.is_control() && !";{}'\"".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    format!("\"{}\"", word.chars().map(shown).collect::<String>())
}

/// A file that is included and not there.
#[derive(Debug)]
pub(super) struct Missing {
    pub(super) place: Place,
    pub(super) pattern: String,
    pub(super) reason: String,
    /// A pattern whose folder is there and has nothing that matches, which nginx allows.
    pub(super) is_empty: bool,
}

/// All that was read.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) directives: Vec<Directive>,
    pub(super) missing: Vec<Missing>,
    /// How many directives there are, in blocks as well.
    pub(super) count: usize,
}
