//! `geogate db`: work with databases. One file a subcommand; [`geo::report`](crate::geo::report)
//! computes the results, and they are printed here.

mod agree;
mod convert;
mod diff;
mod info;
mod page;
mod progress;
mod verify;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use structopt::StructOpt;

use crate::config::model::{Database as Source, Geo};
use crate::geo::Database;
use crate::geo::report::Family;
use crate::server::{self, Spool};

#[derive(StructOpt, Debug)]
pub(super) enum Db {
    /// Show the contents of a database
    Info(info::Info),
    /// Merge databases into one file: CSV if the name ends in .csv, otherwise a pack
    Convert(convert::Convert),
    /// Show the differences between two databases
    Diff(diff::Diff),
    /// Compare the answers with a file, and report anomalies of the file
    Verify(verify::Verify),
    /// Show how far databases agree
    Agree(agree::Agree),
}

impl Db {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        match self {
            Db::Info(info) => info.execute()?,
            Db::Convert(convert) => convert.execute()?,
            Db::Diff(diff) => diff.execute()?,
            Db::Verify(verify) => return verify.execute(),
            Db::Agree(agree) => agree.execute()?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Loads one database by itself.
fn load(source: &Source, geo: &Geo) -> anyhow::Result<Database> {
    Ok(server::load_database(std::slice::from_ref(source), geo)?)
}

/// Formats a number of addresses in the family's unit, with its digits in groups.
fn amount(family: Family, addresses: u128) -> String {
    grouped(family.count(addresses))
}

fn grouped(number: u128) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Formats a part of a whole as a percentage, or as a dash if the whole is 0.
fn percent(part: u128, whole: u128) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    format!("{:.2} %", 100.0 * part as f64 / whole as f64)
}

/// Returns a place in one line. A name that repeats the coarser one before it is left out.
fn place(label: &[String; 3]) -> String {
    let mut parts: Vec<_> = label
        .iter()
        .filter(|part| !part.is_empty())
        .cloned()
        .collect();
    parts.dedup();
    parts.join(" ")
}

/// Prints a report, or writes it to a file.
fn deliver(report: &[u8], output: Option<&Path>) -> anyhow::Result<()> {
    match output {
        Some(file) => {
            replace_file(file, report).with_context(|| format!("cannot write {}", file.display()))
        }
        None => Ok(std::io::stdout().lock().write_all(report)?),
    }
}

/// Replaces a file as a whole, so that readers never see a partial file. On an error, the previous
/// file stays and no other file is left behind.
fn replace_file(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut spool = Spool::beside(path)?;
    spool.file().write_all(content)?;
    spool.sync()?;
    spool.keep(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let names = || {
            let entries = std::fs::read_dir(folder.path()).unwrap();
            let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            names.collect::<Vec<_>>()
        };
        let file = folder.path().join("a.pack");
        for content in ["first", "second"] {
            replace_file(&file, content.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(&file).unwrap(), content);
            assert_eq!(names(), ["a.pack"]);
        }
        std::fs::remove_file(&file).unwrap();
        // No file can replace a folder.
        std::fs::create_dir(&file).unwrap();
        assert!(replace_file(&file, b"third").is_err());
        assert_eq!(names(), ["a.pack"]);
    }

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(amount(Family::V4, 1_234_567), "1,234,567");
        assert_eq!(amount(Family::V4, 999), "999");
        assert_eq!(amount(Family::V6, 1 << 80), "65,536");
        assert_eq!(percent(1, 3), "33.33 %");
        assert_eq!(percent(0, 0), "-");
    }
}
