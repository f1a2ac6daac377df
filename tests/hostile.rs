//! Files that are damaged or made to do harm: the result is an error or a database, never a panic,
//! never memory beyond a few times the file.
//!
//! Every byte of every structure is broken in every way that a field could be, one at a time, so
//! that what is tested does not depend on luck. The fuzz targets in `tests/fuzz` try the rest.

#[path = "fuzz/seeds.rs"]
mod seeds;

use geogate::geo::format::{FormatError, Languages, compressed, csv, dat, datx, read};
use geogate::geo::{Codes, Database, Names, Table};

/// Bytes that any file may take: tables of a reader, a decompressor's window, an error's text.
const FREE: usize = 256 << 10;

/// What a file may take for each of its bytes. The most that a record of two bytes takes is its
/// row of twenty numbers and the room that growing tables keep.
const FACTOR: usize = 100;

/// What compressed bytes may unpack to, however few they are, and twice that while it grows.
const UNPACKED: usize = 3 * (16 << 20);

/// Reads a file and holds the limits. `name` says which damage it has, if a limit is broken.
///
/// Memory is counted by thread, and a reader starts none: what other tests take at the same time
/// is not counted.
fn read_within_limits(bytes: &[u8], name: &dyn Fn() -> String) -> Result<Table, FormatError> {
    let mut table = None;
    let taken = allocation_counter::measure(|| table = Some(read(bytes, &Languages::default())));
    let memory = usize::try_from(taken.bytes_max).unwrap();
    let is_packed = [&b"\x1f\x8b"[..], b"\x28\xb5\x2f\xfd", b"geopack"]
        .iter()
        .any(|magic| bytes.starts_with(magic));
    let limit = FREE + FACTOR * bytes.len() + if is_packed { UNPACKED } else { 0 };
    let length = bytes.len();
    assert!(memory <= limit, "{}: {memory} bytes for {length}", name());
    let table = table.unwrap();
    assert!(table.is_err() || memory > 0, "nothing is counted");
    table
}

/// Where a file is broken: everywhere, but for long tables of equal entries, which get samples.
fn places(name: &str, length: usize) -> Vec<usize> {
    let table = match name {
        // The index, one value for each first two octets.
        "datx" => 64..4 + 65_536 * 4 - 16,
        // The vector index, which is not read.
        "xdb" | "xdb_v6" => 64..seeds::XDB_TEXTS - 16,
        _ => 0..0,
    };
    let samples = table.clone().step_by(16_381);
    let whole = (0..length).filter(|at| !table.contains(at));
    whole.chain(samples).collect()
}

/// What is written over the bytes at a place: one byte, and what a field of two, three, four or
/// eight bytes may be at its worst.
fn damages(byte: u8) -> Vec<Vec<u8>> {
    let bytes = [0, 0xff, byte ^ 0x01, byte ^ 0x80, byte.wrapping_add(1)];
    let single = bytes.into_iter().filter(|&new| new != byte);
    let fields = [2, 3, 4, 8].into_iter().flat_map(|width| {
        let signed = [&[0x7f][..], &vec![0xff; width - 1]].concat();
        let reversed = signed.iter().rev().copied().collect();
        [vec![0; width], vec![0xff; width], signed, reversed]
    });
    single.map(|byte| vec![byte]).chain(fields).collect()
}

#[track_caller]
fn check_damaged(name: &str) {
    let all = seeds::all();
    let seed = all.iter().find(|seed| seed.name == name).unwrap();
    let whole = &seed.bytes;
    let codes = Codes::built_in();
    let mut tables = 0;
    let mut check = |bytes: &[u8], how: &dyn Fn() -> String| {
        let Ok(table) = read_within_limits(bytes, how) else {
            return;
        };
        tables += 1;
        // Building takes some milliseconds, whatever the table.
        if tables % 64 == 1 {
            let _ = Database::build(table, &codes, Names::Canonical);
        }
    };
    check(whole, &|| format!("{name}, whole"));
    for at in places(name, whole.len()) {
        check(&whole[..at], &|| format!("{name}, cut to {at}"));
        for damage in damages(whole[at]) {
            let mut bytes = whole.clone();
            let end = bytes.len().min(at + damage.len());
            bytes[at..end].copy_from_slice(&damage[..end - at]);
            check(&bytes, &|| format!("{name}, {damage:02x?} at {at}"));
            if reseal(&mut bytes) {
                check(&bytes, &|| format!("{name}, sealed, {damage:02x?} at {at}"));
            }
        }
        for extent in [1, 4, 64] {
            let mut bytes = whole.clone();
            bytes.splice(at..at, vec![bytes[at]; extent]);
            check(&bytes, &|| format!("{name}, {extent} more at {at}"));
        }
    }
    for extent in [1, 8, 4096] {
        let longer = [&whole[..], &vec![0; extent]].concat();
        check(&longer, &|| format!("{name}, {extent} more at the end"));
    }
    assert!(tables > 0, "{name}: not even the whole file is read");
}

