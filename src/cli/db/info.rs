//! `geogate db info`: the contents of a database.

use serde_json::json;
use structopt::StructOpt;

use super::progress::Progress;
use super::{amount, deliver, grouped, percent};
use crate::cli::{DatabaseFlags, columns, count, database};
use crate::config::model::Database;
use crate::geo;
use crate::geo::report::coverage::{Country, Coverage};
use crate::geo::report::{self, Family};
use crate::server::{build_database, load_codes, merge_tables};

#[derive(StructOpt, Debug)]
pub(in crate::cli) struct Info {
    /// Databases of any supported format, or "embedded"; highest priority first [default: embedded]
    #[structopt(value_name = "FILE", parse(from_os_str = database), conflicts_with = "databases")]
    files: Vec<Database>,
    #[structopt(flatten)]
    flags: DatabaseFlags,
    /// Output format: table or json
    #[structopt(long, default_value = "table", possible_values = &["table", "json"])]
    format: String,
    /// Number of countries listed for each family
    #[structopt(long, value_name = "COUNT", default_value = "10", parse(try_from_str = count))]
    top: usize,
}

/// Facts about a database.
struct Facts {
    database: String,
    /// Number of distinct records of the merged files, before names and codes are resolved.
    records: usize,
    loaded: geo::Database,
    coverage: [Coverage; 2],
}

impl Info {
    pub(super) fn execute(self) -> anyhow::Result<()> {
        let facts = self.facts()?;
        let text = match self.format.as_str() {
            "json" => facts.json(self.top),
            _ => facts.table(self.top),
        };
        deliver(text.as_bytes(), None)
    }

    fn facts(&self) -> anyhow::Result<Facts> {
        let (databases, geo) = (self.flags.databases_or(&self.files), self.flags.geo());
        let names: Vec<_> = databases.iter().map(ToString::to_string).collect();
        let progress = Progress::of(3);
        let codes = load_codes(&geo)?;
        let table = progress.step("reading", || {
            merge_tables(&databases, &codes, &geo.languages)
        })?;
        let records = table.records.len();
        let loaded = progress.step("arranging", || {
            build_database(table, &databases, &codes, &geo)
        })?;
        let coverage = progress.step("counting", || report::coverage(&loaded));
        Ok(Facts {
            database: names.join(", "),
            records,
            loaded,
            coverage,
        })
    }
}

impl Facts {
    fn table(&self, top: usize) -> String {
        let provenance = self.loaded.provenance();
        let memory = self.loaded.memory();
        let or_dash = |text: &str| if text.is_empty() { "-" } else { text }.to_owned();
        let mut rows = vec![
            vec!["database".to_owned(), self.database.clone()],
            vec!["format".to_owned(), provenance.format.to_owned()],
            vec!["source".to_owned(), or_dash(&provenance.source)],
            vec!["date".to_owned(), or_dash(&provenance.date)],
            vec!["records".to_owned(), grouped(self.records as u128)],
            vec![
                "places".to_owned(),
                grouped(self.loaded.places().len() as u128),
            ],
        ];
        for coverage in &self.coverage {
            let name = coverage.family.name();
            let share = 100.0 * coverage.addresses as f64 / coverage.family.space();
            rows.push(vec![
                format!("{name} ranges"),
                grouped(coverage.ranges.into()),
            ]);
            rows.push(vec![
                format!("{name} addresses"),
                format!("{share:.2} % of all"),
            ]);
            let with_code = coverage.countries.iter().filter(|c| !c.code.is_empty());
            rows.push(vec![
                format!("{name} countries"),
                with_code.count().to_string(),
            ]);
        }
        for (name, bytes) in [
            ("memory, IPv4 tree", memory.v4),
            ("memory, IPv6 tree", memory.v6),
            ("memory, answers", memory.answers),
        ] {
            rows.push(vec![name.to_owned(), mebibytes(bytes)]);
        }
        let mut text = columns::table(&rows);
        for coverage in self.coverage.iter().filter(|_| top > 0) {
            text.push_str(&countries(coverage, top));
        }
        text
    }

    fn json(&self, top: usize) -> String {
        let provenance = self.loaded.provenance();
        let memory = self.loaded.memory();
        let family = |coverage: &Coverage| {
            let countries = coverage.countries.iter().take(top);
            json!({
                "ranges": coverage.ranges,
                "share": coverage.addresses as f64 / coverage.family.space(),
                "unit": coverage.family.unit(),
                "amount": number(coverage.family, coverage.addresses),
                "countries": countries.map(|country| json!({
                    "code": or_null(&country.code),
                    "name": country.name,
                    "ranges": country.ranges,
                    "amount": number(coverage.family, country.addresses),
                })).collect::<Vec<_>>(),
            })
        };
        let [v4, v6] = &self.coverage;
        let facts = json!({
            "database": self.database,
            "format": provenance.format,
            "source": or_null(&provenance.source),
            "date": or_null(&provenance.date),
            "records": self.records,
            "places": self.loaded.places().len(),
            "ipv4": family(v4),
            "ipv6": family(v6),
            "memory": { "ipv4": memory.v4, "ipv6": memory.v6, "answers": memory.answers },
        });
        format!("{facts:#}\n")
    }
}

/// Returns a count of addresses for JSON. The count of /64 networks of the whole IPv6 space exceeds
/// 64 bits by one, so it is reported one short.
fn number(family: Family, addresses: u128) -> u64 {
    u64::try_from(family.count(addresses)).unwrap_or(u64::MAX)
}

fn or_null(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn countries(coverage: &Coverage, top: usize) -> String {
    if coverage.countries.is_empty() {
        return String::new();
    }
    let family = coverage.family;
    let header = [family.name(), "country", family.unit(), "share", "ranges"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    let row = |country: &Country| {
        vec![
            country.code.clone(),
            country.name.clone(),
            amount(family, country.addresses),
            percent(country.addresses, coverage.addresses),
            grouped(country.ranges.into()),
        ]
    };
    rows.extend(coverage.countries.iter().take(top).map(row));
    format!("\n{}", columns::table(&rows))
}

fn mebibytes(bytes: usize) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
