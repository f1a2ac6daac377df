//! `.datx`, IPIP's larger `.dat`: 65,536 index values, for each first two octets, and entries of 9
//! bytes with u16 BE text lengths. `ends` has the structure, `rows` the text.

use super::FormatError;
use super::ends::Layout;
use crate::geo::table::Table;

const LAYOUT: Layout = Layout {
    format: "datx",
    index_bits: 16,
    length_bytes: 2,
};

/// Whether the header is plausible; [`read`] checks the rest.
pub(super) fn looks_like(bytes: &[u8]) -> bool {
    LAYOUT.looks_like(bytes)
}

/// Whether the index is the entries' own, which no file of the other size has.
pub(super) fn has_index(bytes: &[u8]) -> bool {
    LAYOUT.has_index(bytes)
}

/// Reads a whole file.
///
/// # Errors
/// If an offset or an index points outside the file or disagrees with the entries, if entries are
/// not in order, or if a text has too many fields.
pub fn read(bytes: &[u8]) -> Result<Table, FormatError> {
    LAYOUT.read(bytes)
}

/// Writes a file of this format, so that tests need nobody's data.
///
/// `entries` are inclusive ends with their tab-separated text, in order.
#[doc(hidden)]
#[must_use]
pub fn write(entries: &[(u32, Vec<u8>)]) -> Vec<u8> {
    LAYOUT.write(entries)
}

#[cfg(test)]
mod tests {
    use super::super::ends::INDEX;
    use super::*;
    use crate::geo::record::Field;

    const ENTRIES: usize = LAYOUT.entries();

    fn file(entries: &[(u32, &str)]) -> Vec<u8> {
        let entries: Vec<_> = entries
            .iter()
            .map(|&(last, text)| (last, text.as_bytes().to_vec()))
            .collect();
        write(&entries)
    }

    fn two_places() -> Vec<u8> {
        file(&[
            (0x00ff_ffff, "保留地址\t保留地址\t\t"),
            (0x0105_0000, "中国\t福建\t福州\t"),
            (u32::MAX, "美国\t美国\t\t"),
        ])
    }

    #[test]
    fn ranges_cross_index_blocks_and_reach_the_end() {
        let table = read(&two_places()).unwrap();
        let ranges: Vec<_> = table.v4.iter().map(|r| (r.first, r.last)).collect();
        assert_eq!(
            ranges,
            [
                (0, 0x00ff_ffff),
                (0x0100_0000, 0x0105_0000),
                (0x0105_0001, u32::MAX)
            ]
        );
        assert_eq!(table.records.text(table.v4[1].value, Field::City), "福州");
        assert_eq!(table.provenance.format, "datx");
    }

    #[test]
    fn version_is_read_and_never_a_place() {
        let table = read(&file(&[
            (0xffff_feff, "保留地址\t保留地址\t\t"),
            (u32::MAX, "IPIP.NET\t20181105\t\t"),
        ]))
        .unwrap();
        assert_eq!(table.provenance.date, "2018-11-05");
        assert_eq!(table.provenance.source, "IPIP.NET");
        assert_eq!(table.v4.last().unwrap().last, 0xffff_feff);
    }

    #[test]
    fn a_text_may_be_longer_than_255_bytes() {
        let organization = "x".repeat(1000);
        let text = format!("中国\t\t\t{organization}\t电信");
        let table = read(&file(&[(u32::MAX, &text)])).unwrap();
        assert_eq!(table.records.text(0, Field::Organization), organization);
        assert_eq!(table.records.text(0, Field::Isp), "电信");
    }

    #[test]
    fn a_file_cut_anywhere_is_an_error() {
        let whole = two_places();
        let in_the_index = (0..ENTRIES).step_by(4099);
        for length in in_the_index.chain(ENTRIES..whole.len()) {
            assert!(read(&whole[..length]).is_err(), "cut to {length} bytes");
        }
    }

    #[test]
    fn texts_that_lie_over_each_other_are_refused() {
        let long = vec![b'x'; 65_000];
        let entries: Vec<_> = (1..=100_u32)
            .map(|n| (n << 16, if n == 1 { long.clone() } else { Vec::new() }))
            .collect();
        let mut bytes = write(&entries);
        for entry in 1..100 {
            let at = ENTRIES + entry * 9;
            bytes[at + 4..at + 7].copy_from_slice(&[entry as u8, 0, 0]);
            bytes[at + 7..at + 9].copy_from_slice(&59_000_u16.to_be_bytes());
        }
        let error = read(&bytes).unwrap_err().to_string();
        assert!(error.contains("texts lie over each other"), "{error}");
    }

    #[track_caller]
    fn check_damage(damage: impl FnOnce(&mut Vec<u8>), expected: &str) {
        let mut bytes = two_places();
        damage(&mut bytes);
        let error = read(&bytes).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn damage_is_named_with_its_offset() {
        check_damage(|b| b[0] = 0xff, "offset 0: offset");
        check_damage(|b| b[3] ^= 1, "leaves a part of an entry");
        check_damage(
            |b| b[ENTRIES] = 2,
            "offset 262157: entry 1 ends before it starts",
        );
        check_damage(
            |b| b[ENTRIES + 6] = 0xff,
            "bytes expected, but the file ends",
        );
        check_damage(|b| b[INDEX + 4] = 7, "offset 8: index 1 is 7");
    }
}
