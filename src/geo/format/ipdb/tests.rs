use std::net::{IpAddr, Ipv6Addr};

use super::*;
use crate::tree::Range;

const FIELDS: [&str; 4] = ["country_name", "idc", "city_name", "isp_domain"];

/// Creates a row for `prefix`, which is an address and a length of its own family.
fn block(prefix: &str, row: &str) -> Block {
    let (address, length) = prefix.split_once('/').unwrap();
    let length: u32 = length.parse().unwrap();
    let (address, length) = match address.parse().unwrap() {
        IpAddr::V4(address) => (address.to_ipv6_mapped(), 96 + length),
        IpAddr::V6(address) => (address, length),
    };
    Block {
        address: u128::from(address),
        length,
        row: row.to_owned(),
    }
}

fn file(languages: &[&str], ip_version: u32, blocks: &[Block]) -> Vec<u8> {
    write(&Content {
        fields: &FIELDS,
        languages,
        ip_version,
        build: 1_700_000_000,
        blocks,
    })
}

fn both_families() -> Vec<u8> {
    file(
        &["CN"],
        3,
        &[
            block("1.0.0.0/24", "澳大利亚\t\t悉尼\t"),
            block("1.0.2.0/23", "中国\tIDC\t福州\t电信"),
            block("1.0.4.0/22", "中国\tIDC\t福州\t电信"),
            block("2001:db8::/32", "美国\t\t\t"),
        ],
    )
}

fn read_default(bytes: &[u8]) -> Result<Table, FormatError> {
    read(bytes, &Languages::default())
}

#[test]
fn both_families_are_read() {
    let table = read_default(&both_families()).unwrap();
    let v4: Vec<_> = table.v4.iter().map(|r| (r.first, r.last)).collect();
    // Neighbours with the same record are one range.
    assert_eq!(v4, [(0x0100_0000, 0x0100_00ff), (0x0100_0200, 0x0100_07ff)]);
    let fuzhou = table.v4.iter().nth(1).unwrap().value;
    assert_eq!(table.records.text(fuzhou, Field::City), "福州");
    assert_eq!(table.records.text(fuzhou, Field::Isp), "电信");
    let first = u128::from("2001:db8::".parse::<Ipv6Addr>().unwrap());
    let Range { value, .. } = table.v6.iter().next().unwrap();
    let last = first | u128::MAX >> 32;
    assert_eq!(table.v6, [Range { first, last, value }].into());
    assert_eq!(table.records.text(value, Field::Country), "美国");
    assert_eq!(table.provenance.date, "2023-11-14");
}

#[test]
fn only_the_families_that_the_file_claims_are_read() {
    let blocks = [block("1.0.0.0/8", "a\t\t\t"), block("2000::/3", "b\t\t\t")];
    for (ip_version, v4, v6) in [(1, 1, 0), (2, 0, 1), (3, 1, 1)] {
        let table = read_default(&file(&["CN"], ip_version, &blocks)).unwrap();
        assert_eq!((table.v4.len(), table.v6.len()), (v4, v6), "{ip_version}");
    }
    // An IPv6-only file may have a record at the position of the IPv4 root.
    let table = read_default(&file(&["CN"], 2, &[block("::/3", "a\t\t\t")])).unwrap();
    assert_eq!((table.v4.len(), table.v6.len()), (0, 1));
}

#[test]
fn a_single_address_and_a_half_of_all_are_ranges() {
    let blocks = [
        block("0.0.0.0/1", "a\t\t\t"),
        block("255.255.255.255/32", "b\t\t\t"),
    ];
    let table = read_default(&file(&["CN"], 1, &blocks)).unwrap();
    let ranges: Vec<_> = table.v4.iter().map(|r| (r.first, r.last)).collect();
    assert_eq!(ranges, [(0, 0x7fff_ffff), (u32::MAX, u32::MAX)]);
}

#[track_caller]
fn check_language(in_file: &[&str], wanted: &[&str], expected: &str) {
    let row = in_file.iter().map(|name| format!("{name}\t\t\t"));
    let row = row.collect::<Vec<_>>().join("\t");
    let bytes = file(in_file, 1, &[block("1.0.0.0/8", &row)]);
    let wanted = Languages::new(wanted.iter().map(|&tag| tag.to_owned()).collect());
    let table = read(&bytes, &wanted).unwrap();
    assert_eq!(table.records.text(0, Field::Country), expected);
}

