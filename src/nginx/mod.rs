//! From an nginx.conf to a geogate.toml.
//!
//! `lexer` and `parser` read what nginx reads, includes and all, into a `tree`; `translate`
//! has a file for each concern and fills a `document`; `accept` holds the result against
//! geogate's own reader. What became of each directive is in `notes`, for an operator who moves
//! must know what stays behind: a directive that nobody has spoken for is reported by itself.
//!
//! The reader is our own because nothing kept reads these files as nginx does, includes in place
//! and every word with its position.

mod accept;
mod document;
mod error;
mod include;
mod lexer;
mod notes;
mod parser;
mod place;
mod scope;
mod translate;
mod tree;
mod units;

#[cfg(test)]
mod tests;

use std::path::Path;

pub use error::{Fault, NginxError};
pub use place::Place;

use document::Document;
use notes::{Fate, Notes};
use tree::Tree;

/// A configuration in geogate's words.
#[derive(Debug)]
pub struct Translation {
    /// The configuration, valid, with notes in comments: what protects and is not as it was at
    /// its head, the others at its end.
    pub toml: String,
    /// How many directives protect, are not in it, and close what they protect with 403.
    pub closed: usize,
    /// How many directives limit requests, and are not in it.
    pub unlimited: usize,
    /// How many other directives are not in it, or not wholly.
    pub lost: usize,
    /// How many are in it and mean something slightly else.
    pub differing: usize,
    /// One line for each of these, with file and line, in this order.
    pub findings: Vec<String>,
}

impl Translation {
    /// Whether every request gets the response that nginx would give, as far as geogate knows.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.findings.is_empty()
    }
}

/// Translates a file and what it includes.
///
/// # Errors
/// If the file cannot be read, or its syntax is not nginx's; what it says cannot make it fail.
pub fn translate(file: &Path) -> Result<Translation, NginxError> {
    translated(&parser::read(file)?, &file.display().to_string())
}

fn translated(tree: &Tree, file: &str) -> Result<Translation, NginxError> {
    let mut output = Output {
        document: Document::default(),
        notes: Notes::new(tree.count),
    };
    translate::translate(tree, &mut output);
    let Output {
        mut document,
        mut notes,
    } = output;
    let configuration = accept::accept(&mut document, &mut notes, file)?;
    let shown: String = file
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    Ok(Translation {
        toml: format!(
            "# From {shown} by `geogate check --nginx`. What is not set has geogate's default;\n\
             # relative paths begin where geogate is started.\n{}\n{configuration}{}",
            notes.write_protection(),
            notes.write()
        ),
        closed: notes.count(Fate::Closed),
        unlimited: notes.count(Fate::Unlimited),
        lost: notes.count(Fate::Lost),
        differing: notes.count(Fate::Differs),
        findings: notes.findings(),
    })
}

/// What a translation fills.
#[derive(Debug)]
struct Output {
    document: Document,
    notes: Notes,
}
