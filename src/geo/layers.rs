//! Databases stacked: what an operator knows better goes above what he bought.
//!
//! Highest first, and for every address each field is from the first layer that has it. The layers
//! are merged when they are loaded, so an address is still looked up once, in one tree.
//!
//! # The guard
//!
//! Fields of several layers could make a place that is nowhere: the country of a correction, and the
//! city and coordinates of the wrong country that it corrects. So a lower layer's facts about where
//! an address is count as far as they do not contradict the layers above. The facts stand in groups,
//! from coarse to fine:
//!
//! | group | fields |
//! |---|---|
//! | country | country and its code; continent; calling code |
//! | province | province and its codes |
//! | city | city and its codes |
//! | point | coordinates and their accuracy; postal code; time zone; UTC offset |
//!
//! If the two say another country, nothing of these is taken from the lower layer; if another province,
//! the group of the country is; if another city, the groups of country and province are. And of the
//! groups before a contradiction only those that both speak of: if the upper layer says `福州` and
//! nothing coarser, a lower one's `广东, 广州` does not make it a city of Guangdong.
//!
//! Places are compared by code where both have one in the tables and by name where not, after names
//! were made uniform: 美国, `United States` and `US` are one country, and Hong Kong, Macau and Taiwan
//! stand under China. A country's name in place of the province is no province: a lower layer's goes in
//! its place. A name and its code are from one layer, as are the two coordinates.
//! Who uses and who announces the addresses (organization, provider, autonomous system) contradicts
//! no place; those fields are taken one by one.

use hashbrown::HashMap;

use super::codes::Codes;
use super::place::{Naming, naming, settle};
use super::record::{Field, Records, Row};
use super::seat::{Level, Seat, Seats};
use super::table::{Provenance, Table};
use crate::tree::{Address, BuildError, Range, overlay};

/// Fields that are taken together, from one layer, with how closely they say where an address is.
const UNITS: [(Option<Level>, &[Field]); 13] = [
    (Some(Level::Country), &[Field::Country, Field::CountryCode]),
    (Some(Level::Country), &[Field::Continent]),
    (Some(Level::Country), &[Field::DialCode]),
    (
        Some(Level::Province),
        &[Field::Province, Field::ProvinceCode, Field::SubdivisionCode],
    ),
    (
        Some(Level::City),
        &[Field::City, Field::CityCode, Field::AdminCode],
    ),
    (
        Some(Level::Point),
        &[Field::Latitude, Field::Longitude, Field::AccuracyRadius],
    ),
    (Some(Level::Point), &[Field::PostalCode]),
    (Some(Level::Point), &[Field::TimeZone]),
    (Some(Level::Point), &[Field::UtcOffset]),
    (None, &[Field::Organization]),
    (None, &[Field::Isp]),
    (None, &[Field::Asn]),
    (None, &[Field::AsOrganization]),
];

/// A layer whose ranges cannot be arranged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("layer {layer}: {error}")]
pub struct LayerError {
    /// Its place in the list, from 0.
    pub layer: usize,
    /// What is wrong with it.
    #[source]
    pub error: BuildError,
}

/// Merges layers, highest first, into one table: in order, without overlaps.
///
/// The table of one layer is that layer, arranged. That of none is empty.
///
/// # Errors
/// The first layer in which a range ends before it starts.
///
/// # Panics
/// If the layers make 2^32 different records.
pub fn merge(layers: Vec<Table>, codes: &Codes) -> Result<Table, LayerError> {
    let provenance = joined(&layers);
    let mut merged: Option<Table> = None;
    for (layer, mut table) in layers.into_iter().enumerate() {
        let arranged = table.flatten();
        arranged.map_err(|error| LayerError { layer, error })?;
        merged = Some(match merged {
            None => table,
            Some(upper) => stack(&upper, &table, codes),
        });
    }
    let merged = merged.unwrap_or_default();
    Ok(Table {
        provenance,
        ..merged
    })
}

