//! JSON Schema (2020-12) of the configuration, for editors.
//!
//! Keys, types and ranges are those that the readers ask for, when they read the examples of the
//! documentation and the other notations in [`NOTATIONS`]. Descriptions are the comments of the
//! documentation. So there is no second list of keys that could be wrong.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::Overrides;
use super::document::{Document, KeyUsage, Kind, Node, Problems, Value, join};
use super::reference::{Reference, uncommented};
use super::sections;
use crate::geo::Field;

/// Notations of values that the documentation has no example of. They need not be valid together:
/// they only make the readers ask.
const NOTATIONS: &str = "
[server]
listen = ['x', { address = 'x', tls = true, h2c = true, redirect_to_https = 443, proxy_protocol = true }]
workers = 1
[tls]
hsts = { max_age = '1y', include_subdomains = true, preload = true }
[limits]
access = ['x']
rate_limit = 'x'
max_connections = 1
max_requests = 1
max_requests_per_client = 1
max_memory = 1
[query]
access = ['x']
rate_limit = ['x']
[[access]]
rules = [{ allow = 'x' }, { deny = 'x' }]
[[route]]
host = 'x'
listener = ['x', 1]
starts_with = '/x'
regex = ['x']
methods = 'GET'
countries = 'CN'
regions = 'x'
access = 'x'
access_log = ['x']
rate_limit = ['x']
[[route]]
access_log = 'x'
[access_log]
also = 'x'
";

/// Keys that only some tables of their kind must have.
const SOMETIMES_REQUIRED: [&str; 4] = [
    "database[].file",
    "database[].url",
    "database[].embedded",
    "upstream[].peers[].address",
];

/// Returns the schema.
pub(super) fn schema() -> Json {
    let reference = Reference::new();
    let keys = keys();
    let writer = Writer {
        reference: &reference,
        keys: &keys,
    };
    let mut schema = writer.table("");
    schema.insert(
        "$schema".to_owned(),
        json!("https://json-schema.org/draft/2020-12/schema"),
    );
    schema.insert("title".to_owned(), json!("geogate.toml"));
    schema.insert("description".to_owned(), json!("Configuration of geogate"));
    schema.insert(
        "$defs".to_owned(),
        json!({
            "reference": {
                "description": "A value of the environment or of a file",
                "type": "string",
                "pattern": r"\$\{([A-Z][A-Z0-9_]*(:-[^}]*)?|file:[^}]+)\}",
            },
        }),
    );
    Json::Object(schema)
}

/// Returns all keys that the readers ask for, with their types.
fn keys() -> BTreeMap<String, KeyUsage> {
    let fields = Field::ALL.map(|field| format!("{} = 'x'\n", field.name()));
    let probe = format!("[[geo.probe]]\nip = 'x'\n{}", fields.concat());
    let problems = Problems::default();
    problems.usage.record();
    for text in [uncommented(), NOTATIONS.to_owned(), probe] {
        let document = Document::load(&text, "built-in configuration", None, &|_| None);
        let document = document.expect("the built-in texts are TOML");
        sections::read(&document, &Overrides::default(), &problems);
    }
    let mut keys = problems.usage.into_keys();
    // It is replaced by files before the readers see it.
    for (key, kinds) in [
        ("include", [Kind::Text, Kind::Array]),
        ("include[]", [Kind::Text, Kind::Text]),
    ] {
        let usage = keys.entry(key.to_owned()).or_default();
        usage.kinds = kinds.into_iter().collect();
    }
    keys
}

struct Writer<'k> {
    reference: &'k Reference,
    keys: &'k BTreeMap<String, KeyUsage>,
}

