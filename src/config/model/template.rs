//! Text with variables, such as `https://$host$request_uri`.
//!
//! A template is parsed once, when the configuration is read. An unknown variable is an error
//! there, and a request only iterates over the parts. The set of variables depends on the place, so
//! the variable type is a parameter: a template that is evaluated before there is a response cannot
//! contain a status.

use super::part::Part;
use super::variable::{Captures, Variables};
use crate::config::suggest::known_names;

/// A sequence of texts and variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template<V> {
    parts: Vec<Part<V>>,
}

/// Returns the empty text.
impl<V> Default for Template<V> {
    fn default() -> Self {
        Template { parts: Vec::new() }
    }
}

/// Reason why a text is not a valid template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Unknown variable, or one that is not available in this place.
    #[error("there is no ${name} here{known}")]
    Unknown {
        /// Name as written, without the dollar.
        name: String,
        /// End of the message: a similar name, if there is one, and the available variables.
        known: String,
    },
    /// A variable that gets its value after this place.
    #[error("there is no ${name} here: {when}")]
    TooEarly {
        /// Name as written, without the dollar.
        name: String,
        /// Time at which it is known.
        when: &'static str,
    },
    /// `${` without `}`.
    #[error("${{ has no }} behind it")]
    Unclosed,
    /// A dollar without a name after it.
    #[error("a $ has no name behind it; write $$ for a dollar")]
    NoName,
}

impl<V: Variables> Template<V> {
    /// Parses a text: `$name` and `${name}` are variables, `$$` is a dollar. `captures` are the
    /// groups of the route's pattern.
    ///
    /// # Errors
    /// If a dollar does not begin one of these, or with the first unknown name.
    pub fn parse(text: &str, captures: &Captures) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let (mut plain, mut rest) = (String::new(), text);
        while let Some((before, after)) = rest.split_once('$') {
            plain.push_str(before);
            if let Some(after) = after.strip_prefix('$') {
                plain.push('$');
                rest = after;
                continue;
            }
            let (name, after) = name(after)?;
            let variable =
                V::from_name(name, captures).ok_or_else(|| unknown::<V>(name, captures))?;
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(Part::Variable(variable));
            rest = after;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Template { parts })
    }
}

impl<V> Template<V> {
    /// Returns a template without variables. Dollars in the text are dollars.
    #[must_use]
    pub fn of_text(text: &str) -> Self {
        let part = Part::Text(text.to_owned());
        Template {
            parts: if text.is_empty() {
                Vec::new()
            } else {
                vec![part]
            },
        }
    }

    /// Returns the template with its variables converted.
    #[must_use]
    pub fn map<W>(self, convert: impl Fn(V) -> W) -> Template<W> {
        let parts = self.parts.into_iter().map(|part| match part {
            Part::Text(text) => Part::Text(text),
            Part::Variable(variable) => Part::Variable(convert(variable)),
        });
        Template {
            parts: parts.collect(),
        }
    }

    /// Adds the parts of another template behind its own.
    pub fn append(&mut self, other: Self) {
        for part in other.parts {
            match (self.parts.last_mut(), part) {
                (Some(Part::Text(text)), Part::Text(more)) => text.push_str(&more),
                (_, part) => self.parts.push(part),
            }
        }
    }

    /// Returns the parts themselves.
    #[must_use]
    pub fn into_parts(self) -> Vec<Part<V>> {
        self.parts
    }

    /// Returns the parts in their order; none if the text is empty.
    #[must_use]
    pub fn parts(&self) -> &[Part<V>] {
        &self.parts
    }

    /// Returns the variables in their order.
    pub fn variables(&self) -> impl Iterator<Item = &V> {
        self.parts.iter().filter_map(Part::variable)
    }

    /// Returns the texts between the variables.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            Part::Variable(_) => None,
        })
    }
}

/// Returns the error of a name that is no variable of this place.
fn unknown<V: Variables>(name: &str, captures: &Captures) -> TemplateError {
    let known = V::known(captures);
    let (name, when) = (name.to_owned(), V::known_later(name, captures));
    match when {
        Some(when) => TemplateError::TooEarly { name, when },
        None => TemplateError::Unknown {
            known: known_names(&name, "known", known.split(", ")),
            name,
        },
    }
}

