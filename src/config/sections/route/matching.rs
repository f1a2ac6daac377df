//! Conditions of a route on host, listener, scheme, path and method.

use http::Method;
use regex::bytes::{Regex, RegexBuilder};

use super::list;
use crate::config::document::{Item, Section};
use crate::config::model::{
    Captures, HostPattern, Listener, ListenerPattern, PathPattern, PathPrefix, Priority,
};
use crate::config::sections::one_of;

/// Maximum memory of a compiled pattern in bytes.
const PATTERN_LIMIT: usize = 1 << 20;

/// Reads `path`, `prefix`, `starts_with` and `regex`. A prefix of either kind may have `regex`, too.
pub(super) fn path_pattern(section: &Section) -> PathPattern {
    let is_there = |key: &'static str| section.item(key).is_some();
    let keys = ["path", "prefix", "starts_with"];
    if keys.into_iter().filter(|key| is_there(key)).count() > 1 {
        section.note("", "has several of path, prefix and starts_with");
    }
    if is_there("path") && is_there("regex") {
        section.note("", "has path and regex");
    }
    let exact = section.value("path", None, |item| plain_path(item).map(Some));
    let prefix = section.value("prefix", None, |item| plain_path(item).map(Some));
    let beginning = section.value("starts_with", None, |item| plain_path(item).map(Some));
    let regexes = list(section, "regex", |item| pattern(item.string()?));
    let whole_segments = prefix.is_some();
    if let Some(path) = exact {
        PathPattern::Exact(path)
    } else if let Some(text) = prefix.or(beginning) {
        PathPattern::Prefix(PathPrefix {
            text,
            whole_segments,
            regexes,
        })
    } else if regexes.is_empty() {
        PathPattern::Any
    } else {
        PathPattern::Regex(regexes)
    }
}

/// Reads `priority`.
pub(super) fn priority(section: &Section, path: &PathPattern) -> Priority {
    let is_prefix = matches!(path, PathPattern::Prefix(_));
    let known = [
        ("first", Priority::First),
        ("below_regex", Priority::BelowRegex),
    ];
    section.value("priority", Priority::Normal, |item| {
        match one_of(item, &known)? {
            Priority::BelowRegex if !is_prefix => Err(
                "\"below_regex\" is for routes with prefix or starts_with, and without regex"
                    .to_owned(),
            ),
            priority => Ok(priority),
        }
    })
}

/// Reads one value of `listener`: an address as in `server.listen`, or a port. It must be one of the
/// `known` listeners, if there are any.
pub(super) fn listener(item: &Item, known: Option<&[Listener]>) -> Result<ListenerPattern, String> {
    let found = if let Ok(port) = item.integer(1, 65535) {
        ListenerPattern::Port(port as u16)
    } else {
        let text = item.string()?;
        let address = text.parse();
        let address = address.map_err(|_| {
            format!("{text:?} is neither an address and port such as \"0.0.0.0:80\" nor a port")
        })?;
        ListenerPattern::Address(address)
    };
    let Some(known) = known else {
        return Ok(found);
    };
    let is_it = |listener: &Listener| match found {
        ListenerPattern::Address(address) => listener.address == address,
        ListenerPattern::Port(port) => listener.address.port() == port,
    };
    if known.iter().any(is_it) {
        return Ok(found);
    }
    let known: Vec<_> = known.iter().map(|one| one.address.to_string()).collect();
    Err(format!(
        "is not in server.listen, which has {}",
        known.join(", ")
    ))
}

/// Reads `scheme`. Returns `true` for `https`.
pub(super) fn scheme(item: &Item) -> Result<Option<bool>, String> {
    one_of(item, &[("http", false), ("https", true)]).map(Some)
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
pub(in crate::config::sections) fn pattern(text: &str) -> Result<Regex, String> {
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

/// Returns the names of the groups of a route's patterns for templates.
pub(super) fn captures(path: &PathPattern, hosts: &[HostPattern]) -> Captures {
    let names = |regex: &Regex| -> Vec<Option<String>> {
        let names = regex.capture_names();
        names.map(|name| name.map(str::to_owned)).collect()
    };
    let hosts = hosts.iter().filter_map(|host| match host {
        HostPattern::Regex(regex) => Some(names(regex)),
        _ => None,
    });
    let captures = path
        .regex()
        .map_or_else(Captures::default, |regex| Captures::new(names(regex)));
    captures.with_hosts(hosts)
}

/// Reads a host: a name, `*.name`, `name.*`, or a regular expression after `~`.
pub(super) fn host(item: &Item) -> Result<HostPattern, String> {
    let text = item.string()?;
    if let Some(regex) = text.strip_prefix('~') {
        return pattern(regex).map(HostPattern::Regex);
    }
    let lower = text.to_ascii_lowercase();
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_name = |name: &str| {
        name.split('.')
            .all(|label| !label.is_empty() && label.bytes().all(known))
    };
    if let Some(name) = lower.strip_suffix(".*")
        && is_name(name)
    {
        return Ok(HostPattern::Prefix(format!("{name}.")));
    }
    let suffix = lower.strip_prefix("*.");
    let name = suffix.unwrap_or(&lower);
    let name = name.strip_suffix('.').unwrap_or(name);
    let inner = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let is_address = inner.is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok());
    match suffix {
        Some(_) if is_name(name) => Ok(HostPattern::Suffix(format!(".{name}"))),
        None if is_name(name) || is_address => Ok(HostPattern::Exact(name.to_owned())),
        _ => Err(format!(
            "{text:?} is no host such as \"example.com\", \"*.example.com\", \"example.*\" or \"~REGEX\"; \
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
