//! References to the environment and to files in the strings of the configuration.
//!
//! `${NAME}` is a variable of the environment, `${NAME:-default}` has a default for one that is
//! missing or empty, and `${file:/run/secrets/x}` is the content of a file. Names are in upper case
//! and in braces, so that they are never taken for the variables of requests (`$host`, `${host}`),
//! which are in lower case. All other dollars keep their meaning: a regex needs them. `$$` before
//! such a reference is a dollar: `$${NAME}` is the text `${NAME}`.
//!
//! A value is never read for references or variables again: it is a [`Piece::Value`] to its end.

use std::fs::File;
use std::io::Read as _;

/// Maximum size of a file that a value comes from, in bytes.
const MAX_FILE: u64 = 64 << 10;

/// Part of a string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) enum Piece {
    /// Text as the operator wrote it, with pairs of dollars.
    Written(String),
    /// Value of a reference.
    Value(String),
}

/// A string whose references are replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) struct Interpolated {
    /// Parts in their order.
    pub pieces: Vec<Piece>,
    /// Whole text for keys without variables of requests.
    pub text: String,
    /// Contents of files in it.
    pub secrets: Vec<String>,
}

/// Source of a value.
enum Reference<'t> {
    Environment {
        name: &'t str,
        default: Option<&'t str>,
    },
    File(&'t str),
}

/// Variable of the environment: its value, if it has one.
pub(in crate::config) type Environment<'e> = &'e dyn Fn(&str) -> Option<std::ffi::OsString>;

/// Replaces the references in a text. Returns `None` for a text without any.
///
/// # Errors
/// If a reference is malformed, has no value, or its file cannot be read. No message contains a
/// value.
pub(in crate::config) fn interpolate(
    text: &str,
    environment: Environment,
) -> Result<Option<Interpolated>, String> {
    if !text.contains("${") {
        return Ok(None);
    }
    let mut found = Interpolated {
        pieces: Vec::new(),
        text: String::new(),
        secrets: Vec::new(),
    };
    let (mut written, mut rest, mut has_references) = (String::new(), text, false);
    while let Some(at) = rest.find('$') {
        let dollars = rest[at..].bytes().take_while(|byte| *byte == b'$').count();
        let (before, after) = (&rest[..at], &rest[at + dollars..]);
        written.push_str(before);
        found.text.push_str(before);
        let reference = after.strip_prefix('{').map_or(Ok(None), reference);
        if matches!(reference, Ok(None)) {
            written.push_str(&rest[at..at + dollars]);
            found.text.push_str(&rest[at..at + dollars]);
            rest = after;
            continue;
        }
        has_references = true;
        written.push_str(&"$$".repeat(dollars / 2));
        found.text.push_str(&"$".repeat(dollars / 2));
        if dollars.is_multiple_of(2) {
            // Escaped: the brace and all after it are text.
            rest = after;
            continue;
        }
        let Some((reference, after_reference)) = reference? else {
            continue;
        };
        let value = match reference {
            Reference::Environment { name, default } => variable(name, default, environment)?,
            Reference::File(path) => {
                let content = content(path)?;
                found.secrets.push(content.clone());
                content
            }
        };
        if !written.is_empty() {
            found
                .pieces
                .push(Piece::Written(std::mem::take(&mut written)));
        }
        found.text.push_str(&value);
        found.pieces.push(Piece::Value(value));
        rest = after_reference;
    }
    written.push_str(rest);
    found.text.push_str(rest);
    if !written.is_empty() {
        found.pieces.push(Piece::Written(written));
    }
    Ok(has_references.then_some(found))
}

/// Parses the inside of `${...}`. Returns the reference and the text after its brace, or `None` for
/// a brace with anything else in it.
fn reference(inner: &str) -> Result<Option<(Reference<'_>, &str)>, String> {
    if let Some(path) = inner.strip_prefix("file:") {
        let (path, after) = path
            .split_once('}')
            .ok_or("${file: has no } behind it; write $${ for the text ${")?;
        if path.is_empty() {
            return Err("a path is expected in ${file:}".to_owned());
        }
        return Ok(Some((Reference::File(path), after)));
    }
    if !inner.starts_with(|c: char| c.is_ascii_uppercase()) {
        return Ok(None);
    }
    let is_of_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let (name, rest) = inner.split_at(inner.find(|c| !is_of_name(c)).unwrap_or(inner.len()));
    let malformed = || {
        format!(
            "${{{name} is neither ${{{name}}} nor ${{{name}:-default}}; write $${{ for the text ${{"
        )
    };
    if let Some(after) = rest.strip_prefix('}') {
        let default = None;
        return Ok(Some((Reference::Environment { name, default }, after)));
    }
    // A group of a regex, such as `${Page}`, may begin with a capital letter.
    if rest.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Ok(None);
    }
    let rest = rest.strip_prefix(":-").ok_or_else(malformed)?;
    let (default, after) = rest.split_once('}').ok_or_else(malformed)?;
    let default = Some(default);
    Ok(Some((Reference::Environment { name, default }, after)))
}

