use super::*;
use crate::geo::{Database, Names};
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

/// Returns each range with its non-empty fields, in the order of the columns.
fn shown(table: &Table) -> Vec<Shown<'_>> {
    let ranges = table.v4.iter().map(|range| {
        let texts = Field::ALL.map(|field| (field, table.records.text(range.value, field)));
        let texts = texts.into_iter().filter(|(_, text)| !text.is_empty());
        (range.first, range.last, texts.collect())
    });
    ranges.collect()
}

/// Checks the merge of two layers for one address.
#[track_caller]
fn check(upper: Fields, lower: Fields, expected: Fields) {
    let layers = vec![layer(&[(1, 1, upper)]), layer(&[(1, 1, lower)])];
    let merged = merge(layers, &Codes::built_in()).unwrap();
    assert_eq!(shown(&merged), [(1, 1, expected.to_vec())]);
}

use Field::{
    AccuracyRadius, Asn, City, CityCode, Continent, Country, CountryCode, DialCode, Isp, Latitude,
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
fn a_correction_of_one_field_keeps_the_coarser_ones() {
    let nanjing = [
        (Country, "中国"),
        (Province, "江苏"),
        (City, "南京"),
        (CountryCode, "CN"),
        (Latitude, "32"),
        (Longitude, "118"),
    ];
    for city in ["苏州", "Suzhou", "没有这个城市"] {
        check(
            &[(City, city)],
            &nanjing,
            &[
                (Country, "中国"),
                (Province, "江苏"),
                (City, city),
                (CountryCode, "CN"),
            ],
        );
    }
    check(&[(City, "Nanjing")], &nanjing, &{
        let mut expected = nanjing;
        expected[2].1 = "Nanjing";
        expected
    });
    check(
        &[(Province, "广东")],
        &nanjing,
        &[
            (Country, "中国"),
            (Province, "广东"),
            (CountryCode, "CN"),
            (ProvinceCode, "440000"),
        ],
    );
    check(
        &[(City, "Albany")],
        &[
            (CountryCode, "US"),
            (Province, "New York"),
            (City, "Ithaca"),
        ],
        &[
            (Province, "New York"),
            (City, "Albany"),
            (CountryCode, "US"),
        ],
    );
    check(&[(CountryCode, "JP")], &nanjing, &[(CountryCode, "JP")]);
}

/// Checks the answer of a database of two layers.
#[track_caller]
fn check_answer(upper: Fields, lower: Fields, expected: &str) {
    let codes = Codes::built_in();
    let layers = vec![layer(&[(1, 1, upper)]), layer(&[(1, 1, lower)])];
    let merged = merge(layers, &codes).unwrap();
    let database = Database::build(merged, &codes, Names::Canonical).unwrap();
    let place = database.find("0.0.0.1".parse().unwrap()).unwrap();
    let answer = database.answer(place);
    assert_eq!(std::str::from_utf8(answer).unwrap(), expected);
}

#[test]
fn corrections_are_answered_with_all_codes() {
    let nanjing = [(Country, "中国"), (Province, "江苏"), (City, "南京")];
    let suzhou = r#"["中国","CN","江苏","320000","苏州","320500","",""]"#;
    check_answer(&[(City, "苏州")], &nanjing, suzhou);
    check_answer(&[(City, "Suzhou")], &nanjing, suzhou);
    check_answer(&[(CityCode, "320500")], &nanjing, suzhou);
    check_answer(
        &[(City, "苏州")],
        &[
            (Country, "China"),
            (Province, "Jiangsu"),
            (City, "Nanjing"),
            (CountryCode, "CN"),
        ],
        r#"["China","CN","江苏","320000","苏州","320500","",""]"#,
    );
    // A city of another province is not moved to this one.
    let guangzhou = [(Country, "中国"), (Province, "广东"), (City, "广州")];
    let fuzhou = r#"["中国","CN","福建","350000","福州","350100","",""]"#;
    check_answer(&[(City, "福州")], &guangzhou, fuzhou);
    check_answer(&[(CityCode, "350100")], &guangzhou, fuzhou);
    check_answer(
        &[(CountryCode, "JP")],
        &guangzhou,
        r#"["日本","JP","","None","","None","",""]"#,
    );
    check_answer(
        &[(ProvinceCode, "320000")],
        &[(Country, "日本"), (City, "东京")],
        r#"["中国","CN","江苏","320000","","None","",""]"#,
    );
}

#[test]
fn blanked_fields_stay_empty_in_all_layers() {
    let suzhou = [
        (Country, "中国"),
        (Province, "江苏"),
        (City, "苏州"),
        (Isp, "电信"),
        (Latitude, "31"),
    ];
    check_answer(
        &[(City, BLANK)],
        &suzhou,
        r#"["中国","CN","江苏","320000","","None","","电信"]"#,
    );
    check_answer(
        &[(Isp, BLANK)],
        &suzhou,
        r#"["中国","CN","江苏","320000","苏州","320500","",""]"#,
    );
    check_answer(
        &[(Country, BLANK), (CountryCode, BLANK)],
        &suzhou,
        r#"["","None","","None","","None","","电信"]"#,
    );
    check_answer(
        &[(Country, "局域网"), (CountryCode, BLANK)],
        &suzhou,
        r#"["局域网","None","","None","","None","","电信"]"#,
    );
    let codes = Codes::built_in();
    let layers = [&[(City, BLANK)][..], &[(Isp, BLANK)], &suzhou];
    let layers = layers.map(|fields| layer(&[(1, 1, fields)]));
    let merged = merge(layers.into(), &codes).unwrap();
    let expected = vec![
        (Country, "中国"),
        (Province, "江苏"),
        (City, BLANK),
        (Isp, BLANK),
    ];
    assert_eq!(shown(&merged), [(1, 1, expected)]);
}

#[test]
fn layers_in_two_languages_are_one_place() {
    let coordinates = [(Latitude, "40.7"), (Longitude, "-74.1")];
    let new_jersey = [(Country, "美国"), (Province, "新泽西"), (City, "纽瓦克")];
    let english = |province| {
        let place = [(Province, province), (City, "Newark"), (CountryCode, "US")];
        [&place[..], &coordinates].concat()
    };
    // A name in another script without a code cannot be compared.
    for province in ["New Jersey", "Somewhere"] {
        let expected = [&new_jersey[..], &coordinates].concat();
        check(&new_jersey, &english(province), &expected);
    }
    check(&new_jersey, &english("Texas"), &new_jersey);
}

#[test]
fn the_code_that_is_answered_is_compared() {
    let taipei = [
        (City, "Taipei"),
        (CountryCode, "TW"),
        (Latitude, "25"),
        (Isp, "x"),
    ];
    check(
        &[(CountryCode, "CN")],
        &taipei,
        &[(Isp, "x"), (CountryCode, "CN")],
    );
    // In the same province, one source has CN and the other TW: that is one place.
    check_answer(
        &[(Country, "中国"), (Province, "台湾")],
        &taipei,
        r#"["中国","CN","台湾","710000","Taipei","None","","x"]"#,
    );
    check(
        &[(Country, "美国"), (CountryCode, "PR")],
        &[(Country, "美国"), (CountryCode, "US"), (City, "x")],
        &[(Country, "美国"), (CountryCode, "PR")],
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
        (CountryCode, "HK"),
        (ProvinceCode, "810000"),
    ];
    check(
        &[(Country, "香港")],
        &[(Country, "香港"), (Province, "九龙")],
        &placed,
    );
    check(
        &[(Country, "中国"), (Province, "香港")],
        &[(Country, "香港"), (Province, "九龙")],
        &[(Country, "中国"), (Province, "香港"), (City, "九龙")],
    );
    check(
        &[(Country, "香港")],
        &[(Country, "中国"), (Province, "广东"), (Continent, "AP")],
        &[
            (Country, "中国"),
            (Province, "香港"),
            (CountryCode, "HK"),
            (ProvinceCode, "810000"),
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

/// Test model of a fact: its texts, and the identity of the thing that they name.
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

    /// The rule, written out.
    fn over(self, lower: Facts) -> Facts {
        let or = |own: Fact, other: Fact| if own.means == 0 { other } else { own };
        let differ =
            |own: Fact, other: Fact| own.means != 0 && other.means != 0 && own.means != other.means;
        let mut merged = self;
        merged.isp = or(self.isp, lower.isp);
        if differ(self.country, lower.country) {
            return merged;
        }
        merged.country = or(self.country, lower.country);
        merged.continent = or(self.continent, lower.continent);
        if differ(self.province, lower.province) {
            return merged;
        }
        merged.province = or(self.province, lower.province);
        if differ(self.city, lower.city) {
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
            // The smallest range that covers the address; of two of equal size, the later one.
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
