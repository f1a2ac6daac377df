//! Coverage of a database: its share of the address space, and of each country.

use super::countries::Countries;
use super::span::{Family, size};
use super::wide;
use crate::geo::Database;
use crate::tree::Range;

/// Coverage of one family.
#[derive(Debug, Clone, PartialEq)]
pub struct Coverage {
    /// Address family.
    pub family: Family,
    /// Number of maximal runs of addresses that share a place.
    pub ranges: u64,
    /// Number of addresses that have a place.
    pub addresses: u128,
    /// Coverage by country, the largest first.
    pub countries: Vec<Country>,
}

/// Coverage of one country.
#[derive(Debug, Clone, PartialEq)]
pub struct Country {
    /// ISO 3166-1 alpha-2; empty if there is no code.
    pub code: String,
    /// Name as in the database; empty if it has none.
    pub name: String,
    /// Number of runs of addresses.
    pub ranges: u64,
    /// Number of addresses.
    pub addresses: u128,
}

/// Returns the coverage of IPv4 and of IPv6.
#[must_use]
pub fn coverage(database: &Database) -> [Coverage; 2] {
    let mut countries = Countries::default();
    let of_place = countries.of(database.places());
    let names = countries.names();
    [
        count(Family::V4, database.v4_ranges(), &of_place, names),
        count(Family::V6, database.v6_ranges(), &of_place, names),
    ]
}

fn count<A: Copy + Into<u128>>(
    family: Family,
    ranges: impl Iterator<Item = Range<A>>,
    country_of_place: &[u32],
    names: &[(String, String)],
) -> Coverage {
    let countries = names.iter().map(|(code, name)| Country {
        code: code.clone(),
        name: name.clone(),
        ranges: 0,
        addresses: 0,
    });
    let mut coverage = Coverage {
        family,
        ranges: 0,
        addresses: 0,
        countries: countries.collect(),
    };
    for range in ranges {
        let (first, last, place) = wide(range);
        let size = size(first, last);
        coverage.ranges += 1;
        coverage.addresses = coverage.addresses.saturating_add(size);
        let country = country_of_place[place as usize];
        let country = &mut coverage.countries[country as usize];
        country.ranges += 1;
        country.addresses = country.addresses.saturating_add(size);
    }
    coverage.countries.retain(|country| country.ranges > 0);
    coverage
        .countries
        .sort_by(|a, b| b.addresses.cmp(&a.addresses).then(a.code.cmp(&b.code)));
    coverage
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geo::format::csv;
    use crate::geo::{Codes, Names};

    #[test]
    fn countries_are_counted_under_all_their_spellings() {
        let text = "start,end,country,isp\n1.0.0.0,1.0.0.255,美国,a\n1.0.1.0,1.0.1.255,United States,b\n\
                    9.0.0.0,9.0.0.9,局域网,\n2001::,2001::1,日本,\n";
        let table = csv::read(text.as_bytes()).unwrap();
        let database = Database::build(table, &Codes::built_in(), Names::Canonical).unwrap();
        let [v4, v6] = coverage(&database);
        let shown: Vec<_> = v4
            .countries
            .iter()
            .map(|c| (c.code.as_str(), c.name.as_str(), c.ranges, c.addresses))
            .collect();
        assert_eq!(shown, [("US", "美国", 2, 512), ("", "局域网", 1, 10)]);
        assert_eq!((v4.ranges, v4.addresses), (3, 522));
        assert_eq!((v6.ranges, v6.addresses), (1, 2));
        assert_eq!(v6.countries[0].code, "JP");
    }
}