/// Makes a pack's checksum right again, so that what lies behind it is tested too.
fn reseal(bytes: &mut [u8]) -> bool {
    if !bytes.starts_with(b"geopack\n") {
        return false;
    }
    let at = bytes.len() - 4;
    let checksum = crc32fast::hash(&bytes[..at]).to_le_bytes();
    bytes[at..].copy_from_slice(&checksum);
    true
}

macro_rules! damaged {
    ($($test:ident: $name:literal,)*) => {
        $(
            #[test]
            fn $test() {
                check_damaged($name);
            }
        )*

        #[test]
        fn every_format_is_damaged_and_told_by_its_content() {
            let tested = [$($name),*];
            for seed in seeds::all() {
                assert!(tested.contains(&seed.name), "{} has no test", seed.name);
                let table = read(&seed.bytes, &Languages::default()).unwrap();
                assert_eq!(table.provenance.format, seed.format);
            }
        }
    };
}

// A format that is added has its seed in `fuzz/seeds.rs` and its line here.
damaged! {
    damaged_pack: "pack",
    damaged_dat: "dat",
    damaged_datx: "datx",
    damaged_ipdb: "ipdb",
    damaged_mmdb: "mmdb",
    damaged_xdb: "xdb",
    damaged_xdb_v6: "xdb_v6",
    damaged_csv: "csv",
    damaged_gzip: "gzip",
    damaged_zstd: "zstd",
}

/// A file that is meant to take more than its share, and what the refusal says; or nothing, if it
/// is read.
#[track_caller]
fn check_made(bytes: &[u8], expected: Option<&str>) {
    let error = read_within_limits(bytes, &|| "the file".to_owned());
    match (error.map_err(|error| error.to_string()), expected) {
        (Err(error), Some(expected)) => assert!(error.contains(expected), "{error}"),
        (Err(error), None) => panic!("{error}"),
        (Ok(_), Some(expected)) => panic!("read, and not refused: {expected}"),
        (Ok(_), None) => {}
    }
}

/// Rows as short as they can be, all different: the most records that a file can have.
fn tiny_rows(count: u32) -> Vec<(u32, Vec<u8>)> {
    (0..count)
        .map(|n| (n << 8 | 0xff, format!("{n:x}").into_bytes()))
        .collect()
}

#[test]
fn the_densest_files_are_read() {
    check_made(&dat::write(&tiny_rows(20_000)), None);
    check_made(&datx::write(&tiny_rows(20_000)), None);
    let lines = (0..20_000).map(|n| format!("{n},{n},{n:x}\n"));
    let text = format!("start,end,isp\n{}", lines.collect::<String>());
    check_made(text.as_bytes(), None);
    let mut table = Vec::new();
    csv::write(&csv::read(text.as_bytes()).unwrap(), &mut table).unwrap();
    check_made(&table, None);
    check_made(&compressed::gzip(&table), None);
}

#[test]
fn texts_over_each_other_are_refused() {
    let mut rows = tiny_rows(60_000);
    rows[0].1 = vec![b'x'; 65_535];
    let mut bytes = datx::write(&rows);
    for entry in 1..60_000_u32 {
        let at = 4 + 65_536 * 4 + entry as usize * 9;
        bytes[at + 4..at + 7].copy_from_slice(&entry.to_le_bytes()[..3]);
        bytes[at + 7..at + 9].copy_from_slice(&u16::MAX.to_be_bytes());
    }
    check_made(&bytes, Some("texts lie over each other"));
}

/// 128 nodes, each of whose halves lead to the next one: 2^128 ways.
fn ways(count: u32) -> Vec<u8> {
    let body: Vec<u8> = (1..=count)
        .flat_map(|next| [next.to_be_bytes(), next.to_be_bytes()].concat())
        .collect();
    let meta = format!(
        r#"{{"build":0,"ip_version":3,"languages":{{"CN":0}},"node_count":{count},"total_size":{},"fields":["country_name"]}}"#,
        body.len()
    );
    let length = u32::try_from(meta.len()).unwrap().to_be_bytes();
    [&length[..], meta.as_bytes(), &body].concat()
}

#[test]
fn a_trie_of_too_many_ways_is_refused() {
    check_made(&ways(128), Some("the trie leads to its nodes too often"));
    check_made(&ways(100_000), Some("the trie is deeper than an address"));
}

#[test]
fn bombs_are_refused() {
    let zeros = vec![0; 17 << 20];
    for compress in [compressed::gzip, compressed::zstd] {
        let bytes = compress(&zeros);
        check_made(&bytes, Some("unpacks to more than 16777216 bytes"));
    }
    let json = format!("{}{}", "[".repeat(60_000), "]".repeat(60_000));
    let length = u32::try_from(json.len()).unwrap().to_be_bytes();
    check_made(
        &[&length[..], json.as_bytes()].concat(),
        Some("not a database"),
    );
}
