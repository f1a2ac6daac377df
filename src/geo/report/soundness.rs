//! Soundness of a database: wrong answers, and anomalies of the file.
//!
//! The tree is compared with the file's own ranges, by an algorithm that shares no code with the
//! construction of the tree: at both ends of every range, the smallest range that covers the
//! address must give the answer.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, HashSet};

use super::span::{Family, Span, size};
use super::wide;
use crate::geo::record::{BLANK, Field, Records};
use crate::geo::{Codes, Database, Table};
use crate::tree::{Address, RangeList};

/// Maximum number of examples of a finding.
const EXAMPLES: usize = 5;

/// The country whose provinces and cities have codes.
const CHINA: &str = "CN";

/// Results of the check.
#[derive(Debug, Clone, PartialEq)]
pub struct Soundness {
    /// Findings about the ranges of IPv4 and IPv6.
    pub families: [Ranges; 2],
    /// Texts that names should not have.
    pub texts: Vec<Finding>,
    /// Names without a code.
    pub names: Vec<Finding>,
}

/// Findings about the ranges of one family.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranges {
    /// Address family.
    pub family: Family,
    /// Number of ranges in the file.
    pub ranges: usize,
    /// Ends of ranges at which the answer differs from the file.
    pub wrong: Finding,
    /// Ranges that begin within another one.
    pub overlaps: Finding,
    /// Gaps between the first range and the last.
    pub gaps: Finding,
    /// Number of addresses in gaps.
    pub gap_addresses: u128,
}

/// A kind of anomaly, with its number and examples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Description of the anomaly.
    pub what: &'static str,
    /// Number of occurrences.
    pub count: usize,
    /// Some occurrences, the most serious first if they differ.
    pub examples: Vec<String>,
}

impl Soundness {
    /// Returns `true` if the tree gives the answers of the file at every range.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.families.iter().all(|family| family.wrong.count == 0)
    }
}

impl Finding {
    fn none(what: &'static str) -> Self {
        Finding {
            what,
            count: 0,
            examples: Vec::new(),
        }
    }

    fn add(&mut self, example: impl FnOnce() -> String) {
        self.count += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(example());
        }
    }
}

/// Compares `database` with the table from which it was built with these codes. The database must
/// keep the table's names unchanged.
#[must_use]
pub fn soundness(table: &Table, database: &Database, codes: &Codes) -> Soundness {
    let mut answers = Answers {
        records: &table.records,
        database,
        codes,
        right: HashSet::new(),
    };
    Soundness {
        families: [
            ranges(Family::V4, &table.v4, &mut answers),
            ranges(Family::V6, &table.v6, &mut answers),
        ],
        texts: texts(&table.records),
        names: names(database),
    }
}

fn ranges<A: Address + Into<u128>>(
    family: Family,
    file: &RangeList<A>,
    answers: &mut Answers,
) -> Ranges {
    let mut found = Ranges {
        family,
        ranges: file.len(),
        wrong: Finding::none("ends where the tree does not answer what the file says"),
        overlaps: Finding::none("ranges that begin within another"),
        gaps: Finding::none("gaps"),
        gap_addresses: 0,
    };
    let mut sorted: Vec<_> = file.iter().map(wide).enumerate().collect();
    sorted.sort_by_key(|(_, (first, ..))| *first);
    order(family, &sorted, &mut found);

    let points = sorted
        .iter()
        .flat_map(|(_, (first, last, _))| [*first, *last]);
    let mut points: Vec<u128> = points.collect();
    points.sort_unstable();
    points.dedup();
    let mut covering = BTreeSet::new();
    let mut ending = BTreeSet::new();
    let mut next = sorted.iter().peekable();
    for point in points {
        while let Some((index, (first, last, value))) =
            next.next_if(|(_, (first, ..))| *first <= point)
        {
            let candidate = (last - first, Reverse(*index), *value);
            covering.insert(candidate);
            ending.insert((*last, candidate));
        }
        while let Some((last, candidate)) =
            ending.first().copied().filter(|(last, _)| *last < point)
        {
            ending.remove(&(last, candidate));
            covering.remove(&candidate);
        }
        let Some((_, _, record)) = covering.first() else {
            continue;
        };
        if !answers.right(family, point, *record) {
            found.wrong.add(|| {
                let (first, last) = (point, point);
                Span {
                    family,
                    first,
                    last,
                }
                .to_string()
            });
        }
    }
    found
}

/// Index of a range in the file, its ends and its record.
type Numbered = (usize, (u128, u128, u32));