impl Writer<'_> {
    /// Returns the schema of a table.
    fn table(&self, pattern: &str) -> Map<String, Json> {
        let mut properties = Map::new();
        let mut required = Vec::new();
        for (path, usage) in self.keys {
            let key = match pattern {
                "" => Some(path.as_str()),
                _ => path
                    .strip_prefix(pattern)
                    .and_then(|rest| rest.strip_prefix('.')),
            };
            let Some(key) = key.filter(|key| !key.contains(['.', '['])) else {
                continue;
            };
            properties.insert(key.to_owned(), self.key(path, usage));
            if usage.is_required && !SOMETIMES_REQUIRED.contains(&path.as_str()) {
                required.push(key);
            }
        }
        let mut table = Map::new();
        table.insert("type".to_owned(), json!("object"));
        table.insert("properties".to_owned(), Json::Object(properties));
        table.insert("additionalProperties".to_owned(), json!(false));
        if !required.is_empty() {
            table.insert("required".to_owned(), json!(required));
        }
        table
    }

    /// Returns the schema of a key or an element.
    fn key(&self, path: &str, usage: &KeyUsage) -> Json {
        let mut alternatives: Vec<Json> = usage
            .kinds
            .iter()
            .map(|kind| self.kind(path, kind))
            .collect();
        let is_scalar = |kind: &Kind| !matches!(kind, Kind::Array | Kind::Table | Kind::FreeTable);
        let is_text = |kind: &Kind| matches!(kind, Kind::Text | Kind::Template);
        if usage.kinds.iter().any(is_scalar) && !usage.kinds.iter().any(is_text) {
            alternatives.push(json!({ "$ref": "#/$defs/reference" }));
        }
        alternatives.dedup();
        let mut schema = match alternatives.len() {
            1 => alternatives.remove(0),
            _ => json!({ "anyOf": alternatives }),
        };
        if let Json::Object(schema) = &mut schema {
            let description = self.reference.description(path);
            if !description.is_empty() {
                schema.insert("description".to_owned(), json!(description));
            }
            if let Some(default) = self.reference.default(path) {
                schema.insert("default".to_owned(), json_of(default));
            }
        }
        schema
    }

    fn kind(&self, path: &str, kind: &Kind) -> Json {
        match kind {
            Kind::Text | Kind::Template => json!({ "type": "string" }),
            Kind::OneOf(names) => json!({ "enum": names }),
            Kind::Boolean => json!({ "type": "boolean" }),
            Kind::Integer(minimum, maximum) => {
                json!({ "type": "integer", "minimum": minimum, "maximum": maximum })
            }
            Kind::Duration => json!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d|y)$" }),
            Kind::Size => json!({
                "type": ["integer", "string"],
                "minimum": 0,
                "pattern": "^[0-9]+[kKmMgG]?$",
            }),
            Kind::Share => json!({ "type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?%$" }),
            Kind::Array => json!({ "type": "array", "items": self.inner(&format!("{path}[]")) }),
            Kind::Table => Json::Object(self.table(path)),
            Kind::FreeTable => {
                let values = self.inner(&join(path, "*"));
                json!({ "type": "object", "additionalProperties": values })
            }
        }
    }

    /// Returns the schema of elements, or of the values of a table whose keys are the operator's.
    fn inner(&self, path: &str) -> Json {
        let usage = self.keys.get(path);
        usage.map_or(json!({}), |usage| self.key(path, usage))
    }
}

