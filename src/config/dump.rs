//! The configuration in force as TOML: included files merged, references replaced, defaults filled
//! in, in the order of `conf/geogate.toml`.
//!
//! The result is itself a valid configuration, with the same effect. Secrets are hidden: the content
//! of a file is written as the reference to it, and the value of a key that holds a secret is
//! replaced.

use std::collections::BTreeSet;

use toml_writer::{ToTomlKey, ToTomlValue, TomlKeyBuilder, TomlStringBuilder};

use super::Overrides;
use super::document::{Document, Node, Piece, Problems, Table, Text, UsedAs, Value, escape, join};
use super::reference::Reference;
use super::sections;

/// Text in place of a secret. It has the length that `sticky_key` must have.
const HIDDEN: &str = "[secret, not shown]";

/// Hash in place of a password's. No password with this hash is known.
const NO_PASSWORD: &str = "{SHA}AAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// Longest line of a list.
const WIDTH: usize = 100;

/// Headers and parameters whose names contain one of these words hold secrets.
const SECRET_NAMES: [&str; 6] = ["auth", "cookie", "key", "password", "secret", "token"];

/// Tables with headers and parameters, and tables of these.
const NAMED_VALUES: [&str; 5] = [
    "route[].request_headers.",
    "route[].response_headers.",
    "route[].headers.",
    "route[].variables.",
    "route[].fastcgi.params.",
];

/// Writes the configuration of a valid document.
pub(super) fn dump(document: &Document) -> String {
    let reference = Reference::new();
    let mut writer = Writer {
        reference: &reference,
        left_out: BTreeSet::new(),
        defaults: BTreeSet::new(),
        shows_secrets: true,
    };
    // A default may be an error beside other keys, such as verify without tls. The reader knows
    // which, so it is asked until it accepts the text.
    loop {
        let text = writer.write(document);
        let wrong = problems(&text).into_iter();
        let wrong: Vec<_> = wrong.filter(|key| writer.defaults.contains(key)).collect();
        if wrong.is_empty() {
            break;
        }
        writer.left_out.extend(wrong);
    }
    writer.shows_secrets = false;
    writer.write(document)
}

/// Returns the keys of all problems in a text.
fn problems(text: &str) -> Vec<String> {
    let environment = |name: &str| std::env::var_os(name);
    let Ok(document) = Document::load(text, "dump", None, &environment) else {
        return Vec::new();
    };
    let problems = Problems::default();
    sections::read(&document, &Overrides::default(), &problems);
    let problems = problems.into_sorted(&document.secrets);
    problems.into_iter().map(|problem| problem.key).collect()
}

struct Writer<'r> {
    reference: &'r Reference,
    /// Defaults that the reader does not accept where they are, by key path.
    left_out: BTreeSet<String>,
    /// Defaults that were written, by key path.
    defaults: BTreeSet<String>,
    shows_secrets: bool,
}

/// A key with its path, with and without indexes.
#[derive(Clone)]
struct Path {
    full: String,
    pattern: String,
}

impl Path {
    fn of(key: &str) -> Self {
        Path {
            full: key.to_owned(),
            pattern: key.to_owned(),
        }
    }

    fn member(&self, key: &str) -> Self {
        Path {
            full: join(&self.full, key),
            pattern: join(&self.pattern, key),
        }
    }

    fn element(&self, index: usize) -> Self {
        Path {
            full: format!("{}[{index}]", self.full),
            pattern: format!("{}[]", self.pattern),
        }
    }
}

