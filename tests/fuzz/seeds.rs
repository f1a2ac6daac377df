//! One small, whole file of every format, made by our own writers: what the corruption test breaks
//! and what the fuzzer starts from.

use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, UNIX_EPOCH};

use geogate::geo::format::{compressed, csv, dat, datx, ipdb, pack, xdb};
use geogate::geo::table::Provenance;
use geogate::geo::{Field, Table};
use geogate::tree::Range;
use ipnet::IpNet;
use mmdb_writer::{Value, Writer};

/// A file with the name of its format.
pub struct Seed {
    /// Of the file.
    pub name: &'static str,
    /// As in [`Provenance::format`](geogate::geo::table::Provenance::format).
    pub format: &'static str,
    pub bytes: Vec<u8>,
}

/// One file of every format that is read.
#[must_use]
pub fn all() -> Vec<Seed> {
    let csv = written_csv();
    let files = [
        ("pack", "pack", pack::write(&table())),
        ("dat", "dat", dat::write(&rows())),
        ("datx", "datx", datx::write(&rows())),
        ("ipdb", "ipdb", written_ipdb()),
        ("mmdb", "mmdb", written_mmdb()),
        ("xdb", "xdb", written_xdb(2, XDB_2)),
        ("xdb_v6", "xdb", written_xdb(3, XDB_3)),
        ("gzip", "csv", compressed::gzip(&csv)),
        ("zstd", "csv", compressed::zstd(&csv)),
        ("csv", "csv", csv),
    ];
    let seeds = files.map(|(name, format, bytes)| Seed {
        name,
        format,
        bytes,
    });
    seeds.into()
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
    table.v4 = [
        range(0x0100_0000, 0x0100_00ff, australia),
        range(0x0100_0100, 0x0100_03ff, fuzhou),
        range(0xe000_0000, u32::MAX, australia),
    ]
    .into();
    table.v6 = [
        range(0x2001 << 112, (0x2001 << 112) + 0xff, fuzhou),
        range(u128::MAX, u128::MAX, australia),
    ]
    .into();
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
#[allow(
    dead_code,
    reason = "the test of hostile files cuts there; the fuzz seeds do not"
)]
pub const XDB_TEXTS: usize = 256 + (256 * 256 * 8);

fn written_xdb(version: u16, segments: [(&str, &str, &str); 3]) -> Vec<u8> {
    let address = |text: &str| text.parse::<IpAddr>().expect("an address");
    let segments = segments.map(|(first, last, text)| (address(first), address(last), text));
    xdb::write(version, 1_709_113_545, &segments)
}

const XDB_2: [(&str, &str, &str); 3] = [
    ("1.0.0.0", "1.1.0.255", "中国|0|福建省|福州市|电信"),
    ("1.1.1.0", "1.1.255.255", ""),
    ("255.255.0.0", "255.255.255.255", "美国|0|0|0|0"),
];

const XDB_3: [(&str, &str, &str); 3] = [
    ("2001:db8::", "2001:db8::ff", "中国|福建省|福州市|电信|CN"),
    ("2001:db9::", "2001:dba:ffff::", "美国|0|0|0|US"),
    ("ffff::", "ffff::", "日本|0|0|0|JP"),
];

/// Both families, records that share a text through a pointer, and one of each type that is read.
fn written_mmdb() -> Vec<u8> {
    let text = |text: &str| Value::from(text);
    let names = |english: &str, chinese: &str| {
        let names = Value::map([("en", text(english)), ("zh-CN", text(chinese))]);
        ("names", names)
    };
    let country = || Value::map([("iso_code", text("CN")), names("China", "中国")]);
    let fuzhou = Value::map([
        ("country", country()),
        (
            "subdivisions",
            Value::array([Value::map([
                ("iso_code", text("FJ")),
                names("Fujian", "福建"),
            ])]),
        ),
        ("city", Value::map([names("Fuzhou", "福州")])),
        (
            "location",
            Value::map([
                ("latitude", Value::from(26.0625)),
                ("accuracy_radius", Value::from(50_u16)),
            ]),
        ),
        (
            "traits",
            Value::map([
                ("autonomous_system_number", Value::from(4134_u32)),
                ("is_anycast", Value::from(true)),
            ]),
        ),
    ]);
    let china = Value::map([("country", country())]);
    let mut writer = Writer::builder("Test-City")
        .build_epoch(UNIX_EPOCH + Duration::from_secs(1_709_113_545))
        .build();
    for (network, record) in [
        ("1.0.0.0/24", fuzhou),
        ("1.0.4.0/22", china.clone()),
        ("2001:db8::/32", china),
    ] {
        let network: IpNet = network.parse().expect("a network");
        let inserted = writer.insert_value(network, record);
        inserted.expect("a network that stands alone");
    }
    writer.to_bytes().expect("memory takes any bytes")
}
