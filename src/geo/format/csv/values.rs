//! Checks of the values of a row.
//!
//! People write these files by hand. An invalid code or coordinate is rejected with its line,
//! because it would be hard to find later among a million answers.

use crate::geo::record::{BLANK, Field};

/// Returns a value as it is stored: without surrounding space and quotes, and a code without a
/// redundant prefix.
///
/// # Errors
/// If the field cannot have this value.
pub(super) fn value(field: Field, text: &str) -> Result<&str, String> {
    let text = unquoted(text.trim());
    if text.is_empty() || text == BLANK {
        return Ok(text);
    }
    match field {
        Field::Asn => autonomous_system(text)
            .ok_or_else(|| format!("{text:?} is not the number of a network")),
        Field::CountryCode => two_letters(text, "CN"),
        Field::Continent => two_letters(text, "AS"),
        Field::Latitude => number(text, -90.0..=90.0),
        Field::Longitude => number(text, -180.0..=180.0),
        Field::AccuracyRadius => number(text, 0.0..=f64::MAX),
        Field::ProvinceCode | Field::CityCode => six_digits(text),
        Field::SubdivisionCode => Ok(subdivision(text)),
        // Some city names contain a number, such as `Estates (#2)`.
        Field::Country | Field::Province | Field::City if text.contains(" # ") => Err(format!(
            "{text:?} has a #; a comment stands on a line of its own, or in a column called note"
        )),
        _ => Ok(text),
    }
}

/// Removes quotes. After a space, a CSV reader takes quotes as part of the value, although people
/// do not mean it.
fn unquoted(text: &str) -> &str {
    let inner = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    inner.map_or(text, str::trim)
}

fn two_letters<'t>(text: &'t str, example: &str) -> Result<&'t str, String> {
    if text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Ok(text);
    }
    Err(format!(
        "{text:?} is not a code of two letters, such as {example}"
    ))
}

fn number(text: &str, range: std::ops::RangeInclusive<f64>) -> Result<&str, String> {
    match text.parse::<f64>() {
        Ok(number) if range.contains(&number) => Ok(text),
        Ok(_) if *range.end() < f64::MAX => {
            let (first, last) = range.into_inner();
            Err(format!("{text} is not between {first} and {last}"))
        }
        Ok(_) => Err(format!("{text} is below 0")),
        Err(_) => Err(format!("{text:?} is not a number, such as 31.25")),
    }
}

fn six_digits(text: &str) -> Result<&str, String> {
    if text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(text);
    }
    Err(format!(
        "{text:?} is not a code of six digits (GB/T 2260), such as 320500"
    ))
}

/// Changes `US-CA` to `CA`, since the country has its own column.
fn subdivision(text: &str) -> &str {
    match text.split_once('-') {
        Some((country, code)) if country.len() == 2 && !code.is_empty() => code,
        _ => text,
    }
}

/// Returns the digits of an autonomous system's number, which may have the prefix `AS`.
fn autonomous_system(text: &str) -> Option<&str> {
    let has_prefix = text
        .get(..2)
        .is_some_and(|prefix| prefix.eq_ignore_ascii_case("AS"));
    let digits = if has_prefix { &text[2..] } else { text };
    let is_number = digits.parse::<u32>().is_ok() && !digits.starts_with('+');
    is_number.then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_can_be_are_kept() {
        for (field, text, expected) in [
            (Field::CountryCode, " cn ", "cn"),
            (Field::CountryCode, "-", "-"),
            (Field::CountryCode, "", ""),
            (Field::Latitude, "-90", "-90"),
            (Field::Longitude, "180.0", "180.0"),
            (Field::AccuracyRadius, "1000", "1000"),
            (Field::CityCode, "320500", "320500"),
            (Field::SubdivisionCode, "US-CA", "CA"),
            (Field::SubdivisionCode, "ENG", "ENG"),
            (Field::Asn, "AS13335", "13335"),
            (Field::City, " \"苏州\"", "苏州"),
            (Field::Organization, "Store # 5", "Store # 5"),
            (Field::City, "Frisco (Estates #2)", "Frisco (Estates #2)"),
        ] {
            assert_eq!(value(field, text).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn values_that_cannot_be_are_refused() {
        for (field, text) in [
            (Field::CountryCode, "CHN"),
            (Field::CountryCode, "C"),
            (Field::CountryCode, "86"),
            (Field::CountryCode, "中"),
            (Field::Continent, "Asia"),
            (Field::Latitude, "90.01"),
            (Field::Latitude, "NaN"),
            (Field::Longitude, "-181"),
            (Field::Longitude, "31,25"),
            (Field::AccuracyRadius, "-1"),
            (Field::ProvinceCode, "32"),
            (Field::CityCode, "32050x"),
            (Field::Asn, "AS"),
            (Field::City, "苏州 # office"),
        ] {
            let error = value(field, text).unwrap_err();
            assert!(error.contains(text), "{error}");
        }
    }
}
