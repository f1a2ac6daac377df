//! `geogate db`: work with databases. One file a subcommand; what they find out is computed in
//! [`geo::report`](crate::geo::report), and printed here.

mod agree;
mod convert;
mod diff;
mod info;
mod page;
mod progress;
mod verify;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use structopt::StructOpt;

use crate::config::model::{Database as Source, Geo};
use crate::geo::Database;
use crate::geo::report::Family;
use crate::server;

#[derive(StructOpt, Debug)]
pub(super) enum Db {
    /// Show what a database holds
    Info(info::Info),
    /// Write databases as one: as CSV if the name ends in .csv, otherwise as a pack
    Convert(convert::Convert),
    /// Show where a database differs from another
    Diff(diff::Diff),
    /// Hold what is answered against a file, and report what is odd about it
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

/// One database by itself.
fn load(source: &Source, geo: &Geo) -> anyhow::Result<Database> {
    Ok(server::load_database(std::slice::from_ref(source), geo)?)
}

/// A number of addresses in the family's unit, with its digits in groups.
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

/// A part of a whole as a percentage; a dash where there is no whole.
fn percent(part: u128, whole: u128) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    format!("{:.2} %", 100.0 * part as f64 / whole as f64)
}

/// A place in one line. What repeats the coarser name says nothing more.
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

/// Replaces a file as a whole: whoever reads it finds the old one or the new one.
fn replace_file(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    let mut file = BufWriter::new(File::create(&new)?);
    file.write_all(content)?;
    file.into_inner()?.sync_all()?;
    std::fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(amount(Family::V4, 1_234_567), "1,234,567");
        assert_eq!(amount(Family::V4, 999), "999");
        assert_eq!(amount(Family::V6, 1 << 80), "65,536");
        assert_eq!(percent(1, 3), "33.33 %");
        assert_eq!(percent(0, 0), "-");
    }
}