/// Finds overlaps and gaps of ranges that are sorted by their start.
fn order(family: Family, sorted: &[Numbered], found: &mut Ranges) {
    let mut gaps: Vec<Span> = Vec::new();
    let mut reached: Option<u128> = None;
    for (_, (first, last, _)) in sorted {
        let (first, last) = (*first, *last);
        if let Some(reached) = reached {
            if first <= reached {
                found.overlaps.add(|| {
                    Span {
                        family,
                        first,
                        last,
                    }
                    .to_string()
                });
            } else if first - reached > 1 {
                gaps.push(Span {
                    family,
                    first: reached + 1,
                    last: first - 1,
                });
            }
        }
        reached = reached.max(Some(last));
    }
    gaps.sort_by_key(|gap| Reverse(gap.addresses()));
    for gap in gaps {
        found.gap_addresses = found
            .gap_addresses
            .saturating_add(size(gap.first, gap.last));
        found.gaps.add(|| gap.to_string());
    }
}

/// Comparison of answers with records. Many ranges share few pairs of them, so correct pairs are
/// remembered.
struct Answers<'t> {
    records: &'t Records,
    database: &'t Database,
    codes: &'t Codes,
    right: HashSet<(u32, u32)>,
}

impl Answers<'_> {
    fn right(&mut self, family: Family, address: u128, record: u32) -> bool {
        let address = match family {
            Family::V4 => std::net::Ipv4Addr::from(address as u32).into(),
            Family::V6 => std::net::Ipv6Addr::from(address).into(),
        };
        let text = |field| match self.records.text(record, field) {
            BLANK => "",
            text => text,
        };
        let Some(number) = self.database.find(address) else {
            return Field::ALL.into_iter().all(|field| text(field).is_empty());
        };
        let pair = (record, number);
        if self.right.contains(&pair) {
            return true;
        }
        let place = self.database.place(number);
        let right = Field::ALL.into_iter().all(|field| {
            let (text, found) = (text(field), place.text(field));
            match field {
                Field::CountryCode => match self.codes.country_code(text) {
                    // Codes are looked up where the file has none.
                    None => true,
                    Some(code) if self.codes.region(code).is_some() => {
                        found == self.codes.region_code(code)
                    }
                    Some(code) => found == code,
                },
                Field::ProvinceCode | Field::CityCode if text.is_empty() => true,
                _ => found == text,
            }
        });
        if right {
            self.right.insert(pair);
        }
        right
    }
}

fn texts(records: &Records) -> Vec<Finding> {
    let mut replaced = Finding::none("texts with a replacement character");
    let mut control = Finding::none("texts with a control character");
    let mut untrimmed = Finding::none("texts with space around them");
    for text in records.texts().iter() {
        let shown = || format!("{text:?}");
        if text.contains(char::REPLACEMENT_CHARACTER) {
            replaced.add(shown);
        }
        if text.contains(char::is_control) {
            control.add(shown);
        }
        if text.trim() != text {
            untrimmed.add(shown);
        }
    }
    vec![replaced, control, untrimmed]
}

/// Returns the names without codes, those of the most ranges first.
fn names(database: &Database) -> Vec<Finding> {
    let places = database.places();
    let mut ranges = vec![0_u64; places.len()];
    let v4 = database.v4_ranges().map(|range| range.value);
    for place in v4.chain(database.v6_ranges().map(|range| range.value)) {
        ranges[place as usize] += 1;
    }
    let (mut countries, mut provinces, mut cities) = (Names::new(), Names::new(), Names::new());
    for (place, &ranges) in (0..).zip(&ranges) {
        let text = |field| places.text(place, field);
        let unknown = |name, code| !text(name).is_empty() && text(code).is_empty();
        if unknown(Field::Country, Field::CountryCode) {
            *countries
                .entry(text(Field::Country).to_owned())
                .or_default() += ranges;
        }
        if text(Field::CountryCode) != CHINA {
            continue;
        }
        let (province, city) = (text(Field::Province), text(Field::City));
        if unknown(Field::Province, Field::ProvinceCode) {
            *provinces.entry(province.to_owned()).or_default() += ranges;
        }
        if unknown(Field::City, Field::CityCode) {
            let name = [province, city].join(" ").trim_start().to_owned();
            *cities.entry(name).or_default() += ranges;
        }
    }
    vec![
        most_first("countries without a code", countries),
        most_first("provinces of China without a code", provinces),
        most_first("cities of China without a code", cities),
    ]
}

/// Names, with the number of ranges that have them.
type Names = HashMap<String, u64>;

