//! One small, whole file of every format, made by our own writers: what the corruption test breaks
//! and what the fuzzer starts from.

use std::net::Ipv6Addr;

use geogate::geo::format::{compressed, csv, dat, datx, ipdb, pack};
use geogate::geo::table::Provenance;
use geogate::geo::{Field, Table};
use geogate::tree::Range;

/// A file with the name of its format.
pub struct Seed {
    /// As in [`Provenance::format`](geogate::geo::table::Provenance::format), or the compression's.
    pub name: &'static str,
    pub bytes: Vec<u8>,
}

/// One file of every format that is read.
#[must_use]
pub fn all() -> Vec<Seed> {
    let csv = written_csv();
    let seed = |name, bytes| Seed { name, bytes };
    vec![
        seed("pack", pack::write(&table())),
        seed("dat", dat::write(&rows())),
        seed("datx", datx::write(&rows())),
        seed("ipdb", written_ipdb()),
        seed("xdb", written_xdb()),
        seed("gzip", compressed::gzip(&csv)),
        seed("zstd", compressed::zstd(&csv)),
        seed("csv", csv),
    ]
}

fn table() -> Table {
    let mut table = Table {
        provenance: Provenance {
            format: "pack",
            source: "a test".to_owned(),
            date: "2026-01-02".to_owned(),
        },
        ..Table::default()
    };
    let fuzhou = [
        (Field::Country, "中国"),
        (Field::Province, "福建"),
        (Field::City, "福州"),
        (Field::Isp, "电信"),
    ];
    let fuzhou = table.records.intern(fuzhou);
    let australia = table.records.intern([(Field::CountryCode, "AU")]);
    table.v4 = vec![
        range(0x0100_0000, 0x0100_00ff, australia),
        range(0x0100_0100, 0x0100_03ff, fuzhou),
        range(0xe000_0000, u32::MAX, australia),
    ];
    table.v6 = vec![
        range(0x2001 << 112, (0x2001 << 112) + 0xff, fuzhou),
        range(u128::MAX, u128::MAX, australia),
    ];
    table
}

fn range<A>(first: A, last: A, value: u32) -> Range<A> {
    Range { first, last, value }
}

fn written_csv() -> Vec<u8> {
    let mut csv = Vec::new();
    csv::write(&table(), &mut csv).expect("memory takes any bytes");
    csv
}

/// Inclusive ends with their rows.
fn rows() -> Vec<(u32, Vec<u8>)> {
    [
        (0x00ff_ffff, "保留地址\t保留地址\t\t"),
        (0x0105_0000, "中国\t福建\t福州\t\t电信"),
        (0x0105_00ff, "美国\t\t\tExample\t\t37.4\t-122.1"),
        (0xffff_feff, "保留地址\t保留地址\t\t"),
        (u32::MAX, "IPIP.NET\t2017010105\t\t"),
    ]
    .map(|(last, row)| (last, row.as_bytes().to_vec()))
    .to_vec()
}

fn written_ipdb() -> Vec<u8> {
    let v4 = |address: u32| 0xffff_u128 << 32 | u128::from(address);
    let block = |address, length, row: &str| ipdb::Block {
        address,
        length,
        row: row.to_owned(),
    };
    let example: Ipv6Addr = "2001:db8::".parse().expect("an address");
    ipdb::write(&ipdb::Content {
        fields: &["country_name", "region_name", "idc", "isp_domain"],
        languages: &["CN", "EN"],
        ip_version: 3,
        build: 1_700_000_000,
        blocks: &[
            block(
                v4(0x0100_0000),
                96 + 24,
                "中国\t福建\t\t电信\tChina\tFujian\t\tTelecom",
            ),
            block(v4(0x0200_0000), 96 + 7, "美国\t\tIDC\t\tUSA\t\tIDC\t"),
            block(u128::from(example), 32, "美国\t\tIDC\t\tUSA\t\tIDC\t"),
        ],
    })
}

/// Offset of the texts of a `.xdb` file: a header, then 256 x 256 entries of 8 bytes.
pub const XDB_TEXTS: usize = 256 + (256 * 256 * 8);

/// A file of version 2 without the vector index, which no reader of whole files needs.
fn written_xdb() -> Vec<u8> {
    let mut file = vec![0; XDB_TEXTS];
    let texts = ["中国|0|福建省|福州市|电信", "美国|0|0|0|0"];
    let mut segments = Vec::new();
    for (text, ends) in texts
        .iter()
        .zip([[0_u32, 0x0100_00ff], [0x0200_0000, u32::MAX]])
    {
        for end in ends {
            segments.extend_from_slice(&end.to_le_bytes());
        }
        let length = u16::try_from(text.len()).expect("a short text");
        segments.extend_from_slice(&length.to_le_bytes());
        segments.extend_from_slice(&offset(&file).to_le_bytes());
        file.extend_from_slice(text.as_bytes());
    }
    file[0] = 2;
    file[2] = 1;
    file[4..8].copy_from_slice(&1_709_113_545_u32.to_le_bytes());
    let first = offset(&file);
    file[8..12].copy_from_slice(&first.to_le_bytes());
    file[12..16].copy_from_slice(&(first + 14).to_le_bytes());
    file.extend_from_slice(&segments);
    file
}

fn offset(file: &[u8]) -> u32 {
    u32::try_from(file.len()).expect("a small file")
}
