//! Header conditions and header changes of a route.

use http::HeaderName;

use super::matching::pattern;
use super::template;
use crate::config::document::{Item, Section};
use crate::config::model::{
    Captures, HeaderChanges, HeaderCondition, HeaderPattern, is_managed_name,
};

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
            let value = match item.string()?.strip_prefix('~') {
                Some(text) => HeaderPattern::Regex(pattern(text)?),
                None => HeaderPattern::Exact(item.string()?.to_owned()),
            };
            Ok(HeaderCondition { name, value })
        })
    });
    conditions.collect()
}

/// Reads `{ set = { X-A = "$country" }, remove = ["X-B"] }`.
pub(super) fn changes(section: &Section, key: &'static str, captures: &Captures) -> HeaderChanges {
    let section = section.section(key);
    let is_request = key == "request_headers";
    let set = section.section("set");
    let entries = set.entries();
    let set = entries.iter().filter_map(|(name, item)| {
        item.read(|item| {
            changeable(name, is_request)?;
            let value = template(item, captures)?;
            if item.string()?.contains(['\n', '\t']) {
                return Err("has a control character".to_owned());
            }
            Ok(((*name).to_owned(), value))
        })
    });
    let set = set.collect();
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
    let remove = items.iter().filter_map(|item| item.read(remove)).collect();
    section.refuse_unknown();
    HeaderChanges { remove, set }
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
