//! Conditions of a route on host, path and method.

use http::Method;
use regex::bytes::{Regex, RegexBuilder};

use crate::config::document::{Item, Section};
use crate::config::model::{Captures, HostPattern, PathPattern};

/// Maximum memory of a compiled pattern in bytes.
const PATTERN_LIMIT: usize = 1 << 20;

/// Reads `path`, `prefix` or `regex`.
pub(super) fn path_pattern(section: &Section) -> PathPattern {
    let keys = ["path", "prefix", "regex"];
    let found = keys.into_iter().filter(|key| section.item(key).is_some());
    if found.count() > 1 {
        section.note("", "has several of path, prefix and regex");
    }
    let exact = section.value("path", None, |item| plain_path(item).map(Some));
    let prefix = section.value("prefix", None, |item| plain_path(item).map(Some));
    let regex = section.value("regex", None, |item| pattern(item.string()?).map(Some));
    if let Some(path) = exact {
        PathPattern::Exact(path)
    } else if let Some(prefix) = prefix {
        PathPattern::Prefix(prefix)
    } else if let Some(regex) = regex {
        PathPattern::Regex(regex)
    } else {
        PathPattern::Any
    }
}

/// Reads a path in the normalized form that requests have; a path in another form would never match.
fn plain_path(item: &Item) -> Result<String, String> {
    let text = item.string()?;
    if !text.starts_with('/') {
        return Err(format!("{text:?} does not begin with \"/\""));
    }
    let inner = &text[1..];
    let segments = inner.strip_suffix('/').unwrap_or(inner).split('/');
    if segments
        .clone()
        .any(|segment| matches!(segment, "." | ".."))
        || segments.clone().any(str::is_empty) && !inner.is_empty()
    {
        return Err("paths are matched without \"//\", \"/./\" and \"/../\"".to_owned());
    }
    let escaped = text.split('%').skip(1).any(|rest| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    if escaped {
        return Err("paths are matched decoded; write the character itself".to_owned());
    }
    if text.contains(['?', '#']) {
        return Err("a path has neither query nor fragment".to_owned());
    }
    Ok(text.to_owned())
}

/// Compiles a regular expression.
pub(super) fn pattern(text: &str) -> Result<Regex, String> {
    let regex = RegexBuilder::new(text)
        // Otherwise `%0A` in a path would prevent the match of a pattern such as `^/.*$`.
        .dot_matches_new_line(true)
        .size_limit(PATTERN_LIMIT)
        .dfa_size_limit(PATTERN_LIMIT)
        .build();
    regex.map_err(|error| {
        // The text of a syntax error has several lines, with the message in the last one.
        let error = error.to_string();
        let last = error.lines().last().unwrap_or_default();
        format!("{text:?}: {}", last.strip_prefix("error: ").unwrap_or(last))
    })
}

/// Returns the names of the pattern's groups for templates.
pub(super) fn captures(path: &PathPattern) -> Captures {
    match path {
        PathPattern::Regex(regex) => {
            Captures::new(regex.capture_names().map(|name| name.map(str::to_owned)))
        }
        _ => Captures::default(),
    }
}

pub(super) fn host(item: &Item) -> Result<HostPattern, String> {
    let text = item.string()?;
    let lower = text.to_ascii_lowercase();
    let wildcard = lower.strip_prefix("*.");
    let name = wildcard.unwrap_or(&lower);
    let name = name.strip_suffix('.').unwrap_or(name);
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_name = name
        .split('.')
        .all(|label| !label.is_empty() && label.bytes().all(known));
    let inner = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let is_address = inner.is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok());
    match wildcard {
        Some(_) if is_name => Ok(HostPattern::Wildcard(format!(".{name}"))),
        None if is_name || is_address => Ok(HostPattern::Exact(name.to_owned())),
        _ => Err(format!(
            "{text:?} is neither a host such as \"example.com\" nor \"*.example.com\"; \
             without a port, and left out for every host"
        )),
    }
}

pub(super) fn method(item: &Item) -> Result<Method, String> {
    let text = item.string()?;
    let known = !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte == b'-');
    let method = Method::from_bytes(text.as_bytes()).ok().filter(|_| known);
    method.ok_or_else(|| format!("{text:?} is no method such as \"GET\""))
}
