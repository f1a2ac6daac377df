use std::net::IpAddr;

use super::*;
use crate::geo::record::Field;

/// 2024-02-28, in the afternoon.
const BUILT: u32 = 1_709_113_545;

fn file(version: u16, segments: &[(&str, &str, &str)]) -> Vec<u8> {
    let address = |text: &str| text.parse().unwrap();
    let segments: Vec<_> = segments
        .iter()
        .map(|&(first, last, text)| (address(first), address(last), text))
        .collect();
    write(version, BUILT, &segments)
}

/// Two IPv4 segments that share a text.
fn small(version: u16, text: &str) -> Vec<u8> {
    file(
        version,
        &[
            ("0.0.0.0", "0.0.255.255", text),
            ("1.0.1.0", "1.0.1.255", text),
        ],
    )
}

#[track_caller]
fn check_record(table: &Table, expected: &[(Field, &str)]) {
    assert_eq!(table.records.len(), 1);
    for field in Field::ALL {
        let expected = expected.iter().find(|(of, _)| *of == field);
        let expected = expected.map_or("", |(_, text)| text);
        assert_eq!(table.records.text(0, field), expected, "{}", field.name());
    }
}

#[test]
fn version_2_has_an_area_and_no_code() {
    let table = read(&small(2, "中国|0|福建省|福州市|电信")).unwrap();
    check_record(
        &table,
        &[
            (Field::Country, "中国"),
            (Field::Province, "福建省"),
            (Field::City, "福州市"),
            (Field::Isp, "电信"),
        ],
    );
    let ranges: Vec<_> = table.v4.iter().map(|r| (r.first, r.last)).collect();
    assert_eq!(ranges, [(0, 0xffff), (0x0100_0100, 0x0100_01ff)]);
    assert_eq!(table.provenance.date, "2024-02-28");
}

#[test]
fn version_3_has_a_code_and_no_area() {
    let expected = [
        (Field::Country, "United States"),
        (Field::Province, "California"),
        (Field::City, "San Jose"),
        (Field::Isp, "xTom"),
        (Field::CountryCode, "US"),
    ];
    let text = "United States|California|San Jose|xTom|US";
    check_record(&read(&small(3, text)).unwrap(), &expected);
    // The same text in a file that a tool of version 2 wrote.
    check_record(&read(&small(2, text)).unwrap(), &expected);
}

#[test]
fn a_fifth_part_that_is_never_there_is_what_the_version_says() {
    let text = "A|B|C|0|0";
    let as_area = [(Field::Country, "A"), (Field::Province, "C")];
    check_record(&read(&small(2, text)).unwrap(), &as_area);
    let as_code = [
        (Field::Country, "A"),
        (Field::Province, "B"),
        (Field::City, "C"),
    ];
    check_record(&read(&small(3, text)).unwrap(), &as_code);
}

#[test]
fn one_fifth_part_that_is_no_code_makes_all_of_them_providers() {
    let table = read(&file(
        3,
        &[
            ("1.0.0.0", "1.0.0.0", "a|0|b|c|BT"),
            ("1.0.0.1", "1.0.0.1", "a|0|b|c|Level3"),
        ],
    ));
    let table = table.unwrap();
    assert_eq!(table.records.text(0, Field::Isp), "BT");
    assert_eq!(table.records.text(0, Field::CountryCode), "");
    assert_eq!(table.records.text(1, Field::City), "c");
}

#[test]
fn ipv6_segments_are_read_and_those_without_text_are_gaps() {
    let table = read(&file(
        3,
        &[
            ("2001:db8::", "2001:db8::ffff", "a|b|c|d|CN"),
            ("2001:db8:1::", "2001:db8:1::1", ""),
            (
                "240e::",
                "240e:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
                "a|b|c|d|CN",
            ),
        ],
    ));
    let table = table.unwrap();
    assert!(table.v4.is_empty());
    let ranges: Vec<_> = table.v6.iter().map(|r| (r.first, r.last)).collect();
    let documentation = 0x2001_0db8 << 96;
    let telecom = 0x240e << 112;
    assert_eq!(
        ranges,
        [
            (documentation, documentation | 0xffff),
            (telecom, telecom | (u128::MAX >> 16)),
        ]
    );
    assert_eq!(table.records.text(0, Field::CountryCode), "CN");
}

#[test]
fn the_writer_cuts_segments_where_the_vector_index_does() {
    let table = read(&file(2, &[("1.0.0.9", "1.2.0.1", "a|0|b|c|d")])).unwrap();
    let ranges: Vec<_> = table.v4.iter().map(|r| (r.first, r.last)).collect();
    assert_eq!(
        ranges,
        [
            (0x0100_0009, 0x0100_ffff),
            (0x0101_0000, 0x0101_ffff),
            (0x0102_0000, 0x0102_0001),
        ]
    );
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    for whole in [
        small(2, "中国|0|福建省|福州市|电信"),
        file(3, &[("240e::", "240e::1", "中国|福建省|福州市|电信|CN")]),
    ] {
        for length in (0..whole.len()).rev().take(200).chain([0, 1, 12, 300]) {
            assert!(read(&whole[..length]).is_err(), "cut to {length} bytes");
        }
    }
}

#[track_caller]
fn check_damage(version: u16, damage: impl FnOnce(&mut Vec<u8>, usize), expected: &str) {
    let mut bytes = small(version, "中国|0|福建省|福州市|电信");
    let segments = bytes.len() - 2 * Family::V4.segment();
    damage(&mut bytes, segments);
    let error = read(&bytes).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn damage_is_named_with_its_offset() {
    check_damage(2, |b, _| b[0] = 4, "offset 0: version 4, not 2 or 3");
    check_damage(3, |b, _| b[16] = 5, "offset 16: IP version 5");
    check_damage(3, |b, _| b[18] = 8, "offset 18: pointers of 8 bytes");
    check_damage(2, |b, _| b[12] ^= 1, "offset 8: segments from");
    // Two segments of 14 bytes are not a multiple of 38 bytes.
    check_damage(3, |b, _| b[16] = 6, "offset 8: segments from");
    check_damage(
        2,
        |b, s| b[s + 14..s + 18].fill(0),
        "segments are not in order",
    );
    check_damage(
        2,
        |b, s| b[s + 13] = 0xff,
        "bytes expected, but the file ends",
    );
    check_damage(2, |b, s| b[s + 8] = 4, "text is not UTF-8");
    check_damage(2, |b, s| b[s + 8] = 6, "text has 1 parts, not 5");
}

#[test]
fn texts_that_overlap_cannot_be_more_than_the_file() {
    let text = "|".repeat(40_000);
    let segments: Vec<(IpAddr, IpAddr, &str)> = (0..100_u32)
        .map(|i| (IpAddr::V4(i.into()), IpAddr::V4(i.into()), &*text))
        .collect();
    let mut bytes = write(2, BUILT, &segments);
    let start = bytes.len() - 100 * Family::V4.segment();
    for i in 0..100_u16 {
        let at = start + usize::from(i) * Family::V4.segment() + 8;
        bytes[at..at + 2].copy_from_slice(&(40_000 - i).to_le_bytes());
    }
    let error = read(&bytes).unwrap_err().to_string();
    assert!(error.contains("bytes in a file of"), "{error}");
}
