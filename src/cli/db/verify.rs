//! `geogate db verify`: compares the answers with the file, and reports anomalies of the file.

use std::process::ExitCode;

use structopt::StructOpt;

use super::progress::Progress;
use super::{amount, deliver, grouped};
use crate::cli::{ReadingFlags, database};
use crate::config::model::Database as Source;
use crate::geo::Names;
use crate::geo::report;
use crate::geo::report::soundness::{Finding, Ranges, Soundness};
use crate::server::{build_database, load_codes, read_table};

#[derive(StructOpt, Debug)]
pub(in crate::cli) struct Verify {
    /// Database file of any supported format, or "embedded"
    #[structopt(value_name = "FILE", parse(from_os_str = database))]
    file: Source,
    #[structopt(flatten)]
    reading: ReadingFlags,
}

impl Verify {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        let found = self.soundness()?;
        deliver(text(&self.file, &found).as_bytes(), None)?;
        Ok(if found.agrees() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    fn soundness(&self) -> anyhow::Result<Soundness> {
        let geo = self.reading.geo(Names::Raw);
        let codes = load_codes(&geo)?;
        let progress = Progress::of(3);
        let table = progress.step("reading", || read_table(&self.file, &geo.languages))?;
        let database = progress.step("arranging", || {
            let databases = std::slice::from_ref(&self.file);
            build_database(table.clone(), databases, &codes, &geo)
        })?;
        Ok(progress.step("checking", || report::soundness(&table, &database, &codes)))
    }
}

fn text(file: &Source, found: &Soundness) -> String {
    let mut text = format!("{file}\n");
    for family in found.families.iter().filter(|family| family.ranges > 0) {
        text.push_str(&ranges(family));
    }
    for finding in found.texts.iter().chain(&found.names) {
        push(&mut text, finding, "");
    }
    text.push_str(if found.agrees() {
        "right: every range is answered as the file says, at both ends\n"
    } else {
        "WRONG: the tree does not answer what the file says\n"
    });
    text
}

fn ranges(family: &Ranges) -> String {
    let name = family.family.name();
    let mut text = format!("{name}: {} ranges\n", grouped(family.ranges as u128));
    push(&mut text, &family.wrong, "");
    push(&mut text, &family.overlaps, "");
    let size = format!(
        ", {} {}",
        amount(family.family, family.gap_addresses),
        family.family.unit()
    );
    push(&mut text, &family.gaps, &size);
    text
}

fn push(text: &mut String, finding: &Finding, more: &str) {
    if finding.count == 0 {
        return;
    }
    let count = grouped(finding.count as u128);
    text.push_str(&["  ", finding.what, ": ", &count, more, "\n"].concat());
    for example in &finding.examples {
        text.push_str(&["    ", example, "\n"].concat());
    }
    if finding.count > finding.examples.len() {
        text.push_str("    ...\n");
    }
}
