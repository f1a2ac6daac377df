//! Meaning of the keys of a record, for all makers of files.
//!
//! | maker | layout |
//! |---|---|
//! | `MaxMind`, DB-IP | maps: `country.names.en`, `subdivisions[0].iso_code`, `location.latitude`, `traits.isp` |
//! | `MaxMind`, DB-IP: ISP and ASN | flat: `isp`, `organization`, `autonomous_system_number` |
//! | `IPinfo` | flat: `country`, `country_code`, `asn` as `AS15169`, `as_name` |
//! | ip-location-db | flat: `country_code`, `city`, `state1`, `postcode` |
//!
//! The layouts do not contradict each other, so one table of keys, [`Part::child`], serves all of
//! them without knowing the maker. The place of an address is `country`. `registered_country` is
//! the country in which its owner is registered, and is not used: an address with that key alone
//! has no country here. Of several subdivisions, the first one is the largest, and is used as the
//! province.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer;
use serde::de::{Deserialize, DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};

use super::super::Languages;
use crate::geo::record::{Field, Records};

/// Maximum cost of one record: one for each value, and one for each 16 bytes of text. The largest
/// real records have some two hundred values and four kilobytes of text.
const MAX_COST: usize = 1 << 16;

/// Maximum nesting of maps and arrays; real records have at most four levels. The crate allows 512,
/// which may overflow a thread's stack.
const MAX_DEPTH: usize = 16;

/// The texts of a record that belong to a place, in the order of the file.
#[derive(Default)]
pub(super) struct Record<'d> {
    texts: Vec<Text<'d>>,
    cost: usize,
}

struct Text<'d> {
    field: Field,
    /// Language tag, if a text has several languages.
    language: Option<&'d str>,
    content: Cow<'d, str>,
}

impl Record<'_> {
    /// Returns the cost of the whole record, including data that is not stored. Its unit is that of
    /// [`MAX_COST`].
    pub fn cost(&self) -> usize {
        self.cost
    }

    /// Returns the record's number, or `None` if it has no data.
    pub fn intern(&self, languages: &Languages, records: &mut Records) -> Option<u32> {
        let mut best: [Option<(usize, &str)>; Field::COUNT] = [None; Field::COUNT];
        for text in &self.texts {
            let rank = text.language.map_or(0, |tag| rank(tag, languages));
            let best = &mut best[text.field as usize];
            if best.is_none_or(|(found, _)| rank < found) {
                *best = Some((rank, &text.content));
            }
        }
        if self.texts.is_empty() {
            return None;
        }
        let found = Field::ALL.into_iter().zip(best);
        Some(records.intern(found.filter_map(|(field, best)| Some((field, best?.1)))))
    }
}

/// Returns the rank of a tag in `languages`, or the worst rank if it is not there. An exact match
/// comes before another variant of the same language: if `zh-CN` is wanted, `zh-CN` is better than
/// `zh`.
fn rank(tag: &str, languages: &Languages) -> usize {
    fn primary(tag: &str) -> &str {
        tag.split(['-', '_']).next().unwrap_or_default()
    }
    let position = |matches: &dyn Fn(&str) -> bool| languages.iter().position(matches);
    if let Some(position) = position(&|wanted| wanted.eq_ignore_ascii_case(tag)) {
        return 2 * position;
    }
    let same_language = position(&|wanted| primary(wanted).eq_ignore_ascii_case(primary(tag)));
    same_language.map_or(usize::MAX, |position| 2 * position + 1)
}

/// Position within a record, if its data is used.
#[derive(Clone, Copy)]
enum Part {
    Record,
    Country,
    Continent,
    City,
    Subdivisions,
    Subdivision,
    Location,
    Postal,
    Traits,
    /// A map of texts by language, or one text.
    Names(Field),
    Text(Field),
    Ignored,
}

impl Part {
    fn child(self, key: &str) -> Part {
        match (self, key) {
            (Part::Record, "country") => Part::Country,
            (Part::Record, "continent") => Part::Continent,
            (Part::Record, "city") => Part::City,
            (Part::Record, "subdivisions") => Part::Subdivisions,
            (Part::Record, "location") => Part::Location,
            (Part::Record, "postal") => Part::Postal,
            (Part::Record, "traits") => Part::Traits,
            (Part::Record, key) => flat(key).map_or(Part::Ignored, Part::Text),
            (Part::Country, "names") => Part::Names(Field::Country),
            (Part::Country, "iso_code") => Part::Text(Field::CountryCode),
            (Part::Continent, "code") => Part::Text(Field::Continent),
            (Part::City, "names") => Part::Names(Field::City),
            (Part::Subdivision, "names") => Part::Names(Field::Province),
            (Part::Subdivision, "iso_code") => Part::Text(Field::SubdivisionCode),
            (Part::Location, "latitude") => Part::Text(Field::Latitude),
            (Part::Location, "longitude") => Part::Text(Field::Longitude),
            (Part::Location, "time_zone") => Part::Text(Field::TimeZone),
            (Part::Location, "accuracy_radius") => Part::Text(Field::AccuracyRadius),
            (Part::Postal, "code") => Part::Text(Field::PostalCode),
            (Part::Traits, key) => network(key).map_or(Part::Ignored, Part::Text),
            _ => Part::Ignored,
        }
    }

