//! The JSON header, checked against the file.

use serde_json::{Map, Value};

use super::super::reader::Reader;
use super::super::{FormatError, Languages, unix_date};
use crate::geo::record::Field;

/// Maximum length of the JSON in bytes; real files have some hundreds.
const LENGTH_LIMIT: usize = 1 << 16;

/// Exclusive limit of a language's offset. It is a number of fields, and a text of 64 KiB has no
/// more fields.
const LANGUAGE_LIMIT: u64 = 1 << 16;

/// The checked JSON.
pub(super) struct Meta {
    /// Offset of the first node.
    pub body: usize,
    pub node_count: u32,
    pub has_v4: bool,
    pub has_v6: bool,
    /// Meaning of each column, `None` for unused ones.
    pub fields: Vec<Option<Field>>,
    /// Languages, each with the number of its first column.
    languages: Vec<(String, usize)>,
    /// Build time in seconds since 1970.
    build: u64,
}

/// Returns the unchecked JSON.
pub(super) fn json(file: &Reader) -> Result<Map<String, Value>, FormatError> {
    let length = file.u32_be(0)? as usize;
    if length > LENGTH_LIMIT {
        return Err(file.corrupt(0, format!("{length} bytes of JSON are refused")));
    }
    serde_json::from_slice(file.slice(4, length)?)
        .map_err(|error| file.corrupt(4, format!("JSON: {error}")))
}

impl Meta {
    pub(super) fn read(file: &Reader) -> Result<Self, FormatError> {
        let json = json(file)?;
        let corrupt = |reason: String| file.corrupt(4, reason);
        let integer = |key: &str| {
            let value = json.get(key).and_then(Value::as_u64);
            value.ok_or_else(|| corrupt(format!("{key} is not a number")))
        };
        let body = 4 + file.u32_be(0)? as usize;
        let total = integer("total_size")?;
        if total != (file.len() - body) as u64 {
            let size = file.len() - body;
            return Err(corrupt(format!("total_size is {total}, not {size}")));
        }
        let node_count = integer("node_count")?;
        if node_count == 0 || node_count > total / 8 {
            return Err(corrupt(format!("{node_count} nodes in {total} bytes")));
        }
        let families = integer("ip_version")?;
        let meta = Meta {
            body,
            node_count: u32::try_from(node_count)
                .map_err(|_| corrupt(format!("{node_count} nodes")))?,
            has_v4: families & 1 != 0,
            has_v6: families & 2 != 0,
            fields: fields(&json).map_err(corrupt)?,
            languages: languages(&json).map_err(corrupt)?,
            build: json.get("build").and_then(Value::as_u64).unwrap_or(0),
        };
        if !meta.has_v4 && !meta.has_v6 {
            return Err(corrupt(format!("ip_version {families} is no family")));
        }
        Ok(meta)
    }

    /// Returns the first column of the best language.
    pub(super) fn language(&self, wanted: &Languages) -> usize {
        let exactly = |tag: &str| {
            self.languages
                .iter()
                .find(|l| l.0.eq_ignore_ascii_case(tag))
        };
        let of_part = |tag: &str| tag.split(['-', '_']).find_map(exactly);
        let best = wanted
            .iter()
            .find_map(|tag| exactly(tag).or_else(|| of_part(tag)));
        let first = || self.languages.iter().min_by_key(|language| language.1);
        best.or_else(first).map_or(0, |language| language.1)
    }

    /// Returns the build date of the file as `YYYY-MM-DD`; empty if the file has none.
    pub(super) fn date(&self) -> String {
        unix_date(self.build)
    }
}

fn fields(json: &Map<String, Value>) -> Result<Vec<Option<Field>>, String> {
    let names = json.get("fields").and_then(Value::as_array);
    let names = names.ok_or("fields is not a list")?;
    let mut fields: Vec<Option<Field>> = Vec::new();
    for name in names {
        let name = name.as_str().ok_or("a field's name is not a text")?;
        let field = field(name);
        if field.is_some() && fields.contains(&field) {
            return Err(format!("field {name:?} stands twice"));
        }
        fields.push(field);
    }
    if fields.iter().all(Option::is_none) {
        return Err("not one of the fields is known".to_owned());
    }
    Ok(fields)
}

/// Returns the meaning of the vendor's field names. The names that are not listed have no field in
/// our records: kinds of networks (`idc`, `base_station`, `anycast`, `usage_type`, `line`),
/// currencies, and JSON within a field (`district_info`, `asn_info`).
fn field(name: &str) -> Option<Field> {
    Some(match name {
        "country_name" => Field::Country,
        "region_name" => Field::Province,
        "city_name" => Field::City,
        "owner_domain" => Field::Organization,
        "isp_domain" => Field::Isp,
        "latitude" => Field::Latitude,
        "longitude" => Field::Longitude,
        "timezone" => Field::TimeZone,
        "utc_offset" => Field::UtcOffset,
        "china_admin_code" => Field::AdminCode,
        "idd_code" => Field::DialCode,
        "country_code" => Field::CountryCode,
        "continent_code" => Field::Continent,
        "asn" => Field::Asn,
        _ => return None,
    })
}

fn languages(json: &Map<String, Value>) -> Result<Vec<(String, usize)>, String> {
    let object = json.get("languages").and_then(Value::as_object);
    let object = object.ok_or("languages is not an object")?;
    let offset = |value: &Value| value.as_u64().filter(|&offset| offset < LANGUAGE_LIMIT);
    let languages = object.iter().map(|(name, value)| {
        let offset = offset(value).ok_or_else(|| format!("language {name:?} starts at {value}"))?;
        Ok((name.clone(), offset as usize))
    });
    let languages = languages.collect::<Result<Vec<_>, String>>()?;
    if languages.is_empty() {
        return Err("not one language".to_owned());
    }
    Ok(languages)
}
