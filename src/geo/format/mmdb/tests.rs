use std::time::Duration;

use mmdb_writer::{Ipv4Aliasing, RecordSize, Value, Writer};

use super::*;
use crate::geo::record::Field;

fn map<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::map(entries)
}

fn text(text: &str) -> Value {
    Value::from(text)
}

fn names<const N: usize>(names: [(&str, &str); N]) -> Value {
    map([("names", map(names.map(|(tag, name)| (tag, text(name)))))])
}

fn writer() -> Writer {
    Writer::builder("Test-City")
        .build_epoch(std::time::UNIX_EPOCH + Duration::from_secs(1_709_113_545))
        .build()
}

fn file(mut writer: Writer, networks: &[(&str, &Value)]) -> Vec<u8> {
    for &(network, value) in networks {
        let network: ipnet::IpNet = network.parse().unwrap();
        writer.insert_value(network, value.clone()).unwrap();
    }
    writer.to_bytes().unwrap()
}

fn languages(tags: &[&str]) -> Languages {
    Languages::new(tags.iter().map(|&tag| tag.to_owned()).collect())
}

/// Reads one record; fields that are not in `expected` must be empty.
#[track_caller]
fn check_in(languages: &Languages, record: &Value, expected: &[(Field, &str)]) {
    let table = read(&file(writer(), &[("1.0.0.0/24", record)]), languages).unwrap();
    assert_eq!((table.v4.len(), table.v6.len()), (1, 0));
    for field in Field::ALL {
        let expected = expected.iter().find(|(of, _)| *of == field);
        let expected = expected.map_or("", |(_, text)| text);
        let found = table
            .records
            .text(table.v4.iter().next().unwrap().value, field);
        assert_eq!(found, expected, "{}", field.name());
    }
}

#[track_caller]
fn check(record: &Value, expected: &[(Field, &str)]) {
    check_in(&Languages::default(), record, expected);
}

/// Returns a record like those of `MaxMind`'s City and Enterprise.
fn city() -> Value {
    let country = |code: &str, english: &str, chinese: &str| {
        map([
            ("iso_code", text(code)),
            ("geoname_id", Value::from(1_u32)),
            (
                "names",
                map([("en", text(english)), ("zh-CN", text(chinese))]),
            ),
        ])
    };
    let subdivision = |code: &str, name: &str| {
        map([
            ("iso_code", text(code)),
            ("names", map([("en", text(name))])),
        ])
    };
    map([
        ("city", names([("en", "Boxford"), ("fr", "Boxford-fr")])),
        (
            "continent",
            map([("code", text("EU")), ("names", map([("en", text("x"))]))]),
        ),
        ("country", country("GB", "United Kingdom", "英国")),
        ("registered_country", country("FR", "France", "法国")),
        (
            "location",
            map([
                ("accuracy_radius", Value::from(100_u16)),
                ("latitude", Value::from(51.75)),
                ("longitude", Value::from(-1.25)),
                ("time_zone", text("Europe/London")),
                ("metro_code", Value::from(1_u16)),
            ]),
        ),
        ("postal", map([("code", text("OX1"))])),
        (
            "subdivisions",
            Value::array([
                subdivision("ENG", "England"),
                subdivision("WBK", "West Berkshire"),
            ]),
        ),
        (
            "traits",
            map([
                ("isp", text("Andrews & Arnold")),
                ("organization", text("STONEHOUSE office network")),
                ("autonomous_system_number", Value::from(20_712_u32)),
                (
                    "autonomous_system_organization",
                    text("Andrews & Arnold Ltd"),
                ),
                ("is_anycast", Value::from(true)),
            ]),
        ),
    ])
}

const CITY: [(Field, &str); 15] = [
    (Field::Country, "英国"),
    (Field::Province, "England"),
    (Field::City, "Boxford"),
    (Field::Organization, "STONEHOUSE office network"),
    (Field::Isp, "Andrews & Arnold"),
    (Field::CountryCode, "GB"),
    (Field::Continent, "EU"),
    (Field::Latitude, "51.75"),
    (Field::Longitude, "-1.25"),
    (Field::TimeZone, "Europe/London"),
    (Field::SubdivisionCode, "ENG"),
    (Field::PostalCode, "OX1"),
    (Field::AccuracyRadius, "100"),
    (Field::Asn, "20712"),
    (Field::AsOrganization, "Andrews & Arnold Ltd"),
];