    /// Returns the field of a text at this position.
    fn field(self, text: &str) -> Option<Field> {
        match self {
            Part::Names(field) | Part::Text(field) => Some(field),
            // A file with a single text there has a name, or a code if there is no other key for
            // it.
            Part::Country if is_code(text) => Some(Field::CountryCode),
            Part::Country => Some(Field::Country),
            Part::Continent if is_code(text) => Some(Field::Continent),
            Part::City => Some(Field::City),
            Part::Postal => Some(Field::PostalCode),
            _ => None,
        }
    }
}

fn is_code(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// Returns the field of a key in records without maps.
fn flat(key: &str) -> Option<Field> {
    Some(match key {
        "country_code" => Field::CountryCode,
        "country_name" => Field::Country,
        "continent_code" => Field::Continent,
        "region" | "state1" => Field::Province,
        "region_code" => Field::SubdivisionCode,
        "latitude" | "lat" => Field::Latitude,
        "longitude" | "lng" => Field::Longitude,
        "timezone" | "time_zone" => Field::TimeZone,
        "postal_code" | "postcode" => Field::PostalCode,
        _ => return network(key),
    })
}

/// Returns the field of a key that describes the network.
fn network(key: &str) -> Option<Field> {
    Some(match key {
        "isp" => Field::Isp,
        "organization" => Field::Organization,
        "autonomous_system_number" | "asn" => Field::Asn,
        "autonomous_system_organization" | "as_name" => Field::AsOrganization,
        _ => return None,
    })
}

impl<'de> Deserialize<'de> for Record<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut record = Record::default();
        let seed = Seed {
            part: Part::Record,
            language: None,
            depth: 0,
            record: &mut record,
        };
        seed.deserialize(from)?;
        Ok(record)
    }
}

/// Reads one value into the record. Unused values are visited too, because only visited values are
/// counted.
struct Seed<'r, 'd> {
    part: Part,
    language: Option<&'d str>,
    depth: usize,
    record: &'r mut Record<'d>,
}

impl<'d> Seed<'_, 'd> {
    fn spend<E: Error>(&mut self, cost: usize) -> Result<(), E> {
        self.record.cost += cost;
        if self.record.cost > MAX_COST {
            return Err(E::custom("a record is larger than any place's data is"));
        }
        Ok(())
    }

    /// Returns the depth of the values in this map or array.
    fn below<E: Error>(&self) -> Result<usize, E> {
        if self.depth == MAX_DEPTH {
            return Err(E::custom("maps and arrays that lie deep in each other"));
        }
        Ok(self.depth + 1)
    }

    fn text<E: Error>(mut self, text: Cow<'d, str>) -> Result<(), E> {
        self.spend(1 + text.len() / 16)?;
        let Some(field) = self.part.field(&text) else {
            return Ok(());
        };
        let content = match (field, text) {
            // `AS15169` is 15169.
            (Field::Asn, Cow::Borrowed(text)) => Cow::Borrowed(
                text.strip_prefix("AS")
                    .filter(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
                    .unwrap_or(text),
            ),
            (_, text) => text,
        };
        if !content.is_empty() {
            self.record.texts.push(Text {
                field,
                language: self.language,
                content,
            });
        }
        Ok(())
    }

    /// Adds a number, with the fewest digits that identify it.
    fn number<E: Error>(self, number: impl fmt::Display, is_finite: bool) -> Result<(), E> {
        if is_finite {
            self.text(Cow::Owned(number.to_string()))
        } else {
            Ok(())
        }
    }
}

impl<'d> DeserializeSeed<'d> for Seed<'_, 'd> {
    type Value = ();

    fn deserialize<D: Deserializer<'d>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'d> Visitor<'d> for Seed<'_, 'd> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of the MaxMind DB format")
    }

    fn visit_map<M: MapAccess<'d>>(mut self, mut map: M) -> Result<(), M::Error> {
        self.spend(1)?;
        let depth = self.below()?;
        while let Some(key) = map.next_key::<&'d str>()? {
            self.spend(1 + key.len() / 16)?;
            let (part, language) = match self.part {
                Part::Names(field) => (Part::Text(field), Some(key)),
                part => (part.child(key), None),
            };
            map.next_value_seed(Seed {
                part,
                language,
                depth,
                record: self.record,
            })?;
        }
        Ok(())
    }

    fn visit_seq<S: SeqAccess<'d>>(mut self, mut seq: S) -> Result<(), S::Error> {
        self.spend(1)?;
        let depth = self.below()?;
        let mut part = match self.part {
            Part::Subdivisions => Part::Subdivision,
            _ => Part::Ignored,
        };
        loop {
            let seed = Seed {
                part,
                language: None,
                depth,
                record: self.record,
            };
            if seq.next_element_seed(seed)?.is_none() {
                return Ok(());
            }
            part = Part::Ignored;
        }
    }

    fn visit_borrowed_str<E: Error>(self, text: &'d str) -> Result<(), E> {
        self.text(Cow::Borrowed(text))
    }

    fn visit_bytes<E: Error>(mut self, bytes: &[u8]) -> Result<(), E> {
        self.spend(1 + bytes.len() / 16)
    }

    fn visit_bool<E: Error>(mut self, _: bool) -> Result<(), E> {
        self.spend(1)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        self.number(number, true)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        self.number(number, true)
    }

    fn visit_u128<E: Error>(self, number: u128) -> Result<(), E> {
        self.number(number, true)
    }

    fn visit_f32<E: Error>(self, number: f32) -> Result<(), E> {
        // Turns -0 into 0.
        self.number(number + 0.0, number.is_finite())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        self.number(number + 0.0, number.is_finite())
    }
}
