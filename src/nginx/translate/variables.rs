//! Variables in texts: from nginx's names to geogate's.
//!
//! Most names are the same in both. A variable of `set` is replaced by its text if that is
//! constant, and a variable of geoip2 by geogate's variable for the client's geographic location.

use std::collections::{BTreeMap, BTreeSet};

use super::super::scope::Scope;

/// Names that mean the same in both.
const SAME: [&str; 20] = [
    "remote_addr",
    "remote_user",
    "scheme",
    "host",
    "request_method",
    "request_uri",
    "uri",
    "args",
    "is_args",
    "request",
    "server_protocol",
    "request_id",
    "status",
    "body_bytes_sent",
    "request_time",
    "upstream_addr",
    "upstream_response_time",
    "time_local",
    "time_iso8601",
    "msec",
];

/// Names that differ and mean the same: nginx's, then geogate's.
const OTHER: [(&str, &str); 11] = [
    ("binary_remote_addr", "remote_addr"),
    ("realip_remote_addr", "peer_addr"),
    ("query_string", "args"),
    ("document_uri", "uri"),
    ("geoip_country_code", "country"),
    ("geoip_country_name", "country_name"),
    ("geoip_city_country_code", "country"),
    ("geoip_city_country_name", "country_name"),
    ("geoip_region_name", "region"),
    ("geoip_city", "city"),
    ("geoip_org", "org"),
];

/// Prefixes of variables that continue with a name.
const WITH_NAMES: [&str; 4] = ["arg_", "cookie_", "http_", "sent_http_"];

/// Limit on constants that contain other constants.
const LEVELS: usize = 8;

/// Variables that a configuration defines by geoip2.
#[derive(Debug, Default)]
pub(super) struct Variables {
    /// geogate's names for these variables, by their names in the file.
    pub(super) of_place: BTreeMap<String, &'static str>,
    /// Variables whose value may differ in nginx, so that no rule may depend on them.
    pub(super) approximate: BTreeSet<String>,
    /// Values that nginx has for these variables if the database has none.
    pub(super) defaults: BTreeMap<String, String>,
}

impl Variables {
    /// Returns `true` if a variable is the country of the client, with the same value as in nginx.
    pub(super) fn is_country(&self, name: &str) -> bool {
        self.of_place.get(name) == Some(&"country") && !self.approximate.contains(name)
    }

    /// Returns nginx's value of a variable for clients of unknown location.
    pub(super) fn unknown(&self, name: &str) -> &str {
        self.defaults.get(name).map_or("", String::as_str)
    }
}

impl Variables {
    /// Returns a text as a template of geogate. `Err` has the first variable that geogate does not
    /// have.
    pub(super) fn template(&self, text: &str, scope: &Scope) -> Result<String, String> {
        self.resolve(text, scope, LEVELS)
    }

    fn resolve(&self, text: &str, scope: &Scope, levels: usize) -> Result<String, String> {
        let mut result = String::new();
        for part in parts(text) {
            match part {
                Part::Text(text) => result.push_str(&text.replace('$', "$$")),
                Part::Variable { name, next_is_name } => {
                    result.push_str(&self.variable(name, next_is_name, scope, levels)?);
                }
            }
        }
        Ok(result)
    }

    fn variable(
        &self,
        name: &str,
        next_is_name: bool,
        scope: &Scope,
        levels: usize,
    ) -> Result<String, String> {
        let known = if SAME.contains(&name) || is_capture(name) || has_name(name) {
            Some(name)
        } else {
            let other = OTHER.iter().find(|(nginx, _)| *nginx == name);
            other.map(|(_, geogate)| *geogate)
        };
        let known = known.or_else(|| self.of_place.get(name).copied());
        if let Some(known) = known {
            let braces = next_is_name && !is_capture(known);
            return Ok(if braces {
                format!("${{{known}}}")
            } else {
                format!("${known}")
            });
        }
        match constant(name, scope) {
            Some(value) if levels > 0 => self.resolve(value, scope, levels - 1),
            _ => Err(format!("${name}")),
        }
    }

    /// Returns the value of a text that has only constants; `None` if it depends on the request.
    pub(super) fn constant(text: &str, scope: &Scope) -> Option<String> {
        let mut result = text.to_owned();
        for _ in 0..LEVELS {
            let mut replaced = String::new();
            for part in parts(&result) {
                match part {
                    Part::Text(text) => replaced.push_str(text),
                    Part::Variable { name, .. } => replaced.push_str(constant(name, scope)?),
                }
            }
            if replaced.len() > 4096 || !replaced.contains('$') {
                return Some(replaced).filter(|text| !text.contains('$'));
            }
            result = replaced;
        }
        None
    }
}