#[test]
fn the_best_language_is_read() {
    check_language(&["CN", "EN"], &["zh-CN", "en"], "CN");
    check_language(&["EN", "CN"], &["zh-CN", "en"], "CN");
    check_language(&["CN", "EN"], &["en"], "EN");
    check_language(&["EN", "zh_TW", "zh-CN"], &["ZH-cn"], "zh-CN");
    check_language(&["EN", "JP"], &["de", "ja-JP"], "JP");
    // None of them: the language whose fields come first.
    check_language(&["JP", "EN"], &["de"], "JP");
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    let whole = both_families();
    for length in 0..whole.len() {
        assert!(read_default(&whole[..length]).is_err(), "cut to {length}");
    }
}

/// Replaces the first `from` of the JSON by `to` of the same length.
fn replace(bytes: &mut [u8], from: &str, to: &str) {
    assert_eq!(from.len(), to.len());
    let at = bytes.windows(from.len()).position(|w| w == from.as_bytes());
    let at = at.unwrap();
    bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
}

/// Offset of node 0.
fn nodes(bytes: &[u8]) -> usize {
    4 + u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize
}

#[track_caller]
fn check_damage(damage: impl FnOnce(&mut Vec<u8>), expected: &str) {
    let mut bytes = both_families();
    damage(&mut bytes);
    let error = read_default(&bytes).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn damage_is_named_with_its_offset() {
    check_damage(|b| b[0] = 1, "offset 0: 16777");
    check_damage(|b| b[4] = b'[', "offset 4: JSON:");
    check_damage(|b| b.push(0), "offset 4: total_size is");
    check_damage(
        |b| replace(b, "node_count", "node_c0unt"),
        "node_count is not a number",
    );
    check_damage(
        |b| replace(b, "\"CN\":0", "\"CN\":1"),
        "4 fields, the language's end at 5",
    );
    check_damage(|b| replace(b, "{\"CN\":0}", "{      }"), "not one language");
    check_damage(
        |b| replace(b, "\"fields\"", "\"f1elds\""),
        "fields is not a list",
    );
    check_damage(
        |b| replace(b, "ip_version\":3", "ip_version\":4"),
        "ip_version 4 is no family",
    );
    check_damage(
        |b| {
            let end = b.len();
            b[end - 1] = 0xff;
        },
        "text is not UTF-8",
    );
    check_damage(
        |b| {
            let at = nodes(b) + 4;
            b[at..at + 4].fill(0xff);
        },
        "bytes expected, but the file ends",
    );
    check_damage(
        |b| {
            let at = nodes(b);
            b[at] = 1;
        },
        "the way to IPv4 ends here, at bit 1",
    );
}

#[test]
fn loops_and_too_many_ways_are_refused() {
    // Both halves of every node lead to the next one, those of the last one to no data.
    let mut dag = file(&["CN"], 3, &[block("1.2.3.4/32", "a\t\t\t")]);
    let start = nodes(&dag);
    let count = 128_u32;
    for node in 0..count {
        let next = (node + 1).to_be_bytes();
        let at = start + node as usize * 8;
        dag[at..at + 4].copy_from_slice(&next);
        dag[at + 4..at + 8].copy_from_slice(&next);
    }
    let error = read_default(&dag).unwrap_err().to_string();
    assert!(
        error.contains("the trie leads to its nodes too often"),
        "{error}"
    );

    let mut deep = both_families();
    let at = nodes(&deep);
    deep[at..at + 4].fill(0);
    let error = read_default(&deep).unwrap_err().to_string();
    assert!(
        error.contains("the trie is deeper than an address"),
        "{error}"
    );
}

#[test]
fn subtrees_may_be_shared_a_little() {
    let mut bytes = file(
        &["CN"],
        1,
        &[
            block("1.0.0.0/16", "a\t\t\t"),
            block("2.0.0.0/16", "a\t\t\t"),
            block("4.0.0.0/16", "b\t\t\t"),
        ],
    );
    let table = read_default(&bytes).unwrap();
    assert_eq!(table.v4.len(), 3);
    // The node of 4.0.0.0/6 has a lower half at its start; 0.0.0.0/6 gets the same half.
    let start = nodes(&bytes);
    let half = |bytes: &[u8], node: usize, side: usize| {
        let at = start + node * 8 + side * 4;
        u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
    };
    let mut node = 0;
    for depth in 0..96 + 5 {
        node = half(&bytes, node, usize::from((80..96).contains(&depth)));
    }
    let (low, high) = (half(&bytes, node, 0), half(&bytes, node, 1));
    assert_ne!(low, high);
    let at = start + node * 8;
    let high = u32::try_from(high).unwrap().to_be_bytes();
    bytes[at..at + 4].copy_from_slice(&high);
    let table = read_default(&bytes).unwrap();
    let ranges: Vec<_> = table.v4.iter().map(|r| (r.first, r.last)).collect();
    assert_eq!(ranges, [(0, 0xffff), (0x0400_0000, 0x0400_ffff)]);
}
