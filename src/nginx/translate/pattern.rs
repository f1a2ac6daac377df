//! Which paths a location is for.

use super::super::scope::Scope;
use super::super::tree::Directive;

/// The paths of a location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pattern {
    Exact(String),
    Prefix(String),
    Regex(String),
}

/// Whether there are prefixes besides `/`.
pub(super) fn has_prefixes(scope: &Scope) -> bool {
    scope
        .here("location")
        .any(|location| matches!(pattern(location), Some(Pattern::Prefix(path)) if path != "/"))
}

/// A prefix as a regular expression, which comes behind those that stand before it.
pub(super) fn as_regex(prefix: &str) -> Pattern {
    let mut regex = "^".to_owned();
    for c in prefix.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            regex.push('\\');
        }
        regex.push(c);
    }
    Pattern::Regex(regex)
}

/// What a location is for; `None` if it is none of paths.
pub(super) fn pattern(location: &Directive) -> Option<Pattern> {
    let path = |text: &str| text.to_owned();
    match location.args.as_slice() {
        [modifier, text] => match modifier.as_str() {
            "=" => Some(Pattern::Exact(path(text))),
            "^~" => Some(Pattern::Prefix(path(text))),
            "~" => Some(Pattern::Regex(path(text))),
            "~*" => Some(Pattern::Regex(format!("(?i){text}"))),
            _ => None,
        },
        // A modifier may stand right before what it is of.
        [text] => {
            if let Some(rest) = text.strip_prefix("~*") {
                Some(Pattern::Regex(format!("(?i){rest}")))
            } else if let Some(rest) = text.strip_prefix("^~") {
                Some(Pattern::Prefix(path(rest)))
            } else if let Some(rest) = text.strip_prefix('~') {
                Some(Pattern::Regex(path(rest)))
            } else if let Some(rest) = text.strip_prefix('=') {
                Some(Pattern::Exact(path(rest)))
            } else {
                text.starts_with('/').then(|| Pattern::Prefix(path(text)))
            }
        }
        _ => None,
    }
}
