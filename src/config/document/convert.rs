//! Conversions of values to types: every type of the configuration is here.

use std::time::Duration;

use super::interpolate::Piece;
use super::node::{Text, UsedAs, Value};
use super::section::Item;
use super::usage::Kind;
use crate::config::model::{Captures, Template, Variables};

impl<'d> Item<'d> {
    fn text(&self) -> Result<&'d Text, String> {
        match &self.node.value {
            Value::Text(text) => Ok(text),
            _ => Err(format!("a string is expected, not {}", self.kind())),
        }
    }

    /// Returns the text of references to the environment or files, which may stand for a value of
    /// another type.
    fn referred(&self) -> Option<&'d Text> {
        self.text().ok().filter(|text| text.pieces.is_some())
    }

    /// Returns the value as text, with its references replaced.
    pub fn string(&self) -> Result<&'d str, String> {
        self.used_as(|| Kind::Text);
        self.text().map(|text| text.whole.as_str())
    }

    /// Returns the value as text that should be one of these names.
    pub fn name_of(&self, known: &[&str]) -> Result<&'d str, String> {
        self.used_as(|| Kind::OneOf(known.iter().map(|name| (*name).to_owned()).collect()));
        self.text().map(|text| text.whole.as_str())
    }

    /// Returns `true` if the value is exactly this text, which stands beside another type.
    pub fn is(&self, name: &str) -> bool {
        self.name_of(&[name]).is_ok_and(|text| text == name)
    }

    /// Returns the value as a template with variables of requests. Values of references are text in
    /// it: they have no variables.
    pub fn template<V: Variables>(&self, captures: &Captures) -> Result<Template<V>, String> {
        self.used_as(|| Kind::Template);
        let text = self.text()?;
        let Some(pieces) = &text.pieces else {
            return Template::parse(&text.whole, captures).map_err(|error| error.to_string());
        };
        text.used.set(UsedAs::Template);
        let mut template = Template::default();
        for piece in pieces {
            let added = match piece {
                Piece::Written(text) => {
                    Template::parse(text, captures).map_err(|error| error.to_string())?
                }
                Piece::Value(value) => Template::of_text(value),
            };
            template.append(added);
        }
        Ok(template)
    }

    pub fn boolean(&self) -> Result<bool, String> {
        self.used_as(|| Kind::Boolean);
        if let Some(text) = self.referred() {
            let value = text.whole.parse();
            let value =
                value.map_err(|_| format!("true or false is expected, not {:?}", text.whole))?;
            text.used.set(UsedAs::Bare);
            return Ok(value);
        }
        match self.node.value {
            Value::Boolean(value) => Ok(value),
            _ => Err(format!("true or false is expected, not {}", self.kind())),
        }
    }

    /// Returns the value as an integer from `minimum` to `maximum`.
    pub fn integer(&self, minimum: u64, maximum: u64) -> Result<u64, String> {
        self.used_as(|| Kind::Integer(minimum, maximum));
        let (digits, radix) = match (&self.node.value, self.referred()) {
            (Value::Integer(digits, radix), _) => (digits, *radix),
            (_, Some(text)) => {
                let is_number =
                    !text.whole.is_empty() && text.whole.bytes().all(|b| b.is_ascii_digit());
                if !is_number {
                    return Err(format!("an integer is expected, not {:?}", text.whole));
                }
                text.used.set(UsedAs::Bare);
                (&text.whole, 10)
            }
            _ => return Err(format!("an integer is expected, not {}", self.kind())),
        };
        let number = i128::from_str_radix(digits, radix);
        match number.ok().and_then(|number| u64::try_from(number).ok()) {
            Some(number) if (minimum..=maximum).contains(&number) => Ok(number),
            _ => Err(format!("{digits} is not within {minimum} and {maximum}")),
        }
    }

    /// Returns the value as a fraction from 0 to 1, written as `"30%"`.
    pub fn share(&self) -> Result<f64, String> {
        self.used_as(|| Kind::Share);
        let text = &self.text()?.whole;
        let percent = text
            .strip_suffix('%')
            .and_then(|number| number.parse().ok());
        let percent = percent.filter(|percent| (0.0..=100.0).contains(percent));
        percent
            .map(|percent: f64| percent / 100.0)
            .ok_or_else(|| format!("{text:?} is not a share from \"0%\" to \"100%\""))
    }

    /// Returns the value as a duration: `"500ms"`, `"5s"`, `"2m"`, `"1h"`, `"1d"`, `"1y"` (365
    /// days).
    pub fn duration(&self) -> Result<Duration, String> {
        self.used_as(|| Kind::Duration);
        let text = &self.text()?.whole;
        let (number, unit) = split_unit(text);
        let millis = match unit {
            "ms" => Some(1),
            "s" => Some(1000),
            "m" => Some(60_000),
            "h" => Some(3_600_000),
            "d" => Some(86_400_000),
            "y" => Some(31_536_000_000),
            _ => None,
        };
        let value: Option<u64> = number.parse().ok();
        value
            .zip(millis)
            .and_then(|(value, millis)| value.checked_mul(millis))
            .filter(|&millis| millis > 0)
            .map(Duration::from_millis)
            .ok_or_else(|| {
                format!("{text:?} is not a duration such as \"500ms\", \"5s\" or \"2m\"")
            })
    }

    /// Returns the value as a size in bytes, in nginx's notation: `512`, `"128k"`, `"10m"`, `"1g"`.
    pub fn size(&self) -> Result<u64, String> {
        self.used_as(|| Kind::Size);
        if let Value::Integer(digits, radix) = &self.node.value {
            let number = u64::from_str_radix(digits, *radix).ok();
            let number = number.filter(|number| *number <= u64::MAX >> 1);
            return number.ok_or_else(|| format!("{digits} is not within 0 and {}", u64::MAX >> 1));
        }
        let text = &self.text()?.whole;
        let (number, unit) = split_unit(text);
        let bytes = match unit {
            "" => Some(1),
            "k" | "K" => Some(1 << 10),
            "m" | "M" => Some(1 << 20),
            "g" | "G" => Some(1_u64 << 30),
            _ => None,
        };
        let value: Option<u64> = number.parse().ok();
        value
            .zip(bytes)
            .and_then(|(value, bytes)| value.checked_mul(bytes))
            .ok_or_else(|| format!("{text:?} is not a size such as \"128k\" or \"10m\""))
    }
}

fn split_unit(text: &str) -> (&str, &str) {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    text.split_at(digits)
}
