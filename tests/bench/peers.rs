//! What else one would look an address up with, each built from the database's own ranges.

use std::net::{IpAddr, Ipv4Addr};

use geogate::geo::{Database, Field, Place, format};
use geogate::tree::Range;
use ipnet::Ipv4Subnets;
use mmdb_writer::{IpVersion, Value, Writer};
use serde::Deserialize;
use treebitmap::IpLookupTable;

/// No geogate database has a value this large.
const NOBODY: u32 = u32::MAX;

/// A sorted list of where a value starts; the simplest thing that can work.
pub struct BinarySearch(Vec<(u32, u32)>);

impl BinarySearch {
    pub fn new(ranges: &[Range<u32>]) -> Self {
        let mut starts = Vec::with_capacity(ranges.len());
        let mut next = Some(0);
        for range in ranges {
            if next != Some(range.first) {
                starts.extend(next.map(|gap| (gap, NOBODY)));
            }
            starts.push((range.first, range.value));
            next = range.last.checked_add(1);
        }
        starts.extend(next.map(|gap| (gap, NOBODY)));
        BinarySearch(starts)
    }

    pub fn lookup(&self, address: u32) -> Option<u32> {
        let after = self.0.partition_point(|&(start, _)| start <= address);
        let (_, value) = self.0[after - 1];
        (value != NOBODY).then_some(value)
    }

    pub fn memory(&self) -> usize {
        size_of_val(&*self.0)
    }
}

/// Longest prefix match, for which every range is cut into prefixes.
pub struct TreeBitmap(IpLookupTable<Ipv4Addr, u32>);

impl TreeBitmap {
    pub fn new(ranges: &[Range<u32>]) -> Self {
        let mut table = IpLookupTable::new();
        for range in ranges {
            for prefix in Ipv4Subnets::new(range.first.into(), range.last.into(), 0) {
                table.insert(
                    prefix.network(),
                    u32::from(prefix.prefix_len()),
                    range.value,
                );
            }
        }
        TreeBitmap(table)
    }

    pub fn lookup(&self, address: u32) -> Option<u32> {
        let found = self.0.longest_match(address.into());
        found.map(|(_, _, value)| *value)
    }

    pub fn memory(&self) -> usize {
        let (nodes, results) = self.0.mem_usage();
        nodes + results
    }
}

/// A `MaxMind` file in memory, IPv4 alone: the shape in which its reader takes the fewest steps.
pub struct MaxMind {
    reader: maxminddb::Reader<Vec<u8>>,
    size: usize,
}

/// What a `MaxMind` record is decoded to: the texts stay in the file, nothing is copied.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct Location<'m> {
    country: &'m str,
    province: &'m str,
    city: &'m str,
    isp: &'m str,
}

impl<'d> From<Place<'d>> for Location<'d> {
    fn from(place: Place<'d>) -> Self {
        Location {
            country: place.text(Field::Country),
            province: place.text(Field::Province),
            city: place.text(Field::City),
            isp: place.text(Field::Isp),
        }
    }
}

impl Location<'_> {
    /// Something that cannot be known without all four.
    pub fn length(&self) -> usize {
        self.country.len() + self.province.len() + self.city.len() + self.isp.len()
    }
}

impl MaxMind {
    pub fn new(database: &Database) -> Self {
        let mut writer = Writer::builder("geogate-bench")
            .ip_version(IpVersion::V4)
            .build();
        for range in database.v4_ranges() {
            let location = Location::from(database.place(range.value));
            let value = Value::map([
                ("country", location.country),
                ("province", location.province),
                ("city", location.city),
                ("isp", location.isp),
            ]);
            let (first, last) = (Ipv4Addr::from(range.first), Ipv4Addr::from(range.last));
            writer
                .insert_range(first.into(), last.into(), &value)
                .expect("the range is in order");
        }
        let bytes = writer.to_bytes().expect("the tree fits its records");
        let size = bytes.len();
        let reader = maxminddb::Reader::from_source(bytes).expect("what was just written");
        MaxMind { reader, size }
    }

    /// The place of the record in the file, which is left undecoded.
    pub fn find(&self, address: u32) -> Option<usize> {
        let found = self.reader.lookup(IpAddr::V4(address.into()));
        found.expect("the file is whole").offset()
    }

    pub fn lookup(&self, address: u32) -> Option<Location<'_>> {
        let found = self.reader.lookup(IpAddr::V4(address.into()));
        let found = found.expect("the file is whole").decode();
        found.expect("the record has the four fields")
    }

    pub fn memory(&self) -> usize {
        self.size
    }
}

/// An ip2region file in memory. Its reader gives the text of a place and leaves it in one piece.
pub struct Ip2Region(Vec<u8>);

impl Ip2Region {
    pub fn new(database: &Database) -> Self {
        let texts: Vec<String> = (0..database.places().len())
            .map(|number| Self::text(database.place(number as u32)))
            .collect();
        let ranges: Vec<Range<u32>> = database.v4_ranges().collect();
        let segments: Vec<(IpAddr, IpAddr, &str)> = ranges
            .iter()
            .map(|range| {
                let ends = [range.first, range.last].map(|end| IpAddr::V4(end.into()));
                (ends[0], ends[1], &*texts[range.value as usize])
            })
            .collect();
        Ip2Region(format::xdb::write(2, 0, &segments))
    }

    /// A place as such a file has it.
    pub fn text(place: Place) -> String {
        let parts = [Field::Country, Field::Province, Field::City, Field::Isp];
        let [country, province, city, isp] = parts.map(|field| place.text(field));
        format!("{country}|0|{province}|{city}|{isp}")
    }

    /// The text, or an empty one.
    pub fn lookup(&self, address: u32) -> &str {
        let found = xdb_parse::search_by_uint(address, &self.0);
        found.expect("the file is whole")
    }

    pub fn memory(&self) -> usize {
        self.0.len()
    }
}
