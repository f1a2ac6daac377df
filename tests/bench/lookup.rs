//! Lookups a second: the tree, the database around it, the whole answer, and the peers beside them.
//!
//! `cargo bench --bench lookup` runs all, `cargo bench --bench lookup -- ranges/` one group:
//!
//! - `uniform`: random IPv4 addresses, of the whole space;
//! - `ranges`: random IPv4 ranges, and an address in each: no range is asked more often than another;
//! - `ipv6`: the same for IPv6, where the peers are left out;
//! - `size`: trees of ten thousand to five million random ranges, to see what more data costs;
//! - `load`: from the bytes in the binary to a database.
//!
//! What one group times is asked the same addresses, of the embedded database. Before anything is
//! timed all must agree, so nothing here is fast because it is wrong. One thread asks, without a pause
//! between two lookups, so the processor overlaps them: this is what a busy core does, and not how
//! long a single answer takes.

mod addresses;
mod peers;

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use geogate::geo::{Codes, Database, EMBEDDED, Names, format};
use geogate::query::{self, Request};
use geogate::tree::{Address, Range, RangeTree};

use peers::{BinarySearch, Ip2Region, Location, MaxMind, TreeBitmap};

/// How many addresses of each kind are checked before the timing.
const CHECKED: usize = 100_000;

/// Range counts of the group `size`.
const SIZES: [usize; 7] = [
    10_000, 30_000, 100_000, 300_000, 1_000_000, 2_000_000, 5_000_000,
];

fn main() {
    // A sample is a million lookups or more, so ten of them are enough: what is left of noise comes from
    // the rest of the machine, and more samples would not take it away.
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    let all = Contenders::new(load());
    let uniform = addresses::uniform();
    let ranges = addresses::over_v4(&all.database.v4_ranges().collect::<Vec<_>>());
    all.check(&uniform);
    all.check(&ranges);
    all.measure(&mut criterion, "uniform", &uniform);
    all.measure(&mut criterion, "ranges", &ranges);
    ipv6(&mut criterion, &all.database);
    drop(all);
    size(&mut criterion, &uniform);
    criterion
        .benchmark_group("load")
        .bench_function("embedded", |b| b.iter(load));
    criterion.final_summary();
}

fn load() -> Database {
    let table =
        format::read(EMBEDDED, &format::Languages::default()).expect("the embedded pack is whole");
    Database::build(table, &Codes::built_in(), Names::Canonical).expect("its ranges are in order")
}

/// All that can look up an IPv4 address.
struct Contenders {
    database: Database,
    tree: RangeTree<u32>,
    max_mind: MaxMind,
    ip2region: Ip2Region,
    tree_bitmap: TreeBitmap,
    binary_search: BinarySearch,
}

impl Contenders {
    fn new(database: Database) -> Self {
        let ranges: Vec<Range<u32>> = database.v4_ranges().collect();
        let contenders = Contenders {
            tree: tree(&ranges),
            max_mind: MaxMind::new(&database),
            ip2region: Ip2Region::new(&database),
            tree_bitmap: TreeBitmap::new(&ranges),
            binary_search: BinarySearch::new(&ranges),
            database,
        };
        eprintln!("{} IPv4 ranges", ranges.len());
        print_memory("tree", contenders.tree.memory());
        print_memory("maxminddb", contenders.max_mind.memory());
        print_memory("xdb-parse", contenders.ip2region.memory());
        print_memory("treebitmap", contenders.tree_bitmap.memory());
        print_memory("binary search", contenders.binary_search.memory());
        contenders
    }

    /// Panics at the first address that two have different answers for.
    fn check(&self, addresses: &[u32]) {
        for &address in addresses.iter().take(CHECKED) {
            let ip = Ipv4Addr::from(address);
            let number = self.database.find(ip.into());
            let place = number.map(|number| self.database.place(number));
            assert_eq!(self.tree.lookup(address), number, "tree: {ip}");
            assert_eq!(self.tree_bitmap.lookup(address), number, "treebitmap: {ip}");
            let found = self.binary_search.lookup(address);
            assert_eq!(found, number, "binary search: {ip}");
            let found = self.max_mind.find(address);
            assert_eq!(found.is_some(), place.is_some(), "maxminddb: {ip}");
            let text = place.map_or(String::new(), Ip2Region::text);
            assert_eq!(self.ip2region.lookup(address), text, "xdb-parse: {ip}");
            let location = place.map(Location::from);
            assert_eq!(self.max_mind.lookup(address), location, "maxminddb: {ip}");
            let answer = query::answer(&request(&query(address)), &self.database);
            let expected = number.map(|number| self.database.answer(number));
            assert_eq!(answer.status == 200, expected.is_some(), "answer: {ip}");
            assert!(
                expected.is_none_or(|body| body == &*answer.body),
                "answer: {ip}"
            );
        }
    }

