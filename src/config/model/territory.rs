//! A country or a region, as a configuration names it and a database knows it.

use crate::geo::{Codes, Field, Place};

/// A part of the world: what the fields of every place in it say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Territory(Vec<(Field, String)>);

impl Territory {
    /// A country by its ISO 3166-1 code or any spelling of its name. Hong Kong, Macau and Taiwan,
    /// which databases here have as regions of China, are found by theirs. A name that is in no
    /// table must be the database's own; `None` for a code that is nobody's.
    #[must_use]
    pub fn country(text: &str, codes: &Codes) -> Option<Self> {
        let code = text.to_ascii_uppercase();
        let region = codes.region(text).and_then(|name| {
            let (china, _) = codes.china()?;
            codes.province(china, name)
        });
        Some(Territory(if let Some(region) = region {
            vec![(Field::ProvinceCode, region.code.clone())]
        } else if codes.country_name(&code).is_some() {
            vec![(Field::CountryCode, code)]
        } else if let Some(country) = codes.country(text) {
            vec![(Field::CountryCode, country.code.clone())]
        } else if text.len() == 2 {
            return None;
        } else {
            vec![(Field::Country, text.to_owned())]
        }))
    }

    /// A region by its GB/T 2260 code, its ISO 3166-2 code with the country (`US-CA`), or its name:
    /// in any spelling if it is China's, otherwise as the database writes it.
    #[must_use]
    pub fn region(text: &str, codes: &Codes) -> Self {
        let is_number = text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_digit());
        let province = codes
            .china()
            .and_then(|(china, _)| codes.province(china, text));
        Territory(if is_number {
            vec![(Field::ProvinceCode, text.to_owned())]
        } else if let Some(province) = province {
            vec![(Field::ProvinceCode, province.code.clone())]
        } else if let Some((country, region)) = subdivision(text) {
            vec![
                (Field::CountryCode, country.to_owned()),
                (Field::SubdivisionCode, region.to_owned()),
            ]
        } else {
            vec![(Field::Province, text.to_owned())]
        })
    }

    /// Whether a place is in it.
    #[must_use]
    pub fn contains(&self, place: &Place) -> bool {
        self.0
            .iter()
            .all(|(field, text)| place.text(*field) == text.as_str())
    }
}

/// The country and the subdivision of an ISO 3166-2 code.
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

    fn country(text: &str) -> Option<Vec<(Field, String)>> {
        Territory::country(text, &Codes::built_in()).map(|territory| territory.0)
    }

    #[track_caller]
    fn check(found: Option<Vec<(Field, String)>>, expected: &[(Field, &str)]) {
        let expected = expected
            .iter()
            .map(|(field, text)| (*field, (*text).to_owned()));
        assert_eq!(found, Some(expected.collect()));
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
        for spelling in ["HK", "香港"] {
            check(country(spelling), &[(Field::ProvinceCode, "810000")]);
        }
    }

    #[test]
    fn a_region_has_codes_and_names() {
        let region = |text| Some(Territory::region(text, &Codes::built_in()).0);
        for spelling in ["福建", "福建省", "350000"] {
            check(region(spelling), &[(Field::ProvinceCode, "350000")]);
        }
        let california = [(Field::CountryCode, "US"), (Field::SubdivisionCode, "CA")];
        check(region("US-CA"), &california);
        check(region("加利福尼亚"), &[(Field::Province, "加利福尼亚")]);
    }
}