fn most_first(what: &'static str, names: Names) -> Finding {
    let mut names: Vec<_> = names.into_iter().collect();
    names.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let mut finding = Finding::none(what);
    for (name, ranges) in names {
        let plural = if ranges == 1 { "" } else { "s" };
        finding.add(|| format!("{name} ({ranges} range{plural})"));
    }
    finding
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geo::format::csv;
    use crate::geo::{Regions, place};
    use crate::tree::Range;

    fn table(rows: &str) -> Table {
        let text = format!("start,end,country,province,city\n{rows}");
        csv::read(text.as_bytes()).unwrap()
    }

    fn database(table: &Table) -> Database {
        Database::build(table.clone(), &Codes::built_in(), place::Names::Raw).unwrap()
    }

    fn hold(table: &Table, database: &Database) -> Soundness {
        soundness(table, database, &Codes::built_in())
    }

    fn verify(rows: &str) -> Soundness {
        let table = table(rows);
        let database = database(&table);
        hold(&table, &database)
    }

    #[track_caller]
    fn check(finding: &Finding, count: usize, examples: &[&str]) {
        assert_eq!(finding.examples, examples);
        assert_eq!(finding.count, count);
    }

    #[test]
    fn the_most_specific_of_overlapping_ranges_is_what_the_file_says() {
        let found = verify(
            "1.0.0.0,1.0.0.255,a,,\n1.0.0.16,1.0.0.31,b,,\n1.0.0.16,1.0.0.31,c,,\n1.0.0.200,1.0.1.99,d,,\n",
        );
        assert!(found.agrees(), "{found:?}");
        let examples = ["1.0.0.16/28", "1.0.0.16/28", "1.0.0.200-1.0.1.99"];
        check(&found.families[0].overlaps, 3, &examples);
    }

    #[test]
    fn a_tree_that_answers_something_else_is_found_at_both_ends() {
        let file = table("1.0.0.0,1.0.0.255,a,,\n1.0.1.0,1.0.1.255,b,,\n2001::,2001::9,c,,\n");
        let other = table("1.0.0.0,1.0.0.254,a,,\n1.0.1.0,1.0.1.255,x,,\n2001::1,2001::9,c,,\n");
        let found = hold(&file, &database(&other));
        assert!(!found.agrees());
        let [v4, v6] = &found.families;
        check(
            &v4.wrong,
            3,
            &["1.0.0.255/32", "1.0.1.0/32", "1.0.1.255/32"],
        );
        check(&v6.wrong, 1, &["2001::/128"]);
    }

    #[test]
    fn codes_that_were_looked_up_are_no_other_answer() {
        let found = verify(
            "1.0.0.0,1.0.0.255,中国,福建省,福州市\n2.0.0.0,2.0.0.9,香港,九龙,\n3.0.0.0,3.0.0.9,,,\n",
        );
        assert!(found.agrees(), "{found:?}");
    }

    #[test]
    fn another_country_code_than_the_files_is_found() {
        let table = |code: &str| {
            let text = format!("cidr,country,country_code\n1.0.0.0/24,美国,{code}\n");
            csv::read(text.as_bytes()).unwrap()
        };
        assert!(hold(&table("PR"), &database(&table("PR"))).agrees());
        assert!(!hold(&table("PR"), &database(&table("US"))).agrees());
        assert!(!hold(&table("TW"), &database(&table("CN"))).agrees());
        let codes = Codes::built_in().answering(Regions::China);
        let china = Database::build(table("TW"), &codes, place::Names::Raw).unwrap();
        assert!(soundness(&table("TW"), &china, &codes).agrees());
        assert!(!hold(&table("TW"), &china).agrees());
    }

    #[test]
    fn gaps_are_counted_between_the_first_range_and_the_last() {
        let found = verify(
            "1.0.0.0,1.0.0.255,a,,\n1.0.2.0,1.0.2.255,a,,\n1.0.3.0,1.0.3.9,a,,\n1.0.3.11,1.0.3.20,a,,\n",
        );
        let v4 = &found.families[0];
        check(&v4.gaps, 2, &["1.0.1.0/24", "1.0.3.10/32"]);
        assert_eq!((v4.ranges, v4.gap_addresses), (4, 257));
        check(&v4.overlaps, 0, &[]);
    }

    #[test]
    fn bad_text_and_names_without_codes_are_listed() {
        let mut table = table(
            "1.0.0.0,1.0.0.255,a\u{fffd},,\n1.0.1.0,1.0.1.255,b\u{1},,\n1.0.2.0,1.0.2.255,日本,,\n\
             2.0.0.0,2.0.0.255,中国,福健,\n2.0.1.0,2.0.1.255,中国,福建,不是\n3.0.0.0,3.0.0.1,中国,福建,不是\n\
             4.0.0.0,4.0.0.255,日本,不是,不是\n",
        );
        // As in a file of another format; the CSV reader trims texts.
        let value = table.records.intern([(Field::Country, " c")]);
        let third = |(index, range): (usize, Range<u32>)| match index {
            2 => Range { value, ..range },
            _ => range,
        };
        table.v4 = table.v4.iter().enumerate().map(third).collect();
        let found = hold(&table, &database(&table));
        let [replaced, control, untrimmed] = &found.texts[..] else {
            panic!("three kinds")
        };
        check(replaced, 1, &["\"a\u{fffd}\""]);
        check(control, 1, &["\"b\\u{1}\""]);
        check(untrimmed, 1, &["\" c\""]);
        let [countries, provinces, cities] = &found.names[..] else {
            panic!("three kinds")
        };
        assert_eq!(countries.count, 3);
        check(provinces, 1, &["福健 (1 range)"]);
        check(cities, 1, &["福建 不是 (2 ranges)"]);
    }
}
