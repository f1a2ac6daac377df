//! Tree of the directives of all files, with included files in the places of their `include`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::place::Place;

/// Directives of a block, in the order of the text.
///
/// Each location looks for the directives of all blocks around it, up to `http`, which may have
/// thousands of servers. So a large block has an index of its directives by name.
#[derive(Debug)]
pub(super) struct Block {
    directives: Vec<Directive>,
    /// Directives of each name; empty for a small block.
    names: BTreeMap<String, OneName>,
}

/// Indexes of the directives of one name.
#[derive(Debug, Default)]
struct OneName {
    places: Vec<usize>,
    /// Index of the first directive with each first argument.
    by_argument: BTreeMap<String, usize>,
}

impl Block {
    /// Largest number of directives that are searched one by one, without an index.
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

    /// Returns the directives of a name.
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

    /// Returns the first directive with this name and this first argument.
    pub(super) fn find(&self, name: &str, argument: &str) -> Option<&Directive> {
        if self.names.is_empty() {
            return self.named(name).find(|d| d.arg(0) == argument);
        }
        let place = self.names.get(name)?.by_argument.get(argument)?;
        self.directives.get(*place)
    }

    /// Returns the names of the directives, each once.
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
    /// Number of the directive among all, in the order of the text.
    pub(super) id: usize,
    pub(super) name: String,
    pub(super) args: Vec<String>,
    /// Directives in the braces; `None` if the directive ends with `;`.
    pub(super) block: Option<Block>,
    pub(super) place: Place,
}

/// Blocks that contain data instead of directives.
const DATA: [&str; 7] = [
    "types",
    "map",
    "geo",
    "split_clients",
    "match",
    "charset_map",
    "geoip2",
];

impl Directive {
    /// Returns `true` for a block that contains data instead of directives.
    pub(super) fn is_data(&self) -> bool {
        DATA.contains(&self.name.as_str())
    }

    /// Returns an argument, or an empty text if there is none.
    pub(super) fn arg(&self, index: usize) -> &str {
        self.args.get(index).map_or("", String::as_str)
    }

    /// Returns the directives in the block; none if there is no block.
    pub(super) fn inside(&self) -> &[Directive] {
        self.block.as_deref().unwrap_or_default()
    }

    /// Returns the directives of a name in the block.
    pub(super) fn named<'d, 'n>(
        &'d self,
        name: &'n str,
    ) -> impl Iterator<Item = &'d Directive> + use<'d, 'n> {
        self.content().named(name)
    }

    /// Returns the block; an empty one if there is none.
    pub(super) fn content(&self) -> &Block {
        static NONE: Block = Block::EMPTY;
        self.block.as_ref().unwrap_or(&NONE)
    }
}

/// Writes the directive as in the file, in one line, cut after 72 characters.
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

/// An included file that does not exist or cannot be read.
#[derive(Debug)]
pub(super) struct Missing {
    pub(super) place: Place,
    pub(super) pattern: String,
    pub(super) reason: String,
    /// True if the folder of the pattern exists and no file matches, which nginx allows.
    pub(super) is_empty: bool,
}

/// All directives of a configuration, and the files that are missing.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) directives: Block,
    pub(super) missing: Vec<Missing>,
    /// Number of directives, with those in blocks.
    pub(super) count: usize,
}
