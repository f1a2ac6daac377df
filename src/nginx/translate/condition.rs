//! Tests of `if`, as variables that have one value if the test holds and another one if not.

use super::own;
use super::pattern::{compiled, escaped, groups, translated};
use super::variables::{At, Part, Variables, has_captures, no_variable, only_variable, parts};
use crate::config::model::{UntrustedHeaders, is_managed_name};
use crate::nginx::document::{Entry, Origin, Table};
use crate::nginx::tree::Directive;

/// Headers that a variable does not have as they were sent: they belong to the connection.
const OF_CONNECTION: [&str; 6] = [
    "connection",
    "expect",
    "te",
    "transfer-encoding",
    "upgrade",
    "trailer",
];

/// Test of a condition.
pub(super) struct Test {
    /// Template of the tested text.
    source: String,
    /// Keys of `values` of a `[[variable]]`; the test holds for a text that has one of them.
    keys: Vec<String>,
    /// True if the test holds for all other texts instead.
    is_negated: bool,
    /// Value in `variables` of a route, if there is one that means the same.
    pattern: Option<String>,
    groups: Vec<String>,
    origin: Origin,
}

impl Test {
    /// Names of the groups that the tested text has if the test holds.
    pub(super) fn groups(&self) -> Vec<String> {
        if self.is_negated {
            Vec::new()
        } else {
            self.groups.clone()
        }
    }

    /// Creates the variable that has the value `then` if the test holds.
    pub(super) fn table(&self, then: &str, otherwise: &str) -> Table {
        let (of_keys, default) = if self.is_negated {
            (otherwise, then)
        } else {
            (then, otherwise)
        };
        let entries = self.keys.iter();
        let entries = entries.map(|key| Entry::new(key, of_keys, None));
        own::table(
            &self.source,
            "values",
            entries.collect(),
            default,
            self.origin.clone(),
        )
    }
}

impl Variables {
    /// Reads the test of an `if`. `Err` has the reason why it cannot be carried over exactly.
    pub(super) fn test(&self, condition: &Directive, at: At) -> Result<Test, String> {
        let odd = || "geogate has no conditions of this kind.".to_owned();
        let text = condition.args.join(" ");
        let text = text
            .strip_prefix('(')
            .and_then(|text| text.strip_suffix(')'));
        let text = text.ok_or_else(odd)?.trim();
        let (variable, comparison) = text.split_once(' ').unwrap_or((text, ""));
        let is_variable = matches!(&parts(variable)[..], [Part::Text(""), Part::Variable { name, .. }, Part::Text("")]
            if !super::variables::is_capture(name));
        if !is_variable {
            return Err(odd());
        }
        if let Some(name) = self.unlike(variable, at) {
            return Err(format!("${name} may have another value here."));
        }
        let source = self.resolve(variable, at.of_own());
        let source = source.map_err(|missing| no_variable(&missing))?;
        if has_captures(&source) {
            return Err("Its value has a group of the location's regular expression.".to_owned());
        }
        let (operator, value) = comparison.split_once(' ').unwrap_or((comparison, ""));
        let (operator, is_negated) = match operator.strip_prefix('!') {
            Some(operator) => (operator, true),
            None => (operator, false),
        };
        let mut test = Test {
            source,
            keys: Vec::new(),
            is_negated,
            pattern: None,
            groups: Vec::new(),
            origin: Origin::from(condition),
        };
        match operator {
            // A value that is neither empty nor `0`.
            "" if !is_negated => {
                test.keys = vec![String::new(), "0".to_owned()];
                test.is_negated = true;
                test.pattern = Some("~^(?:[^0]|0.)".to_owned());
            }
            "=" => self.equal(value.trim(), at, &mut test)?,
            "~" | "~*" => matching(operator, value.trim(), &mut test)?,
            _ => return Err(odd()),
        }
        Ok(test)
    }

    /// Reads the text of `=`, which minds the case of letters.
    fn equal(&self, value: &str, at: At, test: &mut Test) -> Result<(), String> {
        let text = self.resolve(value, at);
        let text = text.map_err(|missing| no_variable(&missing))?;
        let text = text.replace("$$", "\0");
        if text.contains('$') {
            return Err("A text is compared with constants alone.".to_owned());
        }
        let text = text.replace('\0', "$");
        test.keys = vec![match text.contains(|c: char| c.is_ascii_alphabetic()) {
            true => format!("~^{}$", escaped(&text)),
            false if text.starts_with(['~', '\\']) => format!("\\{text}"),
            false => text.clone(),
        }];
        test.pattern = match (test.is_negated, text.as_str()) {
            (true, "") => Some("~(?s).".to_owned()),
            (true, _) => None,
            (false, text) if text.starts_with('~') => Some(format!("~^{}$", escaped(text))),
            (false, text) => Some(text.to_owned()),
        };
        Ok(())
    }

