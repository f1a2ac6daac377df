//! ISO 3166-2 codes of first-level divisions of countries other than China, by their names.
//!
//! These codes show that 新泽西 in a Chinese source and `New Jersey` in an English one are the same
//! place. Only the comparison of sources needs them, so the lookup is created for a comparison and
//! dropped after it. The table is sorted, so a binary search replaces a map of 13,000 names.

const TABLE: &str = include_str!("../../data/codes/subdivisions.tsv");

/// Table for looking up names.
#[derive(Debug)]
pub struct Subdivisions {
    /// Country and name joined by a tab, and the code; sorted by the first.
    rows: Vec<(&'static str, &'static str)>,
}

impl Default for Subdivisions {
    fn default() -> Self {
        let rows = TABLE.lines().filter_map(|line| line.rsplit_once('\t'));
        Subdivisions {
            rows: rows.collect(),
        }
    }
}

impl Subdivisions {
    /// Returns the code of a subdivision, without the country's: `NJ`.
    #[must_use]
    pub fn code(&self, country_code: &str, name: &str) -> Option<&'static str> {
        if country_code.is_empty() || name.is_empty() {
            return None;
        }
        let key = format!("{country_code}\t{}", plain(name));
        let found = self
            .rows
            .binary_search_by(|(row, _)| row.cmp(&key.as_str()));
        found.ok().map(|row| self.rows[row].1)
    }
}

/// Returns a name as in the table: in lower case, with a space for a hyphen.
fn plain(name: &str) -> String {
    let plain = name.to_lowercase().replace('-', " ").replace('’', "'");
    plain.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_several_languages_lead_to_one_code() {
        let subdivisions = Subdivisions::default();
        for (country, name, code) in [
            ("US", "New Jersey", "NJ"),
            ("US", "新泽西", "NJ"),
            ("US", "新泽西州", "NJ"),
            ("US", "加利福尼亚", "CA"),
            ("JP", "Aichi Prefecture", "23"),
            ("JP", "Aichi", "23"),
            ("DE", "Bayern", "BY"),
            ("DE", "Bavaria", "BY"),
            ("DE", "Nordrhein-Westfalen", "NW"),
            ("FR", "ÎLE-DE-FRANCE", "IDF"),
            ("FR", "Ile-de-France", "IDF"),
        ] {
            assert_eq!(subdivisions.code(country, name), Some(code), "{name}");
        }
        for (country, name) in [
            ("US", "Bavaria"),
            ("US", ""),
            ("", "Bavaria"),
            ("CN", "江苏"),
        ] {
            assert_eq!(subdivisions.code(country, name), None, "{country} {name}");
        }
    }

    #[test]
    fn the_table_is_sorted_and_has_each_name_once() {
        let Subdivisions { rows } = Subdivisions::default();
        assert!(rows.len() > 10_000);
        assert!(rows.is_sorted_by(|a, b| a.0 < b.0));
        assert!(rows.iter().all(|(key, _)| {
            let (country, name) = key.split_once('\t').unwrap();
            country.len() == 2 && name == plain(name)
        }));
    }
}
