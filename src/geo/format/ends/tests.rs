use super::super::{dat, datx};
use super::*;
use crate::geo::record::Field;

const BOTH: [Layout; 2] = [dat::LAYOUT, datx::LAYOUT];

fn file(layout: &Layout, entries: &[(u32, &str)]) -> Vec<u8> {
    let bytes = |&(last, text): &(u32, &str)| (last, text.as_bytes().to_vec());
    layout.write(&entries.iter().map(bytes).collect::<Vec<_>>())
}

fn three_places(layout: &Layout) -> Vec<u8> {
    file(
        layout,
        &[
            (0x00ff_ffff, "保留地址\t保留地址\t\t"),
            (0x0105_0000, "中国\t福建\t福州\t"),
            (u32::MAX, "美国\t美国\t\t"),
        ],
    )
}

#[test]
fn ranges_cross_index_blocks_and_reach_the_end() {
    for layout in BOTH {
        let table = layout.read(&three_places(&layout)).unwrap();
        let ranges: Vec<_> = table.v4.iter().map(|r| (r.first, r.last)).collect();
        assert_eq!(
            ranges,
            [
                (0, 0x00ff_ffff),
                (0x0100_0000, 0x0105_0000),
                (0x0105_0001, u32::MAX)
            ]
        );
        assert_eq!(
            table
                .records
                .text(table.v4.iter().nth(1).unwrap().value, Field::City),
            "福州"
        );
        assert_eq!(table.provenance.format, layout.format);
    }
}

#[test]
fn version_is_read_and_never_a_place() {
    for (version, date) in [
        ("2017010105\t\t", "2017-01-01"),
        ("20181105\t\t", "2018-11-05"),
    ] {
        for layout in BOTH {
            let version = format!("IPIP.NET\t{version}");
            let entries = [
                (0xffff_feff, "保留地址\t保留地址\t\t"),
                (u32::MAX, &*version),
            ];
            let table = layout.read(&file(&layout, &entries)).unwrap();
            assert_eq!(table.provenance.date, date);
            assert_eq!(table.provenance.source, "IPIP.NET");
            assert_eq!(table.v4.last().unwrap().last, 0xffff_feff);
        }
    }
}

#[test]
fn last_slash_24_without_a_version_is_a_place() {
    for layout in BOTH {
        let entries = [(0xffff_feff, "A"), (u32::MAX, "保留地址\t\t")];
        let table = layout.read(&file(&layout, &entries)).unwrap();
        assert_eq!(table.v4.last().unwrap().last, u32::MAX);
    }
}

#[test]
fn addresses_after_the_last_entry_have_no_record() {
    for layout in BOTH {
        let table = layout.read(&file(&layout, &[(0x0100_0000, "A")])).unwrap();
        assert_eq!(
            (table.v4.len(), table.v4.iter().next().unwrap().last),
            (1, 0x0100_0000)
        );
    }
}

#[test]
fn a_long_text_needs_the_larger_size() {
    let organization = "x".repeat(1000);
    let text = format!("中国\t\t\t{organization}\t电信");
    let layout = datx::LAYOUT;
    let table = layout.read(&file(&layout, &[(u32::MAX, &text)])).unwrap();
    assert_eq!(table.records.text(0, Field::Organization), organization);
    assert_eq!(table.records.text(0, Field::Isp), "电信");
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    for layout in BOTH {
        let whole = three_places(&layout);
        // A cut inside the texts is found by a text, any other cut by an offset.
        let in_the_index = (0..layout.entries()).step_by(layout.slots() / 256 * 16 + 1);
        for length in in_the_index.chain(layout.entries()..whole.len()) {
            let part = &whole[..length];
            assert!(layout.read(part).is_err(), "{}: {length}", layout.format);
        }
    }
}

#[test]
fn texts_that_lie_over_each_other_are_refused() {
    let layout = datx::LAYOUT;
    let long = vec![b'x'; 65_000];
    let entries: Vec<_> = (1..=100_u32)
        .map(|n| (n << 16, if n == 1 { long.clone() } else { Vec::new() }))
        .collect();
    let mut bytes = layout.write(&entries);
    for entry in 1..100 {
        let at = layout.entries() + entry * layout.entry();
        bytes[at + 4..at + 7].copy_from_slice(&[entry as u8, 0, 0]);
        bytes[at + 7..at + 9].copy_from_slice(&59_000_u16.to_be_bytes());
    }
    let error = layout.read(&bytes).unwrap_err().to_string();
    assert!(error.contains("texts lie over each other"), "{error}");
}

/// Checks damaged files; `damage` gets the file and the offset of its entries.
#[track_caller]
fn check_damage(damage: impl Fn(&mut [u8], usize), expected: impl Fn(&Layout) -> String) {
    for layout in BOTH {
        let mut bytes = three_places(&layout);
        damage(&mut bytes, layout.entries());
        let (error, expected) = (
            layout.read(&bytes).unwrap_err().to_string(),
            expected(&layout),
        );
        assert!(error.contains(&expected), "{error}, not {expected}");
    }
}

#[test]
fn damage_is_named_with_its_offset() {
    check_damage(|b, _| b[0] = 0xff, |_| "offset 0: offset".to_owned());
    check_damage(|b, _| b[3] ^= 1, |_| "leaves a part of an entry".to_owned());
    check_damage(
        |b, entries| b[entries] = 2,
        |layout| {
            let second = layout.entries() + layout.entry();
            format!("offset {second}: entry 1 ends before it starts")
        },
    );
    check_damage(
        |b, entries| b[entries + 6] = 0xff,
        |_| "bytes expected, but the file ends".to_owned(),
    );
    check_damage(
        |b, _| b[INDEX + 4] = 7,
        |_| "offset 8: index 1 is 7".to_owned(),
    );
}

#[test]
fn entries_that_run_into_the_texts_are_refused() {
    let layout = dat::LAYOUT;
    let mut bytes = three_places(&layout);
    let second = layout.entries() + layout.entry();
    bytes[second..second + 4].fill(0xff);
    let error = layout.read(&bytes).unwrap_err().to_string();
    assert!(
        error.contains("entry 1 of 3 ends at 255.255.255.255"),
        "{error}"
    );
}
