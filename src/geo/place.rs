//! From what a source wrote to what we answer: codes looked up, names made uniform.
//!
//! The result is a record like the source's own, so that every later step (answers, headers, log,
//! formats) reads one shape. Records that become equal here become one place.
//!
//! Names and codes follow from names and codes alone: see `NAMING`. A source of a million records
//! has a tenth as many namings, so each is resolved once, and the rest of a record is copied.

use hashbrown::HashMap;

use super::codes::Codes;
use super::record::{Field, Records, Row};

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

/// What resolving reads or writes, and whatever else says where a place is in names and codes.
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

/// The fields that are as the source has them.
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

/// The naming of a record.
pub(super) fn naming(row: &Row) -> Naming {
    NAMING.map(|field| row[field as usize])
}

/// Resolves all records of a source.
pub(super) fn resolve(records: &Records, codes: &Codes, names: Names) -> Resolved {
    let mut places = Records::default();
    // The namings of the source, with those of their places.
    let mut known: HashMap<Naming, Naming> = HashMap::new();
    // The ids of the source's texts in the places.
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
            NAMING.map(|field| places.intern_text(place.get(field)))
        });
        let mut place = Row::default();
        for (field, id) in NAMING.into_iter().zip(resolved) {
            place[field as usize] = id;
        }
        for field in KEPT {
            let id = row[field as usize];
            let text = || places.intern_text(records.texts().get(id));
            place[field as usize] = *ids[id as usize].get_or_insert_with(text);
        }
        Some(places.intern_row(&place))
    });
    Resolved {
        place_of_record: place_of_record.collect(),
        places,
    }
}

/// One record as it compares with those of other sources.
pub(super) struct Settled<'t> {
    /// Codes and uniform names.
    pub place: [&'t str; Field::COUNT],
    /// Whether the names stand in other columns than the source has them in: Hong Kong, Macau and
    /// Taiwan under China, a label where the country belongs.
    pub moved: bool,
}

/// Resolves one record, to compare it. Whether it is moved, and what it says in names and codes, is the
/// same for all records with its [`naming`].
pub(super) fn settle<'t>(records: &'t Records, row: &Row, codes: &'t Codes) -> Settled<'t> {
    let mut place = Place::of(records, row);
    place.look_up(codes);
    place.rename(codes);
    Settled {
        moved: place.region.is_some() || place.get(Field::Country) == PRIVATE_NETWORK,
        place: place.texts,
    }
}

/// One record while it is being resolved.
struct Place<'t> {
    texts: [&'t str; Field::COUNT],
    /// Name of the province of China that the source calls a country.
    region: Option<&'t str>,
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

    fn set(&mut self, field: Field, text: &'t str) {
        self.texts[field as usize] = text;
    }

    fn set_if_empty(&mut self, field: Field, text: &'t str) {
        if self.get(field).is_empty() {
            self.set(field, text);
        }
    }

    /// Fills in the codes; the names stay.
    fn look_up(&mut self, codes: &'t Codes) {
        let country = [Field::Country, Field::CountryCode];
        self.region = country
            .into_iter()
            .find_map(|field| codes.region(self.get(field)));
        if self.region.is_some() {
            let (code, _) = codes.china().unwrap_or_default();
            self.set(Field::CountryCode, code);
        } else if let Some(country) = codes.country(self.get(Field::Country)) {
            self.set(Field::CountryCode, &country.code);
        }
        let province = self.region.unwrap_or(self.get(Field::Province));
        let Some(province) = codes.province(self.get(Field::CountryCode), province) else {
            return;
        };
        self.set_if_empty(Field::ProvinceCode, &province.code);
        if let Some(city) = codes.city(&province.code, self.get(Field::City)) {
            self.set_if_empty(Field::CityCode, &city.code);
        }
    }

    /// Writes the names as the code tables do.
    fn rename(&mut self, codes: &'t Codes) {
        if self.region.is_some() {
            let (_, name) = codes.china().unwrap_or_default();
            self.set(Field::Country, name);
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
        let Some(region) = self.region else {
            return;
        };
        let district = self.get(Field::Province);
        self.set(Field::Province, region);
        if district != region {
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
