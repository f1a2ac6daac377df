//! Memory that a database takes while it is loaded.
//!
//! A reload has the old database beside the new one, and a container has one limit for both. So what a
//! range takes on its way from a file to the tree is bounded, too: as a plain value one of IPv6 would
//! take 48 bytes, and there are millions of them.

use allocation_counter::measure;
use geogate::geo::format::{Languages, pack, read};
use geogate::geo::{Codes, Database, Field, Names, Table};
use geogate::tree::Range;

/// Records, whatever the number of ranges.
const RECORDS: u32 = 500;

/// The most that a range may take, in bytes: in the file as it is unpacked, in the list, and in the
/// tree, which is most of it. With a list of plain values it would be twice as much.
const MOST: u64 = 70;

/// A file of networks one after the other, with records in no order.
fn file(networks: u32) -> Vec<u8> {
    let mut table = Table::default();
    for number in 0..RECORDS {
        let city = format!("City {number}");
        table
            .records
            .intern([(Field::Country, "Australia"), (Field::City, city.as_str())]);
    }
    for number in 0..networks {
        let first = (0x2a00 << 112) + (u128::from(number) << 80);
        table.v6.push(Range {
            first,
            last: first + (1 << 80) - 1,
            value: number.wrapping_mul(7919) % RECORDS,
        });
    }
    pack::write(&table)
}

/// The most memory that a load takes at a time.
fn load(networks: u32) -> u64 {
    let (file, codes) = (file(networks), Codes::built_in());
    let mut kept = None;
    let taken = measure(|| {
        let mut table = read(&file, &Languages::default()).unwrap();
        assert_eq!(table.v6.len(), networks as usize);
        table.flatten().unwrap();
        kept = Some(Database::build(table, &codes, Names::Canonical).unwrap());
    });
    taken.bytes_max
}

#[test]
fn a_range_takes_few_bytes_on_its_way_to_the_tree() {
    let (few, many) = (20_000, 120_000);
    let more = load(many) - load(few);
    let each = more / u64::from(many - few);
    assert!((1..=MOST).contains(&each), "{each} bytes a range");
}
