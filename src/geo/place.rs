//! From what a source wrote to what we answer: codes looked up, names made uniform.
//!
//! The result is a record like the source's own, so that every later step (answers, headers, log,
//! formats) reads one shape. Records that become equal here become one place.

use super::codes::Codes;
use super::record::{Field, Records};

/// What ip2region writes as the city, and mostly as the provider too, of a network that is none of
/// the internet's. It is a label, which other sources put where the country stands.
const PRIVATE_NETWORK: &str = "内网IP";

/// How a place's names are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// China's provinces and cities as the code tables write them, whatever the source's habit.
    Canonical,
    /// The source's own text.
    Raw,
}

/// Places and, for each record of the source, the number of its place.
pub(super) struct Resolved {
    pub places: Records,
    /// `None` for a record without any text: its addresses are unknown.
    pub place_of_record: Vec<Option<u32>>,
}

/// Resolves all records of a source.
pub(super) fn resolve(records: &Records, codes: &Codes, names: Names) -> Resolved {
    let mut places = Records::default();
    let numbers = 0..u32::try_from(records.len()).expect("records are numbered by u32");
    let place_of_record = numbers.map(|record| {
        let mut place = Place::of(records, record);
        if place.is_empty() {
            return None;
        }
        place.look_up(codes);
        if names == Names::Canonical {
            place.rename(codes);
        }
        Some(places.intern(place.fields()))
    });
    Resolved {
        place_of_record: place_of_record.collect(),
        places,
    }
}

/// One record as it compares with those of other sources.
pub(super) struct Settled {
    /// Codes and uniform names.
    pub place: [String; Field::COUNT],
    /// Whether the names stand in other columns than the source has them in: Hong Kong, Macau and
    /// Taiwan under China, a label where the country belongs.
    pub moved: bool,
}

/// Resolves one record, to compare it.
pub(super) fn settle(records: &Records, record: u32, codes: &Codes) -> Settled {
    let mut place = Place::of(records, record);
    place.look_up(codes);
    place.rename(codes);
    Settled {
        moved: place.region.is_some() || place.get(Field::Country) == PRIVATE_NETWORK,
        place: place.texts,
    }
}

/// One record while it is being resolved.
struct Place {
    texts: [String; Field::COUNT],
    /// Name of the province of China that the source calls a country.
    region: Option<String>,
}

impl Place {
    fn of(records: &Records, record: u32) -> Self {
        Place {
            texts: Field::ALL.map(|field| records.text(record, field).to_owned()),
            region: None,
        }
    }

    fn get(&self, field: Field) -> &str {
        &self.texts[field as usize]
    }

    fn set(&mut self, field: Field, text: &str) {
        text.clone_into(&mut self.texts[field as usize]);
    }

    fn set_if_empty(&mut self, field: Field, text: &str) {
        if self.get(field).is_empty() {
            self.set(field, text);
        }
    }

    fn is_empty(&self) -> bool {
        self.texts.iter().all(String::is_empty)
    }

    fn fields(&self) -> impl Iterator<Item = (Field, &str)> {
        Field::ALL
            .into_iter()
            .zip(self.texts.iter().map(String::as_str))
    }

    /// Fills in the codes; the names stay.
    fn look_up(&mut self, codes: &Codes) {
        let country = [Field::Country, Field::CountryCode];
        let region = country
            .into_iter()
            .find_map(|field| codes.region(self.get(field)));
        self.region = region.map(str::to_owned);
        if self.region.is_some() {
            let china = codes.china().map(|china| china.code).unwrap_or_default();
            self.set(Field::CountryCode, &china);
        } else if let Some(country) = codes.country(self.get(Field::Country)) {
            self.set(Field::CountryCode, &country.code);
        }
        let province = self.region.as_deref().unwrap_or(self.get(Field::Province));
        let Some(province) = codes.province(self.get(Field::CountryCode), province) else {
            return;
        };
        self.set_if_empty(Field::ProvinceCode, &province.code);
        if let Some(city) = codes.city(&province.code, self.get(Field::City)) {
            self.set_if_empty(Field::CityCode, &city.code);
        }
    }

    /// Writes the names as the code tables do.
    fn rename(&mut self, codes: &Codes) {
        if self.region.is_some() {
            let china = codes.china().map(|china| china.name).unwrap_or_default();
            self.set(Field::Country, &china);
            self.province_from_region();
        } else if self.get(Field::Country).is_empty() {
            self.name_country(codes);
        }
        let country = self.get(Field::CountryCode);
        let Some(province) = codes.province(country, self.get(Field::Province)) else {
            return;
        };
        let city = codes.city(&province.code, self.get(Field::City));
        self.set(Field::Province, &province.name);
        if let Some(city) = city {
            self.set(Field::City, &city.name);
        }
    }

