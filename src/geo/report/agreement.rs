//! Agreement of several sources, so that an operator can choose among them.
//!
//! No source is always right. But where independent sources agree, they are likely right, and a
//! source that disagrees with all others on a country is doubtful there.

use super::areas;
use super::countries::Countries;
use super::span::{Family, size};
use crate::geo::Database;
use crate::geo::admin_area::{AdminArea, AdminAreas, Level};
use crate::geo::record::Field;
use crate::tree::{Address, Range, overlay};

/// The country within which provinces and cities are compared: its names have codes.
const CHINA: &str = "CN";

/// Agreement of two databases on one family.
#[derive(Debug, Clone, PartialEq)]
pub struct Agreement {
    /// Address family.
    pub family: Family,
    /// Indexes of the two in the given list.
    pub pair: [usize; 2],
    /// Agreement on the country, where both have one.
    pub country: Share,
    /// Agreement on the province, where both have China and a province.
    pub province: Share,
    /// Agreement on the city, where both have China and a city.
    pub city: Share,
    /// Agreement on the country, by the country of the first database; the largest first.
    pub countries: Vec<OnCountry>,
}

/// Compared addresses, and those on which both agree. Names in different scripts, of which one has
/// no code, are not compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Share {
    /// Addresses for which both have data.
    pub compared: u128,
    /// Addresses for which both have the same.
    pub same: u128,
}

/// Agreement of two databases on the addresses of one country.
#[derive(Debug, Clone, PartialEq)]
pub struct OnCountry {
    /// ISO 3166-1 alpha-2; empty if there is no code.
    pub code: String,
    /// Name as in the first of the two.
    pub name: String,
    /// Compared and agreeing addresses.
    pub share: Share,
}

impl Share {
    /// Returns the agreeing part, from 0 to 1; `None` if no addresses were compared.
    #[must_use]
    pub fn part(&self) -> Option<f64> {
        (self.compared > 0).then(|| self.same as f64 / self.compared as f64)
    }

    fn add(&mut self, same: bool, size: u128) {
        self.compared = self.compared.saturating_add(size);
        if same {
            self.same = self.same.saturating_add(size);
        }
    }
}

/// Returns the agreement of each pair of databases: first on IPv4, then on IPv6. Names must have
/// been made uniform in all of them; otherwise different forms of a name count as disagreement.
#[must_use]
pub fn agreement(databases: &[Database]) -> Vec<Agreement> {
    let mut numbers = AdminAreas::default();
    let mut countries = Countries::default();
    let sides: Vec<_> = databases
        .iter()
        .map(|database| Side::new(database, &mut numbers, &mut countries))
        .collect();
    let mut agreements = Vec::new();
    for family in Family::ALL {
        for one in 0..sides.len() {
            for other in one + 1..sides.len() {
                let pair = (&sides[one], &sides[other]);
                let (a, b) = (pair.0.database, pair.1.database);
                let mut agreement = match family {
                    Family::V4 => compare(pair, &countries, a.v4_ranges(), b.v4_ranges()),
                    Family::V6 => compare(pair, &countries, a.v6_ranges(), b.v6_ranges()),
                };
                agreement.family = family;
                agreement.pair = [one, other];
                agreements.push(agreement);
            }
        }
    }
    agreements
}

struct Side<'d> {
    database: &'d Database,
    areas: Vec<AdminArea>,
    countries: Vec<u32>,
    in_china: Vec<bool>,
}

impl<'d> Side<'d> {
    fn new(database: &'d Database, numbers: &mut AdminAreas, countries: &mut Countries) -> Self {
        let places = database.places();
        Side {
            database,
            areas: areas(database, numbers),
            countries: countries.of(places),
            in_china: (0..places.len() as u32)
                .map(|place| places.text(place, Field::CountryCode) == CHINA)
                .collect(),
        }
    }
}

