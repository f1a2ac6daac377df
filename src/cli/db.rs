//! `geogate db`: work with databases.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use structopt::StructOpt;

use super::DatabaseFlags;
use crate::geo::format::{Languages, csv, pack, read_file};
use crate::geo::{Database, Field, Table};
use crate::server::load_database;

#[derive(StructOpt, Debug)]
pub(super) enum Db {
    /// Show what a database holds
    Info(DatabaseFlags),
    /// Write databases as one: as CSV if the name ends in .csv, otherwise as a pack
    Convert(Convert),
}

#[derive(StructOpt, Debug)]
pub(super) struct Convert {
    /// Databases of any known format; each family of addresses from one of them
    #[structopt(required = true, parse(from_os_str))]
    input: Vec<PathBuf>,
    /// The file to write
    #[structopt(short, long, value_name = "FILE", parse(from_os_str))]
    output: PathBuf,
    /// Who made the data [default: what the inputs say]
    #[structopt(long, value_name = "NAME")]
    source: Option<String>,
    /// When, as YYYY-MM-DD [default: what the inputs say]
    #[structopt(long)]
    date: Option<String>,
}

impl Db {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        match self {
            Db::Info(flags) => info(&flags)?,
            Db::Convert(convert) => convert.execute()?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn info(flags: &DatabaseFlags) -> anyhow::Result<()> {
    let database = load_database(&flags.config())?;
    let mut out = std::io::stdout().lock();
    let name = flags.file.as_ref().map(|file| file.display().to_string());
    let provenance = database.provenance();
    let or_dash = |text: &str| {
        if text.is_empty() {
            "-".to_owned()
        } else {
            text.to_owned()
        }
    };
    let memory = database.memory();
    let (v4, v6) = (Coverage::of_v4(&database), Coverage::of_v6(&database));
    let rows = [
        ("database", name.unwrap_or_else(|| "embedded".to_owned())),
        ("format", provenance.format.to_owned()),
        ("source", or_dash(&provenance.source)),
        ("date", or_dash(&provenance.date)),
        ("places", database.places().len().to_string()),
        ("countries", countries(&database).to_string()),
        ("IPv4 ranges", v4.ranges.to_string()),
        ("IPv4 addresses", v4.share()),
        ("IPv6 ranges", v6.ranges.to_string()),
        ("IPv6 addresses", v6.share()),
        ("memory, IPv4 tree", mebibytes(memory.v4)),
        ("memory, IPv6 tree", mebibytes(memory.v6)),
        ("memory, answers", mebibytes(memory.answers)),
    ];
    for (name, value) in rows {
        writeln!(out, "{name:<18} {value}")?;
    }
    Ok(())
}

/// How much of a family's address space a database knows.
struct Coverage {
    ranges: usize,
    addresses: f64,
    space: f64,
}

impl Coverage {
    fn of_v4(database: &Database) -> Self {
        let sizes = database
            .v4_ranges()
            .map(|r| f64::from(r.last - r.first) + 1.0);
        Self::of(sizes, 32)
    }

    fn of_v6(database: &Database) -> Self {
        let sizes = database
            .v6_ranges()
            .map(|r| (r.last - r.first) as f64 + 1.0);
        Self::of(sizes, 128)
    }

    fn of(sizes: impl Iterator<Item = f64>, bits: i32) -> Self {
        let (ranges, addresses) = sizes.fold((0, 0.0), |(n, sum), size| (n + 1, sum + size));
        Coverage {
            ranges,
            addresses,
            space: 2_f64.powi(bits),
        }
    }

    fn share(&self) -> String {
        format!("{:.2} % of all", 100.0 * self.addresses / self.space)
    }
}

fn countries(database: &Database) -> usize {
    let codes = database
        .places()
        .rows()
        .iter()
        .map(|row| row[Field::CountryCode as usize]);
    codes
        .filter(|&text| text != 0)
        .collect::<std::collections::HashSet<_>>()
        .len()
}

fn mebibytes(bytes: usize) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

impl Convert {
    fn execute(self) -> anyhow::Result<()> {
        let mut table = self.join_inputs()?;
        table.flatten().context("cannot arrange the ranges")?;
        let whole = match self.output.extension() {
            Some(extension) if extension == "csv" => {
                let mut bytes = Vec::new();
                csv::write(&table, &mut bytes)?;
                bytes
            }
            _ => pack::write(&table),
        };
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

    fn join_inputs(&self) -> anyhow::Result<Table> {
        let mut joined = Table::default();
        let mut sources = Vec::new();
        let mut first_of: HashMap<bool, &Path> = HashMap::new();
        for input in &self.input {
            let table = read_file(input, &Languages::default())?;
            if table.v4.is_empty() && table.v6.is_empty() {
                bail!("{}: not one range", input.display());
            }
            for (family, ranges) in [(false, table.v4.len()), (true, table.v6.len())] {
                if ranges > 0 {
                    first_of.entry(family).or_insert(input);
                }
            }
            joined.join(&table).with_context(|| {
                let mut others: Vec<_> = first_of.values().filter(|o| *o != input).collect();
                others.sort();
                let others: Vec<_> = others.iter().map(|o| o.display().to_string()).collect();
                format!("{} and {}", others.join(", "), input.display())
            })?;
            sources.push(table.provenance.source);
            joined.provenance.date = joined.provenance.date.max(table.provenance.date);
        }
        sources.retain(|source| !source.is_empty());
        joined.provenance.source = self.source.clone().unwrap_or_else(|| sources.join(", "));
        if let Some(date) = &self.date {
            joined.provenance.date.clone_from(date);
        }
        Ok(joined)
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
