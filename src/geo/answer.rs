//! Prepared answers: the JSON of each place, written once when a database is loaded.
//!
//! A query then copies bytes and formats nothing. All answers are in one allocation, because ten
//! thousand small ones would cost more in headers and cache misses than the text itself.

use super::record::{Field, Records};

/// The eight fields of an answer, in the order that clients parse.
pub const FIELDS: [Field; 8] = [
    Field::Country,
    Field::CountryCode,
    Field::Province,
    Field::ProvinceCode,
    Field::City,
    Field::CityCode,
    Field::Organization,
    Field::Isp,
];

/// Text of an unknown code: clients of the documented service test for it.
const NO_CODE: &str = "None";

/// The answers of all places.
pub(super) struct Answers {
    bytes: Box<[u8]>,
    /// End offsets: answer `n` ends at `ends[n]` and starts where the previous one ends.
    ends: Box<[u32]>,
}

impl Answers {
    /// Writes the answers of all places.
    ///
    /// # Panics
    /// If together they take more than 4 GiB.
    pub fn render(places: &Records) -> Self {
        let mut bytes = Vec::new();
        let numbers = 0..u32::try_from(places.len()).expect("places are numbered by u32");
        let ends = numbers.map(|place| {
            let fields = FIELDS.map(|field| text_or_none(field, places.text(place, field)));
            serde_json::to_writer(&mut bytes, &fields).expect("strings are always JSON");
            u32::try_from(bytes.len()).expect("answers of less than 4 GiB")
        });
        let ends = ends.collect();
        Answers {
            bytes: bytes.into_boxed_slice(),
            ends,
        }
    }

    /// Returns the JSON array of a place.
    pub fn get(&self, place: u32) -> &[u8] {
        let place = place as usize;
        let start = match place.checked_sub(1) {
            Some(before) => self.ends[before] as usize,
            None => 0,
        };
        &self.bytes[start..self.ends[place] as usize]
    }

    /// Returns the memory in bytes.
    pub fn memory(&self) -> usize {
        self.bytes.len() + size_of_val(&*self.ends)
    }
}

fn text_or_none(field: Field, text: &str) -> &str {
    let is_code = matches!(
        field,
        Field::CountryCode | Field::ProvinceCode | Field::CityCode
    );
    if is_code && text.is_empty() {
        NO_CODE
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_arrays_of_eight_strings() {
        let mut places = Records::default();
        let first = places.intern([
            (Field::Country, "中国"),
            (Field::CountryCode, "CN"),
            (Field::Isp, "a \"quoted\"\n name"),
        ]);
        let second = places.intern([(Field::Country, "局域网")]);
        let answers = Answers::render(&places);
        assert_eq!(
            std::str::from_utf8(answers.get(first)).unwrap(),
            r#"["中国","CN","","None","","None","","a \"quoted\"\n name"]"#
        );
        assert_eq!(
            std::str::from_utf8(answers.get(second)).unwrap(),
            r#"["局域网","None","","None","","None","",""]"#
        );
    }
}
