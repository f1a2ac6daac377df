//! `files = { root = "...", ... }` of a route.

use std::path::Path;

use super::path;
use crate::config::document::{Item, Section};
use crate::config::model::Files;

/// `None` if it is wrong, which is noted.
pub(super) fn files(section: &Section) -> Option<Files> {
    let root = section.required("root", |item| {
        let root = path(item)?;
        std::path::absolute(&root).map_err(|error| format!("{}: {error}", root.display()))
    });
    let index = match section.item("index").map(|item| item.items()) {
        Some(items) => items.iter().filter_map(|item| item.read(name)).collect(),
        None => vec!["index.html".to_owned()],
    };
    let octets = "application/octet-stream".to_owned();
    let files = Files {
        root: root.clone().unwrap_or_default(),
        index,
        fallback: section.value("fallback", None, |item| inner_path(item).map(Some)),
        types: types(section),
        default_type: section.value("default_type", octets, content_type),
        follow_links: section.value("follow_links", false, Item::boolean),
        hidden: section.value("hidden", false, Item::boolean),
    };
    section.refuse_unknown();
    root.map(|_| files)
}

fn types(section: &Section) -> Vec<(String, String)> {
    let table = section.section("types");
    let read = |(extension, item): (&str, Item)| {
        let extension = extension.trim_start_matches('.').to_ascii_lowercase();
        Some((extension, item.read(content_type)?))
    };
    table.entries().into_iter().filter_map(read).collect()
}

fn name(item: &Item) -> Result<String, String> {
    let text = item.string()?;
    if text.is_empty() || text == "." || text == ".." || text.contains(['/', '\0']) {
        return Err(format!("{text:?} is not the name of a file"));
    }
    Ok(text.to_owned())
}

fn inner_path(item: &Item) -> Result<String, String> {
    let text = item.string()?;
    let inner = text.trim_start_matches('/');
    let mut parts = Path::new(inner).components();
    let is_inner = parts.all(|part| matches!(part, std::path::Component::Normal(_)));
    if inner.is_empty() || inner.ends_with('/') || inner.contains('\0') || !is_inner {
        return Err(format!(
            "{text:?} is not the path of a file within the root"
        ));
    }
    Ok(inner.to_owned())
}

fn content_type(item: &Item) -> Result<String, String> {
    let text = item.string()?;
    if !text.contains('/') || http::HeaderValue::from_str(text).is_err() {
        return Err(format!("{text:?} is not a media type such as \"text/css\""));
    }
    Ok(text.to_owned())
}