impl Writer<'_> {
    fn write(&mut self, document: &Document) -> String {
        self.defaults.clear();
        let reference = self.reference;
        let sections = reference.defaults_in("");
        let mut keys: BTreeSet<&str> = sections.iter().map(|(key, _)| *key).collect();
        keys.extend(document.root.members().map(|(key, _)| key));
        keys.insert("database");
        let mut keys: Vec<_> = keys.into_iter().collect();
        keys.sort_by_key(|key| reference.position(key));
        let empty = Table::default();
        let mut parts = Vec::new();
        for key in keys {
            let path = Path::of(key);
            match document.root.get(key).map(|node| &node.value) {
                Some(Value::Array(elements)) => {
                    let tables = elements.iter().filter_map(Node::table).enumerate();
                    for (index, table) in tables {
                        let body = self.lines(table, &path.element(index));
                        parts.push(format!("[[{key}]]\n{body}"));
                    }
                }
                // Without any, the embedded database is used.
                None if key == "database" => {
                    parts.push("[[database]]\nembedded = true\n".to_owned());
                }
                other => {
                    let table = match other {
                        Some(Value::Table(table)) => table,
                        _ => &empty,
                    };
                    let body = self.lines(table, &path);
                    if !body.is_empty() {
                        parts.push(format!("[{key}]\n{body}"));
                    }
                }
            }
        }
        parts.join("\n")
    }

    /// Writes the members of a table, each from a line of its own.
    fn lines(&mut self, table: &Table, path: &Path) -> String {
        let members = self.members(table, path);
        let lines = members.into_iter().map(|(name, node)| {
            let path = path.member(name);
            let line = format!("{} = {}\n", key(name), self.value(node, &path));
            match &node.value {
                Value::Array(elements) if line.chars().count() > WIDTH && !elements.is_empty() => {
                    let elements = self.elements(elements, &path).into_iter();
                    let elements: Vec<_> = elements.map(|text| format!("  {text},\n")).collect();
                    format!("{} = [\n{}]\n", key(name), elements.concat())
                }
                _ => line,
            }
        });
        lines.collect()
    }

    /// Returns the members of a table and the defaults of those that it has not, in the order of the
    /// documentation.
    fn members<'n>(&mut self, table: &'n Table, path: &Path) -> Vec<(&'n str, &'n Node)>
    where
        Self: 'n,
    {
        let given = table.ordered().into_iter();
        let mut members: Vec<(&str, &Node)> =
            given.map(|(key, member)| (key, &member.node)).collect();
        let reference: &'n Reference = self.reference;
        for (key, node) in reference.defaults_in(&path.pattern) {
            let full = join(&path.full, key);
            if table.get(key).is_none() && !self.left_out.contains(&full) {
                self.defaults.insert(full);
                members.push((key, node));
            }
        }
        members.sort_by_key(|(key, _)| reference.position(&join(&path.pattern, key)));
        members
    }

    fn value(&mut self, node: &Node, path: &Path) -> String {
        match &node.value {
            Value::Text(text) => self.text(text, path),
            Value::Integer(digits, radix) => match radix {
                2 => format!("0b{digits}"),
                8 => format!("0o{digits}"),
                16 => format!("0x{digits}"),
                _ => digits.clone(),
            },
            Value::Float(text) | Value::Date(text) => text.clone(),
            Value::Boolean(value) => value.to_string(),
            Value::Array(elements) => format!("[{}]", self.elements(elements, path).join(", ")),
            Value::Table(table) => {
                let members = self.members(table, path);
                let members = members.into_iter().map(|(name, node)| {
                    let value = self.value(node, &path.member(name));
                    format!("{} = {value}", key(name))
                });
                let members: Vec<_> = members.collect();
                if members.is_empty() {
                    return "{}".to_owned();
                }
                format!("{{ {} }}", members.join(", "))
            }
        }
    }

    fn elements(&mut self, elements: &[Node], path: &Path) -> Vec<String> {
        let elements = elements.iter().enumerate();
        let elements = elements.map(|(index, node)| self.value(node, &path.element(index)));
        elements.collect()
    }

    fn text(&self, text: &Text, path: &Path) -> String {
        if let Some(written) = &text.secret {
            return string(written);
        }
        let shown = match (text.used.get(), &text.pieces) {
            (UsedAs::Bare, _) => return text.whole.clone(),
            (_, None) => text.whole.clone(),
            (UsedAs::Template, Some(pieces)) => template(pieces),
            (UsedAs::Text, Some(_)) => escape(&text.whole),
        };
        if self.shows_secrets {
            return string(&shown);
        }
        string(&without_secret(shown, &path.pattern))
    }
}

/// Returns a value, or text in place of it or of a part of it that is secret.
fn without_secret(value: String, pattern: &str) -> String {
    let mut tables = NAMED_VALUES.iter();
    let name = tables.find_map(|table| pattern.strip_prefix(table));
    let name = name.and_then(|path| path.rsplit('.').next());
    let is_secret = name.is_some_and(|name| {
        let name = name.to_ascii_lowercase();
        SECRET_NAMES.iter().any(|word| name.contains(word))
    });
    if is_secret || pattern == "upstream[].sticky_key" {
        return HIDDEN.to_owned();
    }
    if pattern.starts_with("auth[].users.") {
        return NO_PASSWORD.to_owned();
    }
    // A user and a password in a URL.
    if pattern.ends_with("url")
        && let Some((scheme, rest)) = value.split_once("://")
        && let Some((user, host)) = rest
            .split('/')
            .next()
            .and_then(|authority| authority.rsplit_once('@'))
    {
        let path = &rest[user.len() + 1 + host.len()..];
        return format!("{scheme}://***@{host}{path}");
    }
    value
}

/// Writes a text with variables, in which the values of references are text.
fn template(pieces: &[Piece]) -> String {
    let mut text = String::new();
    for piece in pieces {
        match piece {
            Piece::Written(written) => text.push_str(written),
            Piece::Value(value) => {
                brace_last_variable(&mut text);
                text.push_str(&value.replace('$', "$$"));
            }
        }
    }
    text
}