fn json_of(node: &Node) -> Json {
    match &node.value {
        Value::Text(text) => json!(text.whole),
        Value::Integer(digits, radix) => json!(i64::from_str_radix(digits, *radix).ok()),
        Value::Float(text) | Value::Date(text) => json!(text),
        Value::Boolean(value) => json!(value),
        Value::Array(elements) => elements.iter().map(json_of).collect(),
        Value::Table(table) => {
            let members = table.members();
            let members = members.map(|(key, member)| (key.to_owned(), json_of(&member.node)));
            Json::Object(members.collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BUILT_IN, Config, Source};
    use super::*;

    /// Values that do not satisfy the schema, with their paths. A validator of the keywords that the
    /// schema uses; it refuses any other.
    fn violations(schema: &Json, root: &Json, value: &Json, path: &str) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut note = |is_right: bool, what: &str| {
            if !is_right {
                wrong.push(format!("{path}: {what}: {value}"));
            }
        };
        let schema = schema.as_object().unwrap();
        let mut inner = Vec::new();
        for (keyword, rule) in schema {
            match keyword.as_str() {
                "$schema" | "title" | "description" | "default" | "$defs" => {}
                "type" => {
                    let kind = match value {
                        Json::String(_) => "string",
                        Json::Number(_) => "integer",
                        Json::Bool(_) => "boolean",
                        Json::Array(_) => "array",
                        Json::Object(_) => "object",
                        Json::Null => "null",
                    };
                    let is_right = rule == kind
                        || rule
                            .as_array()
                            .is_some_and(|kinds| kinds.iter().any(|known| known == kind));
                    note(is_right, "type");
                }
                "enum" => note(rule.as_array().unwrap().contains(value), "enum"),
                "minimum" => note(
                    value
                        .as_u64()
                        .is_none_or(|value| value >= rule.as_u64().unwrap()),
                    "minimum",
                ),
                "maximum" => note(
                    value
                        .as_u64()
                        .is_none_or(|value| value <= rule.as_u64().unwrap()),
                    "maximum",
                ),
                "pattern" => {
                    let pattern = regex::Regex::new(rule.as_str().unwrap()).unwrap();
                    note(
                        value.as_str().is_none_or(|text| pattern.is_match(text)),
                        "pattern",
                    );
                }
                "anyOf" => {
                    let alternatives = rule.as_array().unwrap().iter();
                    let mut found =
                        alternatives.map(|schema| violations(schema, root, value, path));
                    note(found.any(|found| found.is_empty()), "anyOf");
                }
                "$ref" => {
                    assert_eq!(rule, "#/$defs/reference");
                    inner.extend(violations(&root["$defs"]["reference"], root, value, path));
                }
                "items" => {
                    for (index, value) in value.as_array().into_iter().flatten().enumerate() {
                        inner.extend(violations(rule, root, value, &format!("{path}[{index}]")));
                    }
                }
                "properties" => {
                    for (key, value) in value.as_object().into_iter().flatten() {
                        if let Some(schema) = rule.get(key) {
                            inner.extend(violations(schema, root, value, &join(path, key)));
                        }
                    }
                }
                "additionalProperties" => {
                    let known = schema.get("properties");
                    for (key, value) in value.as_object().into_iter().flatten() {
                        if known.is_some_and(|known| known.get(key).is_some()) {
                            continue;
                        }
                        let path = join(path, key);
                        match rule {
                            Json::Bool(false) => inner.push(format!("{path}: unknown key")),
                            rule => inner.extend(violations(rule, root, value, &path)),
                        }
                    }
                }
                "required" => {
                    for key in rule.as_array().unwrap() {
                        let has_key = value
                            .as_object()
                            .is_none_or(|table| table.contains_key(key.as_str().unwrap()));
                        note(has_key, &format!("{key} is missing"));
                    }
                }
                other => panic!("{other} is not known here"),
            }
        }
        wrong.extend(inner);
        wrong
    }

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let document = Document::load(text, "file", None, &|_| Some("x".into())).unwrap();
        let members = document.root.members();
        let members = members.map(|(key, member)| (key.to_owned(), json_of(&member.node)));
        let mut value = Json::Object(members.collect());
        if text.contains("${") {
            // As an editor sees it.
            value = json!({ "server": { "workers": "${WORKERS:-4}" }, "admin": { "listen": ["${A}"] } });
        }
        let schema = schema();
        assert_eq!(violations(&schema, &schema, &value, ""), expected, "{text}");
    }

    #[test]
    fn the_documentation_satisfies_the_schema() {
        check(BUILT_IN, &[]);
        check(&uncommented(), &[]);
        check(
            "[server]\nworkers = '${WORKERS:-4}'\n[admin]\nlisten = ['${A}']\n",
            &[],
        );
    }

    #[test]
    fn mistakes_do_not_satisfy_the_schema() {
        check("[server]\nworker = 1\n", &["server.worker: unknown key"]);
        check("[server]\nworkers = 0\n", &["server.workers: anyOf: 0"]);
        check(
            "[server]\nwork_stealing = 1\n",
            &["server.work_stealing: anyOf: 1"],
        );
        check(
            "[client]\nread_timeout = '5 s'\n",
            &["client.read_timeout: anyOf: \"5 s\""],
        );
        check(
            "[compression]\nalgorithms = ['zip']\n",
            &["compression.algorithms[0]: anyOf: \"zip\""],
        );
        check(
            "[[access]]\nname = 'a'\nrules = []\n",
            &["access[0]: \"default\" is missing: {\"name\":\"a\",\"rules\":[]}"],
        );
        check(
            "[[upstream]]\npeers = [{ adress = 'a:1' }]\n",
            &["upstream[0].peers[0]: anyOf: {\"adress\":\"a:1\"}"],
        );
        check(
            "[[route]]\nfiles = { root = 1 }\n",
            &["route[0].files.root: type: 1"],
        );
    }

    /// Every key has a type and a description, its own or that of its table.
    #[test]
    fn every_key_is_described() {
        let reference = Reference::new();
        let keys = keys();
        assert!(keys.len() > 180, "{}", keys.len());
        let mut wrong = Vec::new();
        for (path, usage) in &keys {
            if usage.kinds.is_empty() {
                wrong.push(format!(
                    "{path} has no type: add a notation of it to NOTATIONS"
                ));
            }
            let is_own = |path: &str| !reference.description(path).is_empty();
            let mut parents = path
                .match_indices('.')
                .map(|(at, _)| path[..at].trim_end_matches("[]"));
            let path = path.trim_end_matches("[]").trim_end_matches(".*");
            if !is_own(path) && !parents.any(is_own) {
                wrong.push(format!("{path} has no description in conf/geogate.toml"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    /// Every key of the documentation is in the schema, and the other way round, but for options that
    /// stand in comments.
    #[test]
    fn the_keys_are_those_of_the_documentation() {
        let reference = Reference::new();
        for key in keys()
            .keys()
            .filter(|key| !key.ends_with("[]") && !key.ends_with('*'))
        {
            let name = key.rsplit('.').next().unwrap();
            let is_option =
                BUILT_IN.contains(&format!("{name} = ")) || BUILT_IN.contains(&format!("{name}: "));
            let is_field = key.starts_with("geo.probe[].");
            let is_documented = reference.position(key) < usize::MAX;
            assert!(
                is_documented || is_option || is_field,
                "{key} is not in conf/geogate.toml"
            );
        }
    }

    fn config(text: &str) -> Result<Config, Vec<super::super::Problem>> {
        let reading = Source::of_text(text, "file").parse(&Overrides::default());
        if reading.problems.is_empty() {
            return Ok(reading.config.unwrap());
        }
        Err(reading.problems)
    }

    /// Each default of `defaults.toml` changes nothing when it is written into the configuration.
    #[test]
    fn the_defaults_are_the_readers_own() {
        let base = [
            (
                "access[]",
                "[[access]]\nname = 'a'\ndefault = 'deny'\nrules = []\n",
            ),
            ("rate_limit[]", "[[rate_limit]]\nname = 'a'\nrate = '1/s'\n"),
            (
                "database[]",
                "[[database]]\nfile = 'a'\nurl = 'http://a/b'\n",
            ),
            (
                "upstream[].peers[]",
                "[[upstream]]\npeers = [{ address = 'a:1' }]\n",
            ),
            (
                "upstream[].health_check",
                "[[upstream]]\npeers = ['a:1']\nhealth_check = { }\n",
            ),
            ("upstream[]", "[[upstream]]\npeers = ['a:1']\ntls = true\n"),
            ("route[].redirect", "[[route]]\nredirect = { to = 'a' }\n"),
            ("route[].respond", "[[route]]\nrespond = { }\n"),
            ("route[].files", "[[route]]\nfiles = { root = '/' }\n"),
            (
                "server.listen[]",
                "[server]\nlisten = [{ address = '127.0.0.1:1' }]\n",
            ),
            (
                "tls.hsts",
                "[tls]\ncertificates = [{ cert = 'a', key = 'b' }]\nhsts = { max_age = '1y' }\n",
            ),
        ];
        let reference = Reference::new();
        let mut checked = 0;
        for (pattern, text) in base {
            let plain = config(text).unwrap();
            for (key, node) in reference.defaults_in(pattern) {
                let mut line = format!("{key} = {}", toml_of(&json_of(node)));
                let mut plain = format!("{plain:?}");
                let explicit = if let Some((before, after)) = text.rsplit_once(" }") {
                    line.insert_str(0, if before.ends_with('{') { " " } else { ", " });
                    format!("{before}{line} }}{after}")
                } else if key == "tls" {
                    let text = text.replace("tls = true\n", "");
                    plain = format!("{:?}", config(&text).unwrap());
                    format!("{text}{line}\n")
                } else if key == "hash_key" {
                    let text = format!("{text}balance = 'hash'\n");
                    plain = format!("{:?}", config(&text).unwrap());
                    format!("{text}{line}\n")
                } else {
                    format!("{text}{line}\n")
                };
                let found = config(&explicit).map(|config| format!("{config:?}"));
                assert_eq!(found.as_deref(), Ok(plain.as_str()), "{explicit}");
                checked += 1;
            }
        }
        assert!(checked > 45, "{checked}");
    }

    fn toml_of(value: &Json) -> String {
        value.to_string()
    }
}