/// Returns `true` if a text has variables.
pub(super) fn has_variables(text: &str) -> bool {
    parts(text)
        .iter()
        .any(|part| matches!(part, Part::Variable { .. }))
}

/// Returns the value that `set` gives a variable in this block or, if it has none, in the server
/// around it. `None` if there are several values, or if a condition may change it.
fn constant<'s>(name: &str, scope: &Scope<'s>) -> Option<&'s str> {
    let is_it = |set: &&'s super::Directive| set.arg(0).strip_prefix('$') == Some(name);
    let levels = || {
        let inner = std::iter::once(*scope);
        inner.chain(scope.chain().skip(1).filter(|level| !level.is("location")))
    };
    let is_changed = levels()
        .flat_map(|level| level.here("if").collect::<Vec<_>>())
        .any(|condition| {
            condition
                .inside()
                .iter()
                .any(|inner| inner.arg(0).strip_prefix('$') == Some(name))
        });
    if is_changed {
        return None;
    }
    let values = levels().find_map(|level| {
        let values: Vec<&str> = level
            .here("set")
            .filter(is_it)
            .map(|set| set.arg(1))
            .collect();
        (!values.is_empty()).then_some(values)
    });
    match values?[..] {
        [value] => Some(value),
        _ => None,
    }
}

fn is_capture(name: &str) -> bool {
    matches!(name.as_bytes(), [b'1'..=b'9'])
}

fn has_name(name: &str) -> bool {
    WITH_NAMES
        .iter()
        .any(|beginning| name.len() > beginning.len() && name.starts_with(beginning))
}

enum Part<'t> {
    Text(&'t str),
    Variable { name: &'t str, next_is_name: bool },
}

fn parts(text: &str) -> Vec<Part<'_>> {
    let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        let after = &rest[dollar + 1..];
        let in_braces = after
            .strip_prefix('{')
            .and_then(|after| after.split_once('}'));
        let (name, next) = in_braces.unwrap_or_else(|| {
            let length = match after.bytes().next() {
                Some(b'0'..=b'9') => 1,
                _ => after.bytes().take_while(is_of_name).count(),
            };
            after.split_at(length)
        });
        if name.is_empty() {
            // This dollar begins no name, as at the end of an expression.
            parts.push(Part::Text(&rest[..=dollar]));
            rest = after;
            continue;
        }
        parts.push(Part::Text(&rest[..dollar]));
        let next_is_name = next.bytes().next().is_some_and(|byte| is_of_name(&byte));
        parts.push(Part::Variable { name, next_is_name });
        rest = next;
    }
    parts.push(Part::Text(rest));
    parts
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::nginx::include::Files;
    use crate::nginx::parser;

    #[track_caller]
    fn check(text: &str, expected: Result<&str, &str>) {
        let sets = b"set $a 1; set $b x$a; set $c 1; set $c 2; set $d $d; set $e $host;";
        let files = Files::of(Path::new("f"));
        let tree = parser::parse(sets, "f", files).unwrap();
        let scope = Scope::outermost(&tree.directives);
        let of_place = BTreeMap::from([("geoip2_cc".to_owned(), "country")]);
        let result = Variables {
            of_place,
            ..Variables::default()
        }
        .template(text, &scope);
        assert_eq!(result.as_deref().map_err(String::as_str), expected);
    }

    #[test]
    fn names_become_those_of_geogate() {
        check("https://$host$request_uri", Ok("https://$host$request_uri"));
        check("$binary_remote_addr-${args}x", Ok("$remote_addr-${args}x"));
        check("$query_string|${host}_", Ok("$args|${host}_"));
        check("/$1$2/$10", Ok("/$1$2/$10"));
        check(
            "$geoip2_cc $http_x_a $cookie_b",
            Ok("$country $http_x_a $cookie_b"),
        );
        check("a$", Ok("a$$"));
    }

    #[test]
    fn constants_become_their_text() {
        check("$a/$b/$e", Ok("1/x1/$host"));
        check("$c", Err("$c"));
        check("$d", Err("$d"));
    }

    #[test]
    fn what_geogate_does_not_have_is_named() {
        check("$host $ssl_cipher", Err("$ssl_cipher"));
        check("$arg_", Err("$arg_"));
    }
}