/// Writes a variable at the end of a text in braces, so that a letter behind it does not change its
/// name.
fn brace_last_variable(text: &mut String) {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let start = text.trim_end_matches(is_of_name).len();
    let dollars = text[..start]
        .bytes()
        .rev()
        .take_while(|byte| *byte == b'$')
        .count();
    if start < text.len() && !dollars.is_multiple_of(2) {
        text.insert(start, '{');
        text.push('}');
    }
}

fn key(name: &str) -> String {
    TomlKeyBuilder::new(name).as_default().to_toml_key()
}

fn string(text: &str) -> String {
    let builder = TomlStringBuilder::new(text);
    let string = builder.as_basic_pretty().or_else(|| builder.as_literal());
    string.unwrap_or_else(|| builder.as_basic()).to_toml_value()
}

#[cfg(test)]
mod tests {
    use super::super::reference::uncommented;
    use super::super::{BUILT_IN, Source};
    use super::*;

    /// Returns the dump of a configuration, after a check that it has the same effect.
    #[track_caller]
    fn dumped(text: &str) -> String {
        let reading = Source::of_text(text, "file").parse(&Overrides::default());
        assert_eq!(reading.problems, []);
        let dumped = reading.dump().unwrap();
        let again = Source::of_text(&dumped, "dump").parse(&Overrides::default());
        assert_eq!(again.problems, [], "{dumped}");
        let (before, after) = (
            format!("{:?}", reading.config),
            format!("{:?}", again.config),
        );
        assert_eq!(after, before, "{dumped}");
        assert_eq!(again.dump().as_deref(), Some(dumped.as_str()));
        dumped
    }

    fn is_line(line: &&str) -> bool {
        !line.trim().is_empty()
    }

    /// The dump of no configuration is the documentation without its comments.
    #[test]
    fn the_defaults_are_those_of_the_documentation() {
        let shown = dumped("");
        let mut shown: Vec<_> = shown.lines().filter(is_line).map(str::to_owned).collect();
        let expected = read_back(BUILT_IN);
        shown.retain(|line| line != "[[database]]" && line != "embedded = true");
        assert_eq!(shown, expected);
        assert!(shown.len() > 70, "{}", shown.len());
    }

    /// Returns the keys of a text as the writer writes them, section by section.
    fn read_back(text: &str) -> Vec<String> {
        let mut lines = Vec::new();
        let mut value = String::new();
        for line in text
            .lines()
            .filter(|line| is_line(line) && !line.starts_with('#'))
        {
            let line = line.split(" #").next().unwrap_or_default().trim();
            if line.starts_with('[') && value.is_empty() {
                if lines
                    .last()
                    .is_some_and(|last: &String| last.starts_with('['))
                {
                    lines.pop();
                }
                lines.push(line.to_owned());
                continue;
            }
            value.push_str(line);
            value.push(' ');
            if value.matches('[').count() == value.matches(']').count() {
                lines.push(value.trim().to_owned());
                value.clear();
            }
        }
        if lines.last().is_some_and(|last| last.starts_with('[')) {
            lines.pop();
        }
        let long = lines.iter().flat_map(|line| {
            let Some((key, list)) = line.split_once(" = [ ") else {
                return vec![line.clone()];
            };
            let list = list.trim_end_matches([']', ',', ' ']);
            let elements = list
                .split(", ")
                .map(|element| format!("  {},", element.trim()));
            let begin = std::iter::once(format!("{key} = ["));
            begin.chain(elements).chain(["]".to_owned()]).collect()
        });
        long.collect()
    }

    #[test]
    fn all_examples_of_the_documentation_are_dumped() {
        let shown = dumped(&uncommented());
        for line in [
            "name = \"api\"",
            "tries = 3",
            "hash_key = \"header:X-User\"",
        ] {
            assert!(
                shown.lines().any(|shown| shown == line),
                "{line} in {shown}"
            );
        }
    }