fn joined(layers: &[Table]) -> Provenance {
    if let [one] = layers {
        return one.provenance.clone();
    }
    let mut sources: Vec<&str> = Vec::new();
    for layer in layers {
        let source = layer.provenance.source.as_str();
        if !source.is_empty() && !sources.contains(&source) {
            sources.push(source);
        }
    }
    let dates = layers.iter().map(|layer| layer.provenance.date.as_str());
    Provenance {
        format: "layers",
        source: sources.join(", "),
        date: dates.max().unwrap_or_default().to_owned(),
    }
}

/// One layer over another; both arranged.
fn stack(upper: &Table, lower: &Table, codes: &Codes) -> Table {
    let mut merge = Merge::new(&upper.records, &lower.records, codes);
    let (v4, v6) = (
        merge.ranges(&upper.v4, &lower.v4),
        merge.ranges(&upper.v6, &lower.v6),
    );
    Table {
        provenance: Provenance::default(),
        records: merge.records,
        v4,
        v6,
    }
}

/// The records of one layer.
struct Side<'t> {
    records: &'t Records,
    /// The ids of its texts in the merge.
    ids: Vec<u32>,
    seats: Vec<Seat>,
    /// Texts of the records whose columns do not mean what they mean elsewhere, put right.
    moved: HashMap<u32, [&'t str; Field::COUNT]>,
}

impl Side<'_> {
    /// A record as it is, with text ids of the merge.
    fn row(&self, record: u32) -> Row {
        self.records.rows()[record as usize].map(|id| self.ids[id as usize])
    }

    /// A record as it merges with one of the other layer.
    fn placed(&self, record: u32, merged: &mut Records) -> (Row, Seat) {
        let row = match self.moved.get(&record) {
            Some(texts) => texts.map(|text| merged.intern_text(text)),
            None => self.row(record),
        };
        (row, self.seats[record as usize])
    }
}

/// Two layers becoming one. A pair of records is merged once, whatever the number of ranges that share it.
struct Merge<'t> {
    upper: Side<'t>,
    lower: Side<'t>,
    records: Records,
    /// The record of each pair that has come up; see [`pair`].
    known: HashMap<u64, u32>,
}

/// A pair of records as one number.
fn pair(upper: Option<u32>, lower: Option<u32>) -> u64 {
    let half = |record: Option<u32>| record.map_or(0, |record| u64::from(record) + 1);
    half(upper) << 32 | half(lower)
}

impl<'t> Merge<'t> {
    fn new(upper: &'t Records, lower: &'t Records, codes: &'t Codes) -> Self {
        let (mut records, mut seats) = (Records::default(), Seats::default());
        Merge {
            upper: side(upper, codes, &mut records, &mut seats),
            lower: side(lower, codes, &mut records, &mut seats),
            records,
            known: HashMap::default(),
        }
    }

    fn ranges<A: Address>(&mut self, upper: &[Range<A>], lower: &[Range<A>]) -> Vec<Range<A>> {
        let mut ranges: Vec<Range<A>> = Vec::with_capacity(upper.len().max(lower.len()));
        for piece in overlay(upper.iter().copied(), lower.iter().copied()) {
            let value = self.record(piece.upper, piece.lower);
            match ranges.last_mut() {
                Some(range) if range.value == value && range.last.next() == Some(piece.first) => {
                    range.last = piece.last;
                }
                _ => ranges.push(Range {
                    first: piece.first,
                    last: piece.last,
                    value,
                }),
            }
        }
        ranges
    }

    fn record(&mut self, upper: Option<u32>, lower: Option<u32>) -> u32 {
        let pair = pair(upper, lower);
        if let Some(&record) = self.known.get(&pair) {
            return record;
        }
        let record = match (upper, lower) {
            (Some(upper), Some(lower)) => self.both(upper, lower),
            // Where there is nothing to merge, a layer keeps its texts as they are.
            (Some(alone), None) => self.records.intern_row(&self.upper.row(alone)),
            (_, alone) => {
                let row = alone.map_or_else(Row::default, |alone| self.lower.row(alone));
                self.records.intern_row(&row)
            }
        };
        self.known.insert(pair, record);
        record
    }