fn variable(name: &str, default: Option<&str>, environment: Environment) -> Result<String, String> {
    let value = environment(name).filter(|value| default.is_none() || !value.is_empty());
    match (value, default) {
        (Some(value), _) => value
            .into_string()
            .map_err(|_| format!("the value of ${{{name}}} is not UTF-8")),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(format!(
            "there is no {name} in the environment; ${{{name}:-default}} has a default"
        )),
    }
}

/// Reads a file, without one line break at its end.
fn content(path: &str) -> Result<String, String> {
    let wrong = |reason: &dyn std::fmt::Display| format!("${{file:{path}}}: {reason}");
    let file = File::open(path).map_err(|error| wrong(&error))?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| wrong(&error))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(wrong(&format_args!("is larger than {MAX_FILE} bytes")));
    }
    let mut text = String::from_utf8(bytes).map_err(|_| wrong(&"is not UTF-8"))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

/// Returns a text in which no reference begins: the dollars before one are doubled.
pub(crate) fn escape(text: &str) -> String {
    let (mut escaped, mut rest) = (String::new(), text);
    while let Some(at) = rest.find('$') {
        let dollars = rest[at..].bytes().take_while(|byte| *byte == b'$').count();
        let (before, after) = (&rest[..at], &rest[at + dollars..]);
        let reference = after.strip_prefix('{').map_or(Ok(None), reference);
        let begins = !matches!(reference, Ok(None));
        escaped.push_str(before);
        escaped.push_str(&"$".repeat(if begins { 2 * dollars } else { dollars }));
        rest = after;
    }
    escaped.push_str(rest);
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Option<std::ffi::OsString> {
        let value = match name {
            "HOST" => "app.example",
            "EMPTY" => "",
            "SLY" => "${HOST} $host",
            "BRACE" => "{HOST}",
            _ => return None,
        };
        Some(value.into())
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let found = interpolate(text, &environment).unwrap();
        let found = found.map_or_else(|| text.to_owned(), |found| found.text);
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn references_are_replaced() {
        check("http://${HOST}:80/", "http://app.example:80/");
        check("${HOST}${HOST}", "app.exampleapp.example");
        check("${EMPTY}", "");
        check("${NONE:-a b}", "a b");
        check("${EMPTY:-a}", "a");
        check("${HOST:-a}", "app.example");
        check("${NONE:-}", "");
    }

    #[test]
    fn other_dollars_stay() {
        for text in [
            "^/a$", "a$$", "$host", "${host}", "$HOST", "${", "${}", "^(a|b)$$", "${Page}", "${2}",
        ] {
            check(text, text);
        }
    }

    #[test]
    fn pairs_of_dollars_before_a_reference_are_dollars() {
        check("$${HOST}", "${HOST}");
        check("$$${HOST}", "$app.example");
        check("$$$${HOST}", "$${HOST}");
        check("$${HOST", "${HOST");
        check("a$$b ${HOST}", "a$$b app.example");
    }

    #[test]
    fn a_value_is_not_read_again() {
        check("${SLY}", "${HOST} $host");
        check("$$${BRACE}", "${HOST}");
        check("${NONE:-${HOST}", "${HOST");
        let pieces = |text| interpolate(text, &environment).unwrap().unwrap().pieces;
        assert_eq!(
            pieces("a$b${SLY}$${HOST}"),
            [
                Piece::Written("a$b".to_owned()),
                Piece::Value("${HOST} $host".to_owned()),
                Piece::Written("$${HOST}".to_owned()),
            ]
        );
    }

    #[test]
    fn an_escaped_text_is_itself() {
        for text in [
            "${HOST}",
            "$${HOST}",
            "$${HOST",
            "a$b",
            "$",
            "${Page} ${file:x}",
            "{HOST}",
        ] {
            check(&escape(text), text);
        }
    }

    #[track_caller]
    fn check_error(text: &str, expected: &str) {
        let error = interpolate(text, &environment).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    }

    #[test]
    fn a_wrong_reference_is_an_error() {
        check_error(
            "${NONE}",
            "there is no NONE in the environment; ${NONE:-default} has",
        );
        check_error("${HOST", "${HOST is neither ${HOST} nor ${HOST:-default}");
        check_error("${HOST-a}", "${HOST is neither");
        check_error("${HOST:-a", "${HOST is neither");
        check_error("${file:}", "a path is expected in ${file:}");
        check_error("${file:/a", "${file: has no } behind it");
        check_error(
            "${file:/nonexistent/a}",
            "${file:/nonexistent/a}: No such file",
        );
    }

    #[test]
    fn a_file_loses_one_line_break() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        let path = file.display().to_string();
        for (content, expected) in [
            ("a", "a"),
            ("a\n", "a"),
            ("a\r\n", "a"),
            ("a\n\n", "a\n"),
            (" a \n", " a "),
            ("\n", ""),
            ("${HOST}", "${HOST}"),
        ] {
            std::fs::write(&file, content).unwrap();
            check(&format!("${{file:{path}}}"), expected);
        }
        std::fs::write(&file, vec![b'a'; 65537]).unwrap();
        check_error(
            &format!("${{file:{path}}}"),
            &format!("${{file:{path}}}: is larger than 65536 bytes"),
        );
        std::fs::write(&file, [0xff]).unwrap();
        check_error(
            &format!("${{file:{path}}}"),
            &format!("${{file:{path}}}: is not UTF-8"),
        );
    }
}
