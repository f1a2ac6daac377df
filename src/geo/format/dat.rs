//! `.dat`, the 17mon / IPIP format of old: 256 index values, for each first octet, and entries of 8
//! bytes with u8 text lengths. `ends` has the structure, `rows` the text.

use super::FormatError;
use super::ends::Layout;
use crate::geo::table::Table;

const LAYOUT: Layout = Layout {
    format: "dat",
    index_bits: 8,
    length_bytes: 1,
};

/// Whether the header is plausible; [`read`] checks the rest.
pub(super) fn looks_like(bytes: &[u8]) -> bool {
    LAYOUT.looks_like(bytes)
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
    fn ranges_cross_first_octets_and_reach_the_end() {
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
    }

    #[test]
    fn version_is_read_and_never_a_place() {
        let table = read(&file(&[
            (0xffff_feff, "保留地址\t保留地址\t\t"),
            (u32::MAX, "IPIP.NET\t2017010105\t\t"),
        ]))
        .unwrap();
        assert_eq!(table.provenance.date, "2017-01-01");
        assert_eq!(table.provenance.source, "IPIP.NET");
        assert_eq!(table.v4.last().unwrap().last, 0xffff_feff);
    }

    #[test]
    fn last_slash_24_without_a_version_is_a_place() {
        let table = read(&file(&[(0xffff_feff, "A"), (u32::MAX, "保留地址\t\t")])).unwrap();
        assert_eq!(table.v4.last().unwrap().last, u32::MAX);
    }

    #[test]
    fn a_file_cut_anywhere_is_an_error() {
        let whole = two_places();
        // Cut inside the texts, the reader may notice by a text, inside the rest by an offset.
        for length in 0..whole.len() {
            assert!(read(&whole[..length]).is_err(), "cut to {length} bytes");
        }
    }

    #[test]
    fn addresses_after_the_last_entry_have_no_record() {
        let table = read(&file(&[(0x0100_0000, "A")])).unwrap();
        assert_eq!((table.v4.len(), table.v4[0].last), (1, 0x0100_0000));
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
        check_damage(|b| b[3] ^= 1, "offset 0: offset 2077 leaves a part");
        check_damage(
            |b| b[ENTRIES] = 2,
            "offset 1036: entry 1 ends before it starts",
        );
        check_damage(
            |b| b[ENTRIES + 6] = 0xff,
            "bytes expected, but the file ends",
        );
        check_damage(|b| b[INDEX + 4] = 7, "offset 8: index 1 is 7");
        check_damage(
            |b| b[ENTRIES + 8..ENTRIES + 12].fill(0xff),
            "entry 1 of 3 ends at 255.255.255.255",
        );
    }
}
