//! Directives as they stand in the files, includes put in their places.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::place::Place;

/// The directives of a block, in the order of the text.
///
/// All that holds in a server is asked for in each of its locations, up to `http`, where there may be
/// thousands of servers. So a large block finds its directives by their names.
#[derive(Debug)]
pub(super) struct Block {
    directives: Vec<Directive>,
    /// The directives of each name; empty for a small block.
    names: BTreeMap<String, OneName>,
}

/// The places of the directives of one name.
#[derive(Debug, Default)]
struct OneName {
    places: Vec<usize>,
    /// The first of them with each first argument.
    by_argument: BTreeMap<String, usize>,
}

impl Block {
    /// Directives that are looked through one by one.
    const SMALL: usize = 32;

    const EMPTY: Block = Block {
        directives: Vec::new(),
        names: BTreeMap::new(),
    };

    pub(super) fn new(directives: Vec<Directive>) -> Self {
        let mut names: BTreeMap<String, OneName> = BTreeMap::new();
        if directives.len() > Block::SMALL {
            for (place, directive) in directives.iter().enumerate() {
                if !names.contains_key(&directive.name) {
                    names.insert(directive.name.clone(), OneName::default());
                }
                if let Some(name) = names.get_mut(&directive.name) {
                    name.places.push(place);
                    let argument = directive.arg(0).to_owned();
                    name.by_argument.entry(argument).or_insert(place);
                }
            }
        }
        Block { directives, names }
    }

    /// Its directives of a name.
    pub(super) fn named<'b, 'n>(
        &'b self,
        name: &'n str,
    ) -> impl Iterator<Item = &'b Directive> + use<'b, 'n> {
        let (small, large): (&[Directive], &[usize]) = if self.names.is_empty() {
            (&self.directives, &[])
        } else {
            let known = self.names.get(name);
            (&[], known.map_or(&[][..], |known| known.places.as_slice()))
        };
        let found = large.iter().map(|place| &self.directives[*place]);
        found.chain(small.iter().filter(move |d| d.name == name))
    }

    /// The first of its directives with this name and this first argument.
    pub(super) fn find(&self, name: &str, argument: &str) -> Option<&Directive> {
        if self.names.is_empty() {
            return self.named(name).find(|d| d.arg(0) == argument);
        }
        let place = self.names.get(name)?.by_argument.get(argument)?;
        self.directives.get(*place)
    }

    /// The names of its directives, each once.
    pub(super) fn names(&self) -> BTreeSet<&str> {
        if self.names.is_empty() {
            self.directives.iter().map(|d| d.name.as_str()).collect()
        } else {
            self.names.keys().map(String::as_str).collect()
        }
    }
}

impl Default for Block {
    fn default() -> Self {
        Block::EMPTY
    }
}

impl std::ops::Deref for Block {
    type Target = [Directive];

    fn deref(&self) -> &[Directive] {
        &self.directives
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
    pub(super) block: Option<Block>,
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
        self.content().named(name)
    }

    /// Its block; an empty one if it has none.
    pub(super) fn content(&self) -> &Block {
        static NONE: Block = Block::EMPTY;
        self.block.as_ref().unwrap_or(&NONE)
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
    pub(super) directives: Block,
    pub(super) missing: Vec<Missing>,
    /// How many directives there are, in blocks as well.
    pub(super) count: usize,
}
