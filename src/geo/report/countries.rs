//! Countries as reports list them: one line each, for all forms of a name.

use std::borrow::Cow;

use crate::geo::intern::TextPool;
use crate::geo::record::{Field, Records};

/// The countries of one or more databases, numbered.
#[derive(Default)]
pub(super) struct Countries {
    keys: TextPool,
    names: Vec<(String, String)>,
}

impl Countries {
    /// Returns the number of each place's country.
    pub(super) fn of(&mut self, places: &Records) -> Vec<u32> {
        let numbers = 0..places.len() as u32;
        numbers
            .map(|place| {
                let (code, name) = country(places, place);
                self.number(code, &name)
            })
            .collect()
    }

    /// Returns the number of a country. Different names with the same code are one country.
    fn number(&mut self, code: &str, name: &str) -> u32 {
        let number = self.keys.intern(if code.is_empty() { name } else { code });
        if self.names.len() == number as usize {
            self.names.push((code.to_owned(), name.to_owned()));
        }
        number
    }

    /// Returns code and name of every country, in the order of their numbers. Either may be empty.
    pub(super) fn names(&self) -> &[(String, String)] {
        &self.names
    }
}

/// Returns code and name of a place's country. Hong Kong, Macau and Taiwan have their own codes and
/// the name of China, so their own names are appended.
pub(super) fn country(places: &Records, place: u32) -> (&str, Cow<'_, str>) {
    let code = places.text(place, Field::CountryCode);
    let name = places.text(place, Field::Country);
    let region = places.text(place, Field::Province);
    if ["HK", "MO", "TW"].contains(&code) && ![name, ""].contains(&region) {
        return (code, Cow::Owned([name, region].join(" ")));
    }
    (code, Cow::Borrowed(name))
}
