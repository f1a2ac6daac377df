//! The text of a segment: one line in five parts, with `0` for an empty one.
//!
//! Files of version 2 have `country|area|province|city|isp`, files of version 3
//! `country|province|city|isp|ISO 3166 code`. Some files combine them differently, and a reader
//! that relied on the version would then silently write cities into provinces. So the texts decide:
//! see [`Layout::of`].

use std::collections::HashMap;

use super::FormatError;
use crate::geo::format::reader::Reader;
use crate::geo::record::{Field, Records};

/// Distinct texts of a file, by offset and length.
#[derive(Default)]
pub(super) struct Lines {
    places: Vec<(u32, u16)>,
    numbers: HashMap<(u32, u16), u32>,
    /// Bytes of all of them.
    size: usize,
}

impl Lines {
    /// Returns the number of the text at this offset and of this length.
    pub fn number(&mut self, place: (u32, u16)) -> u32 {
        *self.numbers.entry(place).or_insert_with(|| {
            self.places.push(place);
            self.size += usize::from(place.1);
            u32::try_from(self.places.len() - 1).expect("fewer texts than the file has bytes")
        })
    }

    /// Returns the record of each text, in the order of their numbers. Overlapping texts could be
    /// much larger than the file, so their total is limited to its size.
    pub fn records(
        &self,
        file: &Reader,
        version: u16,
        records: &mut Records,
    ) -> Result<Vec<u32>, FormatError> {
        if self.size > file.len() {
            let reason = format!("texts of {} bytes in a file of {}", self.size, file.len());
            return Err(file.corrupt(0, reason));
        }
        let parts = |&(offset, length)| parts(file, offset as usize, usize::from(length));
        let all = || self.places.iter().map(parts);
        let layout = Layout::of(all().filter_map(Result::ok), version);
        all()
            .map(|parts| Ok(records.intern(layout.fields(&parts?))))
            .collect()
    }
}

/// Returns the five parts of a text, empty where the file has `0`.
fn parts<'a>(file: &Reader<'a>, at: usize, length: usize) -> Result<[&'a str; 5], FormatError> {
    let text = std::str::from_utf8(file.slice(at, length)?)
        .map_err(|error| file.corrupt(at + error.valid_up_to(), "text is not UTF-8"))?;
    let mut parts = [""; 5];
    let mut count = 0;
    for part in text.split('|') {
        if let Some(place) = parts.get_mut(count) {
            *place = if part == "0" { "" } else { part };
        }
        count += 1;
    }
    if count == parts.len() {
        Ok(parts)
    } else {
        Err(file.corrupt(at, format!("text has {count} parts, not 5")))
    }
}

/// Order of the parts of a text.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Layout {
    /// `country|area|province|city|isp`
    Area,
    /// `country|province|city|isp|ISO 3166 code`
    Code,
}

impl Layout {
    /// Returns the layout of these texts. If all non-empty fifth parts are two capital letters,
    /// they are codes: names of providers are longer. If all fifth parts are empty, the version
    /// decides.
    fn of<'a>(texts: impl Iterator<Item = [&'a str; 5]>, version: u16) -> Layout {
        let is_code = |text: &str| text.len() == 2 && text.bytes().all(|b| b.is_ascii_uppercase());
        let mut fifths = texts
            .map(|parts| parts[4])
            .filter(|fifth| !fifth.is_empty())
            .peekable();
        let codes = match fifths.peek() {
            None => version == 3,
            Some(_) => fifths.all(is_code),
        };
        if codes { Layout::Code } else { Layout::Area }
    }

    fn fields<'a>(self, parts: &[&'a str; 5]) -> [(Field, &'a str); 5] {
        let [first, second, third, fourth, fifth] = *parts;
        match self {
            // The area is larger than a province. ip2region leaves it empty, and our records have
            // no field for it.
            Layout::Area => [
                (Field::Country, first),
                (Field::Province, third),
                (Field::City, fourth),
                (Field::Isp, fifth),
                (Field::CountryCode, ""),
            ],
            Layout::Code => [
                (Field::Country, first),
                (Field::Province, second),
                (Field::City, third),
                (Field::Isp, fourth),
                (Field::CountryCode, fifth),
            ],
        }
    }
}