#[test]
fn maps_of_maxmind_and_db_ip_are_read() {
    check(&city(), &CITY);
}

#[test]
fn names_are_in_the_best_language_that_there_is() {
    let city = names([("en", "Munich"), ("de", "München"), ("pt-BR", "Munique")]);
    let record = map([("city", city)]);
    let check = |tags: &[&str], expected| {
        check_in(&languages(tags), &record, &[(Field::City, expected)]);
    };
    check(&["zh-CN", "de", "en"], "München");
    check(&["EN"], "Munich");
    // Another variety of the language is better than another language, and worse than an exact
    // match.
    check(&["pt", "en"], "Munique");
    check(&["fr", "pt-PT", "en"], "Munique");
    // Any language is better than none.
    check_in(
        &languages(&["ja"]),
        &map([("city", names([("de", "München")]))]),
        &[(Field::City, "München")],
    );
}

#[test]
fn where_an_owner_is_registered_is_no_place() {
    let record = map([(
        "registered_country",
        map([
            ("iso_code", text("FR")),
            ("names", map([("en", text("France"))])),
        ]),
    )]);
    let networks = [("1.0.0.0/24", &record), ("2.0.0.0/24", &city())];
    let table = read(&file(writer(), &networks), &Languages::default()).unwrap();
    assert_eq!(table.v4.len(), 1);
    assert_eq!(table.v4.iter().next().unwrap().first, 0x0200_0000);
}

#[test]
fn flat_records_are_read() {
    check(
        &map([
            ("as_domain", text("google.com")),
            ("as_name", text("Google LLC")),
            ("asn", text("AS15169")),
            ("continent", text("North America")),
            ("continent_code", text("NA")),
            ("country", text("United States")),
            ("country_code", text("US")),
        ]),
        &[
            (Field::Country, "United States"),
            (Field::CountryCode, "US"),
            (Field::Continent, "NA"),
            (Field::Asn, "15169"),
            (Field::AsOrganization, "Google LLC"),
        ],
    );
    check(
        &map([
            ("autonomous_system_number", Value::from(13_335_u32)),
            ("autonomous_system_organization", text("Cloudflare, Inc.")),
            ("isp", text("Cloudflare")),
            ("organization", text("APNIC")),
        ]),
        &[
            (Field::Asn, "13335"),
            (Field::AsOrganization, "Cloudflare, Inc."),
            (Field::Isp, "Cloudflare"),
            (Field::Organization, "APNIC"),
        ],
    );
    check(
        &map([
            ("city", text("Brisbane")),
            ("country_code", text("AU")),
            ("latitude", Value::from(-27.4767_f32)),
            ("longitude", text("153.017")),
            ("postcode", text("4000")),
            ("state1", text("Queensland")),
            ("timezone", text("Australia/Brisbane")),
        ]),
        &[
            (Field::City, "Brisbane"),
            (Field::CountryCode, "AU"),
            (Field::Latitude, "-27.4767"),
            (Field::Longitude, "153.017"),
            (Field::PostalCode, "4000"),
            (Field::Province, "Queensland"),
            (Field::TimeZone, "Australia/Brisbane"),
        ],
    );
    // Two letters are a code, at any position.
    check(
        &map([("country", text("US")), ("continent", text("NA"))]),
        &[(Field::CountryCode, "US"), (Field::Continent, "NA")],
    );
}

#[test]
fn numbers_have_the_digits_that_lead_back_to_them() {
    let latitude = |number: Value, expected: &str| {
        let record = map([
            ("country_code", text("AQ")),
            ("location", map([("latitude", number)])),
        ]);
        check(
            &record,
            &[(Field::CountryCode, "AQ"), (Field::Latitude, expected)],
        );
    };
    latitude(Value::from(0.1 + 0.2), "0.30000000000000004");
    latitude(Value::from(37.386_f32), "37.386");
    latitude(Value::from(1e-7), "0.0000001");
    latitude(Value::from(-90.0), "-90");
    latitude(Value::from(-0.0), "0");
    latitude(Value::from(f64::NAN), "");
    latitude(Value::from(f32::INFINITY), "");
}

