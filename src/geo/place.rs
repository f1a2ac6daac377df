//! Resolution of a source's text: codes are looked up and names made uniform.
//!
//! The result is a record like the source's own, so that all later steps (answers, headers, log,
//! formats) read the same structure. Records that become equal here become one place.
//!
//! Names and codes depend only on names and codes, see `NAMING`. A source of a million records has
//! a tenth as many distinct namings, so each naming is resolved once, and the other fields of a
//! record are copied.

use hashbrown::HashMap;

use super::codes::{CHINA, Codes, Entry};
use super::record::{BLANK, Field, Records, Row};

/// Label of ip2region for a private network. It stands in the city, and mostly in the provider too.
/// Other sources put such a label in the country.
const PRIVATE_NETWORK: &str = "内网IP";

/// Form of a place's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Names of China's provinces and cities as in the code tables, whatever the source has.
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

/// Fields that the resolution reads or writes, and the other names and codes of a place.
const NAMING: [Field; 8] = [
    Field::Country,
    Field::Province,
    Field::City,
    Field::Isp,
    Field::CountryCode,
    Field::ProvinceCode,
    Field::CityCode,
    Field::SubdivisionCode,
];

/// Fields that are copied from the source.
const KEPT: [Field; Field::COUNT - NAMING.len()] = [
    Field::Organization,
    Field::Continent,
    Field::Latitude,
    Field::Longitude,
    Field::TimeZone,
    Field::UtcOffset,
    Field::AdminCode,
    Field::DialCode,
    Field::PostalCode,
    Field::AccuracyRadius,
    Field::Asn,
    Field::AsOrganization,
];

/// Text ids of a record, in the order of [`NAMING`].
pub(super) type Naming = [u32; NAMING.len()];

/// Returns the naming of a record.
pub(super) fn naming(row: &Row) -> Naming {
    NAMING.map(|field| row[field as usize])
}

/// Resolves all records of a source.
pub(super) fn resolve(records: &Records, codes: &Codes, names: Names) -> Resolved {
    let mut places = Records::default();
    // Namings of the source, with those of their places.
    let mut known: HashMap<Naming, Naming> = HashMap::new();
    // Ids of the source's texts in the places.
    let mut ids: Vec<Option<u32>> = vec![None; records.texts().len()];
    let place_of_record = records.rows().iter().map(|row| {
        if *row == Row::default() {
            return None;
        }
        let resolved = *known.entry(naming(row)).or_insert_with(|| {
            let mut place = Place::of(records, row);
            place.look_up(codes);
            if names == Names::Canonical {
                place.rename(codes);
            }
            NAMING.map(|field| places.intern_text(shown(place.get(field))))
        });
        let mut place = Row::default();
        for (field, id) in NAMING.into_iter().zip(resolved) {
            place[field as usize] = id;
        }
        for field in KEPT {
            let id = row[field as usize];
            let text = || places.intern_text(shown(records.texts().get(id)));
            place[field as usize] = *ids[id as usize].get_or_insert_with(text);
        }
        (place != Row::default()).then(|| places.intern_row(&place))
    });
    Resolved {
        place_of_record: place_of_record.collect(),
        places,
    }
}

/// Returns a text as it appears in answers.
fn shown(text: &str) -> &str {
    if text == BLANK { "" } else { text }
}

/// One record in the form in which it is compared with records of other sources.
pub(super) struct Settled<'t> {
    /// Codes and uniform names.
    pub place: [&'t str; Field::COUNT],
    /// True if `place` is used in a merge and not the record's own texts. This is so if Hong Kong,
    /// Macau or Taiwan are moved under China, if a label stands for the country, or if a province
    /// of China gives the missing country.
    pub moved: bool,
    /// The record with the province of China in which its city is, if the record names no province.
    pub elsewhere: Option<[&'t str; Field::COUNT]>,
}

/// Resolves one record for comparison. Apart from the copied fields, the result is the same for all
/// records with its [`naming`].
pub(super) fn settle<'t>(records: &'t Records, row: &Row, codes: &'t Codes) -> Settled<'t> {
    let mut place = Place::of(records, row);
    place.look_up(codes);
    place.rename(codes);
    let has_no_country = place.is_empty(Field::Country) && place.is_empty(Field::CountryCode);
    let province = codes.province(CHINA, place.get(Field::Province));
    // Lower layers may have either code for Hong Kong, Macau and Taiwan.
    let names_province = province.is_some_and(|province| codes.region(&province.name).is_none());
    if has_no_country && names_province {
        place.set(Field::CountryCode, CHINA);
        place.look_up(codes);
        place.rename(codes);
    }
    let is_label = place.get(Field::Country) == PRIVATE_NETWORK;
    Settled {
        moved: place.region.is_some() || is_label || has_no_country && names_province,
        elsewhere: elsewhere(&place, codes),
        place: place.texts,
    }
}

/// Returns a place with the province of its city, if it names no province and no other country than
/// China.
fn elsewhere<'t>(place: &Place<'t>, codes: &'t Codes) -> Option<[&'t str; Field::COUNT]> {
    let fields = [Field::Province, Field::ProvinceCode, Field::SubdivisionCode];
    let says_province = fields.iter().any(|&field| !place.is_empty(field));
    let country = [Field::Country, Field::CountryCode].map(|field| place.get(field));
    let may_be_china = country == ["", ""] || country[1] == CHINA;
    if says_province || !may_be_china || place.is_empty(Field::City) {
        return None;
    }
    let province = codes.province_of_city(place.get(Field::City))?;
    let mut place = Place {
        texts: place.texts,
        region: None,
    };
    place.set(Field::CountryCode, CHINA);
    place.set(Field::ProvinceCode, province);
    place.look_up(codes);
    place.rename(codes);
    Some(place.texts)
}

