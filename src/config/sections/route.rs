//! `[[route]]`.

mod headers;

use std::collections::HashMap;

use http::Method;
use regex::bytes::{Regex, RegexBuilder};

use self::headers::{changes, conditions};
use crate::config::Overrides;
use crate::config::document::{Item, Section};
use crate::config::model::{
    Action, Captures, HostPattern, PathPattern, RequestVariable, Route, Template, Territory,
    Upstream,
};
use crate::geo::Codes;

/// How much memory a pattern may take once it is ready.
const PATTERN_LIMIT: usize = 1 << 20;

pub(super) fn routes(root: &Section, upstreams: &[Upstream], overrides: &Overrides) -> Vec<Route> {
    let sections = root.sections("route");
    let mut reader = Reader {
        upstreams,
        overridden: !overrides.upstream.is_empty(),
        named: vec![false; upstreams.len()],
        codes: None,
    };
    let mut routes: Vec<Route> = Vec::new();
    let mut taken: HashMap<String, usize> = HashMap::new();
    for (index, section) in sections.iter().enumerate() {
        let route = reader.route(section, index);
        if routes.iter().any(|other| other.name == route.name) {
            section.note("name", format!("there is another {:?}", route.name));
        }
        let first = *taken.entry(conditions_of(&route)).or_insert(index);
        if first != index {
            let other = &routes[first].name;
            let reason = format!("takes the same requests as {other:?}, so none comes here");
            section.note("", reason);
        }
        routes.push(route);
    }
    if !reader.overridden {
        refuse_unused(root, &reader, routes.is_empty());
    }
    routes
}

/// An upstream that nothing leads to is a mistake: of its name, or of a route that was forgotten.
fn refuse_unused(root: &Section, reader: &Reader, no_routes: bool) {
    if no_routes && reader.upstreams.len() < 2 {
        return;
    }
    for (section, named) in root.sections("upstream").iter().zip(&reader.named) {
        if !named {
            let reason = if no_routes {
                "is one of several, and no [[route]] says what goes where"
            } else {
                "no route leads here"
            };
            section.note("", reason);
            if no_routes {
                return;
            }
        }
    }
}

fn conditions_of(route: &Route) -> String {
    format!(
        "{:?}",
        (
            &route.hosts,
            &route.path,
            &route.methods,
            &route.headers,
            &route.countries,
            &route.regions
        )
    )
}

struct Reader<'u> {
    upstreams: &'u [Upstream],
    /// Whether the command line says where everything goes.
    overridden: bool,
    /// Which upstreams a route leads to.
    named: Vec<bool>,
    /// Read when the first place is named.
    codes: Option<Codes>,
}

impl Reader<'_> {
    fn route(&mut self, section: &Section, index: usize) -> Route {
        let name = |item: &Item| match item.string()? {
            "" => Err("a name is expected".to_owned()),
            name => Ok(name.to_owned()),
        };
        let path = path_pattern(section);
        let captures = captures(&path);
        let route = Route {
            name: section.value("name", format!("route[{index}]"), name),
            hosts: list(section, "host", host),
            methods: list(section, "methods", method),
            headers: conditions(section),
            countries: list(section, "countries", |item| {
                let text = item.string()?;
                let country = Territory::country(text, self.codes());
                country.ok_or_else(|| format!("{text:?} is no country's code"))
            }),
            regions: list(section, "regions", |item| match item.string()? {
                "" => Err("a region is expected".to_owned()),
                text => Ok(Territory::region(text, self.codes())),
            }),
            action: self.action(section, &captures),
            request_headers: changes(section, "request_headers", &captures),
            response_headers: changes(section, "response_headers", &captures),
            path,
        };
        section.refuse_unknown();
        route
    }

    fn codes(&mut self) -> &Codes {
        self.codes.get_or_insert_with(Codes::built_in)
    }

    fn action(&mut self, section: &Section, captures: &Captures) -> Action {
        let found = [
            section.item("upstream").is_some(),
            section.item("redirect").is_some(),
            section.item("respond").is_some(),
        ];
        match found.iter().filter(|found| **found).count() {
            0 => section.note("", "has neither upstream nor redirect nor respond"),
            1 => {}
            _ => section.note("", "has several of upstream, redirect and respond"),
        }
        let rewrite = section.value("rewrite", None, |item| {
            let template = template(item, captures)?;
            let is_path = item.string()?.starts_with(['/', '$']);
            if !is_path {
                return Err("a path is expected, which begins with \"/\"".to_owned());
            }
            Ok(Some(template))
        });
        if rewrite.is_some() && !found[0] {
            section.note("rewrite", "is for requests to an upstream");
        }
        if found[1] {
            redirect(&section.section("redirect"), captures)
        } else if found[2] {
            respond(&section.section("respond"), captures)
        } else {
            let number = section.value("upstream", 0, |item| self.upstream(item.string()?));
            Action::Upstream { number, rewrite }
        }
    }

    fn upstream(&mut self, name: &str) -> Result<usize, String> {
        if self.overridden {
            return Ok(0);
        }
        let number = self.upstreams.iter().position(|known| known.name == name);
        let number = number.ok_or_else(|| {
            let names = self
                .upstreams
                .iter()
                .map(|known| format!("{:?}", known.name));
            match &names.collect::<Vec<_>>()[..] {
                [] => format!("there is no upstream {name:?}; there is none at all"),
                names => format!(
                    "there is no upstream {name:?}; there is {}",
                    names.join(", ")
                ),
            }
        })?;
        self.named[number] = true;
        Ok(number)
    }
}