    /// `香港, 九龙, ""` is `中国, 香港, 九龙`.
    fn province_from_region(&mut self) {
        let Some(region) = self.region.clone() else {
            return;
        };
        let district = std::mem::replace(&mut self.texts[Field::Province as usize], region);
        if district != self.get(Field::Province) {
            self.set_if_empty(Field::City, &district);
        }
    }

    fn name_country(&mut self, codes: &Codes) {
        if let Some(name) = codes.country_name(self.get(Field::CountryCode)) {
            self.set(Field::Country, name);
        } else if self.get(Field::City) == PRIVATE_NETWORK {
            self.set(Field::Country, PRIVATE_NETWORK);
            self.set(Field::City, "");
            if self.get(Field::Isp) == PRIVATE_NETWORK {
                self.set(Field::Isp, "");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Country, province, city, organization, isp and the given country code.
    fn place(source: [&str; 6], names: Names) -> [String; 8] {
        let mut records = Records::default();
        let fields = [
            Field::Country,
            Field::Province,
            Field::City,
            Field::Organization,
            Field::Isp,
            Field::CountryCode,
        ];
        let record = records.intern(fields.into_iter().zip(source));
        let resolved = resolve(&records, &Codes::built_in(), names);
        let place = resolved.place_of_record[record as usize].unwrap();
        super::super::answer::FIELDS.map(|field| resolved.places.text(place, field).to_owned())
    }

    #[track_caller]
    fn check(source: [&str; 6], expected: [&str; 8]) {
        assert_eq!(place(source, Names::Canonical), expected);
    }

    #[test]
    fn codes_are_found_for_every_way_of_writing() {
        let expected = ["中国", "CN", "福建", "350000", "福州", "350100", "", "电信"];
        check(["中国", "福建省", "福州市", "", "电信", ""], expected);
        check(["中国", "福建", "福州", "", "电信", ""], expected);
        check(
            ["中国", "北京", "北京市", "", "", ""],
            ["中国", "CN", "北京", "110000", "北京", "110000", "", ""],
        );
    }

    #[test]
    fn raw_names_keep_the_source_and_have_the_codes() {
        let raw = place(["中国", "福建省", "福州市", "", "电信", ""], Names::Raw);
        assert_eq!(
            raw,
            [
                "中国",
                "CN",
                "福建省",
                "350000",
                "福州市",
                "350100",
                "",
                "电信"
            ]
        );
    }

    #[test]
    fn a_code_alone_gives_the_name() {
        check(
            ["", "", "", "", "", "JP"],
            ["日本", "JP", "", "", "", "", "", ""],
        );
    }

    #[test]
    fn hong_kong_macau_and_taiwan_stand_under_china() {
        let hong_kong = ["中国", "CN", "香港", "810000", "", "", "", ""];
        check(["", "", "", "", "", "HK"], hong_kong);
        check(["香港", "", "", "", "", ""], hong_kong);
        check(["中国", "香港", "", "", "", ""], hong_kong);
        check(["Hong Kong", "香港", "", "", "", "HK"], hong_kong);
        check(
            ["台湾", "台北", "", "", "", ""],
            ["中国", "CN", "台湾", "710000", "台北", "", "", ""],
        );
    }

    #[test]
    fn codes_of_china_are_for_china_only() {
        check(
            ["美国", "北京", "福州", "", "", ""],
            ["美国", "US", "北京", "", "福州", "", "", ""],
        );
        check(
            ["中国", "福建", "广州", "", "", ""],
            ["中国", "CN", "福建", "350000", "广州", "", "", ""],
        );
    }

    #[test]
    fn pseudo_countries_have_no_code() {
        check(
            ["局域网", "局域网", "", "", "", ""],
            ["局域网", "", "局域网", "", "", "", "", ""],
        );
        check(
            ["", "", "内网IP", "", "内网IP", ""],
            ["内网IP", "", "", "", "", "", "", ""],
        );
        check(
            ["", "", "内网IP", "", "Hurricane-Electric", ""],
            ["内网IP", "", "", "", "", "", "", "Hurricane-Electric"],
        );
    }

    #[test]
    fn a_record_without_text_is_no_place() {
        let mut records = Records::default();
        records.intern([]);
        let resolved = resolve(&records, &Codes::built_in(), Names::Canonical);
        assert_eq!(resolved.place_of_record, [None]);
    }
}