/// One record during its resolution.
struct Place<'t> {
    texts: [&'t str; Field::COUNT],
    /// The province of China that the source names as a country, with its code as a country.
    region: Option<&'t Entry>,
}

impl<'t> Place<'t> {
    fn of(records: &'t Records, row: &Row) -> Self {
        Place {
            texts: row.map(|id| records.texts().get(id)),
            region: None,
        }
    }

    fn get(&self, field: Field) -> &'t str {
        self.texts[field as usize]
    }

    fn is_empty(&self, field: Field) -> bool {
        self.get(field).is_empty()
    }

    fn set(&mut self, field: Field, text: &'t str) {
        self.texts[field as usize] = text;
    }

    fn set_if_empty(&mut self, field: Field, text: &'t str) {
        if self.is_empty(field) {
            self.set(field, text);
        }
    }

    /// Fills in the codes; the names stay.
    fn look_up(&mut self, codes: &'t Codes) {
        self.country_code(codes);
        if !self.is_in_china() {
            return;
        }
        self.province_code(codes);
        let province = self
            .region
            .map_or(self.get(Field::Province), |region| &region.name);
        if let Some(province) = codes.province(CHINA, province) {
            self.set_if_empty(Field::ProvinceCode, &province.code);
        }
        let province = self.get(Field::ProvinceCode);
        if let Some(city) = codes.city(province, self.get(Field::City)) {
            self.set_if_empty(Field::CityCode, &city.code);
        }
    }

    /// Sets the country code. The source's own code is used first; without it, the code of the
    /// country's name; without both, the code of China if the source has a code of a province or
    /// city of China.
    fn country_code(&mut self, codes: &'t Codes) {
        let text = self.get(Field::CountryCode);
        if text == BLANK {
            return;
        }
        let name = self.get(Field::Country);
        let own = codes.country_code(text);
        let by_code = own.and_then(|code| codes.region(code));
        self.region = by_code.or_else(|| {
            // 香港 may be labelled as part of China; in any other country it is an ordinary name.
            own.is_none_or(|code| code == CHINA)
                .then(|| codes.region(name))?
        });
        let code = match (own, self.region) {
            (Some(own), _) if by_code.is_some() => codes.region_code(own),
            (Some(own), _) => own,
            (None, region) => {
                let by_name = codes.country(name).map(|country| country.code.as_str());
                let by_name = by_name.or(region.map(|region| region.code.as_str()));
                match region {
                    Some(_) => by_name.map_or("", |code| codes.region_code(code)),
                    None if name.is_empty() && self.has_code_of_china(codes) => CHINA,
                    None => by_name.unwrap_or_default(),
                }
            }
        };
        self.set(Field::CountryCode, code);
    }

    /// Derives the province's code from the city's code.
    fn province_code(&mut self, codes: &'t Codes) {
        if !self.is_empty(Field::Province) {
            return;
        }
        let city = codes.division(self.get(Field::CityCode));
        let province = city.map(|city| match &city.province {
            Some(province) => province.as_str(),
            None => self.get(Field::CityCode),
        });
        if let Some(province) = province {
            self.set_if_empty(Field::ProvinceCode, province);
        }
    }

    fn has_code_of_china(&self, codes: &Codes) -> bool {
        let divisions = [Field::ProvinceCode, Field::CityCode];
        divisions
            .iter()
            .any(|&code| codes.division(self.get(code)).is_some())
    }

    /// Returns `true` if the place is in China, so that the tables of its provinces and cities
    /// apply.
    fn is_in_china(&self) -> bool {
        self.region.is_some() || self.get(Field::CountryCode) == CHINA
    }

    /// Replaces the names by those of the code tables.
    fn rename(&mut self, codes: &'t Codes) {
        if self.region.is_some() {
            let (_, name) = codes.china().unwrap_or_default();
            self.set(Field::Country, name);
            self.province_from_region(codes);
        } else if self.is_empty(Field::Country) {
            self.name_country(codes);
        }
        if !self.is_in_china() {
            return;
        }
        match codes.province(CHINA, self.get(Field::Province)) {
            Some(province) => {
                let city = codes.city(&province.code, self.get(Field::City));
                self.set(Field::Province, &province.name);
                if let Some(city) = city {
                    self.set(Field::City, &city.name);
                }
            }
            None => self.name_by_code(codes, Field::Province, Field::ProvinceCode),
        }
        self.name_by_code(codes, Field::City, Field::CityCode);
    }

    /// Fills in a missing name from its code.
    fn name_by_code(&mut self, codes: &'t Codes, name: Field, code: Field) {
        if let Some(division) = codes.division(self.get(code)) {
            self.set_if_empty(name, &division.name);
        }
    }

    /// Changes `香港, 九龙, ""` to `中国, 香港, 九龙`.
    fn province_from_region(&mut self, codes: &'t Codes) {
        let Some(region) = self.region else {
            return;
        };
        let district = self.get(Field::Province);
        self.set(Field::Province, &region.name);
        let province = codes.province(CHINA, district);
        // `Hong Kong, Hong Kong, ""` names no district.
        if province.is_none_or(|province| province.name != region.name) {
            self.set_if_empty(Field::City, district);
        }
    }

    fn name_country(&mut self, codes: &'t Codes) {
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
    use crate::geo::Regions;

    /// Country, province, city, organization, isp and the given country code.
    fn place(source: [&str; 6], names: Names) -> [String; 8] {
        answered(source, names, Regions::Iso)
    }

    fn answered(source: [&str; 6], names: Names, regions: Regions) -> [String; 8] {
        let fields = [
            Field::Country,
            Field::Province,
            Field::City,
            Field::Organization,
            Field::Isp,
            Field::CountryCode,
        ];
        let codes = Codes::built_in().answering(regions);
        of_fields(fields.into_iter().zip(source), names, &codes)
    }

    fn of_fields<'t>(
        fields: impl IntoIterator<Item = (Field, &'t str)>,
        names: Names,
        codes: &Codes,
    ) -> [String; 8] {
        let mut records = Records::default();
        let record = records.intern(fields);
        let resolved = resolve(&records, codes, names);
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
    fn hong_kong_macau_and_taiwan_stand_under_china_with_their_own_codes() {
        let hong_kong = ["中国", "HK", "香港", "810000", "", "", "", ""];
        check(["", "", "", "", "", "HK"], hong_kong);
        check(["", "", "", "", "", "hk"], hong_kong);
        check(["香港", "", "", "", "", ""], hong_kong);
        check(["Hong Kong", "香港", "", "", "", "HK"], hong_kong);
        check(["Hong Kong", "Hong Kong", "", "", "", ""], hong_kong);
        check(
            ["台湾", "台北", "", "", "", ""],
            ["中国", "TW", "台湾", "710000", "台北", "", "", ""],
        );
        check(
            ["Taiwan", "Taiwan", "Taipei", "", "", "TW"],
            ["中国", "TW", "台湾", "710000", "Taipei", "", "", ""],
        );
        check(
            ["澳门", "", "澳门", "", "", "MO"],
            ["中国", "MO", "澳门", "820000", "澳门", "820000", "", ""],
        );
    }

    #[test]
    fn a_source_that_says_china_of_them_is_believed() {
        let hong_kong = ["中国", "CN", "香港", "810000", "", "", "", ""];
        check(["中国", "香港", "", "", "", ""], hong_kong);
        check(["中国", "香港", "", "", "", "CN"], hong_kong);
        check(["香港", "", "", "", "", "CN"], hong_kong);
    }

    #[test]
    fn they_have_the_code_of_china_if_that_is_asked_for() {
        let hong_kong = ["中国", "CN", "香港", "810000", "", "", "", ""];
        for source in [
            ["", "", "", "", "", "HK"],
            ["香港", "", "", "", "", ""],
            ["中国", "香港", "", "", "", ""],
            ["Hong Kong", "香港", "", "", "", "HK"],
        ] {
            let found = answered(source, Names::Canonical, Regions::China);
            assert_eq!(found, hong_kong, "{source:?}");
        }
        let raw = answered(["", "", "", "", "", "TW"], Names::Raw, Regions::China);
        assert_eq!(raw, ["", "CN", "", "710000", "", "", "", ""]);
        let japan = answered(
            ["日本", "", "", "", "", ""],
            Names::Canonical,
            Regions::China,
        );
        assert_eq!(japan[1], "JP");
    }

    #[test]
    fn a_name_never_overwrites_a_code() {
        for (name, code) in [
            ("美国", "PR"),
            ("日本", "XX"),
            ("香港", "US"),
            ("中国", "JP"),
        ] {
            let found = place([name, "", "", "", "", code], Names::Canonical);
            assert_eq!(found, [name, code, "", "", "", "", "", ""]);
        }
        // Texts that some sources write for a missing code.
        for none in ["", "-", "*", "USA"] {
            let found = place(["波多黎各", "", "", "", "", none], Names::Canonical);
            let code = if none == "-" { "" } else { "PR" };
            assert_eq!(found[1], code, "{none:?}");
        }
    }

    #[test]
    fn a_code_alone_brings_all_that_it_says() {
        let of = |field, code, names| of_fields([(field, code)], names, &Codes::built_in());
        let (province, city) = (Field::ProvinceCode, Field::CityCode);
        for (field, code, expected) in [
            (
                city,
                "320500",
                ["中国", "CN", "江苏", "320000", "苏州", "320500", "", ""],
            ),
            (
                city,
                "110000",
                ["中国", "CN", "北京", "110000", "北京", "110000", "", ""],
            ),
            (
                province,
                "320000",
                ["中国", "CN", "江苏", "320000", "", "", "", ""],
            ),
            (province, "990000", ["", "", "", "990000", "", "", "", ""]),
        ] {
            assert_eq!(of(field, code, Names::Canonical), expected);
        }
        let raw = of(city, "320500", Names::Raw);
        assert_eq!(raw, ["", "CN", "", "320000", "", "320500", "", ""]);
        let fields = [(Field::Country, "日本"), (city, "320500")];
        let japan = of_fields(fields, Names::Canonical, &Codes::built_in());
        assert_eq!(japan, ["日本", "JP", "", "", "", "320500", "", ""]);
    }

    #[test]
    fn english_names_of_chinas_cities_have_codes() {
        check(
            ["China", "Jiangsu", "Suzhou", "", "", "CN"],
            ["China", "CN", "江苏", "320000", "苏州", "320500", "", ""],
        );
        check(
            ["China", "Anhui", "Suzhou", "", "", "CN"],
            ["China", "CN", "安徽", "340000", "宿州", "341300", "", ""],
        );
        check(
            ["China", "", "Suzhou", "", "", "CN"],
            ["China", "CN", "", "", "Suzhou", "", "", ""],
        );
    }

    #[test]
    fn what_is_blanked_is_empty() {
        check(
            ["中国", "江苏", "-", "-", "电信", ""],
            ["中国", "CN", "江苏", "320000", "", "", "", "电信"],
        );
        check(
            ["中国", "-", "", "", "", "-"],
            ["中国", "", "", "", "", "", "", ""],
        );
        let mut records = Records::default();
        records.intern([(Field::City, "-"), (Field::Isp, "-")]);
        let resolved = resolve(&records, &Codes::built_in(), Names::Canonical);
        assert_eq!(resolved.place_of_record, [None]);
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

    #[test]
    fn every_field_is_named_or_kept() {
        let mut fields: Vec<usize> = NAMING.iter().chain(&KEPT).map(|&f| f as usize).collect();
        fields.sort_unstable();
        assert!(fields.into_iter().eq(0..Field::COUNT));
    }

    #[test]
    fn records_that_share_their_names_keep_the_rest() {
        let mut records = Records::default();
        for (isp, latitude) in [("x", "1"), ("x", "2"), ("y", "2")] {
            records.intern([
                (Field::Country, "中国"),
                (Field::City, "福州市"),
                (Field::Province, "福建"),
                (Field::Isp, isp),
                (Field::Latitude, latitude),
            ]);
        }
        let Resolved { places, .. } = resolve(&records, &Codes::built_in(), Names::Canonical);
        let shown = (0..3).map(|place| {
            [Field::City, Field::CityCode, Field::Isp, Field::Latitude]
                .map(|field| places.text(place, field))
        });
        let expected = [
            ["福州", "350100", "x", "1"],
            ["福州", "350100", "x", "2"],
            ["福州", "350100", "y", "2"],
        ];
        assert!(shown.eq(expected));
    }
}
