//! Translation of an nginx.conf into a geogate.toml.
//!
//! `lexer` and `parser` read what nginx reads, included files too, into a `tree`. `translate` has a
//! file for each concern and fills a `document`. `accept` checks the result with geogate's own
//! configuration reader. `notes` records the outcome of each directive, because an operator who
//! migrates must know what is left behind: a directive that no concern has handled is reported as
//! well.
//!
//! The reader is our own because no maintained crate reads these files as nginx does, with includes
//! in place and the position of every word.

mod accept;
mod document;
mod error;
mod include;
mod lexer;
mod notes;
mod parser;
mod place;
mod report;
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

/// A configuration translated for geogate.
#[derive(Debug)]
pub struct Translation {
    /// The configuration, which is valid. Its notes are comments: those about protection and limits
    /// at the head, the others at the end.
    pub toml: String,
    /// Number of protecting directives that cannot be carried over. What they protect answers 403.
    pub closed: usize,
    /// Number of directives that limit requests and are not carried over.
    pub unlimited: usize,
    /// Number of other directives that are not carried over, or only in part, and that route requests
    /// or change responses.
    pub lost: usize,
    /// Number of directives that are not carried over and neither protect nor route.
    pub absent: usize,
    /// Number of directives that are carried over with a slightly different meaning.
    pub differing: usize,
    /// One line for each finding, with file and line, in the order of the counts above.
    pub findings: Vec<String>,
    /// One line for each directive of the file, with file, line and outcome; findings first.
    pub report: Vec<String>,
}

impl Translation {
    /// Returns `true` if every request gets the response that nginx would give, as far as geogate
    /// can tell.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.findings.is_empty()
    }

    /// Returns `true` if everything that protects, limits or routes is carried over.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.closed + self.unlimited + self.lost == 0
    }
}

/// Translates a file and the files that it includes.
///
/// # Errors
/// If the file cannot be read or its syntax is not nginx's. The meaning of its directives never
/// causes an error.
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
        absent: notes.count(Fate::Absent),
        differing: notes.count(Fate::Differs),
        findings: notes.findings(),
        report: report::lines(tree, &notes),
    })
}

/// Output of a translation: the configuration, and the notes on each directive.
#[derive(Debug)]
struct Output {
    document: Document,
    notes: Notes,
}
