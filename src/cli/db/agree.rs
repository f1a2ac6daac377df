//! `geogate db agree`: agreement of several sources, so that an operator can choose among them.

use std::cmp::Reverse;
use std::collections::HashMap;

use serde_json::json;
use structopt::StructOpt;

use super::progress::Progress;
use super::{amount, deliver, load};
use crate::cli::{ReadingFlags, columns, count, database};
use crate::config::model::Database as Source;
use crate::geo::Names;
use crate::geo::report::agreement::{Agreement, Share};
use crate::geo::report::{self, Family};

#[derive(StructOpt, Debug)]
pub(in crate::cli) struct Agree {
    /// Two or more databases of any supported format, or "embedded"
    #[structopt(required = true, min_values = 2, value_name = "FILE", parse(from_os_str = database))]
    databases: Vec<Source>,
    #[structopt(flatten)]
    reading: ReadingFlags,
    /// Output format: table, csv or json
    #[structopt(long, default_value = "table", possible_values = &["table", "csv", "json"])]
    format: String,
    /// Number of countries listed for each family in a table
    #[structopt(long, value_name = "COUNT", default_value = "15", parse(try_from_str = count))]
    top: usize,
}

impl Agree {
    pub(super) fn execute(self) -> anyhow::Result<()> {
        let geo = self.reading.geo(Names::Canonical);
        let progress = Progress::of(self.databases.len() + 1);
        let read =
            |source: &Source| progress.step(format!("reading {source}"), || load(source, &geo));
        let databases = self.databases.iter().map(read);
        let databases = databases.collect::<anyhow::Result<Vec<_>>>()?;
        let pairs = progress.step("comparing", || report::agreement(&databases));
        drop(progress);
        let text = match self.format.as_str() {
            "csv" => self.csv(&pairs)?,
            "json" => self.json(&pairs).into_bytes(),
            _ => self.table(&pairs).into_bytes(),
        };
        deliver(&text, None)
    }

    fn name(&self, index: usize) -> String {
        self.databases[index].to_string()
    }

    fn table(&self, pairs: &[Agreement]) -> String {
        let mut text = String::new();
        for (index, source) in self.databases.iter().enumerate() {
            text.push_str(&[&letter(index), "  ", &source.to_string(), "\n"].concat());
        }
        for family in Family::ALL {
            let pairs: Vec<_> = pairs
                .iter()
                .filter(|pair| pair.family == family && pair.country.compared > 0)
                .collect();
            if pairs.is_empty() {
                continue;
            }
            text.push('\n');
            text.push_str(&columns::table(&totals(family, &pairs)));
            if self.top > 0 {
                text.push('\n');
                text.push_str(&columns::table(&by_country(family, &pairs, self.top)));
            }
        }
        text
    }

    fn csv(&self, pairs: &[Agreement]) -> anyhow::Result<Vec<u8>> {
        let mut out = csv::Writer::from_writer(Vec::new());
        out.write_record([
            "family", "a", "b", "level", "code", "country", "compared", "same", "share",
        ])?;
        for pair in pairs {
            let [a, b] = pair.pair.map(|index| self.name(index));
            let mut write = |level: &str, code: &str, name: &str, share: &Share| {
                let part = share
                    .part()
                    .map_or(String::new(), |part| format!("{part:.6}"));
                let (compared, same) = (share.compared.to_string(), share.same.to_string());
                let family = pair.family.name();
                out.write_record([family, &a, &b, level, code, name, &compared, &same, &part])
            };
            write("country", "", "", &pair.country)?;
            write("province", "CN", "", &pair.province)?;
            write("city", "CN", "", &pair.city)?;
            for on in &pair.countries {
                write("country", &on.code, &on.name, &on.share)?;
            }
        }
        Ok(out.into_inner()?)
    }

    fn json(&self, pairs: &[Agreement]) -> String {
        let pairs = pairs.iter().map(|pair| {
            let share = |share: &Share| {
                let count =
                    |addresses| u64::try_from(pair.family.count(addresses)).unwrap_or(u64::MAX);
                json!({
                    "compared": count(share.compared),
                    "same": count(share.same),
                    "share": share.part(),
                })
            };
            let countries = pair.countries.iter().map(|on| {
                let code = Some(&on.code).filter(|code| !code.is_empty());
                json!({ "code": code, "name": on.name, "agreement": share(&on.share) })
            });
            json!({
                "family": pair.family.name(),
                "unit": pair.family.unit(),
                "a": self.name(pair.pair[0]),
                "b": self.name(pair.pair[1]),
                "country": share(&pair.country),
                "province_in_china": share(&pair.province),
                "city_in_china": share(&pair.city),
                "countries": countries.collect::<Vec<_>>(),
            })
        });
        format!("{:#}\n", json!(pairs.collect::<Vec<_>>()))
    }
}

/// Returns the letter of a database: A, B, C, ...; its index after Z.
fn letter(index: usize) -> String {
    match u8::try_from(index) {
        Ok(index) if index < 26 => char::from(b'A' + index).to_string(),
        _ => index.to_string(),
    }
}

fn pair_name(pair: &Agreement) -> String {
    pair.pair.map(letter).join("-")
}

fn part(share: &Share) -> String {
    let part = share.part();
    part.map_or("-".to_owned(), |part| format!("{:.2} %", 100.0 * part))
}

fn totals(family: Family, pairs: &[&Agreement]) -> Vec<Vec<String>> {
    let header = [
        family.name(),
        family.unit(),
        "country",
        "province in China",
        "city in China",
    ];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    rows.extend(pairs.iter().map(|pair| {
        vec![
            pair_name(pair),
            amount(family, pair.country.compared),
            part(&pair.country),
            part(&pair.province),
            part(&pair.city),
        ]
    }));
    rows
}

/// Builds a table with a line for each country and a column for each pair. The countries are those
/// of the first database of a pair, sorted by their largest number of addresses in any pair.
fn by_country(family: Family, pairs: &[&Agreement], top: usize) -> Vec<Vec<String>> {
    let shares = pairs.iter().map(|pair| {
        let countries = pair.countries.iter();
        countries
            .map(|on| ((&*on.code, &*on.name), &on.share))
            .collect::<HashMap<_, _>>()
    });
    let shares: Vec<_> = shares.collect();
    let mut most: HashMap<(&str, &str), u128> = HashMap::new();
    for (&country, share) in shares.iter().flatten() {
        let most = most.entry(country).or_default();
        *most = share.compared.max(*most);
    }
    let mut countries: Vec<_> = most.into_iter().collect();
    countries.sort_by_key(|&(country, most)| (Reverse(most), country));
    let mut header = vec![
        String::new(),
        "country".to_owned(),
        family.unit().to_owned(),
    ];
    header.extend(pairs.iter().map(|pair| pair_name(pair)));
    let mut rows = vec![header];
    for ((code, name), most) in countries.into_iter().take(top) {
        let mut row = vec![code.to_owned(), name.to_owned(), amount(family, most)];
        let of_pairs = shares.iter().map(|shares| shares.get(&(code, name)));
        row.extend(of_pairs.map(|share| share.map_or(String::new(), |share| part(share))));
        rows.push(row);
    }
    rows
}