    fn both(&mut self, upper: u32, lower: u32) -> u32 {
        let above = self.upper.placed(upper, &mut self.records);
        let below = self.lower.placed(lower, &mut self.records);
        let row = merged_row(above, below);
        if row == above.0 {
            // Often the lower layer adds nothing, and then there is a record already.
            return self.record(Some(upper), None);
        }
        self.records.intern_row(&row)
    }
}

fn side<'t>(
    records: &'t Records,
    codes: &'t Codes,
    merged: &mut Records,
    seats: &mut Seats,
) -> Side<'t> {
    let texts = records.texts().iter();
    let mut side = Side {
        records,
        ids: texts.map(|text| merged.intern_text(text)).collect(),
        seats: Vec::with_capacity(records.len()),
        moved: HashMap::new(),
    };
    let mut known: HashMap<Naming, (Seat, bool)> = HashMap::new();
    for (record, row) in (0..).zip(records.rows()) {
        let (seat, moved) = *known.entry(naming(row)).or_insert_with(|| {
            let settled = settle(records, row, codes);
            let seat = seats.seat(|field| settled.place[field as usize]);
            (seat, settled.moved)
        });
        side.seats.push(seat);
        if moved {
            side.moved.insert(record, settle(records, row, codes).place);
        }
    }
    side
}

