//! Path patterns of locations, and regular expressions in the dialect of the `regex` crate.
//!
//! nginx's expressions are those of PCRE. Features that the crate lacks (lookaround, possessive
//! quantifiers) are written in another way where that is exact. Otherwise the expression is
//! widened: a location that forbids must never match less than it did.

use regex::bytes::{Regex, RegexBuilder};

use super::super::tree::Directive;

/// Path pattern of a location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pattern {
    Exact(String),
    Prefix(String),
    Regex(String),
}

/// Regular expression of the file in geogate's dialect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Translated {
    pub(super) regex: String,
    /// True if it matches the same paths; otherwise it matches more.
    pub(super) is_exact: bool,
}

/// Returns a regular expression that matches this text literally.
pub(super) fn escaped(text: &str) -> String {
    let mut regex = String::new();
    for c in text.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            regex.push('\\');
        }
        regex.push(c);
    }
    regex
}

/// Returns the names of the groups of an expression: the number of each, and its own name if it has one.
pub(super) fn groups(regex: &Regex) -> Vec<String> {
    let groups = regex.capture_names().enumerate().skip(1);
    let names =
        groups.flat_map(|(number, name)| [Some(number.to_string()), name.map(str::to_owned)]);
    names.flatten().collect()
}

/// Returns `true` if a location is a prefix that keeps regular expressions from being tried (`^~`).
pub(super) fn is_preferred(location: &Directive) -> bool {
    location.arg(0).starts_with("^~")
}

/// Returns the pattern of a location; `None` if it is named (`@name`) or of an unknown kind.
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
        // The modifier may stand directly before the path.
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

/// Compiles an expression with the settings of geogate's routes.
pub(super) fn compiled(regex: &str) -> Option<Regex> {
    RegexBuilder::new(regex)
        .dot_matches_new_line(true)
        .size_limit(1 << 20)
        .dfa_size_limit(1 << 20)
        .build()
        .ok()
}

/// Translates an expression of PCRE into the dialect of the crate.
pub(super) fn translated(regex: &str) -> Translated {
    if compiled(regex).is_some() {
        return Translated {
            regex: regex.to_owned(),
            is_exact: true,
        };
    }
    if let Some(exact) = without_final_lookahead(regex).filter(|regex| compiled(regex).is_some()) {
        return Translated {
            regex: exact,
            is_exact: true,
        };
    }
    let wider = widened(regex).filter(|regex| compiled(regex).is_some());
    Translated {
        // Its matches cannot be known, so the result matches every path.
        regex: wider.unwrap_or_else(|| "^/".to_owned()),
        is_exact: false,
    }
}

/// Rewrites `X(?!literal)` at the end, or before `.*`, without lookahead: X, then anything that
/// does not begin with the literal.
fn without_final_lookahead(regex: &str) -> Option<String> {
    let (before, rest) = regex.split_once("(?!")?;
    let (literal, after) = rest.split_once(')')?;
    if !matches!(after, "" | ".*" | ".*$" | "(.*)" | "(.*)$") {
        return None;
    }
    let mut letters = Vec::new();
    let mut chars = literal.chars();
    while let Some(c) = chars.next() {
        let is_plain = c.is_ascii_alphanumeric() || "/-_".contains(c);
        let letter = match c {
            '\\' => chars.next().filter(|next| "/-_.".contains(*next))?,
            c if is_plain => c,
            _ => return None,
        };
        letters.push(letter);
    }
    if letters.is_empty() {
        return None;
    }
    // From the last letter to the first: the end, another letter, or this letter and then the rest.
    let mut other = String::new();
    for (index, c) in letters.iter().enumerate().rev() {
        let one = escaped(&c.to_string());
        let class = if *c == '-' { r"\-" } else { &one };
        other = if index + 1 == letters.len() {
            format!("(?:$|[^{class}])")
        } else {
            format!("(?:$|[^{class}]|{one}{other})")
        };
    }
    Some(format!("{before}{other}"))
}

/// Drops what only narrows an expression: lookaround, atomic groups, possessive quantifiers. `None`
/// if its brackets cannot be parsed.
fn widened(regex: &str) -> Option<String> {
    let mut result = String::new();
    let mut rest = regex;
    let mut is_quantified = false;
    while let Some(c) = rest.chars().next() {
        let is_lookaround = ["(?!", "(?=", "(?<!", "(?<="]
            .iter()
            .any(|begin| rest.starts_with(begin));
        // A quantifier after another one makes that one possessive.
        let is_possessive = c == '+' && is_quantified;
        is_quantified = matches!(c, '+' | '*' | '?' | '}') && !is_quantified;
        if c == '\\' {
            let length = 1 + rest[1..].chars().next()?.len_utf8();
            result.push_str(&rest[..length]);
            rest = &rest[length..];
        } else if is_lookaround {
            rest = &rest[group_length(rest)?..];
            // A quantifier that follows nothing is an error.
            rest = rest.trim_start_matches(['?', '*', '+']);
        } else if let Some(inner) = rest.strip_prefix("(?>") {
            result.push_str("(?:");
            rest = inner;
        } else {
            if !is_possessive {
                result.push(c);
            }
            rest = &rest[c.len_utf8()..];
        }
    }
    Some(result)
}

/// Returns the length of the group at the start of a text, brackets included.
fn group_length(text: &str) -> Option<usize> {
    let (mut depth, mut in_class, mut is_escaped) = (0_usize, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '[' => in_class = true,
            ']' => in_class = false,
            '(' if !in_class => depth += 1,
            ')' if !in_class => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_translated(regex: &str, is_exact: bool, matching: &[&str], others: &[&str]) {
        let found = translated(regex);
        assert_eq!(found.is_exact, is_exact, "{found:?}");
        let compiled = compiled(&found.regex).unwrap();
        for path in matching {
            assert!(compiled.is_match(path.as_bytes()), "{path} {found:?}");
        }
        for path in others {
            assert!(!compiled.is_match(path.as_bytes()), "{path} {found:?}");
        }
    }

    #[test]
    fn a_final_lookahead_is_written_without_one() {
        for regex in [r"/\.(?!well-known)", r"/\.(?!well-known).*"] {
            let matching = ["/.git/config", "/a/.env", "/.w", "/.well-knows", "/."];
            check_translated(regex, true, &matching, &["/.well-known/x", "/a.b", "/"]);
        }
        check_translated(
            r"/\.(?!well-known\/)",
            true,
            &["/.well-known", "/.well-knownx", "/.git"],
            &["/.well-known/x"],
        );
    }

    #[test]
    fn what_cannot_be_written_matches_more() {
        check_translated(r"^/(?!public)(.*)$", true, &["/x"], &["/public"]);
        check_translated(r"^/(?!a|b)[a-z]+$", false, &["/c", "/a"], &["/1"]);
        check_translated(r"\.php(?<!index\.php)$", false, &["/a.php"], &["/a.html"]);
        check_translated(r"^/x(?>a|b)c++$", false, &["/xac"], &["/ya"]);
        check_translated(r"^/(a)\1$", false, &["/aa", "/anything"], &[]);
        check_translated(r"\.php$", true, &["/a.php"], &["/a"]);
    }
}