fn redirect(section: &Section, captures: &Captures) -> Action {
    let statuses = [301, 302, 303, 307, 308];
    let to = section.required("to", |item| match item.string()? {
        "" => Err("a URL or a path is expected".to_owned()),
        _ => template(item, captures),
    });
    let action = Action::Redirect {
        // The one that no client remembers: a mistake can be taken back.
        status: section.value("status", 302, |item| {
            let status = item.integer(0, 999)? as u16;
            let known = statuses.contains(&status);
            known
                .then_some(status)
                .ok_or_else(|| format!("{status} is not one of {statuses:?}"))
        }),
        to: to.unwrap_or_default(),
    };
    section.refuse_unknown();
    action
}

fn respond(section: &Section, captures: &Captures) -> Action {
    let status = section.value("status", 200, |item| Ok(item.integer(200, 599)? as u16));
    let body = section.value("body", Template::default(), |item| template(item, captures));
    let media_type = "text/plain; charset=utf-8".to_owned();
    let action = Action::Respond {
        status,
        media_type: section.value("type", media_type, |item| {
            let text = item.string()?;
            let is_type =
                text.contains('/') && text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
            let named = is_type.then(|| text.to_owned());
            named.ok_or_else(|| format!("{text:?} is no media type such as \"text/html\""))
        }),
        body,
    };
    if matches!(status, 204 | 205 | 304) && section.item("body").is_some() {
        section.note("body", format!("a response with status {status} has none"));
    }
    section.refuse_unknown();
    action
}

fn path_pattern(section: &Section) -> PathPattern {
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

/// A path as requests have it once they are normalised; any other would never be met.
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

fn pattern(text: &str) -> Result<Regex, String> {
    let regex = RegexBuilder::new(text)
        // Or `%0A` in a path would keep it from a pattern that is meant to take everything.
        .dot_matches_new_line(true)
        .size_limit(PATTERN_LIMIT)
        .dfa_size_limit(PATTERN_LIMIT)
        .build();
    regex.map_err(|error| {
        // An error of syntax is a drawing, whose last line says it.
        let error = error.to_string();
        let last = error.lines().last().unwrap_or_default();
        format!("{text:?}: {}", last.strip_prefix("error: ").unwrap_or(last))
    })
}

fn captures(path: &PathPattern) -> Captures {
    match path {
        PathPattern::Regex(regex) => {
            Captures::new(regex.capture_names().map(|name| name.map(str::to_owned)))
        }
        _ => Captures::default(),
    }
}

fn template(item: &Item, captures: &Captures) -> Result<Template<RequestVariable>, String> {
    let text = item.string()?;
    if text
        .chars()
        .any(|c| c.is_control() && c != '\n' && c != '\t')
    {
        return Err("has a control character".to_owned());
    }
    Template::parse(text, captures).map_err(|error| error.to_string())
}

fn host(item: &Item) -> Result<HostPattern, String> {
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

fn method(item: &Item) -> Result<Method, String> {
    let text = item.string()?;
    let known = !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte == b'-');
    let method = Method::from_bytes(text.as_bytes()).ok().filter(|_| known);
    method.ok_or_else(|| format!("{text:?} is no method such as \"GET\""))
}

/// The values of a key that has one or a list of several.
fn list<T>(
    section: &Section,
    key: &'static str,
    mut read: impl FnMut(&Item) -> Result<T, String>,
) -> Vec<T> {
    let Some(item) = section.item(key) else {
        return Vec::new();
    };
    if item.is_empty_array() {
        section.note(key, "at least one is needed; leave it out to take all");
    }
    let items = item.one_or_more();
    items
        .iter()
        .filter_map(|item| item.read(&mut read))
        .collect()
}

#[cfg(test)]
mod tests;