    #[test]
    fn defaults_are_where_they_mean_something() {
        let shown = dumped(
            "[[upstream]]\npeers = ['127.0.0.1:1', { address = 'a:2', backup = true }]\n[[database]]\nfile = 'a'\n",
        );
        for line in [
            "balance = \"round_robin\"",
            "tls = false",
            "read_timeout = \"60s\"",
            "name = \"default\"",
        ] {
            assert!(
                shown.lines().any(|shown| shown == line),
                "{line} in {shown}"
            );
        }
        let peer = "{ address = \"a:2\", weight = 1, backup = true, drain = false }";
        assert!(shown.contains(peer), "{shown}");
        for key in [
            "verify",
            "hash_key",
            "interval",
            "timeout",
            "slow_start",
            "health_check",
        ] {
            let has_key = shown
                .lines()
                .any(|line| line.starts_with(&format!("{key} =")));
            assert!(!has_key, "{key} in {shown}");
        }
        let shown =
            dumped("[[upstream]]\npeers = ['a:1']\ntls = true\nhealth_check = { type = 'tcp' }\n");
        assert!(shown.contains("verify = true\n"), "{shown}");
        let check = "health_check = { type = \"tcp\", interval = \"5s\", timeout = \"2s\", rise = 2, fall = 3 }";
        assert!(shown.contains(check), "{shown}");
    }

    #[test]
    fn secrets_are_hidden() {
        let text = "[[upstream]]\npeers = ['a:1']\nsticky_cookie = 'a'\nsticky_key = 'sesame-sesame-sesame'\n\
                    [[route]]\nupstream = 'default'\nheaders = { X-Api-Key = 'sesame' }\n\
                    request_headers.set = { Authorization = 'Basic sesame', X-A = 'shown' }\n\
                    [[auth]]\nname = 'a'\nusers = { joe = '$5$sesame$C3o4O1TC6aRHF4FI.QSZMXtHbaj2gSXr4sUc/3NcUi.' }\n\
                    [[database]]\nurl = 'https://me:sesame@example.com/a@b'\nfile = 'a'\n";
        let reading = Source::of_text(text, "file").parse(&Overrides::default());
        assert_eq!(reading.problems, []);
        let dumped = reading.dump().unwrap();
        assert!(!dumped.contains("sesame"), "{dumped}");
        for text in [
            "sticky_key = \"[secret, not shown]\"",
            "users = { joe = \"{SHA}AAAAAAAAAAAAAAAAAAAAAAAAAAA=\" }",
            "set = { Authorization = \"[secret, not shown]\", X-A = \"shown\" }",
            "url = \"https://***@example.com/a@b\"",
        ] {
            assert!(dumped.contains(text), "{text} in {dumped}");
        }
        let again = Source::of_text(&dumped, "dump").parse(&Overrides::default());
        assert_eq!(again.problems, []);
    }

    #[test]
    fn secrets_are_hidden_wherever_a_header_or_parameter_may_stand() {
        let text = "[[upstream]]\npeers = ['a:1']\nprotocol = 'fastcgi'\n\
                    [[route]]\nupstream = 'default'\nrequest_headers.add = { X-Token = 'sesame' }\n\
                    fastcgi = { root = '/', params = { DB_PASSWORD = 'sesame', DB_NAME = 'shown' } }\n\
                    [route.response_headers]\nadd = { Set-Cookie = ['a=sesame', 'b=sesame'] }\n\
                    on_success = { set = { X-Secret = 'sesame' }, add = { X-Key = 'sesame', X-A = 'shown' } }\n";
        let reading = Source::of_text(text, "file").parse(&Overrides::default());
        assert_eq!(reading.problems, []);
        let dumped = reading.dump().unwrap();
        assert!(!dumped.contains("sesame"), "{dumped}");
        assert_eq!(dumped.matches("shown\"").count(), 2, "{dumped}");
        assert_eq!(dumped.matches(HIDDEN).count(), 6, "{dumped}");
    }

    /// A document with these variables of the environment, and its dump.
    #[test]
    fn values_of_references_are_dumped_as_what_they_are() {
        let environment = |name: &str| match name {
            "NUMBER" => Some("2".into()),
            "ON" => Some("true".into()),
            "SLY" => Some("x$host${ON}$$".into()),
            _ => None,
        };
        let text = "[server]\nworkers = '${NUMBER}'\nwork_stealing = '${ON}'\npid_file = '/${SLY}/$${NUMBER}'\n\
                    [[route]]\nrespond.body = '$host${SLY}${NUMBER}$${ON}'\nname = '${NUMBER}'\n";
        let document = Document::load(text, "file", None, &environment).unwrap();
        let problems = Problems::default();
        let config = sections::read(&document, &Overrides::default(), &problems);
        let dumped = dump(&document);
        for line in [
            "workers = 2",
            "work_stealing = true",
            "name = \"2\"",
            "pid_file = \"/x$host$${ON}$$/$${NUMBER}\"",
        ] {
            assert!(
                dumped.lines().any(|shown| shown == line),
                "{line} in {dumped}"
            );
        }
        let again = Source::of_text(&dumped, "dump").parse(&Overrides::default());
        assert_eq!(again.problems, [], "{dumped}");
        assert_eq!(
            format!("{:?}", again.config.unwrap()),
            format!("{config:?}")
        );
    }
}