/// Returns first and last address of each range, with the record's country code.
fn ranges(table: &Table) -> Vec<String> {
    let code = |value| table.records.text(value, Field::CountryCode);
    let v4 = table.v4.iter().map(|range| {
        let ends = [range.first, range.last].map(Ipv4Addr::from);
        format!("{}-{} {}", ends[0], ends[1], code(range.value))
    });
    let v6 = table.v6.iter().map(|range| {
        let ends = [range.first, range.last].map(Ipv6Addr::from);
        format!("{}-{} {}", ends[0], ends[1], code(range.value))
    });
    v4.chain(v6).collect()
}

fn code(code: &str) -> Value {
    map([("country_code", text(code))])
}

#[test]
fn both_families_are_read_at_every_width_and_ipv4_once() {
    let (au, cn) = (code("AU"), code("CN"));
    let networks = [
        ("1.0.0.0/24", &au),
        ("1.0.1.0/24", &cn),
        ("1.0.2.0/23", &cn),
        ("255.255.255.255/32", &au),
        ("2001:200::/32", &cn),
        ("ffff::/16", &au),
    ];
    for width in [RecordSize::Bits24, RecordSize::Bits28, RecordSize::Bits32] {
        // The aliases are ::ffff:0:0/96, 2001::/32 and 2002::/16.
        for aliases in [Ipv4Aliasing::Enabled, Ipv4Aliasing::Disabled] {
            let writer = Writer::builder("Test")
                .record_size(width)
                .ipv4_aliasing(aliases)
                .build();
            let table = read(&file(writer, &networks), &Languages::default()).unwrap();
            assert_eq!(
                ranges(&table),
                [
                    "1.0.0.0-1.0.0.255 AU",
                    // Neighbours with the same record are one range.
                    "1.0.1.0-1.0.3.255 CN",
                    "255.255.255.255-255.255.255.255 AU",
                    "2001:200::-2001:200:ffff:ffff:ffff:ffff:ffff:ffff CN",
                    "ffff::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff AU",
                ]
            );
        }
    }
}

#[test]
fn an_ipv4_file_has_no_ipv6() {
    let writer = Writer::builder("Test")
        .ip_version(mmdb_writer::IpVersion::V4)
        .build();
    let (au, cn) = (code("AU"), code("CN"));
    let networks = [("0.0.0.0/1", &au), ("128.0.0.0/2", &cn)];
    let table = read(&file(writer, &networks), &Languages::default()).unwrap();
    assert_eq!(
        ranges(&table),
        ["0.0.0.0-127.255.255.255 AU", "128.0.0.0-191.255.255.255 CN"]
    );
}

#[test]
fn the_metadata_says_where_the_data_comes_from() {
    let table = read(
        &file(writer(), &[("1.0.0.0/8", &code("AU"))]),
        &Languages::default(),
    );
    let provenance = table.unwrap().provenance;
    assert_eq!(provenance.format, "mmdb");
    assert_eq!(provenance.source, "Test-City");
    assert_eq!(provenance.date, "2024-02-28");
}

#[test]
fn a_file_that_knows_no_places_is_an_error() {
    let record = map([("is_anonymous", Value::from(true))]);
    let bytes = file(writer(), &[("1.0.0.0/8", &record)]);
    let error = read(&bytes, &Languages::default()).unwrap_err().to_string();
    assert!(
        error.ends_with("no record of this \"Test-City\" has a place's data"),
        "{error}"
    );
}

/// Files built from parts that need not fit each other.
mod raw {
    pub fn text(text: &str) -> Vec<u8> {
        let length = u8::try_from(text.len()).unwrap();
        assert!(length < 29);
        [&[2 << 5 | length], text.as_bytes()].concat()
    }

    /// Returns the head of a map of up to 285 + 255 entries; keys and values follow.
    pub fn map(entries: usize) -> Vec<u8> {
        match u8::try_from(entries) {
            Ok(entries) if entries < 29 => vec![7 << 5 | entries],
            _ => {
                let more = u16::try_from(entries - 285).unwrap().to_be_bytes();
                vec![7 << 5 | 0x1e, more[0], more[1]]
            }
        }
    }

