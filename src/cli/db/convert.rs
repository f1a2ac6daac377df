//! `geogate db convert`: several databases as one file.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use structopt::StructOpt;

use super::progress::Progress;
use super::replace_file;
use crate::cli::{ReadingFlags, database};
use crate::config::model::Database as Source;
use crate::geo::format::{csv, pack};
use crate::geo::{Names, Table};
use crate::server::{load_codes, merge_tables};

#[derive(StructOpt, Debug)]
pub(in crate::cli) struct Convert {
    /// Databases of any supported format, or "embedded"; highest priority first
    #[structopt(required = true, value_name = "FILE", parse(from_os_str = database))]
    input: Vec<Source>,
    /// Output file, .csv or .pack
    #[structopt(short, long, value_name = "FILE", parse(from_os_str))]
    output: PathBuf,
    #[structopt(flatten)]
    reading: ReadingFlags,
    /// Maker of the data [default: that of the inputs]
    #[structopt(long, value_name = "NAME")]
    source: Option<String>,
    /// Date of the data, as YYYY-MM-DD [default: the newest of the inputs]
    #[structopt(long, value_name = "DATE", parse(try_from_str = date))]
    date: Option<String>,
}

/// Parses a calendar date, in the form that a pack has.
fn date(text: &str) -> Result<String, String> {
    let date: Option<jiff::civil::Date> = text.parse().ok();
    // The parser accepts other forms, too.
    let date = date.filter(|date| date.to_string() == text);
    date.map(|date| date.to_string())
        .ok_or_else(|| format!("{text:?} is not a date such as 2026-01-31"))
}

/// Returns `true` if the name of the file has this extension, in any case.
fn has_extension(file: &Path, extension: &str) -> bool {
    file.extension()
        .is_some_and(|found| found.eq_ignore_ascii_case(extension))
}

impl Convert {
    pub(super) fn execute(self) -> anyhow::Result<()> {
        if has_extension(&self.output, "mmdb") {
            bail!(
                "{}: MaxMind's format is read and not written; write a .pack or a .csv",
                self.output.display()
            );
        }
        // Reading and compressing take time, which would be wasted.
        let folder = self
            .output
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
            bail!(
                "cannot write {}: {} is no folder",
                self.output.display(),
                folder.display()
            );
        }
        let as_csv = has_extension(&self.output, "csv");
        let progress = Progress::of(2);
        let table = progress.step("reading", || self.table())?;
        let whole = progress.step("writing", || {
            if as_csv {
                let mut bytes = Vec::new();
                csv::write(&table, &mut bytes)?;
                return anyhow::Ok(bytes);
            }
            Ok(pack::write(&table))
        })?;
        drop(progress);
        replace_file(&self.output, &whole)
            .with_context(|| format!("cannot write {}", self.output.display()))?;
        eprintln!(
            "{}: {} IPv4 and {} IPv6 ranges, {} records, {} bytes",
            self.output.display(),
            table.v4.len(),
            table.v6.len(),
            table.records.len(),
            whole.len()
        );
        Ok(())
    }

    /// Returns the merged table, with the texts of the inputs: names are made uniform and codes
    /// looked up when a database is loaded.
    fn table(&self) -> anyhow::Result<Table> {
        let geo = self.reading.geo(Names::Raw);
        let codes = load_codes(&geo)?;
        let mut table = merge_tables(&self.input, &codes, &geo.languages)?;
        let provenance = &mut table.provenance;
        if let Some(source) = &self.source {
            provenance.source.clone_from(source);
        }
        if let Some(date) = &self.date {
            provenance.date.clone_from(date);
        }
        for text in [&provenance.source, &provenance.date] {
            if u16::try_from(text.len()).is_err() {
                bail!("a name of {} bytes is too long", text.len());
            }
        }
        Ok(table)
    }
}