    fn measure(&self, criterion: &mut Criterion, name: &str, addresses: &[u32]) {
        let group = &mut criterion.benchmark_group(name);
        let database = &self.database;
        measure(group, "tree", addresses, |&address| {
            self.tree.lookup(address).unwrap_or(0)
        });
        measure(group, "database", addresses, |&address| {
            number(database, Ipv4Addr::from(address).into())
        });
        measure_answers(group, addresses, database);
        measure(group, "maxminddb, decoded", addresses, |&address| {
            let location = self.max_mind.lookup(address);
            location.map_or(0, |location| location.length() as u32)
        });
        measure(group, "maxminddb, not decoded", addresses, |&address| {
            self.max_mind.find(address).unwrap_or(0) as u32
        });
        measure(group, "xdb-parse", addresses, |&address| {
            self.ip2region.lookup(address).len() as u32
        });
        measure(group, "treebitmap", addresses, |&address| {
            self.tree_bitmap.lookup(address).unwrap_or(0)
        });
        measure(group, "binary search", addresses, |&address| {
            self.binary_search.lookup(address).unwrap_or(0)
        });
    }
}

/// Times `lookup` over all addresses. The results are summed up, so none can be left out.
fn measure<A>(
    group: &mut BenchmarkGroup<WallTime>,
    name: &str,
    addresses: &[A],
    lookup: impl Fn(&A) -> u32,
) {
    group.throughput(Throughput::Elements(addresses.len() as u64));
    group.bench_function(name, |b| {
        b.iter(|| {
            let results = black_box(addresses).iter().map(&lookup);
            results.fold(0, u32::wrapping_add)
        });
    });
}

/// Times the query API from the text of a query to the bytes of its answer, which are copied, as
/// they are when they are sent.
fn measure_answers(group: &mut BenchmarkGroup<WallTime>, addresses: &[u32], database: &Database) {
    let queries: Vec<String> = addresses.iter().map(|&address| query(address)).collect();
    let mut sent = Vec::new();
    group.throughput(Throughput::Elements(queries.len() as u64));
    group.bench_function("answer", |b| {
        b.iter(|| {
            for query in &queries {
                let answer = query::answer(&request(query), database);
                sent.clear();
                sent.extend_from_slice(&answer.body);
                black_box(&sent);
            }
        });
    });
}

fn query(address: u32) -> String {
    format!("ip={}", Ipv4Addr::from(address))
}

fn request(query: &str) -> Request<'_> {
    Request {
        method: "GET",
        query: query.as_bytes(),
        body: b"",
    }
}

fn number(database: &Database, address: IpAddr) -> u32 {
    database.find(address).unwrap_or_default()
}

fn ipv6(criterion: &mut Criterion, database: &Database) {
    let ranges: Vec<Range<u128>> = database.v6_ranges().collect();
    let tree = tree(&ranges);
    eprintln!("{} IPv6 ranges", ranges.len());
    print_memory("tree", tree.memory());
    let addresses = addresses::over_v6(&ranges);
    for &address in addresses.iter().take(CHECKED) {
        let number = database.find(IpAddr::V6(address.into()));
        assert_eq!(tree.lookup(address), number, "{address:x}");
    }
    let group = &mut criterion.benchmark_group("ipv6");
    measure(group, "tree", &addresses, |&address| {
        tree.lookup(address).unwrap_or(0)
    });
    measure(group, "database", &addresses, |&address| {
        number(database, IpAddr::V6(address.into()))
    });
}

/// How the cost grows with the number of ranges; `chart_sizes` draws it.
fn size(criterion: &mut Criterion, addresses: &[u32]) {
    for count in SIZES {
        let tree = addresses::random_tree(count);
        let binary_search = BinarySearch::new(&tree.ranges().collect::<Vec<_>>());
        print_memory(&format!("tree of {count} ranges"), tree.memory());
        let group = &mut criterion.benchmark_group(format!("size {count}"));
        measure(group, "tree", addresses, |&address| {
            tree.lookup(address).unwrap_or(0)
        });
        measure(group, "binary search", addresses, |&address| {
            binary_search.lookup(address).unwrap_or(0)
        });
    }
}

fn tree<A: Address>(ranges: &[Range<A>]) -> RangeTree<A> {
    RangeTree::from_ranges(ranges.iter().copied()).expect("the ranges are in order")
}

/// criterion only knows time, so memory goes to standard error.
fn print_memory(name: &str, bytes: usize) {
    eprintln!("{name}: {:.1} MiB", bytes as f64 / f64::from(1 << 20));
}