/// Splits the name after a dollar from the rest of the text. A digit is a whole name, so that `$10`
/// is `$1` followed by a zero, as in nginx.
fn name(text: &str) -> Result<(&str, &str), TemplateError> {
    if let Some(inner) = text.strip_prefix('{') {
        let (name, after) = inner.split_once('}').ok_or(TemplateError::Unclosed)?;
        return if name.is_empty() {
            Err(TemplateError::NoName)
        } else {
            Ok((name, after))
        };
    }
    let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let length = match text.bytes().next() {
        Some(b'0'..=b'9') => 1,
        _ => text.bytes().take_while(is_of_name).count(),
    };
    if length == 0 {
        return Err(TemplateError::NoName);
    }
    Ok(text.split_at(length))
}

#[cfg(test)]
mod tests {
    use super::super::variable::{RequestVariable, ResponseVariable, Variable};
    use super::*;
    use crate::geo::Field;

    #[track_caller]
    fn check(text: &str, expected: &[Part<RequestVariable>]) {
        let captures = Captures::new([None, None, Some("page".to_owned())]);
        let template = Template::parse(text, &captures).unwrap();
        assert_eq!(template.parts(), expected, "{text:?}");
    }

    fn text(text: &str) -> Part<RequestVariable> {
        Part::Text(text.to_owned())
    }

    fn variable(variable: RequestVariable) -> Part<RequestVariable> {
        Part::Variable(variable)
    }

    #[test]
    fn variables_stand_between_text() {
        check("", &[]);
        check("plain", &[text("plain")]);
        check(
            "https://$host$request_uri",
            &[
                text("https://"),
                variable(RequestVariable::Host),
                variable(RequestVariable::RequestUri),
            ],
        );
        check(
            "a${host}b$uri-c",
            &[
                text("a"),
                variable(RequestVariable::Host),
                text("b"),
                variable(RequestVariable::Uri),
                text("-c"),
            ],
        );
    }

    #[test]
    fn two_dollars_are_one() {
        check(
            "$$5 and $$$host",
            &[text("$5 and $"), variable(RequestVariable::Host)],
        );
    }

    #[test]
    fn names_may_have_a_part_of_their_own() {
        check(
            "$arg_Page",
            &[variable(RequestVariable::Arg("Page".to_owned()))],
        );
        check(
            "$cookie_a",
            &[variable(RequestVariable::Cookie("a".to_owned()))],
        );
        check(
            "$http_X_Forwarded_Proto",
            &[variable(RequestVariable::Http(
                "x-forwarded-proto".to_owned(),
            ))],
        );
        check(
            "$geo_time_zone",
            &[variable(RequestVariable::Geo(Field::TimeZone))],
        );
        check(
            "$country",
            &[variable(RequestVariable::Geo(Field::CountryCode))],
        );
    }

    #[test]
    fn captures_have_numbers_and_names() {
        let one = variable(RequestVariable::Capture(1));
        check("$1", std::slice::from_ref(&one));
        check("$10", &[one, text("0")]);
        check("${2}x", &[variable(RequestVariable::Capture(2)), text("x")]);
        check(
            "/$page",
            &[text("/"), variable(RequestVariable::Capture(2))],
        );
    }

    #[track_caller]
    fn check_error(text: &str, expected: &str) {
        let captures = Captures::new([None, None]);
        let error = Template::<RequestVariable>::parse(text, &captures).unwrap_err();
        let error = error.to_string();
        assert!(error.starts_with(expected), "{text:?}: {error}");
    }

    #[test]
    fn what_is_no_variable_is_an_error() {
        check_error(
            "$nothing",
            "there is no $nothing here; known: remote_addr, ",
        );
        check_error(
            "$remote_adr",
            "there is no $remote_adr here; did you mean \"remote_addr\"? Known: ",
        );
        check_error("$2", "there is no $2 here");
        check_error("${10}", "there is no $10 here");
        check_error("$0", "there is no $0 here");
        check_error("$arg_", "there is no $arg_ here");
        check_error("$geo_planet", "there is no $geo_planet here");
        check_error("${host", "${ has no } behind it");
        check_error("a $ b", "a $ has no name behind it; write $$ for a dollar");
        check_error("${}", "a $ has no name behind it");
        check_error("end$", "a $ has no name behind it");
    }

    #[test]
    fn what_is_of_a_response_is_known_only_where_there_is_one() {
        check_error("$status", "there is no $status here");
        check_error(
            "$upstream_http_x",
            "there is no $upstream_http_x here: it is known with",
        );
        let template = Template::<Variable>::parse("$status $host", &Captures::default()).unwrap();
        let expected = [
            Part::Variable(Variable::Response(ResponseVariable::Status)),
            Part::Text(" ".to_owned()),
            Part::Variable(Variable::Request(RequestVariable::Host)),
        ];
        assert_eq!(template.parts(), expected);
    }
}
