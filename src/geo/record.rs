//! Locations as a source writes them.
//!
//! A source repeats itself: a million ranges share some ten thousand locations, and those share a
//! few thousand words. So text is interned once, a record is an array of text ids, and a range
//! holds only the number of its record.

use super::intern::{Interner, TextPool};

/// Meaning of a source's column. The order is the order of columns in our own files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// Country name, in the source's language.
    Country,
    /// First-level division: province, state, region.
    Province,
    /// City or prefecture.
    City,
    /// Organization that uses the addresses.
    Organization,
    /// Internet service provider or carrier.
    Isp,
    /// ISO 3166-1 alpha-2 code of the country.
    CountryCode,
    /// GB/T 2260 code of a province of China.
    ProvinceCode,
    /// GB/T 2260 code of a city of China.
    CityCode,
    /// Two-letter code of the continent: `AF`, `AN`, `AS`, `EU`, `NA`, `OC`, `SA`, or the source's
    /// own (`AP`).
    Continent,
    /// Latitude in decimal degrees north.
    Latitude,
    /// Longitude in decimal degrees east.
    Longitude,
    /// IANA name of the time zone.
    TimeZone,
    /// Offset from UTC, such as `UTC+8`.
    UtcOffset,
    /// GB/T 2260 code of the smallest division in the source.
    AdminCode,
    /// International calling code.
    DialCode,
    /// ISO 3166-2 code of the first-level division, without the country: `CA`, `ENG`.
    SubdivisionCode,
    /// Postal code.
    PostalCode,
    /// Radius around the coordinates within which the true position lies, in kilometres.
    AccuracyRadius,
    /// Number of the autonomous system that announces the addresses, in decimal, without `AS`.
    Asn,
    /// Organization that runs that autonomous system.
    AsOrganization,
}

impl Field {
    /// Every field, in the order of the discriminants.
    pub const ALL: [Field; 20] = [
        Field::Country,
        Field::Province,
        Field::City,
        Field::Organization,
        Field::Isp,
        Field::CountryCode,
        Field::ProvinceCode,
        Field::CityCode,
        Field::Continent,
        Field::Latitude,
        Field::Longitude,
        Field::TimeZone,
        Field::UtcOffset,
        Field::AdminCode,
        Field::DialCode,
        Field::SubdivisionCode,
        Field::PostalCode,
        Field::AccuracyRadius,
        Field::Asn,
        Field::AsOrganization,
    ];

    /// Number of fields.
    pub const COUNT: usize = Self::ALL.len();

    /// Returns the name used in CSV headers, in packs and in `format=object`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Field::Country => "country",
            Field::Province => "province",
            Field::City => "city",
            Field::Organization => "organization",
            Field::Isp => "isp",
            Field::CountryCode => "country_code",
            Field::ProvinceCode => "province_code",
            Field::CityCode => "city_code",
            Field::Continent => "continent",
            Field::Latitude => "latitude",
            Field::Longitude => "longitude",
            Field::TimeZone => "time_zone",
            Field::UtcOffset => "utc_offset",
            Field::AdminCode => "admin_code",
            Field::DialCode => "dial_code",
            Field::SubdivisionCode => "subdivision_code",
            Field::PostalCode => "postal_code",
            Field::AccuracyRadius => "accuracy_radius",
            Field::Asn => "asn",
            Field::AsOrganization => "as_organization",
        }
    }

    /// Returns the field with this [`Field::name`].
    #[must_use]
    pub fn from_name(name: &str) -> Option<Field> {
        Self::ALL.into_iter().find(|field| field.name() == name)
    }
}

/// Text of a field that is empty on purpose, so that it hides lower layers. Everywhere but in the
/// merge of layers it is read as an empty text.
pub const BLANK: &str = "-";

/// A record's text ids, indexed by [`Field`]. Id 0 is the empty text.
pub type Row = [u32; Field::COUNT];

/// The distinct records of a source.
#[derive(Debug, Clone)]
pub struct Records {
    texts: TextPool,
    rows: Interner<Row>,
}

impl Default for Records {
    fn default() -> Self {
        let mut texts = TextPool::default();
        texts.intern("");
        Records {
            texts,
            rows: Interner::default(),
        }
    }
}

impl Records {
    /// Returns the number of the record with these fields, which is added if it is new; other
    /// fields are empty.
    pub fn intern<'t>(&mut self, fields: impl IntoIterator<Item = (Field, &'t str)>) -> u32 {
        let mut row = [0; Field::COUNT];
        for (field, text) in fields {
            row[field as usize] = self.texts.intern(text);
        }
        self.rows.intern(&row)
    }

    /// Returns the id of a text, for rows that are built from ids.
    pub(super) fn intern_text(&mut self, text: &str) -> u32 {
        self.texts.intern(text)
    }

    /// Returns the number of the record with these text ids, which [`Records::intern_text`]
    /// returned.
    pub(super) fn intern_row(&mut self, row: &Row) -> u32 {
        self.rows.intern(row)
    }

    /// Returns the number of distinct records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.values().len()
    }

    /// Returns `true` if there are no records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns one field of one record; empty if the source had no value.
    ///
    /// # Panics
    /// If `record` was not returned by [`Records::intern`].
    #[must_use]
    pub fn text(&self, record: u32, field: Field) -> &str {
        let id = self.rows.values()[record as usize][field as usize];
        self.texts.get(id)
    }

    /// Returns all distinct texts, by their ids.
    #[must_use]
    pub fn texts(&self) -> &TextPool {
        &self.texts
    }

    /// Returns all records, in the order of their numbers.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        self.rows.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_records_are_one_record() {
        let mut records = Records::default();
        let a = records.intern([(Field::Country, "中国"), (Field::City, "上海")]);
        let b = records.intern([(Field::City, "上海"), (Field::Country, "中国")]);
        let c = records.intern([(Field::Country, "中国")]);
        assert_eq!(a, b);
        assert_ne!(a, c);
        assert_eq!(records.len(), 2);
        assert_eq!(records.text(c, Field::City), "");
        assert_eq!(records.text(a, Field::City), "上海");
    }

    #[test]
    fn field_names_lead_back_to_their_fields() {
        for (index, field) in Field::ALL.into_iter().enumerate() {
            assert_eq!(Field::from_name(field.name()), Some(field));
            assert_eq!(field as usize, index);
        }
        assert_eq!(Field::from_name("planet"), None);
    }
}
