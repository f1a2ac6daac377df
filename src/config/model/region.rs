//! A country or region: converts its name in a configuration to field values of a database.

use crate::geo::{Codes, Field, Place};

/// Provinces of China: letters of ISO 3166-2, and codes of GB/T 2260, which the databases have.
const CHINA: [(&str, &str); 34] = [
    ("BJ", "110000"),
    ("TJ", "120000"),
    ("HE", "130000"),
    ("SX", "140000"),
    ("NM", "150000"),
    ("LN", "210000"),
    ("JL", "220000"),
    ("HL", "230000"),
    ("SH", "310000"),
    ("JS", "320000"),
    ("ZJ", "330000"),
    ("AH", "340000"),
    ("FJ", "350000"),
    ("JX", "360000"),
    ("SD", "370000"),
    ("HA", "410000"),
    ("HB", "420000"),
    ("HN", "430000"),
    ("GD", "440000"),
    ("GX", "450000"),
    ("HI", "460000"),
    ("CQ", "500000"),
    ("SC", "510000"),
    ("GZ", "520000"),
    ("YN", "530000"),
    ("XZ", "540000"),
    ("SN", "610000"),
    ("GS", "620000"),
    ("QH", "630000"),
    ("NX", "640000"),
    ("XJ", "650000"),
    ("TW", "710000"),
    ("HK", "810000"),
    ("MO", "820000"),
];

/// A country or region: alternatives of field values, one of which a place in it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region(Vec<Facts>);

/// Field values, all of which a place must have.
pub type Facts = Vec<(Field, String)>;

impl Region {
    /// Returns a country by its ISO 3166-1 code or any spelling of its name. Hong Kong, Macau and
    /// Taiwan match by their own country code and by their province code, because some databases
    /// list them as provinces of China: a source without codes has 中国, 香港. A name that is not in
    /// the tables must match the database's country name exactly. `None` for a two-letter code that
    /// does not exist.
    #[must_use]
    pub fn country(text: &str, codes: &Codes) -> Option<Self> {
        let code = text.to_ascii_uppercase();
        let fact = |field, text: &str| vec![(field, text.to_owned())];
        if let Some(region) = codes.region(text) {
            let province = codes
                .china()
                .and_then(|(china, _)| codes.province(china, &region.name));
            let province = province.map(|province| fact(Field::ProvinceCode, &province.code));
            let code = fact(Field::CountryCode, &region.code);
            return Some(Region([code].into_iter().chain(province).collect()));
        }
        let facts = if codes.country_name(&code).is_some() {
            fact(Field::CountryCode, &code)
        } else if let Some(country) = codes.country(text) {
            fact(Field::CountryCode, &country.code)
        } else if text.len() == 2 {
            return None;
        } else {
            fact(Field::Country, text)
        };
        Some(Region(vec![facts]))
    }

    /// Returns a region by its GB/T 2260 code, its ISO 3166-2 code with the country (`US-CA`), or
    /// its name: any spelling of a province of China, otherwise the exact name in the database.
    #[must_use]
    pub fn subdivision(text: &str, codes: &Codes) -> Self {
        let is_number = text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_digit());
        let province = codes
            .china()
            .and_then(|(china, _)| codes.province(china, text));
        Region(vec![if is_number {
            vec![(Field::ProvinceCode, text.to_owned())]
        } else if let Some(province) = province {
            vec![(Field::ProvinceCode, province.code.clone())]
        } else if let Some(code) = text.strip_prefix("CN-").and_then(number_of) {
            vec![(Field::ProvinceCode, code.to_owned())]
        } else if let Some((country, region)) = subdivision(text) {
            vec![
                (Field::CountryCode, country.to_owned()),
                (Field::SubdivisionCode, region.to_owned()),
            ]
        } else {
            vec![(Field::Province, text.to_owned())]
        }])
    }

    /// Returns the alternatives, each with at least one field value.
    #[must_use]
    pub fn ways(&self) -> &[Facts] {
        &self.0
    }

    /// Returns `true` if the place is in the region.
    #[must_use]
    pub fn contains(&self, place: &Place) -> bool {
        let says = |(field, text): &(Field, String)| place.text(*field) == text.as_str();
        self.0.iter().any(|facts| facts.iter().all(says))
    }
}

/// Returns the GB/T 2260 code of a province of China for its letters in ISO 3166-2.
fn number_of(letters: &str) -> Option<&'static str> {
    let known = CHINA.iter().find(|(known, _)| *known == letters);
    known.map(|(_, number)| *number)
}

/// Splits an ISO 3166-2 code into country and subdivision.
fn subdivision(text: &str) -> Option<(&str, &str)> {
    let (country, region) = text.split_once('-')?;
    let is_code = |text: &str, lengths: std::ops::RangeInclusive<usize>| {
        let known = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
        lengths.contains(&text.len()) && text.bytes().all(known)
    };
    (is_code(country, 2..=2) && is_code(region, 1..=3)).then_some((country, region))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn country(text: &str) -> Option<Region> {
        Region::country(text, &Codes::built_in())
    }

    #[track_caller]
    fn check(found: Option<Region>, expected: &[(Field, &str)]) {
        let expected = expected
            .iter()
            .map(|(field, text)| (*field, (*text).to_owned()));
        assert_eq!(found.map(|found| found.0), Some(vec![expected.collect()]));
    }

    #[test]
    fn a_country_has_a_code_and_names() {
        for spelling in ["JP", "jp", "日本"] {
            check(country(spelling), &[(Field::CountryCode, "JP")]);
        }
        check(country("局域网"), &[(Field::Country, "局域网")]);
        assert_eq!(country("XX"), None);
    }

    #[test]
    fn hong_kong_is_found_where_databases_have_it() {
        let ways = [
            vec![(Field::CountryCode, "HK".to_owned())],
            vec![(Field::ProvinceCode, "810000".to_owned())],
        ];
        for spelling in ["HK", "hk", "香港", "Hong Kong"] {
            assert_eq!(country(spelling).unwrap().ways(), ways);
        }
        check(country("CN"), &[(Field::CountryCode, "CN")]);
    }

    #[test]
    fn a_region_has_codes_and_names() {
        let region = |text| Some(Region::subdivision(text, &Codes::built_in()));
        for spelling in ["福建", "福建省", "350000", "CN-FJ"] {
            check(region(spelling), &[(Field::ProvinceCode, "350000")]);
        }
        let california = [(Field::CountryCode, "US"), (Field::SubdivisionCode, "CA")];
        check(region("US-CA"), &california);
        check(region("加利福尼亚"), &[(Field::Province, "加利福尼亚")]);
    }

    #[test]
    fn every_province_of_china_has_its_letters() {
        let codes = Codes::built_in();
        for (letters, number) in CHINA {
            let named = Region::subdivision(&format!("CN-{letters}"), &codes);
            let facts = vec![(Field::ProvinceCode, number.to_owned())];
            assert_eq!(named.ways(), [facts]);
        }
        // Three that are easily confused.
        for (letters, name) in [("HE", "河北"), ("HA", "河南"), ("SN", "陕西")] {
            let named = Region::subdivision(&format!("CN-{letters}"), &codes);
            assert_eq!(named, Region::subdivision(name, &codes));
        }
    }
}
