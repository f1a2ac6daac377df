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
    AccuracyRadius, Asn, City, Continent, Country, CountryCode, DialCode, Isp, Latitude, Longitude,
    PostalCode, Province, ProvinceCode, TimeZone,
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
    assert_eq!(merged.v6.len(), 1);
    let v6 = merged.v6.last().unwrap();
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
        let differ =
            |own: Fact, other: Fact| own.means != 0 && other.means != 0 && own.means != other.means;
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
        prop_assert!(merged.v4.iter().is_sorted_by(|a, b| a.last < b.first));
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