    pub fn pointer(offset: usize) -> Vec<u8> {
        let offset = u32::try_from(offset).unwrap().to_be_bytes();
        [&[1 << 5 | 3 << 3], &offset[..]].concat()
    }

    fn short(number: u16) -> Vec<u8> {
        [&[5 << 5 | 2], &number.to_be_bytes()[..]].concat()
    }

    /// Builds a file from nodes of 32-bit records, data and metadata.
    pub fn file(ip_version: u16, nodes: &[[u32; 2]], data: &[u8]) -> Vec<u8> {
        let mut file: Vec<u8> = nodes
            .iter()
            .flatten()
            .flat_map(|record| record.to_be_bytes())
            .collect();
        let count = (nodes.len() as u32).to_be_bytes();
        file.extend([0; 16]);
        file.extend(data);
        file.extend(super::MARKER);
        file.extend(map(9));
        for (key, value) in [
            ("binary_format_major_version", short(2)),
            ("binary_format_minor_version", short(0)),
            ("build_epoch", vec![1, 2, 1]),
            ("database_type", text("Test")),
            ("description", map(0)),
            ("ip_version", short(ip_version)),
            ("languages", vec![0, 4]),
            ("node_count", [&[6 << 5 | 4], &count[..]].concat()),
            ("record_size", short(32)),
        ] {
            file.extend(text(key));
            file.extend(value);
        }
        file
    }

    /// Returns the tree record that leads to `offset` of the data, in a tree of `nodes` nodes.
    pub fn leaf(nodes: usize, offset: usize) -> u32 {
        u32::try_from(nodes + 16 + offset).unwrap()
    }

    /// Builds an IPv4 tree that has a separate /16 for each record.
    pub fn tree(offsets: &[usize]) -> Vec<[u32; 2]> {
        let mut nodes: Vec<[Option<usize>; 2]> = vec![[None; 2]];
        let mut leaves = Vec::new();
        for (index, &offset) in offsets.iter().enumerate() {
            let mut node = 0;
            for bit in (1..16).rev() {
                let side = index >> bit & 1;
                node = nodes[node][side].unwrap_or_else(|| {
                    nodes.push([None; 2]);
                    nodes[node][side] = Some(nodes.len() - 1);
                    nodes.len() - 1
                });
            }
            leaves.push((node, index & 1, offset));
        }
        let nothing = nodes.len() as u32;
        let mut records: Vec<[u32; 2]> = nodes
            .iter()
            .map(|node| node.map(|child| child.map_or(nothing, |child| child as u32)))
            .collect();
        for (node, side, offset) in leaves {
            records[node][side] = leaf(nodes.len(), offset);
        }
        records
    }
}

#[track_caller]
fn check_error(bytes: &[u8], expected: &str) {
    let error = read(bytes, &Languages::default()).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
}

fn raw_code() -> Vec<u8> {
    [raw::map(1), raw::text("country_code"), raw::text("AU")].concat()
}

#[test]
fn a_small_file_made_by_hand_is_read() {
    let nodes = raw::tree(&[0, 0, 0]);
    let table = read(&raw::file(4, &nodes, &raw_code()), &Languages::default()).unwrap();
    assert_eq!(ranges(&table), ["0.0.0.0-0.2.255.255 AU"]);
}

#[test]
fn one_record_for_more_than_ipv4_is_the_record_of_all_ipv4() {
    // The only node is the root, and IPv4 is somewhere in its left half.
    let nodes = [[raw::leaf(1, 0), 1]];
    let table = read(&raw::file(6, &nodes, &raw_code()), &Languages::default()).unwrap();
    assert_eq!(
        ranges(&table),
        [
            "0.0.0.0-255.255.255.255 AU",
            "::-7fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff AU",
        ]
    );
}

