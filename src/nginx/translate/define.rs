//! Tables of `[[variable]]` for `map`, `geo` and `split_clients`.

use super::own::{self, Definition, Kind};
use super::pattern::{compiled, groups, translated};
use super::variables::{At, Variables, is_capture, no_variable};
use crate::nginx::document::{Entry, Table, Value};

impl Variables {
    /// Makes the table of a variable that the file defines. Returns its name. `Err` has the reason why
    /// it cannot be carried over.
    pub(super) fn define(&self, name: &str, at: At) -> Result<String, String> {
        let definition = self.own.definition(name).ok_or("It is not defined.")?;
        let at = At::end(at.scope).shallow(at).of_own();
        let source = self
            .resolve(&definition.source, at)
            .map_err(|missing| no_variable(&missing))?;
        no_groups(&source)?;
        let table = match definition.kind {
            Kind::Map => self.map(definition, &source, at)?,
            Kind::Geo => geo(definition, &source)?,
            Kind::SplitClients => split_clients(definition, &source)?,
        };
        Ok(self.own.register(name, table))
    }

    fn map(&self, definition: &Definition, source: &str, at: At) -> Result<Table, String> {
        let mut default = String::new();
        let (mut entries, mut is_of_hosts) = (Vec::new(), false);
        let (mut has_empty, mut matches_empty) = (false, false);
        for (key, value) in &definition.lines {
            match key.as_str() {
                "default" => {
                    default = self
                        .resolve(value, at)
                        .map_err(|missing| no_variable(&missing))?;
                    no_groups(&default)?;
                    continue;
                }
                "hostnames" => {
                    is_of_hosts = true;
                    continue;
                }
                "volatile" => continue,
                "include" => return Err(format!("{value} cannot be read.")),
                _ => {}
            }
            let regex = match (key.strip_prefix("~*"), key.strip_prefix('~')) {
                (Some(regex), _) => Some(format!("(?i){regex}")),
                (None, Some(regex)) => Some(regex.to_owned()),
                (None, None) => None,
            };
            let Some(regex) = regex else {
                let text = key.strip_prefix('\\').unwrap_or(key);
                has_empty |= text.is_empty();
                let value = self
                    .resolve(value, at)
                    .map_err(|missing| no_variable(&missing))?;
                no_groups(&value)?;
                let key = if text.starts_with(['~', '\\']) {
                    format!("\\{text}")
                } else {
                    text.to_owned()
                };
                entries.push(Entry::new(&key, value, None));
                continue;
            };
            let (key, value, is_of_empty) = self.regex_line(key, &regex, value, at)?;
            matches_empty |= is_of_empty;
            entries.push(Entry::new(&key, value, None));
        }
        if matches_empty && !has_empty {
            // nginx tries no regular expressions on an empty text.
            entries.insert(0, Entry::new("", default.as_str(), None));
        }
        let origin = definition.origin.clone();
        let mut table = own::table(source, "values", entries, &default, origin);
        if is_of_hosts {
            table.set("hostnames", true, None);
        }
        Ok(table)
    }
}

impl Variables {
    /// Translates a line of a `map` with a regular expression. Returns the key, the value, and `true` if
    /// the expression matches the empty text.
    fn regex_line(
        &self,
        key: &str,
        regex: &str,
        value: &str,
        at: At,
    ) -> Result<(String, String, bool), String> {
        let found = translated(regex);
        let usable = compiled(&found.regex).filter(|_| found.is_exact);
        let usable = usable.ok_or_else(|| {
            format!("geogate does not have this kind of regular expression: {key}")
        })?;
        let value = self.resolve(value, at.with_groups(&groups(&usable)));
        let value = value.map_err(|missing| no_variable(&missing))?;
        Ok((format!("~{}", found.regex), value, usable.is_match(b"")))
    }
}

fn no_groups(value: &str) -> Result<(), String> {
    let parts = super::variables::parts(value);
    let mut names = parts.iter().filter_map(|part| match part {
        super::variables::Part::Variable { name, .. } => Some(*name),
        super::variables::Part::Text(_) => None,
    });
    match names.find(|name| is_capture(name)) {
        Some(name) => Err(format!("${name} is a group of another regular expression.")),
        None => Ok(()),
    }
}

fn geo(definition: &Definition, source: &str) -> Result<Table, String> {
    let mut default = String::new();
    let mut entries: Vec<Entry> = Vec::new();
    for (key, value) in &definition.lines {
        let text = value.replace('$', "$$");
        match key.as_str() {
            "default" => default = text,
            "ranges" => {}
            "delete" => entries.retain(|entry| entry.key != *value),
            "include" => return Err(format!("{value} cannot be read.")),
            "proxy" | "proxy_recursive" => {
                return Err(
                    "Networks that are trusted stand in `client_ip.trusted_proxies`.".to_owned(),
                );
            }
            key => {
                // The last line of a network counts.
                entries.retain(|entry| entry.key != key);
                entries.push(Entry::new(key, text, None));
            }
        }
    }
    let origin = definition.origin.clone();
    Ok(own::table(source, "networks", entries, &default, origin))
}

fn split_clients(definition: &Definition, source: &str) -> Result<Table, String> {
    let mut default = String::new();
    let mut entries: Vec<Entry> = Vec::new();
    for (share, value) in &definition.lines {
        if value.contains('$') {
            return Err("The values of `shares` have no variables.".to_owned());
        }
        if share == "*" {
            default.clone_from(value);
        } else if entries.iter().any(|entry| entry.key == *value) {
            return Err("A value of `shares` has one share.".to_owned());
        } else {
            entries.push(Entry::new(value, Value::Text(share.clone()), None));
        }
    }
    let origin = definition.origin.clone();
    Ok(own::table(source, "shares", entries, &default, origin))
}
