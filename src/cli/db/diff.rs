//! `geogate db diff`: the effect of replacing one database by another.

use std::path::PathBuf;

use structopt::StructOpt;

use super::progress::Progress;
use super::{amount, deliver, grouped, load, page, percent, place};
use crate::cli::{ReadingFlags, columns, count, database};
use crate::config::model::Database as Source;
use crate::geo::Names;
use crate::geo::report;
use crate::geo::report::difference::{Change, Difference};

#[derive(StructOpt, Debug)]
pub(in crate::cli) struct Diff {
    /// Database in use now, or "embedded"
    #[structopt(value_name = "A", parse(from_os_str = database))]
    first: Source,
    /// Database that would replace it
    #[structopt(value_name = "B", parse(from_os_str = database))]
    second: Source,
    #[structopt(flatten)]
    reading: ReadingFlags,
    /// Output format: table, csv (the largest changes) or html (a page with a chart)
    #[structopt(long, default_value = "table", possible_values = &["table", "csv", "html"])]
    format: String,
    /// Number of the largest changes listed for each family
    #[structopt(long, value_name = "COUNT", default_value = "20", parse(try_from_str = count))]
    top: usize,
    /// Write to this file instead of standard output
    #[structopt(short, long, value_name = "FILE", parse(from_os_str))]
    output: Option<PathBuf>,
}

impl Diff {
    pub(super) fn execute(self) -> anyhow::Result<()> {
        let geo = self.reading.geo(Names::Canonical);
        let progress = Progress::of(3);
        let read =
            |source: &Source| progress.step(format!("reading {source}"), || load(source, &geo));
        let (first, second) = (read(&self.first)?, read(&self.second)?);
        let families = progress.step("comparing", || {
            report::difference(&first, &second, self.top)
        });
        drop(progress);
        let titles = [
            title(&self.first, &first.provenance().date),
            title(&self.second, &second.provenance().date),
        ];
        let text = match self.format.as_str() {
            "csv" => csv(&families)?,
            "html" => page::page(&titles, &families).into_bytes(),
            _ => table(&titles, &families).into_bytes(),
        };
        deliver(&text, self.output.as_deref())
    }
}

fn title(source: &Source, date: &str) -> String {
    if date.is_empty() {
        source.to_string()
    } else {
        format!("{source} ({date})")
    }
}

fn table(titles: &[String; 2], families: &[Difference; 2]) -> String {
    let mut text = format!("A  {}\nB  {}\n", titles[0], titles[1]);
    for family in families.iter().filter(|family| !family.is_empty()) {
        text.push('\n');
        text.push_str(&columns::table(&totals(family)));
        if !family.moves.is_empty() {
            text.push('\n');
            text.push_str(&columns::table(&moves(family)));
        }
        if !family.largest.is_empty() {
            text.push('\n');
            text.push_str(&columns::table(&largest(family)));
        }
    }
    text
}

fn totals(family: &Difference) -> Vec<Vec<String>> {
    let texts = |texts: [&str; 6]| texts.map(str::to_owned).to_vec();
    let has_unclear = family.levels.iter().any(|level| level.unclear > 0);
    let unit = family.family.unit();
    let name = family.family.name();
    let mut rows = vec![texts([
        &format!("{name}, {unit}"),
        "same",
        "changed",
        "share",
        "only B says",
        "only A says",
    ])];
    // If the databases have no common addresses, there is nothing to compare.
    for level in family.levels.iter().filter(|_| family.both > 0) {
        let both = level.same.saturating_add(level.changed);
        rows.push(vec![
            level.level.name().to_owned(),
            amount(family.family, level.same),
            amount(family.family, level.changed),
            percent(level.changed, both),
            amount(family.family, level.gained),
            amount(family.family, level.lost),
        ]);
    }
    if has_unclear {
        rows[0].push("cannot be compared".to_owned());
        for (row, level) in rows[1..].iter_mut().zip(&family.levels) {
            row.push(amount(family.family, level.unclear));
        }
    }
    rows.push(vec![
        "in the database".to_owned(),
        amount(family.family, family.both),
        String::new(),
        String::new(),
        amount(family.family, family.only_second),
        amount(family.family, family.only_first),
    ]);
    rows
}

fn moves(family: &Difference) -> Vec<Vec<String>> {
    let mut rows = vec![vec![
        family.family.unit().to_owned(),
        "country in A".to_owned(),
        "country in B".to_owned(),
    ]];
    rows.extend(family.moves.iter().map(|country| {
        vec![
            amount(family.family, country.addresses),
            country.from.clone(),
            country.to.clone(),
        ]
    }));
    rows
}

fn largest(family: &Difference) -> Vec<Vec<String>> {
    let of = format!(
        "largest {} of {} changes",
        family.largest.len(),
        grouped(family.changes as u128)
    );
    let mut rows = vec![vec![
        family.family.unit().to_owned(),
        of,
        "A".to_owned(),
        "B".to_owned(),
    ]];
    rows.extend(family.largest.iter().map(|change| {
        vec![
            amount(family.family, change.span.addresses()),
            change.span.to_string(),
            place(&change.from),
            place(&change.to),
        ]
    }));
    rows
}

fn csv(families: &[Difference; 2]) -> anyhow::Result<Vec<u8>> {
    let mut out = csv::Writer::from_writer(Vec::new());
    out.write_record([
        "range",
        "addresses",
        "level",
        "from_country",
        "from_province",
        "from_city",
        "to_country",
        "to_province",
        "to_city",
    ])?;
    for change in families.iter().flat_map(|family| &family.largest) {
        out.write_record(record(change))?;
    }
    Ok(out.into_inner()?)
}

fn record(change: &Change) -> Vec<String> {
    let mut record = vec![
        change.span.to_string(),
        change.span.addresses().to_string(),
        change.level.name().to_owned(),
    ];
    record.extend(change.from.iter().cloned());
    record.extend(change.to.iter().cloned());
    record
}