    /// Returns a condition of `variables` of a route that holds if the test does.
    pub(super) fn route_condition(&self, test: &Test) -> Entry {
        let known = only_variable(&test.source).filter(|name| {
            let header = name
                .strip_prefix("http_")
                .map(|name| name.replace('_', "-"));
            header.is_none_or(|header| !is_managed_name(&header))
        });
        if let (Some(name), Some(pattern)) = (known, &test.pattern) {
            return Entry::new(name, pattern.as_str(), None);
        }
        let name = self.own.register("condition", test.table("1", "0"));
        Entry::new(&name, "1", None)
    }

    /// Returns `true` if a text is a variable that a `map` of `$http_upgrade` defines, as for `WebSocket`s.
    pub(super) fn is_of_upgrade(&self, text: &str) -> bool {
        let definition = text
            .strip_prefix('$')
            .and_then(|name| self.own.definition(name));
        definition.is_some_and(|definition| definition.source == "$http_upgrade")
    }

    /// Returns `true` if a condition depends on the path or the query, which `rewrite` changes.
    pub(super) fn depends_on_target(&self, condition: &Directive, at: At) -> bool {
        let is_of_target = |name: &str| {
            let known = [
                "uri",
                "document_uri",
                "request_filename",
                "args",
                "query_string",
                "is_args",
            ];
            known.contains(&name) || name.starts_with("arg_")
        };
        let mut texts = condition.args.iter();
        texts.any(|text| self.find_name(text, at, &is_of_target, 8).is_some())
    }

    /// Returns a variable of a text, or one that it depends on, whose value may differ from nginx's.
    fn unlike(&self, text: &str, at: At) -> Option<String> {
        let untrusted = UntrustedHeaders::new([], []).ok()?;
        let is_unlike = |name: &str| {
            let header = name
                .strip_prefix("http_")
                .map(|name| name.replace('_', "-"));
            let is_hidden = header.is_some_and(|header| {
                OF_CONNECTION.contains(&header.as_str())
                    || untrusted.contains(&header) && !is_managed_name(&header)
            });
            is_hidden
                || self.approximate.contains(name)
                || self.defaults.contains_key(name)
                || self.clients_are_unknown && matches!(name, "remote_addr" | "binary_remote_addr")
                || self.clients_are_unknown && self.of_place.contains_key(name)
        };
        self.find_name(text, at, &is_unlike, 8)
    }

    /// Returns a name that `is_it` holds for, among those that a text depends on.
    fn find_name(
        &self,
        text: &str,
        at: At,
        is_it: &dyn Fn(&str) -> bool,
        levels: usize,
    ) -> Option<String> {
        parts(text).into_iter().find_map(|part| {
            let Part::Variable { name, .. } = part else {
                return None;
            };
            if is_it(name) {
                return Some(name.to_owned());
            }
            let levels = levels.checked_sub(1)?;
            if let Some(definition) = self.own.definition(name) {
                let values = definition.lines.iter().map(|(_, value)| value);
                let mut texts = std::iter::once(&definition.source).chain(values);
                return texts.find_map(|text| self.find_name(text, at, is_it, levels));
            }
            let texts = super::variables::texts_of_sets(name, at.scope);
            texts
                .into_iter()
                .find_map(|text| self.find_name(text, at, is_it, levels))
        })
    }
}

/// Reads the expression of `~` and `~*`.
fn matching(operator: &str, value: &str, test: &mut Test) -> Result<(), String> {
    let found = translated(value);
    let case = if operator == "~*" { "(?i)" } else { "" };
    let regex = format!("{case}{}", found.regex);
    let compiled = compiled(&regex).filter(|_| found.is_exact);
    let compiled = compiled.ok_or("geogate does not have this kind of regular expression.")?;
    test.groups = groups(&compiled);
    test.pattern = (!test.is_negated).then(|| format!("~{regex}"));
    test.keys = vec![format!("~{regex}")];
    Ok(())
}