#[test]
fn a_tree_that_is_none_is_an_error() {
    let data = raw_code();
    // A cycle back to the root.
    let cycle = [[0, 1]];
    check_error(&raw::file(4, &cycle, &data), "more nodes than the tree has");
    check_error(&raw::file(6, &cycle, &data), "more nodes than the tree has");
    // A chain of 40 nodes, eight more than an IPv4 address has bits.
    let deep: Vec<_> = (1..=40).map(|next| [next, 40]).collect();
    check_error(&raw::file(4, &deep, &data), "a node below 32 bits");
    // 2^32 paths to one record by 32 nodes.
    let last = raw::leaf(32, 0);
    let mut ways: Vec<_> = (1..=32).map(|next| [next, next]).collect();
    ways[31] = [last, last];
    check_error(&raw::file(4, &ways, &data), "more nodes than the tree has");
    // 2^96 paths to IPv4, all but one of which are aliases.
    let mut aliases: Vec<_> = (1..=97).map(|next| [next, next]).collect();
    aliases[96] = [raw::leaf(97, 0); 2];
    check_error(
        &raw::file(6, &aliases, &data),
        "more nodes than the tree has",
    );
    // Into the zeros before the data, and past its end.
    check_error(&raw::file(4, &[[10, 1]], &data), "invalid location");
    let behind = raw::leaf(1, data.len());
    check_error(&raw::file(4, &[[behind, 1]], &data), "invalid location");
}

#[test]
fn a_record_that_is_much_larger_than_its_bytes_is_an_error() {
    // A map whose two values are the previous map, and so on: 2^17 values.
    let mut data = raw_code();
    let mut before = 0;
    for _ in 0..17 {
        let at = data.len();
        data.extend(raw::map(2));
        for key in ["a", "b"] {
            data.extend(raw::text(key));
            data.extend(raw::pointer(before));
        }
        before = at;
    }
    let nodes = raw::tree(&[before]);
    assert!(read(&raw::file(4, &nodes, &data), &Languages::default()).is_err());
}

#[test]
fn a_pointer_to_itself_is_an_error() {
    let mut data = raw::map(1);
    data.extend(raw::text("city"));
    data.extend(raw::pointer(0));
    assert!(
        read(
            &raw::file(4, &raw::tree(&[0]), &data),
            &Languages::default()
        )
        .is_err()
    );
}

#[test]
fn many_records_that_share_one_large_part_are_an_error() {
    let mut data = raw::map(500);
    for key in 0..500 {
        data.extend(raw::text(&key.to_string()));
        data.extend(raw::text(""));
    }
    let records: Vec<usize> = (0..4_000)
        .map(|_| {
            let at = data.len();
            data.extend(raw::map(1));
            data.extend(raw::text("x"));
            data.extend(raw::pointer(0));
            at
        })
        .collect();
    check_error(
        &raw::file(4, &raw::tree(&records), &data),
        "much larger than the file",
    );
}

#[test]
fn many_texts_that_overlap_are_an_error() {
    let mut data = Vec::new();
    let starts: Vec<usize> = (0..1_000)
        .map(|number| {
            let at = data.len();
            // A text of 285 + 0x5e5e bytes, which includes the next heads.
            data.extend(b"^^^");
            data.extend(format!("{number:05}").bytes());
            at
        })
        .collect();
    data.extend(vec![b'x'; 30_000]);
    let records: Vec<usize> = starts
        .into_iter()
        .map(|start| {
            let at = data.len();
            data.extend(raw::map(1));
            data.extend(raw::text("isp"));
            data.extend(raw::pointer(start));
            at
        })
        .collect();
    check_error(
        &raw::file(4, &raw::tree(&records), &data),
        "much larger than the file",
    );
}

#[test]
fn a_file_cut_or_changed_anywhere_is_an_error_or_a_database() {
    let (city, cn) = (city(), code("CN"));
    let networks = [
        ("1.0.0.0/24", &city),
        ("1.0.1.0/24", &cn),
        ("2001:200::/32", &cn),
    ];
    let whole = file(writer(), &networks);
    for length in 0..whole.len() {
        assert!(
            read(&whole[..length], &Languages::default()).is_err(),
            "cut to {length} bytes"
        );
    }
    let mut databases = 0;
    for at in 0..whole.len() {
        for change in [0x01, 0x10, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] ^= change;
            databases += usize::from(read(&bytes, &Languages::default()).is_ok());
        }
    }
    // A changed letter is another name, which cannot be detected.
    assert!(databases > 0);
}
