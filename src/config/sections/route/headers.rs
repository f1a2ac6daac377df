//! Header conditions and header changes of a route.

use std::sync::Arc;

use http::HeaderName;

use super::matching::pattern;
use super::template;
use crate::config::document::{Item, Section};
use crate::config::model::{
    Captures, Expires, HeaderChanges, HeaderCondition, HeaderPattern, OwnVariables,
    RequestVariable, ResponseChanges, Variable, VariableCondition, Variables, is_managed_name,
};
use crate::config::suggest::known_names;

/// Headers of the connection and of message framing. geogate writes these itself.
const FRAMING: [&str; 10] = [
    "connection",
    "content-length",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "trailers",
    "transfer-encoding",
    "upgrade",
];

/// Reads `headers = { X-Version = "2", User-Agent = "~^curl/" }`.
pub(super) fn conditions(section: &Section) -> Vec<HeaderCondition> {
    let section = section.section("headers");
    let entries = section.entries();
    let conditions = entries.iter().filter_map(|(name, item)| {
        item.read(|item| {
            let name = header_name(name)?;
            if is_managed_name(&name) {
                return Err(
                    "is what clients say of themselves; use countries or regions".to_owned(),
                );
            }
            let value = value_pattern(item)?;
            Ok(HeaderCondition { name, value })
        })
    });
    conditions.collect()
}

fn value_pattern(item: &Item) -> Result<HeaderPattern, String> {
    Ok(match item.string()?.strip_prefix('~') {
        Some(text) => HeaderPattern::Regex(pattern(text)?),
        None => HeaderPattern::Exact(item.string()?.to_owned()),
    })
}

/// Reads `variables = { pool = "beta", arg_page = "~^[0-9]" }`.
pub(super) fn variable_conditions(
    section: &Section,
    own: &Arc<OwnVariables>,
) -> Vec<VariableCondition> {
    let names = Captures::default().with_own(own);
    let section = section.section("variables");
    let entries = section.entries();
    let conditions = entries.iter().filter_map(|(name, item)| {
        item.read(|item| {
            let variable = RequestVariable::from_name(name, &names).ok_or_else(|| {
                if let Some(when) = RequestVariable::known_later(name, &names) {
                    return format!("there is no ${name} here: {when}");
                }
                let known = RequestVariable::known(&names);
                let known = known_names(name, "known", known.split(", "));
                format!("there is no ${name}{known}")
            })?;
            let is_of_route =
                |variable: &Variable| matches!(variable, Variable::Request(RequestVariable::Route));
            if Variable::Request(variable.clone()).any(&mut { is_of_route }) {
                return Err(format!("${name} is not known before the route is"));
            }
            if let RequestVariable::Http(header) = &variable
                && is_managed_name(header)
            {
                return Err(
                    "is what clients say of themselves; use countries or regions".to_owned(),
                );
            }
            let value = value_pattern(item)?;
            Ok(VariableCondition { variable, value })
        })
    });
    conditions.collect()
}

/// Reads `request_headers`.
pub(super) fn request_changes(
    section: &Section,
    captures: &Captures,
) -> HeaderChanges<RequestVariable> {
    let section = section.section("request_headers");
    let changes = changes(&section, true, captures, |_: &RequestVariable| true);
    section.refuse_unknown();
    changes
}

/// Reads `response_headers`, with `on_success` within it, and `expires`.
pub(super) fn response_changes(section: &Section, captures: &Captures) -> ResponseChanges {
    let expires = section.value("expires", None, |item| {
        Expires::parse(item.string()?).map(Some)
    });
    let section = section.section("response_headers");
    let on_success = section.section("on_success");
    let changes = ResponseChanges {
        always: changes(&section, false, captures, Variable::is_known_at_head),
        expires,
        on_success: changes(&on_success, false, captures, Variable::is_known_at_head),
    };
    on_success.refuse_unknown();
    section.refuse_unknown();
    changes
}

/// Reads `{ set = { X-A = "$country" }, add = { Link = ["a", "b"] }, remove = ["X-B"] }`.
/// `is_known` is false for variables that have no value yet.
fn changes<V: Variables>(
    section: &Section,
    is_request: bool,
    captures: &Captures,
    is_known: impl Fn(&V) -> bool,
) -> HeaderChanges<V> {
    let line = |name: &str, item: &Item| {
        changeable(name, is_request)?;
        let value = template::<V>(item, captures)?;
        if !value.variables().all(&is_known) {
            return Err(unknown_at_head(item, captures));
        }
        if item.string()?.contains(['\n', '\t']) {
            return Err("has a control character".to_owned());
        }
        Ok((name.to_owned(), value))
    };
    let (set, add) = (section.section("set"), section.section("add"));
    let entries = set.entries();
    let set = entries.iter();
    let set = set.filter_map(|(name, item)| item.read(|item| line(name, item)));
    let added = add.entries();
    let add = added.iter().flat_map(|(name, item)| {
        let items = item.one_or_more();
        let lines = items.iter();
        let lines = lines.filter_map(|item| item.read(|item| line(name, item)));
        lines.collect::<Vec<_>>()
    });
    let remove = |item: &Item| {
        let name = item.string()?;
        changeable(name, is_request)?;
        if is_request && name.eq_ignore_ascii_case("host") {
            return Err("a request needs one; use set to replace it".to_owned());
        }
        Ok(name.to_ascii_lowercase())
    };
    let items = section.item("remove").map(|item| item.items());
    let items = items.unwrap_or_default();
    HeaderChanges {
        set: set.collect(),
        add: add.collect(),
        remove: items.iter().filter_map(|item| item.read(remove)).collect(),
    }
}

/// Returns the error of a template with a variable that is not known before the response was sent.
fn unknown_at_head(item: &Item, captures: &Captures) -> String {
    let named = |name: &&str| {
        let variable = Variable::from_name(name, captures);
        variable.is_some_and(|variable| !variable.is_known_at_head())
    };
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let text = item.string().unwrap_or_default();
    let names = text.split('$').skip(1).map(|rest| {
        let rest = rest.trim_start_matches('{');
        &rest[..rest.find(|c| !is_of_name(c)).unwrap_or(rest.len())]
    });
    let name = names
        .into_iter()
        .find(|name| named(name))
        .unwrap_or_default();
    format!("${name} is not known before the response was sent")
}

fn changeable(name: &str, is_request: bool) -> Result<(), String> {
    let name = header_name(name)?;
    if FRAMING.contains(&name.as_str()) {
        return Err("belongs to the connection, which geogate manages".to_owned());
    }
    if is_request && is_managed_name(&name) {
        return Err(
            "is what geogate tells upstreams about the client; a route cannot change it".to_owned(),
        );
    }
    Ok(())
}

/// Returns `true` for a header of the connection or framing. The name may have any case.
pub(in crate::config::sections) fn is_framing_name(name: &str) -> bool {
    FRAMING.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// Returns a header name in lower case.
fn header_name(name: &str) -> Result<String, String> {
    let valid = HeaderName::from_bytes(name.as_bytes());
    let valid = valid.map_err(|_| format!("{name:?} is no name of a header"))?;
    Ok(valid.as_str().to_owned())
}