fn merged_row((upper, above): (Row, Seat), (lower, below): (Row, Seat)) -> Row {
    let conflict = above.conflict(&below);
    let mut row = upper;
    for (level, fields) in UNITS {
        let counts = match (level, conflict) {
            (None, _) | (_, None) => true,
            (Some(level), Some(conflict)) => level < conflict && above.says(level),
        };
        let empty = fields.iter().all(|&field| row[field as usize] == 0);
        // What repeats the country is no province, and makes way for one.
        let repeated = level == Some(Level::Province)
            && !above.says(Level::Province)
            && below.says(Level::Province);
        if counts && (empty || repeated) {
            for &field in fields {
                row[field as usize] = lower[field as usize];
            }
        }
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Fields<'t> = &'t [(Field, &'t str)];

    fn layer(ranges: &[(u32, u32, Fields)]) -> Table {
        let mut table = Table::default();
        for &(first, last, fields) in ranges {
            let value = table.records.intern(fields.iter().copied());
            table.v4.push(Range { first, last, value });
        }
        table
    }

    /// First and last address, and fields.
    type Shown<'t> = (u32, u32, Vec<(Field, &'t str)>);

    /// Each range with the fields that are not empty, in the order of the columns.
    fn shown(table: &Table) -> Vec<Shown<'_>> {
        let ranges = table.v4.iter().map(|range| {
            let texts = Field::ALL.map(|field| (field, table.records.text(range.value, field)));
            let texts = texts.into_iter().filter(|(_, text)| !text.is_empty());
            (range.first, range.last, texts.collect())
        });
        ranges.collect()
    }

    /// What two layers make of one address.
    #[track_caller]
    fn check(upper: Fields, lower: Fields, expected: Fields) {
        let layers = vec![layer(&[(1, 1, upper)]), layer(&[(1, 1, lower)])];
        let merged = merge(layers, &Codes::built_in()).unwrap();
        assert_eq!(shown(&merged), [(1, 1, expected.to_vec())]);
    }

    use Field::{
        AccuracyRadius, Asn, City, Continent, Country, CountryCode, DialCode, Isp, Latitude,
        Longitude, PostalCode, Province, ProvinceCode, TimeZone,
    };

    #[test]
    fn each_field_is_from_the_first_layer_that_has_it() {
        check(
            &[(Country, "中国"), (Isp, "电信")],
            &[
                (Country, "中国"),
                (Province, "福建"),
                (City, "福州"),
                (Isp, "x"),
                (Latitude, "26"),
                (Longitude, "119"),
            ],
            &[
                (Country, "中国"),
                (Province, "福建"),
                (City, "福州"),
                (Isp, "电信"),
                (Latitude, "26"),
                (Longitude, "119"),
            ],
        );
    }

    #[test]
    fn another_country_takes_nothing_of_the_place_and_all_of_the_network() {
        check(
            &[(Country, "日本")],
            &[
                (Country, "中国"),
                (City, "福州"),
                (Isp, "x"),
                (Continent, "AP"),
                (PostalCode, "1"),
                (Asn, "2"),
            ],
            &[(Country, "日本"), (Isp, "x"), (Asn, "2")],
        );
    }

    #[test]
    fn another_province_takes_the_countrys_facts_alone() {
        check(
            &[(Country, "中国"), (Province, "福建")],
            &[
                (Country, "中国"),
                (Province, "广东"),
                (City, "广州"),
                (Continent, "AP"),
                (DialCode, "86"),
                (TimeZone, "x"),
            ],
            &[
                (Country, "中国"),
                (Province, "福建"),
                (Continent, "AP"),
                (DialCode, "86"),
            ],
        );
    }

    #[test]
    fn another_city_takes_no_point() {
        check(
            &[(Country, "中国"), (Province, "福建"), (City, "福州")],
            &[
                (Country, "中国"),
                (Province, "福建省"),
                (City, "厦门"),
                (Continent, "AP"),
                (Latitude, "24"),
                (TimeZone, "x"),
            ],
            &[
                (Country, "中国"),
                (Province, "福建"),
                (City, "福州"),
                (Continent, "AP"),
            ],
        );
    }

    #[test]
    fn a_finer_fact_of_the_upper_layer_is_not_moved_by_a_coarser_one_of_the_lower() {
        check(
            &[(City, "福州")],
            &[(Country, "中国"), (Province, "广东"), (City, "广州")],
            &[(City, "福州")],
        );
        check(
            &[(Country, "中国"), (City, "福州")],
            &[(Country, "中国"), (Province, "福建"), (City, "福州市")],
            &[(Country, "中国"), (Province, "福建"), (City, "福州")],
        );
    }

    #[test]
    fn every_spelling_of_a_country_is_that_country() {
        for upper in [
            (Country, "美国"),
            (Country, "United States"),
            (CountryCode, "US"),
        ] {
            check(
                &[upper],
                &[(Country, "美国"), (City, "x"), (CountryCode, "US")],
                &{
                    let mut expected = vec![upper, (City, "x")];
                    expected.sort_by_key(|(field, _)| *field as usize);
                    expected
                },
            );
        }
    }

    #[test]
    fn a_country_in_place_of_the_province_makes_way_for_one() {
        let china = [(Country, "中国"), (Province, "中国")];
        let fujian = [(Country, "中国"), (Province, "福建"), (City, "福州")];
        check(&china, &fujian, &fujian);
        check(&fujian, &china, &fujian);
        check(&china, &[(Country, "中国")], &china);
        check(&china, &[(Country, "日本"), (Province, "东京")], &china);
    }

    #[test]
    fn a_name_and_its_code_are_from_one_layer() {
        check(
            &[(Country, "Kosovo"), (Province, "x")],
            &[
                (Country, "kosovo"),
                (Province, "X"),
                (CountryCode, "XK"),
                (ProvinceCode, "000001"),
            ],
            &[(Country, "Kosovo"), (Province, "x")],
        );
        check(
            &[(Latitude, "1"), (Longitude, "2")],
            &[(Latitude, "3"), (Longitude, "4"), (AccuracyRadius, "5")],
            &[(Latitude, "1"), (Longitude, "2")],
        );
    }

    #[test]
    fn hong_kong_stands_under_china_in_every_layer() {
        let placed = [
            (Country, "中国"),
            (Province, "香港"),
            (City, "九龙"),
            (CountryCode, "CN"),
            (ProvinceCode, "810000"),
        ];
        check(
            &[(Country, "香港")],
            &[(Country, "香港"), (Province, "九龙")],
            &placed,
        );
        check(
            &[(Country, "中国")],
            &[(Country, "香港"), (Province, "九龙")],
            &[
                (Country, "中国"),
                (Province, "香港"),
                (City, "九龙"),
                (ProvinceCode, "810000"),
            ],
        );
        check(
            &[(Country, "香港")],
            &[(Country, "中国"), (Province, "广东"), (Continent, "AP")],
            &[
                (Country, "中国"),
                (Province, "香港"),
                (CountryCode, "CN"),
                (ProvinceCode, "810000"),
                (Continent, "AP"),
            ],
        );
    }

    #[test]
    fn ranges_are_cut_where_a_layer_changes_and_joined_where_none_does() {
        let layers = vec![
            layer(&[(10, 12, &[(Isp, "a")]), (13, 13, &[(Isp, "b")])]),
            layer(&[(5, 20, &[(Country, "日本")]), (12, 14, &[(Isp, "a")])]),
            layer(&[(21, 22, &[(Country, "日本")])]),
        ];
        let merged = merge(layers, &Codes::built_in()).unwrap();
        let japan = (Country, "日本");
        let expected: [Shown; 6] = [
            (5, 9, vec![japan]),
            (10, 11, vec![japan, (Isp, "a")]),
            (12, 12, vec![(Isp, "a")]),
            (13, 13, vec![(Isp, "b")]),
            (14, 14, vec![(Isp, "a")]),
            (15, 22, vec![japan]),
        ];
        assert_eq!(shown(&merged), expected);
    }

    #[test]
    fn both_families_are_merged() {
        let mut layers = vec![layer(&[]), layer(&[(1, 2, &[(Country, "日本")])])];
        let value = layers[0].records.intern([(Isp, "x")]);
        let range = Range {
            first: 1 << 100,
            last: u128::MAX,
            value,
        };
        layers[0].v6.push(range);
        let merged = merge(layers, &Codes::built_in()).unwrap();
        assert_eq!(shown(&merged), [(1, 2, vec![(Country, "日本")])]);
        let [v6] = merged.v6[..] else {
            panic!("{:?}", merged.v6)
        };
        assert_eq!((v6.first, v6.last), (range.first, range.last));
        assert_eq!(merged.records.text(v6.value, Isp), "x");
    }

    fn from(format: &'static str, source: &str, date: &str) -> Table {
        let (source, date) = (source.to_owned(), date.to_owned());
        let provenance = Provenance {
            format,
            source,
            date,
        };
        Table {
            provenance,
            ..layer(&[(1, 1, &[])])
        }
    }

    #[test]
    fn the_origin_of_a_merge_names_all_sources_once() {
        let codes = Codes::built_in();
        let layers = vec![
            from("csv", "", ""),
            from("dat", "a", "2026-01-02"),
            from("xdb", "b", "2025-12-31"),
            from("csv", "a", ""),
        ];
        let merged = merge(layers, &codes).unwrap().provenance;
        assert_eq!(merged, from("layers", "a, b", "2026-01-02").provenance);
        let alone = merge(vec![from("dat", "a", "")], &codes)
            .unwrap()
            .provenance;
        assert_eq!(alone, from("dat", "a", "").provenance);
        assert!(merge(Vec::new(), &codes).unwrap().is_empty());
    }

    #[test]
    fn a_layer_that_cannot_be_arranged_is_named() {
        let layers = vec![layer(&[(1, 1, &[])]), layer(&[(2, 2, &[]), (3, 1, &[])])];
        let error = merge(layers, &Codes::built_in()).unwrap_err().to_string();
        assert_eq!(error, "layer 1: range[1]: ends before it starts");
    }

    /// What the oracle knows of a fact: its texts, and which thing in the world they mean.
    #[derive(Clone, Copy, Debug, Default, PartialEq)]
    struct Fact {
        means: u8,
        texts: [&'static str; 2],
    }

    #[derive(Clone, Copy, Debug, Default)]
    struct Facts {
        country: Fact,
        continent: Fact,
        province: Fact,
        city: Fact,
        coordinates: Fact,
        isp: Fact,
    }

    const COUNTRIES: [Fact; 7] = [
        fact(0, ["", ""]),
        fact(1, ["美国", ""]),
        fact(1, ["United States", ""]),
        fact(1, ["", "US"]),
        fact(2, ["日本", "JP"]),
        fact(2, ["日本", ""]),
        fact(3, ["局域网", ""]),
    ];
    const PLACES: [Fact; 4] = [
        fact(0, ["", ""]),
        fact(1, ["Ohio", ""]),
        fact(1, ["OHIO", ""]),
        fact(2, ["Iowa", ""]),
    ];
    const TEXTS: [Fact; 3] = [fact(0, ["", ""]), fact(1, ["1", "2"]), fact(2, ["3", "4"])];

    const fn fact(means: u8, texts: [&'static str; 2]) -> Fact {
        Fact { means, texts }
    }

    impl Facts {
        fn fields(&self) -> [(Field, &'static str); 8] {
            [
                (Country, self.country.texts[0]),
                (CountryCode, self.country.texts[1]),
                (Continent, self.continent.texts[0]),
                (Province, self.province.texts[0]),
                (City, self.city.texts[0]),
                (Latitude, self.coordinates.texts[0]),
                (Longitude, self.coordinates.texts[1]),
                (Isp, self.isp.texts[0]),
            ]
        }

        /// The rule in long hand.
        fn over(self, lower: Facts) -> Facts {
            let or = |own: Fact, other: Fact| if own.means == 0 { other } else { own };
            let differ = |own: Fact, other: Fact| {
                own.means != 0 && other.means != 0 && own.means != other.means
            };
            let mut merged = self;
            merged.isp = or(self.isp, lower.isp);
            if differ(self.country, lower.country) {
                return merged;
            }
            if differ(self.province, lower.province) {
                if self.country.means != 0 {
                    merged.continent = or(self.continent, lower.continent);
                }
                return merged;
            }
            if differ(self.city, lower.city) {
                if self.country.means != 0 {
                    merged.continent = or(self.continent, lower.continent);
                }
                return merged;
            }
            Facts {
                country: or(self.country, lower.country),
                continent: or(self.continent, lower.continent),
                province: or(self.province, lower.province),
                city: or(self.city, lower.city),
                coordinates: or(self.coordinates, lower.coordinates),
                isp: merged.isp,
            }
        }
    }

    fn facts() -> impl Strategy<Value = Facts> {
        use proptest::sample::select;
        let place = || select(&PLACES[..]);
        let text = || select(&TEXTS[..]);
        let all = (
            select(&COUNTRIES[..]),
            text(),
            place(),
            place(),
            text(),
            text(),
        );
        all.prop_map(
            |(country, continent, province, city, coordinates, isp)| Facts {
                country,
                continent,
                province,
                city,
                coordinates,
                isp,
            },
        )
    }

    const SPACE: u32 = 24;

    fn ranges() -> impl Strategy<Value = Vec<(u32, u32, Facts)>> {
        let range = (0..SPACE, 0..6_u32, facts());
        let range = range.prop_map(|(first, more, facts)| (first, first + more, facts));
        proptest::collection::vec(range, 0..6)
    }

    proptest! {
        #[test]
        fn every_address_is_as_a_naive_merge_has_it(
            layers in proptest::collection::vec(ranges(), 0..4)
        ) {
            let tables = layers.iter().map(|ranges| {
                let fields: Vec<_> = ranges.iter().map(|(_, _, facts)| facts.fields()).collect();
                let ranges = ranges.iter().zip(&fields);
                layer(&ranges.map(|(&(a, b, _), fields)| (a, b, &fields[..])).collect::<Vec<_>>())
            });
            let merged = merge(tables.collect(), &Codes::built_in()).unwrap();
            prop_assert!(merged.v4.is_sorted_by(|a, b| a.last < b.first));
            for address in 0..SPACE + 6 {
                // The smallest range that covers the address; of two of one size the later.
                let facts = layers.iter().filter_map(|ranges| {
                    let covering = ranges.iter().filter(|r| r.0 <= address && address <= r.1);
                    covering.rev().min_by_key(|r| r.1 - r.0).map(|r| r.2)
                });
                let expected = facts.reduce(Facts::over);
                let range = merged.v4.iter().find(|r| r.first <= address && address <= r.last);
                prop_assert_eq!(range.is_some(), expected.is_some());
                if let (Some(range), Some(expected)) = (range, expected) {
                    for (field, text) in expected.fields() {
                        prop_assert_eq!(merged.records.text(range.value, field), text);
                    }
                }
            }
        }
    }
}