fn compare<A: Address + Into<u128>>(
    (one, other): (&Side, &Side),
    countries: &Countries,
    first: impl Iterator<Item = Range<A>>,
    second: impl Iterator<Item = Range<A>>,
) -> Agreement {
    let mut agreement = Agreement {
        family: Family::V4,
        pair: [0, 0],
        country: Share::default(),
        province: Share::default(),
        city: Share::default(),
        countries: Vec::new(),
    };
    let mut by_country = vec![Share::default(); countries.names().len()];
    for piece in overlay(first, second) {
        let (Some(a), Some(b)) = (piece.upper, piece.lower) else {
            continue;
        };
        let (a, b) = (a as usize, b as usize);
        let (area, other_seat) = (&one.areas[a], &other.areas[b]);
        let size = size(piece.first.into(), piece.last.into());
        if let Some(same) = area.agrees(other_seat, Level::Country) {
            agreement.country.add(same, size);
            by_country[one.countries[a] as usize].add(same, size);
        }
        if one.in_china[a] && other.in_china[b] {
            if let Some(same) = area.agrees(other_seat, Level::Province) {
                agreement.province.add(same, size);
            }
            if let Some(same) = area.agrees(other_seat, Level::City) {
                agreement.city.add(same, size);
            }
        }
    }
    let on_country = |(share, (code, name)): (Share, &(String, String))| OnCountry {
        code: code.clone(),
        name: name.clone(),
        share,
    };
    let all = by_country
        .into_iter()
        .zip(countries.names())
        .map(on_country);
    agreement.countries = all.filter(|on| on.share.compared > 0).collect();
    agreement.countries.sort_by(|a, b| {
        b.share
            .compared
            .cmp(&a.share.compared)
            .then(a.code.cmp(&b.code))
    });
    agreement
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geo::format::csv;
    use crate::geo::{Codes, Names};

    fn database(rows: &str) -> Database {
        let text = format!("start,end,country,province,city\n{rows}");
        let table = csv::read(text.as_bytes()).unwrap();
        Database::build(table, &Codes::built_in(), Names::Canonical).unwrap()
    }

    fn share(compared: u128, same: u128) -> Share {
        Share { compared, same }
    }

    #[test]
    fn only_what_both_say_is_compared() {
        let databases = [
            database(
                "1.0.0.0,1.0.0.99,中国,福建,福州\n2.0.0.0,2.0.0.99,美国,Ohio,\n::,::9,日本,,\n",
            ),
            database(
                "1.0.0.0,1.0.0.39,中国,福建省,福州市\n1.0.0.40,1.0.0.69,中国,福建,厦门\n1.0.0.70,1.0.0.79,中国,广东,\n\
                 1.0.0.80,1.0.0.89,日本,,\n2.0.0.0,2.0.0.99,United States,Iowa,\n",
            ),
        ];
        let [v4, v6] = &agreement(&databases)[..] else {
            panic!("one pair, two families")
        };
        assert_eq!((v4.family, v6.family), (Family::V4, Family::V6));
        assert_eq!(v4.country, share(190, 180));
        assert_eq!(v4.province, share(80, 70));
        assert_eq!(v4.city, share(70, 40));
        assert_eq!(v6.country.part(), None);
        let on: Vec<_> = v4
            .countries
            .iter()
            .map(|on| (on.code.as_str(), on.share))
            .collect();
        assert_eq!(on, [("US", share(100, 100)), ("CN", share(90, 80))]);
    }

    #[test]
    fn country_codes_are_compared_as_they_are_answered() {
        let taiwan = ["1.0.0.0,1.0.0.9,台湾,,\n", "1.0.0.0,1.0.0.9,中国,台湾,\n"];
        let [v4, _] = &agreement(&taiwan.map(database))[..] else {
            panic!("one pair, two families")
        };
        assert_eq!((v4.country, v4.province), (share(10, 0), share(0, 0)));
        let on = &v4.countries[0];
        assert_eq!((on.code.as_str(), on.name.as_str()), ("TW", "中国 台湾"));
    }

    #[test]
    fn every_pair_is_compared_once() {
        let databases = ["1.0.0.0,1.0.0.9,中国,,\n"; 3].map(database);
        let pairs: Vec<_> = agreement(&databases).iter().map(|a| a.pair).collect();
        assert_eq!(pairs, [[0, 1], [0, 2], [1, 2], [0, 1], [0, 2], [1, 2]]);
    }
}
