//! What a segment points to: one line of text in five parts, with `0` for an empty one.
//!
//! Files of version 2 have `country|area|province|city|isp`, files of version 3
//! `country|province|city|isp|ISO 3166 code`. Whoever makes a file may pair the two otherwise, and a
//! reader that trusted the version would then write cities into provinces without a word. So the
//! texts decide: see [`Layout::of`].

use std::collections::HashMap;

use super::FormatError;
use crate::geo::format::reader::Reader;
use crate::geo::record::{Field, Records};

/// Where the distinct texts stand: offset and length.
#[derive(Default)]
pub(super) struct Lines {
    places: Vec<(u32, u16)>,
    numbers: HashMap<(u32, u16), u32>,
    /// Bytes of all of them.
    size: usize,
}

impl Lines {
    /// The number of the text that stands there.
    pub fn number(&mut self, place: (u32, u16)) -> u32 {
        *self.numbers.entry(place).or_insert_with(|| {
            self.places.push(place);
            self.size += usize::from(place.1);
            u32::try_from(self.places.len() - 1).expect("fewer texts than the file has bytes")
        })
    }

    /// The record of each text, in the order of their numbers. Texts that overlap could be much more
    /// than the file is, so together they may be no more.
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

/// The five parts of a text, empty where the file has `0`.
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

/// What the parts of a text mean.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Layout {
    /// `country|area|province|city|isp`
    Area,
    /// `country|province|city|isp|ISO 3166 code`
    Code,
}

impl Layout {
    /// A fifth part that is two capital letters wherever it is anything is a code: providers have
    /// longer names. Where it is never anything, the version says what its maker meant.
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
            // The area is a part of a country that is larger than a province. ip2region leaves it
            // empty, and nothing that asks for a place has a name for it.
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
